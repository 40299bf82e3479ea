"""brainenc predict: vertices placed on fsaverage, and GIFTI files that nibabel reads back equal."""
import json
import os
import resource
import signal

import numpy as np
import pytest

from support import (CASE, DATA, GOLDEN, MISSING, PARTIAL, PICTURES, SYSTEM, USAGE, placed, read_gifti, read_rois,
                     rewrite_subject, surface_of, without_fsaverage)

A, B = PICTURES / "a_425.png", PICTURES / "b_425.png"
FOLDER = CASE / "algonauts/subj01"
SIDES = ("lh", "rh")
LEFT, SURFACE = 300, 163842


@pytest.fixture(scope="module")
def surfaces():
    found = {h: surface_of(FOLDER, h) for h in SIDES}
    assert all(len(surface) == SURFACE for surface in found.values()) and found["lh"].sum() == LEFT
    return found


@pytest.fixture(scope="module")
def challenge(tool, model, tmp_path_factory):
    """The responses to a and b, by hemisphere."""
    path = tmp_path_factory.mktemp("challenge") / "out.npy"
    tool.run("predict", A, B, *model, "-o", path)
    return dict(zip(SIDES, np.split(np.load(path), [LEFT], axis=1)))


@pytest.fixture(scope="module")
def bare(subject, tmp_path_factory):
    """The golden model without an fsaverage index."""
    path = rewrite_subject(subject, tmp_path_factory.mktemp("bare") / "bare.safetensors", without_fsaverage)
    return ["--backbone", CASE / "dinov2_small.safetensors", "--subject", path]


def members(name):
    """The golden masks of a ROI, by hemisphere."""
    return next(masks for roi, _, masks in read_rois(FOLDER) if roi == name)


def same_bits(a, b):
    return a.dtype == b.dtype == np.dtype("<f4") and a.shape == b.shape and np.array_equal(a.view(np.uint32), b.view(np.uint32))


# --- fsaverage ----------------------------------------------------------------------------------


def test_npy_on_fsaverage_is_the_prediction_where_the_masks_say(tool, model, challenge, surfaces, tmp_path):
    tool.run("predict", A, B, *model, "--space", "fsaverage", "-o", tmp_path / "out.npy")
    rows = np.load(tmp_path / "out.npy")
    assert same_bits(rows, np.concatenate([placed(challenge[h], surfaces[h]) for h in SIDES], axis=1))
    about = json.loads((tmp_path / "out.npy.json").read_text())
    assert about["space"] == "fsaverage" and about["columns"] == {"lh": SURFACE, "rh": SURFACE} and "lh_indices" not in about
    tool.run("predict", A, *model, "--space", "challenge", "-o", tmp_path / "own.npy")
    assert same_bits(np.load(tmp_path / "own.npy"), np.concatenate([challenge[h][:1] for h in SIDES], axis=1))
    assert json.loads((tmp_path / "own.npy.json").read_text())["space"] == "challenge"


def test_json_on_fsaverage_has_null_outside(tool, model, challenge, surfaces):
    here = tool.run("predict", A, *model, "--json").json()["predictions"][0]
    there = tool.run("predict", A, *model, "--json", "--space", "fsaverage").json()["predictions"][0]
    assert there["space"] == "fsaverage" and "space" not in here
    for h in SIDES:
        numbers = there[h]["vertices"]
        assert [number is not None for number in numbers] == surfaces[h].tolist()
        assert same_bits(np.array(numbers, np.float32), placed(challenge[h][0], surfaces[h]))
    assert there["rois"] == here["rois"]


def test_rois_on_fsaverage_have_its_indices(tool, model, challenge, surfaces, tmp_path):
    masks = members("V1v")
    answer = tool.run("predict", A, *model, "--json", "--space", "fsaverage", "--rois", "V1v").json()["predictions"][0]
    tool.run("predict", A, *model, "--space", "fsaverage", "--rois", "V1v", "-o", tmp_path / "out.npy")
    row, about = np.load(tmp_path / "out.npy")[0], json.loads((tmp_path / "out.npy.json").read_text())
    for h in SIDES:
        assert answer[h]["indices"] == about[f"{h}_indices"] == np.flatnonzero(surfaces[h])[masks[h]].tolist()
        assert same_bits(np.array(answer[h]["vertices"], np.float32), challenge[h][0][masks[h]])
    assert same_bits(row, np.concatenate([challenge[h][0][masks[h]] for h in SIDES]))
    assert about["columns"] == {h: int(masks[h].sum()) for h in SIDES}


