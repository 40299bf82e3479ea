import pytest

from support import CASE, Tool


@pytest.fixture(scope="session")
def tool():
    return Tool()


@pytest.fixture(scope="session")
def demo(tool, tmp_path_factory):
    """What `brainenc demo` writes."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    tool.run("demo", "-o", folder)
    return folder


@pytest.fixture(scope="session")
def demo_model(demo):
    return ["--backbone", demo / "dinov2_demo_pretrain.pth", "--subject", demo / "subj01.safetensors"]


@pytest.fixture(scope="session")
def subject(tool, tmp_path_factory):
    """The golden checkpoint, imported."""
    path = tmp_path_factory.mktemp("subject") / "subj01.safetensors"
    tool.run("import", CASE / "subj01/rois_all/checkpoint.pth", "--data", CASE / "algonauts/subj01", "-o", path)
    return path


@pytest.fixture(scope="session")
def model(subject):
    """The golden model."""
    return ["--backbone", CASE / "dinov2_small.safetensors", "--subject", subject]
