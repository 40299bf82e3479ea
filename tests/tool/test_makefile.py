"""The Makefile, with sources and a compiler of the test's own: what is built at once, and how often."""
import os
import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).resolve().parents[2] / "Makefile"
SOURCES = ("core/base/a.c", "core/base/b.c", "clients/brainenc/main.c", "server/main.c", "tests/unit/test_a.c",
           "tests/unit/support.c")
FROM_ANOTHER_MAKE = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "SANITIZER")  # which may run this test
# Notes when it begins and ends with a file, takes its time, and writes something other each time.
COMPILER = """#!/bin/sh
for word; do [ "$last" = -o ] && file=$word; last=$word; done
echo "begins $file" >> {log}
sleep 0.1
echo $$ > "$file"
echo "ends $file" >> {log}
"""


@pytest.fixture
def house(tmp_path):
    shutil.copy(MAKEFILE, tmp_path)
    for name in SOURCES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    compiler = tmp_path / "compiler"
    compiler.write_text(COMPILER.format(log=tmp_path / "log"))
    compiler.chmod(0o755)
    return tmp_path


def make(house, *goals):
    """The compiler's log."""
    environment = {name: value for name, value in os.environ.items() if name not in FROM_ANOTHER_MAKE}
    result = subprocess.run(["make", "-j8", f"CC={house}/compiler", "PACKAGES=", "TEST_PACKAGES=", *goals], cwd=house,
                            env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return (house / "log").read_text().splitlines()


@pytest.mark.parametrize("goals", [["all", "unit-tests"], ["unit-tests", "all"], ["build/plain/brainenc", "all", "unit-tests"]],
                         ids=" ".join)
def test_several_goals_build_each_file_once(house, goals):
    log = make(house, *goals)
    begun = [line.split()[1] for line in log if line.startswith("begins")]
    assert {"build/plain/core/base/a.o", "build/plain/brainenc", "build/plain/brainencd", "build/plain/tests/test_a"} <= set(begun)
    assert sorted(begun) == sorted(set(begun))


def test_one_goal_builds_several_files_at_once(house):
    for goal in ("all", "unit-tests"):
        shutil.rmtree(house / "build", ignore_errors=True)
        (house / "log").write_text("")
        log = make(house, goal)
        assert log[0].startswith("begins") and (log[1].startswith("begins") or os.cpu_count() == 1)


def test_a_change_in_the_library_compiles_no_test_anew(house):
    make(house, "unit-tests")
    (house / "log").write_text("")
    os.utime(house / "core/base/a.c", (2**31, 2**31))
    begun = [line.split()[1] for line in make(house, "unit-tests") if line.startswith("begins")]
    assert sorted(begun) == ["build/plain/core/base/a.o", "build/plain/tests/test_a"]


def test_what_is_cleaned_is_built_anew(house):
    make(house, "all")
    (house / "log").write_text("")
    assert "ends build/plain/brainencd" in make(house, "clean", "all")
    assert (house / "build/plain/brainencd").exists()
