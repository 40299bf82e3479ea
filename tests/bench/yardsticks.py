"""brainenc beside PyTorch and oneDNN, in turn in one run, where they are installed: python3 tests/bench/yardsticks.py FOLDER

FOLDER is what `brainenc demo --full` wrote. PyTorch computes the same picture with the same weights (pytorch_model.py) at its best
setting, and its answer is compared with brainenc's first. oneDNN multiplies at the shapes of the model's products (onednn.c).
"""
import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import PRECISIONS, ROOT, TOOL, Failure, Skip, backbone, log, median, program, run, run_json, threads
from daemon import Bench

import numpy as np

HERE = Path(__file__).resolve().parent
ONEDNN = ROOT / "build/plain/bench_onednn"
AGREEMENT = 2e-5  # of the responses' standard deviation, in f32


class Torch:
    """PyTorch in a process of its own, resident as the daemon is."""

    def __init__(self, folder, precision):
        self.process = subprocess.Popen([sys.executable, "-B", HERE / "pytorch_worker.py", folder, precision, str(threads())],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=os.environ | {"OMP_WAIT_POLICY": "passive"})
        self.version = self.read().removeprefix("ready ")

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failure(f"the PyTorch process ended with code {self.process.wait()}")
        return line.strip()

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.read()

    def seconds(self):
        return float(self.ask("run"))

    def answer(self, path):
        self.ask("run")
        self.ask(f"save {path}")
        return np.load(path).astype(float)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def predict(folder, precision, path):
    run(TOOL, "predict", folder / "picture.png", "--backbone", backbone(folder), "--subject", folder / "subj01.safetensors",
        "--precision", precision, "-o", path)
    return np.load(path).astype(float).ravel()


def compare_answers(rivals, folder):
    """{precision: the largest difference from brainenc's f32 in standard deviations}; fails when they are not the same model."""
    with tempfile.TemporaryDirectory() as scratch:
        want = predict(folder, "f32", Path(scratch) / "ours.npy")
        found = {name: float(np.abs(rival.answer(Path(scratch) / "theirs.npy") - want).max() / want.std())
                 for name, rival in rivals.items()}
    if not found["f32"] < AGREEMENT:
        raise Failure(f"PyTorch's answer in f32 is another, by {found['f32']:.2g} standard deviations: it is not the same model")
    return found


def ask_daemon(connection, body):
    """Seconds from the request to the whole answer, and of them those of backbone and encoder."""
    start = time.monotonic()
    connection.request("POST", "/predict", body)
    answer = connection.getresponse()
    data = answer.read()
    if answer.status != 200:
        raise Failure(f"the daemon answers {answer.status}: {data[:300].decode(errors='replace')}")
    seconds, timing = time.monotonic() - start, json.loads(data)["timing_ms"]
    return seconds, 1e-3 * (timing["backbone"] + timing["encoder"])


def in_turn(rivals, daemons, body, rounds):
    """{name: [seconds]}: PyTorch's prediction from pixels to responses, the daemons' answers end to end, and their models alone."""
    found = {}
    connections = {name: daemon.connect() for name, daemon in daemons.items()}
    for number in range(rounds + 1):
        turn = {f"torch_{name}": rival.seconds() for name, rival in rivals.items()}
        for name, connection in connections.items():
            turn[f"brainenc_{name}"], turn[f"model_{name}"] = ask_daemon(connection, body)
        for name, seconds in turn.items() if number else ():  # the first warms up
            found.setdefault(name, []).append(seconds)
    for connection in connections.values():
        connection.close()
    return found


def spread(values):
    return {"median": median(values), "least": min(values), "most": max(values)}


def pytorch(folder, rounds=5):
    """Of each: median, least and most over the rounds, in ms; and brainenc's speed end to end as a multiple of PyTorch's in the
    same round."""
    if importlib.util.find_spec("torch") is None:
        raise Skip("PyTorch is not installed (python3-torch), so there is nothing to compare with it")
    bench, opened = Bench(folder, rounds), []
    try:
        rivals, daemons = {}, {}
        for name in ("f32", "bf16"):
            rivals[name] = Torch(folder, name)
            opened.append(rivals[name].close)
        differences = compare_answers(rivals, folder)
        for name in PRECISIONS:
            daemons[name] = bench.daemon(compute={"precision": name})
            opened.append(daemons[name].stop)
        seconds = in_turn(rivals, daemons, bench.body, rounds)
    finally:
        for close in opened:
            close()
    ratios = {f"{name}_over_torch_{other}": spread([theirs / ours for theirs, ours in
                                                    zip(seconds[f"torch_{other}"], seconds[f"brainenc_{name}"])])
              for name in PRECISIONS for other in rivals}
    return {"version": rivals["f32"].version, "rounds": rounds, "threads": threads(), "difference_sd": differences,
            "ms": {name: spread([1e3 * value for value in values]) for name, values in seconds.items()}, "times_faster": ratios}


def onednn(isa="auto"):
    """GFLOP/s of ours and oneDNN's at each shape of a ViT-B/14's products, one thread."""
    if not ONEDNN.exists():
        raise Skip("there is no build/plain/bench_onednn (`make bench-onednn` builds it where oneDNN is installed: libdnnl-dev)")
    return run_json(ONEDNN, isa)


def or_skipped(ask):
    """What `ask` measures, or why it cannot."""
    try:
        return ask()
    except Skip as reason:
        log(f"Skipped: {reason}.")
        return {"skipped": str(reason)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    found = {"pytorch": or_skipped(lambda: pytorch(asked.folder.resolve(), asked.rounds)), "onednn": or_skipped(onednn)}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    program(main)
