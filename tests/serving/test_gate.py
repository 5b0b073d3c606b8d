"""Who may ask for what: other sites, tokens, paths; and what is counted of those who ask."""

import json

import pytest

from segtrial import hub
from segtrial.errors import RecipeError, Refused
from segtrial.serving import decoding
from segtrial.serving.gate import Door, told
from segtrial.serving.metrics import Histogram
from segtrial.serving.server import Wish, named
from tests.serving.here import BODY, PNG, TOKEN, answering, error_of, run, still_answers


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example:8765"},
        {"host": ""},
        {"host": "[::1"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://localhost:8765"},
        {"origin": "http://["},
        {"origin": "http://[x]:8765"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
def test_other_sites_may_not_ask(headers):
    async def story(client, service):
        response = await client.post("/predict", content=BODY, headers={**PNG, **headers})
        assert response.status_code == 403
        error_of(response)
        for method in ("DELETE", "PUT", "OPTIONS"):
            assert (await client.request(method, "/predict", headers=headers)).status_code == 403
        if "host" in headers:
            assert (await client.get("/models", headers=headers)).status_code == 403

    run(story)


@pytest.mark.parametrize("headers", [{}, {"origin": "http://127.0.0.1:8765", "sec-fetch-site": "same-origin"}], ids=str)
def test_our_own_page_and_programs_may_ask(headers):
    async def story(client, service):
        assert (await client.post("/predict", content=BODY, headers={**PNG, **headers})).status_code == 200
        assert (await client.get("/models", headers={"host": "localhost:8765"})).status_code == 200

    run(story)


def test_with_a_token_only_who_knows_it_is_answered():
    async def story(client, service):
        for path in ("/", "/models", "/metrics", "/page/page.js", "/v2"):
            response = await client.get(path)
            assert response.status_code == 401
            assert response.headers["www-authenticate"].startswith("Basic")
            assert TOKEN not in response.text
        assert (await client.get("/health")).json() == {"schema": 1, "live": True}
        assert (await client.get("/ready")).json() == {"schema": 1, "ready": True}
        for wrong in (TOKEN[:-1], "", TOKEN + "x"):
            assert (await client.get("/models", headers={"authorization": f"Bearer {wrong}"})).status_code == 401
            assert (await client.get("/models", auth=("me", wrong))).status_code == 401
        for damaged in ("Basic ???", f"Digest {TOKEN}", TOKEN, "Basic /w=="):
            assert (await client.get("/models", headers={"authorization": damaged})).status_code == 401
        assert (await client.get("/models", headers={"authorization": f"Bearer {TOKEN}"})).status_code == 200
        assert (await client.get("/models", auth=("me", TOKEN))).status_code == 200

    run(story, door=Door(token=TOKEN))


HIDDEN = (
    *("/page/../app.py", "/page/..%2fapp.py", "/page/%2e%2e/app.py", "/page/%2e%2e%2fapp.py", "/page/..%5capp.py"),
    *("/page//etc/passwd", "/page/%2fetc%2fpasswd", "/page/index.html%00.py", "/page/", "/page", "/etc/passwd"),
    *("/page/index.html/", "/page/../../../../canary", "/static/canary", "/docs", "/openapi.json", "//evil.example"),
    *("/v2/models/..%2f..%2fcanary", "/v2/models/%00", "/page/file:%2f%2f%2fetc%2fpasswd", "/page/C:%5ccanary"),
)


@pytest.mark.parametrize("path", HIDDEN)
def test_no_path_leads_to_other_files(path):
    async def story(client, service):
        request = client.build_request("GET", "http://127.0.0.1:8765/")
        request.url = request.url.copy_with(raw_path=path.encode())
        response = await client.send(request)
        assert response.status_code in (404, 307)
        assert "make_app" not in response.text
        assert "root:" not in response.text
        assert "evil" not in response.headers.get("location", "")

    run(story)


def test_a_method_that_there_is_not():
    async def story(client, service):
        for method, path in (("GET", "/predict"), ("DELETE", "/models"), ("PUT", "/predict"), ("POST", "/metrics")):
            response = await client.request(method, path)
            assert response.status_code == 405
            error_of(response)

    run(story)


def test_who_may_enter_is_decided_before_anything_is_loaded(tmp_path):
    models = {"m": tmp_path}
    assert Wish(models).door() == Door(frozenset({"localhost", "127.0.0.1", "::1"}), None)
    for host in ("0.0.0.0", "192.168.1.2", "::"):
        with pytest.raises(RecipeError, match=r"could reach it.*--token.*--anyone"):
            Wish(models, host=host).door()
        assert Wish(models, host=host, anyone=True).door() == Door(None, None)
        assert Wish(models, host=host, token=TOKEN).door() == Door(None, TOKEN)
    assert "pixels.example" in (Wish(models, host="0.0.0.0", token=TOKEN, names=("Pixels.example",)).door().hosts or ())
    for token, found in (("short", "fewer than 8"), ("pässwörter", "letters that no header holds")):
        with pytest.raises(RecipeError, match=found):
            Wish(models, token=token).door()


def test_models_are_called_as_their_folders_or_repositories(tmp_path, monkeypatch):
    for run_folder in ("a", "b"):
        (tmp_path / run_folder).mkdir()
        (tmp_path / run_folder / "model.safetensors").touch()
    (tmp_path / "c.safetensors").touch()
    a, b, c = (str(tmp_path / name) for name in ("a", "b", "c.safetensors"))
    assert list(named([a, f"{b}/model.safetensors", c, f"again={a}"])) == ["a", "b", "c", "again"]
    with pytest.raises(RecipeError, match="'a' is the name of"):
        named([a, a])
    with pytest.raises(RecipeError, match="no model there"):
        named([str(tmp_path)])
    monkeypatch.setattr(hub, "fetch", lambda wanted: tmp_path / "c.safetensors")
    monkeypatch.chdir(tmp_path)
    assert list(named(["me/street", "night=me/street@v2"])) == ["street", "night"]


def test_what_is_counted():
    """Prometheus' buckets count all values up to their bound."""
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1, 1.5, 7):
        histogram.add(value)
    assert list(histogram.lines("x")) == [
        'x_bucket{le="1"} 2',
        'x_bucket{le="2"} 3',
        'x_bucket{le="+Inf"} 4',
        "x_sum 10.000000",
        "x_count 4",
    ]

    async def story(client, service):
        await still_answers(client)
        await client.post("/predict", content=b"x", headers=PNG)
        await client.get('/"}%0Afake 1')
        text = (await client.get("/metrics")).text
        assert 'segtrial_requests_total{route="/predict",status="200"} 1' in text
        assert 'segtrial_requests_total{route="/predict",status="422"} 1' in text
        assert 'segtrial_requests_total{route="other",status="404"} 1' in text
        assert 'segtrial_refused_total{reason="the picture"} 1' in text
        assert "segtrial_batch_images_count 1" in text
        assert "segtrial_queue_length 0" in text
        assert "segtrial_ready 1" in text
        assert "fake" not in text

    run(story)


def test_not_ready_while_a_process_is_missing():
    staff = answering()

    async def story(client, service):
        assert (await client.get("/ready")).status_code == 200
        staff.ready = False
        for path in ("/ready", "/v2/health/ready", "/v2/models/known/ready"):
            assert (await client.get(path)).status_code == 503
        assert (await client.get("/health")).status_code == 200

    run(story, staff=staff)


def test_faults_in_one_sentence_or_in_parts():
    error = Refused(429, "this client", "9 requests", "Wait", retry=3)
    status, headers, body = told(error)
    assert (status, json.loads(body)) == (429, {"error": {"what": "this client", "found": "9 requests", "fix": "Wait"}})
    assert (b"retry-after", b"3") in headers
    assert json.loads(told(error, plain=True)[2]) == {"error": "this client: 9 requests. Wait"}


def test_numbers_beyond_a_byte_never_wrap():
    """300 must not become 44."""
    tensor = {"name": "images", "datatype": "UINT8", "shape": [1, 3, 1, 1], "data": [1, 2, 300]}
    header, _ = decoding.handle({"kind": decoding.TENSORS, "channels": 3}, [json.dumps({"inputs": [tensor]}).encode()])
    assert header["refused"][0] == 422
