"""Damaged and hostile bodies: pictures, arrays, forms, JSON and base64. Each gets its own 4xx, and the daemon serves on."""
import json
import time

import numpy as np
import pytest

from support import CORRUPT, encode_png, form, noise, npy, picture, text64

JSON = {"Content-Type": "application/json"}


@pytest.fixture(autouse=True)
def serves_on(demo_daemon):
    yield
    assert demo_daemon.post("/predict?output=rois", noise(0)).json()["rois"]


DAMAGED = {
    "truncated.png": 422, "bad_crc.png": 422, "zero_width.png": 422, "truncated.jpg": 422, "bomb_30000x30000.png": 413,
    "empty.png": 400, "text.png": 415, "bad_magic.npy": 415, "valid_reference.npy": 422, "fortran_order.npy": 422,
    "big_endian.npy": 415, "object_pickle.npy": 415, "mapping_os_system.npy": 415, "truncated.npy": 422,
    "header_length.npy": 422, "shape_overflow.npy": 422, "negative_shape.npy": 422, "valid_reference.pth": 415,
}


@pytest.mark.parametrize("name, status", DAMAGED.items())
def test_a_damaged_picture(demo_daemon, name, status):
    data = (CORRUPT / name).read_bytes()
    start = time.monotonic()
    plain = demo_daemon.refuses(status, "POST", "/predict", data)
    assert "image 0" in plain and time.monotonic() - start < 20
    if data:
        headers, body = form(picture(), data)
        assert "image 1" in demo_daemon.refuses(status, "POST", "/predict", body, headers)
        body = json.dumps({"images": [text64(picture()), text64(data)]}).encode()
        assert "image 1" in demo_daemon.refuses(status, "POST", "/predict", body, JSON)
        assert demo_daemon.refuses(status, "POST", "/attention?roi=V1v", data) == plain


def test_every_cut_of_a_picture_is_refused(demo_daemon):
    data = noise(1, 16, 16)
    for size in range(1, len(data) - 12, 37):
        answer = demo_daemon.post("/predict", data[:size], status=None)
        assert answer.status in (415, 422) and answer.error()


@pytest.mark.parametrize("array", [
    np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 3), np.int8),
    np.zeros((1, 1, 4, 4, 3), np.uint8), np.zeros((0, 4, 4, 3), np.uint8), np.zeros((4, 0, 3), np.uint8),
    np.zeros((), np.uint8), np.zeros((4, 4, 3), bool)], ids=str)
def test_an_array_of_another_kind(demo_daemon, array):
    assert "uint8 [H][W][3]" in demo_daemon.refuses(422, "POST", "/predict", npy(array))


def test_an_array_that_promises_more_than_it_has(demo_daemon):
    data = npy(np.zeros((4, 4, 3), np.uint8))
    for old, new in ((b"(4, 4, 3)", b"(9, 9, 3)"), (b"(4, 4, 3), ", b"(9000000, 9000000, 3), ")):
        assert demo_daemon.post("/predict", data.replace(old, new), status=None).status in (413, 422)


# --- forms --------------------------------------------------------------------------------------

PART = b'Content-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'


@pytest.mark.parametrize("kind, body", [
    ("multipart/form-data", b"--x\r\n" + PART + b"data\r\n--x--\r\n"),
    ("multipart/form-data; boundary=", b"--\r\n" + PART + b"data\r\n----\r\n"),
    ("multipart/form-data; boundary=x", b""),
    ("multipart/form-data; boundary=x", b"no boundary here at all"),
    ("multipart/form-data; boundary=x", b"--x--\r\n"),
    ("multipart/form-data; boundary=x", b"--x\r\n" + PART + b"\r\n--x--\r\n"),
    ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\ndata\r\n--x--\r\n'),
    ("multipart/form-data; boundary=x", b"--x\r\n\r\ndata\r\n--x--\r\n"),
    ("multipart/form-data; boundary=x", b"--x\r\n" + b"A" * 200000),
    ("multipart/form-data; boundary=x", b"--x\r\n" + b"X-Header: y\r\n" * 20000 + b"\r\n--x--\r\n"),
    ("multipart/form-data; boundary=x", b"--x\r\n" * 50000),
    ("multipart/form-data; boundary=" + "x" * 5000, b"--x\r\n" + PART + b"data\r\n--x--\r\n"),
])
def test_a_form_without_an_image(demo_daemon, kind, body):
    assert demo_daemon.refuses(400, "POST", "/predict", body, {"Content-Type": kind})


