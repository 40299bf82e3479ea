"""Weights with damage at many places: an answer or a sentence, never a crash."""
import shutil
import struct

import numpy as np
import pytest

from support import CASE, DATA, DONE, SANITIZER, read_pth, read_safetensors, write_pictures

FLIPS = {"": 64, "thread": 8}.get(SANITIZER, 24)


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """Small, so that what takes time is reading the weights."""
    return write_pictures(tmp_path_factory.mktemp("damage") / "pictures", 1, 28)[0]


@pytest.fixture(scope="module")
def good(subject):
    """Files by what they are; the Hugging Face backbone with its config.json beside it."""
    return {"safetensors": CASE / "dinov2_small.safetensors", "pth": CASE / "dinov2_small_pretrain.pth", "subject": subject}


def predict(tool, good, picture, which, damaged):
    """Runs with one file damaged; one sentence names it when that fails."""
    backbone = damaged if which != "subject" else good["safetensors"]
    subject = damaged if which == "subject" else good["subject"]
    result = tool.run("predict", picture, "--backbone", backbone, "--subject", subject, "--fit", "native", "--threads", "1",
                      code=(DONE, DATA))
    if result.code == DATA:
        assert len(result.lines) == 1 and result.lines[0].startswith(f"brainenc: {damaged}: "), result.err
    return result


def header_size(path):
    return 8 + struct.unpack("<Q", path.read_bytes()[:8])[0]


