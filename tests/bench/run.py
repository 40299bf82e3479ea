"""Every benchmark, one after the other: python3 tests/bench/run.py FOLDER [--json FILE] [--only NAME]... (`make bench`)

FOLDER is what `brainenc demo --full` wrote; other models lie beside it where `make bench-models` has made them. Tables go to
standard output as they are measured, and all numbers to FILE as JSON, of which results.py makes RESULTS.md. Nothing else should
run.
"""
import argparse
import json
import tempfile
from pathlib import Path

import accuracy
import load_test
import machine
import yardsticks
from common import PRECISIONS, ROOT, TOOL, backbone, describe_model, log, measured, program, run, run_json, tool_bench
from tables import SECTIONS, section

PRODUCTS = ROOT / "build/plain/bench_products"
# What make bench-models makes beside the folder.
MODELS = (("voxels, a query a vertex", "voxels"), ("40 members, 4 layers x 10 runs", "ensemble"),
          ("the same, stored as bf16", "ensemble-bf16"))


def stages(folder, rounds):
    """In each precision; and in f32 as on a machine without AVX-512, where the last run is not that already: cblas_sgemm too."""
    runs = [tool_bench(folder, "--precision", precision, "--rounds", rounds) for precision in PRECISIONS]
    if runs[0]["isa"] not in ("avx2", "generic"):
        runs.append(tool_bench(folder, "--precision", "f32", "--isa", "avx2", "--rounds", rounds, OPENBLAS_CORETYPE="Haswell"))
    return runs


def accuracies(folder, pictures):
    """Of the model, and of the small one that `brainenc demo` writes."""
    found = []
    with tempfile.TemporaryDirectory() as small:
        run(TOOL, "demo", "-o", small)
        for it in (folder, Path(small)):
            for precision, numbers in accuracy.measure(it, pictures, PRECISIONS[1:]).items():
                found.append({"backbone": backbone(it).name, "precision": precision} |
                             {key: float(value) for key, value in numbers.items()})
    return {"pictures": pictures, "map_pictures": min(pictures, accuracy.MAP_PICTURES), "models": found}


def load(folder, seconds):
    return [load_test.measure(folder, precision, seconds=seconds) for precision in ("f32", "bf16")]


def models(folder, rounds):
    found = []
    for title, suffix in MODELS:
        other = folder.parent / f"{folder.name}-{suffix}"
        if not (other / "subj01.safetensors").exists():
            found.append({"skipped": f"there is no {other.name} (`make bench-models` makes it)"})
            log(f"Skipped: {found[-1]['skipped']}.")
            continue
        for precision in ("f32", "bf16"):
            answer = tool_bench(other, "--precision", precision, "--against", folder, "--against-precision", precision,
                                "--rounds", rounds)
            found.append({"model": title} | answer)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--pictures", type=int, default=100, help="for the accuracy; 2 or more")
    parser.add_argument("--seconds", type=float, default=load_test.SECONDS, help="of each number of clients, about")
    parser.add_argument("--only", action="append", choices=list(SECTIONS))
    asked = parser.parse_args()
    folder, rounds = asked.folder.resolve(), asked.rounds
    measures = {"machine": machine.describe, "stages": lambda: stages(folder, rounds),
                "products": lambda: run_json(PRODUCTS, "--json", "auto", 256, 481),
                "onednn": lambda: yardsticks.or_skipped(yardsticks.onednn),
                "pytorch": lambda: yardsticks.or_skipped(lambda: yardsticks.pytorch(folder, rounds)),
                "accuracy": lambda: accuracies(folder, asked.pictures), "load": lambda: load(folder, asked.seconds),
                "models": lambda: models(folder, rounds)}
    results = measured() | {"model": describe_model(folder)}
    for name in SECTIONS:
        if name not in (asked.only or SECTIONS):
            continue
        results[name] = measures[name]()
        print(section(name, results[name]), flush=True)
        if asked.json:  # after each, so that what comes later may fail
            asked.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    program(main)
