"""brainenc import --parcellation and --ncsnr: what a lab brings along, a number a vertex of the subject or of the whole surface."""
import codecs
import json

import numpy as np
import pytest

from support import (CASE, DATA, GOLDEN, MISSING, PICTURES, PREDICTION_TOLERANCE, USAGE, expected, read_pth, read_rois,
                     read_safetensors)

CHECKPOINT, FOLDER = CASE / "subj01/rois_all/checkpoint.pth", CASE / "algonauts/subj01"
VOXELS = GOLDEN / "variants/voxels/checkpoint.pth"
SIDES = {"lh": 300, "rh": 320}
PARCELS = 24  # as many as the golden checkpoint has queries for


@pytest.fixture
def output(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "subject.safetensors"


def labels_of(side):
    """Parcels of any sizes and labels 10, 20, ... in no order; one is empty; some vertices are in none."""
    labels = np.random.default_rng(len(side) + ord(side[0])).integers(-1, PARCELS + 1, SIDES[side]) * 10
    labels[labels == 70] = 80
    return labels


def surface_of(side):
    return np.flatnonzero(np.load(FOLDER / f"roi_masks/{side}.all-vertices_fsaverage_space.npy"))


def save_pair(folder, make, name):
    for side in SIDES:
        np.save(folder / f"{side}.{name}.npy", make(side))
    return f"{folder}/lh.{name}.npy,{folder}/rh.{name}.npy"


def spread(side, values, fill):
    """The same numbers on the whole surface; elsewhere there are others, which nobody may see."""
    whole = np.full(163842, fill, values.dtype)
    whole[surface_of(side)] = values
    return whole


NAMES = {0: "Unknown", -10: "nothing"} | {10 * i: f"area {i:02}" for i in range(1, PARCELS + 1)}


@pytest.fixture
def parcels(tmp_path):
    """The options of a good parcellation, with names in JSON."""
    (tmp_path / "names.json").write_text(json.dumps({str(label): name for label, name in reversed(NAMES.items())}))
    return ["--parcellation", save_pair(tmp_path, labels_of, "labels"), "--parcellation-names", tmp_path / "names.json"]


def import_subject(tool, output, *options, checkpoint=CHECKPOINT, **how):
    return tool.run("import", checkpoint, "--data", FOLDER, "-o", output, *options, **how)


def refuse(tool, code, output, *options, checkpoint=CHECKPOINT):
    """The sentence of an import that must fail, and leave what was there as it was and nothing else."""
    output.write_bytes(b"an older file")
    sentence = tool.refuses(code, "import", checkpoint, "--data", FOLDER, "-o", output, *options)
    assert output.read_bytes() == b"an older file" and list(output.parent.iterdir()) == [output]
    return sentence


def rois_of(path):
    return [(roi["name"], roi["family"]) for roi in json.loads(read_safetensors(path)[1]["brainenc"])["rois"]]


def predict(tool, subject, folder):
    tool.run("predict", PICTURES / "a_425.png", "--backbone", CASE / "dinov2_small.safetensors", "--subject", subject, "-o",
             folder / "found.npy")
    return np.load(folder / "found.npy")[0]


# --- ROIs with queries --------------------------------------------------------------------------


def test_parcels_are_the_rois_of_the_queries(tool, parcels, output, tmp_path):
    """Query i of a hemisphere is parcel i's in the order of labels, the last one is for the vertices in none."""
    import_subject(tool, output, *parcels)
    assert rois_of(output) == [(f"area {i:02}", "parcellation") for i in range(1, PARCELS + 1)]
    tensors, model = read_safetensors(output)[0], read_pth(CHECKPOINT)["model"]
    tokens = expected("output_tokens")[0].astype(np.float64)
    want = []
    for half, side in enumerate(SIDES):
        labels = labels_of(side)
        assert np.array_equal(tensors[f"masks.{side}"], [labels == 10 * i for i in range(1, PARCELS + 1)])
        query = np.where(labels > 0, labels // 10 - 1, PARCELS) + half * (PARCELS + 1)
        weight, bias = model[f"{side}_embed.0.weight"], model[f"{side}_embed.0.bias"]
        want.append(np.einsum("vc,vc->v", tokens[query], weight) + bias)
    assert np.abs(predict(tool, output, tmp_path) - np.concatenate(want)).max() <= PREDICTION_TOLERANCE
    assert np.load(tmp_path / "lh.labels.npy").min() < 0 and (labels_of("lh") == 0).any() and not (labels_of("lh") == 70).any()


def test_the_same_on_the_whole_surface(tool, parcels, output, tmp_path):
    import_subject(tool, output, *parcels)
    want = output.read_bytes()
    parcels[1] = save_pair(tmp_path, lambda side: spread(side, labels_of(side), 999), "surface")
    import_subject(tool, output, *parcels)
    assert output.read_bytes() == want


def test_the_same_with_names_in_other_forms(tool, parcels, output, tmp_path):
    import_subject(tool, output, *parcels)
    want = output.read_bytes()
    np.save(tmp_path / "names.npy", np.array(NAMES, dtype=object))
    lines = b"\r\n".join(NAMES.get(line, "").encode() for line in range(1, 10 * PARCELS + 1))
    (tmp_path / "names.txt").write_bytes(lines)
    (tmp_path / "marked.txt").write_bytes(codecs.BOM_UTF8 + lines)
    (tmp_path / "marked.json").write_bytes(codecs.BOM_UTF8 + b"\r\n " + json.dumps(NAMES).encode())
    for name in ("names.npy", "names.txt", "marked.txt", "marked.json"):
        import_subject(tool, output, *parcels[:3], tmp_path / name)
        assert output.read_bytes() == want


def test_the_families_of_the_folder_are_not_needed(tool, parcels, output, tmp_path):
    import_subject(tool, output, *parcels)
    masks = tmp_path / "subj01/roi_masks"
    masks.mkdir(parents=True)
    for side in SIDES:
        name = f"{side}.all-vertices_fsaverage_space.npy"
        (masks / name).write_bytes((FOLDER / "roi_masks" / name).read_bytes())
    want = output.read_bytes()
    tool.run("import", CHECKPOINT, "--data", masks.parent, "-o", output, *parcels)
    assert output.read_bytes() == want


def test_as_many_queries_as_parcels_are_needed(tool, parcels, output, tmp_path):
    (tmp_path / "names.json").write_text(json.dumps(NAMES | {250: "one more"}))
    sentence = refuse(tool, DATA, output, *parcels)
    assert "has 50 queries" in sentence and "25 ROIs" in sentence and "names.json" in sentence and "needs 52" in sentence


def test_a_readout_with_regions_of_its_own_takes_none(tool, parcels, output):
    sentence = refuse(tool, USAGE, output, *parcels, "--streams-order", "rest-last",
                      checkpoint=GOLDEN / "variants/streams_inc_patched/checkpoint.pth")
    assert "streams_inc has queries for regions of its own" in sentence


# --- ROIs without queries -----------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["voxels", "hemis_patched"])
def test_parcels_come_after_the_folders_rois(tool, parcels, output, tmp_path, variant):
    checkpoint = GOLDEN / f"variants/{variant}/checkpoint.pth"
    import_subject(tool, output, *parcels, "--parcellation-family", "atlas", checkpoint=checkpoint)
    folder = read_rois(FOLDER)[:-1]
    assert rois_of(output) == [(name, family) for name, family, _ in folder] + [(f"area {i:02}", "atlas")
                                                                                for i in range(1, PARCELS + 1)]
    for side, masks in (("lh", read_safetensors(output)[0]["masks.lh"]), ("rh", read_safetensors(output)[0]["masks.rh"])):
        assert np.array_equal(masks, [m[side] for _, _, m in folder] + [labels_of(side) == 10 * i for i in range(1, PARCELS + 1)])
    want = np.concatenate([np.load(GOLDEN / f"variants/{variant}/expected/{side}_pred.npy")[0] for side in SIDES])
    assert np.abs(predict(tool, output, tmp_path) - want).max() <= PREDICTION_TOLERANCE


def test_a_name_that_is_there_already_is_refused(tool, parcels, output, tmp_path):
    for name in ("EBA", "rest", "area 03"):
        (tmp_path / "names.json").write_text(json.dumps(NAMES | {10: name}))
        sentence = refuse(tool, DATA, output, *parcels, checkpoint=VOXELS)
        assert f"names.json: the name {name} is there twice" in sentence


# --- what is refused ----------------------------------------------------------------------------


BAD_NAMES = [
    (b"", "names no label above 0"), (b"{}", "names no label above 0"), (b'{"0": "Unknown", "-3": "x"}', "names no label above 0"),
    (b'{"ten": "V1"}', "'ten'"), (b'{"10": 5}', "'10'"), (b'{"1.5": "V1"}', "'1.5'"), (b'{"": "V1"}', "''"),
    (b'{" 1": "V1"}', "' 1'"),
    (b'{"99999999999999999999": "V1"}', "'99999999999999999999'"), (b'{"10": "a", "010": "b"}', "label 10 is there twice"),
    (b'{"10": "all"}', "'all' is no name for a ROI or family"), (b'{"10": "a,b"}', "'a,b' is no name"),
    (b'{"10": "' + b"x" * 64 + b'"}', "is no name"), (b'{"10": "a"', "is no JSON object"),
    (b"{" * 3000, "is no JSON object"), (b"\x93NUMPY", "names"), (b"V1\0\n", "line 1 holds a 0 byte"), (b"V1\x07\n", "is no name"),
    (b"\n".join(b"%d" % i for i in range(3000)), "more than 1000 regions"), (b"x" * (1 << 20) + b"y", "longer than"),
]


@pytest.mark.parametrize("text, words", BAD_NAMES, ids=range(len(BAD_NAMES)))
def test_names_that_are_none_are_refused(tool, parcels, output, tmp_path, text, words):
    (tmp_path / "names.json").write_bytes(text)
    sentence = refuse(tool, DATA, output, *parcels)
    assert "names.json" in sentence and words in sentence


def test_a_label_without_a_name_is_refused(tool, parcels, output, tmp_path):
    (tmp_path / "names.json").write_text(json.dumps({label: name for label, name in NAMES.items() if label != 30}))
    vertex = np.flatnonzero(labels_of("lh") == 30)[0]
    sentence = refuse(tool, DATA, output, *parcels)
    assert f"lh.labels.npy: label 30 of vertex {vertex} has no name" in sentence


@pytest.mark.parametrize("make, words", [
    (lambda side: np.zeros(301, np.int32), "lh.labels.npy: has 301 numbers for the lh hemisphere, whose vertices are 300 of"),
    (lambda side: np.zeros(SIDES[side]), "lh.labels.npy: array of F64 where integers are expected"),
    (lambda side: np.zeros(SIDES["lh"], np.int32), "rh.labels.npy: has 300 numbers"),
])
def test_labels_that_do_not_fit_are_refused(tool, parcels, output, tmp_path, make, words):
    save_pair(tmp_path, make, "labels")
    assert words in refuse(tool, DATA, output, *parcels)


def test_wrong_command_lines_are_refused(tool, parcels, output, tmp_path):
    one = tmp_path / "lh.labels.npy"
    for options in (parcels[:2], parcels[2:], ["--parcellation-family", "x"], ["--parcellation", one, *parcels[2:]],
                    ["--parcellation", f"{one},{one},{one}", *parcels[2:]], [*parcels, "--parcellation-family", "a,b"],
                    ["--ncsnr", one], ["--ncsnr", f",{one}"], ["--ncsnr", f"{one},"]):
        refuse(tool, USAGE, output, *options)
    assert "nowhere" in refuse(tool, MISSING, output, "--parcellation", f"{one},{tmp_path}/nowhere", *parcels[2:])
    assert "nowhere" in refuse(tool, MISSING, output, *parcels[:3], tmp_path / "nowhere")


def test_no_family_can_be_all(tool, parcels, output):
    assert "'all'" in refuse(tool, DATA, output, *parcels, "--parcellation-family", "all")


# --- the noise ceiling --------------------------------------------------------------------------


def ratios_of(side):
    ratios = np.random.default_rng(SIDES[side]).uniform(0, 2, SIDES[side]).astype(np.float32)
    ratios[3], ratios[4] = np.nan, 0
    return ratios


def test_ncsnr_is_taken_in_from_either_space(tool, output, tmp_path):
    """NaN says that the ratio of a vertex is unknown, and is kept."""
    pairs = [save_pair(tmp_path, ratios_of, "short"), save_pair(tmp_path, lambda side: spread(side, ratios_of(side), -1), "whole"),
             save_pair(tmp_path, lambda side: ratios_of(side).astype(np.float64)[:, None], "wide")]
    for pair in pairs:
        import_subject(tool, output, "--ncsnr", pair)
        for side in SIDES:
            assert np.array_equal(read_safetensors(output)[0][f"ncsnr.{side}"].ravel(), ratios_of(side), equal_nan=True)


def test_inspect_tells_ceiling_and_accuracy(tool, output, tmp_path):
    scores = np.linspace(-0.3, 0.9, 300)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/checkpoint.pth").write_bytes(CHECKPOINT.read_bytes())
    np.save(tmp_path / "run/lh_val_corr.npy", scores)
    import_subject(tool, output, "--ncsnr", save_pair(tmp_path, ratios_of, "n"), checkpoint=tmp_path / "run/checkpoint.pth")
    signal = ratios_of("lh").astype(np.float64) ** 2
    ceiling = signal / (signal + 1 / 3)
    known = ceiling > 0
    accuracy = np.minimum(1, np.maximum(0, scores[known]) ** 2 / ceiling[known]).mean()
    assert tool.run("inspect", output, "--json").json()["lh quality"] == (
        f"{scores.mean():.4f} mean validation correlation; noise ceiling {np.nanmean(ceiling):.4f}, encoding accuracy "
        f"{accuracy:.4f}")


def test_inspect_tells_the_ceiling_alone(tool, output, tmp_path):
    import_subject(tool, output, "--ncsnr", save_pair(tmp_path, ratios_of, "n"))
    signal = ratios_of("rh").astype(np.float64) ** 2
    assert tool.run("inspect", output,
                    "--json").json()["rh quality"] == f"noise ceiling {np.nanmean(signal / (signal + 1 / 3)):.4f}"


@pytest.mark.parametrize("value", [-0.001, np.inf, -np.inf])
def test_a_ratio_that_is_none_is_refused(tool, output, tmp_path, value):
    def damaged(side):
        ratios = ratios_of(side)
        ratios[7 if side == "rh" else 3] = value if side == "rh" else 1
        return ratios
    sentence = refuse(tool, DATA, output, "--ncsnr", save_pair(tmp_path, damaged, "n"))
    assert "rh.n.npy: the ncsnr of vertex 7 is" in sentence


def test_ratios_of_another_length_are_refused(tool, output, tmp_path):
    pair = save_pair(tmp_path, lambda side: np.ones(163841, np.float32), "n")
    assert "lh.n.npy: has 163841 numbers" in refuse(tool, DATA, output, "--ncsnr", pair)
