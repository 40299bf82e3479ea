"""Pictures in bulk: HDF5 files as h5py and others write them, and such as are no good."""
import ctypes
import json
import os
import random
import struct
import zlib

import h5py
import numpy as np
import pytest

from support import (DATA, DONE, MISSING, PARTIAL, PICTURES, PREDICTION_TOLERANCE, SANITIZER, SYSTEM, USAGE, decode_png,
                     encode_png, expected)
from test_resume import check_refused_until_restarted, done, insist, kill_after_a_save

A, B = PICTURES / "a_425.png", PICTURES / "b_425.png"
LAYOUTS = {
    "contiguous": {},
    "a chunk each": {"chunks": (1, 425, 425, 3)},
    "two in a chunk": {"chunks": (2, 425, 425, 3), "compression": "gzip", "shuffle": True, "fletcher32": True},
    "in pieces": {"chunks": (2, 200, 130, 2), "compression": "gzip"},
    "growing": {"chunks": (1, 425, 425, 3), "maxshape": (None, 425, 425, 3), "compression": "gzip"},
}


def write(path, pixels, dataset="imgBrick", **options):
    with h5py.File(path, "w", libver=options.pop("libver", None)) as file:
        file.create_dataset(dataset, data=pixels, **options)
    return path


def noise(count, size=28, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)


def write_png(folder, pixels):
    """The same pictures as files. Their paths."""
    folder.mkdir()
    paths = [folder / f"{number:03}.png" for number in range(len(pixels))]
    for path, rgb in zip(paths, pixels):
        path.write_bytes(encode_png(rgb))
    return paths


def predict(tool, folder, model, *pictures, code=DONE):
    """The rows and what FILE.npy.json says."""
    tool.run("predict", *pictures, *model, "-o", folder / "out.npy", code=code)
    return np.load(folder / "out.npy"), json.loads((folder / "out.npy.json").read_text())


def test_inspect_says_what_it_is(tool, tmp_path):
    path = write(tmp_path / "pictures", np.zeros((3, 20, 30, 3), np.uint8))  # by its bytes, whatever it is called
    text = tool.run("inspect", path).out.decode()
    assert text.startswith(f"{path}: pictures in an HDF5 file") and "imgBrick" in text and "3 of 30 x 20 pixels" in text
    other = write(tmp_path / "other.h5", np.zeros((3, 20, 30, 3), np.uint8), dataset="group/pictures")
    found = tool.run("inspect", other, "--json").json()
    assert found["kind"] == "an HDF5 file" and "group/" in found["supported"] and "--dataset" in found["supported"]
    cut = tmp_path / "cut.hdf5"
    cut.write_bytes(path.read_bytes()[:200])
    assert tool.refuses(DATA, "inspect", cut).startswith(f"brainenc: {cut}: ")


@pytest.fixture(scope="module")
def both():
    return np.stack([decode_png(path.read_bytes()) for path in (A, B)])


@pytest.fixture(scope="module")
def small(model):
    """The golden model, for pictures of noise that take no time."""
    return [*model, "--fit", "native"]


# --- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_predictions_are_the_golden_ones(tool, model, both, tmp_path, layout, libver):
    path = write(tmp_path / "stimuli.hdf5", both, libver=libver, **LAYOUTS[layout])
    got, about = predict(tool, tmp_path, model, path)
    golden = np.concatenate([expected("lh_pred"), expected("rh_pred")], axis=1)
    assert np.abs(got - golden).max() < PREDICTION_TOLERANCE
    assert about["rows"] == [f"{path}[0]", f"{path}[1]"]


