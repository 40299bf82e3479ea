"""What the tests of the daemon share: running it, asking it, and what it serves."""
import base64
import functools
import http.client
import importlib.util
import io
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
CASE = GOLDEN / "dinov2_q_rois"
PICTURES = CASE / "images"
CORRUPT = GOLDEN / "corrupt"
SANITIZER = os.environ.get("BRAINENC_SANITIZER", "")
PATIENCE = 240 if SANITIZER else 60  # seconds until a test gives up waiting
RUNNER = shlex.split(os.environ.get("BRAINENC_RUNNER", ""))
DAEMON = os.environ.get("BRAINENCD", "build/plain/brainencd")
TOOL = os.environ.get("BRAINENC", "build/plain/brainenc")

# tests/golden/README.md
PREDICTION_TOLERANCE = 2e-5
ATTENTION_TOLERANCE = 2e-6


def _tool_support():
    """What the tests of the tool know of pictures and ROI folders."""
    path = Path(__file__).resolve().parent.parent / "tool/support.py"
    spec = importlib.util.spec_from_file_location("tool_support", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tool_support = _tool_support()
encode_png, decode_png, expected = tool_support.encode_png, tool_support.decode_png, tool_support.expected


def scaled(count):
    """Repetitions: fewer where each takes longer."""
    return max(1, count // 6) if SANITIZER else count


def picture(name="a_425"):
    return (PICTURES / f"{name}.png").read_bytes()


def noise(seed, width=32, height=32):
    """A small PNG that no other seed gives."""
    return encode_png(np.random.default_rng(seed).integers(0, 256, (height, width, 3)))


# A picture whose computation takes about a second, of few bytes: 80 x 80 tokens. The daemon is to be started with SLOW_LIMITS.
SLOW_PATH = "/predict?fit=native&output=rois"
SLOW_LIMITS = {"tokens": 6400, "deadline_ms": 1000 * PATIENCE, "drain_ms": 1000 * PATIENCE}


@functools.cache
def slow_picture(number=0):
    return encode_png(np.full((1120, 1120, 3), number))


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def text64(data):
    return base64.b64encode(data).decode()


def form(*parts, boundary="----boundary"):
    """(headers, body) of a multipart form; a part is bytes (named image) or (name, bytes)."""
    pieces = []
    for part in parts:
        name, data = part if isinstance(part, tuple) else ("image", part)
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="f.png"\r\n' \
               "Content-Type: application/octet-stream\r\n\r\n"
        pieces.append(head.encode() + data + b"\r\n")
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}, b"".join(pieces) + f"--{boundary}--\r\n".encode()


def in_parallel(jobs, threads):
    """The results of functions without arguments."""
    with ThreadPoolExecutor(threads) as pool:
        return [future.result() for future in [pool.submit(job) for job in jobs]]


def wait_until(condition, what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


# --- asking -------------------------------------------------------------------------------------


class Answer(SimpleNamespace):
    """status, headers and body; whatever it is, it is well formed."""

    def json(self):
        assert self.headers["Content-Type"] == "application/json"
        return json.loads(self.body.decode("utf-8"))

    def array(self):
        assert self.headers["Content-Type"] == "application/x-npy"
        return np.load(io.BytesIO(self.body), allow_pickle=False)

    def error(self):
        """The sentence of {"error": {"code", "message"}}."""
        error = self.json()
        assert set(error) == {"error"} and set(error["error"]) == {"code", "message"}, error
        assert re.fullmatch("[a-z_]+", error["error"]["code"]) and error["error"]["message"]
        return error["error"]["message"]


class _UnixConnection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.host)


def ask(connection, method, path, body=None, headers=None, **options):
    """One exchange on an open connection."""
    try:
        connection.request(method, path, body, headers or {}, **options)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the answer may be there although the daemon did not want the whole body
    response = connection.getresponse()
    return Answer(status=response.status, headers=response.headers, body=response.read())


def head(length, path="/predict", more=""):
    """The head of a POST, as bytes."""
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{more}\r\n".encode()


def read_answer(sock):
    """One answer on a raw socket, None when the connection ends without one."""
    response = http.client.HTTPResponse(sock)
    try:
        response.begin()
        return Answer(status=response.status, headers=response.headers, body=response.read())
    except (http.client.HTTPException, ConnectionError):
        return None
    finally:
        response.close()


# --- the daemon ---------------------------------------------------------------------------------


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Daemon:
    """A running daemon with its own folder. `settings` are the configuration's keys (JSON is YAML); JSON text may be given too."""

    def __init__(self, folder, settings, wait=True):
        self.folder, self.lines, self.settings = folder, [], settings
        self.file = folder / "brainencd.yaml"
        self.configure(settings)
        self.process = subprocess.Popen([*RUNNER, DAEMON, "--config", self.file], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        listen = settings.get("listen", "127.0.0.1:0")
        self.host, self.port = "127.0.0.1", int(listen.rsplit(":", 1)[1]) if listen[:5] != "unix:" else 0
        self.ended = False
        if wait:
            self.wait_ready()

    def configure(self, settings):
        self.file.write_text(json.dumps({"listen": "127.0.0.1:0"} | settings))

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line.decode("utf-8", "backslashreplace").rstrip("\n"))

    @property
    def log(self):
        return "\n".join(self.lines)

    def wait_line(self, pattern, count=1):
        """Waits until `count` lines match; the last match."""
        def matches():
            return [m for m in map(re.compile(pattern).search, list(self.lines)) if m]
        wait_until(lambda: len(matches()) >= count or self.process.poll() is not None, f"{pattern}: {self.log}")
        self.reader.join(5 if self.process.poll() is not None else 0)
        assert len(matches()) >= count, self.log
        return matches()[-1]

    def wait_ready(self):
        address = self.wait_line(r"ready on (?:http://(?P<host>[^ ]*):(?P<port>\d+)|unix:(?P<path>.*))$")
        if address["path"]:
            self.host, self.port = address["path"], None
        else:
            self.host, self.port = address["host"], int(address["port"])

    # Asking

    def connect(self):
        """A connection of http.client's; opened by its first request."""
        if self.port is None:
            return _UnixConnection(self.host, timeout=PATIENCE)
        return http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)

    def socket(self, data=b""):
        sock = socket.create_connection((self.host, self.port), timeout=PATIENCE)
        if data:
            sock.sendall(data)
        return sock

    def ask(self, method, path, body=None, headers=None, status=200, **options):
        """One exchange; fails the test when the status is another. `status` None: any."""
        connection = self.connect()
        try:
            answer = ask(connection, method, path, body, headers, **options)
        finally:
            connection.close()
        assert status in (None, answer.status), (method, path, answer.status, answer.body[:500])
        return answer

    def get(self, path, **options):
        return self.ask("GET", path, **options)

    def post(self, path, body, headers=None, **options):
        return self.ask("POST", path, body, headers, **options)

    def refuses(self, status, *arguments, **options):
        """The sentence of an answer that is an error."""
        return self.ask(*arguments, status=status, **options).error()

    def metrics(self):
        return parse_metrics(self.get("/metrics").body.decode())

    def count(self, name, **labels):
        return self.metrics().get((f"brainenc_{name}", frozenset(labels.items())), 0)

    def resident(self, field="VmRSS"):
        """Bytes of memory it has; with VmHWM the most it ever had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(field + r":\s+(\d+) kB", status)[1]) * 1024

    # Ending

    def signal(self, number):
        self.process.send_signal(number)

    def wait_end(self, code=0):
        """Waits for its end; whatever a test is about, no sanitizer may have anything to say."""
        self.ended = True
        try:
            found = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        self.reader.join(PATIENCE)
        assert "Sanitizer" not in self.log and "runtime error" not in self.log, self.log
        assert found == code, (found, self.log)

    def stop(self):
        if not self.ended:
            self.signal(signal.SIGTERM)
            self.wait_end()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind and self.process.poll() is None and not self.ended:
            self.process.kill()  # the test failed already
            self.process.wait()
        else:
            self.stop()


_SAMPLE = re.compile(r'(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>[^{}]*)\})? (?P<value>\S+)')
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')


def parse_metrics(text):
    """{(name, labels): value} of Prometheus' text format, strictly."""
    samples, types = {}, {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            assert name not in types and kind in ("counter", "gauge", "histogram")
            types[name] = kind
            continue
        if line.startswith("# HELP "):
            continue
        match = _SAMPLE.fullmatch(line)
        assert match, line
        labels = match["labels"] or ""
        assert ",".join(f'{key}="{value}"' for key, value in _LABEL.findall(labels)) == labels, line
        base = re.sub("_(bucket|sum|count)$", "", match["name"])
        assert match["name"] in types or types.get(base) == "histogram", line
        place = (match["name"], frozenset(_LABEL.findall(labels)))
        assert place not in samples, line
        samples[place] = float(match["value"])
    return samples


def run_daemon(*arguments):
    """(code, stdout, stderr) of a run that ends by itself."""
    result = subprocess.run([*RUNNER, DAEMON, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True,
                            text=True, errors="replace", timeout=PATIENCE)
    assert "Sanitizer" not in result.stderr and "runtime error" not in result.stderr, result.stderr
    return result.returncode, result.stdout, result.stderr
