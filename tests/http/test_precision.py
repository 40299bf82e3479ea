"""compute.precision: answers, subjects, ids and the log say which it is; the client's results are those of a local run in it."""
import numpy as np
import pytest

from support import CASE, tool_support
from test_reload import reload

A = CASE / "images/a_425.png"


@pytest.mark.parametrize("precision", ["bf16", "bf16x3", "f32"])
def test_it_is_served_and_told(start, precision):
    daemon = start(compute={"precision": precision})
    daemon.wait_line(rf"serves subj01 \(.*, {precision} by \w+\)")
    answer = daemon.post("/predict?output=rois", A.read_bytes()).json()
    (subject,) = daemon.get("/subjects").json()["subjects"]
    assert answer["model"]["precision"] == subject["precision"] == precision


# What bf16 costs this model is far below these and far above what bf16x3 does.
@pytest.mark.parametrize("precision, least, largest", [("bf16", 0.999, 0.2), ("bf16x3", 0.9999999, 1e-3)])
def test_its_error_is_told(start, demo_model, tmp_path, precision, least, largest):
    daemon = start(compute={"precision": precision})
    line = daemon.wait_line(r"serves subj01 .*against f32 over 2 pictures.*").string
    answer = daemon.post("/predict?output=rois", A.read_bytes()).json()
    told = answer["model"]["precision_error"]
    (subject,) = daemon.get("/subjects").json()["subjects"]
    assert told == subject["precision_error"] and (told["pictures"], told["side"]) == (2, 213)
    assert least < told["correlation"] <= 1 and 0 < told["largest"] < largest
    assert f"correlation {told['correlation']:.6f}, largest difference {told['largest']:.4f} of" in line
    here = tool_support.Tool().run("predict", A, *demo_model, "--precision", precision, "--json").json()["predictions"][0]
    assert here["model"] == answer["model"]


def test_none_is_told_of_f32(start):
    daemon = start(compute={"precision": "f32"})
    line = daemon.wait_line("serves subj01").string
    (subject,) = daemon.get("/subjects").json()["subjects"]
    model = daemon.post("/predict?output=rois", A.read_bytes()).json()["model"]
    assert "precision_error" not in subject and "precision_error" not in model and "against" not in line


def test_auto_is_bf16_where_amx_runs(start):
    (subject,) = start(compute={"precision": "auto"}).get("/subjects").json()["subjects"]
    assert subject["precision"] == ("bf16" if subject["isa"] == "amx" else "f32")


def test_the_same_bits_as_the_tool(start, demo_model, tmp_path):
    daemon = start(compute={"precision": "bf16"})
    tool = tool_support.Tool()
    tool.run("predict", A, *demo_model, "--precision", "bf16", "-o", tmp_path / "found.npy")
    found, whole = daemon.post("/predict?format=npy", A.read_bytes()).array(), np.load(tmp_path / "found.npy")
    assert np.array_equal(found, whole)
    tool.run("predict", A, *demo_model, "-o", tmp_path / "f32.npy")
    assert not np.array_equal(found, np.load(tmp_path / "f32.npy"))


def test_another_precision_is_another_id(start):
    ids = {start(compute={"precision": it}).post("/predict?output=rois", A.read_bytes()).json()["id"] for it in ("f32", "bf16")}
    assert len(ids) == 2


def test_a_reload_changes_it(start):
    daemon = start(compute={"precision": "f32"})
    before = daemon.post("/predict?output=rois", A.read_bytes()).json()
    daemon.configure(daemon.settings | {"compute": {"precision": "bf16"}})
    reload(daemon, "good")
    after = daemon.post("/predict?output=rois", A.read_bytes()).json()
    assert "precision_error" not in before["model"] and after["model"]["precision_error"]["largest"] > 0
    assert (before["model"]["precision"], after["model"]["precision"]) == ("f32", "bf16") and before["id"] != after["id"]
