"""--precision: products in bfloat16, against those in float32 over pictures of every kind, and what answers say of it."""
import sys
from pathlib import Path

import numpy as np
import pytest

from support import CASE, GOLDEN, PREDICTION_TOLERANCE, USAGE, expected

sys.path.insert(0, str(GOLDEN.parent / "bench"))
import accuracy  # noqa: E402: where it is must be told first

A = CASE / "images/a_425.png"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return accuracy.write_pictures(tmp_path_factory.mktemp("precision") / "pictures", 16)


@pytest.fixture(scope="module")
def whole(tool, demo_model, pictures, tmp_path_factory):
    """What f32 gives: predictions, and the maps of the first picture."""
    return answers(tool, demo_model, pictures, tmp_path_factory.mktemp("whole"), "f32")


def answers(tool, demo_model, pictures, folder, *precision):
    tool.run("predict", pictures, *demo_model, "--precision", *precision, "-o", folder / "found.npy")
    tool.run("attention", pictures / "0000.png", "--roi", "all", *demo_model, "--precision", *precision, "-o", folder / "maps.npy")
    return np.load(folder / "found.npy").astype(float), np.load(folder / "maps.npy").astype(float)


@pytest.mark.parametrize("precision, median, least, variation",
                         [("bf16", 0.9999, 0.997, 0.01), ("bf16x3", 0.9999999, 0.999999, 1e-5)])
def test_it_is_as_near_as_it_says(tool, demo_model, pictures, whole, tmp_path, precision, median, least, variation):
    found = answers(tool, demo_model, pictures, tmp_path, precision)
    cost = accuracy.compare(found[0], whole[0], found[1], whole[1])
    assert cost["median"] >= median and cost["least"] >= least and cost["variation"] <= variation
    assert np.abs(found[0] - whole[0]).max() > 0  # it is another precision


@pytest.mark.parametrize("precision", ["bf16", "bf16x3"])
def test_the_same_bits_on_any_number_of_threads(tool, demo_model, pictures, tmp_path, precision):
    for threads in ("1", "3"):
        tool.run("predict", pictures, *demo_model, "--precision", precision, "--threads", threads, "-o",
                 tmp_path / f"{threads}.npy")
    assert (tmp_path / "1.npy").read_bytes() == (tmp_path / "3.npy").read_bytes()


def test_three_parts_are_within_the_golden_cases(tool, model, tmp_path):
    tool.run("predict", A, *model, "--backbone-heads", "12", "--precision", "bf16x3", "-o", tmp_path / "found.npy")
    want = np.concatenate([expected("lh_pred"), expected("rh_pred")], axis=1)[0]
    assert PREDICTION_TOLERANCE < 2e-4 and np.abs(np.load(tmp_path / "found.npy")[0] - want).max() <= 2e-4


def test_answers_say_which_it_was(tool, demo_model, pictures):
    told = {}
    for precision in ("f32", "bf16", "bf16x3", "auto"):
        (answer,) = tool.run("predict", pictures / "0000.png", *demo_model, "--precision", precision,
                             "--json").json()["predictions"]
        told[precision] = (answer["model"]["precision"], answer["id"])
    assert [told[it][0] for it in ("f32", "bf16", "bf16x3")] == ["f32", "bf16", "bf16x3"]
    assert len({told[it][1] for it in ("f32", "bf16", "bf16x3")}) == 3
    if "amx_bf16" not in Path("/proc/cpuinfo").read_text():
        assert told["auto"] == told["f32"]
    else:  # unless the kernel does not let it
        assert told["auto"] in (told["f32"], told["bf16"])


def test_another_word_is_refused(tool, demo_model, pictures):
    error = tool.refuses(USAGE, "predict", pictures / "0000.png", *demo_model, "--precision", "f16")
    assert "'f16'" in error and "bf16x3" in error and "auto" in error


def test_a_run_goes_on_in_its_own_precision_alone(tool, demo_model, pictures, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    run = ["predict", pictures / "0000.png", broken, *demo_model, "-o", tmp_path / "out.npy"]
    tool.run(*run, "--precision", "bf16", code=4)
    assert (tmp_path / "out.npy.partial").exists()
    assert "--restart" in tool.run(*run, "--precision", "f32", code=2).err