@pytest.mark.parametrize("shape", [(1, 28, 28, 3), (3, 28, 28, 3), (4, 9, 11, 1), (2, 28, 9, 2), (7, 28, 28, 3)])
@pytest.mark.parametrize("compression", [None, "gzip"])  # which leaves noise as it is, for it cannot be packed
def test_files_of_both_kinds_give_the_same_rows_in_the_order_asked(tool, small, tmp_path, shape, compression):
    pixels = noise(7)
    path = write(tmp_path / "noise.h5", pixels, chunks=shape, compression=compression)
    files = write_png(tmp_path / "files", pixels)
    rows, _ = predict(tool, tmp_path, small, *files)
    got, about = predict(tool, tmp_path, small, files[0], path, files[6], "--images", "2-4,0,6,2")
    order = [0, 2, 3, 4, 0, 6, 2, 6]
    assert got.tobytes() == rows[order].tobytes()
    assert about["rows"] == [str(files[0]), *(f"{path}[{i}]" for i in order[1:-1]), str(files[6])]


def test_json_names_each_picture(tool, small, tmp_path):
    pixels = noise(2)
    path = write(tmp_path / "noise.h5", pixels)
    (tmp_path / "list").write_text(f"{path}\n")
    answer = tool.run("predict", "--list", tmp_path / "list", *small, "--json", "--images", "1,0").json()["predictions"]
    assert [one["image"]["name"] for one in answer] == [f"{path}[1]", f"{path}[0]"]
    assert answer[0]["id"] != answer[1]["id"] and answer[0]["image"]["width"] == 28


def test_several_files(tool, small, tmp_path):
    first, second = (write(tmp_path / f"{i}.h5", noise(2, seed=i), name) for i, name in enumerate(("stimuli", "imgBrick")))
    alone = [predict(tool, tmp_path, small, path)[0] for path in (first, second)]
    assert predict(tool, tmp_path, small, first, second)[0].tobytes() == np.concatenate(alone).tobytes()


# --- which dataset, which pictures --------------------------------------------------------------


def test_the_only_dataset_of_pictures_is_taken(tool, small, tmp_path):
    path = tmp_path / "many.h5"
    with h5py.File(path, "w") as file:
        file["labels"] = np.arange(2)
        file["mean"] = noise(1)[0]
        file["stimuli"] = noise(2)
        file["group/stimuli"] = noise(3)
    assert len(predict(tool, tmp_path, small, path)[0]) == 2
    for name in ("group/stimuli", "/group/stimuli"):
        assert len(predict(tool, tmp_path, small, path, "--dataset", name)[0]) == 3
    with h5py.File(path, "a") as file:
        file["other"] = noise(4)
    sentence = tool.refuses(MISSING, "predict", path, *small)
    assert "'imgBrick'" in sentence and "--dataset" in sentence and "labels int64 [2]" in sentence and "group/" in sentence
    assert "stimuli uint8 [2][28][28][3]" in sentence and "other uint8 [4][28][28][3]" in sentence
    assert len(predict(tool, tmp_path, small, path, "--dataset", "other")[0]) == 4
    with h5py.File(path, "a") as file:
        file["imgBrick"] = noise(1)
    assert len(predict(tool, tmp_path, small, path)[0]) == 1


def test_what_is_not_there_is_named(tool, small, tmp_path):
    path = write(tmp_path / "some.h5", noise(3))
    for dataset in ("nowhere", "imgBrick/nowhere", "", "/"):
        sentence = tool.refuses((MISSING, DATA), "predict", path, *small, "--dataset", dataset)
        assert str(path) in sentence and dataset in sentence
        assert "nowhere" not in dataset or "holds: imgBrick uint8 [3][28][28][3]" in sentence
    for images in ("3", "0-3", "0,1,99", "18446744073709551615"):
        sentence = tool.refuses(MISSING, "predict", path, *small, "--images", images)
        assert str(path) in sentence and "numbered 0 to 2" in sentence
    assert "no such file" in tool.refuses(MISSING, "predict", tmp_path / "missing.hdf5", *small)


@pytest.mark.parametrize("images", ["", "a", "1-", "-1", "2-1", "1,,2", "1,", "1 2", "0x1", "1-2-3", "18446744073709551616"])
def test_numbers_that_are_none_are_refused(tool, small, tmp_path, images):
    path = write(tmp_path / "some.h5", noise(3))
    assert "--images" in tool.refuses(USAGE, "predict", path, *small, "--images", images)


