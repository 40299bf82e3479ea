"""brainenc inspect: what a file is, and no crash on any file."""
import json
import os
import re
import struct

import pytest

from golden_cases import CASES
from support import CASE, DATA, DONE, GOLDEN, MISSING, USAGE, edit_checkpoint, rewrite_setting

CORRUPT = GOLDEN / "corrupt"
# What tests/golden/corrupt/README.md calls a control or a valid file; some others may be read or refused, if only correctly:
# big endian numbers, deep nesting, and 2.4e1 for the integer 24.
VALID = {"valid_reference.pth", "valid_handmade.pth", "valid_reference.safetensors", "valid_reference.npy", "fortran_order.npy"}
EITHER = {"big_endian.npy", "pickle_deep.pth", "float_offsets.safetensors"}


def inspect(tool, path, *options):
    return tool.run("inspect", path, *options).out.decode()


def test_a_checkpoint_says_what_it_predicts_and_what_is_missing(tool):
    path = CASE / "subj01/rois_all/checkpoint.pth"
    text = inspect(tool, path)
    assert text.startswith(f"{path}: a checkpoint")
    for words in ("300 left and 320 right vertices of subj01", "dinov2_q, enc_output_layer 1", "rois_all, 50 queries",
                  "16 heads", "width 96", "0.5552", "the backbone's weights (96 channels)", "ROI masks", "--data"):
        assert words in text
    assert re.search(r"supported +yes", text)


def test_a_checkpoint_of_another_kind_is_not_said_to_miss_anything(tool, tmp_path):
    path = tmp_path / "checkpoint.pth"
    rewrite_setting(CASE / "subj01/rois_all/checkpoint.pth", path, "rois_all", "rois_old")
    text = inspect(tool, path)
    assert re.search(r"supported +.*'rois_old' is not supported", text)
    assert "missing" not in text and "missing" not in json.loads(inspect(tool, path, "--json"))


def without(name):
    return lambda model: model.pop(name)


LACKING = {  # a checkpoint of the golden variants, changed arguments, changed tensors
    "a norm": ("dinov2q_enc3", {}, without("transformer.decoder.norm.weight")),
    "a bias of the readout": ("linear_q_cls", {}, without("rh_embed.0.bias")),
    "a layer in the arguments": ("dec_layers2", {"dec_layers": 1}, lambda model: None),
    "maps": ("spatial_rois", {"nheads": 16, "image_size": 224},
             lambda model: model.update({"lh_embed.0.weight": model["lh_embed.0.weight"][:, :64]})),
}


def check_agreement(tool, path, data, output):
    """What `inspect` says of a checkpoint is what `import` does with it."""
    said = json.loads(inspect(tool, path, "--json"))
    result = tool.run("import", path, "--data", data, "-o", output, code=(DONE, USAGE, DATA))
    assert said["supported"] == ("yes" if result.code == DONE else result.lines[-1].removeprefix("brainenc: "))
    assert ("missing" in said) == (result.code == DONE)


@pytest.mark.parametrize("case", [case for case in CASES if case.checkpoint], ids=lambda case: case.name)
def test_of_golden_checkpoints_it_says_what_an_import_does(tool, tmp_path, case):
    check_agreement(tool, case.folder / case.checkpoint, case.data, tmp_path / "out.safetensors")


