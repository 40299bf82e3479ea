"""Wrong parameters: 400 or 404, and the sentence names what there is."""
import pytest

from support import noise, picture

WRONG = [
    ("/predict?colour=red", 400, ["colour", "subject, rois, output, attention, spread, quality, fit, space, format, hemi"]),
    ("/predict?output=all", 400, ["output", "all", "both, vertices, rois"]),
    ("/predict?fit=zoom", 400, ["zoom", "crop", "stretch", "pad", "native"]),
    ("/predict?space=moon", 400, ["space", "moon", "challenge, fsaverage"]),
    ("/predict?spread=yes", 400, ["spread", "yes", "false, true"]),
    ("/predict?spread=true&format=npy", 400, ["spread", "JSON"]),
    ("/predict?format=png", 400, ["format", "png", "json, npy, gifti"]),
    ("/predict?format=npy&subject=all", 400, ["format", "JSON"]),
    ("/predict?format=npy&attention=FBA", 400, ["attention", "JSON"]),
    ("/predict?subject=subj09", 404, ["subj09", "subj01, demo"]),
    ("/predict?subject=", 404, ["subj01, demo"]),
    ("/predict?subject=demo,", 404, ["subj01, demo"]),
    ("/predict?subject=all,demo", 404, ["'all'", "subj01, demo"]),
    ("/predict?rois=FBX", 404, ["FBX"]),
    ("/predict?rois=FFA-3", 404, ["FFA-3", "FFA-1"]),
    ("/predict?rois=mTL", 404, ["mTL", "mTL-bodies"]),
    ("/predict?attention=FBA,Nothing", 404, ["Nothing"]),
    ("/predict?rois=", 400, ["empty"]),
    ("/predict?fit=pad&fit=crop", 400, ["fit", "twice"]),
    ("/attention", 400, ["roi", "vertex"]),
    ("/attention?roi=FBX", 404, ["FBX"]),
    ("/attention?vertex=lh:1", 409, ["subj01", "name a roi"]),
    ("/attention?roi=FBA&hemi=top", 400, ["hemi", "both, lh, rh"]),
    ("/attention?roi=FBA&heads=3", 400, ["heads", "mean, all"]),
    ("/attention?roi=FBA&format=gif", 400, ["format", "json, npy, png"]),
    ("/attention?roi=FBA&rois=FBA", 400, ["rois", "roi, vertex, subject, hemi"]),
    ("/attention?roi=FBA&id=0", 400, ["id", "roi, vertex, subject, hemi"]),
    ("/predict?" + "&".join(f"k{i}=1" for i in range(40)), 400, ["32"]),
    ("/predict?rois=" + ",".join(["Nothing"] * 3000), 404, ["Nothing"]),
]


@pytest.mark.parametrize("path, status, words", WRONG, ids=[path[:60] for path, _, _ in WRONG])
def test_a_wrong_parameter_of_a_post(golden_daemon, path, status, words):
    sentence = golden_daemon.refuses(status, "POST", path, picture())
    assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize("path, status, words", [
    ("/attention", 400, ["roi"]), ("/attention?roi=FBA&fit=crop", 400, ["fit", "roi, vertex, id, subject"]),
    ("/attention?roi=FBX", 404, ["FBX"]), ("/attention?roi=FBA&subject=x", 404, ["'x'", "subj01, demo"]),
    ("/attention?roi=FBA&id=none", 404, ["none", "POST"]), ("/rois?subject=x", 404, ["'x'", "subj01, demo"]),
    ("/rois?foo=x", 400, ["foo", "subject"]), ("/subjects?foo=1", 400, ["foo", "none"]),
    ("/subjects?quality=maybe", 400, ["quality", "none"]), ("/rois?subject=subj01&subject=demo", 400, ["'subject' is there twice"]),
    ("/rois?" + "&".join(["output=counts"] * 33), 400, ["more than 32 parameters", "subject, output, quality"]),
])
def test_a_wrong_parameter_of_a_get(golden_daemon, path, status, words):
    golden_daemon.post("/predict?output=rois", noise(1))
    sentence = golden_daemon.refuses(status, "GET", path)
    assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize("value", ["%ff%fe", "%00", "%0d%0aX-Injected:%20yes", "%", "%zz", "%F0%9F%A7%A0", "x" * 5000, "'\"<b>",
                                   "a" * 39 + "%C3%A4"])
@pytest.mark.parametrize("key", ["subject", "rois", "fit", "attention", "spread"])
def test_strange_values_give_errors_in_utf8(golden_daemon, key, value):
    answer = golden_daemon.post(f"/predict?{key}={value}", noise(1), status=None)
    assert answer.status in (400, 404) and answer.error() and "X-Injected" not in answer.headers


@pytest.mark.parametrize("key", ["%ff%fe", "a" * 39 + "%C3%A4", "%0d%0aX-Injected:%20yes", "=", "&&&", "%3D"])
def test_strange_names_of_parameters(golden_daemon, key):
    answer = golden_daemon.post(f"/predict?{key}=1", noise(1), status=None)
    assert answer.status in (200, 400) and "X-Injected" not in answer.headers
    if answer.status == 400:
        answer.error()
