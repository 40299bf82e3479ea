"""brainenc predict --server: runs that end before their time, and go on."""
import re

import pytest

from client_support import DATA, DONE, SYSTEM, TOOL, USAGE, Fake, address, on, set_value


@pytest.fixture()
def stopped(demo_daemon, small, tmp_path):
    """The command and output of a run that stopped at the eleventh picture, which is whole by now."""
    copies = [tmp_path / path.name for path in small]
    for path, copy in zip(small, copies):
        copy.write_bytes(path.read_bytes())
    good = copies[10].read_bytes()
    copies[10].write_bytes(good[:100])
    output = tmp_path / "out.npy"
    arguments = ["predict", *copies, "--fit", "native", "-o", output]
    result = TOOL.run(*arguments, "--server", address(demo_daemon), code=DATA)
    assert "10 of 20 images are kept" in result.lines[-2]
    copies[10].write_bytes(good)
    return arguments, output


def test_a_run_goes_on_and_ends_with_the_bytes_of_a_local_one(stopped, demo_daemon, demo_model, tmp_path):
    arguments, output = stopped
    assert "after 10 of 20 images" in TOOL.run(*arguments, "--server", address(demo_daemon)).lines[0]
    TOOL.run(*arguments[:-1], tmp_path / "here.npy", *demo_model)
    assert output.read_bytes() == (tmp_path / "here.npy").read_bytes()


def test_a_run_on_other_weights_is_refused(stopped, start, demo_settings, demo_model, tmp_path):
    arguments, output = stopped
    TOOL.run("demo", "-o", tmp_path / "other", "--seed", "2")
    other = tmp_path / "other/subj01.safetensors", tmp_path / "other/dinov2_demo_pretrain.pth"
    changes = [{"subjects": [demo_settings["subjects"][0] | {"weights": str(other[0])}]},
               {"backbones": {"demo": {"weights": str(other[1])}}},
               {"backbones": {"demo": demo_settings["backbones"]["demo"] | {"heads": 4}}}]
    before = {path.name: path.read_bytes() for path in tmp_path.glob("out*")}
    for change in changes:
        daemon = start(**change)
        assert "--restart" in TOOL.refuses(USAGE, *arguments, "--server", address(daemon))
        assert "--restart" in TOOL.refuses(USAGE, *arguments, "--server", address(daemon), "--rois", "FBA")
        assert {path.name: path.read_bytes() for path in tmp_path.glob("out*")} == before
    assert "--restart" in TOOL.refuses(USAGE, *arguments, *demo_model)
    assert TOOL.run(*arguments, "--server", address(daemon),
                    "--restart").code == DONE and not output.with_name("out.npy.partial").exists()


def test_a_server_that_goes_away_and_comes_back(demo_daemon, demo_model, small, tmp_path):
    count = iter(range(1000))
    arguments = ["predict", *small, "--fit", "native", "-o", tmp_path / "out.npy"]
    with Fake(demo_daemon, on("/predict", lambda answer: answer if next(count) < 12 else b"")) as fake:
        result = TOOL.run(*arguments, "--server", fake.address, code=SYSTEM)
    kept = int(re.search(r"results of (\d+) of 20 images are kept", result.lines[-2])[1])
    assert 4 <= kept <= 12 and fake.address in result.lines[-1]
    assert f"after {kept} of 20 images" in TOOL.run(*arguments, "--server", address(demo_daemon)).lines[0]
    TOOL.run(*arguments[:-1], tmp_path / "here.npy", *demo_model)
    assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "here.npy").read_bytes()


@pytest.mark.parametrize("key, value, word", [("weights", "0" * 64, "weights"), ("backbone_weights", "0" * 64, "backbone"),
                                              ("backbone_activation", "quick_gelu", "backbone's activation"),
                                              ("backbone_heads", 7, "backbone's heads"), ("precision", "bf16", "precision")])
def test_a_model_that_changes_while_a_run_goes_on(demo_daemon, small, tmp_path, key, value, word):
    count = iter(range(1000))

    def reloaded(answer):
        return set_value(("model", key), value)(answer) if next(count) >= 9 else answer
    with Fake(demo_daemon, on("/predict", reloaded)) as fake:
        result = TOOL.run("predict", *small, "--fit", "native", "--server", fake.address, "-o", tmp_path / "out.npy", code=SYSTEM)
        assert f"the {word} of subj01 changed" in result.lines[-1] and not (tmp_path / "out.npy").exists()
