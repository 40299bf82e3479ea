"""Weights that are infinite or no numbers, as a training that diverged leaves them: refused when read, by their tensor."""
import numpy as np
import pytest

from support import CASE, DATA, GOLDEN, edit_checkpoint, read_pth, read_safetensors, rewrite_subject, write_pth

PICTURE, SUBJ01 = CASE / "images/a_425.png", CASE / "algonauts/subj01"
CHECKPOINTS = {"transformer": CASE / "subj01/rois_all", "custom_transformer": GOLDEN / "variants/custom_rois",
               "spatial_feature": GOLDEN / "variants/spatial_rois", "linear": GOLDEN / "variants/linear_q_cls"}


def spoil(values, value):
    """A number amidst them: large tensors are searched by blocks."""
    spoiled = np.array(values, np.float32)
    spoiled.flat[spoiled.size * 2 // 3] = value
    return spoiled


def used(kind, name):
    """What the published program saves and never uses is not read."""
    unused = [".self_attn.", ".norm2.", "memory_proj", "norm1.weight", "c_attn", "v_proj", "input_proj"]
    return not any(part in name for part in unused + ["norm1.bias"] * (kind == "custom_transformer"))


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_a_checkpoint_is_refused(tool, tmp_path, kind):
    source, checkpoint, output = CHECKPOINTS[kind] / "checkpoint.pth", tmp_path / "checkpoint.pth", tmp_path / "out.safetensors"
    names = [name for name in read_pth(source)["model"] if used(kind, name)]
    assert len(names) >= 4
    for number, name in enumerate(names):
        value = (np.nan, np.inf, -np.inf)[number % 3]
        edit_checkpoint(source, checkpoint, change=lambda model: model.update({name: spoil(model[name], value)}))
        for storage in ("f32", "bf16"):
            said = tool.refuses(DATA, "import", checkpoint, "--data", SUBJ01, "--storage", storage, "-o", output)
            assert said.startswith(f"brainenc: {checkpoint}: ") and f"'model.{name}' holds a number that is not finite" in said
    assert not output.exists()


@pytest.mark.parametrize("source", ["dinov2_q_rois/dinov2_small_pretrain.pth", "clip/open_clip_narrow.pth"])
def test_a_backbone_is_refused(tool, tmp_path, source):
    checkpoint = CASE / "subj01/rois_all" if "dinov2" in source else GOLDEN / "clip/transformer_rois"
    subject, path = tmp_path / "subject.safetensors", tmp_path / "backbone.pth"
    tool.run("import", checkpoint / "checkpoint.pth", "--data", SUBJ01, "-o", subject)
    tensors = read_pth(GOLDEN / source)
    block = next(name for name in tensors if "blocks.1." in name).split("blocks.1.")[0] + "blocks.1."
    names = [name for name in tensors if name.startswith(block)]
    assert len(names) >= 12
    for name in names:
        write_pth(path, dict(tensors) | {name: spoil(tensors[name], np.nan)})
        said = tool.refuses(DATA, "predict", PICTURE, "--backbone", path, "--backbone-heads", 2, "--subject", subject)
        assert said.startswith(f"brainenc: {path}: ") and f"'{name}' holds a number that is not finite" in said


@pytest.mark.parametrize("storage", ["f32", "bf16"])
def test_a_subject_file_is_refused(tool, tmp_path, storage):
    whole = tmp_path / "whole.safetensors"
    tool.run("import", CASE / "subj01/rois_all/checkpoint.pth", "--data", SUBJ01, "--storage", storage, "-o", whole)
    for name in ("members.0.lh_embed.0.weight", "members.0.rh_embed.0.weight", "members.0.query_embed.weight"):
        def change(_, tensors):
            values = tensors[name].reshape(-1)
            values[values.size // 2] = 0x7FC0 if values.dtype == np.uint16 else np.inf
        spoiled = rewrite_subject(whole, tmp_path / "spoiled.safetensors", change)
        assert not np.array_equal(read_safetensors(spoiled)[0][name], read_safetensors(whole)[0][name])
        said = tool.refuses(DATA, "inspect", spoiled)
        assert said.startswith(f"brainenc: {spoiled}: ") and f"'{name}' holds a number that is not finite" in said
