"""Load on a daemon: many clients, idle and slow ones, and what is measured meanwhile."""
import itertools
import json
import os
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from support import RUNNER, TOOL


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


def ask_again_and_again(daemon, path, body, count, until=None):
    """One client on one connection: the seconds of each of `count` exchanges, or of as many as there are before `until`.
    `body` may be a function that makes one."""
    connection, seconds = daemon.connect(), []
    try:
        while len(seconds) < count and (until is None or time.monotonic() < until):
            data = body() if callable(body) else body
            start = time.monotonic()
            connection.request("POST" if data else "GET", path, data)
            answer = connection.getresponse()
            data = answer.read()
            seconds.append(time.monotonic() - start)
            assert answer.status == 200, (answer.status, data[:300])
    finally:
        connection.close()
    return seconds


def clients(daemon, number, each, body, path="/predict"):
    """`number` clients at once, `each` with so many requests: the requests a second, and the seconds of each request."""
    start = time.monotonic()
    with ThreadPoolExecutor(number) as pool:
        rounds = list(pool.map(lambda _: ask_again_and_again(daemon, path, body, each), range(number)))
    return number * each / (time.monotonic() - start), [second for one in rounds for second in one]


@contextmanager
def saturated(daemon, number, body, path="/predict"):
    """`number` clients ask without a pause until the block ends."""
    stop = threading.Event()

    def client():
        while not stop.is_set():
            ask_again_and_again(daemon, path, body, 1)

    threads = [threading.Thread(target=client) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextmanager
def idle_and_slow(daemon, idle, slow):
    """Connections that say nothing, and some that send a byte of a request now and then."""
    stop = threading.Event()
    sockets = [daemon.socket() for _ in range(idle)]
    talkers = [daemon.socket(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n") for _ in range(slow)]

    def drip():
        while not stop.wait(0.2):
            for talker in talkers:
                try:
                    talker.sendall(b"x")
                except OSError:  # its time is over
                    pass

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        for one in sockets + talkers:
            one.close()


def overheads(daemon, count, body, path="/predict"):
    """What one client waits beyond backbone and encoder, in milliseconds, for each of `count` requests."""
    found, connection = [], daemon.connect()
    for _ in range(count):
        start = time.monotonic()
        connection.request("POST", path, body)
        data = connection.getresponse().read()
        waited = 1e3 * (time.monotonic() - start)
        timing = json.loads(data)["timing_ms"]
        found.append(waited - timing["backbone"] - timing["encoder"])
    connection.close()
    return found


def library_rate(model_options, picture, few, many):
    """Images a second of `brainenc predict` on a stream, its start and end left out: the difference of two runs."""
    def run(count):
        with tempfile.TemporaryDirectory() as folder:
            paths = os.path.join(folder, "list")
            with open(paths, "w") as file:
                file.write("".join(f"{picture}\n" for _ in range(count)))
            start = time.monotonic()
            subprocess.run([*RUNNER, TOOL, "predict", *model_options, "--list", paths, "-o", os.path.join(folder, "out.npy")],
                           check=True, stderr=subprocess.DEVNULL)
            return time.monotonic() - start
    return (many - few) / (run(many) - run(few))


def ever_new(picture):
    """A function that makes another file of the same picture each time: bytes behind its end."""
    numbers = itertools.count()
    return lambda: picture + next(numbers).to_bytes(8, "little")


def at_rest(daemon):
    """Bytes of its memory when the last request is done and cleared away."""
    time.sleep(0.5)
    return daemon.resident()
