"""RESULTS.md from what run.py and cost.py wrote: python3 tests/bench/results.py BENCH.json [COST.json] > tests/bench/RESULTS.md"""
import argparse
import json
from pathlib import Path

from tables import SECTIONS, number, section, table


def origin(it):
    """When, and of which sources, model and picture: the same for all numbers of one run."""
    model = it["model"]
    return (f"{it['date']}, commit {it['commit']}. Model: what `brainenc demo` writes with {model['backbone']}, random weights; "
            f"picture, where nothing else is said: {model['picture']} (SHA-256 {model['picture_sha256'][:16]}).")


def costs(it):
    text = (f"## Cost by size\n\n{origin(it)}\n\nIn {it['precision']}, ms, medians of {it['rounds']} rounds; the exponent is the "
            "slope of log time over log size. Tokens: pictures of noise, of so many patches. Vertices: a picture of noise, "
            "224 x 224. Clients: the daemon, as above.\n\n")
    if it["plotted"]:
        text += "![cost](cost.png)\n\n"
    for name, one in it["costs"].items():
        rows = [[key, *(number(value, 2) for value in values), number(one["exponents"][key], 2)]
                for key, values in one["ms"].items()]
        text += table([name, *one["sizes"], "exponent"], rows) + "\n"
        if "spread_percent" in one:
            text += (f"Between the fastest and the slowest round of a prediction: {one['spread_percent']:.1f} % of its median at "
                     "most.\n\n")
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bench", type=Path)
    parser.add_argument("cost", type=Path, nargs="?")
    asked = parser.parse_args()
    results = json.loads(asked.bench.read_text())
    print(f"# Speed, measured\n\n`make bench-results`, {origin(results)} What each number means: README, Speed.\n")
    for name in SECTIONS:
        if name in results:
            print(section(name, results[name]))
    if asked.cost:
        print(costs(json.loads(asked.cost.read_text())).rstrip())


if __name__ == "__main__":
    main()
