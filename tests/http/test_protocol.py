"""HTTP itself: wrong, cut, endless and impatient requests."""
import http.client
import socket

import pytest

from support import Answer, head, noise, picture, read_answer, wait_until


def raw(daemon, data):
    """The answer to bytes; None when there is none within a second: what is incomplete may be completed later."""
    with daemon.socket() as sock:
        try:
            sock.sendall(data)
            sock.settimeout(1)
            return read_answer(sock)
        except OSError:
            return None


@pytest.mark.parametrize("request_head", [
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(100000)) + b"\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 5000000 + b"\r\n\r\n",
    b"GET /" + b"a" * 1000000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"G" * 1000000 + b" / HTTP/1.1\r\nHost: x\r\n\r\n",
], ids=["many", "long", "path", "method"])
def test_a_flood_of_headers(demo_daemon, request_head):
    answer = raw(demo_daemon, request_head)
    assert answer is None or 400 <= answer.status < 500
    assert demo_daemon.get("/healthz")


WRONG = {
    "negative": b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nhello",
    "no number": b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5x\r\n\r\nhello",
    "huge": b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999999\r\n\r\nhello",
    "chunk": b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    "huge chunk": b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\nhello",
    "both lengths": b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 9\r\n\r\nhelloworld",
    "no host": b"POST /predict HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
    "no version": b"POST /predict\r\n\r\n",
    "empty": b"\r\n\r\n\r\n",
    "zeros": b"\0" * 1000,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/9.9": b"GET / HTTP/9.9\r\n\r\n",
    "proxy": b"GET http://x/healthz HTTP/1.1\r\n\r\n",
    "no body": b"POST /predict HTTP/1.1\r\nHost: x\r\n\r\n",
    "body of a GET": b"GET /attention?roi=V1v HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_wrong_requests(demo_daemon, data):
    demo_daemon.post("/predict?output=rois", noise(1))
    answer = raw(demo_daemon, data)
    assert answer is None or isinstance(answer, Answer)
    assert answer is None or answer.status == 200 or 400 <= answer.status < 600 and answer.status != 500
    assert demo_daemon.get("/healthz")


def test_a_body_shorter_than_promised_is_not_computed(demo_daemon):
    before = demo_daemon.count("images_total")
    with demo_daemon.socket(head(len(noise(1)) + 10) + noise(1)) as sock:
        wait_until(lambda: demo_daemon.count("in_flight_bytes") > 0, "it is taken")
        sock.shutdown(socket.SHUT_WR)
        assert read_answer(sock) is None
    assert demo_daemon.count("images_total") == before


def test_bytes_behind_the_body_are_another_request(demo_daemon):
    with demo_daemon.socket(head(len(noise(1)),
                                 "/predict?output=rois") + noise(1) + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") as sock:
        file = sock.makefile("rb")
        first = http.client.HTTPResponse(FileSocket(file))
        first.begin()
        assert first.status == 200 and first.read()
        second = http.client.HTTPResponse(FileSocket(file))
        second.begin()
        assert second.status == 200 and second.read() == b"alive\n"


class FileSocket:
    """One buffered file for several answers."""

    def __init__(self, file):
        self.file = file

    def makefile(self, _):
        return NoClose(self.file)


class NoClose:
    def __init__(self, file):
        self.file = file

    def __getattr__(self, name):
        return getattr(self.file, name)

    def close(self):
        pass


def test_a_client_that_asks_first_is_answered_first(start):
    daemon = start(limits={"body": "1MiB"})
    with daemon.socket(head(2 << 20, more="Expect: 100-continue\r\n")) as sock:
        assert read_answer(sock).status == 413
    with daemon.socket(head(len(picture()), "/predict?rois=nope", "Expect: 100-continue\r\n")) as sock:
        assert read_answer(sock).status == 404
    with daemon.socket(head(len(noise(1)), "/predict?output=rois", "Expect: 100-continue\r\n")) as sock:
        assert sock.recv(100).startswith(b"HTTP/1.1 100")
        sock.sendall(noise(1))
        assert read_answer(sock).status == 200
