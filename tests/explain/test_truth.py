"""Figures of maps whose worth is known."""

import numpy as np
import pytest
import torch
from torch import nn

from darklens.explain import (
    Question,
    Truth,
    chance,
    mean_with_interval,
    perturbation_curves,
    rank_correlation,
    regions,
    truth_scores,
)


@pytest.fixture
def truth():
    y, x = np.mgrid[:32, :32]
    ring = np.exp(-0.5 * ((np.hypot(x - 16, y - 16) - 9) / 2) ** 2)
    spot = np.exp(-0.5 * (np.hypot(x - 25, y - 16) / 1.5) ** 2)
    two = np.stack([spot, np.zeros_like(spot)])
    return Truth(two, np.stack([ring, ring]), (np.array([[16.0, 25.0]]), np.zeros((0, 2))), seen=two)


def test_regions_share_out_every_pixel(truth):
    where = regions(truth)
    squares = truth.difference[0] ** 2
    inside = where[0] == 0
    assert 0.5 <= squares[inside].sum() / squares.sum() < 0.6
    assert squares[inside].min() >= squares[~inside].max()
    assert (where[0][~inside] == np.where(truth.smooth[0][~inside] >= 0.2, 1, 2)).all()
    assert not (where[1] == 0).any()
    assert truth.disturbed.tolist() == [True, False]


def test_a_map_of_the_truth_gets_everything(truth):
    one = truth.take(np.array([0]))
    best = truth_scores(np.abs(one.difference), one)
    assert best["pointing_subhalo"] == 1
    assert best["pointing_perturbation"] == 1
    assert best["on_arcs"] == pytest.approx(1.0)
    assert best["correlation"] == pytest.approx(1.0)
    assert best["correlation_seen"] == pytest.approx(1.0)
    assert sum(best[f"share_{name}"] for name in ("perturbation", "arcs", "elsewhere"))[0] == pytest.approx(1.0)


def test_a_map_of_the_light_gets_nothing_on_the_arcs(truth):
    one = truth.take(np.array([0]))
    shifted = np.roll(one.smooth, 0, 2)
    shifted[:, :, 16:] *= 0.05  # brighter away from the perturbation
    light = truth_scores(shifted, one)
    assert light["on_arcs"][0] < 0.5
    assert light["pointing_perturbation"][0] == 0
    assert light["pointing_subhalo"][0] == 0
    assert light["share_arcs"][0] > light["share_perturbation"][0]


def test_chance_is_what_random_maps_reach(truth):
    one = truth.take(np.zeros(300, int))
    random = truth_scores(np.random.default_rng(1).random(one.difference.shape), one)
    expected = chance(truth.take(np.array([0])))
    for key, values in random.items():
        error = 4 * values.std() / np.sqrt(len(values))
        assert values.mean() == pytest.approx(expected[key][0], abs=error), key


def test_rank_correlation_does_not_see_the_scale():
    maps = np.random.default_rng(0).random((3, 8, 8))
    assert rank_correlation(maps, np.exp(5 * maps)) == pytest.approx(1.0)
    assert rank_correlation(maps, -maps) == pytest.approx(-1.0)
    assert rank_correlation(maps, np.ones_like(maps)) == pytest.approx(0.0)


class Sum(nn.Module):
    def forward(self, images):
        left = images[:, 0, :, :4].mean((1, 2))
        return torch.stack([4 - 8 * left, 8 * left - 4], 1)


def test_deletion_falls_early_for_the_right_map_and_late_for_the_wrong_one():
    inputs = torch.ones(2, 1, 8, 8)
    question = Question(Sum(), lambda z: z, inputs, torch.zeros_like(inputs), torch.tensor([1, 1]))
    right = np.zeros((2, 8, 8))
    right[:, :, :4] = 1 + np.random.default_rng(0).random((2, 8, 4))
    good, bad = perturbation_curves(question, right), perturbation_curves(question, -right)
    assert good.deletion[:, 0] == pytest.approx(1, abs=0.001)
    assert good.deletion[:, -1] == pytest.approx(0, abs=0.001)
    assert np.allclose(good.deletion[:, [0, -1]], good.insertion[:, [-1, 0]])
    assert (good.deletion_area < 0.35).all()
    assert (bad.deletion_area > 0.65).all()
    assert (good.insertion_area > 0.65).all()
    assert (bad.insertion_area < 0.35).all()


def test_means_have_intervals_and_leave_out_what_is_no_number():
    found = mean_with_interval(np.array([0.0, 1.0, np.nan, 1.0, 0.0]))
    assert found["value"] == 0.5
    assert found["n"] == 4
    assert found["low"] < 0.5 < found["high"]
    assert mean_with_interval(np.array([np.nan]))["value"] is None
