"""Amplitudes of light: none is negative, unless they are to be integrated over."""

import numpy as np
import pytest
from scipy.optimize import nnls

from darklens.fit.one_lens.inversion import Linear


@pytest.fixture
def problem():
    """Return a problem of four columns of light, two of which all but cancel, and whose best amplitudes have both signs."""
    rng = np.random.default_rng(0)
    B = np.abs(rng.standard_normal((50, 4)))
    B[:, 3] = B[:, 2] + 0.01 * rng.standard_normal(50)
    return Linear.of(B, B @ np.array([1.0, 0.0, -3.0, 5.0]) + 0.1 * rng.standard_normal(50), np.zeros((0, 0)), 0.0)


def test_no_amplitude_that_may_take_part_is_negative(problem):
    everything = np.ones(4, bool)
    assert problem.solve(1.0, everything, signed=True).x[2] < -1
    found = problem.solve(1.0, everything)
    assert found.x == pytest.approx(nnls(problem.B, problem.d)[0], abs=1e-5)
    assert not found.active[2]


def test_amplitudes_that_may_not_take_part_stay_out(problem):
    found = problem.solve(1.0, np.array([True, False, True, False]))
    assert found.x[[1, 3]] == pytest.approx(0)
    assert (found.x >= 0).all()


def test_solutions_without_negative_amplitudes_are_the_same_either_way(problem):
    some = np.array([True, False, False, True])
    one, other = problem.solve(1.0, some), problem.solve(1.0, some, signed=True)
    assert one.x == pytest.approx(other.x)
    assert one.evidence == pytest.approx(other.evidence)
