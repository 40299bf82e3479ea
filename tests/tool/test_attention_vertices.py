"""brainenc attention --vertex, and maps of ROIs, of a subject with a query a vertex."""
import numpy as np
import pytest

from support import ATTENTION_TOLERANCE, CASE, DATA, GOLDEN, MISSING, PICTURES, USAGE, decode_png, read_rois

A = PICTURES / "a_425.png"
LEFT, VERTICES = 300, 620
ROIS = {name: masks for name, _, masks in read_rois(CASE / "algonauts/subj01")}


@pytest.fixture
def voxels(tool, tmp_path):
    path = tmp_path / "voxels.safetensors"
    tool.run("import", GOLDEN / "variants/voxels/checkpoint.pth", "--data", CASE / "algonauts/subj01", "-o", path)
    return ["--backbone", CASE / "dinov2_small_pretrain.pth", "--backbone-heads", 12, "--subject", path]


def names(vertices):
    return ",".join(f"lh:{vertex}" if vertex < LEFT else f"rh:{vertex - LEFT}" for vertex in vertices)


def maps_npy(tool, folder, *arguments):
    tool.run("attention", A, *arguments, "-o", folder / "maps.npy")
    return np.load(folder / "maps.npy")


def test_maps_are_the_published_programs(tool, voxels, tmp_path):
    want = np.load(GOLDEN / "variants/voxels/expected/attention.npy")[0]
    found = maps_npy(tool, tmp_path, *voxels, "--vertex", names(range(0, VERTICES, 31)))
    assert found.shape == (20, 31, 31) and found.dtype == np.dtype("<f4")
    assert np.abs(found.reshape(20, -1) - want).max() <= ATTENTION_TOLERANCE
    heads = maps_npy(tool, tmp_path, *voxels, "--vertex", "lh:31", "--heads", "all")
    assert heads.shape == (1, 16, 31, 31) and np.abs(heads[0].mean(axis=0).ravel() - want[1]).max() <= ATTENTION_TOLERANCE
    listed = tool.run("attention", A, *voxels, "--vertex", "rh:10").json()["maps"]
    assert [(one["vertex"], one["hemi"]) for one in listed] == [("rh:10", "rh")]
    assert np.abs(np.array(listed[0]["weights"]).ravel() - want[10]).max() <= ATTENTION_TOLERANCE


def test_a_roi_is_the_mean_over_its_vertices(tool, voxels, tmp_path):
    vertices = np.flatnonzero(ROIS["FBA-1"]["lh"] | ROIS["FBA-2"]["lh"])
    parts = np.array_split(vertices, -(-len(vertices) // 64))
    each = [maps_npy(tool, tmp_path, *voxels, "--vertex", names(part)) for part in parts]
    found = maps_npy(tool, tmp_path, *voxels, "--roi", "FBA,mTL-faces", "--hemi", "lh")
    assert found.shape == (2, 1, 31, 31)
    assert np.abs(found[0, 0] - np.concatenate(each).astype(np.float64).mean(axis=0)).max() <= ATTENTION_TOLERANCE
    assert np.isnan(maps_npy(tool, tmp_path, *voxels, "--roi", "mTL-faces", "--hemi", "rh")).all()  # no vertex there
    alone = tool.run("attention", A, *voxels, "--roi", "FBA,mTL-faces").json()["maps"]
    added = tool.run("predict", A, *voxels, "--json", "--attention", "FBA,mTL-faces").json()["predictions"][0]["maps"]
    assert added == alone and [one["weights"] is None for one in alone] == [False, False, False, True]
    assert np.array(alone[0]["weights"], np.float32).tobytes() == found[0, 0].tobytes()


def test_a_picture_shows_one_vertex(tool, voxels, tmp_path):
    path = tmp_path / "map.png"
    tool.run("attention", A, *voxels, "--vertex", "lh:3", "-o", path)
    assert decode_png(path.read_bytes()).shape == (425, 425, 3)
    path.unlink()
    assert "exactly one vertex" in tool.refuses(USAGE, "attention", A, *voxels, "--vertex", "lh:3,rh:3", "-o", path)
    assert "no vertex in the right" in tool.refuses(MISSING, "attention", A, *voxels, "--roi", "mTL-faces", "-o", path)
    assert not path.exists()


def test_what_cannot_be_asked(tool, voxels, model):
    assert "--roi and --vertex" in tool.refuses(USAGE, "attention", A, *voxels, "--vertex", "lh:3", "--roi", "FBA")
    assert "--hemi" in tool.refuses(USAGE, "attention", A, *voxels, "--vertex", "lh:3", "--hemi", "lh")
    assert "below 300 (lh)" in tool.refuses(MISSING, "attention", A, *voxels, "--vertex", "lh:300")
    assert "lh:NUMBER" in tool.refuses(USAGE, "attention", A, *voxels, "--vertex", "300")
    assert "name a roi" in tool.refuses(DATA, "attention", A, *model, "--vertex", "lh:3")
