"""GET and POST /attention: whose map, of which prediction, in which form."""
import numpy as np
import pytest

from support import ATTENTION_TOLERANCE, decode_png, expected, form, noise, picture

ROIS = ["V1v", "V1d", "V2v", "V2d", "V3v", "V3d", "hV4", "EBA", "FBA-1", "FBA-2", "mTL-bodies", "OFA", "FFA-1", "FFA-2",
        "mTL-faces", "aTL-faces", "OPA", "PPA", "RSC", "OWFA", "VWFA-1", "VWFA-2", "mfs-words", "mTL-words", "rest"]
QUERIES = len(ROIS)


def golden(roi, hemisphere, index=0):
    """The mean of the golden maps of a ROI's or stem's queries: left ones first."""
    members = [i for i, name in enumerate(ROIS) if name == roi or name in (f"{roi}-1", f"{roi}-2")]
    first = 0 if hemisphere == "lh" else QUERIES
    return expected("attention")[index][[first + i for i in members]].mean(0).reshape(31, 31)


@pytest.mark.parametrize("roi, members", [("FBA-1", ["FBA-1"]), ("FBA", ["FBA-1", "FBA-2"]), ("rest", ["rest"])])
def test_post_gives_the_golden_maps(golden_daemon, roi, members):
    found = golden_daemon.post(f"/attention?roi={roi}", picture()).json()
    assert set(found) == {"id", "subject", "demo", "grid", "maps"} and found["grid"] == [31, 31]
    assert [one["hemi"] for one in found["maps"]] == ["lh", "rh"]
    for one in found["maps"]:
        assert set(one) == {"roi", "members", "hemi", "dynamic", "weights"}
        assert one["roi"] == roi and one["members"] == members and one["dynamic"] is True
        weights = np.array(one["weights"])
        np.testing.assert_allclose(weights, golden(roi, one["hemi"]), rtol=0, atol=ATTENTION_TOLERANCE)
        assert weights.sum() == pytest.approx(1, abs=1e-4)


def test_all_and_families_name_every_member(golden_daemon):
    found = golden_daemon.post("/attention?roi=all&hemi=lh", picture()).json()
    assert [one["roi"] for one in found["maps"]] == ROIS or [one["roi"] for one in found["maps"]] == ROIS[:-1]
    found = golden_daemon.post("/attention?roi=floc-places,EBA&hemi=rh", picture()).json()
    assert {member for one in found["maps"] for member in one["members"]} == {"OPA", "PPA", "RSC", "EBA"}


def test_get_gives_the_held_map_by_id_and_the_most_recent_without(golden_daemon):
    first = golden_daemon.post("/predict?output=rois", picture("a_425")).json()["id"]
    second = golden_daemon.post("/predict?output=rois", picture("b_425")).json()["id"]
    found = [golden_daemon.get(f"/attention?roi=FBA{which}").json() for which in (f"&id={first}", f"&id={second}", "")]
    assert [one["id"] for one in found] == [first, second, second]
    for one, name in zip(found, ("a_425", "b_425", "b_425")):
        assert one == golden_daemon.post("/attention?roi=FBA", picture(name)).json()


def test_the_most_recent_is_the_one_predicted_last_not_the_one_read_last(golden_daemon):
    first = golden_daemon.post("/predict?output=rois", noise(1)).json()["id"]
    second = golden_daemon.post("/predict?output=rois", noise(2)).json()["id"]
    golden_daemon.get(f"/attention?roi=V1v&id={first}")
    assert golden_daemon.get("/attention?roi=V1v").json()["id"] == second


def test_get_takes_the_subject_asked(golden_daemon):
    body = noise(3)
    both = [one["id"] for one in golden_daemon.post("/predict?subject=all&output=rois", body).json()["predictions"]]
    for subject, prediction in zip(("subj01", "demo"), both):
        assert golden_daemon.get(f"/attention?roi=V1v&subject={subject}").json()["id"] == prediction
    assert golden_daemon.refuses(400, "GET", "/attention?roi=V1v&subject=all")


