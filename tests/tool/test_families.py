"""Readouts of a single family, which no version of the published program runs: MODEL section 4 computed with numpy from what the
golden case shows. A query's token depends on no other query, so that sixteen of the golden queries give sixteen golden tokens."""
import numpy as np
import pytest

from support import ATTENTION_TOLERANCE, CASE, DATA, PREDICTION_TOLERANCE, edit_checkpoint, expected, read_pth, read_rois

CHECKPOINT, FOLDER = CASE / "subj01/rois_all/checkpoint.pth", CASE / "algonauts/subj01"
PICTURES = [CASE / "images/a_425.png", CASE / "images/b_425.png"]
BACKBONE = ["--backbone", CASE / "dinov2_small.safetensors"]
READOUTS = {"visuals": "prf-visualrois", "bodies": "floc-bodies", "faces": "floc-faces", "places": "floc-places",
            "words": "floc-words"}
CHOSEN = np.random.default_rng(3).permutation(50)[:16]


def choose(rows):
    def change(model):
        model["query_embed.weight"] = model["query_embed.weight"][rows]
    return change


@pytest.fixture(params=READOUTS)
def readout(request):
    return request.param


@pytest.fixture
def subject(tool, readout, tmp_path):
    path = tmp_path / "subject.safetensors"
    edit_checkpoint(CHECKPOINT, tmp_path / "checkpoint.pth", {"readout_res": readout}, choose(CHOSEN))
    tool.run("import", tmp_path / "checkpoint.pth", "--data", FOLDER, "-o", path)
    return path


def predicted(hemisphere, first, rois):
    """[images][vertices]: the sum over the ROIs of each vertex, whose queries stand from `first` on."""
    model = read_pth(CHECKPOINT)["model"]
    weight, bias = (model[f"{hemisphere}_embed.0.{name}"].astype(float) for name in ("weight", "bias"))
    tokens = expected("output_tokens")[:, CHOSEN].astype(float)
    each = tokens @ weight.T + bias  # [images][queries][vertices]
    return sum(each[:, first + r] * masks[hemisphere] for r, (_, _, masks) in enumerate(rois))


def test_predictions_are_the_formulas(tool, readout, subject, tmp_path):
    rois = read_rois(FOLDER, [READOUTS[readout]])
    want = np.concatenate([predicted("lh", 0, rois), predicted("rh", 8, rois)], axis=1)
    tool.run("predict", *PICTURES, *BACKBONE, "--subject", subject, "-o", tmp_path / "found.npy")
    assert np.abs(np.load(tmp_path / "found.npy") - want).max() <= PREDICTION_TOLERANCE


def test_maps_are_those_of_the_queries(tool, readout, subject, tmp_path):
    count = len(read_rois(FOLDER, [READOUTS[readout]]))
    tool.run("attention", PICTURES[0], "--roi", "all", *BACKBONE, "--subject", subject, "-o", tmp_path / "maps.npy")
    found = np.load(tmp_path / "maps.npy")  # [ROIs][hemispheres][rows][columns]
    want = expected("attention")[0, CHOSEN].reshape(2, 8, 31, 31)[:, :count].swapaxes(0, 1)
    assert found.shape == want.shape and np.abs(found - want).max() <= ATTENTION_TOLERANCE


def test_it_is_marked_in_every_answer(tool, readout, subject):
    answer = tool.run("predict", PICTURES[0], *BACKBONE, "--subject", subject, "--json", "--output", "rois").json()
    assert any("single family" in text for text in answer["predictions"][0]["model"]["unverified"])
    assert {roi["family"] for roi in answer["predictions"][0]["rois"] if roi["name"] != "rest"} == {READOUTS[readout]}
    assert "single family" in tool.run("inspect", subject).out.decode()


def test_the_wrong_number_of_queries_is_refused(tool, readout, tmp_path):
    for count in (8, 15, 17, 50):
        edit_checkpoint(CHECKPOINT, tmp_path / "checkpoint.pth", {"readout_res": readout}, choose(slice(count)))
        sentence = tool.refuses(DATA, "import", tmp_path / "checkpoint.pth", "--data", FOLDER, "-o", tmp_path / "out.safetensors")
        assert sentence.endswith(f": the model has {count} queries; readout_res {readout} needs 16: 8 a hemisphere")