@pytest.mark.parametrize("option", ["--dataset", "--images"])
def test_options_of_hdf5_files_need_one(tool, small, option):
    assert option in tool.refuses(USAGE, "predict", A, *small, option, "1")


# --- what is not read ---------------------------------------------------------------------------


@pytest.mark.parametrize("pixels, word", [
    (noise(2).astype(np.uint16), "uint16 [2][28][28][3]"), (noise(2).astype(np.float32), "float32"),
    (noise(2).astype(np.int8), "int8"), (noise(2)[0], "[28][28][3]"), (noise(2).transpose(0, 3, 1, 2), "[2][3][28][28]"),
    (noise(2)[..., :1], "[28][28][1]"), (noise(2)[:0], "[0][28][28][3]"), (noise(2)[None], "[1][2][28]"), (np.uint8(1), "uint8"),
    (np.array([b"text"]), "string"), (np.zeros(2, [("a", "u1")]), "compound"), (h5py.Empty("u1"), "uint8"),
])
def test_other_types_and_shapes_are_refused(tool, small, tmp_path, pixels, word):
    sentence = tool.refuses(DATA, "predict", write(tmp_path / "it.h5", pixels), *small)
    assert sentence.startswith(f"brainenc: {tmp_path}/it.h5: imgBrick: ") and word in sentence


@pytest.mark.parametrize("shape, options, word", [
    ((1 << 40, 425, 425, 3), {"chunks": (1, 425, 425, 3), "compression": "gzip"}, "more than can be in a file"),
    ((1 << 62, 28, 28, 3), {"chunks": (1, 28, 28, 3)}, "more than can be in a file"),
    ((1, 6325, 6325, 3), {"chunks": (1, 64, 64, 3)}, "limit of 40000000"),
    ((1, 65501, 1, 3), {"chunks": (1, 64, 1, 3)}, "65500"),
    ((5, 28, 28, 3), {}, "nothing was ever written"),
])
def test_sizes_that_are_only_claimed_are_refused(tool, small, tmp_path, shape, options, word):
    with h5py.File(tmp_path / "it.h5", "w") as file:
        file.create_dataset("imgBrick", shape, np.uint8, **options)
    assert word in tool.refuses(DATA, "predict", tmp_path / "it.h5", *small)


def test_more_pictures_than_can_be_listed_are_refused(tool, small, tmp_path):
    """A kilobyte that claims a few million is no reason to list them all."""
    path, most = tmp_path / "it.h5", 1 << 22
    with h5py.File(path, "w") as file:
        file.create_dataset("imgBrick", (most + 1, 1, 1, 3), np.uint8, chunks=(most, 1, 1, 3), compression="gzip")
        file["imgBrick"].id.write_direct_chunk((0, 0, 0, 0), zlib.compress(bytes(3 * most)))
    sentence = tool.refuses(DATA, "predict", path, *small)
    assert str(path) in sentence and str(most) in sentence and "--images" in sentence
    assert str(most) in tool.refuses(DATA, "predict", path, *small, "--images", f"0,0-{most - 1}")
    assert len(predict(tool, tmp_path, small, path, "--images", "0,5")[0]) == 2


def test_the_limit_of_pixels_is_the_users(tool, small, tmp_path):
    path = write(tmp_path / "it.h5", noise(1))
    assert "28 x 28" in tool.refuses(DATA, "predict", path, *small, "--max-pixels", 28 * 28 - 1)
    tool.run("predict", path, *small, "--max-pixels", 28 * 28)


@pytest.mark.parametrize("options, word", [({"compression": "lzf"}, "lzf"), ({"scaleoffset": 0}, "scaleoffset")])
def test_other_filters_are_refused(tool, small, tmp_path, options, word):
    sentence = tool.refuses(DATA, "predict", write(tmp_path / "it.h5", noise(2), chunks=(1, 28, 28, 3), **options), *small)
    assert word in sentence and "imgBrick" in sentence and "h5repack" in sentence


