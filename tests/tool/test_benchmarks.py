"""The programs of tests/bench, with the small demo: that they run, and what they make of numbers. Each in a process of its own, as
`make bench` runs them."""
import hashlib
import json
import os
import subprocess
import sys

import pytest

from support import GOLDEN, Tool

BENCH = GOLDEN.parent / "bench"


def program(*arguments, **environment):
    """What it writes to standard output and standard error."""
    result = subprocess.run([sys.executable, "-B", *map(str, arguments)], cwd=BENCH, capture_output=True, text=True,
                            env=os.environ | environment)
    assert result.returncode == 0, result.stderr
    return result.stdout, result.stderr


pytestmark = pytest.mark.skipif(len(Tool.command) > 1, reason="they start the tool themselves")


def test_the_exponent_is_the_slope_of_log_over_log():
    out, _ = program("-c", "from cost import exponent\nprint(exponent([1, 2, 4, 10], [3, 12, 48, 300]), exponent([5, 50], [7, 7]))")
    assert [float(word) for word in out.split()] == pytest.approx([2, 0], abs=1e-9)


def test_what_is_measured_makes_the_page_of_results(demo, tmp_path):
    tables, said = program("run.py", demo, "--json", tmp_path / "bench.json", "--rounds", 1, "--only", "machine", "--only",
                           "stages", "--only", "accuracy", "--pictures", 3, "--only", "models")
    found = json.loads((tmp_path / "bench.json").read_text())
    assert [run["precision"] for run in found["stages"]][:3] == ["f32", "bf16", "bf16x3"]
    assert found["stages"][-1]["isa"] in ("avx2", "generic")
    costs = [(it["backbone"], it["precision"], it["median"]) for it in found["accuracy"]["models"]]
    assert [it[:2] for it in costs] == 2 * [("dinov2_demo_pretrain.pth", "bf16"), ("dinov2_demo_pretrain.pth", "bf16x3")]
    assert 0.99 < costs[0][2] < costs[1][2] <= 1 and f"{costs[0][2]:.7f}" in tables
    skipped = [line for line in said.splitlines() if not line.startswith("brainenc: ")]  # but for the progress of predict
    assert len(skipped) == 3 and all(line.startswith("Skipped: there is no demo-") for line in skipped)
    cost = {key: found[key] for key in ("date", "commit", "model")} | {"precision": "f32", "rounds": 7, "plotted": False}
    cost["costs"] = {"tokens": {"sizes": [100, 256], "ms": {"whole": [1.5, 4]}, "exponents": {"whole": 1.04},
                                "spread_percent": 3.2}}
    (tmp_path / "cost.json").write_text(json.dumps(cost))
    page, _ = program("results.py", tmp_path / "bench.json", tmp_path / "cost.json")
    assert tables.strip().splitlines()[-1] in page and "| whole | 1.50 | 4.00 | 1.04 |" in page
    whole = found["stages"][1]["rows"][-2]
    times = " | ".join(f"{whole[key]:.2f}" for key in ("ms", "ms_least", "ms_most"))
    assert f"| whole, one image on all threads | {times} | {whole['gflop']:.1f} |" in page
    assert "| processors usable |" in page and "## Products" not in page
    assert "a picture of 425 x 425, 31 x 31 tokens, 1 subject(s) of 1,000 + 1,100 vertices" in page
    assert "3.2 % of its median" in page
    picture = hashlib.sha256((demo / "picture.png").read_bytes()).hexdigest()
    assert page.count(f"commit {found['commit']}. Model: what `brainenc demo` writes with dinov2_demo_pretrain.pth") == 2
    assert found["model"]["picture_sha256"] == picture and picture[:16] in page
    assert "3 procedural pictures" in page and "the first 3 of them" in page
    assert "cost.png" not in page  # nothing was plotted: the one that lies there is of other numbers
    (tmp_path / "cost.json").write_text(json.dumps(cost | {"plotted": True}))
    assert "![cost](cost.png)" in program("results.py", tmp_path / "bench.json", tmp_path / "cost.json")[0]


