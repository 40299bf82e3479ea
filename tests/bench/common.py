"""What the benchmarks share: where things are, running the tool, and its models."""
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/http"))
os.environ.setdefault("BRAINENC", str(ROOT / "build/plain/brainenc"))
os.environ.setdefault("BRAINENCD", str(ROOT / "build/plain/brainencd"))
TOOL = os.environ["BRAINENC"]
PRECISIONS = ("f32", "bf16", "bf16x3")


class Skip(Exception):
    """What is not installed or not there: one sentence."""


def run(*arguments, **environment):
    """What a program of ours writes to standard output."""
    process = subprocess.run([*map(str, arguments)], check=True, stdout=subprocess.PIPE, env=os.environ | environment, text=True)
    return process.stdout


def run_json(*arguments, **environment):
    return json.loads(run(*arguments, **environment))


def threads():
    return len(os.sched_getaffinity(0))


def backbone(folder):
    return next(folder.glob("dinov2_*_pretrain.pth"))


def tool_bench(folder, *options):
    """The JSON of `brainenc bench` on what `brainenc demo` wrote."""
    return run_json(TOOL, "bench", "--demo", folder, "--json", *options)


def median(values):
    return statistics.median(values)


def log(sentence):
    print(sentence, file=sys.stderr, flush=True)
