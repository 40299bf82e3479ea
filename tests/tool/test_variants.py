"""Every variant of the published system that has a golden case: imported, and computed to the fixtures' tolerances."""
import numpy as np
import pytest

from golden_cases import CASES, GOLDEN, LARGE, SMALL, SUBJ01, WITH_MAPS, backbone_options
from support import ATTENTION_TOLERANCE, DATA, PREDICTION_TOLERANCE, USAGE, edit_checkpoint, read_pth

DINOV2, CLIP = backbone_options("dinov2"), backbone_options("clip")


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request):
    return request.param


@pytest.fixture
def model(tool, case, tmp_path):
    path = tmp_path / "subject.safetensors"
    tool.run(*case.import_arguments(path))
    return [*backbone_options(case.backbone), "--subject", path]


def test_predictions_are_the_published_programs(tool, case, model, tmp_path):
    want = case.predictions()
    tool.run("predict", *case.pictures, *model, "-o", tmp_path / "found.npy")
    found = np.load(tmp_path / "found.npy")
    assert found.shape == want.shape and np.abs(found - want).max() <= case.tolerance


def test_predictions_in_other_precisions(tool, case, model, tmp_path):
    """Three parts of bfloat16 are float32 but for its last digits; one part is noise of a small share of what a vertex does."""
    want = case.predictions()
    for precision, tolerance in (("bf16x3", max(2e-4, case.tolerance)), ("bf16", 0.06 * want.std())):
        tool.run("predict", *case.pictures, *model, "--precision", precision, "-o", tmp_path / "found.npy")
        assert np.abs(np.load(tmp_path / "found.npy") - want).max() <= tolerance, precision


