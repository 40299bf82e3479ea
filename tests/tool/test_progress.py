"""Progress on standard error: a bar on a terminal, plain lines in a log."""
import os
import pty
import re

import pytest

from support import DONE, PARTIAL, check_orderly, Result, write_pictures

LINE = re.compile(r"brainenc: (\d+) of 20 images, [\d.]+ a second, \d+ s left")
BAR = re.compile(r"\r\[(#*)( *)\] (\d+)/20  [\d.]+/s  \d+ s left\x1b\[K")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("progress") / "pictures", 20, 28)


def test_a_log_gets_lines(tool, demo_model, pictures, tmp_path):
    result = tool.run("predict", *pictures, *demo_model, "-o", tmp_path / "out.npy", "--fit", "native")
    matches = [LINE.fullmatch(line) for line in result.lines]
    assert all(matches) and matches[-1].group(1) == "20"
    counts = [int(m.group(1)) for m in matches]
    assert counts == sorted(set(counts))


def test_one_picture_needs_no_progress(tool, demo_model, pictures, tmp_path):
    assert tool.run("predict", pictures[0], *demo_model, "-o", tmp_path / "out.npy", "--fit", "native").err == ""


def run_on_a_terminal(tool, *arguments):
    """Its standard error is a terminal."""
    try:
        master, slave = pty.openpty()
    except OSError:
        pytest.skip("this system has no pseudo-terminals (/dev/pts is not mounted)")
    process = tool.start(*arguments, stderr=slave)
    os.close(slave)
    seen = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # how a terminal whose other end was closed reads on Linux
            break
        if not piece:
            break
        seen += piece
    os.close(master)
    process.stdout.read()
    process.stdout.close()
    text = seen.decode().replace("\r\n", "\n")
    result = Result(code=process.wait(), out=b"", err=text)
    check_orderly(result)
    return result


def test_a_terminal_gets_a_bar(tool, demo_model, pictures, tmp_path):
    result = run_on_a_terminal(tool, "predict", *pictures, *demo_model, "-o", tmp_path / "out.npy", "--fit", "native")
    assert result.code == DONE
    bars = list(BAR.finditer(result.err))
    assert "".join(m.group(0) for m in bars) + "\n" == result.err
    assert bars[-1].groups() == ("#" * 30, "", "20")
    assert all(len(m.group(1)) + len(m.group(2)) == 30 and len(m.group(1)) == 30 * int(m.group(3)) // 20 for m in bars)


def test_a_sentence_has_a_line_of_its_own_below_the_bar(tool, demo_model, pictures, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(pictures[0].read_bytes()[:-20])
    result = run_on_a_terminal(tool, "predict", *pictures[:19], broken, *demo_model, "-o", tmp_path / "out.npy",
                               "--fit", "native", "--on-error", "nan", "--threads", "1")
    assert result.code == PARTIAL
    assert re.search(rf"^brainenc: {re.escape(str(broken))}: ", result.err, re.M)
    assert result.err.endswith("\n") and BAR.search(result.err)
