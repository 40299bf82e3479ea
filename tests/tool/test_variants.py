"""Every variant of the published system that has a golden case: imported, and computed to the fixtures' tolerances."""
import numpy as np
import pytest

from support import ATTENTION_TOLERANCE, CASE, DATA, GOLDEN, PREDICTION_TOLERANCE, USAGE, edit_checkpoint, read_pth

SUBJ01 = CASE / "algonauts/subj01"
DINOV2 = ["--backbone", CASE / "dinov2_small_pretrain.pth", "--backbone-heads", 12]
TINY12 = ["--backbone", GOLDEN / "dinov2_depth12/dinov2_tiny12_pretrain.pth", "--backbone-heads", 12]
CLIP = ["--backbone", GOLDEN / "clip/open_clip_narrow.pth"]
PICTURES = [CASE / "images/a_425.png", CASE / "images/b_425.png"]
SMALL = [GOLDEN / "clip/images/e_224.png", GOLDEN / "clip/images/f_224.png"]


def resnet(depth):
    return ["--backbone", GOLDEN / f"resnet/resnet{depth}_narrow.pth"]


def variant(name, **options):
    return pytest.param({"folder": GOLDEN / "variants" / name, "backbone": DINOV2, "pictures": PICTURES} | options, id=name)


def other(name, backbone, pictures=SMALL, suffix="", **options):
    return pytest.param({"folder": GOLDEN / name, "backbone": backbone, "pictures": pictures, "suffix": suffix} | options,
                        id=name.replace("/", "-") + suffix)


TINY = {"data": GOLDEN / "variants/algonauts_tiny/subj02"}
CASES = [
    variant("dinov2q_enc3"), variant("dinov2_enc1_patched"), variant("dinov2_enc3_patched"), variant("enc_layers2"),
    variant("enc_layers1_enc0"), variant("dec_layers2", attention="attention_layer1"), variant("pre_norm0"),
    variant("pos_learned", checkpoint="checkpoint_with_position_table.pth"),
    variant("custom_rois", tolerance=4e-5, attention_tolerance=5e-6), variant("spatial_rois"), variant("spatial_voxels", **TINY),
    variant("linear_q", **TINY), variant("linear_q_cls"), variant("voxels"),
    variant("linear_dinov2_cls_patched", options=["--class-token", "first-patch"]),
    pytest.param({"folder": GOLDEN / "variants/linear_dinov2_cls_patched", "backbone": DINOV2, "pictures": PICTURES,
                  "options": ["--class-token", "class-token"], "suffix": "_true_cls"}, id="dinov2_cls-the-class-token"),
    variant("hemis_patched"), variant("streams_inc_patched", options=["--streams-order", "rest-last"]),
    other("dinov2_depth12/dinov2q_enc7", TINY12, PICTURES), other("dinov2_depth12/dinov2_enc1_patched", TINY12, PICTURES),
    other("dinov2_depth12/dinov2_enc7_patched", TINY12, PICTURES),
    other("clip/transformer_rois", CLIP), other("clip/spatial_rois", CLIP), other("clip/linear_cls", CLIP),
    other("clip/transformer_rois", [*CLIP, "--backbone-activation", "gelu"], suffix="_plain_gelu"),
    other("clip/spatial_rois", [*CLIP, "--backbone-activation", "gelu"], suffix="_plain_gelu"),
    other("clip/linear_cls", [*CLIP, "--backbone-activation", "gelu"], suffix="_plain_gelu"),
    other("resnet/resnet18", resnet(18), tolerance=4e-5, attention_tolerance=3e-6),
    other("resnet/resnet50", resnet(50), tolerance=4e-4, attention_tolerance=3e-5),
    other("resnet/resnet50_dilation", resnet(50), tolerance=4e-4, attention_tolerance=3e-5),
]


def maps_of(case):
    """Where the published program's maps of a case are: [images][queries][tokens], every third query or all."""
    return case["folder"] / "expected" / f"{case.get('attention', 'attention')}{case.get('suffix', '')}.npy"


CASES_WITH_MAPS = [it for it in CASES if maps_of(it.values[0]).exists() and it.id != "voxels"]  # whose maps are of vertices


@pytest.fixture(params=CASES)
def case(request):
    return {"data": SUBJ01, "options": [], "suffix": "", "checkpoint": "checkpoint.pth", "tolerance": 2e-5,
            "attention": "attention", "attention_tolerance": 2e-6} | request.param


@pytest.fixture
def model(tool, case, tmp_path):
    path = tmp_path / "subject.safetensors"
    tool.run("import", case["folder"] / case["checkpoint"], "--data", case["data"], *case["options"], "-o", path)
    return [*case["backbone"], "--subject", path]


def golden(case, name):
    return np.load(case["folder"] / "expected" / f"{name}{case['suffix']}.npy")