def test_heads_are_each_given_and_their_mean_is_the_map(golden_daemon):
    prediction = golden_daemon.post("/predict?output=rois", picture()).json()["id"]
    mean = golden_daemon.post("/attention?roi=FBA-1&hemi=rh", picture()).json()["maps"][0]["weights"]
    posted = golden_daemon.post("/attention?roi=FBA-1&hemi=rh&heads=all", picture()).json()
    assert golden_daemon.get(f"/attention?roi=FBA-1&hemi=rh&heads=all&id={prediction}").json() == posted
    assert [one["head"] for one in posted["maps"]] == list(range(16))
    weights = np.array([one["weights"] for one in posted["maps"]])
    np.testing.assert_allclose(weights.sum((1, 2)), 1, atol=1e-4)
    np.testing.assert_allclose(weights.mean(0), mean, rtol=0, atol=1e-7)


@pytest.mark.parametrize("query, shape", [("roi=FBA", (1, 2, 31, 31)), ("roi=FBA,PPA&hemi=lh", (2, 1, 31, 31)),
                                          ("roi=FBA&heads=all", (1, 2, 16, 31, 31))])
def test_npy_has_the_numbers_of_json(golden_daemon, query, shape):
    array = golden_daemon.post(f"/attention?{query}&format=npy", picture()).array()
    maps = golden_daemon.post(f"/attention?{query}", picture()).json()["maps"]
    assert array.shape == shape and array.dtype == np.dtype("<f4")
    assert array.tobytes() == np.array([one["weights"] for one in maps], np.float32).tobytes()
    accept = {"Accept": "application/x-npy"}
    assert golden_daemon.post(f"/attention?{query}", picture(), accept).array().tobytes() == array.tobytes()
    prediction = golden_daemon.post("/predict?output=rois", picture()).json()["id"]
    assert golden_daemon.get(f"/attention?{query}&format=npy&id={prediction}").array().tobytes() == array.tobytes()


def test_png_shows_the_map_over_the_picture(golden_daemon):
    answers = {hemi: golden_daemon.post(f"/attention?roi=FBA&format=png&hemi={hemi}", picture()) for hemi in ("lh", "rh", "both")}
    assert {answer.headers["Content-Type"] for answer in answers.values()} == {"image/png"}
    images = {hemi: decode_png(answer.body) for hemi, answer in answers.items()}
    assert images["lh"].shape == (425, 425, 3) and not np.array_equal(images["lh"], images["rh"])
    assert np.array_equal(images["both"], np.concatenate([images["lh"], images["rh"]], 1))
    # 60 % the picture and 40 % a colour
    low = 0.6 * decode_png(picture())
    assert (images["lh"] >= low - 1).all() and (images["lh"] <= low + 0.4 * 255 + 1).all()
    prediction = golden_daemon.post("/predict?output=rois", picture()).json()["id"]
    assert golden_daemon.get(f"/attention?roi=FBA&format=png&id={prediction}").body == answers["both"].body
    assert golden_daemon.get(f"/attention?roi=FBA&id={prediction}", headers={"Accept": "image/png"}).body == answers["both"].body


def test_png_is_of_one_roi_and_the_mean_of_heads(golden_daemon):
    assert "exactly one" in golden_daemon.refuses(400, "POST", "/attention?roi=FBA,PPA&format=png", picture())
    assert "heads" in golden_daemon.refuses(400, "POST", "/attention?roi=FBA&format=png&heads=all", picture())
    golden_daemon.post("/predict?output=rois", picture())
    assert "exactly one" in golden_daemon.refuses(400, "GET", "/attention?roi=FBA,PPA&format=png")


def test_several_images_come_as_predictions(golden_daemon):
    headers, body = form(picture("a_425"), picture("b_425"))
    found = golden_daemon.post("/attention?roi=PPA&hemi=lh", body, headers).json()["predictions"]
    for index, one in enumerate(found):
        np.testing.assert_allclose(one["maps"][0]["weights"], golden("PPA", "lh", index), rtol=0, atol=ATTENTION_TOLERANCE)
    assert len(found) == 2
    for kind in ("png", "npy"):
        assert golden_daemon.refuses(400, "POST", f"/attention?roi=PPA&format={kind}", body, headers)


