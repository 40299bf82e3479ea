"""The programs of tests/bench, with the small demo: that they run, and what they make of numbers. Each in a process of its own, as
`make bench` runs them."""
import json
import subprocess
import sys

import pytest

from support import GOLDEN, Tool

BENCH = GOLDEN.parent / "bench"


def program(*arguments):
    """What it writes to standard output and standard error."""
    result = subprocess.run([sys.executable, "-B", *map(str, arguments)], cwd=BENCH, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout, result.stderr


pytestmark = pytest.mark.skipif(len(Tool.command) > 1, reason="they start the tool themselves")


def test_the_exponent_is_the_slope_of_log_over_log():
    out, _ = program("-c", "from cost import exponent\nprint(exponent([1, 2, 4, 10], [3, 12, 48, 300]), exponent([5, 50], [7, 7]))")
    assert [float(word) for word in out.split()] == pytest.approx([2, 0], abs=1e-9)


def test_what_is_measured_makes_the_page_of_results(demo, tmp_path):
    tables, said = program("run.py", demo, "--json", tmp_path / "bench.json", "--rounds", 1, "--only", "machine", "--only", "stages",
                           "--only", "accuracy", "--pictures", 3, "--only", "models")
    found = json.loads((tmp_path / "bench.json").read_text())
    assert [run["precision"] for run in found["stages"]][:3] == ["f32", "bf16", "bf16x3"]
    assert found["stages"][-1]["isa"] in ("avx2", "generic")
    costs = found["accuracy"]["precisions"]
    assert 0.99 < costs["bf16"]["median"] < costs["bf16x3"]["median"] <= 1 and f"{costs['bf16']['median']:.7f}" in tables
    skipped = [line for line in said.splitlines() if not line.startswith("brainenc: ")]  # but for the progress of predict
    assert len(skipped) == 3 and all(line.startswith("Skipped: there is no demo-") for line in skipped)
    cost = {"precision": "f32", "costs": {"tokens": {"sizes": [100, 256], "ms": {"whole": [1.5, 4]}, "exponents": {"whole": 1.04}}}}
    (tmp_path / "cost.json").write_text(json.dumps(cost))
    page, _ = program("results.py", tmp_path / "bench.json", tmp_path / "cost.json")
    assert tables.strip().splitlines()[-1] in page and "| whole | 1.50 | 4.00 | 1.04 |" in page
    whole = found["stages"][1]["rows"][-2]
    assert f"| whole, one image on all threads | {whole['ms']:.2f} | {whole['gflop']:.1f} |" in page
    assert "| processors usable |" in page and "## Products" not in page
