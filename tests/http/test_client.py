"""brainenc predict --server: the results of a run without it, and what it refuses to ask."""
import json

import h5py
import numpy as np
import pytest

from client_support import A, B, DATA, MISSING, PARTIAL, TOOL, USAGE, address, run_both, same_but_for_times
from support import CASE, CORRUPT, PICTURES, Daemon, encode_png, tool_support

# --- the same results ---------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["--fit", "native"], ["--fit", "pad"], ["--rois", "FBA,rest"], ["--rois", "aTL-faces"]])
def test_npy_and_its_description_are_the_bytes_of_a_local_run(demo_model, demo_daemon, tmp_path, arguments):
    here, there = run_both(tmp_path, [PICTURES], demo_model, ["--server", address(demo_daemon)], *arguments, output="out.npy")
    assert set(here) == {"out.npy", "out.npy.json"} and here == there
    rows = np.load(tmp_path / "there/out.npy")
    assert rows.shape[0] == len(list(PICTURES.glob("*.png"))) and np.isfinite(rows).all() and rows.shape[1] > 0


@pytest.mark.parametrize("arguments", [[], ["--rois", "floc-bodies,V1v"]])
def test_the_table_is_that_of_a_local_run(demo_model, demo_daemon, tmp_path, arguments):
    here, there = run_both(tmp_path, [A, B], demo_model, ["--server", address(demo_daemon) + "/"], *arguments)
    assert here == there and b"demo: random weights" in there[""]


@pytest.mark.parametrize("output", ["out.json", None])
@pytest.mark.parametrize("arguments", [[], ["--rois", "FBA,EBA", "--attention", "FBA,rest"], ["--output", "rois"],
                                       ["--output", "vertices", "--fit", "native"]])
def test_json_is_the_text_of_a_local_run_but_for_times(demo_model, demo_daemon, tmp_path, arguments, output):
    arguments = arguments if output else [*arguments, "--json"]
    here, there = run_both(tmp_path, [A, B], demo_model, ["--server", address(demo_daemon)], *arguments, output=output)
    (here,), (there,) = here.values(), there.values()
    assert same_but_for_times(here.decode()) == same_but_for_times(there.decode())
    predictions = json.loads(there)["predictions"]
    assert [one["image"]["name"] for one in predictions] == [str(A), str(B)] and predictions[0]["timing_ms"]["queue"] >= 0


def test_golden_weights_marked_unverified_look_the_same(golden_subject, golden_settings, start, tmp_path):
    """The number of heads is in no tensor of Meta's file and not said."""
    weights = CASE / "dinov2_small_pretrain.pth"
    daemon = start(backbones={"small": {"weights": str(weights)}}, subjects=golden_settings["subjects"][:1])
    there = ["--server", address(daemon), "--subject", "subj01"]
    for number, (arguments, output) in enumerate((([], None), ([], "out.npy"), (["--json"], None))):
        folder = tmp_path / str(number)
        folder.mkdir()
        results = run_both(folder, [A], ["--backbone", weights, "--subject", golden_subject], there, *arguments, output=output)
        here, there_found = ({name: same_but_for_times(data.decode("latin1")) for name, data in one.items()} for one in results)
        assert here == there_found and any("unverified" in text for text in here.values())


def test_several_subjects(demo, start, tmp_path):
    TOOL.run("demo", "-o", tmp_path / "other", "--seed", "2")
    TOOL.run("import", tmp_path / "other/checkpoint.pth", "--data", tmp_path / "other/algonauts/subj01", "--name", "two", "-o",
             tmp_path / "two.safetensors")
    one, two = demo / "subj01.safetensors", tmp_path / "two.safetensors"
    daemon = start(subjects=[{"name": name, "weights": str(path), "backbone": "demo"}
                             for name, path in (("subj01", one), ("two", two))])
    here = ["--backbone", demo / "dinov2_demo_pretrain.pth", "--subject", two, "--subject", one]
    server = ["--server", address(daemon)]
    for number, arguments in enumerate((["--rois", "FBA"], ["--json", "--rois", "EBA", "--attention", "EBA"], ["--json"])):
        (tmp_path / str(number)).mkdir()
        results = run_both(tmp_path / str(number), [A, B], here, [*server, "--subject", "two", "--subject", "subj01"], *arguments)
        assert same_but_for_times(results[0][""].decode()) == same_but_for_times(results[1][""].decode())
    for names, found in ((["--subject", "all"], ["subj01", "two"]), (["--subject", "two,subj01"], ["two", "subj01"]),
                         ([], ["subj01"])):
        answer = TOOL.run("predict", A, *server, *names, "--json", "--output", "rois").json()
        assert [prediction["subject"] for prediction in answer["predictions"]] == found
    for names in ("two,subj01", "all"):
        assert "one subject" in TOOL.refuses(USAGE, "predict", A, *server, "--subject", names, "-o", tmp_path / "out.npy")


