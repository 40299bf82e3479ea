"""A run that was killed goes on where it was, and ends with the bytes it would have had."""
import json
import os
import random
import signal
import subprocess
import time

import numpy as np
import pytest

from support import DATA, SANITIZER, SYSTEM, TIMEOUT, USAGE, encode_png, write_pictures

COUNT = 80 if SANITIZER else 300
SAVED_EVERY = 5  # seconds between two savings of the journal, in clients/brainenc/stream.c


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("resume") / "pictures", COUNT, 140)


@pytest.fixture(scope="module")
def straight(tool, demo_model, pictures, tmp_path_factory):
    """What uninterrupted runs write, by the end of the name."""
    folder = tmp_path_factory.mktemp("straight")
    for name in ("out.npy", "out.json"):
        tool.run(*command(demo_model, pictures, folder / name))
    return {path.name: untimed(path) for path in folder.iterdir()}


def command(model, pictures, output, *more):
    return ["predict", *pictures, *model, "--fit", "native", "--threads", "2", "-o", output, *more]


def untimed(path):
    """The content; without the times, which differ from run to run, but as it is written otherwise."""
    if path.name != "out.json":
        return path.read_bytes()
    lines = path.read_text().splitlines()
    return [line.split(',"timing_ms":{')[0] for line in lines]


def check_result(output, straight):
    assert {path.name: untimed(path) for path in output.parent.iterdir()} == {
        name: content for name, content in straight.items() if name.startswith(output.name)}
    if output.suffix == ".json":
        assert len(json.loads(output.read_text())["predictions"]) == COUNT


def partial(output):
    return output.with_name(output.name + ".partial")


def journal(output):
    return output.with_name(output.name + ".resume")


def done(output):
    """How many pictures the journal promises."""
    return json.loads(journal(output).read_text().splitlines()[0])["done"] if journal(output).exists() else 0


def wait(condition, process):
    """False when the process ends first."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < end
        time.sleep(0.0005)
    return True


def kill(process):
    """True unless it had ended already."""
    process.kill()
    process.communicate()
    return process.returncode == -signal.SIGKILL


def start_and_wait_for_results(tool, arguments, output, size):
    """A run that has written `size` bytes, beyond what another may have left; None when it ended first."""
    def written():
        return partial(output).stat().st_mtime_ns if partial(output).exists() else 0

    before, process = written(), tool.start(*arguments)
    return process if wait(lambda: written() != before and partial(output).stat().st_size >= size, process) else None


def kill_before_a_save(tool, arguments, output, size):
    process = start_and_wait_for_results(tool, arguments, output, size)
    return process is not None and kill(process)


def kill_after_a_save(tool, arguments, output):
    """The run is stopped for the time between two savings, so that its next results are saved however fast the machine is."""
    process = start_and_wait_for_results(tool, arguments, output, 20000)
    if process is None:
        return False
    process.send_signal(signal.SIGSTOP)
    time.sleep(SAVED_EVERY + 0.1)
    process.send_signal(signal.SIGCONT)
    return wait(lambda: done(output) > 0, process) and kill(process)


def insist(output, attempt, *arguments):
    """Tries again, from the beginning, when a run was too fast to be killed."""
    for _ in range(10):
        if attempt(*arguments):
            return
        for path in output.parent.iterdir():
            path.unlink()
    raise AssertionError("no run could be killed in the middle")


@pytest.mark.parametrize("name", ["out.npy", "out.json"])
def test_a_run_killed_several_times_ends_as_one_that_was_not(tool, demo_model, pictures, straight, tmp_path, name):
    output = tmp_path / "out" / name
    output.parent.mkdir()
    moments = random.Random(name)
    arguments = command(demo_model, pictures, output)

    for _ in range(3):  # with the first killed, these begin anew
        insist(output, kill_before_a_save, tool, arguments, output, moments.randrange(1, COUNT * 2000))
        assert done(output) == 0 and not output.exists()

    insist(output, kill_after_a_save, tool, arguments, output)
    kept = done(output)
    assert 0 < kept < COUNT and not output.exists()

    for _ in range(3):  # these go on
        process = tool.start(*arguments)
        time.sleep(moments.random() * 0.05)
        assert kill(process) and kept <= done(output) < COUNT
        kept = done(output)

    result = tool.run(*arguments)
    assert f"goes on after {kept} of {COUNT} images" in result.lines[0]
    check_result(output, straight)


def test_a_run_killed_before_it_wrote_anything_begins_anew(tool, demo_model, pictures, straight, tmp_path):
    output = tmp_path / "out" / "out.npy"
    output.parent.mkdir()
    arguments = command(demo_model, pictures, output)
    moments = random.Random(0)
    for _ in range(5):
        process = tool.start(*arguments)
        time.sleep(moments.random() * 0.04)
        process.kill()
        process.communicate()
    tool.run(*arguments)
    check_result(output, straight)


SPY = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void note(const char *what, const char *name)
{
    FILE *log = fopen(getenv("SPY_LOG"), "a");
    fprintf(log, "%s %s\n", what, name);
    fclose(log);
}

int fsync(int descriptor)
{
    char link[64], name[4096] = "";
    struct stat info;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    (void)!readlink(link, name, sizeof name - 1);
    fstat(descriptor, &info);
    note(S_ISDIR(info.st_mode) ? "folder" : "file", name);
    return (int)syscall(SYS_fsync, descriptor);
}

int rename(const char *from, const char *to)
{
    note("rename", to);
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}
"""


