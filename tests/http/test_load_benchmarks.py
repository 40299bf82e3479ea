"""The load test and the comparison with PyTorch of `make bench`, on a small demo: that they measure what they say."""
import json
import subprocess
import sys

import pytest

from support import GOLDEN, RUNNER

BENCH = GOLDEN.parent / "bench"
pytestmark = pytest.mark.skipif(bool(RUNNER), reason="it starts the programs itself")


def program(*arguments):
    command = [sys.executable, "-B", *map(str, arguments)]
    return subprocess.run(command, cwd=BENCH, check=True, capture_output=True, text=True).stdout


def tables(folder, name, results):
    (folder / "found.json").write_text(json.dumps(results))
    return program("-c", f"import json, tables\nprint(tables.section({name!r}, json.load(open({str(folder / 'found.json')!r}))))")


def test_clients_and_what_they_wait(demo, tmp_path):
    found = json.loads(program("load_test.py", demo, "--seconds", 0.5))
    assert [line["clients"] for line in found["clients"]] == [1, 2, 8, 32]
    for line in found["clients"]:
        assert line["requests"] >= 3 * line["clients"] and line["requests"] % line["clients"] == 0 and line["healthz_asked"] > 0
        assert 0 < line["p50_ms"] <= line["p99_ms"] and line["images_s"] > 0 and line["healthz_p99_ms"] > 0
        waited = 1e3 * line["clients"] / line["images_s"]  # by a request of the slowest client, on average
        assert line["requests"] >= 100 or waited <= 1.2 * line["p99_ms"]  # which is then the slowest request
    before, after = found["library_images_s_before_and_after"]
    assert found["library_images_s"] == pytest.approx((before + after) / 2)
    page = tables(tmp_path, "load", [found])
    last = found["clients"][-1]
    assert f"| 32 | {last['images_s']:.2f} | {last['images_s'] / found['library_images_s']:.3f} | {last['p50_ms']:.0f} | " in page
    assert f"({before:.2f} before, {after:.2f} after)" in page


def test_beside_pytorch_in_turn(demo, tmp_path):
    pytest.importorskip("torch")
    found = json.loads(program("yardsticks.py", demo, "--rounds", 2))["pytorch"]
    for ours in ("f32", "bf16", "bf16x3"):
        for theirs in ("f32", "bf16"):
            ratio, torch, brainenc = (found["times_faster"][f"{ours}_over_torch_{theirs}"], found["ms"][f"torch_{theirs}"],
                                      found["ms"][f"brainenc_{ours}"])
            assert torch["least"] / brainenc["most"] <= ratio["least"] <= ratio["median"] <= ratio["most"]
            assert ratio["most"] <= torch["most"] / brainenc["least"]
    page = tables(tmp_path, "pytorch", found)
    ratio = found["times_faster"]["bf16_over_torch_f32"]
    assert f"PyTorch {found['version']}, " in page
    assert f"{ratio['median']:.2f} ({ratio['least']:.2f} to {ratio['most']:.2f})" in page