@pytest.mark.parametrize("case", WITH_MAPS, indirect=True, ids=lambda case: case.name)
def test_maps_are_the_published_programs(tool, case, model, tmp_path):
    want = np.load(case.maps_file())
    tool.run("attention", case.pictures[0], "--roi", "all", *model, "-o", tmp_path / "maps.npy")
    found = np.load(tmp_path / "maps.npy")  # [ROIs][hemispheres][rows][columns]
    queries = found.swapaxes(0, 1).reshape(-1, found.shape[2] * found.shape[3])
    step = -(-len(queries) // want.shape[1])
    assert np.abs(queries[::step] - want[0]).max() <= case.map_tolerance


def test_the_same_bits_beside_other_subjects(tool, tmp_path):
    """Whatever other layers, tokens and outputs of the backbone they read."""
    names = ["dinov2q_enc3", "dinov2_enc1_patched", "linear_q_cls", "enc_layers2"]
    subjects = []
    for name in names:
        subjects += ["--subject", tmp_path / f"{name}.safetensors"]
        tool.run("import", GOLDEN / "variants" / name / "checkpoint.pth", "--data", SUBJ01, "--name", name, "-o", subjects[-1])
    together = tool.run("predict", LARGE[0], *DINOV2, *subjects, "--json").json()["predictions"]
    for number in range(len(names)):
        (alone,) = tool.run("predict", LARGE[0], *DINOV2, *subjects[2 * number:2 * number + 2], "--json").json()["predictions"]
        for hemisphere in ("lh", "rh"):
            assert together[number][hemisphere] == alone[hemisphere], names[number]


def test_what_only_its_owner_knows_is_asked(tool, tmp_path):
    folder, out = GOLDEN / "variants", tmp_path / "out.safetensors"
    for name, words in (("streams_inc_patched", "--streams-order"), ("linear_dinov2_cls_patched", "--class-token")):
        assert words in tool.run("import", folder / name / "checkpoint.pth", "--data", SUBJ01, "-o", out, code=USAGE).err
    error = tool.run("import", folder / "streams_inc_patched/checkpoint.pth", "--data", SUBJ01, "--streams-order", "middle", "-o",
                     out, code=USAGE).err
    assert "--streams-order: 'middle' is none of: rest-last, rest-first" in error and not out.exists()
    error = tool.run("import", folder / "linear_dinov2_cls_patched/checkpoint.pth", "--data", SUBJ01, "--class-token", "x", "-o",
                     out, code=USAGE).err
    assert "--class-token: 'x' is none of: first-patch, class-token" in error


def test_a_choice_that_means_nothing_is_refused(tool, tmp_path):
    folder, out = GOLDEN / "variants", tmp_path / "out.safetensors"
    for name, choice, words in (("streams_inc_patched", ["--streams-order", "rest-last", "--class-token", "class-token"],
                                 "--class-token is for"),
                                ("dinov2q_enc3", ["--class-token", "first-patch"], "--class-token is for backbone_arch dinov2_cls"),
                                ("dinov2q_enc3", ["--streams-order", "rest-last"],
                                 "--streams-order is for queries of readout_res streams_inc"),
                                ("linear_dinov2_cls_patched", ["--class-token", "first-patch", "--streams-order", "rest-last"],
                                 "--streams-order is for")):
        assert words in tool.refuses(USAGE, "import", folder / name / "checkpoint.pth", "--data", SUBJ01, *choice, "-o", out)
    assert not out.exists()


def test_streams_whose_rest_stands_first(tool, tmp_path):
    """The golden model with its queries in the other order, imported as such, is the golden model."""
    def turn(model):
        model["query_embed.weight"] = model["query_embed.weight"][[7, *range(7), 15, *range(8, 15)]]
    folder = GOLDEN / "variants/streams_inc_patched"
    checkpoint, subject = tmp_path / "checkpoint.pth", tmp_path / "subject.safetensors"
    edit_checkpoint(folder / "checkpoint.pth", checkpoint, change=turn)
    tool.run("import", checkpoint, "--data", SUBJ01, "--streams-order", "rest-first", "-o", subject)
    tool.run("predict", *LARGE, *DINOV2, "--subject", subject, "-o", tmp_path / "found.npy")
    want = np.concatenate([np.load(folder / f"expected/{h}_pred.npy") for h in ("lh", "rh")], axis=1)
    assert np.abs(np.load(tmp_path / "found.npy") - want).max() <= PREDICTION_TOLERANCE


def test_the_maps_of_spatial_feature_are_the_learned_ones(tool, tmp_path):
    """Each the softmax of its query's row, whatever the picture."""
    folder, subject = GOLDEN / "variants/spatial_rois", tmp_path / "subject.safetensors"
    tool.run("import", folder / "checkpoint.pth", "--data", SUBJ01, "-o", subject)
    learned = np.exp(read_pth(folder / "checkpoint.pth")["model"]["spatial_embed.weight"].astype(float))
    want = (learned / learned.sum(axis=1, keepdims=True)).reshape(2, 25, 31, 31).swapaxes(0, 1)
    for picture in LARGE:
        tool.run("attention", picture, "--roi", "all", *DINOV2, "--subject", subject, "-o", tmp_path / "maps.npy")
        assert np.abs(np.load(tmp_path / "maps.npy") - want).max() <= ATTENTION_TOLERANCE


def test_a_learned_position_without_its_table_is_refused(tool, tmp_path):
    checkpoint = GOLDEN / "variants/pos_learned/checkpoint.pth"  # as the published program saves it
    assert "row_embed.weight" in tool.run("import", checkpoint, "--data", SUBJ01, "-o", tmp_path / "out.safetensors", code=DATA).err


def test_a_model_without_maps_says_so(tool, tmp_path):
    subject = tmp_path / "subject.safetensors"
    tool.run("import", GOLDEN / "variants/linear_q_cls/checkpoint.pth", "--data", SUBJ01, "-o", subject)
    for arguments in (["attention", LARGE[0], "--roi", "FBA"], ["predict", LARGE[0], "--json", "--attention", "FBA"]):
        assert "no attention maps" in tool.run(*arguments, *DINOV2, "--subject", subject, code=DATA).err


def test_a_shape_it_was_not_trained_on_is_refused(tool, tmp_path):
    for name, backbone, words in (("variants/spatial_rois", DINOV2, "31 x 31"), ("clip/transformer_rois", CLIP, "224 x 224")):
        subject = tmp_path / "subject.safetensors"
        tool.run("import", GOLDEN / name / "checkpoint.pth", "--data", SUBJ01, "-o", subject)
        picture = SMALL[0] if backbone is DINOV2 else LARGE[0]
        assert words in tool.run("predict", picture, *backbone, "--subject", subject, "--fit", "native", code=USAGE).err
