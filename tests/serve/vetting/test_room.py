"""The vetting room over HTTP, from scores, candidates and the questions of a campaign to the sheet that `active` reads."""

import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from starlette.testclient import TestClient

import darklens
from darklens.data.decisions import read_decisions
from darklens.errors import InputError
from darklens.serve.app import create_app
from darklens.serve.room import VettingRoom
from darklens.serve.settings import Settings

from .conftest import IDS, N


@pytest.fixture
def client(scores):
    with TestClient(create_app(Settings(vet=scores)), base_url="http://127.0.0.1") as found:
        yield found


def say(client, who, *decisions, page="page-one"):
    """Send (candidate, decision) pairs."""
    words = [{"key": f"{page}:{i}", "candidate": name, "decision": said} for i, (name, said) in enumerate(decisions)]
    return client.post("/api/vet/decisions", json={"who": who, "decisions": words})


def exported(client, **query):
    return list(csv.DictReader(io.StringIO(client.get("/api/vet/export", params=query).raise_for_status().text)))


def test_what_there_is_to_vet(client):
    about = client.get("/api/vet").json()
    assert [image["id"] for image in about["images"]] == IDS
    assert about["images"][0] == {"id": "c00", "size": [24, 20], "missing": None, "probability": 0.99}
    assert about["answers"] == ["lens", "nonlens", "maybe", "skip"]
    assert about["views"] == ["colour", "band 0", "band 1", "band 2"]
    assert "vetting room" in client.get("/vet").text.lower()


def test_pictures_are_the_images(client):
    version = client.get("/api/vet").json()["version"]
    seen = set()
    for view in ("colour", "band 2"):
        for stretch in ("asinh", "log", "linear"):
            answer = client.get("/api/vet/images/3", params={"view": view, "stretch": stretch, "version": version})
            picture = Image.open(io.BytesIO(answer.content))
            assert picture.size == (24, 20)
            assert "immutable" in answer.headers["cache-control"]
            seen.add(answer.content)
    assert len(seen) == 6
    middle, corner = picture.getpixel((10, 10)), picture.getpixel((23, 0))  # the galaxy lies at row 9.5 from below
    assert min(middle) > max(corner)


@pytest.mark.parametrize(
    ("path", "status", "because"),
    [
        ("images/12?view=colour", 404, "give 0 to 11"),
        ("images/-1?view=colour", 404, "give 0 to 11"),
        ("images/0?view=x", 400, "unknown band 'x': known: colour"),
        ("images/0?view=colour&stretch=x", 400, "unknown stretch"),
        ("images/0?view=colour&version=old", 409, "reload the page"),
        ("images/..%2F..%2Fetc%2Fpasswd?view=colour", 404, "nothing at"),
        ("images/0", 422, "view"),
        ("state?who=%00", 422, "who"),
        ("export?what=x", 422, "what"),
        ("export?format=x", 422, "format"),
    ],
)
def test_wrong_questions_get_one_sentence(client, path, status, because):
    answer = client.get(f"/api/vet/{path}")
    assert answer.status_code == status
    assert because in answer.json()["error"]


@pytest.mark.parametrize(
    ("change", "because"),
    [
        ({"candidate": "nobody"}, "not listed"),
        ({"decision": "perhaps"}, "no answer: give lens, nonlens, maybe, skip"),
        ({"key": "x"}, "key"),
        ({"age": -1}, "age"),
        ({"age": "soon"}, "age"),
        ({"more": 1}, "more"),
        ({"candidate": "c" * 5000}, "candidate"),
    ],
)
def test_wrong_decisions_get_one_sentence_and_leave_nothing(client, change, because):
    good = {"key": "page-one:0", "candidate": "c00", "decision": "lens"}
    bad = {"key": "page-one:1", "candidate": "c01", "decision": "lens"} | change
    answer = client.post("/api/vet/decisions", json={"who": "ann", "decisions": [good, bad]})
    assert answer.status_code in (400, 422)
    assert because in answer.json()["error"]
    assert exported(client, what="history") == []


