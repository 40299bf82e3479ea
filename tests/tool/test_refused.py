"""Every configuration that the published program itself refuses or crashes on, by the table in the README of the golden
variants: what is made of a checkpoint that claims it. Either it is computed as the model's description says, or it is refused
with one sentence that names the setting or tensor; nothing else is computed in silence.

Computed, to the golden cases that a repair of the program gave (test_variants.py): streams_inc, hemis, dinov2, dinov2_cls, the
maps of custom_transformer, linear with rois_all, checkpoints without the backbone's weights. Single families: test_families.py.
Of the program's own runs, with no counterpart here: a folder for results given to its wrapper, runs without a GPU."""
import numpy as np
import pytest

from support import CASE, DATA, GOLDEN, edit_checkpoint, read_safetensors

VARIANTS = GOLDEN / "variants"
MAIN, RESNET18 = CASE / "subj01/rois_all", GOLDEN / "resnet/resnet18"
CUSTOM, SPATIAL, LINEAR = VARIANTS / "custom_rois", VARIANTS / "spatial_rois", VARIANTS / "linear_q"
SUBJ01, TINY = CASE / "algonauts/subj01", VARIANTS / "algonauts_tiny/subj02"
PICTURE = CASE / "images/a_425.png"
DINOV2 = ["--backbone", CASE / "dinov2_small_pretrain.pth", "--backbone-heads", 12]
RESNET = ["--backbone", GOLDEN / "resnet/resnet18_narrow.pth"]


def maps(count):
    """Leaves the first learned maps."""
    def change(model):
        model["spatial_embed.weight"] = model["spatial_embed.weight"][:count]
    return change


def without_decoder(model):
    for name in [name for name in model if ".decoder." in name]:
        del model[name]


def narrow(model):
    """A whole model of 64 channels in the place of 96."""
    for name, values in model.items():
        if ".in_proj" in name:
            values = np.concatenate([part[:64] for part in np.split(values, 3)])
        elif values.shape[0] == 96:
            values = values[:64]
        model[name] = values[:, :64] if values.ndim == 2 and values.shape[1] == 96 else values


def of_resnet(model):
    model["input_proj.weight"] = model["input_proj.weight"][:, :64]


def with_projection(model):
    model["input_proj.weight"], model["input_proj.bias"] = np.zeros((96, 64, 1, 1)), np.zeros(96)


def without_filters(model):
    del model["input_proj.weight"]
    model["lh_embed.0.weight"] = np.zeros((300, 256))


def with_encoder_norm(model):
    model["transformer.encoder.norm.weight"], model["transformer.encoder.norm.bias"] = np.ones(96), np.zeros(96)


def unchanged(_):
    pass


