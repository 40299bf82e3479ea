"""Random and mutated requests, slow connections, a saturated pool, memory over time."""
import os
import re
import select
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from mutations import SMALL, is_framed, make_request
from support import (PATIENCE, SANITIZER, SLOW_LIMITS, SLOW_PATH, Answer, form, head, in_parallel, noise, picture, read_answer,
                     slow_picture, tool_support, wait_until)

SEED = int(os.environ.get("BRAINENC_SEED", "20250529"))  # of the requests: another finds other ones
REQUESTS = 3000 if SANITIZER == "thread" else 10000

# --- what comes back ----------------------------------------------------------------------------

ANSWER_HEAD = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2}) [ -~]*\r\n((?:[A-Za-z0-9-]+: [ -~]*\r\n)*)\r\n")
FRAMED_STATUSES = {200, 204, 400, 404, 405, 409, 413, 415, 422}
LIBRARY_STATUSES = {400, 413, 414, 431, 505}  # libmicrohttpd's own, to what is no HTTP: text, and the end of the connection


def split_answers(data):
    """The whole answers at the beginning of `data`, and what is behind them."""
    answers = []
    while match := ANSWER_HEAD.match(data):
        lines = [line.split(": ", 1) for line in match[2].decode().split("\r\n")[:-1]]
        headers = dict(lines)
        assert len(headers) == len(lines), f"a header is there twice: {match[0]}"
        status = int(match[1])
        without_body = status == 204 or status < 200
        assert without_body or "Content-Length" in headers, match[0]
        if status >= 400 and "Content-Type" not in headers and data.startswith(match[0] * 2):
            data = data[match.end():]  # libmicrohttpd 0.9 sends the head of its answer to a wrong Content-Length twice
        end = match.end() + (0 if without_body else int(headers["Content-Length"]))
        if len(data) < end:
            break
        answers.append(Answer(status=status, headers=headers, body=data[match.end():end]))
        data = data[end:]
    return answers, data


def check_answer(answer):
    """Whole in itself: a kind of content that is documented, and that content well formed."""
    kind = answer.headers.get("Content-Type")
    if kind is None and answer.status >= 400:
        assert answer.status in LIBRARY_STATUSES and answer.headers["Connection"] == "close", vars(answer)
        assert answer.body.startswith(b"<html>"), vars(answer)
    elif answer.status >= 400:
        assert answer.status in FRAMED_STATUSES and answer.error()
    elif kind == "application/json":
        answer.json()
    elif kind == "application/x-npy":
        finite = np.isfinite(answer.array())
        assert finite.all() or (finite.any() and finite.shape[-1] == 2 * 163842)  # on fsaverage
    elif kind == "application/gifti+xml":
        assert tool_support.read_gifti(answer.body).names[0] == "image 0"
    elif kind == "image/png":
        assert answer.body.startswith(b"\x89PNG\r\n\x1a\n")
    elif answer.status == 200:
        assert kind and kind.startswith("text/plain"), vars(answer)
    else:
        assert answer.status in (100, 204) and kind is None, vars(answer)


# The last request of a connection: what comes behind the wrong ones is to be answered, or the connection ended.
LAST = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def throw(daemon, data):
    """The answers to bytes that need be no requests. The daemon ends the connection, at the latest when its client does."""
    received = b""
    with daemon.socket() as sock:
        sock.settimeout(0.05)
        try:
            sock.sendall(data + LAST)
            while True:
                try:
                    piece = sock.recv(1 << 16)
                except TimeoutError:  # it waits for more, or computes
                    assert sock.gettimeout() < 1, "the connection is held although its client has ended"
                    sock.settimeout(PATIENCE / 2)
                    sock.shutdown(socket.SHUT_WR)
                    continue
                if not piece:
                    break
                received += piece
            answers, rest = split_answers(received)
            assert rest == b"", rest[:300]
        except ConnectionError:  # ended with bytes of ours unread; what it sent may be cut
            answers = split_answers(received)[0]
    return answers


def converse(daemon, requests):
    """The answers to well-framed requests, sent all at once on one connection: one to each, in order."""
    data, received, answers = b"".join(requests), b"", []
    with daemon.socket() as sock:
        sock.setblocking(False)
        while len(answers) < len(requests):
            readable, writable, _ = select.select([sock], [sock] if data else [], [], PATIENCE)
            assert readable or writable, f"no answer to number {len(answers)}"
            if writable:
                data = data[sock.send(data):]
            if readable:
                piece = sock.recv(1 << 18)
                assert piece, f"the connection ended without an answer to number {len(answers)}"
                more, received = split_answers(received + piece)
                answers += more
    assert received == b""
    return answers


