"""What bf16 and bf16x3 cost in accuracy, against f32, over a fixed set of procedural pictures.

    python3 tests/bench/accuracy.py FOLDER [--images N] [--precision bf16 ...]

FOLDER is what `brainenc demo` wrote. Printed for each precision: the correlation over pictures of each vertex's response (its
median and least over vertices), the largest difference in units of the vertices' standard deviation, and, over the first four
pictures, the largest total variation between two maps of one ROI.
"""
import argparse
import struct
import tempfile
import zlib
from pathlib import Path

import common
import numpy as np

SIZE = 425
MAP_PICTURES = 4  # of the first so many


def picture(number):
    """Gratings, blobs, a disc and an edge in colour, all drawn by the picture's number."""
    random = np.random.default_rng(number)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    out = np.empty((SIZE, SIZE, 3))
    for colour in range(3):
        angle, pace, phase = random.uniform(0, np.pi), random.uniform(2, 40), random.uniform(0, 2 * np.pi)
        wave = 2 * np.pi * pace * (x * np.cos(angle) + y * np.sin(angle)) + phase
        out[..., colour] = 0.5 + random.uniform(0.05, 0.3) * np.sin(wave)
    for _ in range(random.integers(3, 12)):
        centre, width, colour = random.uniform(0, 1, 2), random.uniform(0.02, 0.25), random.uniform(-0.8, 0.8, 3)
        out += np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * width**2))[..., None] * colour
    centre, radius = random.uniform(0.2, 0.8, 2), random.uniform(0.05, 0.3)
    out[(x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2] = random.uniform(0, 1, 3)
    out[x + random.uniform(-1, 1) * y > random.uniform(0.5, 1.3)] *= random.uniform(0.3, 1)
    return (out.clip(0, 1) * 255).round().astype(np.uint8)


def write_png(path, pixels):
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts))


def write_pictures(folder, count):
    folder.mkdir(exist_ok=True)
    for number in range(count):
        write_png(folder / f"{number:04}.png", picture(number))
    return folder


def model(folder):
    return ["--backbone", common.backbone(folder), "--subject", folder / "subj01.safetensors"]


def run(*arguments):
    common.run(common.TOOL, *arguments)


def predict(folder, pictures, precision, out):
    run("predict", pictures, *model(folder), "--precision", precision, "-o", out)
    return np.load(out).astype(float)


def maps(folder, pictures, precision, out, count=MAP_PICTURES):
    found = []
    for path in sorted(pictures.iterdir())[:count]:
        run("attention", path, "--roi", "all", *model(folder), "--precision", precision, "-o", out)
        found.append(np.load(out).astype(float))
    return np.array(found)


def compare(found, want, found_maps, want_maps):
    """{"median", "least", "difference", "variation"}"""
    a, b = found - found.mean(axis=0), want - want.mean(axis=0)
    correlation = (a * b).sum(axis=0) / np.sqrt((a * a).sum(axis=0) * (b * b).sum(axis=0))
    return {"median": np.median(correlation), "least": correlation.min(),
            "difference": np.abs((found - want) / want.std(axis=0)).max(),
            "variation": 0.5 * np.abs(found_maps - want_maps).sum(axis=(-2, -1)).max()}


def measure(folder, count, precisions):
    if count < 2:
        raise common.Failure("a correlation over pictures takes two of them at least")
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        pictures = write_pictures(scratch / "pictures", count)
        answers = {name: (predict(folder, pictures, name, scratch / f"{name}.npy"),
                          maps(folder, pictures, name, scratch / "maps.npy")) for name in ["f32", *precisions]}
    return {name: compare(answers[name][0], answers["f32"][0], answers[name][1], answers["f32"][1]) for name in precisions}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--precision", nargs="+", default=["bf16", "bf16x3"])
    options = parser.parse_args()
    for name, it in measure(options.folder, options.images, options.precision).items():
        print(f"{name:8}r over {options.images} pictures: median {it['median']:.7f}, least {it['least']:.6f}; "
              f"largest difference {it['difference']:.2g} sd; maps: total variation {100 * it['variation']:.3f} %")


if __name__ == "__main__":
    common.program(main)
