"""What this machine is, for whoever reads the numbers: python3 tests/bench/machine.py"""
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

FLAGS = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8", "asimd", "bf16")


def first_line(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout.split("\n")[0]


def lscpu():
    fields = json.loads(subprocess.run(["lscpu", "-J"], capture_output=True, text=True).stdout)["lscpu"]
    found = {}

    def walk(entries):
        for entry in entries:
            found[entry["field"].rstrip(":")] = entry["data"]
            walk(entry.get("children", []))
    walk(fields)
    return found


OPENBLAS = """
import ctypes, ctypes.util, re
library = ctypes.CDLL(ctypes.util.find_library("openblas"))
library.openblas_get_config.restype = library.openblas_get_corename.restype = ctypes.c_char_p
version = re.search(r"OpenBLAS (\\S+)", library.openblas_get_config().decode())[1]
print(version, library.openblas_get_corename().decode(), sep=", ", end="")
"""


def openblas():
    """Version and the kernels it chooses for this processor, in a process of its own: it chooses once."""
    answer = subprocess.run([sys.executable, "-c", OPENBLAS], capture_output=True, text=True)
    return f"{answer.stdout} kernels" if answer.returncode == 0 else "unknown"


def flags():
    return set(lscpu().get("Flags", "").split())


def choose_openblas_kernels():
    """OpenBLAS takes its AVX2 kernels on a processor newer than it knows (0.3.21: Zen 4 and 5), at half the speed: a yardstick, and
    PyTorch's products too, must have the best ones. For the programs that are started from here; what the user chose stays."""
    chosen = openblas()
    if "OPENBLAS_CORETYPE" in os.environ or any(name in chosen.lower() for name in ("skylakex", "cooperlake", "sapphire")):
        return
    if flags() >= {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}:
        os.environ["OPENBLAS_CORETYPE"] = "SkylakeX"


def memory():
    return int(re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())[1]) / 2**20


def describe():
    cpu = lscpu()
    found = flags()
    release = platform.freedesktop_os_release()
    return {
        "processor": f"{cpu.get('Vendor ID')} {cpu.get('Model name')}, family {cpu.get('CPU family')}, model {cpu.get('Model')}",
        "processors usable": len(os.sched_getaffinity(0)), "threads a core": cpu.get("Thread(s) per core"),
        "sockets": cpu.get("Socket(s)"), "NUMA nodes": cpu.get("NUMA node(s)"), "hypervisor": cpu.get("Hypervisor vendor", "none"),
        "caches": ", ".join(f"{level} {cpu[f'{level} cache']}" for level in ("L1d", "L2", "L3") if f"{level} cache" in cpu),
        "instructions": " ".join(flag for flag in FLAGS if flag in found), "memory": f"{memory():.1f} GiB",
        "system": f"{release['PRETTY_NAME']}, Linux {platform.release()}", "compiler": first_line("cc", "--version"),
        "OpenBLAS": openblas(), "load average at the start": f"{os.getloadavg()[0]:.2f}",
    }


if __name__ == "__main__":
    print(json.dumps(describe(), indent=1))
