"""From start to end: loading, ending under load, clients that leave, where it listens, what it logs."""
import json
import os
import signal
import socket
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support import SLOW_LIMITS, SLOW_PATH, ask, free_port, head, noise, read_answer, slow_picture, wait_until


def feed(path):
    """Gives the reader of a FIFO its keys; returns when it has begun to read."""
    with open(path, "w") as fifo:
        fifo.write("key\n")


def test_not_ready_while_loading(start, tmp_path):
    """The keys are read when the daemon starts and again when it loads: a FIFO holds it there."""
    fifo = tmp_path / "keys"
    os.mkfifo(fifo)
    port = free_port()
    daemon = start(wait=False, listen=f"127.0.0.1:{port}", auth={"keys_file": str(fifo)})
    feed(fifo)

    def listens():
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0
    wait_until(listens, "it listens before it has loaded")
    assert daemon.get("/healthz").body == b"alive\n" and daemon.metrics()
    assert daemon.get("/readyz", status=503).body == b"loading\n"
    for method, path, body in (("POST", "/predict", noise(1)), ("GET", "/subjects", None), ("GET", "/attention?roi=V1v", None)):
        answer = daemon.ask(method, path, body, status=503)
        assert "loading" in answer.error() and int(answer.headers["Retry-After"]) >= 1
    feed(fifo)
    daemon.wait_ready()
    assert daemon.get("/readyz").body == b"ready\n"
    assert daemon.post("/predict?output=rois", noise(1), {"X-API-Key": "key"}).json()


def test_what_was_accepted_is_answered_before_the_end(start):
    daemon = start(limits=SLOW_LIMITS, compute={"batch": {"max": 2}})
    kept = daemon.connect()
    assert ask(kept, "GET", "/readyz").status == 200
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(daemon.post, SLOW_PATH, slow_picture(i % 3), status=None) for i in range(6)]
        wait_until(lambda: daemon.count("in_flight") == 6, "all are accepted")
        upload = daemon.socket(head(len(noise(1)), "/predict?output=rois", "Expect: 100-continue\r\n"))
        assert upload.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"  # it has begun
        upload.sendall(noise(1)[:100])
        daemon.signal(signal.SIGTERM)
        daemon.wait_line("ends: finishes")
        assert ask(kept, "GET", "/readyz").body == b"draining\n"
        kept.close()
        wait_until(lambda: refuses_connections(daemon.port), "it accepts no more")
        upload.sendall(noise(1)[100:])
        assert read_answer(upload).status == 200
        upload.close()
        assert [answer.result().status for answer in answers] == [200] * 6
    daemon.wait_end()