def test_packed_chunks_too_large_to_keep_are_refused(tool, small, tmp_path):
    """2 GB unpacked."""
    with h5py.File(tmp_path / "it.h5", "w") as file:
        data = file.create_dataset("imgBrick", (3, 28, 28, 3), np.uint8, chunks=(900000, 28, 28, 3), maxshape=(None, 28, 28, 3),
                                   compression="gzip")
        data.id.write_direct_chunk((0, 0, 0, 0), zlib.compress(b"\1" * 1000000))
    sentence = tool.refuses(DATA, "predict", tmp_path / "it.h5", *small)
    assert "1073741824 bytes" in sentence and "h5repack" in sentence


@pytest.fixture()
def pipe(tmp_path):
    """Whoever opens it waits forever."""
    os.mkfifo(tmp_path / "pipe.h5")
    return tmp_path / "pipe.h5"


def test_other_files_are_never_opened(tool, small, tmp_path, pipe):
    path, pixels = tmp_path / "it.h5", noise(2)
    layout = h5py.VirtualLayout(pixels.shape, np.uint8)
    layout[:] = h5py.VirtualSource(pipe, "imgBrick", pixels.shape)
    with h5py.File(path, "w") as file:
        file["good"] = pixels
        file.create_dataset("elsewhere", pixels.shape, np.uint8, external=[(str(pipe), 0, pixels.size)])
        file.create_virtual_dataset("virtual", layout)
        file["outside"] = h5py.ExternalLink(pipe, "/imgBrick")
        file["inside"] = h5py.SoftLink("/good")
        file["around"] = h5py.SoftLink("/")
    assert len(predict(tool, tmp_path, small, path)[0]) == 2
    for name, word in (("elsewhere", "other files"), ("virtual", "other files"), ("outside", "link"), ("inside", "link"),
                       ("outside/imgBrick", "link"), ("around/good", "link")):
        sentence = tool.refuses(DATA, "predict", path, *small, "--dataset", name)
        assert f"{path}: " in sentence and name.split("/")[0] in sentence and word in sentence
    with h5py.File(path, "a") as file:
        file["imgBrick"] = h5py.ExternalLink(pipe, "/imgBrick")
    assert "link" in tool.refuses(DATA, "predict", path, *small)
    assert "regular file" in tool.refuses(SYSTEM, "predict", pipe, *small)


# --- damage -------------------------------------------------------------------------------------


@pytest.fixture(params=["missing", "short", "long", "no zlib", "left out"])
def holed(request, tmp_path):
    """Ten packed pictures, of which number 4 is no good."""
    pixels, path = noise(10), tmp_path / "holed.h5"
    whole = pixels[4].tobytes()
    chunks = {"short": zlib.compress(whole[:-1]), "long": zlib.compress(whole + b"\0"), "no zlib": whole,
              "left out": whole[:1000]}
    with h5py.File(path, "w") as file:
        data = file.create_dataset("imgBrick", pixels.shape, np.uint8, chunks=(1, 28, 28, 3), compression="gzip")
        for number in {*range(10)} - {4}:
            data[number] = pixels[number]
        if request.param in chunks:
            data.id.write_direct_chunk((4, 0, 0, 0), chunks[request.param], 1 if request.param == "left out" else 0)
    return path, write_png(tmp_path / "files", pixels)


def test_a_chunk_that_does_not_hold_its_picture_is_refused(tool, small, holed, tmp_path):
    path, files = holed
    sentence = tool.refuses(DATA, "predict", path, *small)
    assert sentence.startswith(f"brainenc: {path}: imgBrick: ") and "picture 4" in sentence
    got, about = predict(tool, tmp_path, small, path, "--on-error", "nan", code=PARTIAL)
    assert [failure["image"] for failure in about["failed"]] == [f"{path}[4]"] and np.isnan(got[4]).all()
    rows, _ = predict(tool, tmp_path, small, *files)
    assert np.delete(got, 4, 0).tobytes() == np.delete(rows, 4, 0).tobytes()


