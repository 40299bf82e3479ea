"""quality=true, /subjects and /rois: how well a model predicts, as far as its weights carry it."""
import json
import re
import shutil

import numpy as np
import pytest

from conftest import _run_tool
from support import CASE, GOLDEN, PICTURES, Daemon, picture, tool_support

DATA = CASE / "algonauts/subj01"
TREE = GOLDEN / "ensemble/results/nsd_test/dinov2_q_transformer/subj_01/rois_all"
SIDES = {"lh": 300, "rh": 320}
ROIS = {name: masks for name, _, masks in tool_support.read_rois(DATA)}


def made_up(side):
    """(validation correlations, ncsnr): with negative and constant vertices, with some that are unknown or have no signal."""
    random = np.random.default_rng(SIDES[side])
    validation, ncsnr = random.uniform(-0.3, 0.9, SIDES[side]), random.uniform(0.05, 2, SIDES[side])
    validation[::17], ncsnr[::13], ncsnr[5::19] = np.nan, np.nan, 0
    return validation, ncsnr


@pytest.fixture(scope="module")
def daemon(golden_subject, tmp_path_factory):
    folder = tmp_path_factory.mktemp("quality")
    shutil.copy(CASE / "subj01/rois_all/checkpoint.pth", folder)
    for side in SIDES:
        validation, ncsnr = made_up(side)
        np.save(folder / f"{side}_val_corr.npy", validation)
        np.save(folder / f"{side}_ncsnr.npy", ncsnr)
    noise = ["--ncsnr", f"{folder}/lh_ncsnr.npy,{folder}/rh_ncsnr.npy"]
    _run_tool("import", folder / "checkpoint.pth", "--data", DATA, *noise, "-o", folder / "known.safetensors")
    _run_tool("import", "--ensemble", GOLDEN / "ensemble/results", "--data", DATA, *noise, "--storage", "bf16",
              "-o", folder / "ensemble.safetensors")
    backbone = {"weights": str(CASE / "dinov2_small_pretrain.pth"), "kind": "dinov2", "heads": 12}
    subjects = [{"name": name, "weights": str(path), "backbone": "small"}
                for name, path in (("known", folder / "known.safetensors"), ("ensemble", folder / "ensemble.safetensors"),
                                   ("unknown", golden_subject))]
    with Daemon(folder, {"backbones": {"small": backbone}, "subjects": subjects}) as serving:
        yield serving


def wanted(side, subject="known"):
    """(correlation, noise ceiling, encoding accuracy) of each vertex of a hemisphere."""
    validation, ncsnr = made_up(side)
    if subject == "ensemble":  # weighted as the predictions are
        each = np.array([[np.load(TREE / f"enc_{layer}/run_{run}/{side}_val_corr.npy") for run in (1, 2)] for layer in (1, 3)])
        layers = np.nan_to_num(each).mean(axis=1)
        share = np.exp(40 * layers) / np.exp(40 * layers).sum(axis=0)
        validation = (share * layers).sum(axis=0)
    correlation = np.nan_to_num(validation)
    ceiling = ncsnr ** 2 / (ncsnr ** 2 + 1 / 3)
    with np.errstate(divide="ignore", invalid="ignore"):
        accuracy = np.where(ceiling > 0, np.clip(np.maximum(correlation, 0) ** 2 / ceiling, 0, 1), np.nan)
    return correlation, ceiling, accuracy


def mean(values, mask=slice(None)):
    known = values[mask][~np.isnan(values[mask])]
    return known.mean() if len(known) else None


def check_means(found, subject="known", name=None):
    assert list(found) == ["lh", "rh"]
    for side, numbers in found.items():
        mask = ROIS[name][side] if name else slice(None)
        want = [mean(values, mask) for values in wanted(side, subject)]
        assert list(numbers) == ["validation", "noise_ceiling", "accuracy"]
        for value, number in zip(want, numbers.values()):
            assert number == (None if value is None else pytest.approx(value, abs=2e-6)), (name, side, numbers)


def numbers(values):
    return np.array([np.nan if value is None else value for value in values])


@pytest.mark.parametrize("subject", ["known", "ensemble"])
def test_of_each_vertex_and_roi(daemon, subject):
    found = daemon.post(f"/predict?quality=true&subject={subject}", picture()).json()
    plain = daemon.post(f"/predict?subject={subject}", picture()).json()
    for side in SIDES:
        assert list(found[side]) == ["vertices", "validation", "noise_ceiling"]
        assert found[side]["vertices"] == plain[side]["vertices"] and list(plain[side]) == ["vertices"]
        for key, want in zip(("validation", "noise_ceiling"), wanted(side, subject)):
            np.testing.assert_allclose(numbers(found[side][key]), want, rtol=0, atol=2e-6)
    for one, other in zip(found["rois"], plain["rois"], strict=True):
        check_means(one.pop("quality"), subject, one["name"])
        assert one == other