def test_a_surface_of_another_size(tool, tmp_path):
    """400 vertices, as this subject's file says."""
    folder = GOLDEN / "variants/algonauts_tiny/subj02"
    tool.run("import", GOLDEN / "variants/spatial_voxels/checkpoint.pth", "--data", folder, "-o", tmp_path / "s.safetensors")
    model = ["--backbone", CASE / "dinov2_small.safetensors", "--subject", tmp_path / "s.safetensors"]
    tool.run("predict", A, *model, "-o", tmp_path / "own.npy")
    tool.run("predict", A, *model, "--space", "fsaverage", "-o", tmp_path / "out.npy")
    surface = np.concatenate([surface_of(folder, h) for h in SIDES])
    assert len(surface) == 800 and same_bits(np.load(tmp_path / "out.npy"), placed(np.load(tmp_path / "own.npy"), surface))


def test_an_index_that_is_not_there_or_does_not_ascend_is_named(tool, subject, bare, tmp_path):
    def swap(_, tensors):
        index = tensors["fsaverage.rh"]
        index[[6, 7]] = index[[7, 6]]

    def repeat(_, tensors):
        tensors["fsaverage.rh"][7] = tensors["fsaverage.rh"][6]
    assert "no index" in tool.refuses(DATA, "predict", A, *bare, "--space", "fsaverage", "-o", tmp_path / "out.npy")
    for number, change in enumerate((swap, repeat)):
        path = rewrite_subject(subject, tmp_path / f"{number}.safetensors", change)
        for output in ("out.npy", "out.json", "out.func.gii"):
            sentence = tool.refuses(DATA, "predict", A, *bare[:2], "--subject", path, "--space", "fsaverage", "-o",
                                    tmp_path / output)
            assert "subj01" in sentence and "ascend" in sentence and "rh vertex 7" in sentence
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.safetensors", "1.safetensors"]


