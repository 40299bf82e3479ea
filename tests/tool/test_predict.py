"""brainenc predict: numbers, files and the choices a user has."""
import json

import numpy as np
import pytest

from support import (ATTENTION_TOLERANCE, CASE, DATA, MISSING, PICTURES, PREDICTION_TOLERANCE, USAGE, decode_png, encode_png,
                     expected, read_rois, rewrite_subject)

A, B = PICTURES / "a_425.png", PICTURES / "b_425.png"
C, D = PICTURES / "c_500x333.png", PICTURES / "d_518.png"
V_LH, V_RH = 300, 320


@pytest.fixture(scope="module")
def answer(tool, model):
    """The JSON for pictures a and b, with every attention map."""
    return tool.run("predict", A, B, *model, "--json", "--attention", "all").json()


def predict_npy(tool, folder, *arguments):
    path = folder / "out.npy"
    tool.run("predict", *arguments, "-o", path)
    return np.load(path)


def vertices(prediction):
    return np.array(prediction["lh"]["vertices"] + prediction["rh"]["vertices"], np.float32)


def untimed(predictions):
    return [{key: value for key, value in p.items() if key != "timing_ms"} for p in predictions]


def golden(suffix=""):
    return np.concatenate([expected(f"lh_pred{suffix}"), expected(f"rh_pred{suffix}")], axis=1)


# --- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", ["dinov2_small.safetensors", "dinov2_small_pretrain.pth"])
def test_predictions_are_the_golden_ones(tool, subject, tmp_path, backbone):
    got = predict_npy(tool, tmp_path, A, B, "--backbone", CASE / backbone, "--subject", subject)
    assert got.shape == (2, V_LH + V_RH) and got.dtype == np.dtype("<f4")
    assert np.abs(got - golden()).max() < PREDICTION_TOLERANCE


@pytest.mark.parametrize("picture, suffix", [(C, "_c"), (D, "_d")])
def test_native_predictions_are_the_golden_ones(tool, model, tmp_path, picture, suffix):
    got = predict_npy(tool, tmp_path, picture, *model, "--fit", "native")
    assert np.abs(got - golden(suffix)).max() < PREDICTION_TOLERANCE


def test_json_numbers_are_the_bits_of_the_npy(tool, model, answer, tmp_path):
    rows = predict_npy(tool, tmp_path, A, B, *model)
    for row, prediction in zip(rows, answer["predictions"], strict=True):
        assert vertices(prediction).tobytes() == row.tobytes()


def test_json_in_a_file_is_the_json_on_standard_output(tool, model, answer, tmp_path):
    path = tmp_path / "out.json"
    tool.run("predict", A, B, *model, "--attention", "all", "-o", path)
    written = json.loads(path.read_text())
    assert set(written) == set(answer) == {"predictions"}
    assert untimed(written["predictions"]) == untimed(answer["predictions"])


def test_roi_means_are_the_means_over_the_masks(answer):
    rois = read_rois(CASE / "algonauts/subj01")
    assert len(rois) == 25
    for prediction in answer["predictions"]:
        assert [(r["name"], r["family"]) for r in prediction["rois"]] == [(name, family) for name, family, _ in rois]
        for got, (_, _, masks) in zip(prediction["rois"], rois):
            for h in ("lh", "rh"):
                values = np.array(prediction[h]["vertices"])[masks[h]]
                assert got[h]["n"] == len(values)
                if len(values) == 0:
                    assert got[h]["mean"] is None
                else:
                    assert abs(got[h]["mean"] - values.mean()) < 1e-6


def test_attention_maps_in_the_json_are_the_golden_ones(answer):
    names = [name for name, _, _ in read_rois(CASE / "algonauts/subj01")]
    want = expected("attention").reshape(2, 2, 25, 31, 31)
    for i, prediction in enumerate(answer["predictions"]):
        maps = {(m["roi"], m["hemi"]): np.array(m["weights"]) for m in prediction["maps"]}
        assert prediction["grid"] == [31, 31] and len(maps) == len(prediction["maps"]) == 50
        for h, hemi in enumerate(("lh", "rh")):
            for r, name in enumerate(names):
                assert np.abs(maps[name, hemi] - want[i, h, r]).max() < ATTENTION_TOLERANCE
                assert abs(maps[name, hemi].sum() - 1) < 1e-5


# --- what goes with the numbers -----------------------------------------------------------------


