"""Subjects of every kind of backbone, encoder and readout, served by one daemon: the published program's numbers over HTTP."""
import numpy as np
import pytest

from conftest import _run_tool
from support import CASE, GOLDEN, Daemon

TINY = GOLDEN / "variants/algonauts_tiny/subj02"
LARGE = (CASE / "images/a_425.png", CASE / "images/b_425.png")
SMALL = (GOLDEN / "clip/images/e_224.png", GOLDEN / "clip/images/f_224.png")
CASES = {  # folder, backbone, options of import, pictures, tolerance
    "layer3": ("variants/dinov2q_enc3", "dinov2", [], LARGE, 2e-5),
    "normed": ("variants/dinov2_enc1_patched", "dinov2", [], LARGE, 2e-5),
    "encoded": ("variants/enc_layers2", "dinov2", [], LARGE, 2e-5),
    "custom": ("variants/custom_rois", "dinov2", [], LARGE, 4e-5),
    "spatial": ("variants/spatial_rois", "dinov2", [], LARGE, 2e-5),
    "linear": ("variants/linear_q", "dinov2", ["--data", TINY], LARGE, 2e-5),
    "class": ("variants/linear_q_cls", "dinov2", [], LARGE, 2e-5),
    "hemis": ("variants/hemis_patched", "dinov2", [], LARGE, 2e-5),
    "streams": ("variants/streams_inc_patched", "dinov2", ["--streams-order", "rest-last"], LARGE, 2e-5),
    "voxels": ("variants/voxels", "dinov2", [], LARGE, 2e-5),
    "clip": ("clip/transformer_rois", "clip", [], SMALL, 2e-5),
    "clip_cls": ("clip/linear_cls", "clip", [], SMALL, 2e-5),
    "resnet18": ("resnet/resnet18", "resnet18", [], SMALL, 4e-5),
    "resnet50": ("resnet/resnet50", "resnet50", [], SMALL, 4e-4),
}
BACKBONES = {
    "dinov2": {"weights": str(CASE / "dinov2_small_pretrain.pth"), "kind": "dinov2", "heads": 12},
    "clip": {"weights": str(GOLDEN / "clip/open_clip_narrow.pth"), "kind": "clip"},
    "resnet18": {"weights": str(GOLDEN / "resnet/resnet18_narrow.pth"), "kind": "resnet"},
    "resnet50": {"weights": str(GOLDEN / "resnet/resnet50_narrow.pth"), "kind": "resnet"},
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    folder = tmp_path_factory.mktemp("variants")
    subjects = []
    for name, (case, backbone, options, _, _) in CASES.items():
        data = [] if "--data" in options else ["--data", CASE / "algonauts/subj01"]
        _run_tool("import", GOLDEN / case / "checkpoint.pth", *options, *data, "-o", folder / f"{name}.safetensors")
        subjects.append({"name": name, "weights": str(folder / f"{name}.safetensors"), "backbone": backbone})
    with Daemon(folder, {"backbones": BACKBONES, "subjects": subjects}) as serving:
        yield serving


@pytest.mark.parametrize("name", CASES)
def test_predictions_are_the_published_programs(daemon, name):
    case, _, _, pictures, tolerance = CASES[name]
    want = np.concatenate([np.load(GOLDEN / case / "expected/lh_pred.npy"), np.load(GOLDEN / case / "expected/rh_pred.npy")], axis=1)
    found = np.concatenate([daemon.post(f"/predict?subject={name}&format=npy", path.read_bytes()).array() for path in pictures])
    assert found.shape == want.shape and np.abs(found - want).max() <= tolerance


def test_one_pass_serves_all_subjects_of_a_backbone(daemon):
    names = [name for name, case in CASES.items() if case[1] == "dinov2"]
    together = daemon.post(f"/predict?subject={','.join(names)}&output=vertices", LARGE[0].read_bytes()).json()["predictions"]
    for name, prediction in zip(names, together, strict=True):
        alone = daemon.post(f"/predict?subject={name}&output=vertices", LARGE[0].read_bytes()).json()
        assert prediction["subject"] == name and (prediction["lh"], prediction["rh"]) == (alone["lh"], alone["rh"])


@pytest.mark.parametrize("name", ["linear", "class"])
def test_an_encoder_without_queries_has_no_maps(daemon, name):
    picture = LARGE[0].read_bytes()
    for method, path, body in (("GET", f"/attention?roi=FBA&subject={name}", None), ("POST", f"/attention?roi=FBA&subject={name}", picture),
                               ("POST", f"/predict?attention=FBA&subject={name}", picture)):
        assert "no attention maps" in daemon.refuses(409, method, path, body)


def test_the_held_prediction_decides_not_the_default_subject(start, daemon):
    names = ("linear", "layer3")
    served = [next(it for it in daemon.settings["subjects"] if it["name"] == name) for name in names]
    other = start(backbones={"dinov2": BACKBONES["dinov2"]}, subjects=served)
    assert "no attention maps" in other.refuses(409, "GET", "/attention?roi=FBA")  # of the default subject there never are any
    made = other.post("/predict?subject=layer3&output=rois", LARGE[0].read_bytes()).json()["id"]
    for path in ("/attention?roi=FBA", f"/attention?roi=FBA&id={made}"):
        assert other.get(path).json()["subject"] == "layer3"
    assert "not held" in other.refuses(404, "GET", "/attention?roi=FBA&id=" + "0" * 32)


def test_a_static_map_says_so(daemon):
    for name, dynamic in (("spatial", False), ("layer3", True)):
        answer = daemon.post(f"/attention?roi=FBA-1&subject={name}", LARGE[0].read_bytes()).json()
        assert [it["dynamic"] for it in answer["maps"]] == [dynamic, dynamic]
        assert np.array(answer["maps"][0]["weights"]).sum() == pytest.approx(1, abs=1e-5)


def test_the_map_of_a_hemisphere_stands_for_its_rois(daemon):
    picture = LARGE[0].read_bytes()
    want = np.load(GOLDEN / "variants/hemis_patched/expected/attention.npy")[0]
    for roi in ("V1v", "FBA-1", "rest"):
        maps = daemon.post(f"/attention?roi={roi}&subject=hemis", picture).json()["maps"]
        for found, expected in zip(maps, want, strict=True):
            assert np.abs(np.array(found["weights"]).ravel() - expected).max() <= 2e-6


def test_the_maps_of_streams_are_their_queries(daemon):
    want = np.load(GOLDEN / "variants/streams_inc_patched/expected/attention.npy")[0]
    step = -(-16 // len(want))
    maps = daemon.post("/attention?roi=all&subject=streams", LARGE[0].read_bytes()).json()["maps"]
    found = [np.array(it["weights"]).ravel() for side in ("lh", "rh") for it in maps if it["hemi"] == side]
    assert len(found) == 16 and np.abs(np.array(found)[::step] - want).max() <= 2e-6


def test_a_shape_nobody_was_trained_on_is_refused_for_one_request_alone(daemon):
    assert "224 x 224" in daemon.refuses(400, "POST", "/predict?subject=clip&fit=native", LARGE[0].read_bytes())
    assert "31 x 31" in daemon.refuses(400, "POST", "/predict?subject=spatial&fit=native", SMALL[0].read_bytes())
    assert daemon.post("/predict?subject=layer3&fit=native&output=rois", SMALL[0].read_bytes()).json()["image"]["grid"] == [16, 16]


def test_what_is_loaded_is_told(daemon):
    told = {it["name"]: it for it in daemon.get("/subjects").json()["subjects"]}
    assert list(told) == list(CASES)
    for name, encoder, readout in (("custom", "custom_transformer", "rois_all"), ("voxels", "transformer", "voxels"),
                                   ("streams", "transformer", "streams_inc"), ("linear", "linear", "rois_all")):
        model = daemon.post(f"/predict?subject={name}&output=rois", LARGE[0].read_bytes()).json()["model"]
        assert (model["encoder"], model["readout"]) == (encoder, readout)
