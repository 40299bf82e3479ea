"""brainenc predict --server: the results of a run without it, and a tool that no server can harm."""
import json
import os
import re
import socket
import threading
import time

import numpy as np
import pytest

from support import CASE, CORRUPT, PATIENCE, PICTURES, SANITIZER, Daemon, encode_png, in_parallel, tool_support

DONE, SYSTEM, USAGE, MISSING, DATA, PARTIAL = range(6)
A, B = PICTURES / "a_425.png", PICTURES / "b_425.png"
TOOL = tool_support.Tool()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture(scope="module")
def demo_model(demo):
    return ["--backbone", demo / "dinov2_demo_pretrain.pth", "--subject", demo / "subj01.safetensors"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Twenty pictures that take no time with --fit native."""
    return tool_support.write_pictures(tmp_path_factory.mktemp("small") / "pictures", 20, 28)


def address(daemon):
    return f"http://{daemon.host}:{daemon.port}" if daemon.port else f"unix:{daemon.host}"


def same_but_for_times(text):
    return re.sub(r',"timing_ms":\{[^{}]*\}', "", text)


def run_both(folder, pictures, here, there, *arguments, output=None, code=DONE):
    """The results of the same command without and with a server, as files by name, or what is on standard output."""
    results = []
    for name, source in (("here", here), ("there", there)):
        (folder / name).mkdir()
        where = ["-o", folder / name / output] if output else []
        result = TOOL.run("predict", *pictures, *source, *arguments, *where, code=code)
        results.append({path.name: path.read_bytes() for path in (folder / name).iterdir()} if output else {"": result.out})
    return results


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
    daemon = start(subjects=[{"name": name, "weights": str(path), "backbone": "demo"} for name, path in (("subj01", one), ("two", two))])
    here = ["--backbone", demo / "dinov2_demo_pretrain.pth", "--subject", two, "--subject", one]
    server = ["--server", address(daemon)]
    for number, arguments in enumerate((["--rois", "FBA"], ["--json", "--rois", "EBA", "--attention", "EBA"], ["--json"])):
        (tmp_path / str(number)).mkdir()
        results = run_both(tmp_path / str(number), [A, B], here, [*server, "--subject", "two", "--subject", "subj01"], *arguments)
        assert same_but_for_times(results[0][""].decode()) == same_but_for_times(results[1][""].decode())
    for names, found in ((["--subject", "all"], ["subj01", "two"]), (["--subject", "two,subj01"], ["two", "subj01"]), ([], ["subj01"])):
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


# --- pictures that are none ---------------------------------------------------------------------


@pytest.fixture()
def mixed(tmp_path, small):
    """Good pictures, and some that are refused by the tool or by the server."""
    (tmp_path / "none.npy").write_bytes(b"\x93NUMPY")
    bad = [CORRUPT / "bad_crc.png", CORRUPT / "truncated.jpg", CORRUPT / "empty.png", CORRUPT / "text.png", tmp_path / "missing.png",
           tmp_path / "none.npy", CORRUPT / "bomb_30000x30000.png"]
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
    (MISSING, "subj01", ["--subject", "subj99"]), (MISSING, "FBA-1", ["--rois", "FBA-9"]), (USAGE, "empty name", ["--rois", "FBA,,EBA"]),
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
    assert {one["version"] for one in subjects} == {version} and {one["isa"] for one in subjects} <= {"avx512", "avx2", "generic"}


# --- runs that end before their time ------------------------------------------------------------


@pytest.fixture()
def stopped(demo_daemon, small, tmp_path):
    """The command and output of a run that stopped at the eleventh picture, which is whole by now."""
    copies = [tmp_path / path.name for path in small]
    for path, copy in zip(small, copies):
        copy.write_bytes(path.read_bytes())
    good = copies[10].read_bytes()
    copies[10].write_bytes(good[:100])
    output = tmp_path / "out.npy"
    arguments = ["predict", *copies, "--fit", "native", "-o", output]
    result = TOOL.run(*arguments, "--server", address(demo_daemon), code=DATA)
    assert "10 of 20 images are kept" in result.lines[-2]
    copies[10].write_bytes(good)
    return arguments, output


def test_a_run_goes_on_and_ends_with_the_bytes_of_a_local_one(stopped, demo_daemon, demo_model, tmp_path):
    arguments, output = stopped
    assert "after 10 of 20 images" in TOOL.run(*arguments, "--server", address(demo_daemon)).lines[0]
    TOOL.run(*arguments[:-1], tmp_path / "here.npy", *demo_model)
    assert output.read_bytes() == (tmp_path / "here.npy").read_bytes()


def test_a_run_on_other_weights_is_refused(stopped, start, demo_settings, demo_model, tmp_path):
    arguments, output = stopped
    TOOL.run("demo", "-o", tmp_path / "other", "--seed", "2")
    other = tmp_path / "other/subj01.safetensors", tmp_path / "other/dinov2_demo_pretrain.pth"
    changes = [{"subjects": [demo_settings["subjects"][0] | {"weights": str(other[0])}]}, {"backbones": {"demo": {"weights": str(other[1])}}},
               {"backbones": {"demo": demo_settings["backbones"]["demo"] | {"heads": 4}}}]
    before = {path.name: path.read_bytes() for path in tmp_path.glob("out*")}
    for change in changes:
        daemon = start(**change)
        assert "--restart" in TOOL.refuses(USAGE, *arguments, "--server", address(daemon))
        assert "--restart" in TOOL.refuses(USAGE, *arguments, "--server", address(daemon), "--rois", "FBA")
        assert {path.name: path.read_bytes() for path in tmp_path.glob("out*")} == before
    assert "--restart" in TOOL.refuses(USAGE, *arguments, *demo_model)
    assert TOOL.run(*arguments, "--server", address(daemon), "--restart").code == DONE and not output.with_name("out.npy.partial").exists()


# --- servers that are none, or evil -------------------------------------------------------------


class Fake:
    """A server between the tool and a daemon: `change(method, path, answer)` gives the answer to be sent: one of the daemon's
    with another status, headers or body, or bytes that go out as they are, or an iterator of such."""

    def __init__(self, daemon, change):
        self.daemon, self.change, self.asked, self.open, self.most = daemon, change, [], 0, 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with sock, sock.makefile("rb") as stream:
            try:
                while self._exchange(sock, stream):
                    pass
            except (OSError, ValueError):
                pass  # the tool left

    def _exchange(self, sock, stream):
        line = stream.readline().split()
        if len(line) != 3:
            return False
        headers = dict(header.decode().strip().lower().split(": ", 1) for header in iter(stream.readline, b"\r\n"))
        body = stream.read(int(headers.get("content-length", 0)))
        method, path = line[0].decode(), line[1].decode()
        with self.lock:
            self.asked.append((method, path))
            self.open += 1
            self.most = max(self.most, self.open)
        answer = self.daemon.ask(method, path, body or None, status=None)
        answer = self.change(method, path.split("?")[0], answer)
        with self.lock:
            self.open -= 1
        if not hasattr(answer, "status"):
            for piece in [answer] if isinstance(answer, bytes) else answer:
                sock.sendall(piece)
            return False
        more = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items() if name.lower() not in ("content-length", "connection"))
        sock.sendall(f"HTTP/1.1 {answer.status} x\r\nContent-Length: {len(answer.body)}\r\n{more}\r\n".encode() + answer.body)
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


def raw(body, length=None, status="200 OK", more=""):
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body) if length is None else length}\r\n{more}\r\n".encode() + body


def on(page, reply):
    """A change of the answers of one page alone."""
    return lambda method, path, answer: reply(answer) if path == page else answer


def edited(edit):
    """The daemon's answer with its JSON changed by `edit`."""
    def reply(answer):
        tree = answer.json()
        edit(tree)
        answer.body = json.dumps(tree).encode()
        return answer
    return reply


PAGES = ["/subjects", "/rois", "/predict"]


@pytest.fixture(scope="module")
def picture(small):
    return ["predict", small[0], "--fit", "native"]


def refuses(picture, daemon, change, code, output="--json"):
    """The one sentence about a server that changes its answers."""
    with Fake(daemon, change) as fake:
        sentence = TOOL.refuses(code, *picture, "--server", fake.address, "--rois", "FBA,V1v", output)
        assert sentence.startswith(f"brainenc: {fake.address}: "), sentence
        return sentence


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("body", [b"", b"garbage", b"<html></html>", b"{", b"[]", b'{"a": NaN}', b"null", b"{}}", b"{}\0", b'{"a": "\xff"}',
                                  b'{"a": "\x1b[2J"}', b"{\x1b}", b"[" * 100000, b'{"a":' * 5000, b'{"predictions": 3}', b"{} {}"])
def test_answers_that_are_no_json_or_not_what_was_asked(picture, demo_daemon, page, body):
    assert f"{page}: " in refuses(picture, demo_daemon, on(page, lambda answer: raw(body)), DATA)


@pytest.mark.parametrize("page", PAGES)
def test_answers_cut_short(picture, demo_daemon, page):
    assert "short" in refuses(picture, demo_daemon, on(page, lambda answer: raw(answer.body, len(answer.body) + 10)), SYSTEM)
    assert "short" in refuses(picture, demo_daemon, on(page, lambda answer: raw(answer.body[:-50], len(answer.body))), SYSTEM)
    assert page in refuses(picture, demo_daemon, on(page, lambda answer: raw(answer.body, len(answer.body) - 10)), DATA)
    assert page in refuses(picture, demo_daemon, on(page, lambda answer: b"HTTP/1.0 200 OK\r\n\r\n" + answer.body[:-10]), DATA)
    for answer in (b"", b"garbage", b"220 mail.example ESMTP\r\n"):
        assert refuses(picture, demo_daemon, on(page, lambda _, answer=answer: answer), SYSTEM)
    assert page in refuses(picture, demo_daemon, on(page, lambda _: b"HTTP/1.1 200 OK\r\nContent-"), DATA)


def set_value(path, value):
    def edit(tree):
        *way, last = path
        for key in way:
            tree = tree[key]
        tree[last] = value
    return edited(edit)


@pytest.mark.parametrize("path, word", [
    (("lh", "vertices"), "lh.vertices"), (("rh", "vertices"), "rh.vertices"), (("lh", "indices"), "lh.indices"),
    (("rh", "indices"), "rh.indices"), (("lh",), "lh.vertices"), (("model",), "model.weights"), (("model", "weights"), "model.weights"),
    (("image",), "image"),
])
def test_a_field_of_a_prediction_that_is_wrong_is_named(picture, demo_daemon, path, word):
    for value in ([], None, 7, "x", {}, {"vertices": []}, [[]], [0] * 99):
        if not (path == ("model", "weights") and value == "x") and not (path == ("image",) and isinstance(value, dict)):
            sentence = refuses(picture, demo_daemon, on("/predict", set_value(path, value)), DATA)
            assert word in sentence and f"/predict: {picture[1]}: " in sentence, value


@pytest.mark.parametrize("value", ["text", True, [], {}, "1e999"])
def test_a_response_that_is_no_number_is_named(picture, demo_daemon, value, tmp_path):
    def spoil(answer):
        answer = set_value(("rh", "vertices", 3), value)(answer)
        answer.body = answer.body.replace(b'"1e999"', b"1e999")
        return answer
    for output in ("--json", f"-o{tmp_path}/out.npy"):
        assert "rh.vertices" in refuses(picture, demo_daemon, on("/predict", spoil), DATA, output=output)
    assert list(tmp_path.iterdir()) == []


def test_the_wrong_number_of_responses_is_named(picture, demo_daemon, tmp_path):
    for edit in (lambda tree: tree["lh"]["vertices"].pop(), lambda tree: tree["lh"]["vertices"].append(1)):
        with Fake(demo_daemon, on("/predict", edited(edit))) as fake:
            sentence = TOOL.refuses(DATA, *picture, "--server", fake.address, "-o", tmp_path / "out.npy")
            assert fake.address in sentence and "lh.vertices" in sentence and "1000" in sentence
    assert list(tmp_path.iterdir()) == []


def test_null_is_not_a_number(picture, demo_daemon, tmp_path):
    with Fake(demo_daemon, on("/predict", set_value(("lh", "vertices", 3), None))) as fake:
        TOOL.run(*picture, "--server", fake.address, "-o", tmp_path / "out.npy")
    assert np.flatnonzero(np.isnan(np.load(tmp_path / "out.npy")[0])).tolist() == [3]


def leaves(tree, way=()):
    """The places of all values of a tree, of long lists the first alone."""
    for key, value in tree.items() if isinstance(tree, dict) else list(enumerate(tree))[:1] if isinstance(tree, list) else []:
        yield (*way, key)
        yield from leaves(value, (*way, key))


NEEDED = {"/subjects": {"name", "demo", "backbone_weights", "backbone_heads", "backbone_activation", "backbone_unverified", "weights", "isa", "version", "units",
                        "vertices", "lh", "rh", "unverified", "subjects"},
          "/rois": {"subjects", "subject", "rois", "name", "family", "vertices"}}


@pytest.mark.parametrize("page", NEEDED)
def test_every_field_that_is_needed_is_checked(picture, demo_daemon, page):
    tree = demo_daemon.get("/subjects" if page == "/subjects" else "/rois?subject=subj01&output=vertices").json()
    places = [way for way in leaves(tree) if way[-1] in NEEDED[page] and not {"fsaverage", "quality"} & set(way)]
    assert {way[-1] for way in places} == NEEDED[page]
    for number, way in enumerate(places):
        for value in (-1, [], {}) if number % 2 else (1.5, None, [[]]):
            if (way[-1], value) not in (("family", None), ("unverified", [])):  # which may be
                sentence = refuses(picture, demo_daemon, on(page, set_value(way, value)), (DATA, MISSING))
                assert way[-1] == "name" or "/subjects: " in sentence or "/rois: " in sentence, (way, value)


def test_what_is_printed_holds_no_control_characters(picture, demo_daemon):
    evil = "\x1b[2J\u202e\u009b\n"
    with Fake(demo_daemon, on("/subjects", set_value(("subjects", 0, "unverified"), [evil]))) as fake:
        text = TOOL.run(*picture, "--server", fake.address).out.decode()
        assert "  unverified: ?[2J???\n" in text and "FBA-1" in text
    for page, place in (("/rois", ("subjects", 0, "rois", 0, "name")), ("/rois", ("subjects", 0, "subject"))):
        sentence = refuses(picture, demo_daemon, on(page, set_value(place, evil)), DATA)
        assert page in sentence and not any(character in sentence for character in evil[:1] + evil[4:])


@pytest.mark.parametrize("vertices", [[-1], [1.5], [1000], ["1"], [3, 3], [3, 2], [None], [1e300], {"0": 1}, None])
def test_vertices_that_cannot_be(picture, demo_daemon, vertices):
    sentence = refuses(picture, demo_daemon, on("/rois", set_value(("subjects", 0, "rois", 0, "vertices", "lh"), vertices)), DATA)
    assert "/rois: subj01: V1v" in sentence


def test_counts_beyond_all_bounds(picture, demo_daemon):
    for value in (2**20 + 1, 2**53, 1e308):
        assert "lh" in refuses(picture, demo_daemon, on("/subjects", set_value(("subjects", 0, "vertices", "lh"), value)), DATA)
    nan = on("/subjects", lambda answer: raw(re.sub(rb'"lh":\d+', b'"lh":NaN', answer.body)))
    assert "/subjects" in refuses(picture, demo_daemon, nan, DATA)
    many = [{"subject": "subj01", "rois": []}] * 70
    assert "/rois" in refuses(picture, demo_daemon, on("/rois", set_value(("subjects",), many)), DATA)


def most_memory(arguments, code):
    """(the last line, the most bytes of memory) of a run."""
    process = TOOL.start(*arguments)
    err = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    assert process.returncode == code, err
    return err.splitlines()[-1], usage.ru_maxrss * 1024


def repeat(piece, begin=b"HTTP/1.1 200 OK\r\n"):
    def reply(_):
        yield begin
        while True:
            yield piece
    return reply


WITHOUT_END = {
    "body": (repeat(b" " * (1 << 20), b"HTTP/1.1 200 OK\r\n\r\n"), DATA, "larger than 64 MiB"),
    "values": (lambda _: raw(b'{"a":[' + b"1," * (5 << 20) + b"1]}"), DATA, "more than 4194304 values"),
    "length": (lambda _: raw(b"x", 1 << 40), SYSTEM, "short"),
    "headers": (repeat(b"X-Name: value\r\n" * 1000), SYSTEM, "headers"),
    "header": (repeat(b"x" * (1 << 16), b"HTTP/1.1 200 OK\r\nX-Name: "), SYSTEM, "memory"),
    "trailers": (repeat(b"X-Name: value\r\n" * 1000, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"), DATA, "headers are"),
    "preludes": (repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, b""), SYSTEM, "headers"),
}


@pytest.mark.parametrize("page", ["/rois", "/predict"])
@pytest.mark.parametrize("kind", WITHOUT_END)
def test_an_answer_without_end_does_not_fill_the_memory(picture, demo_daemon, page, kind):
    reply, code, word = WITHOUT_END[kind]
    with Fake(demo_daemon, on(page, reply)) as fake:
        sentence, memory = most_memory([*picture, "--server", fake.address], code)
        assert sentence.startswith(f"brainenc: {fake.address}: ") and word in sentence
        assert SANITIZER or memory < 256 << 20


def drip(_):
    yield b"HTTP/1.1 200 OK\r\n\r\n"
    while True:
        time.sleep(0.05)
        yield b" "


def hold(_):
    time.sleep(PATIENCE)
    return b""


def test_a_server_that_never_answers(picture, demo_daemon):
    def check(page, reply):
        started = time.monotonic()
        with Fake(demo_daemon, on(page, reply)) as fake:
            sentence = TOOL.refuses(SYSTEM, *picture, "--server", fake.address, "--timeout", "1")
        assert fake.address in sentence and "--timeout" in sentence and time.monotonic() - started < PATIENCE / 2
    in_parallel([lambda page=page, reply=reply: check(page, reply) for page in PAGES for reply in (drip, hold)], 6)


def test_nobody_there(picture, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for name in (f"http://127.0.0.1:{port}", f"unix:{tmp_path}/none.sock", "http://no-such-host.invalid"):
        assert TOOL.refuses(SYSTEM, *picture, "--server", name).startswith(f"brainenc: {name}: ")


def test_what_is_at_the_address_is_no_brainencd(picture, demo_daemon):
    assert "404" in refuses(picture, demo_daemon, lambda *_: raw(b"<html>", status="404 Not Found"), MISSING)
    assert "418" in refuses(picture, demo_daemon, lambda *_: raw(b"{}", status="418 x"), USAGE)
    assert "500" in refuses(picture, demo_daemon, lambda *_: raw(b'{"error": 7}', status="500 x"), SYSTEM)
    assert "a?b" in refuses(picture, demo_daemon, lambda *_: raw(b'{"error": {"code": "x", "message": "a\\u001bb"}}', status="500 x"), SYSTEM)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/x", "http://127.0.0.1:1/elsewhere", "/subjects"])
def test_no_redirection_is_followed(picture, demo_daemon, page, target):
    with Fake(demo_daemon, on(page, lambda _: raw(b"", status="302 Found", more=f"Location: {target}\r\n"))) as fake:
        sentence = TOOL.refuses(SYSTEM, *picture, "--server", fake.address)
        assert fake.address in sentence and target in sentence
        assert [path.split("?")[0] for _, path in fake.asked] == PAGES[: PAGES.index(page) + 1]


# --- servers that are busy ----------------------------------------------------------------------


@pytest.mark.parametrize("status", ["503 Service Unavailable", "504 Gateway Timeout"])
def test_a_busy_server_is_asked_again_after_the_time_it_names(demo_daemon, demo_model, small, status, tmp_path):
    seen = []

    def busy(answer):
        seen.append(time.monotonic())
        return raw(b"{}", status=status, more="Retry-After: 1\r\n") if len(seen) < 2 else answer
    with Fake(demo_daemon, on("/predict", busy)) as fake:
        here, there = run_both(tmp_path, [small[0]], demo_model, ["--server", fake.address], output="out.npy")
    assert here == there and len(seen) == 2 and seen[1] - seen[0] >= 0.99


def test_a_server_that_stays_busy_is_given_up(picture, demo_daemon):
    message = b'{"error": {"code": "busy", "message": "the queue is full"}}'

    def check(wait, most):
        started = time.monotonic()
        with Fake(demo_daemon, on("/predict", lambda _: raw(message, status="503 x", more=wait))) as fake:
            sentence = TOOL.refuses(SYSTEM, *picture, "--server", fake.address, "--timeout", "3")
        assert sentence == f"brainenc: {fake.address}: the queue is full" and time.monotonic() - started < PATIENCE / 2
        assert 1 <= len([path for _, path in fake.asked if path.startswith("/predict")]) <= most
    waits = {"": 3, "Retry-After: 1\r\n": 3, "Retry-After: 0\r\n": 3, "Retry-After: -5\r\n": 3, "Retry-After: soon\r\n": 3,
             "Retry-After: 7\r\n": 1, "Retry-After: 1000000000\r\n": 1}
    in_parallel([lambda wait=wait, most=most: check(wait, most) for wait, most in waits.items()], len(waits))


def test_several_requests_at_a_time_and_results_in_order(demo_daemon, demo_model, small, tmp_path):
    pauses = iter(np.random.default_rng(1).permutation(40) / 100)

    def late(answer):
        time.sleep(next(pauses))
        return answer
    with Fake(demo_daemon, on("/predict", late)) as fake:
        here, there = run_both(tmp_path, small, demo_model, ["--server", fake.address], "--fit", "native", output="out.npy")
        assert here == there and 2 <= fake.most <= 8
        assert len([path for _, path in fake.asked if path.startswith("/predict")]) == len(small)


def test_a_server_that_goes_away_and_comes_back(demo_daemon, demo_model, small, tmp_path):
    count = iter(range(1000))
    arguments = ["predict", *small, "--fit", "native", "-o", tmp_path / "out.npy"]
    with Fake(demo_daemon, on("/predict", lambda answer: answer if next(count) < 12 else b"")) as fake:
        result = TOOL.run(*arguments, "--server", fake.address, code=SYSTEM)
    kept = int(re.search(r"results of (\d+) of 20 images are kept", result.lines[-2])[1])
    assert 4 <= kept <= 12 and fake.address in result.lines[-1]
    assert f"after {kept} of 20 images" in TOOL.run(*arguments, "--server", address(demo_daemon)).lines[0]
    TOOL.run(*arguments[:-1], tmp_path / "here.npy", *demo_model)
    assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "here.npy").read_bytes()


def test_weights_that_change_while_a_run_goes_on(demo_daemon, small, tmp_path):
    count = iter(range(1000))

    def reloaded(answer):
        return set_value(("model", "weights"), "0" * 64)(answer) if next(count) >= 9 else answer
    with Fake(demo_daemon, on("/predict", reloaded)) as fake:
        result = TOOL.run("predict", *small, "--fit", "native", "--server", fake.address, "-o", tmp_path / "out.npy", code=SYSTEM)
        assert "weights of subj01 have changed" in result.lines[-1] and not (tmp_path / "out.npy").exists()