def test_an_answer_says_what_it_is_of(answer):
    first, second = answer["predictions"]
    assert first["id"] != second["id"] and len(first["id"]) == 32
    assert (first["subject"], first["demo"]) == ("subj01", False)
    model = first["model"]
    assert (model["features"], model["layer"], model["encoder"], model["readout"]) == ("dinov2_q", 1, "transformer", "rois_all")
    assert (model["members"], model["precision"]) == (1, "f32") and len(model["weights"]) == 64
    assert model["version"].startswith("brainenc ") and "z-scored" in model["units"]
    assert first["image"] == {"name": str(A), "width": 425, "height": 425, "fit": "crop", "input": [434, 434], "grid": [31, 31]}


def test_an_answer_tells_where_its_time_went(answer):
    timing = dict(answer["predictions"][0]["timing_ms"])
    total = timing.pop("total")
    assert set(timing) == {"decode", "queue", "backbone", "encoder", "encode_answer"}
    assert timing["queue"] == 0 and min(timing["decode"], timing["backbone"], timing["encoder"]) > 0
    assert abs(total - sum(timing.values())) < 0.01


def test_an_assumed_number_of_heads_is_marked_unverified(tool, subject, model, answer):
    assert "unverified" not in answer["predictions"][0]["model"]  # config.json beside the weights tells it
    meta = ["--backbone", CASE / "dinov2_small_pretrain.pth", "--subject", subject]
    (note,) = tool.run("predict", A, *meta, "--json").json()["predictions"][0]["model"]["unverified"]
    assert "heads" in note and "12" in note
    told = tool.run("predict", A, *meta, "--json", "--backbone-heads", "12").json()["predictions"][0]["model"]
    assert "unverified" not in told


def test_the_npy_is_described_beside_it(tool, model, tmp_path):
    predict_npy(tool, tmp_path, A, B, *model)
    about = json.loads((tmp_path / "out.npy.json").read_text())
    assert about["rows"] == [str(A), str(B)] and about["failed"] == []
    assert about["columns"] == {"lh": V_LH, "rh": V_RH}
    assert (about["subject"], about["demo"], about["fit"]) == ("subj01", False, "crop")
    assert len(about["weights"]) == 64 and "z-scored" in about["units"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.npy", "out.npy.json"]


def test_without_output_the_roi_means_are_a_table(tool, model, answer):
    text = tool.run("predict", A, *model).out.decode()
    assert text.splitlines()[0] == f"{A}  (subj01)"
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines()[2:]}
    for roi in answer["predictions"][0]["rois"]:
        for at, h in ((0, "lh"), (2, "rh")):
            mean, count = roi[h]["mean"], roi[h]["n"]
            assert rows[roi["name"]][at : at + 2] == ["-" if mean is None else f"{mean:.4f}", str(count)]


def test_a_demo_says_that_it_is_one(tool, demo, demo_model):
    assert "demo: random weights" in tool.run("predict", demo / "picture.png", *demo_model).out.decode()
    assert tool.run("predict", demo / "picture.png", *demo_model, "--json").json()["predictions"][0]["demo"] is True


@pytest.mark.parametrize("what, keys", [("vertices", {"lh", "rh"}), ("rois", {"rois"}), ("both", {"lh", "rh", "rois"})])
def test_output_chooses_what_is_in_the_json(tool, model, what, keys):
    prediction = tool.run("predict", A, *model, "--json", "--output", what).json()["predictions"][0]
    assert set(prediction) & {"lh", "rh", "rois"} == keys


# --- some ROIs only -----------------------------------------------------------------------------


@pytest.mark.parametrize("asked, names", [
    ("FBA-1", {"FBA-1"}),
    ("FBA", {"FBA-1", "FBA-2"}),
    ("floc-bodies", {"EBA", "FBA-1", "FBA-2", "mTL-bodies"}),
    ("FFA,mTL-faces,rest", {"FFA-1", "FFA-2", "mTL-faces", "rest"}),
    ("all", None),
])
def test_rois_choose_vertices(tool, model, answer, tmp_path, asked, names):
    chosen = [(n, m) for n, _, m in read_rois(CASE / "algonauts/subj01") if names is None or n in names]
    want = {h: np.flatnonzero(np.any([m[h] for _, m in chosen], axis=0)) for h in ("lh", "rh")}
    full = answer["predictions"][0]
    part = tool.run("predict", A, *model, "--json", "--rois", asked).json()["predictions"][0]
    assert [r["name"] for r in part["rois"]] == [n for n, _ in chosen]
    for h in want:
        assert part[h]["indices"] == want[h].tolist()
        assert part[h]["vertices"] == [full[h]["vertices"][i] for i in want[h]]

    row = predict_npy(tool, tmp_path, A, *model, "--rois", asked)[0]
    about = json.loads((tmp_path / "out.npy.json").read_text())
    assert (about["lh_indices"], about["rh_indices"]) == (want["lh"].tolist(), want["rh"].tolist())
    assert about["columns"] == {h: len(want[h]) for h in want}
    assert row.tobytes() == vertices(part).tobytes()


