"""space=fsaverage and format=gifti: the numbers of the challenge's vertices, placed where the golden masks say."""
import re

import numpy as np
import pytest

from support import CASE, encode_png, form, in_parallel, noise, picture, tool_support, wait_until

FOLDER = CASE / "algonauts/subj01"
SIDES = ("lh", "rh")
LEFT, SURFACE = 300, 163842
placed, read_gifti = tool_support.placed, tool_support.read_gifti


@pytest.fixture(scope="module")
def surfaces():
    return {h: tool_support.surface_of(FOLDER, h) for h in SIDES}


@pytest.fixture(scope="module")
def challenge(golden_daemon):
    """The responses to picture a, by hemisphere."""
    return dict(zip(SIDES, np.split(golden_daemon.post("/predict?format=npy", picture()).array()[0], [LEFT])))


@pytest.fixture(scope="module")
def v1v():
    return next(masks for name, _, masks in tool_support.read_rois(FOLDER) if name == "V1v")


@pytest.fixture(scope="module")
def bare(golden_subject, golden_settings, tmp_path_factory):
    """The configuration of a golden subject without an fsaverage index."""
    path = tmp_path_factory.mktemp("bare") / "bare.safetensors"
    tool_support.rewrite_subject(golden_subject, path, tool_support.without_fsaverage)
    return {"backbones": golden_settings["backbones"],
            "subjects": [golden_settings["subjects"][0] | {"weights": str(path)}, golden_settings["subjects"][1]]}


def same_bits(a, b):
    a, b = np.asarray(a, "<f4"), np.asarray(b, "<f4")
    return a.shape == b.shape and np.array_equal(a.view(np.uint32), b.view(np.uint32))


# --- fsaverage ----------------------------------------------------------------------------------


def test_json_and_npy_on_fsaverage(golden_daemon, challenge, surfaces):
    own = golden_daemon.post("/predict", picture()).json()
    found = golden_daemon.post("/predict?space=fsaverage", picture()).json()
    assert found["space"] == "fsaverage" and "space" not in own
    for h in SIDES:
        assert set(found[h]) == {"vertices"}
        assert [number is not None for number in found[h]["vertices"]] == surfaces[h].tolist()
        assert same_bits(np.array(found[h]["vertices"], np.float32), placed(challenge[h], surfaces[h]))
    assert found["rois"] == own["rois"] and found["id"] == own["id"]
    answer = golden_daemon.post("/predict?space=fsaverage&format=npy", picture())
    assert same_bits(answer.array(), np.concatenate([placed(challenge[h], surfaces[h]) for h in SIDES])[None])
    assert answer.headers["X-Brainenc-Vertices"] == f"lh={SURFACE},rh={SURFACE}"


def test_rois_on_fsaverage_have_its_indices(golden_daemon, challenge, surfaces, v1v):
    found = golden_daemon.post("/predict?space=fsaverage&rois=V1v", picture()).json()
    for h in SIDES:
        assert found[h]["indices"] == np.flatnonzero(surfaces[h])[v1v[h]].tolist()
        assert same_bits(found[h]["vertices"], challenge[h][v1v[h]])
    answer = golden_daemon.post("/predict?space=fsaverage&rois=V1v&format=npy", picture())
    assert same_bits(answer.array()[0], np.concatenate([challenge[h][v1v[h]] for h in SIDES]))


def test_what_is_not_asked_for_says_nothing_of_a_space(golden_daemon):
    assert "space" not in golden_daemon.post("/predict?space=fsaverage&output=rois", picture()).json()


def test_the_places_of_a_subject_s_vertices(golden_daemon, bare, surfaces, start):
    entry, = golden_daemon.get("/rois?subject=subj01&output=vertices").json()["subjects"]
    assert entry["fsaverage"] == {h: np.flatnonzero(surfaces[h]).tolist() for h in SIDES}
    entries = start(**bare).get("/rois?output=vertices").json()["subjects"]
    assert entries[0]["fsaverage"] is None and len(entries[1]["fsaverage"]["lh"]) == 1000


def test_a_subject_whose_places_are_not_known_is_409(bare, start):
    daemon = start(**bare)
    for more in ("", "&format=npy&rois=FBA", "&subject=demo,subj01", "&format=gifti&hemi=lh"):
        answer = daemon.post(f"/predict?space=fsaverage{more}", noise(1), status=409)
        assert answer.json()["error"]["code"] == "no_fsaverage" and "subj01" in answer.error() and "index" in answer.error()
    assert daemon.post("/predict?space=fsaverage&subject=demo", noise(1)).json()["space"] == "fsaverage"


def test_the_bytes_of_a_larger_answer_are_counted(start):
    daemon = start(limits={"body": "1MiB", "bytes_in_flight": "5MiB"})
    small = encode_png(np.zeros((4, 4, 3)))
    for path in ("/predict?space=fsaverage", "/predict?space=fsaverage&format=gifti&hemi=lh"):
        assert "in flight" in daemon.refuses(503, "POST", path, small)
        wait_until(lambda: daemon.count("in_flight_bytes") == 0, "what was refused is let go")
    assert daemon.post("/predict", small).status == daemon.post("/predict?space=fsaverage&rois=FBA", small).status == 200


