"""Random and mutated requests. Number n of a seed is always the same: make_request(seed, n)."""
import json
import random
import re
import struct
import zlib

import numpy as np

from support import CORRUPT, GOLDEN, form, head, noise, npy, text64

SMALL = noise(1, 8, 8)
IMAGES = GOLDEN / "preprocess/images"
PNGS = [SMALL, noise(2, 20, 10)] + [(IMAGES / f"{name}.png").read_bytes() for name in (
    "bilevel_70x50", "gray4_53x40", "la_80x60", "palette_180x140", "interlaced_83x61", "rgb16_120x90")]
JPEGS = [(IMAGES / f"{name}.jpg").read_bytes() for name in ("cmyk_96x64", "exif_rotated_96x64", "gray_90x60", "jpeg444_101x70")]
PROGRESSIVE = (IMAGES / "progressive_500x333.jpg").read_bytes()
ARRAYS = [npy(np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)), npy(np.zeros((3, 14, 9, 3), np.uint8)),
          npy(np.asfortranarray(np.full((8, 8, 3), 7, np.uint8)))]
DAMAGED = [path.read_bytes() for path in sorted(CORRUPT.iterdir()) if path.suffix in (".png", ".jpg", ".npy")]
SNIPPETS = [b"\r\n", b"\r\n\r\n", b"\n", b"\0", b"%00", b"%", b"--", b":", b"0", b"-1", b"9" * 25, b"{", b"[", b'"', b"&", b"=",
            b" ", b"\xff" * 4, b"\x7f\xff\xff\xff"]


