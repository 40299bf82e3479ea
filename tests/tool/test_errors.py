"""What goes wrong in a run, and what a user is told."""
import json
import os
import resource
import signal

import numpy as np
import pytest

from support import CASE, DATA, GOLDEN, MISSING, PARTIAL, PICTURES, SYSTEM, USAGE, write_pictures

A = PICTURES / "a_425.png"
COMMANDS = ["predict", "attention", "import", "inspect", "demo", "bench"]


# --- the command line itself --------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_usage_and_an_example(tool, command):
    text = tool.run(command, "--help").out.decode()
    assert text.startswith(f"usage: brainenc {command} ") and f"brainenc {command} " in text.split("example: ")[1]
    assert tool.run(command, "-h").out.decode() == text
    assert tool.run(command, "picture.png", "--help").out.decode() == text


def test_help_lists_the_commands_and_the_exit_codes(tool):
    text = tool.run("--help").out.decode()
    assert all(f"\n  {command} " in text for command in COMMANDS) and "exit codes" in text
    assert tool.run("help").out == tool.run("-h").out == tool.run("--help").out


def test_version_is_told(tool):
    assert tool.run("--version").out.decode().startswith("brainenc 0.")


def test_without_a_command_the_help_is_shown(tool):
    process = tool.start()
    out, _ = process.communicate()
    assert process.returncode == USAGE and b"usage: brainenc" in out


def test_an_unknown_command_is_named(tool):
    assert "'perdict'" in tool.refuses(USAGE, "perdict", A)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_named(tool, command):
    assert "--colour" in tool.refuses(USAGE, command, "--colour", "red")
    assert "'x'" in tool.refuses(USAGE, command, "-x")


@pytest.mark.parametrize("arguments, word", [
    (["--on-error", "ignore"], "'ignore'"), (["--output", "voxels"], "'voxels'"), (["-o", "out.csv"], "'out.csv'"),
    (["-o", "out.json", "--json"], "--json"), (["--attention", "EBA"], "--attention"), (["--rois", "FBA,,EBA"], "empty name"),
    (["--subject"], "--subject"), (["--backbone-activation", "relu"], "'relu' is none of: auto, quick_gelu, gelu"),
    (["--backbone-activation", "gelu"], "is a dinov2 backbone, whose activation is no choice"),
])
def test_what_makes_no_sense_is_refused(tool, model, arguments, word):
    assert word in tool.refuses(USAGE, "predict", A, *model, *arguments)


def test_what_is_missing_is_named(tool, model, subject, tmp_path):
    backbone = CASE / "dinov2_small.safetensors"
    assert "no picture" in tool.refuses(USAGE, "predict", *model)
    assert "--backbone" in tool.refuses(USAGE, "predict", A, "--subject", subject)
    assert "--subject" in tool.refuses(USAGE, "predict", A, "--backbone", backbone)
    for path in (tmp_path / "no.file", backbone / "no.file"):
        assert str(path) in tool.refuses(MISSING, "predict", A, "--backbone", path, "--subject", subject)
        assert str(path) in tool.refuses(MISSING, "predict", A, "--backbone", backbone, "--subject", path)
        assert str(path) in tool.refuses(MISSING, "predict", path, *model)


def test_a_folder_in_a_files_place_is_told(tool, demo, subject):
    assert f"{demo}: is a folder" in tool.refuses(DATA, "inspect", demo)
    assert f"{demo}: is a folder" in tool.refuses(DATA, "predict", A, "--backbone", demo, "--subject", subject)
    assert f"{demo}: is a folder" in tool.refuses(DATA, "predict", A, "--backbone", CASE / "dinov2_small.safetensors", "--subject",
                                                  demo)


def test_two_subjects_of_one_name_are_told_how_to_differ(tool, model, subject):
    assert "`brainenc import --name`" in tool.refuses(USAGE, "predict", A, *model, "--subject", subject)


@pytest.mark.parametrize("command", ["predict", "import", "inspect"])
def test_a_wrong_command_line_is_shown_the_way_to_the_commands_help(tool, command):
    assert tool.refuses(USAGE, command).endswith(f"(see `brainenc {command} --help`)")


def test_files_in_each_others_place_are_told_apart(tool, demo, subject):
    backbone, checkpoint = CASE / "dinov2_small.safetensors", CASE / "subj01/rois_all/checkpoint.pth"
    assert str(subject) in tool.refuses(DATA, "predict", A, "--backbone", subject, "--subject", subject)
    assert "brainenc import" in tool.refuses(DATA, "predict", A, "--backbone", backbone, "--subject", checkpoint)
    assert str(backbone) in tool.refuses(DATA, "predict", backbone, "--backbone", backbone, "--subject", subject)
    other = tool.refuses(DATA, "predict", A, "--backbone", backbone, "--subject", demo / "subj01.safetensors")
    assert "128" in other and "96" in other