# --- GIFTI --------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("space", ["challenge", "fsaverage"])
def test_gifti_is_read_back_equal(golden_daemon, challenge, surfaces, space, side):
    path = f"/predict?format=gifti&hemi={side}&space={space}"
    answer = golden_daemon.post(path, picture())
    found = read_gifti(answer.body)
    assert answer.headers["Content-Type"] == "application/gifti+xml"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="subj01.{side}.func.gii"'
    own = golden_daemon.post("/predict", picture()).json()
    assert answer.headers["X-Brainenc-Id"] == own["id"] and "X-Brainenc-Demo" not in answer.headers
    if space == "fsaverage":
        assert found.index is None and same_bits(found.arrays, placed(challenge[side], surfaces[side])[None])
    else:
        assert same_bits(found.arrays[0], challenge[side]) and np.array_equal(found.index, np.flatnonzero(surfaces[side]))
    assert answer.headers["X-Brainenc-Vertices"] == f"{side}={found.arrays.shape[1]}"
    assert found.names == ["image 0"]
    assert found.meta["AnatomicalStructurePrimary"] == {"lh": "CortexLeft", "rh": "CortexRight"}[side]
    assert {key: found.meta[key] for key in ("subject", "space", "units", "weights", "version", "fit")} == {
        "subject": "subj01", "space": space, "units": own["model"]["units"], "weights": own["model"]["weights"],
        "version": own["model"]["version"], "fit": "crop"}
    answers = in_parallel([lambda: golden_daemon.post(path, picture()).body] * 6, 6)
    assert set(answers) == {answer.body}


def test_gifti_of_several_images_and_of_rois(golden_daemon, challenge, surfaces, v1v):
    headers, body = form(picture("b_425"), picture("a_425"))
    found = read_gifti(golden_daemon.post("/predict?format=gifti&hemi=rh&rois=V1v", body, headers).body)
    assert found.names == ["image 0", "image 1"] and same_bits(found.arrays[1], challenge["rh"][v1v["rh"]])
    assert np.array_equal(found.index, np.flatnonzero(surfaces["rh"])[v1v["rh"]]) and not same_bits(*found.arrays)


def test_gifti_is_the_file_the_tool_writes(demo, demo_daemon, tmp_path):
    """But for the pictures' names."""
    (tmp_path / "image 0").write_bytes(picture())
    model = ["--backbone", demo / "dinov2_demo_pretrain.pth", "--subject", demo / "subj01.safetensors"]
    tool_support.Tool().run("predict", "image 0", *model, "--space", "fsaverage", "-o", "out.func.gii", cwd=tmp_path)
    for h in SIDES:
        answer = demo_daemon.post(f"/predict?format=gifti&hemi={h}&space=fsaverage", picture())
        assert answer.body == (tmp_path / f"out.{h}.func.gii").read_bytes() and answer.headers["X-Brainenc-Demo"] == "true"
        assert read_gifti(answer.body).meta["demo"] == "true"


def test_gifti_without_an_index_names_the_subject_s_own_vertices(bare, start, v1v):
    found = read_gifti(start(**bare).post("/predict?format=gifti&hemi=lh&rois=V1v", picture()).body)
    assert np.array_equal(found.index, np.flatnonzero(v1v["lh"])) and "own" in found.about_index


def test_gifti_by_accept(golden_daemon):
    accept = {"Accept": "application/gifti+xml"}
    assert read_gifti(golden_daemon.post("/predict?hemi=lh", picture(), accept).body).names == ["image 0"]
    assert "hemi" in golden_daemon.refuses(400, "POST", "/predict", picture(), accept)
    assert golden_daemon.post("/predict?format=json", picture(), accept).json()["subject"] == "subj01"


@pytest.mark.parametrize("path, words", [
    ("format=gifti", ["hemi=lh", "hemi=rh"]), ("format=gifti&hemi=both", ["hemi", "both", "lh, rh"]),
    ("hemi=lh", ["hemi", "gifti"]), ("format=npy&hemi=lh", ["hemi", "gifti"]),
    ("format=gifti&hemi=lh&subject=all", ["format", "JSON"]),
    ("format=gifti&hemi=lh&attention=FBA", ["attention", "JSON"]), ("format=gifti&hemi=rh&rois=mTL-faces", ["GIFTI", "rh"]),
])
def test_what_a_gifti_file_cannot_hold(golden_daemon, path, words):
    sentence = golden_daemon.refuses(400, "POST", f"/predict?{path}", picture())
    assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize("space", ["challenge", "fsaverage"])
def test_a_gifti_file_without_a_vertex_is_refused_before_anything_is_computed(golden_daemon, space):
    """A body that is no picture is refused when it is decoded, so the ROIs were looked at before."""
    before = golden_daemon.count("stage_seconds_count", stage="backbone")
    for body in (picture(), b"no picture"):
        sentence = golden_daemon.refuses(400, "POST", f"/predict?format=gifti&hemi=rh&rois=mTL-faces&space={space}", body)
        assert sentence == "GIFTI: a file must hold a vertex: the ROIs asked for have none in rh"
    assert golden_daemon.count("stage_seconds_count", stage="backbone") == before
    golden_daemon.post(f"/predict?format=gifti&hemi=lh&rois=mTL-faces&space={space}", picture())
    assert golden_daemon.count("stage_seconds_count", stage="backbone") == before + 1


def test_a_file_is_named_after_the_subject_whatever_it_is_called(start, demo_settings):
    subject = 'a "quoted" \\ ../Ä'
    daemon = start(subjects=[demo_settings["subjects"][0] | {"name": subject}])
    answer = daemon.post("/predict?format=gifti&hemi=lh", noise(1))
    name = re.fullmatch('attachment; filename="([^"]*)"', answer.headers["Content-Disposition"])[1]
    assert re.fullmatch(r"[A-Za-z0-9._-]+\.lh\.func\.gii", name) and read_gifti(answer.body).meta["subject"] == subject
