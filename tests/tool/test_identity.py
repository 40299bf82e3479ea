"""What an answer says of the model that computed it, in whatever form it is written: another model, another identity."""
import json

import pytest

from golden_cases import GOLDEN, SMALL, SUBJ01
from support import USAGE, edit_checkpoint, read_gifti

CLIP, RESNET = GOLDEN / "clip/open_clip_narrow.pth", GOLDEN / "resnet/resnet18_narrow.pth"
ASKED = {"as published": [], "gelu": ["--backbone-activation", "gelu"], "heads": ["--backbone-heads", "4"],
         "bf16": ["--precision", "bf16"]}
# The golden tower's 2 heads of 64 channels and OpenAI's activation, unless the options say otherwise.
WANTED = {name: {"backbone": "clip_vit128x3", "backbone_heads": 2, "backbone_activation": "quick_gelu",
                 "precision": "f32"} | changed
          for name, changed in (("as published", {}), ("gelu", {"backbone_activation": "gelu"}), ("heads", {"backbone_heads": 4}),
                                ("bf16", {"precision": "bf16"}))}


@pytest.fixture(scope="module")
def subject(tool, tmp_path_factory):
    path = tmp_path_factory.mktemp("identity") / "subject.safetensors"
    tool.run("import", GOLDEN / "clip/transformer_rois/checkpoint.pth", "--data", SUBJ01, "-o", path)
    return path


def facts(found, names):
    return {name: found[name] for name in names}


def test_what_changes_the_numbers_changes_the_id(tool, subject):
    answers = {name: tool.run("predict", SMALL[0], "--json", "--backbone", CLIP, "--subject", subject,
                              *options).json()["predictions"][0]
               for name, options in ASKED.items()}
    assert len({answer["id"] for answer in answers.values()}) == len(ASKED)
    assert len({json.dumps(answer["lh"]["vertices"]) for answer in answers.values()}) == len(ASKED)
    for name, answer in answers.items():
        assert facts(answer["model"], WANTED[name]) == WANTED[name]


@pytest.mark.parametrize("name", ASKED)
def test_files_say_what_computed_them(tool, subject, tmp_path, name):
    model = ["--backbone", CLIP, "--subject", subject, *ASKED[name]]
    told = tool.run("predict", SMALL[0], "--json", *model).json()["predictions"][0]["model"]
    tool.run("predict", SMALL[0], *model, "-o", tmp_path / "x.npy")
    tool.run("predict", SMALL[0], *model, "-o", tmp_path / "x.func.gii")
    description = json.loads((tmp_path / "x.npy.json").read_text())
    metadata = read_gifti((tmp_path / "x.lh.func.gii").read_bytes()).meta
    keys = [*WANTED[name], "backbone_weights", "weights", "version"]
    assert facts(description, keys) == facts(told, keys)
    assert facts(metadata, keys) == {key: str(value) for key, value in facts(told, keys).items()}


def test_heads_against_the_rule_of_published_backbones_are_not_verified(tool, subject):
    for heads, marked in (("2", False), ("4", True), ("1", True)):
        answer = tool.run("predict", SMALL[0], "--json", "--backbone", CLIP, "--subject", subject, "--backbone-heads", heads).json()
        notes = answer["predictions"][0]["model"].get("unverified", [])
        assert any(f"{heads} attention heads for width 128" in note for note in notes) == marked
        assert ("unverified" in tool.run("inspect", CLIP, "--json", "--backbone-heads", heads).json()) == marked


def test_the_table_says_it_before_its_header(tool, tmp_path):
    edit_checkpoint(GOLDEN / "clip/transformer_rois/checkpoint.pth", tmp_path / "checkpoint.pth", {"nheads": 8})
    tool.run("import", tmp_path / "checkpoint.pth", "--data", SUBJ01, "-o", tmp_path / "subject.safetensors")
    lines = tool.run("predict", SMALL[0], "--backbone", CLIP, "--subject", tmp_path / "subject.safetensors",
                     "--backbone-heads", 4).out.decode().splitlines()
    assert [line.split(":")[0]
            for line in lines[1:3]] == ["  unverified"] * 2 and "nheads 8" in lines[1] and "4 attention heads" in lines[2]
    assert lines[3].split() == ["ROI", "lh", "mean", "n", "rh", "mean", "n"] and lines[4].startswith("  V1v")


def test_heads_of_a_backbone_without_any_are_refused(tool, tmp_path):
    subject = tmp_path / "subject.safetensors"
    tool.run("import", GOLDEN / "resnet/resnet18/checkpoint.pth", "--data", SUBJ01, "-o", subject)
    said = tool.refuses(USAGE, "predict", SMALL[0], "--backbone", RESNET, "--subject", subject, "--backbone-heads", "4")
    assert str(RESNET) in said and "no attention heads" in said and "--backbone-heads" in said
    assert "no attention heads" in tool.refuses(USAGE, "inspect", RESNET, "--backbone-heads", "4")
    found = tool.run("predict", SMALL[0], "--json", "--backbone", RESNET, "--subject", subject).json()["predictions"][0]["model"]
    assert (found["backbone_heads"], found["backbone_activation"]) == (0, "relu")