def mutate(data, rng):
    """A few bytes changed, cut, doubled or put in."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data) + 1)
        span = rng.randint(1, 20)
        kind = rng.randrange(6)
        if kind == 0 and at < len(data):
            data[at] = rng.randrange(256)
        elif kind == 1 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del data[at:at + span]
        elif kind == 3:
            data[at:at] = data[at:at + span]
        elif kind == 4:
            data[at:at] = rng.randbytes(span)
        else:
            data[at:at] = rng.choice(SNIPPETS)
    return bytes(data)


def png_chunks(data):
    at = 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        yield kind, data[at + 8:at + 8 + length]
        at += 12 + length


def mutated_png(rng):
    """Damaged behind its checksums: they are right again, so that the decoder gets to see it."""
    chunks = list(png_chunks(rng.choice(PNGS)))
    at = rng.randrange(len(chunks))
    kind, body = chunks[at]
    what = rng.randrange(6)
    if what == 0:
        chunks[at] = kind, mutate(body, rng)
    elif what == 1:
        chunks[0] = b"IHDR", mutate(chunks[0][1], rng)[:13].ljust(13, b"\0")
    elif what == 2:
        del chunks[at]
    elif what == 3:
        kind = rng.choice([kind, b"PLTE", b"tRNS", b"gAMA", b"iCCP", b"IDAT", b"zzZz"])
        chunks.insert(rng.randrange(len(chunks) + 1), (kind, mutate(body, rng)))
    else:
        rows = zlib.decompress(b"".join(data for name, data in chunks if name == b"IDAT"))
        chunks = [one for one in chunks if one[0] not in (b"IDAT", b"IEND")]
        chunks += [(b"IDAT", zlib.compress(mutate(rows, rng))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks)


def mutated_picture(rng):
    what = rng.randrange(40)
    if what < 14:
        return mutated_png(rng)
    if what < 18:
        return mutate(rng.choice(PNGS), rng)
    if what < 30:
        return mutate(rng.choice(JPEGS), rng)
    if what < 31:
        return mutate(PROGRESSIVE, rng)
    if what < 35:
        header = rng.choice(ARRAYS)
        return mutate(header[:128], rng) + header[128:] if rng.random() < 0.7 else mutate(header, rng)
    if what < 36:
        return mutate(rng.choice(DAMAGED), rng)
    return rng.choice(PNGS + JPEGS + ARRAYS)  # whole ones in between: they are to be answered as ever


PICTURE_PATHS = ["/predict?output=rois"] * 12 + ["/predict?format=npy", "/predict?rois=FBA,V1v", "/attention?roi=FBA&hemi=lh",
                                                 "/attention?roi=PPA&format=npy", "/predict?attention=FBA-1&output=rois"] * 3 + \
    ["/predict?output=rois&fit=crop", "/attention?roi=FBA-1&hemi=lh&format=png&fit=pad", "/predict?format=npy&fit=stretch"]


def post(rng, path, body, kind=None):
    kind = kind or rng.choice(["image/png", "image/jpeg", "application/octet-stream", "text/html"])
    return head(len(body), path, f"Content-Type: {kind}\r\n") + body


def picture_request(rng):
    return post(rng, rng.choice(PICTURE_PATHS), mutated_picture(rng))


VALUES = {
    "subject": ["subj01", "all", "subj01,subj01", "subj02", "SUBJ01"], "attention": ["FBA", "PPA,V1v", "rest", "nope"],
    "rois": ["FBA", "all", "rest", "FBA-1,PPA", "floc-bodies", "mTL"], "roi": ["FBA", "FBA-1", "V1v", "rest", "floc-faces", "fba"],
    "output": ["vertices", "rois", "both", "none"], "fit": ["native"] * 12 + ["crop", "squeeze"],
    "space": ["challenge", "fsaverage"],
    "format": ["json", "npy", "png", "gifti"], "hemi": ["lh", "rh", "both", "middle"], "heads": ["mean", "all", "none"],
    "vertex": ["lh:1", "rh:3,lh:0", "lh:99999", "7"], "spread": ["false", "true", "2"], "quality": ["true", "false", "maybe"],
    "id": ["00112233445566778899aabbccddeeff", "0", "x" * 200], "nonsense": ["1"],
}
ODD_VALUES = ["", "%00", "%", "%zz", "%ff%fe", "a" * 2000, ",", ",,,", "all,all,all", "FBA," * 300, "../../etc/passwd",
              "%0d%0aX:%20y",
              "-1", "1e999", "null", "%F0%9F%A7%A0", "+", "%2C", '"', "<b>", "\\", "%25%25", "&", "=", "a=b", "?", "/"]
ROUTES = ["/predict", "/attention", "/attention", "/subjects", "/rois", "/healthz", "/readyz", "/metrics", "/openapi.json", "/",
          "*", "//predict", "/predict/", "/%70redict", "/nope%00"]
METHODS = ["GET"] * 3 + ["OPTIONS", "DELETE", "PUT", "BREW"]


def query_request(rng):
    """The head is well formed; what the query says is not."""
    pairs = []
    for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 5, 80])):
        key = rng.choice(list(VALUES))
        value = rng.choice(VALUES[key]) if rng.random() < 0.8 else rng.choice(ODD_VALUES)
        pairs.append(rng.choice([f"{key}={value}"] * 15 + [key, f"={value}", f"{key}={key}={value}", ""]))
    path = rng.choice(ROUTES) + ("?" if pairs else "") + "&".join(pairs)[:6000]
    accept = rng.choice(["", "", "Accept: application/x-npy\r\n", "Accept: image/png\r\n", "Accept: application/gifti+xml\r\n",
                         "Accept: \xff;q=2,,\r\n"])
    if rng.random() < 0.5:
        return f"{rng.choice(METHODS)} {path} HTTP/1.1\r\nHost: x\r\n{accept}\r\n".encode("latin1")
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{accept}Content-Length: {len(SMALL)}\r\n\r\n".encode("latin1") + SMALL


def form_request(rng):
    parts = [rng.choice([mutated_picture(rng), SMALL, ("images", SMALL), ("note", b"text"), b"", ("image\"; x=\"", b"y")])
             for _ in range(rng.choice([1, 1, 2, 3, 12]))]
    boundary = rng.choice(["----boundary"] * 6 + ["x", "-", "a b", "x" * 69, '"q"'])
    headers, body = form(*parts, boundary=boundary)
    what = rng.randrange(4)
    if what == 0:
        body = mutate(body, rng)
    elif what == 1:  # between the parts, not in them
        body = body.replace(b"Content-Disposition", mutate(b"Content-Disposition", rng), rng.randint(1, 2))
    elif what == 2:
        body = body[:rng.randrange(len(body))]
    kind = headers["Content-Type"] if rng.random() < 0.9 else mutate(headers["Content-Type"].encode(), rng).decode("latin1")
    kind = re.sub("[^ -~]", "", kind)  # the head stays well formed
    return post(rng, "/predict?output=rois", body, kind)


def json_request(rng):
    def text():
        what = rng.randrange(5)
        encoded = text64(mutated_picture(rng) if what else rng.choice(PNGS[:2]))
        if what == 1:
            encoded = mutate(encoded.encode(), rng).decode("latin1")
        return rng.choice(["", "", "", "data:image/png;base64,"]) + encoded
    values = [text, text, text, lambda: None, lambda: 1e308, lambda: {"image": text()}, lambda: "\0\ud800"]
    what = rng.randrange(8)
    if what < 3:
        body = {"image": text()}
    elif what < 6:
        body = {"images": [rng.choice(values)() for _ in range(rng.choice([1, 1, 2, 5]))]}
    else:
        body = {rng.choice(["image", "images", "", "Image"]): rng.choice(values)() for _ in range(3)}
    body = json.dumps(body, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    if rng.random() < 0.4:
        body = mutate(body, rng)
    if rng.random() < 0.02:
        body = rng.choice([b"[", b'{"image":', b'{"images":[']) * rng.randint(1, 2000)
    return post(rng, rng.choice(["/predict?output=rois", "/attention?roi=FBA&hemi=lh"]), body, "application/json")


def wire_seeds():
    headers, body = form(SMALL, ("note", b"text"))
    rng = random.Random(0)
    return [
        post(rng, "/predict?output=rois", SMALL, "image/png"), post(rng, "/predict?output=rois", body, headers["Content-Type"]),
        post(rng, "/attention?roi=FBA&hemi=lh", f'{{"images": ["{text64(SMALL)}"]}}'.encode(), "application/json"),
        post(rng, "/predict?rois=V1v,FBA&subject=all", SMALL, "x"),
        b"GET /attention?roi=FBA&id=00112233445566778899aabbccddeeff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /rois?subject=subj01 HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n", b"GET /metrics HTTP/1.0\r\n\r\n",
        b"OPTIONS /predict HTTP/1.1\r\nHost: x\r\nOrigin: https://x.example\r\n\r\n",
    ]


WIRE = wire_seeds()
ODD_HEADERS = [
    b"Content-Length: 0", b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 99999999999999999999",
    b"Content-Length: 0x10",
    b"Content-Length: 21000000", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity",
    b"Expect: 100-continue", b"Expect: 200-ok", b"Connection: close", b"Connection: keep-alive, Upgrade", b"Upgrade: h2c",
    b"Host: y", b"Host:", b"X" * 3000 + b": y", b"X: " + b"y" * 3000, b": x", b"no colon", b" folded: x", b"X:\x01\x02",
    b"Range: bytes=0-0", b"Cookie: a=b;;=;", b"Authorization: Bearer", b"X-API-Key: x", b"Content-Type: multipart/form-data",
    b"Content-Type: multipart/form-data; boundary=", b"Content-Type: application/json", b"Accept: image/png",
]


def chunked(rng):
    """A picture in chunks whose sizes, extensions and ends are not always right."""
    data, body = rng.choice(PNGS[:2]), b""
    while data:
        size = rng.randint(1, 200)
        told = f"{len(data[:size]):x}".encode()
        if rng.random() < 0.08:
            told = rng.choice([b"", b"zz", b"-1", b"f" * 16, b"0", b"7fffffff", told + b" ", b"0x" + told, told * 20,
                               b"0" * 30 + told])
        extension = rng.choice([b""] * 6 + [b";x", b";x=y", b";" + b"x" * 500])
        ends = [rng.choice([b"\r\n"] * 30 + odd) for odd in ([b"\n", b"\r", b""], [b"\n", b""])]
        body += told + extension + ends[0] + data[:size] + ends[1]
        data = data[size:]
    end = rng.choice([b"0\r\n\r\n"] * 4 + [b"0\r\nX-Trailer: y\r\n\r\n", b"0\r\n", b"", b"00000\r\n\r\n"])
    more = rng.choice([b""] * 4 + [b"Content-Length: 3\r\n", b"Expect: 100-continue\r\n"])
    return b"POST /predict?output=rois HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + more + b"\r\n" + body + end


def wire_request(rng):
    """One to three requests behind each other, as bytes: nothing about them needs to be right."""
    def one():
        what, seed = rng.randrange(10), rng.choice(WIRE)
        line, rest = seed.split(b"\r\n", 1)
        if what < 3:
            return mutate(seed, rng)
        if what < 5:
            top, body = seed.split(b"\r\n\r\n", 1)
            return mutate(top, rng) + b"\r\n\r\n" + body
        if what < 8:
            return chunked(rng)
        if what < 9:
            return line + b"\r\n" + b"".join(rng.choice(ODD_HEADERS) + b"\r\n" for _ in range(rng.choice([1, 2, 3, 30]))) + rest
        return rng.randbytes(rng.randint(1, 400))
    return b"".join(one() for _ in range(rng.choice([1, 1, 2, 3])))


def make_request(seed, number):
    """Of ten, four are wrong as HTTP, and six say something wrong in proper HTTP."""
    rng = random.Random(f"{seed}:{number}")
    makers = [wire_request] * 4 + [query_request] * 2 + [picture_request] * 2 + [form_request, json_request]
    return makers[number % 10](rng)


def is_framed(number):
    """Whether the request is proper HTTP."""
    return number % 10 >= 4
