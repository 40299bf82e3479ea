"""The configuration: --check, and what is wrong named with its line."""
import json
import re

import pytest

from support import GOLDEN, run_daemon

GOOD = """\
listen: 127.0.0.1:0
backbones:
  demo: {{weights: {demo}/dinov2_demo_pretrain.pth, kind: dinov2}}
subjects:
  - {{name: subj01, weights: {demo}/subj01.safetensors, backbone: demo}}
fit: crop
"""


@pytest.fixture
def check(demo, tmp_path):
    """check(text): (code, out, err, path) of --check; {demo} stands for the demo's folder."""
    def run(text):
        path = tmp_path / "test.yaml"
        path.write_text(text.replace("{demo}", str(demo)))
        return *run_daemon("--config", path, "--check"), path
    return run


def test_a_good_one(check):
    code, out, err, _ = check(GOOD.format(demo="{demo}"))
    assert (code, err) == (0, "") and "1 subject" in out and "good" in out


def test_every_key_of_the_page(check, demo):
    """API.md's example, with the demo's files."""
    code, _, err, _ = check(GOOD.format(demo="{demo}") + """\
compute: {precision: f32, isa: auto, threads: auto, batch: {max: 8, wait_ms: 0}}
limits: {body: 20MiB, pixels: 40000000, tokens: 1369, queue: 64, bytes_in_flight: 256MiB, deadline_ms: 30000,
         drain_ms: 20000, connections: 512}
results: {held: 64MiB}
auth: {keys_file: null}
cors: []
log: {access: true, format: text}
""")
    assert (code, err) == (0, "")


# What is added to the good one (its 6 lines), the line at fault, what the sentence names.
WRONG = [
    ("lisen: x\n", 7, ["lisen", "listen, backbones"]), ("fit: pad\n", 7, ["fit", "twice"]),
    ("limits: 5\n", 7, ["limits", "mapping"]),
    ("limits:\n  body: 1MiB\n  body: 2MiB\n", 9, ["body", "twice"]),
    ("limits:\n  bodi: 1\n", 8, ["bodi", "limits", "body, pixels"]),
    ("limits:\n  body: many\n", 8, ["body", "whole number"]), ("limits:\n  body: -1\n", 8, ["body"]),
    ("limits:\n  body: 1.5MiB\n", 8, ["body"]),
    ("limits:\n  body: 99999999999999999999\n", 8, ["body"]), ("limits:\n  body: 17179869184GiB\n", 8, ["body"]),
    ("limits:\n  queue: 0\n", 8, ["queue"]),
    ("limits:\n  queue: [1]\n", 8, ["queue"]), ("limits:\n  queue: 1MiB\n", 8, ["queue"]),
    ("compute:\n  batch:\n    max: 0\n", 9, ["max"]),
    ("compute:\n  threads: none\n", 8, ["threads"]), ("compute:\n  precision: f8\n", 8, ["precision", "f32"]),
    ("log:\n  access: maybe\n", 8, ["access", "true or false"]), ("log:\n  format: xml\n", 8, ["format", "text, json"]),
    ("cors: x\n", 7, ["cors", "list"]), ("cors:\n  - a\n  - [b]\n", 9, ["cors"]), ("results:\n  held: x\n", 8, ["held"]),
    ("auth:\n  keys_file: [x]\n", 8, ["keys_file"]), ("? [a, b]\n: x\n", 7, ["unknown key"]), ("cors: [\n", 8, ["YAML"]),
    ("\tx: y\n", 7, ["YAML"]),
]


@pytest.mark.parametrize("text, line, words", WRONG, ids=[text.strip()[:30] for text, _, _ in WRONG])
def test_an_error_names_its_line(check, text, line, words):
    code, out, err, path = check(GOOD.format(demo="{demo}") + text)
    assert code == 1 and out == "" and re.fullmatch(rf"brainencd: {re.escape(str(path))}:{line}: .+\n", err), err
    assert all(word in err for word in words), err


CHANGED = [
    ("127.0.0.1:0", "127.0.0.1", 1, ["listen", "ADDRESS:PORT"]), ("127.0.0.1:0", "127.0.0.1:70000", 1, ["listen"]),
    ("127.0.0.1:0", "unix:relative", 1, ["listen"]),
    ("kind: dinov2", "kind: vgg", 3, ["kind", "dinov2"]), ("kind: dinov2", "size: 7", 3,
                                                           ["size", "weights, kind, heads, activation"]),
    ("kind: dinov2", "heads: 0", 3, ["heads"]),
    ("kind: dinov2", "kind: [clip]", 3, ["kind", "dinov2, clip, resnet"]),
    ("kind: dinov2", "activation: swiglu", 3, ["activation", "auto, quick_gelu, gelu"]),
    ("weights: {demo}/dinov2_demo_pretrain.pth, ", "", 3, ["demo", "weights is missing"]),
    ("backbone: demo", "backbone: nothing", 5, ["backbone", "nothing"]),
    (", backbone: demo", "", 5, ["subjects", "backbone"]), ("name: subj01", "name: all", 5, ["all"]),
    ("name: subj01", "name: 'a,b'", 5, ["a,b"]),
    ("  - {", "  {", None, []), ("fit: crop", "fit: zoom", 6, ["fit", "crop"]), ("fit: crop", "fit: [crop]", 6, ["fit"]),
    ("  - {name: subj01, weights: {demo}/subj01.safetensors, backbone: demo}\n",
     "  - {name: a, weights: x, backbone: demo}\n  - {name: a, weights: y, backbone: demo}\n", 6, ["a", "twice"]),
    ("  - {name: subj01, weights: {demo}/subj01.safetensors, backbone: demo}\n", "  []\n", 5, ["subjects"]),
    ("subjects:\n  - {name: subj01, weights: {demo}/subj01.safetensors, backbone: demo}\n", "", 1, ["subjects"]),
]


