import json

import pytest
from fastapi.testclient import TestClient

from darklens.errors import InputError
from darklens.serve import Limits, Settings, address_of
from darklens.serve.app import create_app

TOKEN = "open-sesame-1234"


@pytest.mark.parametrize("path", ["/", "/guess", "/predict", "/interface"])
def test_every_page_is_there_under_a_strict_policy(client, path):
    answer = client.get(path, headers={"accept": "text/html"})
    assert answer.status_code == 200
    assert "<h1" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert " style=" not in answer.text, "the policy forbids styles in the page"
    assert "<script>" not in answer.text, "the policy forbids scripts in the page"
    assert "http://" not in answer.text.replace("http://127.0.0.1/", "").replace("http://www.w3.org", ""), "nothing from elsewhere"


def test_what_is_not_there_is_said_in_one_sentence_to_people_and_programs(client):
    assert client.get("/nowhere").json() == {"error": "there is nothing at /nowhere: begin at /"}
    page = client.get("/nowhere", headers={"accept": "text/html"})
    assert page.status_code == 404
    assert "there is nothing at /nowhere" in page.text
    assert client.delete("/api/predict").status_code == 405


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd"])
def test_no_path_leaves_the_static_folder(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert "import" not in answer.text


def test_a_page_elsewhere_cannot_reach_the_server(client):
    renamed = client.get("/", headers={"host": "evil.example"})
    assert renamed.status_code == 421
    assert "evil.example" in renamed.json()["error"]
    posted = client.post("/api/render", json={}, headers={"origin": "http://evil.example"})
    assert posted.status_code == 403
    assert client.post("/api/render", json={}, headers={"origin": "http://127.0.0.1"}).status_code == 200


@pytest.fixture(scope="module")
def guarded():
    with TestClient(
        create_app(Settings(host="0.0.0.0", token=TOKEN)), base_url="http://lens.example", follow_redirects=False
    ) as found:
        yield found


def test_a_token_is_asked_for(guarded):
    refused = guarded.get("/api/models")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert guarded.get("/", headers={"accept": "text/html"}).headers["location"] == "/login"
    assert guarded.get("/metrics").status_code == 401
    assert guarded.get("/healthz").status_code == 200
    assert guarded.get("/api/models", headers={"authorization": "Bearer wrong"}).status_code == 401
    assert guarded.get("/api/models", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_a_login_leads_to_the_page_that_was_asked_for_and_to_no_other_server(guarded):
    asked = guarded.get("/predict?model=arcnet:common-test", headers={"accept": "text/html"}).headers["location"]
    assert asked == "/login?to=%2Fpredict%3Fmodel%3Darcnet%3Acommon-test"
    assert f'action="{asked.replace("%2F", "/")}"' in guarded.get(asked).text
    for wanted, leads in ((asked, "/predict?model=arcnet:common-test"), ("/login", "/"), ("/login?to=//evil.example", "/")):
        entered = guarded.post(wanted, data={"token": TOKEN})
        guarded.cookies.clear()
        assert (entered.status_code, entered.headers["location"]) == (303, leads)


def test_logging_in_gives_a_cookie_that_does_not_give_the_token_away(guarded):
    policy = guarded.get("/login").headers["referrer-policy"]
    assert policy == "same-origin", "with no-referrer browsers send the form with `Origin: null`, which is refused"
    assert guarded.post("/login", data={"token": "not that one"}).status_code == 403
    entered = guarded.post("/login", data={"token": TOKEN})
    cookie = entered.headers["set-cookie"]
    assert TOKEN not in cookie
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert guarded.get("/api/models").status_code == 200
    guarded.cookies.clear()
    assert guarded.get("/api/models").status_code == 401


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"host": "0.0.0.0"}, "give --token SECRET"),
        ({"host": "lens.example"}, "give --token SECRET"),
        ({"token": "short"}, "can be guessed"),
        ({"port": 0}, "outside 1 to 65535"),
        ({"runs": ("arcnet:nowhere",)}, "unknown shipped run"),
    ],
)
def test_what_cannot_be_served_is_refused_at_once(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        Settings(**settings)


def test_addresses():
    assert address_of(Settings()) == "http://127.0.0.1:8765/"
    assert address_of(Settings(host="0.0.0.0", token=TOKEN, port=80)) == "http://127.0.0.1:80/"
    assert address_of(Settings(host="::1")) == "http://[::1]:8765/"


def test_bodies_are_counted_whatever_their_header_says(client):
    limit = client.app.state.settings.limits.body_bytes
    assert client.post("/api/render", content=b"x" * (limit + 1)).status_code == 413

    def pieces():
        for _ in range(limit // 1000 + 2):
            yield b"x" * 1000

    answer = client.post("/api/render", content=pieces())  # chunked: no length is declared
    assert answer.status_code == 413
    assert "KiB" in answer.json()["error"]


def test_the_server_counts_itself_without_counting_what_visitors_make_up(client):
    client.get("/healthz")
    client.get("/made-up-by-somebody")
    text = client.get("/metrics").text
    assert 'darklens_requests_total{method="GET",route="/healthz",status="200"}' in text
    assert "made-up" not in text
    assert "darklens_request_seconds_bucket" in text


def test_the_interface_is_described(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/api/predict", "/api/fit", "/api/render", "/api/models"} <= set(paths)
    assert "multipart/form-data" in paths["/api/predict"]["post"]["requestBody"]["content"]
    assert client.get("/docs").status_code == 404, "FastAPI's own page comes from elsewhere"


def test_more_than_the_server_takes_is_told_to_come_again():
    with TestClient(create_app(Settings(limits=Limits(waiting=0))), base_url="http://127.0.0.1") as busy:
        answer = busy.post("/api/render", json={})
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert "come again" in answer.json()["error"]
        assert "darklens_busy_total 1.0" in busy.get("/metrics").text


def test_a_failure_nobody_foresaw_is_one_sentence(monkeypatch):
    app = create_app(Settings())
    monkeypatch.setattr(app.state.measures, "text", lambda: 1 / 0)
    with TestClient(app, base_url="http://127.0.0.1") as broken:
        answer = broken.get("/metrics")
    assert answer.status_code == 500
    assert json.loads(answer.text) == {"error": "the server met an unexpected ZeroDivisionError: its log says more"}
    assert "content-security-policy" in answer.headers


@pytest.mark.parametrize(
    ("kind", "start"),
    [
        (b"application/octet-stream", b"\x93NUMPY"),
        (
            b"multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.npy"\r\n\r\n\x93NUMPY',
        ),
    ],
    ids=["body", "form"],
)
def test_a_sender_who_leaves_is_no_failure_of_the_server(kind, start, client, caplog):
    arriving = iter([{"type": "http.request", "body": start, "more_body": True}, {"type": "http.disconnect"}])
    sent = []

    async def receive():
        return next(arriving)

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/api/predict",
        "raw_path": b"/api/predict",
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"content-type", kind)],
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 50000),
    }
    with caplog.at_level("ERROR"):
        client.portal.call(client.app, scope, receive, send)
    assert sent[0]["status"] == 499
    assert not caplog.records
