"""What the tests of `brainenc predict --server` share: runs on both sides, and a server that changes a daemon's answers."""
import json
import re
import socket
import threading

from support import PICTURES, tool_support

DONE, SYSTEM, USAGE, MISSING, DATA, PARTIAL = range(6)
A, B = PICTURES / "a_425.png", PICTURES / "b_425.png"
TOOL = tool_support.Tool()
PAGES = ["/subjects", "/rois", "/predict"]  # in the order they are asked


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
        more = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items()
                       if name.lower() not in ("content-length", "connection"))
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


def set_value(path, value):
    def edit(tree):
        *way, last = path
        for key in way:
            tree = tree[key]
        tree[last] = value
    return edited(edit)


def refuses(picture, daemon, change, code, output="--json"):
    """The one sentence about a server that changes its answers."""
    with Fake(daemon, change) as fake:
        sentence = TOOL.refuses(code, *picture, "--server", fake.address, "--rois", "FBA,V1v", output)
        assert sentence.startswith(f"brainenc: {fake.address}: "), sentence
        return sentence