@pytest.mark.parametrize("which", ["safetensors", "pth", "subject"])
def test_a_file_cut_off_anywhere_is_refused(tool, good, picture, tmp_path, which):
    data = good[which].read_bytes()
    damaged = tmp_path / good[which].name
    cuts = [0, 1, 7, 8, 9, 100, len(data) // 3, len(data) // 2, len(data) - 100, len(data) - 4, len(data) - 1]
    if which != "pth":
        cuts += [header_size(good[which]) + shift for shift in (-1, 0, 1)]
    for cut in cuts:
        damaged.write_bytes(data[:cut])
        assert predict(tool, good, picture, which, damaged).code == DATA, cut


def places_of_safetensors(data):
    """All over the length and the header: names, shapes, offsets, metadata."""
    (length,) = struct.unpack("<Q", data[:8])
    return [*range(8), *range(8, 8 + length, length // FLIPS), 7 + length]


def places_of_zip(data):
    """In the local headers, the pickle, the tensors and, most of all, the directory at the end."""
    directory = data.rindex(b"PK\5\6")
    (start,) = struct.unpack("<I", data[directory + 16 : directory + 20])
    return [*range(0, 12000, 12000 // FLIPS), *range(start, directory, (directory - start) // FLIPS),
            *range(directory, len(data), 3)]


@pytest.mark.parametrize("which", ["safetensors", "pth", "subject"])
def test_a_flipped_bit_anywhere_is_no_crash(tool, good, picture, tmp_path, which):
    data = bytearray(good[which].read_bytes())
    damaged = tmp_path / good[which].name
    codes = set()
    for number, place in enumerate(places_of_zip(data) if which == "pth" else places_of_safetensors(data)):
        bit = 1 << number % 8
        data[place] ^= bit
        damaged.write_bytes(data)
        data[place] ^= bit
        codes.add(predict(tool, good, picture, which, damaged).code)
    assert DATA in codes


def test_a_flipped_bit_in_a_pth_tensor_is_found(tool, good, picture, tmp_path):
    """The archive has a CRC of each tensor."""
    data = bytearray(good["pth"].read_bytes())
    values = np.ascontiguousarray(read_pth(good["pth"])["blocks.1.attn.qkv.weight"]).tobytes()
    data[data.index(values) + len(values) // 2] ^= 1
    damaged = tmp_path / "backbone.pth"
    damaged.write_bytes(data)
    assert "CRC" in predict(tool, good, picture, "pth", damaged).err


def write_safetensors(path, source, edit):
    """Copies a file with its header's text changed; the data stay."""
    data = source.read_bytes()
    end = header_size(source)
    header = edit(data[8:end])
    path.write_bytes(struct.pack("<Q", len(header)) + header + data[end:])


@pytest.mark.parametrize("before, after", [
    (b'\\"demo\\":false', b'\\"demo\\":"no"'), (b'\\"channels\\":96', b'\\"channels\\":-96'),
    (b'\\"channels\\":96', b'\\"channels\\":1e300'),
    (b'\\"heads\\":16', b'\\"heads\\":0'), (b'\\"heads\\":16', b'\\"heads\\":97'),
    (b'\\"layer\\":1,', b'\\"layer\\":5000000,'), (b'\\"image_size\\":null', b'\\"image_size\\":0'),
    (b'\\"features\\":\\"dinov2_q\\"', b'\\"features\\":\\"vgg16\\"'), (b'\\"format\\":2', b'\\"format\\":1'),
    (b'\\"readout\\":\\"rois_all\\"', b'\\"readout\\":\\"voxels\\"'),
    (b'members.0.query_embed.weight', b'members.0.query_embed.height'),
    (b'"masks.lh"', b'"masks.xx"'), (b'"fsaverage.rh"', b'"fsaverage.xx"'), (b'\\"V1v\\"', b'\\"\\"'),
])
def test_a_wrong_field_of_a_subject_is_refused(tool, good, picture, tmp_path, before, after):
    damaged = tmp_path / "subject.safetensors"

    def edit(header):
        assert before in header
        return header.replace(before, after, 1)

    write_safetensors(damaged, good["subject"], edit)
    assert predict(tool, good, picture, "subject", damaged).code == DATA


def test_a_backbone_shallower_than_the_subjects_layer_is_refused(tool, good, picture, tmp_path):
    damaged = tmp_path / "subject.safetensors"
    write_safetensors(damaged, good["subject"], lambda header: header.replace(b'\\"layer\\":1,', b'\\"layer\\":9,', 1))
    result = tool.run("predict", picture, "--backbone", good["safetensors"], "--subject", damaged, code=(2, DATA))
    assert "9" in result.lines[0] and "4 blocks" in result.lines[0]


def test_a_mask_that_is_neither_0_nor_1_is_refused(tool, good, picture, tmp_path):
    data = bytearray(good["subject"].read_bytes())
    masks = read_safetensors(good["subject"])[0]["masks.lh"].tobytes()
    data[data.index(masks) + 5] = 2
    damaged = tmp_path / "subject.safetensors"
    damaged.write_bytes(data)
    assert "mask of V1v holds the value 2 at vertex 5" in predict(tool, good, picture, "subject", damaged).err


def test_weights_that_overflow_give_null_and_no_crash(tool, good, picture, tmp_path):
    data = bytearray(good["subject"].read_bytes())
    queries = read_safetensors(good["subject"])[0]["members.0.query_embed.weight"].tobytes()
    data[data.index(queries) : data.index(queries) + 8] = struct.pack("<2f", 3e38, -3e38)
    damaged = tmp_path / "subject.safetensors"
    damaged.write_bytes(data)
    arguments = ["predict", picture, "--backbone", good["safetensors"], "--subject", damaged, "--fit", "native", "--json"]
    (prediction,) = tool.run(*arguments).json()["predictions"]
    assert None in prediction["lh"]["vertices"]
    assert any(isinstance(value, float) for value in prediction["lh"]["vertices"])  # of the other queries
    tool.run("attention", picture, *arguments[2:-1], "--roi", "V1v", "-o", tmp_path / "map.png")


def test_a_config_that_is_damaged_is_refused(tool, good, picture, tmp_path):
    backbone = tmp_path / "model.safetensors"
    shutil.copy(good["safetensors"], backbone)
    config = tmp_path / "config.json"
    for text in (b"", b"{", b"[]", b'{"num_attention_heads": -1}', b'{"num_attention_heads": "12"}', b"\xff" * 100,
                 b"[" * 100000):
        config.write_bytes(text)
        result = tool.run("predict", picture, "--backbone", backbone, "--subject", good["subject"], "--fit", "native",
                          code=(DONE, DATA))
        assert len(result.lines) == (result.code == DATA)
