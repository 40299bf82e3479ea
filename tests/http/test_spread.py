"""spread=true: how far an ensemble's runs lie apart."""
import json

import numpy as np
import pytest

from conftest import _run_tool
from support import CASE, GOLDEN, PICTURES, PREDICTION_TOLERANCE, Daemon, form, picture, tool_support

ENSEMBLE = GOLDEN / "ensemble"
MODELS = [(run, layer) for run in (1, 2) for layer in (1, 3)]
ROIS = {name: masks for name, _, masks in tool_support.read_rois(CASE / "algonauts/subj01")}


def scores(side):
    """[members][vertices]: the correlations saved beside each checkpoint."""
    tree = ENSEMBLE / "results/nsd_test/dinov2_q_transformer/subj_01/rois_all"
    return np.array([np.load(tree / f"enc_{layer}/run_{run}/{side}_val_corr.npy") for run, layer in MODELS])


@pytest.fixture(scope="module")
def daemon(golden_subject, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensemble")
    _run_tool("import", "--ensemble", ENSEMBLE / "results", "--data", CASE / "algonauts/subj01", "-o",
              folder / "ensemble.safetensors")
    backbone = {"weights": str(CASE / "dinov2_small_pretrain.pth"), "kind": "dinov2", "heads": 12}
    subjects = [{"name": name, "weights": str(path), "backbone": "small"}
                for name, path in (("ensemble", folder / "ensemble.safetensors"), ("single", golden_subject))]
    with Daemon(folder, {"backbones": {"small": backbone}, "subjects": subjects}) as serving:
        yield serving


def wanted_spread(side):
    """[images][vertices]: the standard deviation over runs of each run's own combination of layers."""
    corr = scores(side).reshape(2, 2, -1).mean(axis=0)  # [layers][vertices], over runs
    share = np.exp(40 * corr) / np.exp(40 * corr).sum(axis=0)
    each = np.load(ENSEMBLE / f"expected/{side}_pred_each.npy").astype(np.float64)
    each = each.reshape(2, 2, 2, -1)  # [runs][layers][images][vertices]
    return (each * share[None, :, None]).sum(axis=1).std(axis=0, ddof=1)


def test_the_spread_is_that_over_runs(daemon):
    headers, body = form(picture("a_425"), picture("b_425"))
    found = daemon.post("/predict?spread=true&subject=ensemble", body, headers).json()["predictions"]
    want = {side: wanted_spread(side) for side in ("lh", "rh")}
    for index, one in enumerate(found):
        for side in ("lh", "rh"):
            assert set(one[side]) == {"vertices", "spread"} and min(one[side]["spread"]) > 0
            assert np.abs(np.array(one[side]["spread"]) - want[side][index]).max() <= PREDICTION_TOLERANCE
        assert (one["model"]["members"], one["model"]["runs"], one["model"]["layers"]) == (4, 2, [1, 3])


def test_a_roi_has_the_mean_of_its_vertices_spreads(daemon):
    found = daemon.post("/predict?spread=true", picture()).json()
    plain = daemon.post("/predict", picture()).json()
    for one, other in zip(found["rois"], plain["rois"], strict=True):
        for side in ("lh", "rh"):
            mask, spread = ROIS[one["name"]][side], one[side].pop("spread")
            assert one[side] == other[side]
            if mask.any():
                assert spread == pytest.approx(np.array(found[side]["spread"])[mask].mean(), abs=1e-6)
            else:
                assert spread is None
    assert found["lh"]["vertices"] == plain["lh"]["vertices"] and set(plain["lh"]) == {"vertices"}
    some = daemon.post("/predict?spread=true&rois=FBA-1&output=vertices", picture()).json()
    assert some["lh"]["spread"] == [found["lh"]["spread"][i] for i in some["lh"]["indices"]]


def test_of_a_single_run_it_is_not_known(daemon):
    for subject in ("single", "ensemble,single"):
        assert "single has a single run" in daemon.refuses(409, "POST", f"/predict?spread=true&subject={subject}", picture())
    assert "spread" not in daemon.post("/predict?spread=false&subject=single", picture()).json()["lh"]
    told = {one["name"]: one for one in daemon.get("/subjects").json()["subjects"]}
    assert (told["ensemble"]["runs"], told["ensemble"]["layers"], told["single"]["runs"]) == (2, [1, 3], 1)
    assert "layers" not in told["single"]


def test_the_client_asks_for_it(daemon, tmp_path):
    out, server = tmp_path / "out.json", f"http://127.0.0.1:{daemon.port}"
    _run_tool("predict", PICTURES / "a_425.png", "--server", server, "--subject", "ensemble", "--spread", "-o", out)
    saved, found = json.loads(out.read_text())["predictions"][0], daemon.post("/predict?spread=true", picture()).json()
    assert (saved["lh"], saved["rh"], saved["rois"]) == (found["lh"], found["rh"], found["rois"])
