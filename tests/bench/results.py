"""RESULTS.md from what run.py and cost.py wrote: python3 tests/bench/results.py BENCH.json [COST.json] > tests/bench/RESULTS.md"""
import argparse
import json
from pathlib import Path

from tables import SECTIONS, number, section, table


def costs(it):
    text = f"## Cost by size\n\nIn {it['precision']}, ms; the exponent is the slope of log time over log size.\n\n![cost](cost.png)\n\n"
    for name, one in it["costs"].items():
        rows = [[key, *(number(value, 2) for value in values), number(one["exponents"][key], 2)] for key, values in one["ms"].items()]
        text += table([name, *one["sizes"], "exponent"], rows) + "\n"
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bench", type=Path)
    parser.add_argument("cost", type=Path, nargs="?")
    asked = parser.parse_args()
    results = json.loads(asked.bench.read_text())
    print(f"# Speed, measured\n\n`make bench-results`, {results['date']}. What each number means: README, Speed.\n")
    for name in SECTIONS:
        if name in results:
            print(section(name, results[name]))
    if asked.cost:
        print(costs(json.loads(asked.cost.read_text())).rstrip())


if __name__ == "__main__":
    main()
