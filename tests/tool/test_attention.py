"""brainenc attention: maps as numbers and as pictures."""
import numpy as np
import pytest

from support import (ATTENTION_TOLERANCE, CASE, HEAD_ATTENTION_TOLERANCE, MISSING, PICTURES, USAGE, decode_png, expected,
                     read_rois)

A, B, C = PICTURES / "a_425.png", PICTURES / "b_425.png", PICTURES / "c_500x333.png"
NAMES = [name for name, _, _ in read_rois(CASE / "algonauts/subj01")]
HEMISPHERES = ["lh", "rh"]


def golden(image, name, hemi):
    """The published query order: the left hemisphere's ROIs and rest, then the right one's."""
    row = HEMISPHERES.index(hemi) * 25 + NAMES.index(name)
    return expected("attention")[image, row].reshape(31, 31)


def read_json_maps(tool, *arguments):
    answer = tool.run("attention", *arguments).json()
    return answer, {(m["roi"], m["hemi"]): np.array(m["weights"]) for m in answer["maps"]}


def maps_npy(tool, folder, *arguments):
    path = folder / "maps.npy"
    tool.run("attention", *arguments, "-o", path)
    return np.load(path)


@pytest.mark.parametrize("image, picture", enumerate([A, B]))
def test_all_maps_are_the_golden_ones(tool, model, tmp_path, image, picture):
    maps = maps_npy(tool, tmp_path, picture, *model, "--roi", "all")
    assert maps.shape == (25, 2, 31, 31) and maps.dtype == np.dtype("<f4")
    want = expected("attention")[image].reshape(2, 25, 31, 31).transpose(1, 0, 2, 3)
    assert np.abs(maps - want).max() < ATTENTION_TOLERANCE


def test_a_native_map_has_the_pictures_grid(tool, model, tmp_path):
    maps = maps_npy(tool, tmp_path, C, *model, "--roi", "all", "--fit", "native")
    assert maps.shape == (25, 2, 24, 36)
    rows = maps.transpose(1, 0, 2, 3).reshape(50, 24 * 36)
    assert np.abs(rows[::7] - expected("attention_c")[0]).max() < ATTENTION_TOLERANCE


def test_the_json_has_the_golden_map_of_each_hemisphere(tool, model):
    answer, maps = read_json_maps(tool, A, *model, "--roi", "EBA")
    assert answer["subject"] == "subj01" and answer["grid"] == [31, 31] and len(answer["id"]) == 32
    assert [m["hemi"] for m in answer["maps"]] == HEMISPHERES
    for entry in answer["maps"]:
        assert (entry["roi"], entry["members"], entry["dynamic"]) == ("EBA", ["EBA"], True)
    for hemi in HEMISPHERES:
        assert maps["EBA", hemi].shape == (31, 31) and abs(maps["EBA", hemi].sum() - 1) < 1e-5
        assert np.abs(maps["EBA", hemi] - golden(0, "EBA", hemi)).max() < ATTENTION_TOLERANCE


def test_an_answer_is_the_same_as_predicts(tool, model):
    """One id stands for picture, fit and weights, whoever asks."""
    attention = tool.run("attention", A, *model, "--roi", "EBA").json()
    prediction = tool.run("predict", A, *model, "--json", "--attention", "EBA", "--output", "rois").json()["predictions"][0]
    assert attention["id"] == prediction["id"] and attention["maps"] == prediction["maps"]


def test_a_stem_is_the_mean_of_its_members(tool, model):
    answer, maps = read_json_maps(tool, A, *model, "--roi", "FBA")
    assert all(m["members"] == ["FBA-1", "FBA-2"] for m in answer["maps"])
    for hemi in HEMISPHERES:
        mean = (golden(0, "FBA-1", hemi) + golden(0, "FBA-2", hemi)) / 2
        assert np.abs(maps["FBA", hemi] - mean).max() < ATTENTION_TOLERANCE


def test_the_query_of_no_roi_is_called_rest(tool, model):
    _, maps = read_json_maps(tool, A, *model, "--roi", "rest")
    for hemi in HEMISPHERES:
        assert np.abs(maps["rest", hemi] - golden(0, "rest", hemi)).max() < ATTENTION_TOLERANCE


def test_an_empty_roi_has_a_map_too(tool, model):
    _, maps = read_json_maps(tool, A, *model, "--roi", "mTL-faces")  # no vertex in the right hemisphere, but a query
    assert np.abs(maps["mTL-faces", "rh"] - golden(0, "mTL-faces", "rh")).max() < ATTENTION_TOLERANCE


def test_families_and_lists_give_a_map_each(tool, model):
    answer, _ = read_json_maps(tool, A, *model, "--roi", "floc-places,rest,FFA,PPA")
    assert [m["roi"] for m in answer["maps"][::2]] == ["OPA", "PPA", "RSC", "rest", "FFA"]  # PPA is there already


@pytest.mark.parametrize("hemi", HEMISPHERES)
def test_hemi_chooses_one(tool, model, tmp_path, hemi):
    answer, maps = read_json_maps(tool, A, *model, "--roi", "EBA", "--hemi", hemi)
    assert list(maps) == [("EBA", hemi)]
    array = maps_npy(tool, tmp_path, A, *model, "--roi", "EBA", "--hemi", hemi)
    assert array.shape == (1, 1, 31, 31)
    assert np.abs(array[0, 0] - golden(0, "EBA", hemi)).max() < ATTENTION_TOLERANCE