@pytest.mark.skipif(bool(SANITIZER), reason="a sanitizer must be the first library")
def test_the_results_name_is_made_safe_after_their_content(tool, demo_model, pictures, tmp_path):
    source, library, log = tmp_path / "spy.c", tmp_path / "spy.so", tmp_path / "log"
    source.write_text(SPY)
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-o", library, source], check=True)
    output = tmp_path / "out" / "out.npy"
    output.parent.mkdir()
    tool.run(*command(demo_model, pictures[:3], output), env=os.environ | {"LD_PRELOAD": str(library), "SPY_LOG": str(log)})
    folder, steps = f"folder {output.parent}", log.read_text().splitlines()
    named = steps.index(f"rename {output}")
    assert steps[named - 1 : named + 2] == [f"file {partial(output)}", f"rename {output}", folder]
    assert steps[steps.index(f"rename {journal(output)}") + 1] == folder


@pytest.fixture()
def unfinished(tool, demo_model, pictures, tmp_path):
    """The output of a run that stopped after ten pictures, and the pictures it was made of."""
    copies = []
    for path in pictures[:20]:
        copies.append(tmp_path / path.name)
        copies[-1].write_bytes(path.read_bytes())
    good = copies[10].read_bytes()
    copies[10].write_bytes(good[:100])
    output = tmp_path / "out" / "out.npy"
    output.parent.mkdir()
    tool.run(*command(demo_model, copies, output), code=DATA)
    assert done(output) == 10
    copies[10].write_bytes(good)
    return output, copies


def snapshot(output):
    return {path.name: path.read_bytes() for path in output.parent.iterdir()}


def check_refused_until_restarted(tool, arguments, output, code=USAGE):
    before = snapshot(output)
    sentence = tool.refuses(code, *arguments)
    assert "--restart" in sentence and str(output) in sentence
    assert snapshot(output) == before
    tool.run(*arguments, "--restart")
    assert set(snapshot(output)) == {"out.npy", "out.npy.json"}


def test_other_options_are_refused(tool, demo_model, unfinished):
    output, pictures = unfinished
    check_refused_until_restarted(tool, command(demo_model, pictures, output, "--rois", "EBA"), output)


def test_other_weights_are_refused(tool, demo, unfinished, tmp_path):
    output, pictures = unfinished
    tool.run("demo", "-o", tmp_path / "other", "--seed", "2")
    other = ["--backbone", demo / "dinov2_demo_pretrain.pth", "--subject", tmp_path / "other/subj01.safetensors"]
    check_refused_until_restarted(tool, command(other, pictures, output), output)


def test_another_list_of_pictures_is_refused(tool, demo_model, unfinished):
    output, pictures = unfinished
    check_refused_until_restarted(tool, command(demo_model, pictures[::-1], output), output)


