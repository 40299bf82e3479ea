"""brainenc predict --server: vertices on fsaverage and GIFTI files are those of a run without it."""
import json

import numpy as np
import pytest

from client_support import A, B, DATA, PARTIAL, TOOL, USAGE, Fake, address, edited, on, run_both, same_but_for_times, set_value
from support import noise, tool_support

ON_FSAVERAGE = ["--space", "fsaverage"]


@pytest.mark.parametrize("more", [[], ON_FSAVERAGE, ["--rois", "FBA,rest"], [*ON_FSAVERAGE, "--rois", "FBA,rest"]])
@pytest.mark.parametrize("output", ["out.npy", "out.json", "out.func.gii"])
def test_the_results_are_those_of_a_local_run(demo_model, demo_daemon, tmp_path, output, more):
    results = run_both(tmp_path, [A, B], demo_model, ["--server", address(demo_daemon)], *more, output=output)
    here, there = ({name: same_but_for_times(data.decode("latin1")) for name, data in files.items()} for files in results)
    assert here == there and len(there) == (1 if output == "out.json" else 2)


def test_a_picture_that_is_refused_is_nan_in_gifti(demo_model, demo_daemon, tmp_path):
    (tmp_path / "broken.png").write_bytes(noise(1)[:60])
    here, there = run_both(tmp_path, [A, tmp_path / "broken.png"], demo_model, ["--server", address(demo_daemon)],
                           "--on-error", "nan", output="out.func.gii", code=PARTIAL)
    assert here == there and np.isnan(tool_support.read_gifti(there["out.lh.func.gii"]).arrays[1]).all()


def test_gifti_takes_one_subject(start, demo_settings, tmp_path):
    daemon = start(subjects=[demo_settings["subjects"][0] | {"name": name} for name in ("one", "two")])
    arguments = ["predict", A, "--server", address(daemon), "-o", tmp_path / "out.func.gii", "--subject"]
    for names in ("one,two", "all"):
        assert "one subject" in TOOL.refuses(USAGE, *arguments, names)
    TOOL.run(*arguments, "two")
    assert tool_support.read_gifti((tmp_path / "out.rh.func.gii").read_bytes()).meta["subject"] == "two"


def test_a_server_that_does_not_know_the_places(start, demo, demo_model, tmp_path):
    path = tmp_path / "bare.safetensors"
    tool_support.rewrite_subject(demo / "subj01.safetensors", path, tool_support.without_fsaverage)
    daemon = start(subjects=[{"name": "subj01", "weights": str(path), "backbone": "demo"}])
    for output in ("out.npy", "out.json", "out.func.gii"):
        sentence = TOOL.refuses(DATA, "predict", A, "--server", address(daemon), *ON_FSAVERAGE, "-o", tmp_path / output)
        assert "subj01" in sentence and "index" in sentence
    (tmp_path / "files").mkdir()
    here, there = run_both(tmp_path / "files", [A], [*demo_model[:3], path], ["--server", address(daemon)], output="out.func.gii")
    assert here == there and "own" in tool_support.read_gifti(there["out.lh.func.gii"]).about_index


# --- servers that say what cannot be ------------------------------------------------------------


def refuses(daemon, page, reply, *arguments):
    with Fake(daemon, on(page, reply)) as fake:
        sentence = TOOL.refuses(DATA, "predict", A, "--server", fake.address, *arguments)
        assert sentence.startswith(f"brainenc: {fake.address}: "), sentence
        return sentence


@pytest.mark.parametrize("value", [7, [], {"lh": [1, 2]}, "x", {"lh": None, "rh": None}])
def test_places_that_are_none(demo_daemon, value):
    assert "/rois: subj01: fsaverage" in refuses(demo_daemon, "/rois", set_value(("subjects", 0, "fsaverage"), value))


@pytest.mark.parametrize("value", [-1, 163842, 1.5, None, "1", 2**60])
def test_a_place_that_cannot_be(demo_daemon, value):
    assert "/rois: subj01: fsaverage" in refuses(demo_daemon, "/rois", set_value(("subjects", 0, "fsaverage", "rh", 7), value))


def test_places_that_do_not_ascend(demo_daemon):
    def swap(tree):
        places = tree["subjects"][0]["fsaverage"]["lh"]
        places[3], places[4] = places[4], places[3]
    with Fake(demo_daemon, on("/rois", edited(swap))) as fake:
        assert "ascend" in TOOL.refuses(DATA, "predict", A, "--server", fake.address, "--json", *ON_FSAVERAGE)


@pytest.mark.parametrize("value", [2**20 + 1, -1, None, "x"])
def test_a_surface_that_cannot_be(demo_daemon, value):
    assert "/subjects: subj01: lh" in refuses(demo_daemon, "/subjects", set_value(("subjects", 0, "fsaverage", "lh"), value))


def test_numbers_where_there_is_no_vertex(demo_daemon):
    answer = demo_daemon.get("/rois?subject=subj01&output=vertices").json()["subjects"][0]["fsaverage"]["lh"]
    gap = next(place for place in range(len(answer)) if place not in answer)
    asked = ["--json", *ON_FSAVERAGE]
    for place, value in ((gap, 1.5), (163841, 0)):
        assert "lh.vertices" in refuses(demo_daemon, "/predict", set_value(("lh", "vertices", place), value), *asked)
    assert "lh.vertices" in refuses(demo_daemon, "/predict", edited(lambda tree: tree["lh"]["vertices"].pop()), *asked)
    assert "rh.indices" in refuses(demo_daemon, "/predict", set_value(("rh", "indices", 0), 1), "--rois", "FBA", *asked)


def test_an_unfinished_run_does_not_go_on_in_another_space(demo_daemon, tmp_path):
    (tmp_path / "broken.png").write_bytes(noise(1)[:60])
    arguments = ["predict", A, tmp_path / "broken.png", "--server", address(demo_daemon), "-o", tmp_path / "out.json"]
    TOOL.run(*arguments, code=DATA)
    assert "other images, weights or options" in TOOL.refuses(USAGE, *arguments, *ON_FSAVERAGE)
    TOOL.run(*arguments, "--restart", *ON_FSAVERAGE, "--on-error", "nan", code=PARTIAL)
    assert json.loads((tmp_path / "out.json").read_text())["predictions"][0]["space"] == "fsaverage"