def test_each_head_has_a_map_and_their_mean_is_the_golden_one(tool, model, tmp_path):
    heads = maps_npy(tool, tmp_path, A, *model, "--roi", "EBA,FBA", "--heads", "all")
    assert heads.shape == (2, 2, 16, 31, 31)
    assert np.abs(heads.sum(axis=(3, 4)) - 1).max() < 1e-5
    assert heads.std(axis=2).max() > 1e-3  # they differ
    for h, hemi in enumerate(HEMISPHERES):
        assert np.abs(heads[0, h].mean(axis=0) - golden(0, "EBA", hemi)).max() < HEAD_ATTENTION_TOLERANCE
    listed = tool.run("attention", A, *model, "--roi", "EBA", "--heads", "all").json()["maps"]
    assert [(m["hemi"], m["head"]) for m in listed] == [(h, n) for h in HEMISPHERES for n in range(16)]
    for entry in listed:
        want = heads[0, HEMISPHERES.index(entry["hemi"]), entry["head"]]
        assert np.array(entry["weights"], np.float32).tobytes() == want.tobytes()
    assert np.array_equal(maps_npy(tool, tmp_path, A, *model, "--roi", "EBA", "--heads", "mean"),
                          maps_npy(tool, tmp_path, A, *model, "--roi", "EBA"))


# --- pictures -----------------------------------------------------------------------------------


# matplotlib's viridis at 0, 1/8 .. 1
VIRIDIS = np.array([[0x44, 0x01, 0x54], [0x47, 0x2d, 0x7b], [0x3b, 0x52, 0x8b], [0x2c, 0x72, 0x8e], [0x21, 0x91, 0x8c],
                    [0x28, 0xae, 0x80], [0x5e, 0xc9, 0x62], [0xad, 0xdc, 0x30], [0xfd, 0xe7, 0x25]])


def enlarge(cells, size):
    """Bilinear between the centres of cells of 14 pixels, clamped at the edges."""
    at = np.clip((np.arange(size) + 0.5) / 14 - 0.5, 0, len(cells) - 1)
    rows = np.array([np.interp(at, range(cells.shape[1]), row) for row in cells])
    return np.array([np.interp(at, range(len(cells)), column) for column in rows.T]).T


def test_the_picture_shows_both_hemispheres_side_by_side(tool, model, tmp_path):
    path = tmp_path / "map.png"
    tool.run("attention", A, *model, "--roi", "EBA", "-o", path)
    drawn, picture = decode_png(path.read_bytes()), decode_png(A.read_bytes())
    assert drawn.shape == (425, 850, 3)
    for h, hemi in enumerate(HEMISPHERES):
        colours = (drawn[:, 425 * h : 425 * (h + 1)] - 0.6 * picture) / 0.4  # what is laid over it at 40 %
        assert colours.min() > -3 and colours.max() < 258
        values = enlarge(golden(0, "EBA", hemi), 425) / golden(0, "EBA", hemi).max()
        for channel in range(3):
            want = np.interp(values, np.linspace(0, 1, 9), VIRIDIS[:, channel])
            assert np.abs(colours[..., channel] - want).max() < 16, (hemi, channel)  # viridis bends between the nine


def test_a_picture_of_one_hemisphere_is_as_wide_as_the_image(tool, model, tmp_path):
    both, left = tmp_path / "both.png", tmp_path / "left.png"
    tool.run("attention", C, *model, "--roi", "FBA", "-o", both, "--fit", "native")
    tool.run("attention", C, *model, "--roi", "FBA", "-o", left, "--fit", "native", "--hemi", "lh")
    whole, half = decode_png(both.read_bytes()), decode_png(left.read_bytes())
    assert whole.shape == (333, 1000, 3) and half.shape == (333, 500, 3)
    assert np.array_equal(whole[:, :500], half)


@pytest.mark.parametrize("arguments", [["--roi", "floc-bodies"], ["--roi", "all"], ["--roi", "EBA", "--heads", "all"]])
def test_a_picture_is_of_one_map(tool, model, tmp_path, arguments):
    path = tmp_path / "map.png"
    tool.refuses(USAGE, "attention", A, *model, *arguments, "-o", path)
    assert not path.exists()


# --- refusals -----------------------------------------------------------------------------------


def test_wrong_command_lines_are_refused(tool, model, subject):
    assert "--roi" in tool.refuses(USAGE, "attention", A, *model)
    assert "2 are named" in tool.refuses(USAGE, "attention", A, B, *model, "--roi", "EBA")
    assert "0 are named" in tool.refuses(USAGE, "attention", *model, "--roi", "EBA")
    assert "'left'" in tool.refuses(USAGE, "attention", A, *model, "--roi", "EBA", "--hemi", "left")
    assert "'each'" in tool.refuses(USAGE, "attention", A, *model, "--roi", "EBA", "--heads", "each")
    assert ".npy" in tool.refuses(USAGE, "attention", A, *model, "--roi", "EBA", "-o", "map.jpg")
    assert "--subject" in tool.refuses(USAGE, "attention", A, *model, "--subject", subject, "--roi", "EBA")


def test_an_unknown_roi_is_answered_with_close_names(tool, model):
    assert "EBA" in tool.refuses(MISSING, "attention", A, *model, "--roi", "EBB").split("close:")[1]