def test_a_list_of_pictures(demo_daemon, demo_model, small, tmp_path):
    (tmp_path / "list").write_text("".join(f"{path}\n" for path in small[5:]))
    here, there = run_both(tmp_path, small[:5], demo_model, ["--server", address(demo_daemon)], "--fit", "native", "--list",
                           tmp_path / "list", output="out.npy")
    assert here == there and len(json.loads(there["out.npy.json"])["rows"]) == 20


def test_a_unix_socket(start, demo_model, tmp_path):
    daemon = start(listen=f"unix:{tmp_path}/http.sock")
    here, there = run_both(tmp_path, [A], demo_model, ["--server", f"unix:{tmp_path}/http.sock"], output="out.npy")
    assert here == there and daemon.port is None


@pytest.mark.parametrize("output", ["out.npy", "out.json"])
def test_an_hdf5_file_beside_a_picture(demo_daemon, demo_model, small, tmp_path, output):
    pixels = np.random.default_rng(1).integers(0, 256, (20, 28, 42, 3), np.uint8)
    with h5py.File(tmp_path / "stimuli.hdf5", "w") as file:
        data = file.create_dataset("stimuli", pixels.shape, np.uint8, chunks=(1, 28, 42, 3), compression="gzip")
        for number in {*range(20)} - {8}:
            data[number] = pixels[number]
    pictures = [small[0], tmp_path / "stimuli.hdf5", small[1]]
    here, there = run_both(tmp_path, pictures, demo_model, ["--server", address(demo_daemon)], "--fit", "native", "--images",
                           "0-5,19,8", "--dataset", "stimuli", "--on-error", "nan", output=output, code=PARTIAL)
    if output == "out.npy":
        assert here == there and [*np.isnan(np.load(tmp_path / "there/out.npy")).any(axis=1)] == [False] * 8 + [True, False]
        return
    here, there = (same_but_for_times(result["out.json"].decode()) for result in (here, there))
    assert here == there and json.loads(there)["predictions"][7]["image"]["name"] == f"{tmp_path}/stimuli.hdf5[19]"


# --- pictures that are none ---------------------------------------------------------------------


@pytest.fixture()
def mixed(tmp_path, small):
    """Good pictures, and some that are refused by the tool or by the server."""
    (tmp_path / "none.npy").write_bytes(b"\x93NUMPY")
    bad = [CORRUPT / "bad_crc.png", CORRUPT / "truncated.jpg", CORRUPT / "empty.png", CORRUPT / "text.png",
           tmp_path / "missing.png", tmp_path / "none.npy", CORRUPT / "bomb_30000x30000.png"]
    return [small[0], *bad[:2], small[1], *bad[2:], small[2]]


@pytest.mark.parametrize("output", ["out.npy", "out.json"])
def test_refused_pictures_leave_what_they_leave_locally(demo_model, demo_daemon, mixed, small, tmp_path, output):
    here, there = run_both(tmp_path, mixed, demo_model, ["--server", address(demo_daemon)], "--on-error", "nan", output=output,
                           code=PARTIAL)
    description = json.loads(there[output if output == "out.json" else "out.npy.json"])
    assert [failure["image"] for failure in description["failed"]] == [str(path) for path in mixed if path not in small]
    assert {name: same_but_for_times(data.decode("latin1")) for name, data in here.items()} == \
        {name: same_but_for_times(data.decode("latin1")) for name, data in there.items()}


def test_a_refused_picture_ends_the_run(demo_daemon, demo_model):
    for name in ("truncated.png", "bad_crc.png", "zero_width.png", "text.png"):
        sentence = TOOL.refuses(DATA, "predict", CORRUPT / name, "--server", address(demo_daemon))
        assert sentence == TOOL.refuses(DATA, "predict", CORRUPT / name, *demo_model)


def test_the_limits_of_the_server(start, tmp_path, small):
    daemon = start(limits={"body": "20KiB", "tokens": 961})
    wide = tmp_path / "wide.png"
    wide.write_bytes(encode_png(np.zeros((14, 14 * 962, 3))))
    result = TOOL.run("predict", A, wide, small[0], "--server", address(daemon), "--fit", "native", "--on-error", "nan", "-o",
                      tmp_path / "out.npy", code=PARTIAL)
    assert np.isnan(np.load(tmp_path / "out.npy")).all(axis=1).tolist() == [True, True, False]
    (first, second) = (line for line in result.lines if "a second" not in line)
    assert first.startswith(f"brainenc: {A}: {address(daemon)} refuses it: ") and "20480" in first
    assert second.startswith(f"brainenc: {wide}: ") and "961" in second


