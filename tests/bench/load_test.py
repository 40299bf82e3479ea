"""The daemon under load, for a model that `brainenc demo` wrote: python3 tests/bench/load_test.py FOLDER [--precision NAME]

For 1, 2, 8 and 32 clients that ask without a pause: pictures a second, the seconds a client waits (p50, p99), and meanwhile
those of /healthz, asked fifty times a second; against the library's own stream of the same pictures. Nothing else should run.
"""
import argparse
import json
import threading
import time
from pathlib import Path

import common
from daemon import Bench

from load import clients, library_rate, overheads, percentile

CLIENTS = (1, 2, 8, 32)
SECONDS = 15  # of each number of clients, about
HEALTHZ_PAUSE = 0.02


class Health:
    """Asks /healthz now and then while a block runs; `seconds` of each answer."""

    def __init__(self, daemon):
        self.daemon, self.seconds, self.end = daemon, [], threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def watch(self):
        connection = self.daemon.connect()
        while not self.end.wait(HEALTHZ_PAUSE):
            start = time.monotonic()
            connection.request("GET", "/healthz")
            assert connection.getresponse().read() is not None
            self.seconds.append(time.monotonic() - start)
        connection.close()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        self.thread.join()


def measure_clients(daemon, number, body, one_seconds):
    """One line of the table; `one_seconds` is what a picture takes alone."""
    each = max(3, round(SECONDS / one_seconds / number))
    with Health(daemon) as health:
        rate, seconds = clients(daemon, number, each, body)
    return {"clients": number, "requests": number * each, "images_s": rate, "p50_ms": 1e3 * percentile(seconds, .5),
            "p99_ms": 1e3 * percentile(seconds, .99), "healthz_p99_ms": 1e3 * percentile(health.seconds, .99),
            "healthz_asked": len(health.seconds)}


def measure(folder, precision, numbers=CLIENTS):
    bench = Bench(folder, 1)
    options = ["--backbone", bench.backbone, "--subject", bench.subject, "--precision", precision]

    def library():
        return library_rate(options, bench.picture, 4, 4 + max(8, round(SECONDS / one)))
    with bench.daemon(compute={"precision": precision}, limits={"deadline_ms": 600000}) as daemon:
        clients(daemon, 2, 2, bench.body)
        start = time.monotonic()
        beyond = overheads(daemon, 8, bench.body)
        one = (time.monotonic() - start) / 8
        before = library()
        lines = [measure_clients(daemon, number, bench.body, one) for number in numbers]
        rate = (before + library()) / 2
    return {"precision": precision, "beyond_model_ms": {"median": common.median(beyond), "worst": max(beyond)},
            "library_images_s": rate, "clients": lines}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--precision", choices=common.PRECISIONS, default="f32")
    asked = parser.parse_args()
    print(json.dumps(measure(asked.folder.resolve(), asked.precision), indent=1))


if __name__ == "__main__":
    main()
