"""/attention of subjects with a query a vertex: maps of single vertices, and of ROIs as the mean over their vertices."""
import time

import numpy as np
import pytest

from conftest import _run_tool
from support import (ATTENTION_TOLERANCE, CASE, GOLDEN, Daemon, decode_png, head, noise, npy, picture, tool_support,
                     wait_until)

TINY = GOLDEN / "variants/algonauts_tiny/subj02"
LEFT, RIGHT = 300, 320
ROIS = {name: masks for name, _, masks in tool_support.read_rois(CASE / "algonauts/subj01")}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Subject files: by vertex of layer 1 and 3, both as one ensemble, and others."""
    folder = tmp_path_factory.mktemp("vertices")
    large = CASE / "algonauts/subj01"
    for name, case, data in (("voxels", "voxels", large), ("static", "spatial_voxels", TINY), ("linear", "linear_q", TINY),
                             ("rois", "dinov2q_enc3", large)):
        _run_tool("import", GOLDEN / "variants" / case / "checkpoint.pth", "--data", data, "-o", folder / f"{name}.safetensors")
    voxels, layers = folder / "voxels.safetensors", [{"layer": 1}, {"layer": 3}]
    zeros = [{"lh": np.zeros((n, LEFT)), "rh": np.zeros((n, RIGHT))} for n in (1, 2)]
    tool_support.join_members([voxels], folder / "deep.safetensors", zeros[0], layers[1:])
    tool_support.join_members([voxels, voxels], folder / "both.safetensors", zeros[1], layers)
    return folder


@pytest.fixture(scope="module")
def settings(files):
    return {"backbones": {"small": {"weights": str(CASE / "dinov2_small_pretrain.pth"), "kind": "dinov2", "heads": 12}},
            "subjects": [{"name": name, "weights": str(files / f"{name}.safetensors"), "backbone": "small"}
                         for name in ("voxels", "static", "linear", "rois", "deep", "both")]}


@pytest.fixture(scope="module")
def daemon(settings, tmp_path_factory):
    with Daemon(tmp_path_factory.mktemp("served"), settings) as serving:
        yield serving


def name_of(vertex):
    return f"lh:{vertex}" if vertex < LEFT else f"rh:{vertex - LEFT}"


def maps_of(daemon, vertices, body=None, **options):
    """[vertices][rows][columns], asked as many at a time as may be."""
    more = "".join(f"&{key}={value}" for key, value in options.items())
    names = [",".join(map(name_of, vertices[i:i + 64])) for i in range(0, len(vertices), 64)]
    answers = [daemon.post(f"/attention?vertex={part}&format=npy{more}", body or picture()) for part in names]
    return np.concatenate([answer.array() for answer in answers])


def test_maps_are_the_published_programs(daemon):
    want = np.load(GOLDEN / "variants/voxels/expected/attention.npy")[0]
    vertices = range(0, LEFT + RIGHT, 31)
    found = daemon.post(f"/attention?vertex={','.join(map(name_of, vertices))}", picture()).json()
    assert found["grid"] == [31, 31] and len(found["maps"]) == len(want)
    for one, vertex, expected in zip(found["maps"], vertices, want, strict=True):
        assert set(one) == {"vertex", "hemi", "dynamic", "weights"}
        assert (one["vertex"], one["hemi"], one["dynamic"]) == (name_of(vertex), name_of(vertex)[:2], True)
        assert np.abs(np.array(one["weights"]).ravel() - expected).max() <= ATTENTION_TOLERANCE


def test_a_static_map_is_the_softmax_of_its_weights(daemon, files):
    weights = tool_support.read_safetensors(files / "static.safetensors")[0]["members.0.spatial_embed.weight"].astype(np.float64)
    want = np.exp(weights) / np.exp(weights).sum(axis=1, keepdims=True)
    found = daemon.post("/attention?vertex=lh:0,lh:7,rh:0,rh:5&subject=static", picture()).json()["maps"]
    for one, expected in zip(found, want[[0, 7, 8, 13]], strict=True):
        assert one["dynamic"] is False and np.abs(np.array(one["weights"]).ravel() - expected).max() <= 1e-6


@pytest.mark.parametrize("roi, members", [("FBA-1", ["FBA-1"]), ("FBA", ["FBA-1", "FBA-2"]), ("rest", ["rest"])])
def test_the_map_of_a_roi_is_the_mean_over_its_vertices(daemon, roi, members):
    found = daemon.post(f"/attention?roi={roi}", picture()).json()["maps"]
    assert [(one["roi"], one["members"], one["hemi"]) for one in found] == [(roi, members, "lh"), (roi, members, "rh")]
    for one, side, first in zip(found, ("lh", "rh"), (0, LEFT)):
        union = np.any([ROIS[name][side] for name in members], axis=0)
        want = maps_of(daemon, list(first + np.flatnonzero(union))).astype(np.float64).mean(axis=0)
        assert np.abs(np.array(one["weights"]) - want).max() <= ATTENTION_TOLERANCE


def test_where_a_roi_has_no_vertices_there_is_no_map(daemon):
    found = daemon.post("/attention?roi=mTL-faces,FBA", picture()).json()["maps"]
    assert [(one["roi"], one["hemi"], one["weights"] is None) for one in found] == [
        ("mTL-faces", "lh", False), ("mTL-faces", "rh", True), ("FBA", "lh", False), ("FBA", "rh", False)]
    array = daemon.post("/attention?roi=mTL-faces,FBA&heads=all&format=npy", picture()).array()
    assert array.shape == (2, 2, 16, 31, 31) and np.isnan(array[0, 1]).all() and np.isfinite(array[[0, 1, 1], [0, 0, 1]]).all()
    for method, body in (("POST", picture()), ("GET", None)):
        assert "no vertex in the right" in daemon.refuses(404, method, "/attention?roi=mTL-faces&format=png", body)
    assert daemon.post("/attention?roi=mTL-faces&format=png&hemi=lh", picture()).headers["Content-Type"] == "image/png"


def test_a_held_prediction_answers_without_the_backbone(daemon):
    made = daemon.post("/predict?output=rois", noise(1)).json()["id"]
    images, held = daemon.count("images_total"), daemon.count("results_held_bytes")
    assert held >= 4 * 961 * 96  # the features
    for query in ("vertex=lh:12,rh:7", "vertex=rh:7&heads=all", "roi=FBA", "roi=FBA&heads=all&hemi=rh", "roi=PPA&format=npy",
                  "vertex=lh:12&format=png", "vertex=lh:12,rh:7&format=npy"):
        for which in ("", f"&id={made}"):
            got = daemon.get(f"/attention?{query}{which}")
            assert daemon.count("images_total") == images
            posted = daemon.post(f"/attention?{query}", noise(1))
            images = daemon.count("images_total")
            assert got.headers["Content-Type"] == posted.headers["Content-Type"] and got.body == posted.body
    assert daemon.get("/attention?vertex=lh:0").json()["id"] == made


def test_single_heads_have_the_map_for_their_mean(daemon):
    mean = maps_of(daemon, [5, LEFT + 6])
    heads = maps_of(daemon, [5, LEFT + 6], heads="all")
    assert heads.shape == (2, 16, 31, 31) and heads.std(axis=1).max() > 1e-3
    np.testing.assert_allclose(heads.mean(axis=1), mean, rtol=0, atol=1e-7)
    listed = daemon.post("/attention?vertex=lh:5,rh:6&heads=all", picture()).json()["maps"]
    assert [(one["vertex"], one["head"]) for one in listed] == [(name, head) for name in ("lh:5", "rh:6") for head in range(16)]
    assert np.array([one["weights"] for one in listed], np.float32).tobytes() == heads.tobytes()


def test_an_ensembles_map_is_the_mean_over_its_members_layers(daemon):
    vertices = [0, 31, LEFT + 319]
    alone = [maps_of(daemon, vertices, subject=name) for name in ("voxels", "deep")]
    assert np.abs(alone[0] - alone[1]).max() > 1e-4
    assert np.abs(maps_of(daemon, vertices, subject="both") - (alone[0] + alone[1]) / 2).max() <= 1e-7
    daemon.post("/predict?subject=both&output=rois", picture())
    held = daemon.get("/attention?vertex=lh:31&format=npy&subject=both").array()
    assert held.tobytes() == maps_of(daemon, [31], subject="both").tobytes()


def test_predict_adds_the_maps_of_rois(daemon):
    added = daemon.post("/predict?attention=FBA,mTL-faces&output=rois&subject=voxels,rois", picture()).json()["predictions"]
    for one in added:
        alone = daemon.post(f"/attention?roi=FBA,mTL-faces&subject={one['subject']}", picture()).json()
        assert one["maps"] == alone["maps"] and one["grid"] == alone["grid"]


def test_a_picture_shows_one_vertex(daemon):
    image = decode_png(daemon.post("/attention?vertex=rh:3&format=png", picture()).body)
    low = 0.6 * decode_png(picture())
    assert image.shape == (425, 425, 3) and (image >= low - 1).all() and (image <= low + 0.4 * 255 + 1).all()
    assert "exactly one vertex" in daemon.refuses(400, "POST", "/attention?vertex=rh:3,lh:3&format=png", picture())


@pytest.mark.parametrize("query, status, words", [
    ("vertex=lh:1&roi=FBA", 400, "one or the other"), ("heads=mean", 400, "whose map"), ("vertex=lh:1&hemi=lh", 400, "hemi"),
    ("vertex=lh:300", 404, "below 300 (lh) and 320 (rh)"), ("vertex=lh:1,rh:320", 404, "'rh:320'"), ("vertex=", 400, "''"),
    ("vertex=12", 400, "lh:NUMBER"), ("vertex=lh:-1", 400, "'lh:-1'"), ("vertex=lh:1,", 400, "''"),
    ("vertex=" + ",".join(f"lh:{i}" for i in range(65)), 400, "more than 64"),
    ("vertex=lh:1&subject=rois", 409, "name a roi"), ("vertex=lh:1&subject=linear", 409, "no attention maps"),
])
def test_what_cannot_be_asked(daemon, query, status, words):
    daemon.post("/predict?subject=rois,voxels&output=rois", picture())
    for method, body in (("POST", picture()), ("GET", None)):
        message = daemon.refuses(status, method, f"/attention?{query}", body)
        assert words in message


def test_each_subject_must_have_such_maps(daemon):
    assert "rois has a map of each ROI" in daemon.refuses(409, "POST", "/attention?vertex=lh:1&subject=voxels,rois", picture())
    found = daemon.post("/attention?vertex=lh:1&subject=voxels,static", picture()).json()["predictions"]
    assert [(one["subject"], one["maps"][0]["vertex"]) for one in found] == [("voxels", "lh:1"), ("static", "lh:1")]
    daemon.post("/predict?subject=rois&output=rois", picture())
    assert "name a roi" in daemon.refuses(409, "GET", "/attention?vertex=lh:1")


def test_features_are_held_within_the_bound(start, settings):
    other = start(results={"held": "1MiB"}, **{key: settings[key] for key in ("backbones", "subjects")})
    first = other.post("/predict?output=rois", noise(1)).json()["id"]  # 541,875 bytes of picture and 369,024 of features
    second = other.post("/predict?output=rois", noise(2)).json()["id"]
    assert 0 < other.count("results_held_bytes") <= 1 << 20 and other.count("results_held") == 1
    assert "POST" in other.refuses(404, "GET", f"/attention?vertex=lh:1&id={first}")
    assert other.get(f"/attention?vertex=lh:1&id={second}").json()["id"] == second
    both = other.post("/predict?output=rois&subject=both", noise(1)).json()["id"]  # features of two layers: too large
    assert "POST" in other.refuses(404, "GET", f"/attention?vertex=lh:1&id={both}")


def test_who_leaves_gets_no_more_maps(start, settings, tmp_path):
    images, parcels = 12, tmp_path / "parcels.safetensors"
    for side, vertices in (("lh", LEFT), ("rh", RIGHT)):
        np.save(tmp_path / f"{side}.npy", np.arange(1, vertices + 1))
    (tmp_path / "names").write_text("".join(f"parcel {i}\n" for i in range(1, RIGHT + 1)))
    _run_tool("import", GOLDEN / "variants/voxels/checkpoint.pth", "--data", CASE / "algonauts/subj01", "-o", parcels,
              "--parcellation", f"{tmp_path}/lh.npy,{tmp_path}/rh.npy", "--parcellation-names", tmp_path / "names")
    daemon = start(backbones=settings["backbones"], limits={"deadline_ms": 600_000, "bytes_in_flight": "1GiB"},
                   subjects=[{"name": "parcels", "weights": str(parcels), "backbone": "small"}])
    path, body = "/predict?output=rois&attention=all", npy(np.random.default_rng(1).integers(0, 255, (images, 32, 32, 3), np.uint8))
    begun = time.monotonic()
    daemon.post(path, noise(1))
    one = time.monotonic() - begun
    leaving = daemon.socket(head(len(body), path) + body)
    wait_until(lambda: daemon.count("images_total") > images, "all are predicted, and their maps come next")
    begun = time.monotonic()
    leaving.close()
    wait_until(lambda: daemon.count("in_flight") == 0, "it is done with")
    assert time.monotonic() - begun < 0.25 * images * one