REFUSED = {  # checkpoint, changed arguments, changed tensors, what the sentence names
    "an encoder layer beyond the last": (VARIANTS / "enc_layers1_enc0", {"enc_output_layer": 1}, unchanged, "enc_output_layer 1"),
    "transformer on a class token": (MAIN, {"backbone_arch": "dinov2_q_cls"}, unchanged, "cannot be read from a class token"),
    "custom_transformer without pre_norm": (CUSTOM, {"pre_norm": 0}, unchanged, "pre_norm 1 alone"),
    "return_interm": (MAIN, {"return_interm": True}, unchanged, "return_interm"),
    "no decoder layer": (MAIN, {"dec_layers": 0}, without_decoder, "dec_layers 0"),
    "no decoder layer but its tensors": (MAIN, {"dec_layers": 0}, unchanged, "dec_layers 0"),
    "hidden_dim that is not the tensors'": (MAIN, {"hidden_dim": 64}, unchanged, "linear1.weight' has the wrong shape"),
    "fewer decoder layers than the tensors'": (VARIANTS / "dec_layers2", {"dec_layers": 1}, unchanged,
                                               "dec_layers is 1, but tensor 'model.transformer.decoder.layers.1."),
    "fewer encoder layers than the tensors'": (VARIANTS / "enc_layers2", {"enc_layers": 1, "enc_output_layer": 0}, unchanged,
                                               "enc_layers is 1, but tensor 'model.transformer.encoder.layers.1."),
    "no encoder layer but its tensors": (VARIANTS / "enc_layers2", {"enc_layers": 0}, unchanged,
                                         "enc_layers is 0, but tensor 'model.transformer.encoder.layers.0."),
    "an encoder's norm without pre_norm": (VARIANTS / "pre_norm0", {}, with_encoder_norm,
                                           "pre_norm is 0, but there is a tensor 'model.transformer.encoder.norm.weight'"),
    "pre_norm 0 with encoder layers trained with it": (
        VARIANTS / "enc_layers2", {"pre_norm": 0}, unchanged,
        "pre_norm is 0, but there is a tensor 'model.transformer.encoder.norm.weight'"),
    "an encoder's norm without encoder layers": (MAIN, {}, with_encoder_norm,
                                                 "enc_layers is 0, but there is a tensor 'model.transformer.encoder.norm.weight'"),
    "learned positions that are not asked for": (
        VARIANTS / "pos_learned", {"position_embedding": "sine"},
        lambda model: model.update({"backbone_model.1.row_embed.weight": np.ones((50, 48))}),
        "position_embedding is 'sine', but there is a tensor 'model.backbone_model.1.row_embed.weight'"),
    "the same tables beside the rest": (MAIN, {}, lambda model: model.update({"col_embed.weight": np.ones((50, 48))}),
                                        "position_embedding is 'sine', but there is a tensor 'model.col_embed.weight'"),
    "a narrower dim_feedforward": (MAIN, {"dim_feedforward": 64}, unchanged,
                                   "dim_feedforward is 64, but tensor 'model.transformer.decoder.layers.0.linear1.weight' has 128"),
    "a wider dim_feedforward": (CUSTOM, {"dim_feedforward": 2048}, unchanged,
                                "dim_feedforward is 2048, but tensor 'model.transformer."),
    "linear without its filters": (VARIANTS / "linear_q_cls", {"backbone_arch": "dinov2_q"}, without_filters,
                                    "'model.input_proj.weight' is missing"),
    "linear with another readout": (VARIANTS / "linear_q_cls", {"backbone_arch": "dinov2_q"}, unchanged,
                                    "'model.lh_embed.0.weight' has 96 columns, expected 256 for each cell of a square"),
    "a class token of another width": (VARIANTS / "linear_q_cls", {},
                                       lambda model: model.update({"rh_embed.0.weight": model["rh_embed.0.weight"][:, :64]}),
                                       "'model.rh_embed.0.weight' has the wrong shape, expected [320][96]"),
    "spatial_feature without maps": (SPATIAL, {}, lambda model: model.pop("spatial_embed.weight"),
                                     "'model.spatial_embed.weight' is missing"),
    "linear with a transformer": (MAIN, {"encoder_arch": "linear"}, unchanged,
                                  "encoder_arch is 'linear', which has no tensor 'model.transformer."),
    "resnet18 with custom_transformer": (RESNET18, {"encoder_arch": "custom_transformer"}, unchanged, "has no input_proj"),
    "resnet18 with spatial_feature": (SPATIAL, {"backbone_arch": "resnet18"}, unchanged, "has no input_proj"),
    "the same with a projection": (SPATIAL, {"backbone_arch": "resnet18"}, with_projection, "spatial_feature has no input_proj"),
    "resnet18 --dilation": (RESNET18, {"dilation": True}, unchanged, "dilation is not possible with resnet18"),
    "spatial_feature with hemis": (SPATIAL, {"readout_res": "hemis"}, maps(2), "'hemis'"),
    "spatial_feature with streams_inc": (SPATIAL, {"readout_res": "streams_inc"}, maps(16), "'streams_inc'"),
    "spatial_feature with a family": (SPATIAL, {"readout_res": "faces"}, maps(16), "'faces'"),
}


