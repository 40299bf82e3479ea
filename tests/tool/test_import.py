"""brainenc import: the authors' checkpoint to a subject file."""
import json
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from support import (CASE, DATA, FAMILIES, GOLDEN, MISSING, SYSTEM, USAGE, read_pth, read_rois, read_safetensors, rewrite_pth,
                     rewrite_setting)

CHECKPOINT, FOLDER = CASE / "subj01/rois_all/checkpoint.pth", CASE / "algonauts/subj01"
UNUSED = (".self_attn.", ".norm2.", ".memory_proj.")


@pytest.fixture()
def data(tmp_path):
    """A copy of the subject's folder, to be damaged."""
    return Path(shutil.copytree(FOLDER, tmp_path / "subj01"))


@pytest.fixture()
def output(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "subject.safetensors"


def refuse(tool, code, checkpoint, data, output):
    """The sentence of an import that must fail, and leave what was there as it was and nothing else."""
    output.write_bytes(b"an older file")
    sentence = tool.refuses(code, "import", checkpoint, "--data", data, "-o", output)
    assert output.read_bytes() == b"an older file" and list(output.parent.iterdir()) == [output]
    return sentence


# --- what is written ----------------------------------------------------------------------------


def test_import_says_what_it_made_and_whose_terms_apply(tool, output):
    text = tool.run("import", CHECKPOINT, "--data", FOLDER, "-o", output).out.decode()
    assert "subj01" in text and "300 left and 320 right" in text and "24 ROIs" in text and "dinov2_q layer 1" in text
    assert "terms of use apply" in text and "NSD" in text
    assert list(output.parent.iterdir()) == [output]


def test_the_encoders_tensors_are_the_checkpoints(subject):
    tensors, _ = read_safetensors(subject)
    wanted = {name: value for name, value in read_pth(CHECKPOINT)["model"].items() if not any(part in name for part in UNUSED)}
    members = {name: value for name, value in tensors.items() if name.startswith("members.")}
    assert set(members) == {f"members.0.{name}" for name in wanted}
    for name, value in wanted.items():
        got = members[f"members.0.{name}"]
        assert got.shape == value.shape and got.tobytes() == np.ascontiguousarray(value).tobytes(), name


def test_masks_and_surface_are_the_folders(subject):
    tensors, metadata = read_safetensors(subject)
    rois = read_rois(FOLDER)
    about = json.loads(metadata["brainenc"])
    assert [(r["name"], r["family"]) for r in about["rois"]] == [(name, family) for name, family, _ in rois[:-1]]
    for h in ("lh", "rh"):
        assert np.array_equal(tensors[f"masks.{h}"], [masks[h] for _, _, masks in rois[:-1]])
        surface = np.load(FOLDER / f"roi_masks/{h}.all-vertices_fsaverage_space.npy")
        assert np.array_equal(tensors[f"fsaverage.{h}"], np.flatnonzero(surface))
        assert about["fsaverage"][h] == len(surface) == 163842


def test_the_training_settings_are_kept(subject):
    about = json.loads(read_safetensors(subject)[1]["brainenc"])
    (member,) = about["members"]
    args = json.loads((CASE / "args.json").read_text())
    for key in ("backbone_arch", "readout_res", "lr", "epochs", "batch_size", "horizontal_flip", "hidden_dim"):
        assert member["training"][key] == args[key]
    assert abs(member["validation"] - float(args["val_perf"])) < 1e-12
    assert about["demo"] is False and about["unverified"] == ""


def test_paths_and_user_names_are_left_out(tool, tmp_path, output):
    checkpoint = tmp_path / "alice_checkpoint.pth"
    for objective, dataset in ((b"/home/alice/x!", b"/alice/a"), (b"C:\\Users\\alice", b"C:\\alice")):
        rewrite_pth(CHECKPOINT, checkpoint, {b"./nsd_project/results/": b"/home/alice/results///", b"nsd_algo": dataset,
                                             b"algonauts/subj01": b"alice_and/subj01", b"classification": objective})
        tool.run("import", checkpoint, "--data", FOLDER, "-o", output)
        written = output.read_bytes()
        for word in (b"alice", b"home", b"nsd_project", b"algonauts", b"submission", b"results", str(tmp_path).encode()):
            assert word not in written, word


def test_name_names_the_subject(tool, output):
    tool.run("import", CHECKPOINT, "--data", FOLDER, "-o", output, "--name", "Mary's")
    assert json.loads(read_safetensors(output)[1]["brainenc"])["subject"] == "Mary's"
    assert "--name" in tool.refuses(USAGE, "import", CHECKPOINT, "--data", FOLDER, "-o", output, "--name", "x" * 64)
    assert "--name" in tool.refuses(USAGE, "import", CHECKPOINT, "--data", FOLDER, "-o", output, "--name", "")


def test_an_import_twice_gives_the_same_bytes(tool, subject, output):
    tool.run("import", CHECKPOINT, "--data", FOLDER, "-o", output)
    assert output.read_bytes() == subject.read_bytes()


# --- what is refused ----------------------------------------------------------------------------


def test_wrong_command_lines_are_refused(tool, output):
    assert "--data" in tool.refuses(USAGE, "import", CHECKPOINT, "-o", output)
    assert "-o" in tool.refuses(USAGE, "import", CHECKPOINT, "--data", FOLDER)
    assert "0 checkpoints are named" in tool.refuses(USAGE, "import", "--data", FOLDER, "-o", output)


def test_a_missing_checkpoint_or_folder_is_named(tool, tmp_path, output):
    assert str(tmp_path / "no.pth") in refuse(tool, MISSING, tmp_path / "no.pth", FOLDER, output)
    assert str(tmp_path / "nowhere") in refuse(tool, MISSING, CHECKPOINT, tmp_path / "nowhere", output)


@pytest.mark.parametrize("name", ["mapping_floc-words.npy", "lh.floc-faces_challenge_space.npy",
                                  "rh.all-vertices_fsaverage_space.npy"])
def test_a_missing_file_of_the_folder_is_named(tool, data, output, name):
    (data / "roi_masks" / name).unlink()
    assert name in refuse(tool, MISSING, CHECKPOINT, data, output)


@pytest.mark.parametrize("name", ["mapping_floc-words.npy", "lh.floc-faces_challenge_space.npy",
                                  "rh.all-vertices_fsaverage_space.npy"])
def test_a_truncated_file_of_the_folder_is_named(tool, data, output, name):
    path = data / "roi_masks" / name
    path.write_bytes(path.read_bytes()[:-20])
    assert name in refuse(tool, DATA, CHECKPOINT, data, output)


def test_another_subjects_folder_is_refused(tool, tmp_path, output):
    """By its name, as most subjects have as many vertices as each other; else by the vertices."""
    other = GOLDEN / "variants/algonauts_tiny/subj02"
    sentence = refuse(tool, DATA, CHECKPOINT, other, output)
    assert "was trained on subject 1" in sentence and "subject 2's" in sentence
    shutil.copytree(other, tmp_path / "data")
    sentence = refuse(tool, DATA, CHECKPOINT, tmp_path / "data", output)
    assert "300" in sentence and "vertices" in sentence


def test_a_hemisphere_of_the_wrong_size_is_refused(tool, data, output):
    for family in FAMILIES:
        path = data / f"roi_masks/rh.{family}_challenge_space.npy"
        np.save(path, np.load(path)[:-1])
    sentence = refuse(tool, DATA, CHECKPOINT, data, output)
    assert "rh.all-vertices_fsaverage_space.npy" in sentence and "319" in sentence and "320" in sentence
    surface = data / "roi_masks/rh.all-vertices_fsaverage_space.npy"
    marks = np.load(surface)
    marks[np.flatnonzero(marks)[-1]] = 0
    np.save(surface, marks)
    sentence = refuse(tool, DATA, CHECKPOINT, data, output)
    assert "rh_embed" in sentence and "319" in sentence and "320" in sentence


def test_a_label_without_a_name_is_refused(tool, data, output):
    path = data / "roi_masks/lh.floc-words_challenge_space.npy"
    labels = np.load(path)
    labels[7] = 99
    np.save(path, labels)
    sentence = refuse(tool, DATA, CHECKPOINT, data, output)
    assert path.name in sentence and "99" in sentence and "vertex 7" in sentence


@pytest.mark.parametrize("path", [CASE / "dinov2_small_pretrain.pth", CASE / "dinov2_small.safetensors", CASE / "README.md",
                                  CASE / "images/a_425.png", GOLDEN / "corrupt/valid_reference.pth"])
def test_what_is_no_checkpoint_is_refused(tool, output, path):
    assert str(path) in refuse(tool, DATA, path, FOLDER, output)


@pytest.mark.parametrize("before, after", [("sine", "sone"), ("rois_all", "rois_old"), ("dinov2_q", "dinov2_x"),
                                           ("transformer", "transf0rmer")])
def test_an_unsupported_setting_is_named(tool, tmp_path, output, before, after):
    checkpoint = tmp_path / "checkpoint.pth"
    rewrite_setting(CHECKPOINT, checkpoint, before, after)
    assert f"'{after}'" in refuse(tool, DATA, checkpoint, FOLDER, output)


def test_a_folder_in_a_files_place_is_told(tool, output, tmp_path):
    sentence = tool.refuses(DATA, "import", tmp_path, "--data", FOLDER, "-o", output)
    assert f"{tmp_path}: is a folder" in sentence and "--ensemble" in sentence


def test_a_data_folder_that_is_not_there_is_named(tool, output, tmp_path):
    for path, missing in ((tmp_path / "nowhere", tmp_path / "nowhere:"), (tmp_path, tmp_path / "roi_masks:")):
        assert f"brainenc: {missing} there is no such folder" in tool.refuses(MISSING, "import", CHECKPOINT, "--data", path, "-o",
                                                                              output)


@pytest.mark.parametrize("name", ["x.pth", "safetensors"])
def test_an_output_of_another_kind_is_refused(tool, tmp_path, name):
    assert ".safetensors" in tool.refuses(USAGE, "import", CHECKPOINT, "--data", FOLDER, "-o", tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_output_folder_is_named(tool, tmp_path):
    output = tmp_path / "nowhere/subj01.safetensors"
    assert str(output) in tool.refuses(SYSTEM, "import", CHECKPOINT, "--data", FOLDER, "-o", output)


# --- hostile pickles ----------------------------------------------------------------------------


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def hostile_calls(marker):
    import builtins
    import os
    import subprocess
    return [("system", Call(os.system, f"touch {marker}")),
            ("builtins.eval", Call(builtins.eval, f"open({str(marker)!r}, 'w')")),
            ("builtins.open", Call(builtins.open, str(marker), "w")),
            ("subprocess.check_call", Call(subprocess.check_call, ["touch", str(marker)]))]


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("form", ["zip", "legacy", "mapping"])
def test_nothing_in_a_pickle_is_executed(tool, data, tmp_path, output, which, form):
    marker = tmp_path / "executed"
    name, call = hostile_calls(marker)[which]
    path, checkpoint = tmp_path / "hostile.pth", CHECKPOINT
    if form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps({"model": {}, "args": call}, protocol=2))
        checkpoint = path
    elif form == "legacy":
        path.write_bytes(pickle.dumps(call, protocol=2))
        checkpoint = path
    else:
        path = data / "roi_masks/mapping_floc-bodies.npy"
        np.save(path, np.array({0: "Unknown", 1: call}, object), allow_pickle=True)
    sentence = refuse(tool, DATA, checkpoint, data, output)
    assert path.name in sentence and name.split(".")[-1] in sentence
    assert not marker.exists()


@pytest.mark.parametrize("name", ["os_system.pth", "os_system_legacy.pth"])
def test_the_golden_hostile_files_are_refused_by_name(tool, output, name):
    sentence = refuse(tool, DATA, GOLDEN / "corrupt" / name, FOLDER, output)
    assert name in sentence and "os.system" in sentence


def test_the_golden_hostile_mapping_is_refused_by_name(tool, data, output):
    shutil.copy(GOLDEN / "corrupt/mapping_os_system.npy", data / "roi_masks/mapping_floc-bodies.npy")
    sentence = refuse(tool, DATA, CHECKPOINT, data, output)
    assert "mapping_floc-bodies.npy" in sentence and "os.system" in sentence
