"""What is loaded, the state, the counters, the description; methods and paths."""
import json
import re

import pytest

from support import CASE, noise, picture, tool_support, wait_until

PATHS = {"/predict": {"POST"}, "/attention": {"GET", "POST"}, "/subjects": {"GET"}, "/rois": {"GET"}, "/healthz": {"GET"},
         "/readyz": {"GET"}, "/metrics": {"GET"}, "/openapi.json": {"GET"}}


def test_subjects(golden_daemon):
    subjects = {one["name"]: one for one in golden_daemon.get("/subjects").json()["subjects"]}
    assert list(subjects) == ["subj01", "demo"]
    one = subjects["subj01"]
    assert one["vertices"] == {"lh": 300, "rh": 320} and one["fsaverage"] == {"lh": 163842, "rh": 163842}
    assert one["rois"] == 24 and one["demo"] is False
    assert one["image_size"] == 425 and one["encoder"] == "transformer" and one["readout"] == "rois_all"
    assert one["weights"] == golden_daemon.post("/predict?output=rois", picture()).json()["model"]["weights"]
    assert re.fullmatch("[0-9a-f]{64}", one["backbone_weights"]) and one["backbone_weights"] != subjects["demo"]["backbone_weights"]
    assert subjects["demo"]["demo"] is True


def test_rois(golden_daemon):
    rois = tool_support.read_rois(CASE / "algonauts/subj01")
    want = [{"name": name, "family": family, "lh": int(masks["lh"].sum()), "rh": int(masks["rh"].sum())}
            for name, family, masks in rois]
    found = golden_daemon.get("/rois?subject=subj01").json()["subjects"]
    assert found == [{"subject": "subj01", "rois": want}]
    assert [one["subject"] for one in golden_daemon.get("/rois").json()["subjects"]] == ["subj01", "demo"]
    assert [one["subject"] for one in golden_daemon.get("/rois?subject=demo,subj01").json()["subjects"]] == ["demo", "subj01"]


def test_alive_and_ready(golden_daemon):
    assert golden_daemon.get("/healthz").body == b"alive\n"
    assert golden_daemon.get("/readyz").body == b"ready\n"


def test_metrics_are_prometheus_text_and_count(start):
    daemon = start()
    before = daemon.metrics()
    for seed in range(3):
        daemon.post("/predict", noise(seed))
    daemon.refuses(415, "POST", "/predict", b"no picture")
    daemon.refuses(404, "GET", "/nothing")
    wait_until(lambda: daemon.count("in_flight") == daemon.count("in_flight_bytes") == 0, "let go after the answer has gone out")
    after = daemon.metrics()

    def grown(name, **labels):
        place = (f"brainenc_{name}", frozenset(labels.items()))
        return after.get(place, 0) - before.get(place, 0)
    assert grown("requests_total", route="/predict", code="200") == 3
    assert grown("requests_total", route="/predict", code="415") == 1
    assert grown("requests_total", route="other", code="404") == 1
    assert grown("images_total") == 3 and grown("rejected_total", reason="image") == 1
    for stage in ("queue", "decode", "backbone", "encoder", "answer", "total"):
        counts = [value for (name, labels), value in sorted(after.items(), key=lambda item: bucket(item[0]))
                  if name == "brainenc_stage_seconds_bucket" and ("stage", stage) in labels]
        assert len(counts) > 10 and counts == sorted(counts)
        assert counts[-1] == after["brainenc_stage_seconds_count", frozenset({("stage", stage)})] >= 3
    assert after["brainenc_in_flight", frozenset()] == after["brainenc_in_flight_bytes", frozenset()] == 0
    assert after["brainenc_queue_depth", frozenset()] == 0 and after["brainenc_connections", frozenset()] >= 1
    assert [dict(labels)["subject"] for name, labels in after if name == "brainenc_model_info"] == ["subj01"]


def bucket(place):
    return float(dict(place[1]).get("le", "inf").replace("+Inf", "inf"))


def test_metrics_quote_what_the_configuration_names(start, demo_settings):
    name = 'a "quoted" \\ name'
    daemon = start(subjects=[demo_settings["subjects"][0] | {"name": name}])
    assert any(("subject", name.replace("\\", "\\\\").replace('"', '\\"')) in labels for _, labels in daemon.metrics())
    assert daemon.get("/subjects").json()["subjects"][0]["name"] == name


