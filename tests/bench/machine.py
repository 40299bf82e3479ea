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
    """Version and the kernels it takes for this processor, in a process of its own: it chooses once. Others may be slower."""
    answer = subprocess.run([sys.executable, "-c", OPENBLAS], capture_output=True, text=True)
    if answer.returncode != 0:
        return "unknown"
    told = " as OPENBLAS_CORETYPE says, not by its own choice" if "OPENBLAS_CORETYPE" in os.environ else ""
    return f"{answer.stdout} kernels{told}"


def memory():
    return int(re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())[1]) / 2**20


def describe():
    cpu = lscpu()
    flags = set(cpu.get("Flags", "").split())
    release = platform.freedesktop_os_release()
    return {
        "processor": f"{cpu.get('Vendor ID')} {cpu.get('Model name')}, family {cpu.get('CPU family')}, model {cpu.get('Model')}",
        "processors usable": len(os.sched_getaffinity(0)), "threads a core": cpu.get("Thread(s) per core"),
        "sockets": cpu.get("Socket(s)"), "NUMA nodes": cpu.get("NUMA node(s)"), "hypervisor": cpu.get("Hypervisor vendor", "none"),
        "caches": ", ".join(f"{level} {cpu[f'{level} cache']}" for level in ("L1d", "L2", "L3") if f"{level} cache" in cpu),
        "instructions": " ".join(flag for flag in FLAGS if flag in flags), "memory": f"{memory():.1f} GiB",
        "system": f"{release['PRETTY_NAME']}, Linux {platform.release()}", "compiler": first_line("cc", "--version"),
        "OpenBLAS": openblas(), "load average at the start": f"{os.getloadavg()[0]:.2f}",
    }


if __name__ == "__main__":
    print(json.dumps(describe(), indent=1))
