"""What the tests of the tool share: running it, and reading and writing files without it."""
import io
import json
import os
import pickle
import shlex
import struct
import subprocess
import sys
import zipfile
import zlib
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
CASE = GOLDEN / "dinov2_q_rois"
PICTURES = CASE / "images"
FAMILIES = ("prf-visualrois", "floc-bodies", "floc-faces", "floc-places", "floc-words")
sys.path.append(str(GOLDEN.parent))  # golden_cases
SANITIZER = os.environ.get("BRAINENC_SANITIZER", "")
TIMEOUT = 300 if SANITIZER else 60

# tests/golden/README.md
PREDICTION_TOLERANCE = 2e-5
ATTENTION_TOLERANCE = 2e-6
HEAD_ATTENTION_TOLERANCE = 5e-6

DONE, SYSTEM, USAGE, MISSING, DATA, PARTIAL = range(6)


def expected(name):
    return np.load(CASE / "expected" / f"{name}.npy")


# --- the tool -----------------------------------------------------------------------------------


class Result(SimpleNamespace):
    """code, out and err of a run that has ended, as bytes and text."""

    def json(self):
        return json.loads(self.out)

    @property
    def lines(self):
        return self.err.splitlines()


# Prints the kB that a command took at most. In a process of its own: what its parent takes when it starts counts too.
WAIT_FOR = """
import os, sys
quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
_, status, usage = os.wait4(os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=quiet), 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


class Tool:
    """Runs the tool. Whatever a test is about: no run may die of a signal or be reported by a sanitizer, and one that fails
    says why in a last line that begins with the tool's name."""

    command = [*shlex.split(os.environ.get("BRAINENC_RUNNER", "")), os.environ.get("BRAINENC", "build/plain/brainenc")]

    def start(self, *arguments, **options):
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        return subprocess.Popen([*self.command, *map(os.fspath, map(_text, arguments))], **options)

    def run(self, *arguments, code=DONE, input=None, **options):
        """The Result; fails the test when the exit code is not `code`, which may be a collection of them."""
        if input is not None:
            options["stdin"] = subprocess.PIPE
        process = self.start(*arguments, **options)
        try:
            out, err = process.communicate(input, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        result = Result(code=process.returncode, out=out, err=(err or b"").decode(errors="replace"))
        check_orderly(result)
        assert result.code in ([code] if isinstance(code, int) else code), (arguments, result.code, result.err)
        return result

    def peak(self, *arguments):
        """The most memory a run that must succeed ever had, in bytes; a sanitizer takes memory of its own."""
        command = [*self.command, *map(os.fspath, map(_text, arguments))]
        result = subprocess.run([sys.executable, "-c", WAIT_FOR, *command], check=True, stdout=subprocess.PIPE, timeout=TIMEOUT)
        return 1024 * int(result.stdout)

    def refuses(self, code, *arguments, **options):
        """The sentence of a run that must fail with `code` and say one thing only."""
        result = self.run(*arguments, code=code, **options)
        assert len(result.lines) == 1, result.err
        return result.lines[0]


def _text(argument):
    return argument if isinstance(argument, (str, bytes, os.PathLike)) else str(argument)


def check_orderly(result):
    assert DONE <= result.code <= PARTIAL, (result.code, result.err)
    assert "Sanitizer" not in result.err and "runtime error" not in result.err, result.err
    if result.code not in (DONE, PARTIAL):
        assert result.lines and result.lines[-1].startswith("brainenc: "), result.err


# --- pictures -----------------------------------------------------------------------------------


def encode_png(rgb):
    """8-bit RGB [height][width][3] as a PNG."""
    height, width, _ = rgb.shape

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.tobytes() for row in rgb.astype(np.uint8))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _png_chunks(data):
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at = 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0]
        yield kind, body
        at += 12 + length


def _paeth(a, b, c):
    p = a + b - c
    pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
    return a if pa <= pb and pa <= pc else b if pb <= pc else c