@pytest.mark.parametrize("which", LACKING)
def test_of_checkpoints_that_lack_something_it_says_what_an_import_does(tool, tmp_path, which):
    name, args, change = LACKING[which]
    edit_checkpoint(GOLDEN / "variants" / name / "checkpoint.pth", tmp_path / "checkpoint.pth", args, change)
    check_agreement(tool, tmp_path / "checkpoint.pth", CASE / "algonauts/subj01", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_of_a_learned_position_it_names_the_tables_that_nobody_saved(tool, tmp_path):
    path = GOLDEN / "variants/pos_learned/checkpoint.pth"
    check_agreement(tool, path, CASE / "algonauts/subj01", tmp_path / "out.safetensors")
    assert "'model.backbone_model.1.row_embed.weight' is missing" in inspect(tool, path)
    assert "model.backbone_model.1.row_embed.weight" in inspect(tool, path.with_name("checkpoint_with_position_table.pth"),
                                                                "--tensors")


@pytest.mark.parametrize("name, features, encoder", [
    ("variants/linear_q", "dinov2_q, enc_output_layer 1", "linear"),
    ("variants/spatial_rois", "dinov2_q, enc_output_layer 1", "spatial_feature"),
    ("clip/transformer_rois", "clip", "transformer, 0 encoder and 1 decoder layers, 16 heads, width 96, sine position"),
    ("clip/linear_cls", "clip_cls", "linear"), ("resnet/resnet50_dilation", "resnet50, dilated", None),
    ("resnet/resnet18", "resnet18", None),
])
def test_settings_are_told_that_mean_something(tool, name, features, encoder):
    found = json.loads(inspect(tool, GOLDEN / name / "checkpoint.pth", "--json"))
    assert found["features"] == features and encoder in (None, found["encoder"])


@pytest.mark.parametrize("name, features, encoder", [
    ("resnet/resnet50_dilation", "resnet50 dilated", "transformer, 16 heads; rois_all, 50 queries"),
    ("clip/spatial_rois", "clip", "spatial_feature; rois_all, 50 queries"),
    ("clip/linear_cls", "clip_cls", "linear; rois_all, 1 query"),
    ("variants/dinov2q_enc3", "dinov2_q layer 3", "transformer, 16 heads; rois_all, 50 queries"),
])
def test_of_a_subject_too(tool, tmp_path, name, features, encoder):
    out = tmp_path / "out.safetensors"
    said = tool.run("import", GOLDEN / name / "checkpoint.pth", "--data", CASE / "algonauts/subj01", "-o", out).out.decode()
    found = json.loads(inspect(tool, out, "--json"))
    assert said.splitlines()[0].endswith(f", features {features}") and found["features"].startswith(f"{features}, ")
    assert found["encoder"] == encoder


def test_a_checkpoint_of_another_layer_is_told_apart(tool):
    text = inspect(tool, GOLDEN / "variants/dinov2q_enc3/checkpoint.pth")
    assert "dinov2_q, enc_output_layer 3" in text


@pytest.mark.parametrize("name, naming", [("dinov2_small_pretrain.pth", "Meta's names"),
                                          ("dinov2_small.safetensors", "Hugging Face's names")])
def test_a_backbone_is_recognised_in_both_namings(tool, name, naming):
    text = inspect(tool, CASE / name)
    for words in ("a vision backbone", "dinov2", naming, "width 96, 4 blocks, 12 heads", "feed-forward 384",
                  "patches of 14 pixels", "37 x 37"):
        assert words in text
    assert ("unverified" in text) == (name == "dinov2_small_pretrain.pth")  # only config.json tells the number of heads


@pytest.mark.parametrize("name, naming", [("open_clip_narrow.pth", "OpenAI's names"),
                                          ("clip_vision_narrow.safetensors", "Hugging Face's names")])
def test_clip_is_recognised_in_both_namings(tool, name, naming):
    text = inspect(tool, GOLDEN / "clip" / name)
    for words in ("a vision backbone", "(clip)", naming, "width 128, 3 blocks, 2 heads", "feed-forward 512 (quick_gelu)",
                  "16 x 16, for pictures of 224 x 224 pixels alone", "clip, clip_cls; 96 channels"):
        assert words in text
    assert "unverified" not in text


def test_the_features_of_dinov2_are_listed(tool):
    text = inspect(tool, CASE / "dinov2_small.safetensors")
    assert "dinov2_q, dinov2, dinov2_q_cls, dinov2_cls/first-patch, dinov2_cls/class-token, at any layer; 96 channels" in text


@pytest.mark.parametrize("name, shape", [("resnet18", "64 channels, 8 blocks"), ("resnet50", "256 channels, 16 blocks")])
def test_a_residual_network_tells_of_no_heads_and_no_positions(tool, name, shape):
    text = inspect(tool, GOLDEN / f"resnet/{name}_narrow.pth")
    for words in ("a vision backbone", f"{name}_width8 (resnet) in torchvision's names", shape, "32 x 32 pixels", "layer4"):
        assert words in text
    for words in ("heads", "positions", "unverified"):
        assert words not in text


def test_backbone_heads_tells_what_the_file_does_not(tool):
    text = inspect(tool, CASE / "dinov2_small_pretrain.pth", "--backbone-heads", 6)
    assert "6 heads" in text and "unverified" not in text
    assert "7 heads" in tool.refuses(USAGE, "inspect", CASE / "dinov2_small_pretrain.pth", "--backbone-heads", 7)


@pytest.mark.parametrize("name", ["dinov2_small_legacy.pth", "dinov2_small_f16.pth", "dinov2_small_bf16.pth"])
def test_older_and_smaller_formats_of_a_backbone_are_read(tool, name):
    assert "width 96, 4 blocks" in inspect(tool, GOLDEN / "legacy_pth" / name)


def test_a_subject_lists_its_rois(tool, subject, demo):
    text = inspect(tool, subject)
    assert text.startswith(f"{subject}: a subject\n")
    assert re.search(r"^  mTL-faces +16 left, 0 right, floc-faces$", text, re.M)
    assert re.search(r"^  rest +39 left, 42 right$", text, re.M)
    assert "300 left and 320 right vertices" in text
    assert "demo: random weights" in inspect(tool, demo / "subj01.safetensors")


def test_arrays_and_pictures_tell_their_shape(tool):
    assert "F32 [2][50][961]" in inspect(tool, CASE / "expected/attention.npy")
    assert "I64 [3][4]" in inspect(tool, CORRUPT / "fortran_order.npy")
    assert re.search(r"PNG.*\n.*500 x 333", inspect(tool, CASE / "images/c_500x333.png"))


def test_tensors_are_listed_when_asked(tool):
    path = CASE / "dinov2_small_pretrain.pth"
    assert "blocks.3.attn.qkv.weight" not in inspect(tool, path)
    assert re.search(r"blocks\.3\.attn\.qkv\.weight +F32 \[288\]\[96\]", inspect(tool, path, "--tensors"))


def test_json_is_one_object_a_file(tool, subject):
    paths = [CASE / "subj01/rois_all/checkpoint.pth", CASE / "dinov2_small.safetensors", subject,
             CASE / "expected/attention.npy", CASE / "images/a_425.png", CORRUPT / "valid_reference.safetensors"]
    answers = [json.loads(line) for line in tool.run("inspect", *paths, "--json").out.splitlines()]
    assert [a["file"] for a in answers] == [str(p) for p in paths]
    assert all(a["kind"] for a in answers)
    assert answers[0]["predicts"] == "300 left and 320 right vertices of subj01" and answers[0]["supported"] == "yes"
    with_tensors = json.loads(inspect(tool, subject, "--json", "--tensors"))
    assert "members.0.query_embed.weight" in json.dumps(with_tensors)


@pytest.mark.parametrize("path", sorted(CORRUPT.iterdir()), ids=lambda path: path.name)
def test_a_damaged_file_is_refused_in_one_sentence(tool, path):
    wanted = DONE if path.name in VALID else (DONE, DATA) if path.name in EITHER else DATA
    result = tool.run("inspect", path, code=wanted)
    if result.code == DATA:
        assert result.out == b"" and len(result.lines) == 1 and result.lines[0].startswith(f"brainenc: {path}: ")
    as_json = tool.run("inspect", path, "--json", code=result.code)
    assert as_json.err == result.err
    if result.code == DONE:
        json.loads(as_json.out)


def test_a_missing_file_is_told_apart_from_a_damaged_one(tool, tmp_path):
    assert str(tmp_path / "no.pth") in tool.refuses(MISSING, "inspect", tmp_path / "no.pth")
    tool.refuses(USAGE, "inspect")


def test_a_folder_is_refused(tool, tmp_path):
    assert str(tmp_path) in tool.run("inspect", tmp_path, code=(1, DATA)).lines[0]


def test_one_bad_file_does_not_hide_the_others(tool):
    result = tool.run("inspect", CORRUPT / "empty.pth", CASE / "images/a_425.png", code=DATA)
    assert b"425 x 425" in result.out and "empty.pth" in result.err


def write_one_tensor(path, name):
    header = json.dumps({name: {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0")


def test_names_in_a_file_cannot_command_a_terminal(tool, tmp_path):
    path = tmp_path / "evil.safetensors"
    write_one_tensor(path, "\x1b[2Jevil\r\n")
    result = tool.run("inspect", path, "--tensors", code=(DONE, DATA))
    assert not {"\x1b", "\r"} & set(result.out.decode() + result.err)


def test_a_name_of_a_file_cannot_command_a_terminal(tool, tmp_path):
    path = tmp_path / "evil\x9b31m\u202egnp\x1b[2J.safetensors"
    write_one_tensor(path, "evil\x9b31m")
    text = inspect(tool, path, "--tensors")
    assert text.startswith(f"{tmp_path}/evil?31m?gnp?[2J.safetensors: ") and re.search(r"^  evil\?31m +U8 \[1\]$", text, re.M)
    sentence = tool.refuses(MISSING, "inspect", f"{path}\x9b2J")
    assert f"{tmp_path}/evil?31m?gnp?[2J.safetensors?2J: " in sentence
    assert "'no\u00ebl?2J'" in tool.refuses(USAGE, "no\u00ebl\x9b2J")
    raw = os.fsencode(tmp_path) + b"/raw\x9b2J\xff"
    assert f"{tmp_path}/raw?2J?: " in tool.refuses(MISSING, "inspect", raw)


def test_a_long_name_is_listed_whole(tool, tmp_path):
    path = tmp_path / "long.safetensors"
    write_one_tensor(path, "n" * 2000)
    assert "n" * 2000 in inspect(tool, path, "--tensors")
