"""The installed service: its unit's commands as they stand, run as systemd runs them, and what they tell it."""
import json
import os
import re
import shlex
import shutil
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from support import (DAEMON, PATIENCE, RUNNER, SANITIZER, SLOW_LIMITS, SLOW_PATH, Daemon, free_port, noise, picture, slow_picture,
                     wait_until)

ROOT = Path(__file__).resolve().parent.parent.parent
NOBODY = 65534
# What DynamicUser= and NoNewPrivileges= come to, where the tests may change user at all.
AS_SERVICE = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"] \
    if os.geteuid() == 0 and shutil.which("setpriv") else []


def make(target, **variables):
    """`variables` are the Makefile's; the build is the one under test."""
    words = [f"{name}={value}" for name, value in variables.items()] + ([f"SANITIZER={SANITIZER}"] if SANITIZER else [])
    result = subprocess.run(["make", "-C", ROOT, "--no-print-directory", target, *words], capture_output=True, text=True,
                            timeout=5 * PATIENCE)
    assert result.returncode == 0, result.stdout + result.stderr


def read_unit(path):
    """{(section, key): [values]}"""
    found, section = {}, None
    for line in path.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and line[0] not in "#;":
            key, value = line.split("=", 1)
            found.setdefault((section, key), []).append(value)
    return found


def command(unit, key):
    """The words of a command line that stands in the unit once."""
    line, = unit["Service", key]
    return shlex.split(line)


# --- installing ---------------------------------------------------------------------------------