@pytest.mark.parametrize("which", REFUSED)
def test_what_the_program_cannot_run_is_refused_by_name(tool, tmp_path, which):
    source, args, change, words = REFUSED[which]
    checkpoint, output = tmp_path / "checkpoint.pth", tmp_path / "out.safetensors"
    edit_checkpoint(source / "checkpoint.pth", checkpoint, args, change)
    sentence = tool.refuses(DATA, "import", checkpoint, "--data", SUBJ01, "-o", output)
    assert sentence.startswith(f"brainenc: {checkpoint}: ") and words in sentence and not output.exists()


# A checkpoint does not tell the backbone's sizes: these are whole in themselves and are told when both are opened.
UNFIT = {  # checkpoint, changed arguments, changed tensors, subject's folder, backbone, what the sentence names
    "hidden_dim that is not the backbone's": (MAIN, {"hidden_dim": 64}, narrow, SUBJ01, DINOV2, ["64 channels", "has 96"]),
    "spatial_feature at 224 pixels": (SPATIAL, {"image_size": 224}, unchanged, SUBJ01, DINOV2,
                                      ["spatial_feature", "224 pixels", "31 x 31", "16 x 16"]),
    "resnet18 with linear at 425 pixels": (LINEAR, {"backbone_arch": "resnet18"}, of_resnet, TINY, RESNET,
                                           ["linear", "425 pixels", "11 x 11", "14 x 14"]),
}


@pytest.mark.parametrize("which", UNFIT)
def test_what_does_not_fit_its_backbone_is_refused_when_both_are_opened(tool, tmp_path, which):
    source, args, change, data, backbone, words = UNFIT[which]
    subject = tmp_path / "subject.safetensors"
    edit_checkpoint(source / "checkpoint.pth", tmp_path / "checkpoint.pth", args, change)
    tool.run("import", tmp_path / "checkpoint.pth", "--data", data, "-o", subject)
    sentence = tool.refuses(DATA, "predict", PICTURE, *backbone, "--subject", subject)
    assert sentence.startswith(f"brainenc: {subject}: ") and all(word in sentence for word in words)


def test_a_layer_that_the_backbone_has_not(tool, tmp_path):
    subject = tmp_path / "subject.safetensors"
    edit_checkpoint(MAIN / "checkpoint.pth", tmp_path / "checkpoint.pth", {"enc_output_layer": 7})
    tool.run("import", tmp_path / "checkpoint.pth", "--data", SUBJ01, "-o", subject)
    sentence = tool.refuses(DATA, "predict", PICTURE, *DINOV2, "--subject", subject)
    assert f"{DINOV2[1]}: enc_output_layer 7 is deeper than the backbone's 4 blocks" in sentence


def ignored(model):
    model["backbone_model.0.body.cls_token"] = np.ones((1, 1, 96))
    model["something.new.weight"] = np.ones((3, 96))


@pytest.mark.parametrize("args, change", [({"resume": "/home/alice/last.pth"}, unchanged), ({}, ignored)],
                         ids=["training that was resumed", "tensors that a strict load refuses"])
def test_what_changes_no_number_changes_no_tensor(tool, subject, tmp_path, args, change):
    edit_checkpoint(MAIN / "checkpoint.pth", tmp_path / "checkpoint.pth", args, change)
    tool.run("import", tmp_path / "checkpoint.pth", "--data", SUBJ01, "-o", tmp_path / "out.safetensors")
    found, want = (read_safetensors(path)[0] for path in (tmp_path / "out.safetensors", subject))
    assert set(found) == set(want) and all(np.array_equal(found[name], want[name]) for name in want)


def test_a_tensor_that_a_strict_load_misses_is_named(tool, tmp_path):
    def without_norm(model):
        del model["transformer.decoder.norm.weight"]
    edit_checkpoint(MAIN / "checkpoint.pth", tmp_path / "checkpoint.pth", {}, without_norm)
    sentence = tool.refuses(DATA, "import", tmp_path / "checkpoint.pth", "--data", SUBJ01, "-o", tmp_path / "out.safetensors")
    assert "'model.transformer.decoder.norm.weight' is missing" in sentence
