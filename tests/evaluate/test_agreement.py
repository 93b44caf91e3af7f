import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from darklens.data.decisions import Decision
from darklens.evaluate.agreement import agreement, cohen_kappa, fleiss_kappa

FLEISS = np.array(  # Fleiss' own layout, 10 subjects, 14 raters, 5 answers; kappa = 0.210
    [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]
)  # fmt: skip


def said(*rows):
    return [Decision(name, decision, who) for name, decision, who in rows]


@pytest.mark.parametrize("seed", range(3))
def test_cohen_against_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 3, 60)
    b = np.where(rng.random(60) < 0.6, a, rng.integers(0, 3, 60))
    found = cohen_kappa(a, b)
    assert found["value"] == pytest.approx(cohen_kappa_score(a, b), abs=1e-12)
    assert found["low"] < found["value"] < found["high"]
    assert found["n"] == 60


def test_fleiss_of_a_known_table():
    assert fleiss_kappa(FLEISS)["value"] == pytest.approx(0.210, abs=5e-4)


def test_with_images_of_different_numbers_of_people():
    once = np.zeros((3, 5))
    once[:, 0] = 1  # one person each: nothing is learned from them
    assert fleiss_kappa(np.concatenate([FLEISS, once]))["value"] == fleiss_kappa(FLEISS)["value"]
    assert fleiss_kappa(np.concatenate([FLEISS, 2 * np.eye(5)]))["value"] > fleiss_kappa(FLEISS)["value"]


def test_intervals_shrink_with_the_number_of_images_and_hold_their_level():
    rng = np.random.default_rng(0)

    def draw(n):
        a = rng.integers(0, 2, n)
        return a, np.where(rng.random(n) < 0.8, a, 1 - a)  # kappa of the population: 0.6

    few, many = (cohen_kappa(*draw(n)) for n in (50, 800))
    assert many["high"] - many["low"] < 0.4 * (few["high"] - few["low"])
    inside = sum(found["low"] <= 0.6 <= found["high"] for found in (cohen_kappa(*draw(120)) for _ in range(60)))
    assert inside >= 52  # of 57 expected


def test_one_answer_for_everything_says_nothing_about_agreement():
    assert cohen_kappa(np.zeros(5), np.zeros(5))["value"] is None
    assert fleiss_kappa(np.array([[2, 0], [2, 0]]))["value"] is None
    assert cohen_kappa(np.zeros(0), np.zeros(0)) == {"value": None, "low": None, "high": None, "n": 0}


def test_of_decisions():
    answers = ("lens", "nonlens", "maybe", "skip")
    rows = [(f"i{k}", "lens" if k % 2 else "nonlens", "ann") for k in range(10)]
    rows += [(f"i{k}", "lens" if k % 2 or k == 0 else "nonlens", "bob") for k in range(8)] + [
        ("i9", "skip", "bob"),
        ("i9", "lens", "eve"),
    ]
    found = agreement(said(*rows), answers)
    assert found["people"] == {"ann": 10, "bob": 8, "eve": 1}
    assert found["unanimous"] == {"images": 9, "agreed": 8}
    pairs = {(p["a"], p["b"]): (p["same"], p["kappa"]["n"]) for p in found["pairs"]}
    assert pairs == {("ann", "bob"): (7, 8), ("ann", "eve"): (1, 1)}  # bob skipped the only image of eve's
    assert found["fleiss"]["n"] == 9
    assert found["answers"] == {"lens": 11, "nonlens": 8, "maybe": 0}


def test_of_nobody_and_of_one_person():
    answers = ("lens", "nonlens", "maybe", "skip")
    assert agreement([], answers)["fleiss"] is None
    alone = agreement(said(("a", "lens", "ann")), answers)
    assert alone["fleiss"] is None
    assert alone["pairs"] == []