def files_in(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_installing_into_a_packager_s_folder(tmp_path):
    where = {"DESTDIR": tmp_path, "PREFIX": "/usr"}
    make("install", **where)
    configuration = tmp_path / "etc/brainenc/brainencd.yaml"
    assert files_in(tmp_path) == {"usr/bin/brainenc", "usr/bin/brainencd", "etc/brainenc/brainencd.yaml",
                                  "lib/systemd/system/brainencd.service"}
    assert (tmp_path / "usr/bin/brainencd").read_bytes() == Path(DAEMON).read_bytes()
    assert all(stat.S_IMODE((tmp_path / "usr/bin" / name).stat().st_mode) == 0o755 for name in ("brainenc", "brainencd"))
    assert configuration.read_bytes() == (ROOT / "config/brainencd.yaml").read_bytes()
    unit = tmp_path / "lib/systemd/system/brainencd.service"
    assert command(read_unit(unit), "ExecStart") == ["/usr/bin/brainencd", "--config", "/etc/brainenc/brainencd.yaml"]
    assert str(tmp_path) not in unit.read_text() and "/usr/local" not in unit.read_text()
    for path in (configuration, unit):
        assert stat.S_IMODE(path.stat().st_mode) & 0o444 == 0o444, path  # the service's own user reads it
    configuration.write_text("# the administrator's\n")
    make("install", **where)
    assert configuration.read_text() == "# the administrator's\n"
    make("uninstall", **where)
    assert files_in(tmp_path) == {"etc/brainenc/brainencd.yaml"} and configuration.read_text() == "# the administrator's\n"


@pytest.fixture(scope="module")
def installed(demo):
    """Installed where the unit says it is, in a folder that any user may enter, with the demo's weights as the service's state."""
    root = Path(tempfile.mkdtemp(prefix="brainenc-service-"))
    root.chmod(0o755)
    try:
        # DESTDIR=/ is the machine itself but for telling its own systemd
        make("install", DESTDIR="/", PREFIX=root / "usr", SYSCONFDIR=root / "etc", UNITDIR=root / "units")
        for name in ("state", "run"):
            (root / name).mkdir()
        for path in (demo / "dinov2_demo_pretrain.pth", demo / "subj01.safetensors"):
            shutil.copy(path, root / "state")
        if AS_SERVICE:
            for path in (root / "run", root / "state", *(root / "state").iterdir()):
                os.chown(path, NOBODY, NOBODY)
        unit = root / "units/brainencd.service"
        yield SimpleNamespace(root=root, unit_file=unit, unit=read_unit(unit), configuration=root / "etc/brainenc/brainencd.yaml")
    finally:
        shutil.rmtree(root)


def analyze(*words):
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    return subprocess.run(["systemd-analyze", *map(str, words)], capture_output=True, text=True, timeout=PATIENCE)


def test_systemd_has_nothing_to_say_about_the_unit(installed):
    result = analyze("verify", "--man=no", installed.unit_file)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_the_unit_is_hardened(installed):
    result = analyze("security", "--offline=true", "--threshold=13", installed.unit_file)
    assert result.returncode == 0, result.stdout + result.stderr
    assert float(re.search(r"Overall exposure level .*: ([0-9.]+)", result.stdout)[1]) <= 1.3


def test_systemd_waits_longer_than_the_daemon_takes(installed):
    shipped = (ROOT / "config/brainencd.yaml").read_text()
    stop, = installed.unit["Service", "TimeoutStopSec"]
    assert int(stop) * 1000 > int(re.search(r"drain_ms: (\d+)", shipped)[1])
    assert installed.unit["Service", "Type"] == ["notify"] and installed.unit["Service", "Restart"] == ["on-failure"]


# --- running ------------------------------------------------------------------------------------


class Manager:
    """The end of NOTIFY_SOCKET: [(when, {key: value})] of what was said, and which processes said it."""
    numbers = count()

    def __init__(self, folder):
        self.path, self.said, self.senders = folder / f"notify{next(self.numbers)}", [], set()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind(str(self.path))
        self.path.chmod(0o777)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while True:
            data, ancillary, _, _ = self.socket.recvmsg(65536, socket.CMSG_SPACE(12))
            if data == b"end":
                return
            self.senders.update(struct.unpack("3i", content)[0] for _, kind, content in ancillary if kind == socket.SCM_CREDENTIALS)
            self.said.append((time.monotonic(), dict(line.split("=", 1) for line in data.decode().splitlines())))

    def states(self):
        """What was said but for the watchdog, in order."""
        kinds = ("READY", "RELOADING", "STOPPING")
        return [key for _, message in list(self.said) for key in kinds if message.get(key) == "1"]

    def fed(self):
        return [when for when, message in list(self.said) if message.get("WATCHDOG") == "1"]

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.connect(str(self.path))
            end.send(b"end")  # behind all that the daemon said
        self.reader.join(PATIENCE)
        self.path.unlink()
        self.socket.close()


class Service(Daemon):
    """ExecStart as it stands in the installed unit, with the environment, the user and the folders it has as a service."""

    def __init__(self, installed, settings, wait=True, **environment):
        self.installed, self.lines, self.ended, self.manager = installed, [], False, Manager(installed.root)
        self.file = installed.configuration
        if settings is not None:
            self.configure(settings)
        self.environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8",
                            "NOTIFY_SOCKET": str(self.manager.path), "STATE_DIRECTORY": str(installed.root / "state"),
                            "RUNTIME_DIRECTORY": str(installed.root / "run"), "CONFIGURATION_DIRECTORY": str(self.file.parent)}
        self.environment |= environment
        self.environment |= {key: value for key, value in os.environ.items() if key.endswith("SAN_OPTIONS")}
        self.process = subprocess.Popen([*AS_SERVICE, *RUNNER, *command(installed.unit, "ExecStart")], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/", env=self.environment,
                                        umask=0o077)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if wait:
            self.wait_ready()
            self.wait_states("READY")

    def reload(self):
        """ExecReload, as the service's user."""
        words = [word.replace("${MAINPID}", str(self.process.pid)) for word in command(self.installed.unit, "ExecReload")]
        subprocess.run([*AS_SERVICE, *words], env=self.environment, cwd="/", check=True, timeout=PATIENCE)

    def wait_states(self, *states):
        wait_until(lambda: len(self.manager.states()) >= len(states) or self.process.poll() is not None, f"{states}: {self.log}")
        assert self.manager.states() == list(states), self.log

    def wait_end(self, code=0):
        super().wait_end(code)
        self.manager.close()
        assert self.manager.senders <= {self.process.pid}  # systemd hears the main process alone


@pytest.fixture
def serve(installed):
    """serve(...): the service with these keys of the configuration, on the demo's weights in its state directory."""
    started = []
    settings = {"backbones": {"demo": {"weights": str(installed.root / "state/dinov2_demo_pretrain.pth")}},
                "subjects": [{"name": "subj01", "weights": str(installed.root / "state/subj01.safetensors"), "backbone": "demo"}]}

    def begin(wait=True, environment=None, **more):
        started.append(Service(installed, settings | more, wait, **(environment or {})))
        return started[-1]

    yield begin
    for service in started:
        service.stop()


def test_the_service_answers(serve):
    service = serve()
    assert service.manager.states() == ["READY"] and any(message.get("STATUS") for _, message in service.manager.said)
    assert service.get("/readyz").body == b"ready\n"
    assert service.post("/predict?output=rois", picture()).json()["rois"]
    assert service.post("/predict?format=gifti&hemi=lh&space=fsaverage", picture()).body.endswith(b"</GIFTI>\n")
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    if AS_SERVICE:
        assert re.search(r"^Uid:\s+65534\s+65534\s+65534\s+65534$", status, re.M) and re.search(r"^CapEff:\s+0+$", status, re.M)
    service.stop()
    assert service.manager.states() == ["READY", "STOPPING"]
    assert not service.manager.fed()  # nobody asked