def test_a_yardstick_that_is_held_to_other_kernels_is_told(demo, tmp_path):
    tables, _ = program("run.py", demo, "--json", tmp_path / "bench.json", "--rounds", 1, "--only", "machine", "--only", "stages",
                        OPENBLAS_CORETYPE="Nehalem")
    found = json.loads((tmp_path / "bench.json").read_text())
    assert "Nehalem kernels as OPENBLAS_CORETYPE says" in tables
    assert [one["sgemm"] for one in found["stages"][:3]] == 3 * ["Nehalem"] and "(cblas_sgemm: Nehalem)" in tables
    assert found["stages"][-1]["sgemm"] in ("Nehalem", "Haswell")


def test_the_sources_it_measured_are_named():
    found = json.loads(program("-c", "import common, json\nprint(json.dumps(common.measured()))")[0])
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=BENCH, capture_output=True, text=True).stdout.strip()
    assert head.startswith(found["commit"].removesuffix("-dirty")) if head else found["commit"] == "unknown"


def test_cost_by_tokens(demo, tmp_path):
    out, _ = program("cost.py", demo, "--rounds", 1, "--only", "tokens", "--json", tmp_path / "cost.json", "--plot",
                     tmp_path / "cost.png")
    found = json.loads((tmp_path / "cost.json").read_text())
    tokens = found["costs"]["tokens"]
    assert tokens["sizes"] == [100, 256, 484, 961, 1369, 2500] and set(tokens["ms"]) == set(tokens["exponents"])
    assert all(len(values) == 6 and min(values) > 0 for values in tokens["ms"].values()) and "attention, ms" in out
    assert found["plotted"] == (tmp_path / "cost.png").exists() and (found["rounds"], found["precision"]) == (1, "f32")


def fails(*arguments, **environment):
    """The one sentence it ends with."""
    result = subprocess.run([sys.executable, "-B", *map(str, arguments)], cwd=BENCH, capture_output=True, text=True,
                            env=os.environ | environment)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1, result.stderr
    return result.stderr


@pytest.mark.parametrize("name", ["run.py", "cost.py", "load_test.py", "daemon.py", "accuracy.py"])
def test_a_folder_without_a_model_is_one_sentence(tmp_path, name):
    assert f"{tmp_path} holds no model to measure: `brainenc demo --full" in fails(name, tmp_path)


def test_what_is_not_built_or_cannot_be_measured_is_one_sentence(demo):
    assert "/nowhere/brainenc cannot be run" in fails("run.py", demo, "--only", "stages", BRAINENC="/nowhere/brainenc")
    assert "takes two" in fails("run.py", demo, "--only", "accuracy", "--pictures", 1)


@pytest.mark.parametrize("missing, section, word", [("torch", "pytorch", "python3-torch"), ("", "onednn", "libdnnl-dev")])
def test_a_yardstick_that_is_missing_is_one_sentence(demo, tmp_path, missing, section, word):
    """PyTorch: whatever is installed here is hidden from the program. oneDNN's program is not there."""
    code = ("import sys, importlib.util as util, pathlib, yardsticks, run\nfind = util.find_spec\n"
            f"util.find_spec = lambda name, *rest: None if name == {missing!r} else find(name, *rest)\n"
            f"yardsticks.ONEDNN = pathlib.Path({str(tmp_path / 'none')!r})\n"
            f"sys.argv = ['run.py', {str(demo)!r}, '--only', {section!r}]\nrun.main()")
    out, said = program("-c", code)
    assert len(said.splitlines()) == 1 and said.startswith("Skipped: ") and word in said
    assert out.splitlines()[0].startswith("## Beside ") and "Skipped: " in out and word in out


def test_without_matplotlib_there_are_numbers_and_a_sentence(demo, tmp_path):
    code = ("import sys, cost\nsys.modules['matplotlib'] = None\n"
            f"print(cost.plot({{}}, 'f32', {str(tmp_path / 'cost.png')!r}))")
    out, said = program("-c", code)
    assert out == "False\n" and len(said.splitlines()) == 1 and "python3-matplotlib" in said
