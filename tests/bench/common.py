"""What the benchmarks share: where things are, running the tool, and its models."""
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/http"))
os.environ.setdefault("BRAINENC", str(ROOT / "build/plain/brainenc"))
os.environ.setdefault("BRAINENCD", str(ROOT / "build/plain/brainencd"))
TOOL = os.environ["BRAINENC"]
PRECISIONS = ("f32", "bf16", "bf16x3")


class Skip(Exception):
    """What is not installed or not there: one sentence."""


class Failure(Exception):
    """What ends a benchmark: one sentence."""


def program(main):
    """Runs it; a failure is one sentence and exit code 1."""
    try:
        main()
    except Failure as reason:
        sys.exit(f"{Path(sys.argv[0]).name}: {reason}.")


def run(*arguments, **environment):
    """What a program of ours writes to standard output; what it says about an error goes to standard error."""
    name = Path(arguments[0]).name
    try:
        process = subprocess.run([*map(str, arguments)], stdout=subprocess.PIPE, env=os.environ | environment, text=True)
    except OSError as error:
        raise Failure(f"{arguments[0]} cannot be run ({error.strerror}): `make bench-programs` builds it") from None
    if process.returncode != 0:
        raise Failure(f"{name} {arguments[1] if len(arguments) > 1 else ''} ended with code {process.returncode}")
    return process.stdout


def run_json(*arguments, **environment):
    return json.loads(run(*arguments, **environment))


def threads():
    return len(os.sched_getaffinity(0))


def backbone(folder):
    found = sorted(folder.glob("dinov2_*_pretrain.pth"))
    if len(found) != 1 or not (folder / "subj01.safetensors").exists():
        raise Failure(f"{folder} holds no model to measure: `brainenc demo --full -o {folder}` writes one of full size")
    return found[0]


def measured():
    """What the numbers of a run are of: the day, and the version of the sources ("dirty": they were changed since)."""
    found = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=ROOT, capture_output=True, text=True)
    return {"date": time.strftime("%Y-%m-%d"), "commit": found.stdout.strip() or "unknown"}


def describe_model(folder):
    """Which of the models that `brainenc demo` writes, and the picture that every benchmark but the accuracy's and cost's asks."""
    name = backbone(folder).name
    picture = hashlib.sha256((folder / "picture.png").read_bytes()).hexdigest()
    return {"backbone": name, "picture": "picture.png of the demo", "picture_sha256": picture}


def tool_bench(folder, *options, **environment):
    """The JSON of `brainenc bench` on what `brainenc demo` wrote."""
    return run_json(TOOL, "bench", "--demo", folder, "--json", *options, **environment)


def median(values):
    return statistics.median(values)


def log(sentence):
    print(sentence, file=sys.stderr, flush=True)
