"""What a prediction costs by tokens, vertices, members, subjects and clients: python3 tests/bench/cost.py FOLDER [--json FILE]

FOLDER is what `brainenc demo --full` wrote; models of other sizes are made beside it and removed. Printed for each: the times,
medians of the rounds, and the exponent, which is the slope of log time over log size. The plots go to tests/bench/cost.png.
"""
import argparse
import json
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import load_test
import numpy as np
from common import PRECISIONS, TOOL, backbone, describe_model, log, measured, program, run, run_json
from support import encode_png

PLOT = Path(__file__).resolve().parent / "cost.png"
SIDES = (140, 224, 308, 434, 518, 700)  # pixels; tokens are their square / 14^2
VERTICES = (2500, 5000, 10000, 20000, 40000)  # of a hemisphere
MEMBERS = (1, 2, 4, 8)
SUBJECTS = (1, 2, 4, 8)
CLIENTS = (1, 2, 4, 8, 16, 32)


class Cost:
    def __init__(self, folder, asked, scratch):
        self.folder, self.precision, self.scratch = folder, asked.precision, scratch
        self.rounds, self.seconds = asked.rounds, asked.seconds
        self.spread = 0  # the largest between the rounds of a prediction, per cent of its median
        self.size = ["--full"] if "vitb14" in backbone(folder).name else []

    def bench(self, picture, subjects, *options):
        """{row: ms} of `brainenc bench`."""
        arguments = [option for subject in subjects for option in ("--subject", subject)]
        answer = run_json(TOOL, "bench", picture, "--backbone", backbone(self.folder), *arguments, "--json",
                          "--rounds", self.rounds, "--precision", self.precision, *options)
        one = answer["one"]
        self.spread = max(self.spread, 100 * (one["whole_ms_most"] - one["whole_ms_least"]) / one["whole_ms"])
        return {row["name"]: row["ms"] for row in answer["rows"]}

    def picture(self, side):
        path = self.scratch / f"{side}.png"
        path.write_bytes(encode_png(np.random.default_rng(side).integers(0, 256, (side, side, 3))))
        return path

    @contextmanager
    def demo(self, *options):
        folder = self.scratch / "demo"
        run(TOOL, "demo", *self.size, *options, "-o", folder)
        yield folder / "subj01.safetensors"
        shutil.rmtree(folder)

    def tokens(self):
        subject = [self.folder / "subj01.safetensors"]
        rows = [self.bench(self.picture(side), subject, "--fit", "native", "--max-tokens", 2500) for side in SIDES]
        parts = {"attention": lambda row: row["attend"], "linear layers": lambda row: row["project"] + row["feed_forward"],
                 "whole": lambda row: row["whole"]}
        return [(side // 14) ** 2 for side in SIDES], {name: [part(row) for row in rows] for name, part in parts.items()}

    def vertices(self):
        rows = []
        for number in VERTICES:
            with self.demo("--vertices", number) as subject:
                rows.append(self.bench(self.picture(224), [subject], "--fit", "native"))
        return [2 * number for number in VERTICES], {name: [row[key] for row in rows] for name, key in
                                                     (("readout", "read_out"), ("answer as JSON", "answer"))}

    def members(self):
        rows = []
        for number in MEMBERS:
            with self.demo("--runs", number) as subject:
                rows.append(self.bench(self.folder / "picture.png", [subject]))
        return list(MEMBERS), encoders(rows)

    def subjects(self):
        paths = [self.scratch / f"subject{number}.safetensors" for number in range(max(SUBJECTS))]
        for path in paths:
            run(TOOL, "import", self.folder / "checkpoint.pth", "--data", self.folder / "algonauts/subj01", "--name", path.stem,
                "-o", path)
        rows = [self.bench(self.folder / "picture.png", paths[:number]) for number in SUBJECTS]
        for path in paths:
            path.unlink()
        return list(SUBJECTS), encoders(rows)

    def clients(self):
        lines = load_test.measure(self.folder, self.precision, CLIENTS, self.seconds)["clients"]
        return list(CLIENTS), {"a client waits, p50": [line["p50_ms"] for line in lines],
                               "an image": [1e3 / line["images_s"] for line in lines]}


def encoders(rows):
    return {"encoders and readouts": [row["encode"] + row["read_out"] for row in rows], "whole": [row["whole"] for row in rows]}


def exponent(sizes, times):
    """The slope of the straight line through log time over log size."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def measure(folder, asked, what):
    found = {}
    for name in what:
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            cost = Cost(folder, asked, Path(scratch))
            sizes, times = getattr(cost, name)()
        found[name] = {"sizes": sizes, "ms": times, "exponents": {key: exponent(sizes, values) for key, values in times.items()}}
        if cost.spread:
            found[name]["spread_percent"] = cost.spread
        show(name, found[name])
    return found


def show(name, it):
    print(f"{name:<28}" + "".join(f"{size:>10}" for size in it["sizes"]) + "  exponent")
    for key, values in it["ms"].items():
        cells = "".join(f"{value:>10.2f}" for value in values)
        print(f"  {key + ', ms':<26}{cells}  {it['exponents'][key]:.2f}", flush=True)


def plot(costs, precision, path):
    """Whether it could."""
    try:
        import matplotlib
    except ImportError:
        log("matplotlib is not installed (python3-matplotlib), so there are no plots.")
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, panels = pyplot.subplots(1, len(costs), figsize=(4 * len(costs), 3.6), squeeze=False, constrained_layout=True)
    for panel, (name, it) in zip(panels[0], costs.items()):
        for key, values in it["ms"].items():
            panel.loglog(it["sizes"], values, marker="o", label=f"{key}: {it['exponents'][key]:.2f}")
        panel.set(xlabel=name, ylabel="ms")
        panel.set_xticks(it["sizes"], [str(size) for size in it["sizes"]], minor=False)
        panel.minorticks_off()
        panel.tick_params(axis="x", labelrotation=45)
        panel.grid(True, alpha=0.3)
        panel.legend(title="exponents", fontsize=8)
    figure.suptitle(f"Cost of a prediction, {precision}")
    figure.savefig(path, dpi=110)
    return True


def main():
    names = ("tokens", "vertices", "members", "subjects", "clients")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--precision", choices=PRECISIONS, default="f32")
    parser.add_argument("--only", action="append", choices=names)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=load_test.SECONDS, help="of each number of clients, about")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, default=PLOT)
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    results = measured() | {"model": describe_model(folder), "precision": asked.precision, "rounds": asked.rounds}
    results["costs"] = measure(folder, asked, asked.only or names)
    for results["plotted"] in (False, True):  # the numbers first, so that a plot may fail
        if asked.json:
            asked.json.write_text(json.dumps(results, indent=1) + "\n")
        if not results["plotted"] and not plot(results["costs"], asked.precision, asked.plot):
            break


if __name__ == "__main__":
    program(main)
