"""Every limit of the configuration, each with its own answer."""
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from support import (CORRUPT, PATIENCE, SLOW_LIMITS, SLOW_PATH, encode_png, form, head, in_parallel, noise, npy, picture,
                     read_answer, slow_picture, text64, wait_until)


def test_a_body_too_large_is_refused_from_its_length(start):
    daemon = start(limits={"body": "1MiB"})
    for length in (1048577, 5 << 30, 2**64 - 2):
        with daemon.socket(head(length)) as sock:  # nothing of the body is sent
            answer = read_answer(sock)
            assert answer.status == 413 and "1048576" in answer.error() and answer.headers["Connection"] == "close"
    assert daemon.count("rejected_total", reason="body") == 3
    assert daemon.post("/predict?output=rois", noise(1) + b"\0" * (1048576 - len(noise(1)))).status == 200


def test_a_body_too_large_is_refused_while_it_comes(start):
    daemon = start(limits={"body": "64KiB"})
    pieces = iter([b"x" * 8192] * 20)
    assert daemon.refuses(413, "POST", "/predict", pieces, {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    # who goes on for ever is cut off
    with daemon.socket(b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n") as sock:
        with pytest.raises(ConnectionError):
            for _ in range(200000):
                sock.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
    assert daemon.count("in_flight_bytes") == 0 and daemon.get("/healthz")


def test_pixels_are_counted_in_the_header(start):
    daemon = start(limits={"pixels": 10000})
    before = daemon.resident()
    for data in ((CORRUPT / "bomb_30000x30000.png").read_bytes(), noise(1, 101, 100), npy(np.zeros((101, 100, 3), np.uint8))):
        sentence = daemon.refuses(413, "POST", "/predict", data)
        assert "image 0" in sentence and "10000" in sentence and "pixels" in sentence
    assert daemon.resident() - before < 40 << 20 and daemon.count("rejected_total", reason="pixels") == 3
    assert daemon.post("/predict?output=rois", noise(1, 100, 100)).status == 200


def test_tokens_are_counted_in_the_header(start):
    daemon = start(limits={"tokens": 961})
    sentence = daemon.refuses(413, "POST", "/predict?fit=native", noise(1, 14 * 31, 14 * 31 + 1))
    assert "961" in sentence and "32 x 31" in sentence and "tokens" in sentence
    assert daemon.refuses(413, "POST", "/predict?fit=native", npy(np.zeros((14, 14 * 962, 3), np.uint8)))
    assert daemon.post("/predict?fit=native&output=rois", noise(1, 434, 434)).json()["image"]["grid"] == [31, 31]
    assert daemon.post("/predict?output=rois", noise(1, 435, 434)).status == 200  # cropped, it fits


def test_images_of_one_request(start):
    daemon = start(limits={"queue": 3})
    small = encode_png(np.zeros((4, 4, 3)))
    json_type = {"Content-Type": "application/json"}
    for count, status in ((3, 200), (4, 413), (300, 413)):
        body = '{"images": [%s]}' % ",".join([f'"{text64(small)}"'] * count)
        headers, parts = form(*[small] * count)
        answers = [daemon.post("/predict?output=rois", body.encode(), json_type, status=status),
                   daemon.post("/predict?output=rois", parts, headers, status=status),
                   daemon.post("/predict?output=rois", npy(np.zeros((count, 4, 4, 3), np.uint8)), status=status)]
        assert all("3" in answer.error() for answer in answers) if status == 413 else \
            all(len(answer.json()["predictions"]) == 3 for answer in answers)


def test_a_full_queue_is_503_with_retry_after(start):
    daemon = start(limits=SLOW_LIMITS | {"queue": 1}, compute={"batch": {"max": 1}})
    daemon.post(SLOW_PATH, slow_picture())  # now it has a pace
    with ThreadPoolExecutor(2) as pool:
        computed = pool.submit(daemon.post, SLOW_PATH, slow_picture())
        wait_until(lambda: daemon.count("in_flight") == 1 and daemon.count("queue_depth") == 0, "it is computed")
        queued = pool.submit(daemon.post, SLOW_PATH, slow_picture())
        wait_until(lambda: daemon.count("queue_depth") == 1, "it waits")
        refused = [daemon.post(SLOW_PATH, slow_picture(), status=503) for _ in range(4)]
        assert computed.result().status == queued.result().status == 200
    for answer in refused:
        assert "queue" in answer.error() and 1 <= int(answer.headers["Retry-After"]) <= 3600
    assert daemon.count("rejected_total", reason="queue") == len(refused)
    assert daemon.post("/predict?output=rois", noise(1)).status == 200


def test_bytes_in_flight(start):
    daemon = start(limits={"body": "4MiB", "bytes_in_flight": "4MiB"})
    with daemon.socket(head(2000000) + b"x") as holder:
        wait_until(lambda: daemon.count("in_flight_bytes") == 2000000, "counted at once")
        answer = daemon.post("/predict", b"x" * 2300000, status=503)
        assert "in flight" in answer.error() and int(answer.headers["Retry-After"]) >= 1
        answer = daemon.post("/predict", iter([b"x" * 230000] * 10), {"Transfer-Encoding": "chunked"}, encode_chunked=True,
                             status=503)
        assert "in flight" in answer.error()
        wait_until(lambda: daemon.count("in_flight_bytes") == 2000000, "what was refused is let go")
        assert daemon.post("/predict?output=rois", noise(1)).status == 200
    wait_until(lambda: daemon.count("in_flight_bytes") == 0, "given back when the client left")
    assert daemon.post("/predict?output=rois", picture()).status == 200
    assert daemon.count("rejected_total", reason="bytes_in_flight") == 2


def test_answers_count_among_the_bytes_in_flight(start):
    daemon = start(limits={"body": "1MiB", "bytes_in_flight": "4MiB"})
    small = encode_png(np.zeros((4, 4, 3)))  # whose fitted picture, maps and numbers have three quarters of a MiB
    headers, body = form(*[small] * 6)
    answer = daemon.post("/predict", body, headers, status=503)
    assert "images" in answer.error() and int(answer.headers["Retry-After"]) >= 1
    wait_until(lambda: daemon.count("in_flight_bytes") == 0, "what was refused is let go")
    answer = daemon.post("/attention?roi=FBA&heads=all", small, status=503)
    assert "single heads" in answer.error()
    assert daemon.count("rejected_total", reason="bytes_in_flight") == 2
    wait_until(lambda: daemon.count("in_flight_bytes") == 0, "what was refused is let go")
    headers, body = form(*[small] * 2)
    assert len(daemon.post("/predict", body, headers).json()["predictions"]) == 2
    wait_until(lambda: daemon.count("in_flight_bytes") == 0, "given back with the answer")


def test_an_upload_past_its_limit_or_time_is_told_so(start):
    daemon = start(limits={"body": "64KiB", "deadline_ms": 300})
    begun = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with daemon.socket(begun) as sock:
        piece = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
        with pytest.raises(ConnectionError):
            for _ in range(64):
                sock.sendall(piece)
        answer = read_answer(sock)
        assert answer.status == 413 and "limits.body" in answer.error() and answer.headers["Connection"] == "close"
    with daemon.socket(begun) as sock:
        sock.sendall(b"5\r\nabcde\r\n")
        time.sleep(0.5)
        sock.sendall(b"5\r\nabcde\r\n")
        answer = read_answer(sock)
        assert answer.status == 408 and "deadline" in answer.error() and answer.headers["Connection"] == "close"
    assert daemon.count("rejected_total", reason="deadline") == 1
    assert daemon.get("/healthz")


def test_a_deadline_passes(start):
    daemon = start(limits=SLOW_LIMITS | {"deadline_ms": 150}, compute={"batch": {"max": 1}})
    start_time = time.monotonic()
    assert "deadline" in daemon.refuses(504, "POST", SLOW_PATH, slow_picture())
    assert time.monotonic() - start_time < PATIENCE / 2
    assert daemon.count("rejected_total", reason="deadline") == 1
    wait_until(lambda: daemon.count("in_flight") == 0, "the computation ends")
    assert daemon.post("/predict?output=rois", noise(1), status=None).status in (200, 504)


def test_requests_past_their_deadline_are_not_computed(start):
    daemon = start(limits=SLOW_LIMITS | {"deadline_ms": 500}, compute={"batch": {"max": 1}})
    before = daemon.count("images_total")
    statuses = [answer.status for answer in in_parallel([lambda: daemon.post(SLOW_PATH, slow_picture(), status=None)] * 10, 10)]
    assert statuses.count(504) >= 7
    wait_until(lambda: daemon.count("in_flight") == 0, "the computation ends")
    assert daemon.count("images_total") - before <= 3


def test_an_upload_may_not_take_longer_than_the_deadline(start):
    daemon = start(limits={"deadline_ms": 300})
    with daemon.socket(head(100000)) as sock:
        begun = time.monotonic()
        with pytest.raises(ConnectionError):
            while time.monotonic() - begun < PATIENCE:
                sock.sendall(b"x")
                time.sleep(0.02)
    wait_until(lambda: daemon.count("in_flight_bytes") == 0, "given back")


def test_connections(start):
    daemon = start(limits={"connections": 4})
    busy = [daemon.socket(head(1000) + b"x") for _ in range(4)]  # each in the middle of an upload
    wait_until(lambda: daemon.count("in_flight_bytes") == 4000, "they have begun")
    answer = daemon.post("/predict", noise(1), status=503)
    assert "connections" in answer.error() and int(answer.headers["Retry-After"]) >= 1
    assert daemon.get("/healthz").body == b"alive\n" and daemon.get("/readyz").body == b"ready\n"
    for sock in busy:
        sock.close()
    wait_until(lambda: daemon.count("in_flight_bytes") == 0, "they are closed")
    assert daemon.post("/predict?output=rois", noise(1)).status == 200
    assert daemon.count("rejected_total", reason="connections") == 1


def test_idle_connections_make_room(start):
    daemon = start(limits={"connections": 4})
    idle = [daemon.socket() for _ in range(9)]
    wait_until(lambda: daemon.count("connections") >= 9, "they are open")
    time.sleep(1)
    idle.append(daemon.socket())
    for _ in range(3):
        assert daemon.post("/predict?output=rois", noise(1)).status == 200
    assert idle[0].recv(1) == b""  # the oldest was closed
    idle[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read_answer(idle[-1]).status == 200  # the newest was not
    for sock in idle:
        sock.close()