def test_of_some_vertices_and_on_fsaverage(daemon):
    whole = daemon.post("/predict?quality=true&subject=known", picture()).json()
    some = daemon.post("/predict?quality=true&subject=known&rois=FBA,PPA", picture()).json()
    for side in SIDES:
        for key in ("validation", "noise_ceiling"):
            assert some[side][key] == [whole[side][key][index] for index in some[side]["indices"]]
    assert [one["name"] for one in some["rois"] if "quality" in one] == ["FBA-1", "FBA-2", "PPA"]
    place = {one["subject"]: one for one in daemon.get("/rois?output=vertices").json()["subjects"]}["known"]["fsaverage"]
    spread_out = daemon.post("/predict?quality=true&subject=known&space=fsaverage&output=vertices", picture()).json()
    for side in SIDES:
        found = numbers(spread_out[side]["validation"])
        np.testing.assert_array_equal(found[place[side]], numbers(whole[side]["validation"]))
        assert np.isfinite(found).sum() == SIDES[side]


def test_what_is_not_known_is_null(daemon):
    found = daemon.post("/predict?quality=true&subject=unknown", picture()).json()
    for side in SIDES:
        assert found[side]["noise_ceiling"] is None
    for one in found["rois"]:
        assert [one["quality"][side][key] for side in SIDES for key in ("noise_ceiling", "accuracy")] == [None] * 4
    told = {one["name"]: one for one in daemon.get("/subjects").json()["subjects"]}["unknown"]
    assert [told["quality"][side][key] for side in SIDES for key in ("noise_ceiling", "accuracy")] == [None] * 4
    bare = daemon.post("/predict?subject=unknown", picture()).json()
    assert "training_set" not in bare["model"] and all("quality" not in one for one in bare["rois"])


def test_subjects_tell_of_their_training(daemon):
    told = {one["name"]: one for one in daemon.get("/subjects").json()["subjects"]}
    for name in ("known", "ensemble"):
        check_means(told[name]["quality"], name)
        assert told[name]["training_set"] and re.fullmatch(r"20\d\d-\d\d-\d\d", told[name]["checkpoint_date"])
        model = daemon.post(f"/predict?quality=true&subject={name}&output=rois", picture()).json()["model"]
        for key in ("training_set", "checkpoint_date", "storage", "runs", "members", "backbone_weights"):
            assert model[key] == told[name][key]
    assert (told["known"]["storage"], told["ensemble"]["storage"]) == ("f32", "bf16")
    arguments = tool_support.read_pth(CASE / "subj01/rois_all/checkpoint.pth")["args"]
    assert told["known"]["trained"] == [{"layer": 1, "run": 1, "validation": pytest.approx(float(arguments.val_perf))}]
    assert sorted((one["layer"], one["run"]) for one in told["ensemble"]["trained"]) == [(1, 1), (1, 2), (3, 1), (3, 2)]


def test_rois_tell_it_when_asked(daemon):
    plain = daemon.get("/rois").json()["subjects"]
    for one, other in zip(daemon.get("/rois?quality=true").json()["subjects"], plain, strict=True):
        for roi in one["rois"]:
            quality = roi.pop("quality")
            if one["subject"] != "unknown":
                check_means(quality, one["subject"], roi["name"])
        assert one == other


def test_wrong_questions(daemon):
    assert "false, true" in daemon.refuses(400, "POST", "/predict?quality=1", picture())
    assert "false, true" in daemon.refuses(400, "GET", "/rois?quality=yes")
    assert "JSON" in daemon.refuses(400, "POST", "/predict?quality=true&format=npy", picture())
    assert "quality" in daemon.refuses(400, "GET", "/rois?roi=FBA")


def test_the_client_asks_for_it(daemon, tmp_path):
    out, server = tmp_path / "out.json", f"http://127.0.0.1:{daemon.port}"
    for subject in ("known", "ensemble"):
        _run_tool("predict", PICTURES / "a_425.png", "--server", server, "--subject", subject, "--quality", "-o", out)
        saved = json.loads(out.read_text())["predictions"][0]
        found = daemon.post(f"/predict?quality=true&subject={subject}", picture()).json()
        assert (saved["lh"], saved["rois"], saved["model"]) == (found["lh"], found["rois"], found["model"])
