"""brainenc predict --server: a tool that no server can harm."""
import os
import re
import socket
import time

import numpy as np
import pytest

from client_support import DATA, MISSING, PAGES, SYSTEM, TOOL, USAGE, Fake, edited, on, raw, refuses, set_value
from support import PATIENCE, SANITIZER, in_parallel


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("body", [b"", b"garbage", b"<html></html>", b"{", b"[]", b'{"a": NaN}', b"null", b"{}}", b"{}\0",
                                  b'{"a": "\xff"}',
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


@pytest.mark.parametrize("path, word", [
    (("lh", "vertices"), "lh.vertices"), (("rh", "vertices"), "rh.vertices"), (("lh", "indices"), "lh.indices"),
    (("rh", "indices"), "rh.indices"), (("lh",), "lh.vertices"), (("model",), "model.weights"),
    (("model", "weights"), "model.weights"),
    (("model", "backbone_weights"), "model.backbone_weights"), (("model", "backbone_activation"), "model.backbone_activation"),
    (("model", "backbone_heads"), "model.backbone_heads"), (("model", "precision"), "model.precision"), (("image",), "image"),
])
def test_a_field_of_a_prediction_that_is_wrong_is_named(picture, demo_daemon, path, word):
    another = 7 if path[-1] == "backbone_heads" else "x"  # of the right kind: another model
    for value in ([], None, 7, "x", {}, {"vertices": []}, [[]], [0] * 99):
        if not (path[0] == "model" and path[1:] and value == another) and not (path == ("image",) and isinstance(value, dict)):
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


NEEDED = {"/subjects": {"name", "demo", "backbone", "backbone_weights", "backbone_heads", "backbone_activation",
                        "backbone_unverified", "weights", "isa", "precision", "version", "units",
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
    "trailers": (repeat(b"X-Name: value\r\n" * 1000, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"), DATA,
                 "headers are"),
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
    assert "a?b" in refuses(picture, demo_daemon, lambda *_: raw(b'{"error": {"code": "x", "message": "a\\u001bb"}}',
                                                                 status="500 x"), SYSTEM)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/x", "http://127.0.0.1:1/elsewhere", "/subjects"])
def test_no_redirection_is_followed(picture, demo_daemon, page, target):
    with Fake(demo_daemon, on(page, lambda _: raw(b"", status="302 Found", more=f"Location: {target}\r\n"))) as fake:
        sentence = TOOL.refuses(SYSTEM, *picture, "--server", fake.address)
        assert fake.address in sentence and target in sentence
        assert [path.split("?")[0] for _, path in fake.asked] == PAGES[: PAGES.index(page) + 1]