def test_a_form_whose_image_is_cut(demo_daemon):
    headers, body = form(noise(1))
    for cut in (body[:-40], body[: len(body) // 2], body[:150]):
        assert demo_daemon.post("/predict", cut, headers, status=None).status in (400, 415, 422)


def test_empty_fields_of_a_form_are_no_images(demo_daemon):
    headers, body = form(b"", noise(1), b"", noise(2), b"")
    ids = [one["id"] for one in demo_daemon.post("/predict?output=rois", body, headers).json()["predictions"]]
    assert ids == [demo_daemon.post("/predict?output=rois", noise(seed)).json()["id"] for seed in (1, 2)]


def test_thousands_of_parts(demo_daemon):
    headers, body = form(*[b"x"] * 5000)
    assert demo_daemon.refuses(415, "POST", "/predict", body, headers)
    headers, body = form(*[("note", b"x")] * 5000, noise(1))
    assert demo_daemon.post("/predict?output=rois", body, headers).json()["id"]


def test_a_form_in_a_form(demo_daemon):
    _, inner = form(noise(1), boundary="inner")
    body = b'--outer\r\nContent-Disposition: form-data; name="image"\r\nContent-Type: multipart/mixed; boundary=inner\r\n\r\n' + \
        inner + b"\r\n--outer--\r\n"
    answer = demo_daemon.post("/predict?output=rois", body, {"Content-Type": "multipart/form-data; boundary=outer"}, status=None)
    assert answer.status in (200, 400, 415, 422)


@pytest.mark.parametrize("step", [1, 7, 333])
def test_a_form_may_come_in_any_pieces(demo_daemon, step):
    headers, body = form(noise(1, 8, 8), noise(2, 8, 8), ("note", b"text"))
    pieces = (body[at:at + step] for at in range(0, len(body), step))
    found = demo_daemon.post("/predict?format=npy", pieces, headers | {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    assert found.body == demo_daemon.post("/predict?format=npy", body, headers).body and found.array().shape[0] == 2


# --- JSON ---------------------------------------------------------------------------------------

IMAGE = json.dumps(text64(noise(1)))


@pytest.mark.parametrize("text, status", [
    ("", 422), ("nonsense", 422), ("[]", 422), ('"text"', 422), ("null", 422), ("12", 422), ("{", 422), ('{"image": ', 422),
    ('{"image": %s' % IMAGE, 422), ('{"image": %s} and more' % IMAGE, 422), ('{"image": %s}{}' % IMAGE, 422),
    (" \n", 422), ("\x00", 422), ("{}", 400), (" {}\n", 400), ('{"image": 5}', 400), ('{"image": null}', 400),
    ('{"image": [%s]}' % IMAGE, 400), ('{"images": %s}' % IMAGE, 400),
    ('{"images": [5]}', 400), ('{"images": [%s, null]}' % IMAGE, 400), ('{"images": []}', 400), ('{"images": {"a": 1}}', 400),
    ('{"image": %s, "images": [%s]}' % (IMAGE, IMAGE), 400), ('{"image": %s, "image": %s}' % (IMAGE, IMAGE), 400),
    ('{"images": [%s], "images": [%s]}' % (IMAGE, IMAGE), 400), ('{"image": %s, "subject": "x"}' % IMAGE, 400),
    ('{"Image": %s}' % IMAGE, 400),
    ('{"image": ""}', 400), ('{"image": "####"}', 422), ('{"image": "AAAA"}', 415), ('{"image": "data:"}', 422),
    ('{"image": "data:image/png;base64,"}', 400), ('{"image": "\\u0000\\ud800"}', 422),
    ('{"image": "%s-%s"}' % (IMAGE[1:41], IMAGE[41:-1]), 422),
    ("[" * 100000, 413), ('{"image":' * 100000, 413), ('{"images": [' + "1," * 1000000 + "1]}", 413),
    ("{" + ",".join(f'"k{i}":1' for i in range(100000)) + "}", 413), ('{"images": ' + "[" * 60 + "]" * 60 + "}", 400),
])
def test_hostile_json(demo_daemon, text, status):
    before = demo_daemon.resident()
    assert demo_daemon.refuses(status, "POST", "/predict", text.encode(), JSON)
    assert demo_daemon.resident() - before < 100 << 20


def test_bytes_that_are_no_utf8_in_json(demo_daemon):
    for body in (b'{"image": "\xff\xfe"}', b"\xff{}", b'{"\xff": 1}', b'{"image": "\x00"}'):
        assert demo_daemon.post("/predict", body, JSON, status=None).status in (400, 422)


def test_base64_may_have_line_breaks(demo_daemon):
    text = text64(noise(1))
    lines = "\\n".join(text[at:at + 76] for at in range(0, len(text), 76))
    want = demo_daemon.post("/predict?format=npy", noise(1)).body
    assert demo_daemon.post("/predict?format=npy", f'{{"image": "{lines}"}}'.encode(), JSON).body == want


def test_what_the_client_declares_is_not_trusted(demo_daemon):
    want = demo_daemon.post("/predict?format=npy", picture()).body
    for declared in ("application/json", "image/jpeg", "text/plain", "application/x-www-form-urlencoded"):
        assert demo_daemon.post("/predict?format=npy", picture(), {"Content-Type": declared}).body == want
        text = ' {"image": "%s"}' % text64(picture())
        assert demo_daemon.post("/predict?format=npy", text.encode(), {"Content-Type": declared}).body == want


def test_a_parameter_in_a_form_is_not_passed_over(demo_daemon):
    for name in ("subject", "rois", "fit"):
        headers, body = form(noise(1), (name, b"crop"))
        assert "URL" in demo_daemon.refuses(400, "POST", "/predict", body, headers)
    headers, body = form(noise(1), ("roi", b"FBA"))
    assert demo_daemon.post("/predict?output=rois", body, headers)  # which means nothing to /predict
    assert "URL" in demo_daemon.refuses(400, "POST", "/attention?roi=FBA", body, headers)


@pytest.mark.parametrize("width, height", [(1, 1), (1, 400), (400, 1), (3, 2)])
def test_tiny_pictures(demo_daemon, width, height):
    data = encode_png(np.zeros((height, width, 3)))
    for fit in ("crop", "stretch", "pad", "native"):
        assert demo_daemon.post(f"/predict?fit={fit}&output=rois", data).json()["image"]["width"] == width
