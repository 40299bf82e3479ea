"""brainenc import --storage bf16: matrices of half the size, in the file and in what is said of it."""
import json

import numpy as np
import pytest

from support import CASE, GOLDEN, PICTURES, USAGE, expected, read_pth, read_safetensors

CHECKPOINT, FOLDER = CASE / "subj01/rois_all/checkpoint.pth", CASE / "algonauts/subj01"


def round_to_bf16(values):
    """The nearest bfloat16 by search among the two neighbours, a tie to the even one, as its upper 16 bits."""
    low = values.astype(np.float32).view(np.uint32) >> 16
    candidates = np.stack([low, low + 1])
    numbers = (candidates.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    away = np.abs(numbers - values.astype(np.float64))
    up = (away[1] < away[0]) | ((away[1] == away[0]) & (low % 2 == 1))
    return np.where(up, candidates[1], candidates[0]).astype(np.uint16)


@pytest.fixture(scope="module")
def narrowed(tool, tmp_path_factory):
    path = tmp_path_factory.mktemp("bf16") / "subj01.safetensors"
    text = tool.run("import", CHECKPOINT, "--data", FOLDER, "-o", path, "--storage", "bf16").out.decode()
    assert "stored as bf16" in text
    return path


def test_matrices_are_rounded_and_the_rest_is_kept(narrowed):
    tensors, metadata = read_safetensors(narrowed)
    model = read_pth(CHECKPOINT)["model"]
    assert json.loads(metadata["brainenc"])["storage"] == "bf16"
    kinds = set()
    for name, values in tensors.items():
        if name.startswith("members.0."):
            stem = name.removeprefix("members.0.")
            matrix = values.ndim >= 2 and stem != "query_embed.weight"
            assert np.array_equal(values, round_to_bf16(model[stem]) if matrix else model[stem]), name
            kinds.add((stem.split(".")[0], matrix))
    assert kinds == {("transformer", True), ("transformer", False), ("query_embed", False), ("lh_embed", True), ("lh_embed", False),
                     ("rh_embed", True), ("rh_embed", False)}


def test_the_file_is_smaller_and_says_so(tool, narrowed, subject):
    matrices = sum(values.nbytes for name, values in read_safetensors(narrowed)[0].items() if values.dtype == np.uint16)
    assert subject.stat().st_size - narrowed.stat().st_size == pytest.approx(matrices, abs=200)
    assert tool.run("inspect", narrowed, "--json").json()["storage"] == "bf16"
    assert tool.run("inspect", subject, "--json").json()["storage"] == "f32"


def test_predictions_are_those_of_the_rounded_weights(tool, narrowed, subject, tmp_path):
    """Widened by hand in a file of float32, the rounded weights predict the same; and not far from the published numbers."""
    from test_ensemble import write_safetensors
    tensors, metadata = read_safetensors(narrowed)
    wide = {name: (values.astype(np.uint32) << 16).view(np.float32) if values.dtype == np.uint16 else values
            for name, values in tensors.items()}
    described = json.loads(metadata["brainenc"]) | {"storage": "f32"}
    write_safetensors(tmp_path / "wide.safetensors", wide, metadata | {"brainenc": json.dumps(described)})
    found = {}
    for name, path in (("bf16", narrowed), ("wide", tmp_path / "wide.safetensors")):
        tool.run("predict", PICTURES / "a_425.png", "--backbone", CASE / "dinov2_small.safetensors", "--subject", path, "-o",
                 tmp_path / f"{name}.npy")
        found[name] = np.load(tmp_path / f"{name}.npy")
    assert np.abs(found["bf16"] - found["wide"]).max() <= 2e-5
    want = np.concatenate([expected("lh_pred")[0], expected("rh_pred")[0]])
    away = np.abs(found["bf16"][0] - want)
    assert 1e-4 < away.max() < 0.05 * want.std() * 5 and away.mean() < 0.02 * want.std()


@pytest.mark.parametrize("variant, whole", [("spatial_rois", "spatial_embed.weight"), ("pos_learned", "row_embed.weight")])
def test_tables_of_queries_and_positions_are_kept(tool, tmp_path, variant, whole):
    name = "checkpoint_with_position_table.pth" if variant == "pos_learned" else "checkpoint.pth"
    path = tmp_path / "subject.safetensors"
    tool.run("import", GOLDEN / "variants" / variant / name, "--data", FOLDER, "-o", path, "--storage", "bf16")
    tensors, _ = read_safetensors(path)
    assert tensors[f"members.0.{whole}"].dtype == np.float32 and tensors["members.0.lh_embed.0.weight"].dtype == np.uint16


def test_another_type_is_refused(tool, tmp_path):
    sentence = tool.refuses(USAGE, "import", CHECKPOINT, "--data", FOLDER, "-o", tmp_path / "x.safetensors", "--storage", "f16")
    assert "'f16' is none of: f32, bf16" in sentence and not (tmp_path / "x").exists()
