"""POST /predict: the numbers and the shape of its answers, by every parameter."""
import re

import numpy as np
import pytest

from support import (CASE, PICTURES, PREDICTION_TOLERANCE, decode_png, expected, form, noise, npy, picture, text64, tool_support)

LEFT, RIGHT = 300, 320


@pytest.fixture(scope="module")
def rois():
    return tool_support.read_rois(CASE / "algonauts/subj01")


def golden(index=0):
    return np.concatenate([expected("lh_pred")[index], expected("rh_pred")[index]])


def vertices(prediction):
    return np.array(prediction["lh"]["vertices"] + prediction["rh"]["vertices"], np.float32)


def test_the_numbers_are_the_golden_ones(golden_daemon):
    for index, name in enumerate(("a_425", "b_425")):
        found = vertices(golden_daemon.post("/predict", picture(name)).json())
        assert found.shape == (LEFT + RIGHT,)
        np.testing.assert_allclose(found, golden(index), rtol=0, atol=PREDICTION_TOLERANCE)


def test_a_picture_of_another_shape_is_computed_as_it_is_with_native(golden_daemon):
    for tag, name, grid in (("c", "c_500x333", [24, 36]), ("d", "d_518", [37, 37])):
        answer = golden_daemon.post("/predict?fit=native", picture(name)).json()
        want = np.concatenate([expected(f"{side}_pred_{tag}")[0] for side in ("lh", "rh")])
        np.testing.assert_allclose(vertices(answer), want, rtol=0, atol=PREDICTION_TOLERANCE)
        assert answer["image"]["grid"] == grid and answer["image"]["fit"] == "native"
        assert answer["image"]["input"] == [14 * grid[0], 14 * grid[1]]


def test_the_answer_has_exactly_the_fields_of_the_api(golden_daemon, rois):
    answer = golden_daemon.post("/predict", picture())
    found = answer.json()
    assert set(found) == {"id", "subject", "demo", "model", "image", "lh", "rh", "rois", "timing_ms"}
    assert re.fullmatch("[0-9a-f]{32}", found["id"]) and answer.headers["X-Brainenc-Id"] == found["id"]
    assert found["subject"] == "subj01" and found["demo"] is False
    for key in ("weights", "backbone_weights"):
        assert re.fullmatch("[0-9a-f]{64}", found["model"].pop(key))
    version = found["model"].pop("version")
    assert re.fullmatch(r"brainenc \d+\.\d+\.\d+", version)
    assert found["model"].pop("backbone").startswith("dinov2_vit")
    assert found["model"] == {"features": "dinov2_q", "layer": 1, "encoder": "transformer", "readout": "rois_all", "members": 1,
                              "runs": 1,
                              "backbone_heads": 12, "backbone_activation": "gelu", "precision": "f32", "storage": "f32",
                              "units": "as trained (NSD: z-scored betas)"}
    assert found["image"] == {"width": 425, "height": 425, "fit": "crop", "input": [434, 434], "grid": [31, 31]}
    assert set(found["lh"]) == set(found["rh"]) == {"vertices"}
    assert [(roi["name"], roi["family"]) for roi in found["rois"]] == [(name, family) for name, family, _ in rois]
    timing = found["timing_ms"]
    assert set(timing) == {"decode", "queue", "backbone", "encoder", "encode_answer", "total"}
    assert all(value >= 0 for value in timing.values())
    assert timing["backbone"] + timing["encoder"] <= timing["total"] + 0.01


def test_means_are_those_of_the_vertices_in_the_masks(golden_daemon, rois):
    found = golden_daemon.post("/predict", picture()).json()
    sides = {"lh": np.array(found["lh"]["vertices"]), "rh": np.array(found["rh"]["vertices"])}
    for entry, (name, _, masks) in zip(found["rois"], rois, strict=True):
        assert set(entry) == {"name", "family", "lh", "rh"}
        for side, values in sides.items():
            assert set(entry[side]) == {"mean", "n"} and entry[side]["n"] == masks[side].sum()
            if masks[side].any():
                assert entry[side]["mean"] == pytest.approx(values[masks[side]].mean(), abs=1e-6), name
            else:
                assert entry[side]["mean"] is None


def test_output_chooses_vertices_or_rois(golden_daemon):
    both = golden_daemon.post("/predict?output=both", picture()).json()
    only_vertices = golden_daemon.post("/predict?output=vertices", picture()).json()
    only_rois = golden_daemon.post("/predict?output=rois", picture()).json()
    assert "rois" not in only_vertices and only_vertices["lh"] == both["lh"] and only_vertices["rh"] == both["rh"]
    assert "lh" not in only_rois and "rh" not in only_rois and only_rois["rois"] == both["rois"]