@pytest.mark.parametrize("who", ["", "  ", "=1+1", "x" * 65, "a\nb", "\ud800", None, 7])
def test_who_has_to_be_a_name(client, who):
    words = [{"key": "page-one:0", "candidate": "c00", "decision": "lens"}]
    body = json.dumps({"who": who, "decisions": words})
    answer = client.post("/api/vet/decisions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert "who" in answer.json()["error"]


def test_a_server_without_anything_to_vet_says_so():
    with TestClient(create_app(Settings()), base_url="http://127.0.0.1") as client:
        for path in ("/vet", "/api/vet", "/api/vet/state"):
            answer = client.get(path)
            assert answer.status_code == 404
            assert "--vet" in answer.json()["error"]


def test_two_people_and_what_comes_of_it(client):
    say(client, "ann", *((name, "lens" if i < 6 else "nonlens") for i, name in enumerate(IDS)), page="page-ann")
    say(client, "bob", *((name, "lens" if i < 5 else "nonlens") for i, name in enumerate(IDS[:8])), page="page-bob")
    state = client.get("/api/vet/state", params={"who": "bob"}).json()
    assert state["people"] == {"ann": N, "bob": 8}
    assert state["mine"]["c05"] == "nonlens"
    found = client.get("/api/vet/agreement").json()
    assert found["unanimous"] == {"images": 8, "agreed": 7}
    assert found["fleiss"]["low"] < found["fleiss"]["value"] < found["fleiss"]["high"] == 1
    verdicts = {row["id"]: row for row in exported(client, what="verdicts")}
    assert verdicts["c00"] == {
        "id": "c00",
        "label": "lens",
        "conflict": "0",
        "lens": "2",
        "nonlens": "0",
        "maybe": "0",
        "skip": "0",
    }
    assert (verdicts["c05"]["label"], verdicts["c05"]["conflict"]) == ("", "1")
    assert verdicts["c11"]["label"] == "nonlens"


def test_files_say_the_same_in_both_formats(client):
    say(client, "ann", ("c00", "lens"), ("c01", "maybe"), ("c01", None), ("c02", "skip"))
    for what in ("decisions", "history", "verdicts"):
        table = pq.read_table(pa.BufferReader(client.get("/api/vet/export", params={"what": what, "format": "parquet"}).content))
        rows = [{k: "" if v is None else str(v) for k, v in row.items()} for row in table.to_pylist()]
        assert rows == exported(client, what=what)
    assert [(r["id"], r["decision"]) for r in exported(client)] == [("c00", "lens"), ("c02", "skip")]


def test_the_sheet_follows_and_is_taken_over(scores):
    sheet = scores.with_name("scores.parquet.decisions.csv")
    sheet.write_text("id,decision,who,when\nc07,lens,eve,2026-01-01T00:00:00Z\nc08,,,\n")
    settings = Settings(vet=scores)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        assert client.get("/api/vet/state").json()["people"] == {"eve": 1}
        say(client, "ann", ("c00", "lens"), ("c01", "nonlens"))
    rows = read_decisions(sheet, set(IDS), ("nonlens", "lens"))
    assert {(d.id, d.decision, d.who) for d in rows} == {("c07", "lens", "eve"), ("c00", "lens", "ann"), ("c01", "nonlens", "ann")}
    assert [row["id"] for row in csv.DictReader(sheet.open())] == [d.id for d in rows] + [
        name for name in IDS if name not in ("c00", "c01", "c07")
    ]
    sheet.write_text(sheet.read_text() + "c02,maybe,max,2026-01-01T00:00:00Z\n")  # by hand, while nobody serves
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        assert client.get("/api/vet/state").json()["people"] == {"eve": 1, "ann": 2, "max": 1}
        assert len(exported(client, what="history")) == 4


def test_a_damaged_sheet_stops_the_server_with_its_line(scores):
    scores.with_name("scores.parquet.decisions.csv").write_text("id,decision\nc00,lense\n")
    with pytest.raises(InputError, match=r"line 2: 'lense' is no decision; did you mean 'lens'"):
        create_app(Settings(vet=scores))


def test_a_folder_of_candidates(scores, tmp_path):
    darklens.candidates(scores, 5, tmp_path / "out")
    room = VettingRoom.open(tmp_path / "out")
    assert room.ids == IDS[:5]
    assert room.listed.answers == ("lens", "nonlens", "maybe", "skip")
    assert room.missing == {}
    room.close()


def test_images_elsewhere_and_images_nowhere(scores, tmp_path):
    table = pq.read_table(scores)
    pq.write_table(table.drop(["source"]), tmp_path / "bare.parquet")
    room = VettingRoom.open(tmp_path / "bare.parquet", images=tmp_path / "images")
    assert room.missing == {}
    room.close()
    with TestClient(create_app(Settings(vet=tmp_path / "bare.parquet")), base_url="http://127.0.0.1") as client:
        about = client.get("/api/vet").json()
        assert "give --images" in about["images"][0]["missing"]
        assert about["views"] == []
        assert client.get("/api/vet/images/0", params={"view": "colour"}).status_code == 404
        assert say(client, "ann", ("c00", "lens")).status_code == 200


def test_questions_of_a_campaign(scores, tmp_path):
    campaign = tmp_path / "campaign"
    for number, ids in (("001", IDS[:2]), ("002", IDS[4:8]), ("010", IDS[8:])):
        folder = campaign / "queues" / number
        folder.mkdir(parents=True)
        (folder / "queue.csv").write_text("id,source,why,score\n" + "".join(f"{i},x,uncertain,0.5\n" for i in ids))
    about = {"classes": ["nonlens", "lens"], "pool": {"path": str(tmp_path / "images")}, "complete": True}
    (campaign / "campaign.json").write_text(json.dumps(about))
    room = VettingRoom.open(campaign)
    assert (room.ids, room.listed.name, room.missing) == (IDS[8:], "campaign/010", {})
    assert all(not candidate.about for candidate in room.listed.candidates)  # nobody is swayed
    room.close()
    with TestClient(create_app(Settings(vet=campaign / "queues" / "002")), base_url="http://127.0.0.1") as client:
        say(client, "ann", *((name, "lens") for name in IDS[4:8]))
    found = read_decisions(campaign / "queues" / "002" / "decisions.csv", set(IDS), ("nonlens", "lens"))
    assert [(d.id, d.decision, d.who) for d in found] == [(name, "lens", "ann") for name in IDS[4:8]]


def test_a_database_that_holds_another_list_is_refused(scores, tmp_path):
    db = f"sqlite:///{tmp_path / 'team.db'}"
    with TestClient(create_app(Settings(vet=scores, db=db)), base_url="http://127.0.0.1") as client:
        say(client, "ann", ("c00", "lens"))
    table = pq.read_table(scores)
    other = tmp_path / "other" / "scores.parquet"
    other.parent.mkdir()
    pq.write_table(table.set_column(0, "id", pa.array([f"x{i}" for i in range(N)])), other)
    with pytest.raises(InputError, match=r"room 'scores.parquet' about other images: rename the folder"):
        create_app(Settings(vet=other, db=db))


@pytest.mark.parametrize("what", ["nothing.parquet", "images", "campaign"])
def test_what_cannot_be_vetted(scores, tmp_path, what):
    if what == "campaign":
        (tmp_path / "campaign").mkdir()
        (tmp_path / "campaign" / "campaign.json").write_text("{}")
    with pytest.raises(InputError):
        VettingRoom.open(tmp_path / what)


def test_shared_work_over_http(scores):
    with TestClient(create_app(Settings(vet=scores, voters=1)), base_url="http://127.0.0.1") as client:
        given = {who: client.post("/api/vet/next", json={"who": who, "n": 6}).json()["ids"] for who in ("ann", "bob", "eve")}
    assert given == {"ann": IDS[:6], "bob": IDS[6:], "eve": []}