def test_a_map_of_a_picture_computed_as_it_is_has_its_grid(golden_daemon):
    found = golden_daemon.post("/attention?roi=V1v&fit=native&hemi=lh", picture("c_500x333")).json()
    assert found["grid"] == [24, 36] and np.array(found["maps"][0]["weights"]).shape == (24, 36)
    np.testing.assert_allclose(np.array(found["maps"][0]["weights"]).ravel(), expected("attention_c")[0, 0], rtol=0,
                               atol=ATTENTION_TOLERANCE)


def test_what_is_not_held_is_404_and_names_post(golden_daemon, start):
    assert "POST" in golden_daemon.refuses(404, "GET", "/attention?roi=FBA&id=0123456789abcdef0123456789abcdef")
    fresh = start()
    assert "POST" in fresh.refuses(404, "GET", "/attention?roi=FBA")


def test_what_is_held_is_bounded_and_what_was_used_goes_last(start):
    daemon = start(results={"held": "2MiB"})
    ids = [daemon.post("/predict?output=rois", noise(seed)).json()["id"] for seed in range(2)]
    for seed in range(2, 12):
        daemon.get(f"/attention?roi=V1v&id={ids[0]}")
        ids.append(daemon.post("/predict?output=rois", noise(seed)).json()["id"])
        assert 0 < daemon.count("results_held_bytes") <= 2 << 20
    daemon.get(f"/attention?roi=V1v&id={ids[0]}")
    daemon.get(f"/attention?roi=V1v&id={ids[-1]}")
    assert "POST" in daemon.refuses(404, "GET", f"/attention?roi=V1v&id={ids[1]}")


def test_an_older_one_does_not_stand_for_the_most_recent_that_is_gone(start, tmp_path):
    (tmp_path / "keys").write_text("first\nsecond\n")
    daemon = start(results={"held": "2MiB"}, auth={"keys_file": str(tmp_path / "keys")})
    mine, other = {"X-API-Key": "first"}, {"X-API-Key": "second"}
    older = daemon.post("/predict?output=rois", noise(1), mine).json()["id"]
    newer = daemon.post("/predict?output=rois", noise(2), mine).json()["id"]
    for seed in range(3, 9):
        assert daemon.get(f"/attention?roi=V1v&id={older}", headers=mine).json()["id"] == older  # what was used goes last
        daemon.post("/predict?output=rois", noise(seed), other)
    daemon.refuses(404, "GET", f"/attention?roi=V1v&id={newer}", headers=mine)
    for path in ("/attention?roi=V1v", "/attention?roi=V1v&subject=subj01"):
        assert "POST" in daemon.refuses(404, "GET", path, headers=mine)
    again = daemon.post("/predict?output=rois", noise(2), mine).json()["id"]
    assert again == newer and daemon.get("/attention?roi=V1v", headers=mine).json()["id"] == newer


def test_one_too_large_to_be_held_is_the_most_recent_all_the_same(start):
    daemon = start(results={"held": "1MiB"})
    older = daemon.post("/predict?output=rois", noise(1)).json()["id"]
    assert daemon.get("/attention?roi=V1v").json()["id"] == older
    daemon.post("/predict?output=rois&fit=native", picture("d_518"))
    assert "POST" in daemon.refuses(404, "GET", "/attention?roi=V1v")
    assert daemon.get(f"/attention?roi=V1v&id={older}").json()["id"] == older


def test_nothing_is_held_when_nothing_may_be(start):
    daemon = start(results={"held": 0})
    prediction = daemon.post("/predict?output=rois", noise(1)).json()["id"]
    daemon.refuses(404, "GET", f"/attention?roi=V1v&id={prediction}")
    daemon.refuses(404, "GET", "/attention?roi=V1v")
    assert daemon.post("/attention?roi=V1v", noise(1)).json()["id"] == prediction


def test_a_get_may_carry_a_body_that_means_nothing(golden_daemon):
    golden_daemon.post("/predict?output=rois", picture())
    want = golden_daemon.get("/attention?roi=FBA").body
    for body in (b"x", b"x" * 100000):
        assert golden_daemon.ask("GET", "/attention?roi=FBA", body).body == want
    assert golden_daemon.ask("GET", "/attention?roi=FBA", iter([b"x" * 10] * 10), encode_chunked=True,
                             headers={"Transfer-Encoding": "chunked"}).body == want