@pytest.mark.parametrize("arguments, word", [
    (["--space", "moon", "--json"], "challenge, fsaverage"), (["--space", "fsaverage"], "-o FILE or --json"),
    (["-o", "out.gii"], ".func.gii"), (["-o", "out.func.gii", "--output", "rois"], "--output"),
    (["-o", "out.func.gii", "--attention", "FBA"], "--attention"),
    (["-o", "out.func.gii", "--subject", "other.safetensors"], "one --subject"),
    (["-o", "out.func.gii", "--rois", "mTL-faces"], "no vertex in rh"),
])
def test_what_makes_no_sense_is_a_wrong_command_line(tool, model, tmp_path, arguments, word):
    assert word in tool.refuses(USAGE, "predict", A, *model, *arguments, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_gifti_file_without_a_vertex_is_refused_before_any_picture_is_read(tool, model, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    sentence = tool.refuses(USAGE, "predict", "broken.png", *model, "-o", "out.func.gii", "--rois", "mTL-faces", cwd=tmp_path)
    assert "'mTL-faces' has no vertex in rh" in sentence and "broken.png" not in sentence
    assert [path.name for path in tmp_path.iterdir()] == ["broken.png"]


def test_an_unfinished_run_does_not_go_on_in_another_space(tool, model, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    arguments = ["predict", A, tmp_path / "broken.png", *model, "-o", tmp_path / "out.json"]
    tool.run(*arguments, code=DATA)
    assert "other images, weights or options" in tool.refuses(USAGE, *arguments, "--space", "fsaverage")
    tool.run(*arguments, "--on-error", "nan", code=PARTIAL)
    assert len(json.loads((tmp_path / "out.json").read_text())["predictions"]) == 1


# --- GIFTI --------------------------------------------------------------------------------------


def predict_gifti(tool, folder, *arguments, **options):
    """The two files, by hemisphere; there are no others."""
    folder.mkdir(exist_ok=True)
    tool.run("predict", *arguments, "-o", folder / "out.func.gii", **options)
    assert sorted(path.name for path in folder.iterdir()) == ["out.lh.func.gii", "out.rh.func.gii"]
    return {h: (folder / f"out.{h}.func.gii").read_bytes() for h in SIDES}


@pytest.mark.parametrize("space", ["challenge", "fsaverage"])
def test_gifti_is_read_back_equal(tool, model, subject, challenge, surfaces, tmp_path, space):
    files = predict_gifti(tool, tmp_path / "one", A, B, *model, "--space", space, "--fit", "pad")
    weights = tool.run("predict", A, *model, "--json").json()["predictions"][0]["model"]
    for h in SIDES:
        found = read_gifti(files[h])
        if space == "fsaverage":
            assert found.index is None and same_bits(found.arrays, placed(challenge[h], surfaces[h]))
        else:
            assert same_bits(found.arrays, challenge[h]) and "fsaverage" in found.about_index
            assert np.array_equal(found.index, np.flatnonzero(surfaces[h]))
        assert found.names == [str(A), str(B)]
        assert found.meta == {"AnatomicalStructurePrimary": {"lh": "CortexLeft", "rh": "CortexRight"}[h], "subject": "subj01",
                              "space": space, "units": "as trained (NSD: z-scored betas)", "weights": weights["weights"],
                              **{key: str(weights[key]) for key in ("backbone", "backbone_weights", "backbone_heads",
                                                                    "backbone_activation",
                                                                    "precision", "version")}, "fit": "pad"} | (
                                  {"backbone_unverified": weights["unverified"][-1]} if "unverified" in weights else {})
    assert predict_gifti(tool, tmp_path / "two", A, B, *model, "--space", space, "--fit", "pad", "--threads", "1") == files


@pytest.mark.parametrize("space", ["challenge", "fsaverage"])
@pytest.mark.parametrize("names", ["V1v", "FBA,rest"])
def test_gifti_of_rois_names_their_vertices(tool, model, challenge, surfaces, tmp_path, space, names):
    files = predict_gifti(tool, tmp_path / "out", A, *model, "--space", space, "--rois", names)
    for h in SIDES:
        mask = np.logical_or.reduce([masks[h] for roi, _, masks in read_rois(FOLDER) if roi.split("-")[0] in names.split(",")])
        found = read_gifti(files[h])
        assert np.array_equal(found.index, np.flatnonzero(surfaces[h])[mask]) and same_bits(found.arrays, challenge[h][:1, mask])


def test_gifti_without_an_index_names_the_subject_s_own_vertices(tool, bare, challenge, tmp_path):
    files = predict_gifti(tool, tmp_path / "out", A, *bare, "--rois", "V1v")
    for h in SIDES:
        found = read_gifti(files[h])
        assert np.array_equal(found.index, np.flatnonzero(members("V1v")[h])) and "own" in found.about_index
        assert same_bits(found.arrays, challenge[h][:1, members("V1v")[h]])


def test_gifti_says_demo_and_unverified(tool, demo_model, demo, tmp_path):
    files = predict_gifti(tool, tmp_path / "demo", A, *demo_model)
    assert all(read_gifti(data).meta["demo"] == "true" for data in files.values())

    def mark(about, _):
        about["unverified"] = "a < b & ]]> c"
    path = rewrite_subject(demo / "subj01.safetensors", tmp_path / "marked.safetensors", mark)
    files = predict_gifti(tool, tmp_path / "marked", A, *demo_model[:2], "--subject", path)
    assert all(read_gifti(data).meta["unverified"] == "a < b & ]]? c" for data in files.values())


def test_names_that_xml_has_no_words_for(tool, demo_model, tmp_path):
    names = {b"<&\"'>.png": "<&\"'>.png", b"a]]>b.png": "a]]?b.png", b"\x01\n\xff\xef\xbf\xbe.png": "????.png",
             "Ä 图.png".encode(): "Ä 图.png", b"]]>]]>": "]]?]]?"}
    (tmp_path / "in").mkdir()
    for name in names:
        (tmp_path / "in" / os.fsdecode(name)).write_bytes(A.read_bytes())
    files = predict_gifti(tool, tmp_path / "out", *names, *demo_model, cwd=tmp_path / "in")
    for data in files.values():
        assert read_gifti(data).names == list(names.values())


def test_a_broken_picture_is_nan_where_that_is_asked_for(tool, model, challenge, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    arguments = ["predict", A, tmp_path / "broken.png", B, *model, "-o", tmp_path / "out.func.gii"]
    assert "broken.png" in tool.run(*arguments, code=DATA).lines[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["broken.png"]
    tool.run(*arguments, "--on-error", "nan", code=PARTIAL)
    for h in SIDES:
        found = read_gifti((tmp_path / f"out.{h}.func.gii").read_bytes())
        assert found.names[1] == str(tmp_path / "broken.png") and np.isnan(found.arrays[1]).all()
        assert same_bits(found.arrays[[0, 2]], challenge[h])


def test_more_pictures_than_a_gifti_file_is_for(tool, demo_model, tmp_path):
    lines = "".join(f"{i}.png\n" for i in range(1001)).encode()
    sentence = tool.refuses(USAGE, "predict", "--list", "-", *demo_model, "-o", tmp_path / "out.func.gii", input=lines)
    assert "1000" in sentence and "1001" in sentence and ".npy" in sentence
    result = tool.run("predict", "--list", "-", *demo_model, "-o", tmp_path / "out.func.gii", input=lines[:-9], code=MISSING)
    assert "0.png" in result.lines[-1]  # of 1000 the first is not there


def test_gifti_files_that_cannot_be_written(tool, demo_model, tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "dir.rh.func.gii").mkdir()
    for output, name in (("nowhere/out", "out.lh.func.gii"), ("dir", "dir.rh.func.gii")):
        assert name in tool.refuses(SYSTEM, "predict", A, *demo_model, "-o", tmp_path / f"{output}.func.gii")

    def no_space():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))
    for h in SIDES:
        (tmp_path / f"old/out.{h}.func.gii").write_text("old")
    arguments = ["predict", A, *demo_model, "--space", "fsaverage", "-o", tmp_path / "old/out.func.gii"]
    assert "GIFTI" in tool.run(*arguments, code=SYSTEM, preexec_fn=no_space).lines[-1]
    assert {path.name: path.read_text() for path in (tmp_path / "old").iterdir()} == {f"out.{h}.func.gii": "old" for h in SIDES}