def test_a_wrong_checksum_is_found(tool, small, tmp_path):
    path = write(tmp_path / "it.h5", noise(2), chunks=(1, 28, 28, 3), fletcher32=True)
    data = bytearray(path.read_bytes())
    data[data.index(noise(2)[1].tobytes()) + 100] ^= 1
    path.write_bytes(data)
    sentence = tool.refuses(DATA, "predict", path, *small)
    assert "picture 1" in sentence and "letcher32" in sentence


def write_filterless_edges(path, pixels):
    """Packed chunks of 20 x 20, except those past the edges, which libhdf5 neither packs nor unpacks; h5py cannot ask for that."""
    library = ctypes.CDLL("libhdf5_serial.so.103")
    with h5py.File(path, "w", libver="latest") as file:
        space, how = h5py.h5s.create_simple(pixels.shape), h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        how.set_chunk((1, 20, 20, 3))
        how.set_deflate(4)
        assert library.H5Pset_chunk_opts(ctypes.c_int64(how.id), ctypes.c_uint(2)) >= 0
        h5py.Dataset(h5py.h5d.create(file.id, b"imgBrick", h5py.h5t.STD_U8LE, space, how))[...] = pixels
    return path


def test_chunks_at_the_edges_may_be_left_unpacked(tool, small, tmp_path):
    pixels = noise(2)
    got, _ = predict(tool, tmp_path, small, write_filterless_edges(tmp_path / "it.h5", pixels))
    rows, _ = predict(tool, tmp_path, small, *write_png(tmp_path / "files", pixels))
    assert got.tobytes() == rows.tobytes()


def test_a_packed_chunk_where_none_is_unpacked_is_refused(tool, small, tmp_path):
    """Taken as it is it would be read past its end."""
    path = write_filterless_edges(tmp_path / "it.h5", noise(2))
    with h5py.File(path, "a", libver="latest") as file:
        file["imgBrick"].id.write_direct_chunk((1, 20, 0, 0), zlib.compress(bytes(1200)))
    sentence = tool.refuses(DATA, "predict", path, *small)
    assert sentence.startswith(f"brainenc: {path}: imgBrick: ") and "picture 1" in sentence


def damaged(path):
    """libhdf5 leaves memory behind where it fails; nothing else may."""
    (path.parent / "leaks").write_text("leak:libhdf5\n")
    return os.environ | {"LSAN_OPTIONS": f"suppressions={path.parent}/leaks:print_suppressions=0"}


