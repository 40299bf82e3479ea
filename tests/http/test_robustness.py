"""Random and mutated requests, idle and slow connections, a saturated pool, memory over time."""
import random
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support import (GOLDEN, PATIENCE, SANITIZER, SLOW_LIMITS, SLOW_PATH, form, head, in_parallel, noise, picture, read_answer, scaled,
                     slow_picture, text64, wait_until)

SMALL = noise(1, 8, 8)


def seeds_of_requests():
    headers, body = form(SMALL, ("note", b"text"))
    json_body = f'{{"images": ["{text64(SMALL)}"]}}'.encode()
    def post(path, data, kind):
        return head(len(data), path, f"Content-Type: {kind}\r\n") + data
    return [
        post("/predict?output=rois", SMALL, "image/png"), post("/predict?output=rois", body, headers["Content-Type"]),
        post("/attention?roi=FBA&hemi=lh", json_body, "application/json"), post("/predict?rois=V1v,FBA&subject=all", SMALL, "x"),
        b"GET /attention?roi=FBA&id=00112233445566778899aabbccddeeff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /rois?subject=subj01 HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n", b"GET /metrics HTTP/1.0\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ]


def mutate(data, rng):
    """A few bytes changed, cut, doubled or put elsewhere."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data) + 1)
        span = rng.randint(1, 20)
        kind = rng.randrange(5)
        if kind == 0 and at < len(data):
            data[at] = rng.randrange(256)
        elif kind == 1:
            del data[at:at + span]
        elif kind == 2:
            data[at:at] = data[at:at + span]
        elif kind == 3:
            data[at:at] = rng.randbytes(span)
        else:
            data[at:at] = rng.choice([b"\r\n", b"\r\n\r\n", b"\0", b"%00", b"%", b"--", b":", b"0", b"-1", b"9" * 25, b"{", b"[", b'"', b"&", b"="])
    return bytes(data) or b"x"


def throw(daemon, data):
    """Sends bytes and leaves, with or without waiting for an answer. Its first bytes."""
    with daemon.socket() as sock:
        sock.settimeout(0.05)
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            return sock.recv(12)
        except OSError:
            return b""


def test_mutated_requests(demo_daemon):
    rng = random.Random(20250529)
    requests = seeds_of_requests()
    jobs = [mutate(rng.choice(requests), rng) for _ in range(scaled(3000))] + [rng.randbytes(rng.randint(1, 400)) for _ in range(scaled(300))]
    begun, done = time.monotonic(), 0
    with ThreadPoolExecutor(8) as pool:
        for first in pool.map(lambda data: throw(demo_daemon, data), jobs):
            assert first == b"" or first.startswith(b"HTTP/1."), first
            assert not first.endswith(b"500"), first
            done += 1
    assert done == len(jobs) and time.monotonic() - begun < PATIENCE * 2
    wait_until(lambda: demo_daemon.count("in_flight") == 0, "what was begun for clients that left ends")
    wait_until(lambda: demo_daemon.count("queue_depth") == 0, "what they left in the queue is done")
    assert demo_daemon.post("/predict?output=rois", noise(1)).status == 200


def test_mutated_pictures(demo_daemon):
    rng = random.Random(7)
    jpeg = (picture_path("baseline_425.jpg").read_bytes(), picture_path("gray_90x60.jpg").read_bytes())
    sources = [SMALL, noise(2, 20, 10), picture_path("palette_180x140.png").read_bytes(), *jpeg]
    jobs = [mutate(rng.choice(sources), rng) for _ in range(scaled(300))]
    statuses = in_parallel([lambda data=data: demo_daemon.post("/predict?output=rois", data, status=None).status for data in jobs], 4)
    assert set(statuses) <= {200, 413, 415, 422} and 422 in statuses


def picture_path(name):
    return GOLDEN / "preprocess/images" / name


def test_idle_and_slow_connections_hold_nobody_up(start):
    daemon = start()
    idle = [daemon.socket() for _ in range(100)]
    slow = [daemon.socket(head(len(SMALL), "/predict?output=rois") + SMALL[:10]) for _ in range(10)] + \
           [daemon.socket(b"GET /healthz HT") for _ in range(10)]
    wait_until(lambda: daemon.count("connections") >= 120, "they are open")
    begun = time.monotonic()
    for seed in range(scaled(20)):
        assert daemon.post("/predict?output=rois", noise(seed)).status == 200
        for at, sock in enumerate(slow[:10]):
            sock.sendall(SMALL[10 + seed:11 + seed])
    assert time.monotonic() - begun < PATIENCE / 4
    for sock in slow[:10]:
        sock.sendall(SMALL[10 + scaled(20):])
    assert [read_answer(sock).status for sock in slow[:10]] == [200] * 10
    for sock in idle + slow:
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