@pytest.mark.parametrize("old, new, line, words", CHANGED, ids=[f"{old[:20]}|{new[:20]}" for old, new, _, _ in CHANGED])
def test_a_changed_line_is_named(check, old, new, line, words):
    text = GOOD.replace("{{", "{").replace("}}", "}")
    assert old in text
    code, _, err, path = check(text.replace(old, new))
    assert code == 1 and err.startswith(f"brainencd: {path}:{line if line else ''}") and all(word in err for word in words), err


@pytest.mark.parametrize("text", ["", "\n# nothing\n", "5\n", "[]\n", "a: &a [*a]\n", "- " * 100000, "{" * 5000, "\0\xff",
                                  "&a a: *b\n"], ids=["empty", "comment", "number", "list", "itself", "deep", "braces", "binary",
                                                      "alias"])
def test_what_is_no_configuration(check, text):
    code, out, err, path = check(text)
    assert code == 1 and out == "" and err.startswith(f"brainencd: {path}") and err.count("\n") == 1


def test_weights_that_are_not_there(check, demo):
    for old, new in (("subj01.safetensors", "nowhere.safetensors"), ("dinov2_demo_pretrain.pth", "nowhere.pth")):
        code, _, err, _ = check(GOOD.format(demo="{demo}").replace(old, new))
        assert code == 1 and err.startswith(f"brainencd: {demo}/{new}"), err
    code, _, err, _ = check(GOOD.format(demo="{demo}").replace("subj01.safetensors", "dinov2_demo_pretrain.pth"))
    assert code == 1 and "dinov2_demo_pretrain.pth" in err


def test_a_backbone_of_another_kind_than_said(check, demo):
    for old, new, words in (("kind: dinov2", "kind: clip", ["is a dinov2 backbone, not the clip"]),
                            ("kind: dinov2", "kind: resnet", ["not the resnet"]),
                            ("kind: dinov2", "kind: dinov2, activation: gelu", ["dinov2", "activation"]),
                            ("dinov2_demo_pretrain.pth, kind: dinov2", "open_clip_narrow.pth, kind: dinov2",
                             ["is a clip backbone, not the dinov2"]),
                            ("dinov2_demo_pretrain.pth, kind: dinov2", "resnet18_narrow.pth, heads: 4",
                             ["resnet", "no attention heads"])):
        code, out, err, _ = check(GOOD.format(demo="{demo}").replace(old, new).replace("{demo}/open_clip",
                                                                                       f"{GOLDEN}/clip/open_clip")
                                  .replace("{demo}/resnet", f"{GOLDEN}/resnet/resnet"))
        assert code == 1 and out == "" and all(word in err for word in words), err
    code, _, err, _ = check(GOOD.format(demo="{demo}").replace("kind: dinov2", "kind: dinov2, activation: auto"))
    assert (code, err) == (0, "")


def test_paths_are_taken_from_the_folder_of_the_file(demo, tmp_path):
    code, _, err = run_daemon("--config", demo / "brainencd.yaml", "--check")
    assert (code, err) == (0, "")
    (tmp_path / "copy.yaml").write_text((demo / "brainencd.yaml").read_text())
    code, _, err = run_daemon("--config", tmp_path / "copy.yaml", "--check")
    assert code == 1 and str(tmp_path) in err


def test_a_bad_one_does_not_start(tmp_path, demo_settings):
    path = tmp_path / "test.yaml"
    for settings in (demo_settings | {"fit": "zoom"}, demo_settings | {"listen": "203.0.113.1:1"},
                     demo_settings | {"listen": "no-such-host:1"},
                     demo_settings | {"listen": "unix:/nowhere/at/all.sock"}, demo_settings | {"listen": "unix:/" + "x" * 200},
                     demo_settings | {"subjects": [demo_settings["subjects"][0] | {"weights": "nowhere"}]}):
        path.write_text(json.dumps({"listen": "127.0.0.1:0"} | settings))
        code, _, err = run_daemon("--config", path)
        assert code == 1 and err.startswith("brainencd: ") and "ready" not in err, err


def test_a_port_that_is_taken(tmp_path, demo_settings, demo_daemon):
    path = tmp_path / "test.yaml"
    path.write_text(json.dumps(demo_settings | {"listen": f"127.0.0.1:{demo_daemon.port}"}))
    code, _, err = run_daemon("--config", path)
    assert code == 1 and str(demo_daemon.port) in err and "in use" in err


def test_the_command_line(tmp_path):
    assert run_daemon("--version")[:2][0] == 0 and "--config" in run_daemon("--help")[1]
    assert "exit codes: 0 " in run_daemon("--help")[1]
    for arguments in ([], ["--check"], ["--nonsense"], ["--config"], ["--config", "a", "b"]):
        code, out, err = run_daemon(*arguments)
        assert code == 2 and out == "" and err
    code, _, err = run_daemon("--config", tmp_path / "nowhere.yaml", "--check")
    assert code == 1 and "nowhere.yaml" in err