def test_predictions_are_the_published_programs(tool, case, model, tmp_path):
    want = np.concatenate([golden(case, "lh_pred"), golden(case, "rh_pred")], axis=1)
    tool.run("predict", *case["pictures"], *model, "-o", tmp_path / "found.npy")
    found = np.load(tmp_path / "found.npy")
    assert found.shape == want.shape and np.abs(found - want).max() <= case["tolerance"]


@pytest.mark.parametrize("case", CASES_WITH_MAPS, indirect=True)
def test_maps_are_the_published_programs(tool, case, model, tmp_path):
    want = np.load(maps_of(case))
    tool.run("attention", case["pictures"][0], "--roi", "all", *model, "-o", tmp_path / "maps.npy")
    found = np.load(tmp_path / "maps.npy")  # [ROIs][hemispheres][rows][columns]
    queries = found.swapaxes(0, 1).reshape(-1, found.shape[2] * found.shape[3])
    step = -(-len(queries) // want.shape[1])
    assert np.abs(queries[::step] - want[0]).max() <= case["attention_tolerance"]


def test_what_only_its_owner_knows_is_asked(tool, tmp_path):
    folder, out = GOLDEN / "variants", tmp_path / "out.safetensors"
    for name, words in (("streams_inc_patched", "--streams-order"), ("linear_dinov2_cls_patched", "--class-token")):
        assert words in tool.run("import", folder / name / "checkpoint.pth", "--data", SUBJ01, "-o", out, code=USAGE).err
    error = tool.run("import", folder / "streams_inc_patched/checkpoint.pth", "--data", SUBJ01, "--streams-order", "middle", "-o", out,
                     code=USAGE).err
    assert "rest-last" in error and "rest-first" in error and not out.exists()


def test_streams_whose_rest_stands_first(tool, tmp_path):
    """The golden model with its queries in the other order, imported as such, is the golden model."""
    def turn(model):
        model["query_embed.weight"] = model["query_embed.weight"][[7, *range(7), 15, *range(8, 15)]]
    folder = GOLDEN / "variants/streams_inc_patched"
    checkpoint, subject = tmp_path / "checkpoint.pth", tmp_path / "subject.safetensors"
    edit_checkpoint(folder / "checkpoint.pth", checkpoint, change=turn)
    tool.run("import", checkpoint, "--data", SUBJ01, "--streams-order", "rest-first", "-o", subject)
    tool.run("predict", *PICTURES, *DINOV2, "--subject", subject, "-o", tmp_path / "found.npy")
    want = np.concatenate([np.load(folder / f"expected/{h}_pred.npy") for h in ("lh", "rh")], axis=1)
    assert np.abs(np.load(tmp_path / "found.npy") - want).max() <= PREDICTION_TOLERANCE


def test_the_maps_of_spatial_feature_are_the_learned_ones(tool, tmp_path):
    """Each the softmax of its query's row, whatever the picture."""
    folder, subject = GOLDEN / "variants/spatial_rois", tmp_path / "subject.safetensors"
    tool.run("import", folder / "checkpoint.pth", "--data", SUBJ01, "-o", subject)
    learned = np.exp(read_pth(folder / "checkpoint.pth")["model"]["spatial_embed.weight"].astype(float))
    want = (learned / learned.sum(axis=1, keepdims=True)).reshape(2, 25, 31, 31).swapaxes(0, 1)
    for picture in PICTURES:
        tool.run("attention", picture, "--roi", "all", *DINOV2, "--subject", subject, "-o", tmp_path / "maps.npy")
        assert np.abs(np.load(tmp_path / "maps.npy") - want).max() <= ATTENTION_TOLERANCE


def test_a_learned_position_without_its_table_is_refused(tool, tmp_path):
    checkpoint = GOLDEN / "variants/pos_learned/checkpoint.pth"  # as the published program saves it
    assert "row_embed.weight" in tool.run("import", checkpoint, "--data", SUBJ01, "-o", tmp_path / "out", code=DATA).err


def test_a_model_without_maps_says_so(tool, tmp_path):
    subject = tmp_path / "subject.safetensors"
    tool.run("import", GOLDEN / "variants/linear_q_cls/checkpoint.pth", "--data", SUBJ01, "-o", subject)
    for arguments in (["attention", PICTURES[0], "--roi", "FBA"], ["predict", PICTURES[0], "--json", "--attention", "FBA"]):
        assert "no attention maps" in tool.run(*arguments, *DINOV2, "--subject", subject, code=DATA).err


def test_a_shape_it_was_not_trained_on_is_refused(tool, tmp_path):
    for name, backbone, words in (("variants/spatial_rois", DINOV2, "31 x 31"), ("clip/transformer_rois", CLIP, "224 x 224")):
        subject = tmp_path / "subject.safetensors"
        tool.run("import", GOLDEN / name / "checkpoint.pth", "--data", SUBJ01, "-o", subject)
        picture = SMALL[0] if backbone is DINOV2 else PICTURES[0]
        assert words in tool.run("predict", picture, *backbone, "--subject", subject, "--fit", "native", code=USAGE).err
