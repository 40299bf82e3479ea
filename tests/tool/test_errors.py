"""What goes wrong in a run, and what a user is told."""
import json
import os
import resource
import signal

import numpy as np
import pytest

from support import CASE, DATA, GOLDEN, MISSING, PARTIAL, PICTURES, SYSTEM, USAGE, read_safetensors, write_pictures

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


# --- bench --------------------------------------------------------------------------------------


def test_bench_measures_a_demo(tool, demo):
    text = tool.run("bench", "--demo", demo, "--rounds", "1").out.decode()
    assert "bare products" in text and "ratio" in text
    answer = tool.run("bench", "--demo", demo, "--rounds", "1", "--json", "--threads", "1", "--against", demo).json()
    assert answer["one"]["against_ratio"] == pytest.approx(answer["one"]["whole_ms"] / answer["one"]["against_ms"], rel=0.01)
    assert (answer["threads"], answer["rounds"], answer["grid"], answer["picture"]) == (1, 1, [31, 31], [425, 425])
    assert (answer["vertices"], answer["members"], answer["subjects"]) == ([1000, 1100], 1, 1)
    for part in (answer["one"], answer["stream"]):
        assert part["bare_ms"] > 0 and part["ratio"] > 0


def test_bench_tells_the_fastest_and_the_slowest_round(tool, demo):
    answer = tool.run("bench", "--demo", demo, "--rounds", "4", "--json", "--threads", "1", "--against", demo).json()
    one, stream = answer["one"], answer["stream"]
    measured = [(row, "ms") for row in answer["rows"] if row["name"] != "load"]
    measured += [(part, key) for part, keys in ((one, ["whole_ms", "bare_ms", "ratio", "against_ms", "against_ratio"]),
                                                (stream, ["image_ms", "bare_ms", "ratio"])) for key in keys]
    for part, key in measured:
        assert 0 <= part[f"{key}_least"] <= part[key] <= part[f"{key}_most"], (part, key)
    assert one["whole_ms_least"] < one["whole_ms_most"] and "ms_least" not in answer["rows"][0]
    for part, ratio, above, below in ((one, "ratio", "whole_ms", "bare_ms"), (one, "against_ratio", "whole_ms", "against_ms"),
                                      (stream, "ratio", "image_ms", "bare_ms")):  # of what one round measured in turn
        assert part[f"{ratio}_least"] >= 0.99 * part[f"{above}_least"] / part[f"{below}_most"]
        assert part[f"{ratio}_most"] <= 1.01 * part[f"{above}_most"] / part[f"{below}_least"]


STAGES = ["embed", "project", "attend", "feed_forward", "features", "encode", "read_out"]


@pytest.mark.parametrize("precision", ["f32", "bf16", "bf16x3"])
def test_bench_compares_each_stage_with_the_peak(tool, demo, precision):
    answer = tool.run("bench", "--demo", demo, "--rounds", "1", "--json", "--threads", "1", "--precision", precision).json()
    rows, peak = {row["name"]: row for row in answer["rows"]}, answer["peak"]
    assert list(rows) == ["load", "decode", *STAGES, "answer", "whole", "stream"]
    assert peak["reading_gb_s"] > 0 and (precision != "f32" or peak["f32"] == peak["precision"])
    assert sum(rows[name].get("gflop", 0) for name in STAGES) == pytest.approx(answer["gflop"], abs=0.002)
    assert rows["whole"]["gflop"] == rows["stream"]["gflop"] == pytest.approx(answer["gflop"], abs=0.001)
    for name, row in rows.items():
        seconds = 1e-3 * row["ms"]
        assert seconds > 0
        if "gflop" in row:
            assert row["gflop_s"] == pytest.approx(row["gflop"] / seconds, rel=0.02, abs=0.02)
        if "bytes" in row:
            assert row["gb_s"] == pytest.approx(1e-9 * row["bytes"] / seconds, rel=0.02, abs=0.002)
        assert ("peak_percent" in row) == (name not in ("decode", "answer"))
    of_a_product = peak["precision"]["gflop_s"] / (3 if precision == "bf16x3" else 1)
    for name in STAGES[:-1]:
        most = peak["f32"]["gflop_s"] if name == "embed" else of_a_product  # patches are embedded in f32
        assert rows[name]["peak_percent"] == pytest.approx(100 * rows[name]["gflop_s"] / most, rel=0.03, abs=0.05)
    readout = 2100 * (128 + 1) * 4  # 1,000 + 1,100 vertices, each with 128 weights and a bias
    assert rows["read_out"]["bytes"] == pytest.approx(readout, rel=0.02)
    assert rows["read_out"]["peak_percent"] == pytest.approx(100 * rows["read_out"]["gb_s"] / peak["reading_gb_s"], rel=0.05)
    assert rows["answer"]["bytes"] > 2 * 2100  # a number and a comma a vertex



def operations(cells, subjects):
    """Of one image's matrix products with the golden backbone: width 96, 4 blocks, feed-forward part of 384, patches of 14
    pixels; `subjects` gives each one's layer, queries and width of the feed-forward part."""
    width, tokens, deepest = 96, cells + 1, 4 - min(layer for layer, *_ in subjects)
    block = tokens * 4 * width**2 + 2 * tokens**2 * width + tokens * 2 * width * 384
    encoders = [cells * 2 * width**2 + 2 * queries * cells * width + queries * (width**2 + 2 * width * hidden)
                for _, queries, hidden in subjects]
    embedding, features = cells * width * 3 * 14**2, cells * width**2  # of the deepest layer; the others' are in their blocks
    return 2 * (embedding + deepest * block + features + sum(encoders))


def test_bench_counts_the_products_of_every_subject(tool, subject, tmp_path):
    about, options = [], ["--backbone", CASE / "dinov2_small.safetensors", "--rounds", "1", "--json"]
    for name, checkpoint in (("a", "dinov2_q_rois/subj01/rois_all"), ("b", "variants/dinov2q_enc3"),
                             ("c", "dinov2_q_rois/subj01/rois_all")):
        path = tmp_path / f"{name}.safetensors"
        tool.run("import", GOLDEN / checkpoint / "checkpoint.pth", "--data", CASE / "algonauts/subj01", "--name", name, "-o", path)
        tensors, metadata = read_safetensors(path)
        (member,) = json.loads(metadata["brainenc"])["members"]
        about.append((member["layer"], len(tensors["members.0.query_embed.weight"]),
                      len(tensors["members.0.transformer.decoder.layers.0.linear1.weight"])))
        options += ["--subject", path]
        answer = tool.run("bench", A, *options).json()
        assert answer["gflop"] == pytest.approx(1e-9 * operations(31 * 31, about), abs=0.0006)
    assert len({layer for layer, *_ in about}) == 2


def test_bench_refuses_what_is_missing(tool, demo, tmp_path):
    assert "--demo" in tool.refuses(USAGE, "bench")
    assert "--rounds" in tool.refuses(USAGE, "bench", "--demo", demo, "--rounds", "0")
    assert str(tmp_path) in tool.refuses(MISSING, "bench", "--demo", tmp_path)
    assert "'bf17'" in tool.refuses(USAGE, "bench", "--demo", demo, "--against", demo, "--against-precision", "bf17")