def refuses_connections(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0


def test_new_work_is_refused_while_ending(start):
    daemon = start(limits=SLOW_LIMITS)
    kept = daemon.connect()
    ask(kept, "GET", "/healthz")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(daemon.post, SLOW_PATH, slow_picture())
        wait_until(lambda: daemon.count("in_flight") == 1, "it is accepted")
        daemon.signal(signal.SIGTERM)
        daemon.wait_line("ends: finishes")
        refused = ask(kept, "POST", "/predict", noise(1))
        assert refused.status == 503 and "ending" in refused.error() and refused.headers["Connection"] == "close"
        assert answer.result().status == 200
    daemon.wait_end()


def test_every_accepted_request_is_answered_under_load(start):
    """Clients that ask on and on: each request that was taken gets its 200, whenever the signal comes."""
    daemon = start()
    outcomes, stop = [], threading.Event()

    def client(seed):
        while not stop.is_set():
            try:
                outcomes.append(daemon.post("/predict?output=rois", noise(seed), status=None).status)
            except OSError:  # not accepted any more
                outcomes.append(None)
                return
    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    wait_until(lambda: outcomes.count(200) > 20, "it is busy")
    daemon.signal(signal.SIGTERM)
    daemon.wait_end()
    stop.set()
    for thread in threads:
        thread.join()
    assert set(outcomes) <= {200, 503, None}
    taken = [line for line in daemon.lines if " POST /predict " in line]
    assert sum(" 200 " in line for line in taken) == outcomes.count(200) and not any("(cut)" in line for line in taken)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(start, number):
    daemon = start()
    with daemon.socket(head(1000) + b"x"):  # an upload that never ends
        wait_until(lambda: daemon.count("in_flight_bytes") == 1000, "it has begun")
        daemon.signal(number)
        daemon.wait_line("ends: finishes")
        begun = time.monotonic()
        daemon.signal(signal.SIGTERM)
        daemon.wait_end()
        assert time.monotonic() - begun < 10


def test_the_end_does_not_wait_longer_than_configured(start):
    daemon = start(limits={"drain_ms": 200})
    with daemon.socket(head(1000) + b"x"):
        wait_until(lambda: daemon.count("in_flight_bytes") == 1000, "it has begun")
        daemon.signal(signal.SIGTERM)
        daemon.wait_end()
    assert "gives up 1 request" in daemon.log


def test_idle_connections_do_not_hold_up_the_end(start):
    daemon = start()
    idle = [daemon.socket() for _ in range(20)] + [daemon.socket(b"POST /pre") for _ in range(5)]
    wait_until(lambda: daemon.count("connections") >= 25, "they are open")
    begun = time.monotonic()
    daemon.stop()
    assert time.monotonic() - begun < 15
    for sock in idle:
        sock.close()


def test_who_leaves_is_not_computed(start):
    daemon = start(limits=SLOW_LIMITS, compute={"batch": {"max": 1}})
    before = daemon.count("images_total")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(daemon.post, SLOW_PATH, slow_picture())
        wait_until(lambda: daemon.count("in_flight") == 1, "it is computed")
        leaving = [daemon.socket(head(len(slow_picture()), SLOW_PATH) + slow_picture()) for _ in range(5)]
        wait_until(lambda: daemon.count("queue_depth") == 5, "they wait")
        for sock in leaving:
            sock.close()
        wait_until(lambda: daemon.count("cancelled_total") == 5, "they are noticed")
        assert first.result().status == 200
    wait_until(lambda: daemon.count("in_flight") == 0, "the queue is empty")
    assert daemon.count("images_total") - before == 1
    wait_until(lambda: len([line for line in daemon.lines if line.endswith("(cut)")]) == 5, "the log tells")


def test_who_leaves_during_an_upload_is_forgotten(start):
    daemon = start()
    for _ in range(10):  # the last bytes and the end come together
        with daemon.socket(head(100000) + b"x" * 1000):
            pass
    wait_until(lambda: daemon.count("in_flight_bytes") == 0 and daemon.count("connections") <= 2, "it is noticed", 20)
    begun = time.monotonic()
    daemon.stop()
    assert time.monotonic() - begun < 10


def test_who_stays_is_not_mistaken_for_who_left(start):
    """Many short connections, each closed as soon as it has its answer."""
    daemon = start()
    for seed in range(60):
        assert daemon.post("/predict?output=rois", noise(seed)).status == 200
    assert daemon.count("cancelled_total") == 0


def test_a_unix_socket(start, tmp_path):
    path = tmp_path / "http.sock"
    for _ in range(2):
        daemon = start(listen=f"unix:{path}")
        assert stat.S_ISSOCK(path.stat().st_mode)
        prediction = daemon.post("/predict?output=rois", noise(1)).json()["id"]
        assert daemon.get("/attention?roi=V1v").json()["id"] == prediction
        daemon.wait_line(r"^local POST /predict 200 ")
        daemon.stop()
        assert not path.exists()
    leftover = socket.socket(socket.AF_UNIX)  # of a daemon that was killed
    leftover.bind(str(path))
    leftover.close()
    assert start(listen=f"unix:{path}").get("/readyz").body == b"ready\n"
    other = start(wait=False, listen=f"unix:{path}")
    other.wait_end(1)  # the one that listens keeps its socket
    assert "in use" in other.log


def test_ipv6(start):
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    daemon = start(wait=False, listen="[::1]:0")
    port = int(daemon.wait_line(r"ready on http://\[::1\]:(\d+)$")[1])
    daemon.host, daemon.port = "::1", port
    assert daemon.get("/healthz").body == b"alive\n"


# --- the log ------------------------------------------------------------------------------------


def test_access_log_as_text(start):
    daemon = start()
    prediction = daemon.post("/predict?output=rois", noise(1)).json()["id"]
    daemon.refuses(404, "GET", "/a%0ab%1b%ff")
    daemon.wait_line(rf"^127\.0\.0\.1 POST /predict 200 \d+ bytes \d+\.\d ms {prediction}$")
    daemon.wait_line(r"^127\.0\.0\.1 GET /a\?b\?.* 404 \d+ bytes \d+\.\d ms$")


def test_access_log_as_json(start):
    daemon = start(log={"format": "json"})
    answer = daemon.post("/predict?output=rois", noise(1))
    daemon.refuses(404, "GET", "/a%0ab%22%ff")
    daemon.wait_line('"GET"')
    daemon.wait_line('"POST"')
    lines = [json.loads(line) for line in daemon.lines if line.startswith("{")]
    first, second = sorted(lines, key=lambda line: line["method"], reverse=True)  # either may be logged first
    assert set(first) == {"client", "method", "path", "status", "bytes", "ms", "id", "cut"}
    assert first["client"] == "127.0.0.1" and (first["method"], first["path"], first["status"]) == ("POST", "/predict", 200)
    assert first["bytes"] == len(answer.body) and first["id"] == answer.json()["id"] and first["ms"] > 0 and first["cut"] is False
    assert second["path"].startswith('/a\nb"') and second["status"] == 404 and second["id"] == ""


def test_no_access_log(start):
    daemon = start(log={"access": False})
    daemon.post("/predict?output=rois", noise(1))
    daemon.stop()
    assert not any("/predict" in line for line in daemon.lines)