@pytest.mark.parametrize("asked, close", [("FBA-3", "FBA-1"), ("mTL", "mTL-faces"), ("ppa", "PPA"),
                                          ("floc-face", "floc-faces")])
@pytest.mark.parametrize("option", ["--rois", "--attention"])
def test_an_unknown_roi_is_answered_with_close_names(tool, model, option, asked, close):
    sentence = tool.refuses(MISSING, "predict", A, *model, "--json", option, asked)
    assert f"'{asked}'" in sentence and close in sentence.split("close:")[1]


def test_an_unknown_roi_like_no_other_is_refused(tool, model):
    assert "'cerebellum'" in tool.refuses(MISSING, "predict", A, *model, "--rois", "FBA,cerebellum")


# --- several pictures and subjects --------------------------------------------------------------


def test_subjects_come_image_by_image(tool, model, tmp_path, answer):
    other = tmp_path / "other.safetensors"
    tool.run("import", CASE / "subj01/rois_all/checkpoint.pth", "--data", CASE / "algonauts/subj01", "-o", other,
             "--name", "other")
    got = tool.run("predict", A, B, *model, "--subject", other, "--json").json()["predictions"]
    assert [(p["image"]["name"], p["subject"]) for p in got] == [(str(p), s) for p in (A, B) for s in ("subj01", "other")]
    for prediction, want in zip(got, (answer["predictions"][i] for i in (0, 0, 1, 1))):
        assert vertices(prediction).tobytes() == vertices(want).tobytes()
    assert "one --subject" in tool.refuses(USAGE, "predict", A, *model, "--subject", other, "-o", tmp_path / "out.npy")