# --- pictures -----------------------------------------------------------------------------------


@pytest.fixture()
def pictures(tmp_path):
    """Ten pictures, the seventh of them cut off."""
    paths = write_pictures(tmp_path / "pictures", 10, 28)
    paths[6].write_bytes(paths[6].read_bytes()[:-30])
    return paths


def test_a_broken_picture_stops_the_run_and_what_came_before_is_kept(tool, demo_model, pictures, tmp_path):
    output = tmp_path / "out.npy"
    result = tool.run("predict", *pictures, *demo_model, "-o", output, "--fit", "native", code=DATA)
    assert result.lines[-1].startswith(f"brainenc: {pictures[6]}: ")
    assert "6 of 10 images are kept" in result.lines[-2] and "--on-error=nan" in result.lines[-2]
    assert not output.exists()

    whole = write_pictures(tmp_path / "whole", 10, 28)
    pictures[6].write_bytes(whole[6].read_bytes())
    resumed = tool.run("predict", *pictures, *demo_model, "-o", output, "--fit", "native")
    assert "goes on after 6 of 10 images" in resumed.lines[0]
    tool.run("predict", *whole, *demo_model, "-o", tmp_path / "whole.npy", "--fit", "native")
    assert output.read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_a_stopped_run_goes_on_past_a_broken_picture(tool, demo_model, pictures, tmp_path):
    arguments = ["predict", *pictures, *demo_model, "--fit", "native", "--threads", "1"]
    tool.run(*arguments, "-o", tmp_path / "stopped.npy", code=DATA)
    tool.run(*arguments, "-o", tmp_path / "stopped.npy", "--on-error", "nan", code=PARTIAL)
    tool.run(*arguments, "-o", tmp_path / "straight.npy", "--on-error", "nan", code=PARTIAL)
    assert (tmp_path / "stopped.npy").read_bytes() == (tmp_path / "straight.npy").read_bytes()


