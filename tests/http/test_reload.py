"""SIGHUP: what is good is swapped in, what is not is refused with its reason, and nobody notices."""
import os
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from support import SANITIZER, SLOW_LIMITS, SLOW_PATH, noise, slow_picture, wait_until


class Load:
    """Clients that ask on and on while something happens."""

    def __init__(self, daemon, clients=3):
        self.daemon, self.answers, self.stop = daemon, [], threading.Event()
        self.threads = [threading.Thread(target=self._client, args=(seed,)) for seed in range(clients)]

    def _client(self, seed):
        while not self.stop.is_set():
            self.answers.append((seed, self.daemon.post("/predict?format=npy", noise(seed), status=None)))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        wait_until(lambda: len(self.answers) >= 3, "it is busy")
        return self

    def __exit__(self, *_):
        before = len(self.answers)
        wait_until(lambda: len(self.answers) >= before + 3, "it is still busy")
        self.stop.set()
        for thread in self.threads:
            thread.join()


def reload(daemon, outcome):
    """Sends SIGHUP and waits until it is counted."""
    before = daemon.count("reloads_total", outcome=outcome)
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: daemon.count("reloads_total", outcome=outcome) == before + 1, daemon.log)


@pytest.fixture
def served(start, own_weights):
    folder, settings = own_weights
    return folder, settings, start(**settings)


def test_the_same_again_under_load(served):
    _, _, daemon = served
    with Load(daemon) as load:
        for _ in range(3):
            reload(daemon, "good")
    assert all(answer.status == 200 for _, answer in load.answers)
    assert all(len({answer.body for seed, answer in load.answers if seed == wanted}) == 1 for wanted in range(3))


def test_another_configuration_takes_effect(served, golden_settings):
    _, settings, daemon = served
    assert [one["name"] for one in daemon.get("/subjects").json()["subjects"]] == ["subj01"]
    daemon.configure(golden_settings | {"limits": {"pixels": 5000}, "cors": ["*"], "fit": "pad"})
    with Load(daemon) as load:
        reload(daemon, "good")
    assert all(answer.status == 200 for _, answer in load.answers)
    assert [one["name"] for one in daemon.get("/subjects").json()["subjects"]] == ["subj01", "demo"]
    assert daemon.post("/predict?output=rois", noise(1)).json()["image"]["fit"] == "pad"
    assert "5000" in daemon.refuses(413, "POST", "/predict", noise(1, 100, 100))
    assert daemon.get("/subjects", headers={"Origin": "x"}).headers["Access-Control-Allow-Origin"] == "x"


def damage(path):
    data = bytearray(path.read_bytes())
    data[:4] = b"\xff\xff\xff\xff"
    replace(path, bytes(data))


def replace(path, data):
    """As an administrator should: a new file in the place of the old one, which stays mapped."""
    new = path.with_suffix(".new")
    new.write_bytes(data)
    os.replace(new, path)


BAD = {
    "damaged subject": lambda folder, daemon, settings: damage(folder / "subj01.safetensors"),
    "cut subject": lambda folder, daemon, settings: replace(folder / "subj01.safetensors",
                                                            (folder / "subj01.safetensors").read_bytes()[:5000]),
    "damaged backbone": lambda folder, daemon, settings: damage(folder / "dinov2_demo_pretrain.pth"),
    "missing subject": lambda folder, daemon, settings: (folder / "subj01.safetensors").unlink(),
    "broken YAML": lambda folder, daemon, settings: daemon.file.write_text("listen: [127.0.0.1:0\nbackbones: }\n"),
    "unknown key": lambda folder, daemon, settings: daemon.configure(settings | {"lisen": "x"}),
    "empty": lambda folder, daemon, settings: daemon.file.write_text(""),
    "no file": lambda folder, daemon, settings: daemon.file.unlink(),
    "no keys": lambda folder, daemon, settings: daemon.configure(settings | {"auth": {"keys_file": "nowhere"}}),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_not_good_changes_nothing(served, kind):
    folder, settings, daemon = served
    want = daemon.post("/predict?format=npy", noise(1)).body
    held = daemon.post("/predict?output=rois", noise(1)).json()["id"]
    BAD[kind](folder, daemon, settings)
    with Load(daemon, clients=2) as load:
        reload(daemon, "failed")
    assert {answer.status for _, answer in load.answers} == {200}
    assert {answer.body for seed, answer in load.answers if seed == 1} == {want}
    reason = daemon.wait_line("reload failed, serves on as before: (.+)")[1]
    if "subject" in kind or "backbone" in kind:
        assert reason.startswith(str(folder)), reason
    else:
        assert "brainencd.yaml" in reason or "nowhere" in reason, reason
    assert daemon.get("/readyz").body == b"ready\n"
    assert daemon.get(f"/attention?roi=V1v&id={held}").json()["id"] == held


def test_it_recovers_from_a_bad_reload(served, demo):
    folder, _, daemon = served
    (folder / "subj01.safetensors").unlink()
    reload(daemon, "failed")
    shutil.copy(demo / "subj01.safetensors", folder)
    reload(daemon, "good")
    assert daemon.post("/predict?output=rois", noise(1)).status == 200


def test_who_waits_gets_the_answer_of_the_weights_it_asked(start, golden_settings, demo_settings):
    daemon = start(limits=SLOW_LIMITS, compute={"batch": {"max": 1}})
    weights = daemon.get("/subjects").json()["subjects"][0]["weights"]
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(daemon.post, SLOW_PATH, slow_picture()) for _ in range(3)]
        wait_until(lambda: daemon.count("in_flight") == 3, "they wait")
        daemon.configure(golden_settings | {"limits": SLOW_LIMITS})
        reload(daemon, "good")
        assert all(one.result().json()["model"]["weights"] == weights for one in waiting)
    assert daemon.post("/predict?output=rois", noise(1)).json()["model"]["weights"] != weights


def test_keys_are_read_again(start, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("old\n")
    daemon = start(auth={"keys_file": str(keys)})
    assert daemon.get("/subjects", headers={"X-API-Key": "old"}).json()
    keys.write_text("new\n")
    reload(daemon, "good")
    assert daemon.get("/subjects", headers={"X-API-Key": "new"}).json()
    daemon.refuses(401, "GET", "/subjects", headers={"X-API-Key": "old"})


@pytest.mark.skipif(bool(SANITIZER), reason="a sanitizer keeps freed memory")
def test_reloads_do_not_pile_up_memory(served):
    _, _, daemon = served
    sizes = []
    for _ in range(8):
        daemon.post("/predict?output=rois", noise(1))
        reload(daemon, "good")
        sizes.append(daemon.resident())
    assert sizes[-1] - sizes[2] < 40 << 20, sizes


def test_an_impatient_administrator(served):
    _, _, daemon = served
    for _ in range(20):
        daemon.signal(signal.SIGHUP)
    wait_until(lambda: daemon.count("reloads_total", outcome="good") >= 1, daemon.log)
    assert daemon.post("/predict?output=rois", noise(1)).status == 200
