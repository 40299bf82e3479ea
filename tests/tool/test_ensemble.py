"""Subject files of several members, made by hand from one of a single member: what they predict, and what is refused of them."""
import json

import numpy as np
import pytest

from support import CASE, DATA, GOLDEN, PREDICTION_TOLERANCE, USAGE, read_safetensors, write_safetensors

PICTURE = CASE / "images/a_425.png"
LAYER = "transformer.decoder.layers.0."


def write_twins(source, path, change=lambda second: None, scores=lambda: np.zeros((2, 300), np.float32)):
    """A file of two members that are the one of `source`, but for what `change` does to the second one's tensors."""
    tensors, metadata = read_safetensors(source)
    described = json.loads(metadata["brainenc"])
    second = {name.replace("members.0.", "members.1."): values.copy() for name, values in tensors.items()
              if name.startswith("members.0.")}
    change(second)
    described["members"] = [described["members"][0] | {"run": run} for run in (1, 2)]
    validation = {"validation.lh": scores(), "validation.rh": np.zeros((2, 320), np.float32)}
    write_safetensors(path, tensors | second | validation, metadata | {"brainenc": json.dumps(described)})
    return path


@pytest.fixture
def twins(subject, tmp_path):
    return lambda *change, **scores: write_twins(subject, tmp_path / "twins.safetensors", *change, **scores)


def predict(tool, subject, tmp_path, **options):
    return tool.run("predict", PICTURE, "--backbone", CASE / "dinov2_small.safetensors", "--subject", subject, "-o",
                    tmp_path / "found.npy", **options)


def test_two_of_the_same_are_one(tool, twins, subject, tmp_path):
    predict(tool, subject, tmp_path)
    want = np.load(tmp_path / "found.npy")
    predict(tool, twins(), tmp_path)
    assert np.abs(np.load(tmp_path / "found.npy") - want).max() <= 1e-6


def test_the_mean_over_runs_is_plain(tool, twins, subject, tmp_path):
    predict(tool, subject, tmp_path)
    want = np.load(tmp_path / "found.npy")

    def add_one(second):  # to every vertex, once for each ROI that it is in
        for side in ("lh", "rh"):
            second[f"members.1.{side}_embed.0.bias"] += 1
    masks = read_safetensors(subject)[0]
    times = np.concatenate([np.maximum(masks[f"masks.{side}"].sum(axis=0), 1) for side in ("lh", "rh")])
    predict(tool, twins(add_one), tmp_path)
    assert np.abs(np.load(tmp_path / "found.npy")[0] - want[0] - times / 2).max() <= PREDICTION_TOLERANCE


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38, -1e38])
def test_a_score_that_is_none_harms_no_vertex(tool, twins, tmp_path, value):
    scores = np.zeros((2, 300), np.float32)
    scores[1, 7] = scores[0, 9] = scores[1, 9] = value
    predict(tool, twins(scores=lambda: scores), tmp_path)
    assert np.isfinite(np.load(tmp_path / "found.npy")).all()


def narrower(second):
    for name, cut in (("linear1.weight", np.s_[:64]), ("linear1.bias", np.s_[:64]), ("linear2.weight", np.s_[:, :64])):
        second[f"members.1.{LAYER}{name}"] = second[f"members.1.{LAYER}{name}"][cut]


def wider(second):
    for name, axis in (("linear1.weight", 0), ("linear1.bias", 0), ("linear2.weight", 1)):
        values = second[f"members.1.{LAYER}{name}"]
        second[f"members.1.{LAYER}{name}"] = np.concatenate([values] * 8, axis=axis)


def fewer_queries(second):
    second["members.1.query_embed.weight"] = second["members.1.query_embed.weight"][:48]


def no_readout(second):
    del second["members.1.rh_embed.0.weight"]


@pytest.mark.parametrize("change, words", [
    (narrower, "member 1 is of other shapes"), (wider, "member 1 is of other shapes"),
    (fewer_queries, "members.1.query_embed.weight"),
    (no_readout, "members.1.rh_embed.0.weight"),
])
def test_members_of_other_shapes_are_refused(tool, twins, tmp_path, change, words):
    assert words in predict(tool, twins(change), tmp_path, code=DATA).err


def test_encoder_layers_of_other_shapes_are_refused(tool, tmp_path):
    """Buffers are sized for the first member."""
    def widen(second):
        for name, axis in (("linear1.weight", 0), ("linear1.bias", 0), ("linear2.weight", 1)):
            values = second[f"members.1.transformer.encoder.layers.0.{name}"]
            second[f"members.1.transformer.encoder.layers.0.{name}"] = np.concatenate([values] * 64, axis=axis)
    subject = tmp_path / "subject.safetensors"
    tool.run("import", GOLDEN / "variants/enc_layers1_enc0/checkpoint.pth", "--data", CASE / "algonauts/subj01", "-o", subject)
    predict(tool, write_twins(subject, tmp_path / "same.safetensors"), tmp_path)
    error = predict(tool, write_twins(subject, tmp_path / "wider.safetensors", widen), tmp_path, code=DATA).err
    assert "member 1 is of other shapes" in error and "in encoder layers" in error


def test_scores_of_other_shapes_are_refused(tool, twins, tmp_path):
    assert "validation.lh" in predict(tool, twins(scores=lambda: np.zeros((2, 299), np.float32)), tmp_path, code=DATA).err


def test_the_spread_is_that_over_runs(tool, twins, subject, tmp_path):
    def add_one(second):
        for side in ("lh", "rh"):
            second[f"members.1.{side}_embed.0.bias"] += 1
    masks = read_safetensors(subject)[0]
    ensemble, model = twins(add_one), ["--backbone", CASE / "dinov2_small.safetensors", "--subject"]
    found = tool.run("predict", PICTURE, *model, ensemble, "--json", "--spread").json()["predictions"][0]
    for side in ("lh", "rh"):  # two runs that lie this far apart, once for each ROI that the vertex is in
        times = np.maximum(masks[f"masks.{side}"].sum(axis=0), 1)
        assert np.abs(np.array(found[side]["spread"]) - times / np.sqrt(2)).max() <= PREDICTION_TOLERANCE
    tool.run("predict", PICTURE, *model, ensemble, "--spread", "-o", tmp_path / "found.json")
    saved = json.loads((tmp_path / "found.json").read_text())["predictions"][0]
    assert (saved["lh"], saved["rois"]) == (found["lh"], found["rois"])
    assert "--spread" in tool.refuses(USAGE, "predict", PICTURE, *model, ensemble, "--spread")
    assert "single run" in tool.refuses(DATA, "predict", PICTURE, *model, subject, "--spread", "--json")