def test_a_folder_stands_for_the_pictures_in_it(tool, demo_model, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("b.png", "a.PNG", "c.jpg", "notes.txt", "d.jpeg"):
        (folder / name).write_bytes(encode_png(np.full((28, 28, 3), 90)))  # what it is tells the content, not the name
    got = tool.run("predict", folder, *demo_model, "--json", "--output", "rois", "--fit", "native").json()["predictions"]
    assert [p["image"]["name"] for p in got] == [str(folder / n) for n in ("a.PNG", "b.png", "c.jpg", "d.jpeg")]


def test_pictures_come_from_a_list(tool, model, answer, tmp_path):
    lines = f"{B}\n\n{A}\r\n".encode()
    listed = tmp_path / "list.txt"
    listed.write_bytes(lines)
    want = [vertices(p).tobytes() for p in answer["predictions"]]
    for run in (lambda: tool.run("predict", "--list", listed, *model, "--json"),
                lambda: tool.run("predict", "--list", "-", *model, "--json", input=lines)):
        got = run().json()["predictions"]
        assert [vertices(p).tobytes() for p in got] == want[::-1]
    assert str(tmp_path / "no.txt") in tool.refuses(MISSING, "predict", "--list", tmp_path / "no.txt", *model)


def test_any_name_of_a_file_gives_valid_json(tool, demo_model, tmp_path):
    path = bytes(tmp_path) + b'/a "b"\\ \n\xff.png'
    with open(path, "wb") as stream:
        stream.write(encode_png(np.full((28, 28, 3), 90)))
    shown = str(tmp_path) + '/a "b"\\ \n\ufffd.png'
    got = tool.run("predict", path, *demo_model, "--json", "--fit", "native").json()
    assert got["predictions"][0]["image"]["name"] == shown
    tool.run("predict", path, *demo_model, "--fit", "native", "-o", tmp_path / "out.npy")
    assert json.loads((tmp_path / "out.npy.json").read_text())["rows"] == [shown]


# --- the shape of a picture ---------------------------------------------------------------------


def test_fit_decides_the_grid(tool, model):
    seen = {}
    for fit in ("crop", "stretch", "pad", "native"):
        prediction = tool.run("predict", C, *model, "--json", "--fit", fit).json()["predictions"][0]
        image = prediction["image"]
        assert (image["width"], image["height"], image["fit"]) == (500, 333, fit)
        assert image["grid"] == ([24, 36] if fit == "native" else [31, 31])
        assert image["input"] == [14 * cells for cells in image["grid"]]
        seen[fit] = vertices(prediction)
    assert all(np.abs(seen[a] - seen[b]).max() > 0.01 for a in seen for b in seen if a < b)


def test_crop_takes_the_centre(tool, model, tmp_path):
    rgb = decode_png(A.read_bytes())
    wide = np.full((425, 500, 3), 200, np.uint8)
    wide[:, 37 : 37 + 425] = rgb
    (tmp_path / "wide.png").write_bytes(encode_png(wide))
    (tmp_path / "high.png").write_bytes(encode_png(wide.transpose(1, 0, 2)))
    (tmp_path / "turned.png").write_bytes(encode_png(rgb.transpose(1, 0, 2)))
    got = predict_npy(tool, tmp_path, A, tmp_path / "wide.png", tmp_path / "turned.png", tmp_path / "high.png", *model)
    assert got[0].tobytes() == got[1].tobytes() and got[2].tobytes() == got[3].tobytes()


def test_pad_fills_with_the_mean_colour(tool, model, tmp_path):
    rgb = decode_png(A.read_bytes())
    padded = np.empty((425, 425, 3), np.uint8)
    padded[:] = np.round(255 * np.array([0.485, 0.456, 0.406]))
    padded[62 : 62 + 300] = rgb[:300]
    (tmp_path / "low.png").write_bytes(encode_png(rgb[:300]))
    (tmp_path / "padded.png").write_bytes(encode_png(padded))
    got = predict_npy(tool, tmp_path, tmp_path / "low.png", tmp_path / "padded.png", *model, "--fit", "pad")
    assert got[0].tobytes() == got[1].tobytes()


def test_an_unknown_fit_is_refused(tool, model):
    assert "native" in tool.refuses(USAGE, "predict", A, *model, "--fit", "squeeze")


# --- how it is computed -------------------------------------------------------------------------


def test_threads_do_not_change_a_bit(tool, model, tmp_path):
    pictures = [A, B, A, B, A]
    alone = predict_npy(tool, tmp_path, A, *model, "--threads", "1")
    for threads in ("1", "2", "3"):
        rows = predict_npy(tool, tmp_path, *pictures, *model, "--threads", threads)
        assert predict_npy(tool, tmp_path, A, *model, "--threads", threads).tobytes() == alone.tobytes()
        assert rows[0].tobytes() == rows[2].tobytes() == rows[4].tobytes() == alone.tobytes()


def cpu_flags():
    with open("/proc/cpuinfo") as stream:
        return next((line.split() for line in stream if line.startswith("flags")), [])


@pytest.mark.parametrize("isa, flag", [("auto", None), ("generic", None), ("avx2", "avx2"), ("avx512", "avx512f")])
def test_every_instruction_set_gives_the_golden_numbers(tool, model, tmp_path, isa, flag):
    if flag and flag not in cpu_flags():
        assert isa in tool.refuses(DATA, "predict", A, *model, "--isa", isa)
        return
    got = predict_npy(tool, tmp_path, A, B, *model, "--isa", isa)
    assert np.abs(got - golden()).max() < PREDICTION_TOLERANCE


def test_an_unknown_instruction_set_is_refused(tool, model):
    sentence = tool.refuses(USAGE, "predict", A, *model, "--isa", "sse9")
    assert "'sse9'" in sentence and "generic" in sentence


# --- limits -------------------------------------------------------------------------------------


def test_a_picture_of_too_many_pixels_is_refused_by_its_header(tool, model):
    sentence = tool.refuses(DATA, "predict", A, *model, "--max-pixels", 425 * 425 - 1)
    assert str(A) in sentence and "425" in sentence
    tool.run("predict", A, *model, "--max-pixels", 425 * 425)
    bomb = CASE.parent / "corrupt/bomb_30000x30000.png"
    assert "30000" in tool.refuses(DATA, "predict", bomb, *model)


def test_a_grid_of_too_many_tokens_is_refused(tool, model):
    sentence = tool.refuses(DATA, "predict", D, *model, "--fit", "native", "--max-tokens", 37 * 37 - 1)
    assert str(D) in sentence and "37 x 37 tokens" in sentence
    tool.run("predict", D, *model, "--fit", "native", "--max-tokens", 37 * 37)


def test_a_subject_of_enormous_pictures_makes_none(tool, demo, demo_model, tmp_path):
    def enlarge(about, _):
        about["image_size"] = 1 << 20
    path = rewrite_subject(demo / "subj01.safetensors", tmp_path / "large.safetensors", enlarge)
    assert "74899 x 74899 tokens" in tool.refuses(DATA, "predict", A, *demo_model[:2], "--subject", path)


@pytest.mark.parametrize("option", ["--threads", "--max-tokens", "--max-pixels", "--backbone-heads"])
@pytest.mark.parametrize("value", ["0", "-1", "2x", "", "99999999999999999999"])
def test_a_count_that_is_none_is_refused(tool, option, value):
    assert option in tool.refuses(USAGE, "predict", A, option, value)