def test_numbers_of_json_are_the_bits_of_npy(golden_daemon):
    body = picture("b_425")
    for subject in ("subj01", "demo"):
        answer = golden_daemon.post(f"/predict?format=npy&subject={subject}", body)
        array = answer.array()
        assert array.dtype == np.dtype("<f4") and array.shape[0] == 1 and array.flags.c_contiguous
        found = golden_daemon.post(f"/predict?subject={subject}", body).json()
        assert vertices(found).tobytes() == array.tobytes()
        left, right = len(found["lh"]["vertices"]), len(found["rh"]["vertices"])
        assert answer.headers["X-Brainenc-Vertices"] == f"lh={left},rh={right}"
        assert answer.headers["X-Brainenc-Id"] == found["id"]


def test_npy_by_accept_and_format_wins_over_it(golden_daemon):
    accept = {"Accept": "application/x-npy"}
    assert golden_daemon.post("/predict", picture(), accept).array().shape == (1, LEFT + RIGHT)
    assert golden_daemon.post("/predict?format=json", picture(), accept).json()["subject"] == "subj01"
    for words in ("*/*", "application/json", "text/html,*/*;q=0.8"):
        assert golden_daemon.post("/predict", picture(), {"Accept": words}).json()


def test_rois_gives_their_vertices_with_indices(golden_daemon, rois):
    whole = golden_daemon.post("/predict", picture()).json()
    cases = {"V1v": ["V1v"], "FBA": ["FBA-1", "FBA-2"], "floc-bodies": ["EBA", "FBA-1", "FBA-2", "mTL-bodies"],
             "FFA,PPA": ["FFA-1", "FFA-2", "PPA"], "all": [name for name, _, _ in rois], "rest": ["rest"]}
    for names, members in cases.items():
        found = golden_daemon.post(f"/predict?rois={names}", picture()).json()
        assert [roi["name"] for roi in found["rois"]] == [name for name, _, _ in rois if name in members], names
        for side in ("lh", "rh"):
            mask = np.logical_or.reduce([masks[side] for name, _, masks in rois if name in members])
            assert found[side]["indices"] == np.flatnonzero(mask).tolist(), names
            assert found[side]["vertices"] == [whole[side]["vertices"][i] for i in np.flatnonzero(mask)], names
    array = golden_daemon.post("/predict?rois=FBA&format=npy", picture())
    part = golden_daemon.post("/predict?rois=FBA", picture()).json()
    assert array.array().tobytes() == vertices(part).tobytes()
    assert array.headers["X-Brainenc-Vertices"] == f'lh={len(part["lh"]["indices"])},rh={len(part["rh"]["indices"])}'


def test_attention_adds_the_maps(golden_daemon):
    found = golden_daemon.post("/predict?attention=FBA,PPA&output=rois", picture()).json()
    maps = golden_daemon.post("/attention?roi=FBA,PPA", picture()).json()
    assert found["maps"] == maps["maps"] and found["grid"] == maps["grid"] == [31, 31]
    assert [(m["roi"], m["hemi"]) for m in found["maps"]] == [("FBA", "lh"), ("FBA", "rh"), ("PPA", "lh"), ("PPA", "rh")]


def test_several_subjects_come_in_the_order_asked(golden_daemon):
    alone = {name: golden_daemon.post(f"/predict?subject={name}", picture()).json() for name in ("subj01", "demo")}
    for names, order in (("all", ["subj01", "demo"]), ("demo,subj01", ["demo", "subj01"]), ("demo,demo", ["demo"])):
        found = golden_daemon.post(f"/predict?subject={names}", picture()).json()
        found = found["predictions"] if len(order) > 1 else [found]
        assert [one["id"] for one in found] == [alone[name]["id"] for name in order]
        for one, name in zip(found, order):
            assert one["lh"] == alone[name]["lh"] and one["rh"] == alone[name]["rh"] and one["rois"] == alone[name]["rois"]
    assert alone["demo"]["demo"] is True and alone["demo"]["id"] != alone["subj01"]["id"]


def test_images_are_outermost(golden_daemon):
    body = {"Content-Type": "application/json"}, f'{{"images": ["{text64(picture())}", "{text64(noise(1))}"]}}'.encode()
    found = golden_daemon.post("/predict?subject=demo,subj01&output=rois", body[1], body[0]).json()["predictions"]
    want = [golden_daemon.post(f"/predict?subject={name}&output=rois", data).json()["id"]
            for data in (picture(), noise(1)) for name in ("demo", "subj01")]
    assert [one["id"] for one in found] == want


