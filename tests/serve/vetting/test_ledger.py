"""Decisions in a database, SQLite and PostgreSQL alike: nothing lost, nothing doubled, the latest word of each person counts."""

import sqlite3
import threading
from collections import Counter

import pytest

from darklens.data.decisions import Decision
from darklens.errors import InputError
from darklens.serve.database import Unreachable, open_database
from darklens.serve.ledger import Ledger, Word

IDS = [f"c{i}" for i in range(6)]


@pytest.fixture
def ledger(url):
    found = Ledger(open_database(url), "survey")
    yield found
    found.engine.dispose()


def word(number, decision="lens", candidate="c0", age=0.0, page="page"):
    return Word(f"{page}:{number}", candidate, decision, age)


def votes(ledger, who=None):
    return {(vote.who, vote.id): vote.decision for vote in ledger.votes(who)}


def test_what_is_sent_again_is_kept_once(ledger):
    assert [kept.new for kept in ledger.record("ann", [word(1)])] == [True]
    assert [kept.new for kept in ledger.record("ann", [word(1), word(2, "maybe"), word(2, "maybe")])] == [False, True, False]
    assert votes(ledger) == {("ann", "c0"): "maybe"}
    assert [(entry.decision, entry.who) for entry in ledger.history()] == [("lens", "ann"), ("maybe", "ann")]


def test_a_key_is_one_decision(ledger):
    ledger.record("ann", [word(1)])
    for who, again in (("ann", word(1, "maybe")), ("ann", word(1, candidate="c1")), ("bob", word(1))):
        with pytest.raises(InputError, match="another decision"):
            ledger.record(who, [word(7, candidate="c5"), again])
    assert votes(ledger) == {("ann", "c0"): "lens"}  # all of a request or nothing of it


def test_taking_back(ledger):
    ledger.record("ann", [word(1), word(2, "maybe")])
    assert ledger.record("ann", [word(3, "lens")])[0].decision == "lens"
    assert ledger.record("ann", [word(4, None)])[0].decision is None
    assert votes(ledger) == {}
    assert [entry.decision for entry in ledger.history()] == ["lens", "maybe", "lens", None]


def test_each_person_has_a_vote_of_their_own(ledger):
    ledger.record("ann", [word(1)])
    ledger.record("bob", [word(1, "nonlens", page="other")])
    assert votes(ledger) == {("ann", "c0"): "lens", ("bob", "c0"): "nonlens"}
    assert votes(ledger, "bob") == {("bob", "c0"): "nonlens"}


def test_an_old_word_that_comes_late_does_not_undo_a_new_one(ledger):
    ledger.record("ann", [word(1, "lens", page="here")])
    late = ledger.record("ann", [word(1, "nonlens", age=3600, page="there")])[0]
    assert (late.new, late.decision) == (True, "lens")
    assert votes(ledger) == {("ann", "c0"): "lens"}
    assert len(ledger.history()) == 2


def test_words_of_one_page_count_in_its_order_however_long_they_travelled(ledger):
    ledger.record("ann", [word(1, "lens", age=0)])
    ledger.record("ann", [word(2, "nonlens", age=5)])  # made after the first, which was long on its way
    assert votes(ledger) == {("ann", "c0"): "nonlens"}
    ledger.record("ann", [word(10, "maybe", age=5)])
    assert votes(ledger) == {("ann", "c0"): "maybe"}
    times = [entry.when for entry in ledger.history()]
    assert times == sorted(times)


def test_rooms_are_apart(ledger):
    other = Ledger(ledger.engine, "another survey")
    ledger.record("ann", [word(1)])
    assert other.votes() == []
    assert other.record("ann", [word(1, "maybe")])[0].new
    assert votes(ledger) == {("ann", "c0"): "lens"}


def test_words_of_any_script(ledger):
    name, image = "Ünal \U0001f52d o'Neill; DROP TABLE", 'odd "id", 100% {x} :y ?'
    ledger.record(name, [word(1, candidate=image)])
    assert votes(ledger) == {(name, image): "lens"}


def test_adopting_a_sheet_twice_is_adopting_it_once(ledger):
    ledger.record("ann", [word(1, "lens", "c0"), word(2, "lens", "c1", age=1000)])
    mine = {vote.id: vote.when for vote in ledger.votes()}
    sheet = [
        Decision("c0", "nonlens", "ann", "2020-01-01T00:00:00Z"),  # older than what is there
        Decision("c1", "nonlens", "ann", "2199-01-01T00:00:00+02:00"),  # newer
        Decision("c2", "lens", "", ""),
        Decision("c3", "maybe", "bob", "2026-11-21T15:04:05"),
    ]
    assert ledger.adopt(sheet) == 3
    assert ledger.adopt(sheet) == 0
    assert ledger.adopt(ledger.votes()) == 0
    assert votes(ledger) == {("ann", "c0"): "lens", ("ann", "c1"): "nonlens", ("", "c2"): "lens", ("bob", "c3"): "maybe"}
    found = {vote.id: vote.when for vote in ledger.votes()}
    assert found == {"c0": mine["c0"], "c1": "2198-12-31T22:00:00.000Z", "c2": "", "c3": "2026-11-21T15:04:05.000Z"}