def test_ready_is_said_when_it_is(serve, installed):
    """A FIFO holds the loading: see test_not_ready_while_loading."""
    fifo = installed.root / "keys"
    os.mkfifo(fifo)
    fifo.chmod(0o666)

    def feed():
        with open(fifo, "w") as keys:
            keys.write("key\n")
    service = serve(wait=False, auth={"keys_file": str(fifo)})
    feed()
    time.sleep(0.5)
    assert service.manager.states() == [] and service.process.poll() is None  # the second reading waits
    feed()
    service.wait_states("READY")
    service.wait_ready()
    assert service.get("/readyz").body == b"ready\n"
    service.stop()
    fifo.unlink()


@pytest.mark.parametrize("wrong", ["as shipped", "weights", "configuration"])
def test_a_service_that_cannot_serve_never_says_ready(installed, serve, wrong):
    if wrong == "as shipped":  # with no weights beside it
        shipped = (ROOT / "config/brainencd.yaml").read_text()
        elsewhere = shipped.replace("listen: 127.0.0.1:8080", f"listen: 127.0.0.1:{free_port()}")  # 8080 may be somebody's
        assert elsewhere != shipped
        installed.configuration.write_text(elsewhere)
        service = Service(installed, None, wait=False)
    elif wrong == "weights":
        service = serve(wait=False, subjects=[{"name": "subj01", "weights": str(installed.unit_file), "backbone": "demo"}])
    else:
        service = serve(wait=False, nonsense=1)
    service.wait_end(code=1)
    assert service.manager.states() == [], "systemctl start would report success"
    said = {"as shipped": "subj01.safetensors: ", "weights": "brainencd.service: ", "configuration": "nonsense"}[wrong]
    assert said in service.lines[-1]


def test_reloading_begins_and_ends(serve, installed):
    service = serve()
    good = installed.configuration.read_text()
    service.reload()
    service.wait_states("READY", "RELOADING", "READY")
    installed.configuration.write_text(json.dumps(json.loads(good) | {"nonsense": 1}))
    service.reload()  # it says what is wrong and serves on; systemd must not be left waiting
    service.wait_states("READY", "RELOADING", "READY", "RELOADING", "READY")
    service.wait_line("reload failed, serves on as before: .*nonsense")
    assert service.post("/predict?output=rois", noise(1)).status == 200 and service.count("reloads_total", outcome="good") == 1


def test_stopping_is_said_at_once_and_ends_when_all_is_answered(serve):
    service = serve(limits=SLOW_LIMITS)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(service.post, SLOW_PATH, slow_picture())
        wait_until(lambda: service.count("in_flight") == 1, "it is accepted")
        service.signal(signal.SIGTERM)
        service.wait_states("READY", "STOPPING")
        stopping = time.monotonic()
        assert answer.result().status == 200
    service.wait_end()
    said = next(when for when, message in service.manager.said if "STOPPING" in message)
    assert said <= stopping and service.manager.states()[-1] == "STOPPING"


def longest_gap(times):
    return max(after - before for before, after in zip(times, times[1:]))


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_the_watchdog_is_fed_at_the_interval_asked_for(serve, busy):
    """systemd asks to be told within the interval, and recommends half of it."""
    interval = 1.0 if not SANITIZER else 3.0
    service = serve(environment={"WATCHDOG_USEC": str(int(interval * 1e6))}, limits=SLOW_LIMITS)
    begun = time.monotonic()
    if busy:
        with ThreadPoolExecutor(2) as pool:
            while time.monotonic() - begun < 3 * interval:
                assert all(pool.map(lambda seed: service.post(SLOW_PATH, slow_picture(seed)).status == 200, range(2)))
    else:
        time.sleep(3 * interval)
    fed = [begun, *(when for when in service.manager.fed() if when > begun), time.monotonic()]
    assert longest_gap(fed) < interval, fed
    assert len(fed) < 4 * (fed[-1] - fed[0]) / interval + 4, fed  # and not all the time


def test_a_socket_in_the_runtime_directory(serve, installed):
    service = serve(listen=f"unix:{installed.root}/run/http.sock")
    assert service.get("/readyz").body == b"ready\n"  # the tests are another user than the service
    service.stop()
    assert list((installed.root / "run").iterdir()) == []


def test_the_service_leaves_nothing_behind(serve, installed):
    """Its user may write its state directory alone, and does not."""
    def everything():
        return {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for path in installed.root.rglob("*")
                if not path.is_socket()}
    service = serve()
    before = everything()
    service.post("/predict", noise(1))
    service.reload()
    service.wait_states("READY", "RELOADING", "READY")
    service.stop()
    after = everything()
    assert after == before
