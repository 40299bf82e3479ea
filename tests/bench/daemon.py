"""Measures the daemon on a model that `brainenc demo` wrote: python3 tests/bench/daemon.py FOLDER [--requests N] [--only NAME]...

Every time is set against another of the same run: the backbone's and encoder's own, the library's stream, the daemon without
the load. Nothing else should run on the machine meanwhile.
"""
import argparse
import json
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import common

from load import (ask_again_and_again, at_rest, clients, ever_new, idle_and_slow, library_rate, overheads, percentile,  # noqa: E402
                  saturated)
from support import Daemon  # noqa: E402


class Bench:
    def __init__(self, model, requests):
        self.backbone = common.backbone(model)
        self.subject, self.picture = model / "subj01.safetensors", model / "picture.png"
        self.body, self.requests = self.picture.read_bytes(), requests
        self.work = tempfile.TemporaryDirectory(prefix="brainencd-bench-")  # which goes with it

    def daemon(self, **settings):
        folder = Path(tempfile.mkdtemp(dir=self.work.name))
        return Daemon(folder, {"backbones": {"bench": {"weights": str(self.backbone)}},
                               "subjects": [{"name": "subj01", "weights": str(self.subject), "backbone": "bench"}],
                               "log": {"access": False}} | settings)

    def latency(self):
        with self.daemon() as daemon:
            overheads(daemon, 3, self.body)
            found = overheads(daemon, self.requests, self.body)
            answer = [json.loads(daemon.post("/predict", self.body).body)["timing_ms"] for _ in range(5)]
        row("one client, beyond backbone + encoder, ms: median, worst", "<= 25",
            f"{statistics.median(found):.1f}, {max(found):.1f}")
        row("  of which decoding, writing the answer", "", ", ".join(
            f"{statistics.median(one[key] for one in answer):.1f}" for key in ("decode", "encode_answer") if key in answer[0]))

    def throughput(self):
        ratios = []
        with self.daemon() as daemon:
            clients(daemon, 8, 1, self.body)
            for _ in range(3):
                library = library_rate(["--backbone", self.backbone, "--subject", self.subject], self.picture, 4, 4 + self.requests)
                served, seconds = clients(daemon, 8, max(2, self.requests // 8), self.body)
                ratios.append(served / library)
                row("8 clients, images a second: daemon, library, p50 s, p99 s", "",
                    f"{served:.2f}, {library:.2f}, {percentile(seconds, .5):.3f}, {percentile(seconds, .99):.3f}")
        row("8 clients / the library's stream, median of 3", ">= 0.9", f"{statistics.median(ratios):.3f}")

    def healthz(self):
        with self.daemon(limits={"deadline_ms": 600000}) as daemon, saturated(daemon, 32, self.body):
            time.sleep(1)
            seconds = ask_again_and_again(daemon, "/healthz", None, 100000, time.monotonic() + 10)
        row(f"/healthz with 32 clients, ms: p50, p99, worst of {len(seconds)}", "p99 < 20",
            ", ".join(f"{1e3 * percentile(seconds, share):.2f}" for share in (.5, .99, 1)))

    def idle(self):
        with self.daemon() as daemon:
            clients(daemon, 8, 1, self.body)
            each = max(2, self.requests // 8)
            alone, _ = clients(daemon, 8, each, self.body)
            with idle_and_slow(daemon, 512, 50):
                crowded, _ = clients(daemon, 8, each, self.body)
                extra = statistics.median(overheads(daemon, 5, self.body))
            again, _ = clients(daemon, 8, each, self.body)
        row("8 clients with 512 idle and 50 slow connections / without", "1", f"{2 * crowded / (alone + again):.3f}")
        row("  one client then, beyond backbone + encoder, ms", "<= 25", f"{extra:.1f}")

    def memory(self, count):
        body, each = ever_new(self.body), -(-count // 80)
        with self.daemon(results={"held": "8MiB"}) as daemon:  # which is full after a few pictures
            clients(daemon, 8, max(4, each), body)
            samples = [at_rest(daemon)]
            for _ in range(10):
                clients(daemon, 8, each, body)
                samples.append(at_rest(daemon))
        row(f"resident over {80 * each} requests: first, last, spread of ten samples", "<= 2 %",
            f"{samples[0] >> 20} MiB, {samples[-1] >> 20} MiB, {100 * (max(samples) / min(samples) - 1):.2f} %")

    def uploads(self):
        body = self.body + bytes((20 << 20) - len(self.body))
        weights = self.backbone.stat().st_size + self.subject.stat().st_size
        bounds = (256 << 20) + (64 << 20)
        with self.daemon(limits={"deadline_ms": 600000}) as daemon:
            idle = daemon.resident()

            def upload(_):
                try:
                    return daemon.post("/predict?output=rois", body, status=None).status
                except OSError:  # closed while it was sending: 503 came before the end of the body
                    return "closed"
            with ThreadPoolExecutor(200) as pool:
                statuses = list(pool.map(upload, range(200)))
            peak = daemon.resident("VmHWM")
            assert daemon.post("/predict?output=rois", self.body).status == 200
        counts = {status: statuses.count(status) for status in sorted(set(statuses), key=str)}
        row(f"200 clients with 20 MiB each: answers {counts}; resident before, at most",
            f"<= {(weights + (400 << 20) + bounds) >> 20} MiB", f"{idle >> 20} MiB, {peak >> 20} MiB")


def row(what, bound, found):
    print(f"{what:<100} {bound:<14} {found}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--requests", type=int, default=24)
    parser.add_argument("--memory-requests", type=int, default=300)
    parser.add_argument("--only", action="append", choices=["latency", "throughput", "healthz", "idle", "memory", "uploads"])
    asked = parser.parse_args()
    bench = Bench(asked.model.resolve(), asked.requests)
    row("what", "asked", "measured")
    for name in asked.only or ["latency", "throughput", "healthz", "idle", "memory", "uploads"]:
        if name == "memory":
            bench.memory(asked.memory_requests)
        else:
            getattr(bench, name)()


if __name__ == "__main__":
    common.program(main)