def test_what_was_taken_back_does_not_come_back_with_a_sheet(ledger):
    ledger.record("ann", [word(1)])
    sheet = ledger.votes()
    ledger.record("ann", [word(2, None)])
    assert ledger.adopt(sheet) == 0
    assert votes(ledger) == {}


def test_work_is_shared_without_two_looking_at_one(ledger):
    first, second = ledger.hand_out("ann", IDS, 2, 1), ledger.hand_out("bob", IDS, 3, 1)
    assert (first, second) == (["c0", "c1"], ["c2", "c3", "c4"])
    assert ledger.hand_out("ann", IDS, 2, 1) == first  # asking again gives what is in one's hands
    ledger.record("ann", [word(1, candidate="c0"), word(2, "skip", candidate="c1")])
    assert ledger.hand_out("ann", IDS, 9, 1) == ["c5"]
    assert ledger.hand_out("eve", IDS, 9, 1) == ["c1"]  # skipped: somebody else may know


def test_two_voters_each(ledger):
    people = ["ann", "bob", "eve", "max"]
    looked = Counter()
    for turn in range(12):
        who = people[turn % 4]
        given = ledger.hand_out(who, IDS, 1, 2)
        ledger.record(who, [word(turn, candidate=name, page=who) for name in given])
        looked.update(given)
    assert looked == dict.fromkeys(IDS, 2)


def test_a_lease_ends(ledger, monkeypatch):
    ledger.hand_out("ann", IDS, 6, 1)
    assert ledger.hand_out("bob", IDS, 6, 1) == []
    monkeypatch.setattr("darklens.serve.ledger.time.time", lambda: __import__("time").monotonic() + 4e9)
    assert ledger.hand_out("bob", IDS, 6, 1) == IDS
    assert ledger.record("ann", [word(1)])[0].new  # who comes late is heard all the same


def test_everybody_about_everything_holds_nothing(ledger):
    assert ledger.hand_out("ann", IDS, 3, None) == ledger.hand_out("bob", IDS, 3, None) == IDS[:3]


def test_many_writers_at_once(url):
    ledgers = [Ledger(open_database(url), "survey") for _ in range(4)]  # as four servers on one database
    people, wrong = [f"p{k}" for k in range(8)], []

    def work(k):
        try:
            for i in range(15):
                name = IDS[(k + i) % len(IDS)]
                ledgers[k % 4].record(people[k], [word(i, ("lens", "maybe")[i % 2], name, page=f"page{k}")])
                if i % 3 == 0:
                    ledgers[(k + 1) % 4].record(people[k], [word(i, ("lens", "maybe")[i % 2], name, page=f"page{k}")])
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    history = ledgers[0].history()
    assert len(history) == 8 * 15
    expected = {(f"p{k}", IDS[(k + i) % len(IDS)]): ("lens", "maybe")[i % 2] for k in range(8) for i in range(15)}
    assert votes(ledgers[0]) == expected
    for ledger in ledgers:
        ledger.engine.dispose()


def test_rooms_made_by_two_at_once(url):
    made, start = [], threading.Barrier(6)

    def make():
        start.wait()
        made.append(Ledger(open_database(url), "new").room)

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 6
    assert len(set(made)) == 1


def test_postgresql_that_goes_away_and_comes_back(postgres):
    ledger = Ledger(open_database(postgres.database("away")), "survey")
    ledger.record("ann", [word(1)])
    postgres.stop()
    try:
        with pytest.raises(Unreachable, match="nothing was recorded, try again"):
            ledger.record("ann", [word(2, "maybe")])
    finally:
        postgres.start()
    assert ledger.record("ann", [word(2, "maybe")])[0].new
    assert votes(ledger) == {("ann", "c0"): "maybe"}
    ledger.engine.dispose()


def test_sqlite_that_somebody_else_holds(tmp_path, monkeypatch):
    monkeypatch.setattr("darklens.serve.database.WAIT", 0.1)
    ledger = Ledger(open_database(tmp_path / "vetting.db"), "survey")
    other = sqlite3.connect(tmp_path / "vetting.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unreachable, match="locked"):
        ledger.record("ann", [word(1)])
    assert ledger.votes() == []  # reading goes on
    other.execute("ROLLBACK")
    assert ledger.record("ann", [word(1)])[0].new
    other.close()
    ledger.engine.dispose()


@pytest.mark.parametrize(
    ("url", "because"),
    [
        ("mysql://host/name", "no kind of database that can be used: write sqlite:///FILE or postgresql://"),
        ("sqlite://", "no kind of database"),
        ("postgresql://u:secret@127.0.0.1:1/x", "cannot be used"),
        ("://", "no address of a database"),
        ("sqlite:////nowhere/at/all/x.db", "cannot be used"),
    ],
)
def test_addresses_that_lead_nowhere(url, because):
    with pytest.raises(InputError, match=because) as found:
        open_database(url)
    assert "secret" not in str(found.value)


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "x.db").write_bytes(b"these are no pages of a database " * 100)
    with pytest.raises(InputError, match="cannot be used"):
        open_database(tmp_path / "x.db")