def ask_some(daemon, numbers):
    """The statuses of the answers to requests of these numbers."""
    statuses, place = [], SimpleNamespace(numbers=numbers)
    try:
        framed = [number for number in numbers if is_framed(number)]
        place.numbers = framed
        for place.numbers, answer in zip(framed, converse(daemon, [make_request(SEED, number) for number in framed])):
            assert answer.status in FRAMED_STATUSES, vars(answer)
            check_answer(answer)
            statuses.append(answer.status)
        for place.numbers in numbers:
            if not is_framed(place.numbers):
                for answer in throw(daemon, make_request(SEED, place.numbers)):
                    check_answer(answer)
                    statuses.append(answer.status)
    except Exception as error:
        raise AssertionError(f"make_request({SEED}, {place.numbers}): {error!r}\n{daemon.log[-5000:]}") from error
    return statuses


def fixed_answers(daemon):
    return [daemon.post(path, picture()).body for path in ("/predict?format=npy&fit=crop",
                                                           "/attention?roi=FBA&format=npy&fit=crop")]


def test_random_and_mutated_requests(start):
    daemon = start(fit="native")  # small pictures stay small: most of the time goes into reading them
    before = fixed_answers(daemon)
    rounds = [range(first, first + 20) for first in range(0, REQUESTS, 20)]
    statuses = Counter(sum(in_parallel([lambda numbers=numbers: ask_some(daemon, numbers) for numbers in rounds], 12), []))
    assert all(statuses[status] > 0 for status in FRAMED_STATUSES), statuses
    # A good part gets as far as the decoders, and some through them.
    assert statuses[200] > REQUESTS / 8 and statuses[422] > REQUESTS / 8 and daemon.count("images_total") > REQUESTS / 20, statuses
    for name in ("in_flight", "queue_depth", "in_flight_bytes"):
        wait_until(lambda: daemon.count(name) == 0, f"{name}: what was begun for clients that left ends")
    wait_until(lambda: daemon.count("connections") <= 2, "no connection is forgotten")
    assert fixed_answers(daemon) == before


def test_slow_uploads_are_answered_and_hold_nobody_up(start):
    daemon = start(fit="native")
    slow = [daemon.socket(head(len(SMALL), "/predict?output=rois") + SMALL[:10]) for _ in range(50)]
    wait_until(lambda: daemon.count("connections") >= 50, "they are open")
    begun = time.monotonic()
    for at in range(10, 30):
        assert daemon.post("/predict?output=rois", SMALL).status == 200
        for sock in slow:
            sock.sendall(SMALL[at:at + 1])
    assert time.monotonic() - begun < PATIENCE / 4
    for sock in slow:
        sock.sendall(SMALL[30:])
    assert [read_answer(sock).status for sock in slow] == [200] * len(slow)
    for sock in slow:
        sock.close()
    wait_until(lambda: daemon.count("connections") <= 3, "they are gone")


def test_a_saturated_pool_does_not_slow_the_pages(start):
    daemon = start(limits=SLOW_LIMITS)
    with ThreadPoolExecutor(8) as pool:
        working = [pool.submit(daemon.post, SLOW_PATH, slow_picture()) for _ in range(8)]
        wait_until(lambda: daemon.count("in_flight") >= 6, "it is busy")
        times = []
        while sum(not one.done() for one in working) > 2 and len(times) < 100:
            begun = time.monotonic()
            assert daemon.get(("/healthz", "/readyz", "/metrics", "/subjects")[len(times) % 4]).body
            times.append(time.monotonic() - begun)
        assert all(one.result().status == 200 for one in working)
    times.sort()
    assert times and times[len(times) // 2] < (2 if SANITIZER else 0.3), times


@pytest.mark.skipif(bool(SANITIZER), reason="a sanitizer keeps freed memory")
def test_memory_does_not_grow(start):
    daemon = start(results={"held": "4MiB"})
    headers, body = form(noise(1), noise(2))

    def round_of_requests(seed):
        daemon.post("/predict", noise(seed))
        daemon.post("/predict?format=npy", body, headers)
        daemon.post("/attention?roi=FBA&heads=all", noise(seed))
        daemon.post("/predict", b"nonsense", status=415)
        daemon.post("/predict?rois=nope", picture(), status=404)
        daemon.get("/metrics")
        with daemon.socket(head(100000) + b"x" * 1000):
            pass
    for seed in range(15):
        round_of_requests(seed)
    before = daemon.resident()
    for seed in range(60):
        round_of_requests(100 + seed)
    assert daemon.resident() - before < 24 << 20
    wait_until(lambda: daemon.count("in_flight") == 0, "nothing is left")