@pytest.mark.parametrize("change", ["content", "time", "gone"])
def test_a_changed_picture_is_refused(tool, demo_model, unfinished, change):
    output, pictures = unfinished
    if change == "content":
        pictures[3].write_bytes(encode_png(np.zeros((150, 150, 3))))
    elif change == "time":
        os.utime(pictures[3], (1, 1))
    else:
        pictures[3].unlink()
        assert "--restart" in tool.refuses(USAGE, *command(demo_model, pictures, output))
        return
    check_refused_until_restarted(tool, command(demo_model, pictures, output), output)


def test_a_picture_without_results_may_change(tool, demo_model, unfinished, tmp_path):
    output, pictures = unfinished
    pictures[15].write_bytes(pictures[2].read_bytes())
    assert "after 10 of 20" in tool.run(*command(demo_model, pictures, output)).lines[0]
    tool.run(*command(demo_model, pictures, tmp_path / "straight.npy"))
    assert output.read_bytes() == (tmp_path / "straight.npy").read_bytes()


def test_another_number_of_threads_goes_on(tool, demo_model, unfinished, tmp_path):
    output, pictures = unfinished
    tool.run(*command(demo_model, pictures, output, "--threads", "1"))
    tool.run(*command(demo_model, pictures, tmp_path / "straight.npy", "--threads", "2"))
    assert output.read_bytes() == (tmp_path / "straight.npy").read_bytes()


def test_a_damaged_journal_is_refused(tool, demo_model, unfinished):
    output, pictures = unfinished
    good = journal(output).read_bytes()
    arguments = command(demo_model, pictures, output)
    step = max(1, len(good) // (6 if SANITIZER else 25))
    for at in range(0, len(good), step):
        for damaged in (good[:at], good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]):
            journal(output).write_bytes(damaged)
            sentence = tool.refuses(DATA, *arguments)
            assert sentence.startswith(f"brainenc: {journal(output)}: ") and "--restart" in sentence
    check_refused_until_restarted(tool, arguments, output, code=DATA)


def test_results_shorter_than_promised_are_refused(tool, demo_model, unfinished):
    output, pictures = unfinished
    os.truncate(partial(output), partial(output).stat().st_size - 1)
    check_refused_until_restarted(tool, command(demo_model, pictures, output), output, code=DATA)


def test_results_beyond_the_journal_are_thrown_away(tool, demo_model, unfinished, tmp_path):
    output, pictures = unfinished
    with open(partial(output), "ab") as stream:
        stream.write(b"x" * 1000000)
    tool.run(*command(demo_model, pictures, output))
    tool.run(*command(demo_model, pictures, tmp_path / "straight.npy"))
    assert output.read_bytes() == (tmp_path / "straight.npy").read_bytes()


def test_results_without_a_journal_begin_anew(tool, demo_model, unfinished, tmp_path):
    output, pictures = unfinished
    journal(output).unlink()
    result = tool.run(*command(demo_model, pictures, output))
    assert "goes on" not in result.err
    tool.run(*command(demo_model, pictures, tmp_path / "straight.npy"))
    assert output.read_bytes() == (tmp_path / "straight.npy").read_bytes()


def test_two_runs_on_one_output_do_not_mix(tool, demo_model, pictures, straight, tmp_path):
    output = tmp_path / "out" / "out.npy"
    output.parent.mkdir()
    arguments = command(demo_model, pictures, output)
    first = start_and_wait_for_results(tool, arguments, output, 1)
    assert first
    first.send_signal(signal.SIGSTOP)
    try:
        for more in ([], ["--restart"]):
            sentence = tool.refuses(SYSTEM, *arguments, *more)
            assert str(output) in sentence and "another process" in sentence
    finally:
        first.send_signal(signal.SIGCONT)
    _, err = first.communicate(timeout=TIMEOUT)
    assert first.returncode == 0, err
    check_result(output, straight)


def test_an_older_result_stays_until_the_new_one_is_whole(tool, demo_model, unfinished):
    output, pictures = unfinished
    output.write_bytes(b"an older result")
    pictures[12].write_bytes(b"broken")
    tool.run(*command(demo_model, pictures, output), code=DATA)
    assert output.read_bytes() == b"an older result" and done(output) == 12
