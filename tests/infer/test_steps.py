"""Steps of chains: what a stand-in knows, and that no stand-in, however wrong, changes what is sampled."""

import numpy as np
import pytest

from darklens.infer.gaussian import Gaussian
from darklens.infer.steps import StandIn, walk

STANDARD = Gaussian.of(np.zeros(2), np.eye(2))


def bent(v):
    return -0.5 * float(v[0] ** 2 + ((v[1] - 0.2 * v[0] ** 2) / 0.7) ** 2)


def drawn(n, seed=0, width=1.4):
    return width * np.random.default_rng(seed).standard_normal((n, 2))


def test_a_stand_in_knows_the_density_between_what_was_evaluated():
    seen = drawn(300)
    stand_in = StandIn.through(STANDARD, seen, np.array([bent(v) for v in seen]))
    error = [bent(v) - stand_in.log_density(v) for v in drawn(200, seed=1, width=1.0)]
    beyond = [bent(v) + 0.5 * v @ v for v in drawn(200, seed=1, width=1.0)]
    assert np.std(error) < 0.1 < np.std(beyond)


def test_what_a_stand_in_does_not_know_surprises_it():
    seen, other = drawn(300), drawn(3000, seed=1, width=1.0)
    stand_in = StandIn.through(STANDARD, seen, np.array([bent(v) for v in seen]))
    assert stand_in.surprise(other, np.array([bent(v) for v in other])) < 0.1
    assert stand_in.surprise(other, np.array([bent(v) + 2 * np.sin(3 * v[0]) for v in other])) > 1


def test_a_stand_in_comes_back_to_the_gaussian_far_away():
    seen = drawn(100)
    stand_in = StandIn.through(STANDARD, seen, np.array([bent(v) for v in seen]))
    far = np.array([200.0, 0.0])
    assert stand_in.log_density(far) == pytest.approx(stand_in.middle - 20_000)


def test_nothing_stands_in_for_what_was_hardly_seen():
    seen = drawn(3)
    assert StandIn.through(STANDARD, seen, np.array([bent(v) for v in seen])) is None
    assert StandIn.through(STANDARD, drawn(50), np.full(50, -np.inf)) is None


def test_what_lies_outside_the_support_is_no_evaluation():
    seen = drawn(200)
    values = np.array([bent(v) if v[0] > 0 else -np.inf for v in seen])
    stand_in = StandIn.through(STANDARD, seen, values)
    assert len(stand_in.places) < 150
    assert np.isfinite(stand_in.log_density(np.array([-1.0, 0.0])))


@pytest.mark.slow
@pytest.mark.parametrize("heat", [1.0, 2.0])
def test_a_wrong_stand_in_costs_steps_and_not_the_truth(heat):
    seen = drawn(100)
    wrong = StandIn.through(STANDARD, seen, np.array([-2.0 * float((v[0] - 1) ** 2 + abs(v[1])) for v in seen]))
    found = walk(lambda v: -0.5 * float(v @ v), STANDARD, wrong, np.zeros(2), 0.0, 8000, np.random.default_rng(2), heat)
    assert found.states.mean(0) == pytest.approx(0, abs=0.1 * heat)
    assert found.states.std(0) == pytest.approx(heat**0.5, rel=0.06)
    assert 0 < found.taken < 8000
    assert found.end[1] == pytest.approx(-0.5 * found.end[0] @ found.end[0])


def test_a_good_stand_in_makes_steps_nearly_independent():
    seen = drawn(300)
    good = StandIn.through(STANDARD, seen, np.array([bent(v) for v in seen]))
    lag = {}
    for name, stand_in in (("with", good), ("without", None)):
        x = walk(bent, STANDARD, stand_in, np.zeros(2), 0.0, 3000, np.random.default_rng(3)).states[:, 1]
        lag[name] = np.corrcoef(x[:-1], x[1:])[0, 1]
    assert lag["with"] < lag["without"] - 0.1