def test_a_run_that_kept_nothing_leaves_nothing(tool, demo_model, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    missing = tmp_path / "no.png"
    assert str(missing) in tool.refuses(MISSING, "predict", missing, *demo_model, "-o", folder / "out.npy")
    assert list(folder.iterdir()) == []


def test_with_on_error_nan_a_broken_picture_leaves_an_empty_row(tool, demo_model, pictures, tmp_path):
    output = tmp_path / "out.npy"
    missing = tmp_path / "missing.png"
    result = tool.run("predict", *pictures, missing, *demo_model, "-o", output, "--fit", "native", "--on-error", "nan",
                      code=PARTIAL)
    rows = np.load(output)
    assert rows.shape == (11, 2100)
    assert np.isnan(rows[[6, 10]]).all() and np.isfinite(np.delete(rows, [6, 10], axis=0)).all()
    failed = json.loads((tmp_path / "out.npy.json").read_text())["failed"]
    assert [f["image"] for f in failed] == [str(pictures[6]), str(missing)]
    for failure in failed:
        assert failure["error"].startswith(failure["image"]) and f"brainenc: {failure['error']}" in result.lines


@pytest.mark.parametrize("to", ["file", "standard output"])
def test_with_on_error_nan_the_json_lists_what_failed(tool, demo_model, pictures, tmp_path, to):
    arguments = ["predict", *pictures, *demo_model, "--fit", "native", "--on-error", "nan"]
    if to == "file":
        tool.run(*arguments, "-o", tmp_path / "out.json", code=PARTIAL)
        answer = json.loads((tmp_path / "out.json").read_text())
    else:
        answer = tool.run(*arguments, "--json", code=PARTIAL).json()
    assert [p["image"]["name"] for p in answer["predictions"]] == [str(p) for p in pictures if p != pictures[6]]
    (failure,) = answer["failed"]
    assert failure["image"] == str(pictures[6]) and failure["error"].startswith(f"{pictures[6]}: ")


def test_with_on_error_nan_nothing_but_broken_pictures_is_no_crash(tool, demo_model, tmp_path):
    arguments = ["predict", "a.png", "b.png", *demo_model, "--on-error", "nan"]
    assert tool.run(*arguments, "--json", code=PARTIAL).json()["predictions"] == []
    tool.run(*arguments, "-o", tmp_path / "out.npy", code=PARTIAL)
    assert np.isnan(np.load(tmp_path / "out.npy")).all()


@pytest.mark.parametrize("name", ["truncated.png", "bad_crc.png", "zero_width.png", "empty.png", "text.png", "truncated.jpg",
                                  "bomb_30000x30000.png"])
def test_every_damaged_picture_is_refused(tool, demo_model, name):
    path = GOLDEN / "corrupt" / name
    for command in (["predict", path], ["attention", path, "--roi", "EBA"]):
        assert tool.refuses(DATA, *command, *demo_model).startswith(f"brainenc: {path}: ")


def test_an_empty_folder_is_refused(tool, demo_model, tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    assert str(tmp_path) in tool.refuses(MISSING, "predict", tmp_path, *demo_model)


def test_a_pipe_in_the_place_of_a_picture_is_not_waited_for(tool, demo_model, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert "pipe.png" in tool.refuses(SYSTEM, "predict", tmp_path / "pipe.png", *demo_model)


# --- output -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["out.npy", "out.json"])
def test_an_output_that_cannot_be_written_is_named_before_any_work(tool, demo_model, tmp_path, name):
    (tmp_path / "file").write_text("no folder")
    (tmp_path / name).mkdir()
    for output in (tmp_path / "nowhere" / name, tmp_path / "file" / name, tmp_path / name):
        sentence = tool.refuses(SYSTEM, "predict", A, *demo_model, "-o", output)
        assert str(output) in sentence
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["file", name])


@pytest.mark.parametrize("name", ["map.npy", "map.json", "map.png"])
def test_a_map_that_cannot_be_written_is_named(tool, demo, demo_model, tmp_path, name):
    output = tmp_path / "nowhere" / name
    assert str(output) in tool.refuses(SYSTEM, "attention", demo / "picture.png", *demo_model, "--roi", "EBA", "-o", output)


def small_files():
    """Called in the child: writing beyond 100000 bytes fails, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))


def read_answer(path):
    """The rows of an .npy, or the JSON without the times, which differ from run to run."""
    if path.suffix == ".npy":
        return path.read_bytes()
    answer = json.loads(path.read_text())
    for prediction in answer.get("predictions", []):
        del prediction["timing_ms"]
    return answer


@pytest.mark.parametrize("name", ["out.npy", "out.json"])
def test_a_full_disk_is_an_error_and_the_run_goes_on_with_more_space(tool, demo_model, tmp_path, name):
    pictures = write_pictures(tmp_path / "pictures", 40, 28)
    pictures[3].write_bytes(b"broken")
    arguments = ["predict", *pictures, *demo_model, "--fit", "native", "--on-error", "nan"]
    folder, straight = tmp_path / "out", tmp_path / "straight"
    folder.mkdir()
    straight.mkdir()
    result = tool.run(*arguments, "-o", folder / name, code=SYSTEM, preexec_fn=small_files, restore_signals=False)
    assert f"{folder / name}.partial" in result.lines[-1] and "written" in result.lines[-1]
    assert not (folder / name).exists()
    tool.run(*arguments, "-o", folder / name, code=PARTIAL)
    tool.run(*arguments, "-o", straight / name, code=PARTIAL)
    got, want = ({path.name: read_answer(path) for path in where.iterdir()} for where in (folder, straight))
    assert got == want
    (failed,) = [answer["failed"] for answer in got.values() if isinstance(answer, dict)]
    assert [failure["image"] for failure in failed] == [str(pictures[3])]


@pytest.mark.parametrize("command", ["--help", "--version", "predict --help", "predict", "predict --json", "attention",
                                     "inspect", "inspect --json", "import", "demo", "bench"])
def test_a_full_disk_behind_standard_output_is_an_error(tool, demo, demo_model, tmp_path, command):
    picture = demo / "picture.png"
    arguments = {
        "predict": ["predict", picture, *demo_model], "predict --json": ["predict", picture, *demo_model, "--json"],
        "attention": ["attention", picture, *demo_model, "--roi", "EBA"], "inspect": ["inspect", picture],
        "inspect --json": ["inspect", picture, "--json"], "demo": ["demo", "-o", tmp_path / "demo"],
        "import": ["import", demo / "checkpoint.pth", "--data", demo / "algonauts/subj01", "-o", tmp_path / "s.safetensors"],
        "bench": ["bench", "--demo", demo, "--rounds", "1"],
    }.get(command, command.split())
    with open("/dev/full", "wb") as full:
        assert "standard output" in tool.refuses(SYSTEM, *arguments, stdout=full)