@pytest.mark.parametrize("layout", [{}, {"chunks": (2, 28, 28, 3), "compression": "gzip"}])
def test_a_file_cut_off_anywhere_is_refused(tool, small, tmp_path, layout):
    path = write(tmp_path / "it.h5", noise(3) // 64, **layout)
    data = path.read_bytes()
    for size in [0, 1, 8, 50, 95, 96, *range(100, len(data), len(data) // (3 if SANITIZER else 9)), len(data) - 1]:
        path.write_bytes(data[:size])
        assert str(path) in tool.refuses(DATA, "predict", path, *small, env=damaged(path))


def test_chunks_that_are_said_to_be_larger_than_they_are(tool, small, tmp_path):
    """Their shape is a message of the file, their length an entry of its index: in memory nothing lies behind the latter."""
    shape, path = (1, 20, 28, 3), tmp_path / "it.h5"
    write(path, noise(3), chunks=shape, libver="earliest")
    good, words = path.read_bytes(), struct.pack("<4I", *shape)
    assert good.count(words) == 1
    for changed in ((3, 20, 28, 3), (1, 28, 28, 3), (1, 20, 100, 3), (1, 20, 28, 7)):
        path.write_bytes(good.replace(words, struct.pack("<4I", *changed)))
        result = tool.run("predict", path, *small, code=(DONE, DATA), env=damaged(path))
        assert result.code == DONE or str(path) in result.lines[-1]


MUTATIONS = 20 if SANITIZER else 100


@pytest.mark.parametrize("layout", [
    {}, {"chunks": (2, 28, 28, 3)}, {"chunks": (1, 20, 28, 3), "compression": "gzip", "shuffle": True},
    {"chunks": (2, 28, 28, 3), "maxshape": (None, 28, 28, 3), "libver": "latest", "compression": "gzip"}])
def test_changed_bytes_are_no_crash(tool, small, tmp_path, layout):
    path = write(tmp_path / "it.h5", noise(3) // 64, **layout)
    good, chance, codes = path.read_bytes(), random.Random(str(layout)), set()
    structure = [at for at in range(len(good)) if at < 2048 or good[at] > 3]  # pixels are 0 to 3, where they are not packed
    for _ in range(MUTATIONS):
        data = bytearray(good)
        for _ in range(chance.randrange(1, 5)):
            data[chance.choice(structure)] = chance.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF, chance.randrange(256)))
        path.write_bytes(data)
        result = tool.run("predict", path, *small, "--threads", "1", code=(DONE, MISSING, DATA), env=damaged(path))
        assert result.code == DONE or str(path) in result.lines[-1]
        codes.add(result.code)
    assert DATA in codes


# --- unfinished runs ----------------------------------------------------------------------------


def test_a_killed_run_goes_on(tool, demo_model, tmp_path):
    count = 80 if SANITIZER else 300
    pixels = noise(count, 140)
    path = write(tmp_path / "noise.hdf5", pixels, chunks=(7, 140, 140, 3), compression="gzip", compression_opts=1)
    output = tmp_path / "out" / "out.npy"
    output.parent.mkdir()
    arguments = ["predict", path, *demo_model, "--fit", "native", "--threads", "2", "-o", output]
    insist(output, kill_after_a_save, tool, arguments, output)
    kept = done(output)
    assert 0 < kept < count
    assert f"goes on after {kept} of {count} images" in tool.run(*arguments).lines[0]
    straight, _ = predict(tool, tmp_path, [*demo_model, "--fit", "native"], path)
    assert np.load(output).tobytes() == straight.tobytes() and len(straight) == count


@pytest.fixture()
def unfinished(tool, small, tmp_path):
    """The file, and the output of a run that stopped after ten of its pictures."""
    path, pixels = tmp_path / "it.h5", noise(20)
    with h5py.File(path, "w") as file:
        data = file.create_dataset("imgBrick", pixels.shape, np.uint8, chunks=(1, 28, 28, 3))
        for number in {*range(20)} - {10}:
            data[number] = pixels[number]
        file["other"] = pixels[::-1]
    output = tmp_path / "out" / "out.npy"
    output.parent.mkdir()
    tool.run("predict", path, *small, "-o", output, code=DATA)
    assert done(output) == 10
    return path, output


def test_a_stopped_run_goes_on_past_the_picture_that_stopped_it(tool, small, unfinished, tmp_path):
    path, output = unfinished
    result = tool.run("predict", path, *small, "-o", output, "--on-error", "nan", code=PARTIAL)
    assert "after 10 of 20" in result.lines[0]
    straight, _ = predict(tool, tmp_path, small, path, "--on-error", "nan", code=PARTIAL)
    assert np.load(output).tobytes() == straight.tobytes()


@pytest.mark.parametrize("change", ["file", "selection", "dataset"])
def test_another_file_selection_or_dataset_is_refused(tool, small, unfinished, change):
    path, output = unfinished
    more = {"file": [], "selection": ["--images", "0-9,11-19"], "dataset": ["--dataset", "other"]}[change]
    if change == "file":
        write(path, noise(20, seed=1))
    check_refused_until_restarted(tool, ["predict", path, *small, *more, "-o", output], output)
