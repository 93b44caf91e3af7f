"""A server that is killed while decisions come in: what it acknowledged is there, and nothing is there twice."""

import itertools
import threading

import httpx
import pytest

from darklens.serve.database import open_database
from darklens.serve.ledger import Ledger

from .conftest import IDS

ANSWERS = ("lens", "nonlens", "maybe", "skip")


class Person(threading.Thread):
    """Sends decisions as the page does: again and again until one is acknowledged, then the next."""

    def __init__(self, server, name, stop):
        super().__init__(daemon=True)
        self.server, self.person, self.stop = server, name, stop
        self.acknowledged, self.last, self.again, self.wrong = [], {}, 0, []

    def run(self):
        for number in itertools.count():
            key, name, said = f"page-{self.person}:{number}", IDS[number % len(IDS)], ANSWERS[(number // len(IDS)) % 4]
            word = {"key": key, "candidate": name, "decision": said}
            if self.stop.is_set() or not self.send(word):
                return
            self.acknowledged.append(key)
            self.last[name] = said

    def send(self, word):
        """Return whether a decision was acknowledged before the end."""
        while True:
            try:
                answer = self.server.client.post("/api/vet/decisions", json={"who": self.person, "decisions": [word]})
            except httpx.TransportError:
                self.again += 1
            else:
                if answer.status_code == 200:
                    return True
                if answer.status_code != 503:
                    self.wrong.append(answer.text)
                    return False
            if self.stop.wait(0.02):
                return False


def kill_often(server, url, room, kills, seconds, people=4):
    """Let people decide while their server is killed, and compare what they know with what is in the database."""
    stop = threading.Event()
    crowd = [Person(server, f"p{k}", stop) for k in range(people)]
    for person in crowd:
        person.start()
    for k in range(kills):
        stop.wait(seconds)
        server.kill()
        before = sum(len(person.acknowledged) for person in crowd)
        server.start()
        while sum(len(person.acknowledged) for person in crowd) == before:  # it works again
            assert not stop.wait(0.02)
        if k == kills - 1:
            stop.wait(seconds)
    stop.set()
    for person in crowd:
        person.join(30)
    server.kill()
    ledger = Ledger(open_database(url), room)
    history, votes = ledger.history(), ledger.votes()
    ledger.engine.dispose()
    return crowd, history, votes


def check(crowd, history, votes):
    assert not [sentence for person in crowd for sentence in person.wrong]
    acknowledged = sum(len(person.acknowledged) for person in crowd)
    for person in crowd:
        mine = [entry for entry in history if entry.who == person.person]
        assert len(person.acknowledged) <= len(mine) <= len(person.acknowledged) + 1  # one may be written and not acknowledged
        expected = [(IDS[i % len(IDS)], ANSWERS[(i // len(IDS)) % 4]) for i in range(len(mine))]
        assert [(entry.id, entry.decision) for entry in mine] == expected  # none lost, none doubled, in order
        there = {vote.id: vote.decision for vote in votes if vote.who == person.person}
        assert there == dict(expected)  # the last word on each image, one each
    return acknowledged


def test_one_kill(serve, scores):
    server = serve(vet=scores)
    crowd, history, votes = kill_often(server, scores.with_name("scores.parquet.vetting.db"), "", kills=1, seconds=0.5)
    assert check(crowd, history, votes) > 4
    assert sum(person.again for person in crowd) > 0


@pytest.mark.slow
def test_twenty_kills(serve, scores, url):
    server = serve(vet=scores, db=url)
    crowd, history, votes = kill_often(server, url, "scores.parquet", kills=20, seconds=0.7)
    print(f"20 kills: {check(crowd, history, votes)} decisions acknowledged, {len(history)} kept, none lost or doubled")


@pytest.mark.slow
def test_the_sheet_is_whole_after_a_kill(serve, scores):
    server = serve(vet=scores)
    word = {"key": "page-one:0", "candidate": "c03", "decision": "lens"}
    server.client.post("/api/vet/decisions", json={"who": "ann", "decisions": [word]}).raise_for_status()
    server.kill()
    server.start()
    server.stop()
    lines = scores.with_name("scores.parquet.decisions.csv").read_text().splitlines()
    assert lines[1].startswith("c03,lens,ann,")
    assert len(lines) == 1 + len(IDS)
