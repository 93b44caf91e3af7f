import numpy as np
import pytest

from darklens.report.intervals import Track


def number(low, value, high):
    return {"low": low, "value": value, "high": high}


@pytest.mark.parametrize("scale", [1e-4, 1.0, 3000.0])
def test_all_intervals_lie_on_the_track(scale):
    numbers = [number(0.97 * scale, 0.98 * scale, 0.99 * scale), number(0.99 * scale, 0.995 * scale, scale), None]
    track = Track.around(numbers)
    for n in numbers[:2]:
        mark = track.mark(n)
        assert 0 < mark["left"] < mark["x"] < mark["right"] < 100
    assert track.mark(None) is None
    assert track.mark(number(None, None, None)) is None


def test_positions_are_linear_in_the_value():
    track = Track(2.0, 6.0)
    assert [track.at(v) for v in (2, 3, 6)] == [0, 25, 100]


def test_zero_stands_in_the_middle_of_a_difference():
    track = Track.around([number(-0.02, -0.01, 0.001)], zero=True)
    assert track.at(0.0) == 50
    assert 0 < track.mark(number(-0.02, -0.01, 0.001))["left"] < 50


@pytest.mark.parametrize("n", [number(1.0, 1.0, 1.0), number(0.0, 0.0, 0.0), number(None, 0.5, None)])
def test_an_interval_without_width_is_drawn(n):
    for track in (Track.around([n]), Track.around([n], zero=True)):
        assert track.low < n["value"] < track.high
        mark = track.mark(n)
        assert mark["left"] == mark["x"] == mark["right"]


@pytest.mark.parametrize("seed", range(30))
def test_ticks_are_round_evenly_spaced_and_say_where_they_are(seed):
    rng = np.random.default_rng(seed)
    low = rng.normal() * 10 ** rng.uniform(-4, 4)
    track = Track(low, low + 10 ** rng.uniform(-4, 4))
    ticks = track.ticks()
    assert 1 <= len(ticks) <= 4
    places, values = np.array([x for x, _ in ticks]), np.array([float(label) for _, label in ticks])
    assert np.all((places >= 0) & (places <= 100))
    for x, value in zip(places, values, strict=True):
        assert track.at(value) == pytest.approx(x, abs=0.02)
    assert len({label for _, label in ticks}) == len(ticks)