def test_openapi_describes_every_path(golden_daemon):
    api = golden_daemon.get("/openapi.json").json()
    assert api["openapi"].startswith("3.") and api["info"]["title"] and api["info"]["version"]
    assert {path: {method.upper() for method in methods} for path, methods in api["paths"].items()} == PATHS
    for path, methods in api["paths"].items():
        for method, about in methods.items():
            assert about["summary"] and "200" in about["responses"]
            assert ("requestBody" in about) == (method == "post")
            for parameter in about["parameters"]:
                assert parameter["in"] == "query" and parameter["schema"] and parameter["description"]
    named = {parameter["name"] for parameter in api["paths"]["/predict"]["post"]["parameters"]}
    assert named == {"subject", "rois", "output", "attention", "spread", "quality", "fit", "space", "format", "hemi"}


def test_openapi_describes_keys_and_bodies(golden_daemon):
    api = golden_daemon.get("/openapi.json").json()
    schemes = api["components"]["securitySchemes"]
    assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")
    assert [schemes["api_key"][key] for key in ("type", "in", "name")] == ["apiKey", "header", "X-API-Key"]
    assert api["security"] == [{"bearer": []}, {"api_key": []}, {}]
    for path, methods in api["paths"].items():
        for about in methods.values():
            is_open = path in ("/healthz", "/readyz", "/metrics", "/openapi.json")
            assert about.get("security") == ([] if is_open else None)
            assert ("401" in about["responses"]) == (not is_open)
    for path in ("/predict", "/attention"):
        content = api["paths"][path]["post"]["requestBody"]["content"]
        assert set(content) == {"image/png", "image/jpeg", "application/x-npy", "multipart/form-data", "application/json"}
        assert content["image/png"]["schema"] == {"type": "string", "format": "binary"}
        assert set(content["multipart/form-data"]["schema"]["properties"]) == {"image"}
        assert set(content["application/json"]["schema"]["properties"]) == {"image", "images"}


def test_a_prediction_asked_for_with_get_is_shown_the_way(golden_daemon):
    answer = golden_daemon.ask("GET", "/predict", status=405)
    assert answer.headers["Allow"] == "POST" and "POST" in answer.json()["error"]["message"]


def test_head_is_get_without_the_body(golden_daemon):
    golden_daemon.post("/predict?output=rois", picture())
    for path in ("/subjects", "/rois", "/healthz", "/readyz", "/openapi.json", "/attention?roi=FBA"):
        head, get = golden_daemon.ask("HEAD", path), golden_daemon.get(path)
        assert head.body == b"" and head.headers["Content-Length"] == str(len(get.body))
        assert head.headers["Content-Type"] == get.headers["Content-Type"]


@pytest.mark.parametrize("path", PATHS)
def test_other_methods_are_405_with_allow(golden_daemon, path):
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH"} - PATHS[path]:
        answer = golden_daemon.ask(method, path, b"body" if method != "GET" else None, status=405)
        assert answer.error() and set(answer.headers["Allow"].split(", ")) >= PATHS[path]
    assert golden_daemon.ask("OPTIONS", path, status=204).body == b""


def test_unknown_paths_are_404(golden_daemon):
    for path in ("/", "/predict/", "/Predict", "/predictx", "//predict", "/..%2f", "/%00", "/%ff%fe", "/" + "x" * 5000):
        assert "openapi" in golden_daemon.refuses(404, "GET", path)


def test_a_connection_is_kept(golden_daemon):
    connection = golden_daemon.connect()
    connection.connect()
    place = connection.sock.getsockname()
    for method, path, body in (("GET", "/healthz", None), ("POST", "/predict?output=rois", noise(1)), ("GET", "/nope", None),
                               ("POST", "/predict?rois=nope", picture()), ("POST", "/healthz", b"x"),
                               ("POST", "/predict?output=rois", noise(2)), ("GET", "/attention?roi=V1v", None)):
        connection.request(method, path, body)
        response = connection.getresponse()
        assert response.read() and connection.sock and connection.sock.getsockname() == place
    connection.close()


def test_the_errors_are_json(golden_daemon):
    answer = golden_daemon.ask("GET", "/nope", status=404)
    assert json.loads(answer.body)["error"]["code"] == "not_found" and answer.headers["Content-Type"] == "application/json"


def test_a_subject_is_called_what_the_configuration_calls_it(start, demo_settings):
    weights = demo_settings["subjects"][0]
    daemon = start(subjects=[weights | {"name": name} for name in ("left one", "other")])
    assert [it["name"] for it in daemon.get("/subjects").json()["subjects"]] == ["left one", "other"]
    for name in ("left one", "other"):
        asked = name.replace(" ", "%20")
        answer = daemon.post(f"/predict?subject={asked}&output=rois", noise(1))
        assert answer.json()["subject"] == name and answer.headers["X-Brainenc-Demo"] == "true"
        assert daemon.get(f"/attention?roi=FBA&subject={asked}").json()["subject"] == name
    assert daemon.post("/attention?roi=EBA&format=png", noise(1)).headers["X-Brainenc-Demo"] == "true"
