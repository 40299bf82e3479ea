"""Subjects of every kind of backbone, encoder and readout, served by one daemon: the published program's numbers over HTTP."""
import numpy as np
import pytest

from conftest import _run_tool
from golden_cases import BACKBONES, CASES, GOLDEN, LARGE, SMALL, WITH_MAPS
from support import Daemon


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    folder = tmp_path_factory.mktemp("variants")
    subjects = []
    for case in CASES:
        path = folder / f"{case.name}.safetensors"
        _run_tool(*case.import_arguments(path))
        subjects.append({"name": case.name, "weights": str(path), "backbone": case.backbone})
    with Daemon(folder, {"backbones": BACKBONES, "subjects": subjects}) as serving:
        yield serving


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_predictions_are_the_published_programs(daemon, case):
    want = case.predictions()
    found = np.concatenate([daemon.post(f"/predict?subject={case.name}&format=npy", path.read_bytes()).array()
                            for path in case.pictures])
    assert found.shape == want.shape and np.abs(found - want).max() <= case.tolerance


@pytest.mark.parametrize("case", WITH_MAPS, ids=lambda case: case.name)
def test_maps_are_the_published_programs(daemon, case):
    want = np.load(case.maps_file())
    found = daemon.post(f"/attention?roi=all&subject={case.name}&format=npy", case.pictures[0].read_bytes()).array()
    queries = found.swapaxes(0, 1).reshape(-1, found.shape[2] * found.shape[3])
    step = -(-len(queries) // want.shape[1])
    assert np.abs(queries[::step] - want[0]).max() <= case.map_tolerance


def test_the_maps_of_an_ensemble_are_its_members_mean(daemon):
    want = np.load(GOLDEN / "ensemble/expected/attention_rows.npy").mean(axis=0)  # every fifth query
    found = daemon.post("/attention?roi=all&subject=ensemble&format=npy", LARGE[0].read_bytes()).array()
    assert np.abs(found.swapaxes(0, 1).reshape(50, -1)[::5] - want).max() <= 2e-6


def test_one_pass_serves_all_subjects_of_a_backbone(daemon):
    names = [case.name for case in CASES if case.backbone == "dinov2"]
    together = daemon.post(f"/predict?subject={','.join(names)}&output=vertices", LARGE[0].read_bytes()).json()["predictions"]
    for name, prediction in zip(names, together, strict=True):
        alone = daemon.post(f"/predict?subject={name}&output=vertices", LARGE[0].read_bytes()).json()
        assert prediction["subject"] == name and (prediction["lh"], prediction["rh"]) == (alone["lh"], alone["rh"])


@pytest.mark.parametrize("name", ["linear_q", "linear_q_cls"])
def test_an_encoder_without_queries_has_no_maps(daemon, name):
    picture = LARGE[0].read_bytes()
    for method, path, body in (("GET", f"/attention?roi=FBA&subject={name}", None),
                               ("POST", f"/attention?roi=FBA&subject={name}", picture),
                               ("POST", f"/predict?attention=FBA&subject={name}", picture)):
        assert "no attention maps" in daemon.refuses(409, method, path, body)


def test_the_held_prediction_decides_not_the_default_subject(start, daemon):
    names = ("linear_q", "dinov2q_enc3")
    served = [next(it for it in daemon.settings["subjects"] if it["name"] == name) for name in names]
    other = start(backbones={"dinov2": BACKBONES["dinov2"]}, subjects=served)
    assert "no attention maps" in other.refuses(409, "GET", "/attention?roi=FBA")  # of the default subject there never are any
    made = other.post("/predict?subject=dinov2q_enc3&output=rois", LARGE[0].read_bytes()).json()["id"]
    for path in ("/attention?roi=FBA", f"/attention?roi=FBA&id={made}"):
        assert other.get(path).json()["subject"] == "dinov2q_enc3"
    assert "not held" in other.refuses(404, "GET", "/attention?roi=FBA&id=" + "0" * 32)


def test_the_most_recent_prediction_is_meant_though_it_has_no_maps(daemon):
    """Not the one before it, of another picture."""
    daemon.post("/predict?subject=dinov2q_enc3&output=rois", LARGE[1].read_bytes())
    made = daemon.post("/predict?subject=linear_q&output=rois", LARGE[0].read_bytes()).json()["id"]
    for path in ("/attention?roi=FBA-1", f"/attention?roi=FBA-1&id={made}", "/attention?vertex=lh:1",
                 "/attention?roi=FBA&subject=linear_q"):
        assert "linear_q has no attention maps" in daemon.refuses(409, "GET", path)
    assert daemon.get("/attention?roi=FBA-1&subject=dinov2q_enc3").json()["subject"] == "dinov2q_enc3"


def test_a_static_map_says_so(daemon):
    for name, dynamic in (("spatial_rois", False), ("dinov2q_enc3", True)):
        answer = daemon.post(f"/attention?roi=FBA-1&subject={name}", LARGE[0].read_bytes()).json()
        assert [it["dynamic"] for it in answer["maps"]] == [dynamic, dynamic]
        assert np.array(answer["maps"][0]["weights"]).sum() == pytest.approx(1, abs=1e-5)


def test_the_map_of_a_hemisphere_stands_for_its_rois(daemon):
    picture = LARGE[0].read_bytes()
    want = np.load(GOLDEN / "variants/hemis_patched/expected/attention.npy")[0]
    for roi in ("V1v", "FBA-1", "rest"):
        maps = daemon.post(f"/attention?roi={roi}&subject=hemis_patched", picture).json()["maps"]
        for found, expected in zip(maps, want, strict=True):
            assert np.abs(np.array(found["weights"]).ravel() - expected).max() <= 2e-6


def test_a_shape_nobody_was_trained_on_is_refused_for_one_request_alone(daemon):
    assert "224 x 224" in daemon.refuses(400, "POST", "/predict?subject=clip-transformer_rois&fit=native", LARGE[0].read_bytes())
    assert "31 x 31" in daemon.refuses(400, "POST", "/predict?subject=spatial_rois&fit=native", SMALL[0].read_bytes())
    assert daemon.post("/predict?subject=dinov2q_enc3&fit=native&output=rois",
                       SMALL[0].read_bytes()).json()["image"]["grid"] == [16, 16]


def test_what_is_loaded_is_told(daemon):
    told = {it["name"]: it for it in daemon.get("/subjects").json()["subjects"]}
    assert list(told) == [case.name for case in CASES]
    for name, encoder, readout in (("custom_rois", "custom_transformer", "rois_all"), ("voxels", "transformer", "voxels"),
                                   ("streams_inc_patched", "transformer", "streams_inc"), ("linear_q", "linear", "rois_all")):
        model = daemon.post(f"/predict?subject={name}&output=rois", LARGE[0].read_bytes()).json()["model"]
        assert (model["encoder"], model["readout"]) == (encoder, readout)
