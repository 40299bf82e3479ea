"""The daemon under load, for a model that `brainenc demo` wrote: python3 tests/bench/load_test.py FOLDER [--precision NAME]

For 1, 2, 8 and 32 clients that ask without a pause: pictures a second, the seconds a client waits (p50, p99), and meanwhile
those of /healthz, asked fifty times a second; against the library's own stream of the same pictures. Nothing else should run.
"""
import argparse
import http.client
import json
import threading
import time
from pathlib import Path

import common
from daemon import Bench

from load import clients, library_rate, overheads, percentile

CLIENTS = (1, 2, 8, 32)
SECONDS = 15  # of each number of clients, about, unless told
HEALTHZ_PAUSE = 0.02


class Health:
    """Asks /healthz now and then while a block runs; `seconds` of each answer, at least one. One that is not 200 is a failure."""

    def __init__(self, daemon):
        self.daemon, self.seconds, self.wrong, self.end = daemon, [], None, threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def watch(self):
        try:
            connection = self.daemon.connect()
            while not self.seconds or not self.end.wait(HEALTHZ_PAUSE):
                start = time.monotonic()
                connection.request("GET", "/healthz")
                answer = connection.getresponse()
                answer.read()
                self.seconds.append(time.monotonic() - start)
                if answer.status != 200:
                    self.wrong = f"answers {answer.status}"
            connection.close()
        except (OSError, http.client.HTTPException) as error:
            self.wrong = f"{type(error).__name__}: {error}"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        self.thread.join()
        if self.wrong is not None:
            raise common.Failure(f"/healthz under load {self.wrong}")


def measure_clients(daemon, number, body, one_seconds, seconds_each):
    """One line of the table; `one_seconds` is what a picture takes alone."""
    each = max(3, round(seconds_each / one_seconds / number))
    with Health(daemon) as health:
        rate, seconds = clients(daemon, number, each, body)
    return {"clients": number, "requests": number * each, "images_s": rate, "p50_ms": 1e3 * percentile(seconds, .5),
            "p99_ms": 1e3 * percentile(seconds, .99), "healthz_p99_ms": 1e3 * percentile(health.seconds, .99),
            "healthz_asked": len(health.seconds)}


def measure(folder, precision, numbers=CLIENTS, seconds=SECONDS):
    bench = Bench(folder, 1)
    options = ["--backbone", bench.backbone, "--subject", bench.subject, "--precision", precision]

    def library():
        return library_rate(options, bench.picture, 4, 4 + max(8, round(seconds / one)))
    with bench.daemon(compute={"precision": precision}, limits={"deadline_ms": 600000}) as daemon:
        clients(daemon, 2, 2, bench.body)
        start = time.monotonic()
        beyond = overheads(daemon, 8, bench.body)
        one = (time.monotonic() - start) / 8
        before = library()
        lines = [measure_clients(daemon, number, bench.body, one, seconds) for number in numbers]
        after = library()
    return {"precision": precision,
            "beyond_model_ms": {"median": common.median(beyond), "worst": max(beyond), "requests": len(beyond)},
            "library_images_s": (before + after) / 2, "library_images_s_before_and_after": [before, after], "clients": lines}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--precision", choices=common.PRECISIONS, default="f32")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each number of clients, about")
    asked = parser.parse_args()
    print(json.dumps(measure(asked.folder.resolve(), asked.precision, seconds=asked.seconds), indent=1))


if __name__ == "__main__":
    common.program(main)