def _unfilter(kind, row, above):
    """One row of 8-bit RGB by the PNG specification, section 9."""
    if kind == 0:
        return row
    for i in range(len(row)):
        left, corner = (row[i - 3], above[i - 3]) if i >= 3 else (0, 0)
        add = (0, left, above[i], (left + above[i]) // 2)[kind] if kind < 4 else _paeth(left, above[i], corner)
        row[i] = (row[i] + add) & 255
    return row


def decode_png(data):
    """A PNG of 8-bit RGB as [height][width][3]; checks every CRC."""
    chunks = list(_png_chunks(data))
    width, height, *rest = struct.unpack(">IIBBBBB", chunks[0][1])
    assert rest == [8, 2, 0, 0, 0] and chunks[-1][0] == b"IEND"
    packed = bytearray(zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT")))
    stride, above, rows = 3 * width, bytearray(3 * width), []
    assert len(packed) == height * (stride + 1)
    for y in range(height):
        start = y * (stride + 1)
        above = _unfilter(packed[start], packed[start + 1 : start + 1 + stride], above)
        rows.append(above)
    return np.frombuffer(b"".join(rows), np.uint8).reshape(height, width, 3)


def write_pictures(folder, count, size, seed=0):
    """`count` square pictures of noise, named in order. Their paths."""
    random = np.random.default_rng(seed)
    folder.mkdir()
    paths = [folder / f"{i:03}.png" for i in range(count)]
    for path in paths:
        path.write_bytes(encode_png(random.integers(0, 256, (size, size, 3))))
    return paths


# --- weights ------------------------------------------------------------------------------------

_SAFETENSORS = {"F32": "<f4", "BF16": "<u2", "I32": "<i4", "U8": "u1"}


def read_safetensors(path):
    """(tensors by name, metadata) of a safetensors file."""
    data = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, about in header.items():
        begin, end = about["data_offsets"]
        body = data[8 + length + begin : 8 + length + end]
        tensors[name] = np.frombuffer(body, _SAFETENSORS[about["dtype"]]).reshape(about["shape"])
    return tensors, metadata


def write_safetensors(path, tensors, metadata):
    """What read_safetensors reads, back into a file."""
    names = {"float32": "F32", "uint8": "U8", "int32": "I32"}
    header, at = {"__metadata__": metadata}, 0
    for name, values in tensors.items():
        header[name] = {"dtype": names[str(values.dtype)], "shape": list(values.shape), "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
    text = json.dumps(header).encode()
    data = b"".join(np.ascontiguousarray(values).tobytes() for values in tensors.values())
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def join_members(files, path, scores, changes=()):
    """One subject file of all members of `files`, each file's own one in turn. `scores`: {"lh": [members][vertices], "rh": ...};
    `changes`: for each member, what else its description says."""
    tensors, members = {}, []
    for number, file in enumerate(files):
        found, metadata = read_safetensors(file)
        described = json.loads(metadata["brainenc"])
        members.append(described["members"][0] | (changes[number] if changes else {}))
        tensors |= {name.replace("members.0.", f"members.{number}."): values for name, values in found.items()}
    tensors |= {f"validation.{side}": np.asarray(values, np.float32) for side, values in scores.items()}
    write_safetensors(path, tensors, metadata | {"brainenc": json.dumps(described | {"members": members})})


class _TorchUnpickler(pickle.Unpickler):
    """Reads torch's zip form with stand-ins for torch's own classes."""

    def __init__(self, archive, root):
        super().__init__(archive.open(f"{root}/data.pkl"))
        self.archive, self.root = archive, root

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict  # torch hangs an attribute on it
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: np.lib.stride_tricks.as_strided(
                storage[offset:], shape, [storage.itemsize * step for step in strides])
        if module == "torch":
            return name if name.endswith("Storage") else lambda *_: name
        if (module, name) == ("argparse", "Namespace"):
            return SimpleNamespace
        if module.split(".")[0] == "numpy" or (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"unexpected {module}.{name}")

    def persistent_load(self, pid):
        kind, storage, key, _, count = pid
        assert kind == "storage"
        values = np.frombuffer(self.archive.read(f"{self.root}/data/{key}"), {"FloatStorage": "<f4", "LongStorage": "<i8"}[storage])
        assert len(values) == count
        return values


def read_pth(path):
    """What torch.save wrote, tensors as arrays; the archive's CRCs are checked."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        root = archive.namelist()[0].split("/")[0]
        return _TorchUnpickler(archive, root).load()


class _TorchPickler(pickle._Pickler):
    """Writes what torch.save would: arrays as tensors, their values in `records` for the archive."""

    dispatch = dict(pickle._Pickler.dispatch)

    def __init__(self, file):
        super().__init__(file, protocol=2)
        self.records = []

    def persistent_id(self, obj):
        return obj.place if isinstance(obj, _Storage) else None

    def save_tensor(self, array):
        values = np.ascontiguousarray(array, "<f4")
        strides = tuple(step // 4 for step in values.strides)
        storage = _Storage(("storage", _TorchClass("torch", "FloatStorage"), str(len(self.records)), "cpu", values.size))
        self.records.append(values.tobytes())
        self.save(_TorchClass("torch._utils", "_rebuild_tensor_v2"))
        self.save((storage, 0, values.shape, strides, False, OrderedDict()))
        self.write(pickle.REDUCE)

    def save_class(self, it):
        self.write(pickle.GLOBAL + f"{it.module}\n{it.name}\n".encode())


class _Storage(SimpleNamespace):
    def __init__(self, place):
        super().__init__(place=place)


class _TorchClass(SimpleNamespace):
    def __init__(self, module, name):
        super().__init__(module=module, name=name)


_TorchPickler.dispatch |= {np.ndarray: _TorchPickler.save_tensor, _TorchClass: _TorchPickler.save_class}


def write_pth(path, content):
    """Writes dicts of arrays (as float32 tensors), numbers and texts as torch.save would."""
    file = io.BytesIO()
    pickler = _TorchPickler(file)
    pickler.dump(content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", file.getvalue())
        for number, record in enumerate(pickler.records):
            archive.writestr(f"archive/data/{number}", record)
        archive.writestr("archive/version", "3\n")


def edit_checkpoint(source, target, args=None, change=lambda model: None):
    """Copies a checkpoint of the training program with other arguments, and with its tensors by name as `change` leaves them."""
    checkpoint = read_pth(source)
    model = OrderedDict(checkpoint["model"])
    change(model)
    write_pth(target, {"model": model, "args": Namespace(**vars(checkpoint["args"]) | (args or {}))})


def rewrite_pth(source, target, replace):
    """Copies a .pth with strings of its pickle replaced by others of the same length."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("data.pkl"):
                for before, after in replace.items():
                    assert len(before) == len(after) and before in data
                    data = data.replace(before, after)
            new.writestr(name, data)


def rewrite_setting(source, target, before, after):
    """Copies a .pth with a text setting replaced by another of the same length."""
    def as_pickled(text):
        return b"X" + len(text).to_bytes(4, "little") + text.encode()

    rewrite_pth(source, target, {as_pickled(before): as_pickled(after)})


def rewrite_subject(source, target, change):
    """Copies a subject file; change(about, tensors) may change its metadata and, in place, its tensors."""
    data = source.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])
    metadata = header.pop("__metadata__")
    about = json.loads(metadata["brainenc"])
    change(about, {name: np.frombuffer(body, _SAFETENSORS[it["dtype"]], offset=it["data_offsets"][0],
                                       count=int(np.prod(it["shape"]))).reshape(it["shape"]) for name, it in header.items()})
    text = json.dumps(header | {"__metadata__": metadata | {"brainenc": json.dumps(about)}}).encode()
    text += b" " * (-len(text) % 8)
    target.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return target


def without_fsaverage(about, _):
    about["fsaverage"] = {"lh": 0, "rh": 0}


# --- surfaces -----------------------------------------------------------------------------------


def surface_of(folder, hemisphere):
    """Where a subject's vertices lie on fsaverage: a mask."""
    return np.load(folder / f"roi_masks/{hemisphere}.all-vertices_fsaverage_space.npy") != 0


def placed(values, surface):
    """The last axis, a value a vertex, on the whole surface; NaN elsewhere."""
    whole = np.full((*values.shape[:-1], len(surface)), np.nan, np.float32)
    whole[..., surface] = values
    return whole


NODE_INDEX, NO_INTENT = 2002, 0  # nifti1.h


def read_gifti(data):
    """A .func.gii as nibabel reads it: its metadata, the arrays [pictures][values], their names, the vertex indices (or None)."""
    image = nibabel.GiftiImage.from_bytes(data)
    for array in image.darrays:
        assert nibabel.gifti.util.gifti_encoding_codes.specs[array.encoding] == "GZipBase64Binary"
        assert nibabel.gifti.util.gifti_endian_codes.specs[array.endian] == "LittleEndian"
        assert array.data.dtype == {NODE_INDEX: "<i4", NO_INTENT: "<f4"}[array.intent] and array.data.ndim == 1
    indices = [array for array in image.darrays if array.intent == NODE_INDEX]
    assert indices in ([], image.darrays[:1])
    values = image.darrays[len(indices):]
    return SimpleNamespace(meta=dict(image.meta), arrays=np.stack([array.data for array in values]),
                           names=[array.meta["Name"] for array in values], index=indices[0].data if indices else None,
                           about_index=indices[0].meta["Description"] if indices else None)


# --- the data of a subject ----------------------------------------------------------------------


def read_rois(folder, families=FAMILIES):
    """[(name, family, {"lh": mask, "rh": mask})] in query order, from an Algonauts folder; `rest` is the last."""
    masks = folder / "roi_masks"
    rois, covered = [], {}
    for family in families:
        names = np.load(masks / f"mapping_{family}.npy", allow_pickle=True).item()
        labels = {h: np.load(masks / f"{h}.{family}_challenge_space.npy") for h in ("lh", "rh")}
        for label in sorted(names):
            if label != 0:
                rois.append((names[label], family, {h: labels[h] == label for h in labels}))
        for h in labels:
            covered[h] = covered.get(h, False) | (labels[h] != 0)
    return [*rois, ("rest", None, {h: ~covered[h] for h in covered})]