# --- who may ask, and for what ------------------------------------------------------------------


def test_keys(demo_settings, demo_model, tmp_path):
    (tmp_path / "keys").write_text("secret-one\nsecret-two\n")
    (tmp_path / "mine").write_text("secret-two\r\nnot this line\n")
    (tmp_path / "wrong").write_text("secret-three")
    (tmp_path / "empty").write_text("\nsecret-two\n")
    (tmp_path / "strange").write_text("secret\x01two\n")
    with Daemon(tmp_path, demo_settings | {"auth": {"keys_file": "keys"}}) as daemon:
        ask = ["predict", A, "--server", address(daemon)]
        assert TOOL.run(*ask, "--key-file", tmp_path / "mine").out == TOOL.run("predict", A, *demo_model).out
        assert "key" in TOOL.refuses(USAGE, *ask)
        sentence = TOOL.refuses(USAGE, *ask, "--key-file", tmp_path / "wrong")
        assert "key" in sentence and address(daemon) in sentence and "secret" not in sentence
        for name in ("empty", "strange"):
            sentence = TOOL.refuses(DATA, *ask, "--key-file", tmp_path / name)
            assert str(tmp_path / name) in sentence and "secret" not in sentence
        assert "nowhere" in TOOL.refuses(MISSING, *ask, "--key-file", tmp_path / "nowhere")


@pytest.mark.parametrize("code, word, arguments", [
    (MISSING, "subj01", ["--subject", "subj99"]), (MISSING, "FBA-1", ["--rois", "FBA-9"]),
    (USAGE, "empty name", ["--rois", "FBA,,EBA"]),
    (MISSING, "'nope'", ["--attention", "nope", "--json"]), (USAGE, "squeeze", ["--fit", "squeeze"]),
    (USAGE, "--backbone", ["--backbone", "x.pth"]), (USAGE, "--threads", ["--threads", "2"]), (USAGE, "--isa", ["--isa", "auto"]),
    (USAGE, "--backbone-heads", ["--backbone-heads", "12"]), (USAGE, "--max-tokens", ["--max-tok", "1369"]),
    (USAGE, "--max-pixels", ["--max-pixels", "40000000"]), (USAGE, "--timeout", ["--timeout", "0"]),
])
def test_what_the_server_does_not_have_or_take_is_named(demo_daemon, code, word, arguments):
    assert word in TOOL.refuses(code, "predict", A, "--server", address(demo_daemon), *arguments)


def test_what_goes_with_a_server_alone(demo_model, tmp_path):
    for arguments in (["--key-file", tmp_path / "key"], ["--timeout", "3"]):
        assert arguments[0] in TOOL.refuses(USAGE, "predict", A, *demo_model, *arguments)


@pytest.mark.parametrize("server", ["labserver:8080", "", "http://", "https:///x", "file:///etc/passwd", "ftp://127.0.0.1", "unix:",
                                    "http://user:word@127.0.0.1", "http://127.0.0.1/?a=b", "http://127.0.0.1:99999"])
def test_what_is_no_address_of_a_server(server):
    assert "--server" in TOOL.refuses(USAGE, "predict", A, "--server", server)


# --- what the daemon tells for it ---------------------------------------------------------------


def test_rois_with_their_vertices(golden_daemon):
    want = {name: {side: np.flatnonzero(mask).tolist() for side, mask in masks.items()}
            for name, _, masks in tool_support.read_rois(CASE / "algonauts/subj01")}
    (found,) = golden_daemon.get("/rois?subject=subj01&output=vertices").json()["subjects"]
    assert {roi["name"]: roi["vertices"] for roi in found["rois"]} == want
    assert golden_daemon.get("/rois?output=counts").body == golden_daemon.get("/rois").body
    assert "'all'" in golden_daemon.refuses(400, "GET", "/rois?output=all")


def test_what_computes_a_subject(golden_daemon):
    subjects = golden_daemon.get("/subjects").json()["subjects"]
    assert [one["backbone_heads"] for one in subjects] == [12, 2] and [one["backbone_unverified"] for one in subjects] == ["", ""]
    assert [one["backbone_activation"] for one in subjects] == ["gelu", "gelu"]
    version = TOOL.run("--version").out.decode().strip()
    assert {one["version"] for one in subjects} == {version} and {one["isa"] for one in subjects} <= {"amx", "avx512bf16", "avx512",
                                                                                                      "avx2", "generic"}
