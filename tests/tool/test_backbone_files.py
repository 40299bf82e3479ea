"""Backbones that are not whole, or not one: refused by a tensor's name, or marked where the file cannot tell."""
import json
import os
import shutil

import numpy as np
import pytest

from support import CASE, DATA, GOLDEN, SANITIZER, read_pth, write_pth

DINOV2, CLIP = CASE / "dinov2_small_pretrain.pth", GOLDEN / "clip/open_clip_narrow.pth"
RESNET18, RESNET50 = GOLDEN / "resnet/resnet18_narrow.pth", GOLDEN / "resnet/resnet50_narrow.pth"
PICTURE = CASE / "images/a_425.png"


def without(part):
    def change(tensors):
        for name in [name for name in tensors if part in name]:
            del tensors[name]
    return change


def with_tensors(*names):
    return lambda tensors: tensors.update({name: np.zeros((3, 3), np.float32) for name in names})


def with_those_of(other, prefix=""):
    return lambda tensors: tensors.update({prefix + name: values for name, values in read_pth(other).items()})


REFUSED = {  # the file, what is changed, what the sentence names
    "no first block": (DINOV2, without("blocks.0."), ["'blocks.0.mlp.fc1.weight' is missing"]),
    "a block amidst": (DINOV2, without("blocks.1."), ["'blocks.1.norm1.weight' is missing"]),
    "no patches": (DINOV2, without("patch_embed.proj.weight"), ["'patch_embed.proj.weight' is missing"]),
    "no class token of CLIP": (CLIP, without("class_embedding"), ["'visual.class_embedding' is missing"]),
    "a ResNet's first convolution": (RESNET18, without("layer1.0.conv1.weight"), ["'layer1.0.conv1.weight' is missing"]),
    "DINOv2 and ResNet": (DINOV2, with_those_of(RESNET18), ["more than one", "patch_embed.proj.weight' is of a dinov2",
                                                            "'layer1.0.conv1.weight' of a resnet"]),
    "student and teacher": (DINOV2, with_those_of(DINOV2, "teacher."), ["more than one", "'patch_embed.proj.weight'",
                                                                        "'teacher.patch_embed.proj.weight'"]),
    "two towers of CLIP": (CLIP, with_those_of(CLIP, "ema."),
                           ["more than one", "'visual.class_embedding'", "'ema.visual.class_embedding'"]),
}
UNKNOWN = {  # what `inspect` shows as tensors of no model known here
    "an adapter": (DINOV2, with_tensors("blocks.0.attn.qkv.lora_A.weight"),
                   "'blocks.0.attn.qkv.lora_A.weight' is of no block known"),
    "another attention": (CLIP, with_tensors("visual.transformer.resblocks.2.attn.q_norm.weight"),
                          "resblocks.2.attn.q_norm.weight'"),
    "squeeze and excitation": (RESNET50, with_tensors("layer2.1.se.fc1.weight"),
                               "'layer2.1.se.fc1.weight' is of no bottleneck block"),
    "a third convolution": (RESNET18, with_tensors("layer1.0.conv3.weight"), "'layer1.0.conv3.weight' is of no basic block"),
}


def changed(source, change, path):
    tensors = dict(read_pth(source))
    change(tensors)
    write_pth(path, tensors)


@pytest.mark.parametrize("which", REFUSED)
def test_a_backbone_that_is_not_one_whole_is_refused_by_name(tool, subject, tmp_path, which):
    source, change, words = REFUSED[which]
    path = tmp_path / "changed.pth"
    changed(source, change, path)
    for arguments in (["inspect", path], ["predict", PICTURE, "--backbone", path, "--subject", subject]):
        said = tool.refuses(DATA, *arguments)
        assert said.startswith(f"brainenc: {path}: ") and all(word in said for word in words), said


@pytest.mark.parametrize("which", UNKNOWN)
def test_what_a_block_must_not_have_is_named(tool, tmp_path, which):
    source, change, words = UNKNOWN[which]
    path = tmp_path / "changed.pth"
    changed(source, change, path)
    assert words in tool.run("inspect", path, "--json").json()["supported"]


def made(width, depth):
    """The names and shapes of a DINOv2 with small feed-forward parts and few positions."""
    shapes = {"patch_embed.proj.weight": (width, 3, 14, 14), "patch_embed.proj.bias": (width,), "cls_token": (1, 1, width),
              "pos_embed": (1, 5, width), "norm.weight": (width,), "norm.bias": (width,)}
    for block in range(depth):
        shapes |= {f"blocks.{block}.{name}": shape for name, shape in {
            "norm1.weight": (width,), "norm1.bias": (width,), "norm2.weight": (width,), "norm2.bias": (width,),
            "attn.qkv.weight": (3 * width, width), "attn.qkv.bias": (3 * width,), "attn.proj.weight": (width, width),
            "attn.proj.bias": (width,), "ls1.gamma": (width,), "ls2.gamma": (width,), "mlp.fc1.weight": (8, width),
            "mlp.fc1.bias": (8,), "mlp.fc2.weight": (width, 8), "mlp.fc2.bias": (width,)}.items()}
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def test_the_last_block_of_a_published_width(tool, tmp_path):
    """No tensor tells that it is missing: the width has one published depth."""
    found = {}
    for depth in (12, 11):
        write_pth(tmp_path / f"{depth}.pth", made(384, depth))
        found[depth] = tool.run("inspect", tmp_path / f"{depth}.pth", "--json").json()
    assert "dinov2_vits14" in found[12]["backbone"] and "unverified" not in found[12]
    assert found[11]["unverified"] == "11 blocks of width 384, where published backbones have 12"


def test_the_last_block_that_config_json_counts(tool, subject, tmp_path):
    shutil.copy(CASE / "dinov2_small.safetensors", tmp_path / "small.safetensors")
    config = json.loads((CASE / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 5}))
    said = tool.refuses(DATA, "predict", PICTURE, "--backbone", tmp_path / "small.safetensors", "--subject", subject)
    assert "has 4 blocks" in said and "num_hidden_layers" in said and "is 5" in said


@pytest.mark.skipif(bool(SANITIZER), reason="a sanitizer takes memory of its own")
def test_loading_takes_no_memory_for_the_file(tool, subject, tmp_path):
    """What has been made of a file's blocks is in memory, of the file itself no more than a block: of 101 MB here."""
    def deepen(tensors):
        for name in [name for name in tensors if name.startswith("blocks.0.")]:
            tensors.update({name.replace("blocks.0.", f"blocks.{block}."): tensors[name] for block in range(1, 220)})

    deep, options = tmp_path / "deep.pth", ["--backbone-heads", 12, "--subject", subject, "--threads", 1]
    changed(DINOV2, deepen, deep)
    file = os.path.getsize(deep)
    shallow = tool.peak("predict", PICTURE, "--backbone", DINOV2, *options)
    assert 0.9 * file < tool.peak("predict", PICTURE, "--backbone", deep, *options) - shallow < 1.2 * file
