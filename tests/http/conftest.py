import shutil
import subprocess
from itertools import count

import pytest

from support import CASE, PATIENCE, RUNNER, TOOL, Daemon, tool_support


def _run_tool(*arguments):
    subprocess.run([*RUNNER, TOOL, *map(str, arguments)], check=True, capture_output=True, timeout=PATIENCE)


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """What `brainenc demo` writes: a small model that answers at once."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    _run_tool("demo", "-o", folder)
    return folder


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """The tool asks the daemons of these tests, whatever proxy the environment names."""
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture(scope="session")
def demo_model(demo):
    """How a run without a daemon names the demo."""
    return ["--backbone", demo / "dinov2_demo_pretrain.pth", "--subject", demo / "subj01.safetensors"]


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Twenty pictures that take no time with --fit native."""
    return tool_support.write_pictures(tmp_path_factory.mktemp("small") / "pictures", 20, 28)


@pytest.fixture(scope="session")
def picture(small):
    """The prediction of the first of them."""
    return ["predict", small[0], "--fit", "native"]


@pytest.fixture(scope="session")
def golden_subject(tmp_path_factory):
    """The golden checkpoint, imported."""
    path = tmp_path_factory.mktemp("subject") / "subj01.safetensors"
    _run_tool("import", CASE / "subj01/rois_all/checkpoint.pth", "--data", CASE / "algonauts/subj01", "-o", path)
    return path


@pytest.fixture(scope="session")
def golden_settings(demo, golden_subject):
    """The golden subject and the demo, each on a backbone of its own."""
    return {
        "backbones": {"small": {"weights": str(CASE / "dinov2_small_pretrain.pth"), "kind": "dinov2", "heads": 12},
                      "demo": {"weights": str(demo / "dinov2_demo_pretrain.pth")}},
        "subjects": [{"name": "subj01", "weights": str(golden_subject), "backbone": "small"},
                     {"name": "demo", "weights": str(demo / "subj01.safetensors"), "backbone": "demo"}],
    }


@pytest.fixture(scope="session")
def demo_settings(demo):
    """The demo alone."""
    return {"backbones": {"demo": {"weights": str(demo / "dinov2_demo_pretrain.pth")}},
            "subjects": [{"name": "subj01", "weights": str(demo / "subj01.safetensors"), "backbone": "demo"}]}


@pytest.fixture(scope="module")
def golden_daemon(golden_settings, tmp_path_factory):
    """Serves the golden subject and the demo to all tests of a file."""
    with Daemon(tmp_path_factory.mktemp("golden"), golden_settings) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def demo_daemon(demo_settings, tmp_path_factory):
    """Serves the demo to all tests of a file."""
    with Daemon(tmp_path_factory.mktemp("demo"), demo_settings) as daemon:
        yield daemon


@pytest.fixture
def start(demo_settings, tmp_path):
    """start(limits={...}): a daemon of the test's own that serves the demo, with these keys of the configuration."""
    started, numbers = [], count()

    def begin(wait=True, **settings):
        folder = tmp_path / f"daemon{next(numbers)}"
        folder.mkdir()
        started.append(Daemon(folder, demo_settings | settings, wait))
        return started[-1]

    yield begin
    for daemon in started:
        daemon.stop()


@pytest.fixture
def own_weights(demo, tmp_path):
    """A copy of the demo's files that a test may damage, and the keys of a configuration that names them."""
    folder = tmp_path / "weights"
    shutil.copytree(demo, folder)
    return folder, {"backbones": {"demo": {"weights": str(folder / "dinov2_demo_pretrain.pth")}},
                    "subjects": [{"name": "subj01", "weights": str(folder / "subj01.safetensors"), "backbone": "demo"}]}
