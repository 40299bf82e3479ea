"""The README's tables of what is supported name tests that exist, and every golden case."""
import re
from pathlib import Path

from golden_cases import CASES
from test_refused import REFUSED

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text()


def rows(header):
    """The rows of the table that begins with `header`, each a list of its cells."""
    lines = TEXT[TEXT.index(header):].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_each_combination_has_its_golden_case():
    table = rows("| | transformer | custom_transformer |")
    named = [name.strip() for row in table for cell in row[1:] for name in cell.split(",")]
    golden = [name for name in named if name not in ("-", "by the formula", "below") and not name.startswith("refused: ")]
    assert sorted(golden) == sorted(case.name for case in CASES)
    refused = [name.removeprefix("refused: ") for name in named if name.startswith("refused: ")]
    assert refused and set(refused) <= set(REFUSED)


def test_each_other_row_has_tests():
    table = rows("| what | test |")
    assert len(table) > 5
    for _, cell in table:
        for file, names in re.findall(r"`(tests/[^`]+)`((?:, test_\w+)+)", cell):
            source = (ROOT / file).read_text()
            assert all(re.search(rf"^(static void|def) {name}\(", source, re.M) for name in names.split(", ")[1:]), (file, names)
        assert cell.count("`tests/") == len(re.findall(r"`tests/[^`]+`, test_", cell)) > 0
