"""Who may ask: API keys, and web pages of other origins."""
import pytest

from support import Daemon, noise, picture

KEYS = "first-key\n# a comment\n\nsecond-key\r\n"


@pytest.fixture(scope="module")
def keyed(demo_settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("keyed")
    (folder / "keys").write_text(KEYS)
    with Daemon(folder, demo_settings | {"auth": {"keys_file": "keys"}}) as daemon:
        yield daemon


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer"}, bearer(""), bearer("first-ke"), bearer("first-key "  "x"),
                                     bearer("First-key"), bearer("# a comment"), {"X-API-Key": "wrong"}, {"X-API-Key": ""},
                                     {"Authorization": "Basic first-key"}, bearer("x" * 20000)])
def test_without_a_right_key_it_is_401(keyed, headers):
    for method, path, body in (("POST", "/predict", noise(1)), ("GET", "/attention?roi=V1v", None), ("GET", "/subjects", None),
                               ("GET", "/rois", None), ("POST", "/attention?roi=V1v", noise(1))):
        answer = keyed.ask(method, path, body, headers, status=401)
        assert "key" in answer.error() and answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("headers", [bearer("first-key"), bearer("second-key"), {"Authorization": "bearer first-key"},
                                     {"X-API-Key": "second-key"}, {"Authorization": "Basic x", "X-API-Key": "first-key"}])
def test_with_a_key_in_either_header_it_is_answered(keyed, headers):
    assert keyed.post("/predict?output=rois", noise(1), headers).json()["rois"]
    assert keyed.get("/subjects", headers=headers).json()


def test_the_open_pages_need_no_key(keyed):
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
        assert keyed.get(path).body
    before = keyed.count("rejected_total", reason="key")
    keyed.refuses(401, "GET", "/subjects")
    assert keyed.count("rejected_total", reason="key") == before + 1


def test_no_key_is_in_the_log(keyed):
    keyed.post("/predict?output=rois", noise(1), bearer("first-key"))
    keyed.refuses(401, "GET", "/subjects", headers=bearer("a-wrong-one"))
    assert not any(key in keyed.log for key in ("first-key", "second-key", "a-wrong-one"))


def test_the_most_recent_prediction_is_ones_own(keyed):
    first, second = bearer("first-key"), bearer("second-key")
    mine = keyed.post("/predict?output=rois", picture("a_425"), first).json()["id"]
    keyed.post("/predict?output=rois", noise(5), second)
    assert keyed.get("/attention?roi=V1v", headers=first).json()["id"] == mine
    theirs = keyed.post("/predict?output=rois", picture("b_425"), second).json()["id"]
    assert keyed.get("/attention?roi=V1v", headers=first).json()["id"] == mine
    assert keyed.get("/attention?roi=V1v", headers=second).json()["id"] == theirs
    assert keyed.get(f"/attention?roi=V1v&id={mine}", headers=second).json()["id"] == mine


def test_it_stays_ones_own_when_another_predicts_the_same_picture(keyed):
    first, second = bearer("first-key"), bearer("second-key")
    mine = keyed.post("/predict?output=rois", noise(7), first).json()["id"]
    assert keyed.post("/predict?output=rois", noise(7), second).json()["id"] == mine
    assert keyed.get("/attention?roi=V1v", headers=first).json()["id"] == mine


# --- other origins ------------------------------------------------------------------------------


def cors(answer):
    return {name: value for name, value in answer.headers.items() if name.startswith("Access-Control")}


def test_only_named_origins_may_read(start):
    daemon = start(cors=["https://lab.example", "http://localhost:3000"])
    for origin in ("https://lab.example", "http://localhost:3000"):
        answer = daemon.get("/subjects", headers={"Origin": origin})
        assert answer.headers["Access-Control-Allow-Origin"] == origin and answer.headers["Vary"] == "Origin"
        assert "X-Brainenc-Id" in answer.headers["Access-Control-Expose-Headers"]
        asked = daemon.ask("OPTIONS", "/predict", headers={"Origin": origin, "Access-Control-Request-Method": "POST"}, status=204)
        assert asked.headers["Access-Control-Allow-Origin"] == origin
        assert {"GET", "POST"} <= set(asked.headers["Access-Control-Allow-Methods"].split(", "))
        assert {"Authorization", "X-API-Key", "Content-Type"} <= set(asked.headers["Access-Control-Allow-Headers"].split(", "))
    for origin in ("https://evil.example", "https://lab.example.evil", "https://lab", "null", "*"):
        for method in ("GET", "OPTIONS"):
            assert not cors(daemon.ask(method, "/subjects", headers={"Origin": origin}, status=None))
    assert not cors(daemon.get("/subjects"))


def test_errors_may_be_read_too(start):
    daemon = start(cors=["*"])
    answer = daemon.post("/predict?rois=nope", noise(1), {"Origin": "https://any.example"}, status=404)
    assert answer.headers["Access-Control-Allow-Origin"] == "https://any.example"


def test_by_default_no_origin_may_read(demo_daemon):
    assert not cors(demo_daemon.get("/subjects", headers={"Origin": "http://localhost"}))