def test_ids_are_equal_for_equal_requests_and_for_no_others(golden_daemon):
    def ask(path, body):
        return golden_daemon.post(path, body).json()["id"]
    first = ask("/predict", picture())
    assert first == ask("/predict?output=rois&rois=V1v", picture()) == ask("/attention?roi=V1v", picture())
    others = [ask("/predict?fit=pad", picture()), ask("/predict?subject=demo", picture()), ask("/predict", picture("b_425"))]
    assert len({first, *others}) == 4


def test_arrays_of_other_shapes_have_other_ids(golden_daemon):
    pixels = np.arange(8 * 4 * 3, dtype=np.uint8)
    wide = golden_daemon.post("/predict?output=rois&fit=stretch", npy(pixels.reshape(4, 8, 3))).json()
    high = golden_daemon.post("/predict?output=rois&fit=stretch", npy(pixels.reshape(8, 4, 3))).json()
    assert wide["rois"] != high["rois"] and wide["id"] != high["id"]


def test_fit_brings_pictures_to_the_training_size(golden_daemon):
    def ask(fit):
        return golden_daemon.post(f"/predict?fit={fit}&format=npy", picture("c_500x333")).array().tobytes()
    assert len({ask(fit) for fit in ("crop", "stretch", "pad", "native")}) == 4
    assert ask("crop") == golden_daemon.post("/predict?format=npy", picture("c_500x333")).array().tobytes()


def test_space_challenge_is_the_default(golden_daemon):
    assert golden_daemon.post("/predict?space=challenge&output=vertices", picture()).json()["lh"] == \
        golden_daemon.post("/predict?output=vertices", picture()).json()["lh"]


@pytest.mark.parametrize("kind", ["npy3", "npy4", "form", "forms", "json", "jsons", "data-url"])
def test_every_kind_of_body_gives_the_same_numbers(golden_daemon, kind):
    a, b = picture("a_425"), picture("b_425")
    pixels = [decode_png(a), decode_png(b)]
    json_type = {"Content-Type": "application/json"}
    headers, body, count = {
        "npy3": ({}, npy(pixels[0]), 1),
        "npy4": ({}, npy(np.stack(pixels)), 2),
        "form": (*form(a), 1),
        "forms": (*form(a, ("note", b"not an image"), b), 2),
        "json": (json_type, f'{{"image": "{text64(a)}"}}'.encode(), 1),
        "jsons": (json_type, f' {{"images": ["{text64(a)}",\n"{text64(b)}"]}}\n'.encode(), 2),
        "data-url": (json_type, f'{{"image": "data:image/png;base64,{text64(a)}"}}'.encode(), 1),
    }[kind]
    want = np.concatenate([golden_daemon.post("/predict?format=npy", data).array() for data in (a, b)[:count]])
    assert golden_daemon.post("/predict?format=npy", body, headers).array().tobytes() == want.tobytes()
    found = golden_daemon.post("/predict", body, headers).json()
    found = [found] if count == 1 else found["predictions"]
    assert [vertices(one).tobytes() for one in found] == [row.tobytes() for row in want]


def test_a_fortran_array_is_read_by_its_indices(golden_daemon):
    pixels = decode_png(picture())
    want = golden_daemon.post("/predict?format=npy", npy(pixels)).body
    assert golden_daemon.post("/predict?format=npy", npy(np.asfortranarray(pixels))).body == want


def test_the_declared_type_is_not_trusted(golden_daemon):
    want = golden_daemon.post("/predict?format=npy", picture()).body
    for kind in ("image/jpeg", "text/plain", "application/x-npy", "nonsense"):
        assert golden_daemon.post("/predict?format=npy", picture(), {"Content-Type": kind}).body == want


def test_jpeg(golden_daemon):
    image = GOLDEN_JPEG.read_bytes()
    found = golden_daemon.post("/predict", image).json()
    assert found["image"]["width"] > 0 and len(vertices(found)) == LEFT + RIGHT
    pixels = np.load(GOLDEN_JPEG.parent.parent / "expected" / f"{GOLDEN_JPEG.stem}_jpg_rgb.npy")
    assert golden_daemon.post("/predict?format=npy", npy(pixels)).body == golden_daemon.post("/predict?format=npy", image).body


GOLDEN_JPEG = next(iter(sorted((PICTURES.parent.parent / "preprocess/images").glob("*.jpg"))))
