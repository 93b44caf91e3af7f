"""Mixing and unmixing: identities of every process, and the published schedule's numbers."""

import math

import numpy as np
import pytest
import torch

from darklens.errors import InputError
from darklens.train.generation import PROCESSES, Process

every_process = pytest.mark.parametrize("kind", PROCESSES)
TIMES = torch.tensor([0.001, 0.25, 0.5, 0.75, 0.999], dtype=torch.float64)


@every_process
def test_solving_undoes_mixing(kind):
    process, generator = Process(kind), torch.Generator().manual_seed(1)
    images, noise = torch.randn(2, 5, 1, 4, 4, generator=generator, dtype=torch.float64)
    mixed = process.mix(images, noise, TIMES)
    image, left = process.solve(mixed, process.target(images, noise, TIMES), TIMES)
    assert torch.allclose(image, images, atol=1e-9)
    assert torch.allclose(left, noise, atol=1e-9)


@every_process
def test_time_goes_from_image_to_noise(kind):
    alpha, sigma = Process(kind).levels(torch.linspace(0, 1, 1001, dtype=torch.float64))
    assert alpha[0] == 1
    assert sigma[0] == 0
    assert alpha[-1] < 0.01
    assert sigma[-1] > 0.999
    assert (alpha.diff() < 0).all()
    assert (sigma.diff() > 0).all()


@pytest.mark.parametrize("kind", ["noise", "velocity"])
def test_variance_is_kept(kind):
    alpha, sigma = Process(kind).levels(TIMES)
    assert torch.allclose(alpha**2 + sigma**2, torch.ones_like(alpha))


@every_process
def test_time_of_a_ratio_is_where_it_has_that_ratio(kind):
    ratio = torch.tensor([0.02, 0.3, 1.0, 7.0, 60.0], dtype=torch.float64)
    alpha, sigma = Process(kind).levels(Process(kind).time_of(ratio))
    assert torch.allclose(sigma / alpha, ratio, rtol=1e-6)


def test_the_published_schedule_has_its_1000_steps():
    beta = np.linspace(1e-4, 0.02, 1000)
    alpha, _ = Process("noise").levels(torch.arange(1001) / 1000)
    assert np.allclose(alpha.numpy()[1:] ** 2, np.cumprod(1 - beta), rtol=1e-4)
    drawn = Process("noise").draw_times(64, torch.Generator().manual_seed(0)) * 1000
    assert torch.allclose(drawn, drawn.round())
    assert 1 <= drawn.min() <= 16 < 984 < drawn.max() <= 1000


def test_cosine_is_the_quarter_of_a_circle():
    alpha, sigma = Process("velocity").levels(torch.tensor([1 / 3], dtype=torch.float64))
    assert alpha.item() == pytest.approx(math.sqrt(3) / 2)
    assert sigma.item() == pytest.approx(0.5)


@every_process
def test_drawn_times_fill_their_range_evenly(kind):
    times = Process(kind).draw_times(50, torch.Generator().manual_seed(2))
    ordered = times.sort().values
    assert ordered.diff().max() < 0.022
    assert not torch.equal(times, ordered)  # which image gets which is chance


@every_process
def test_the_grid_is_even_in_log_ratio_and_ends_at_the_image(kind):
    grid = Process(kind).grid(9, 0.02)
    alpha, sigma = Process(kind).levels(grid[:-1])
    steps = (sigma / alpha).log().diff()
    assert grid[-1] == 0
    assert (sigma / alpha)[-1].item() == pytest.approx(0.02, rel=1e-5)
    assert torch.allclose(steps, steps.mean().expand(8), rtol=1e-4)


def test_unknown_processes_are_refused():
    with pytest.raises(InputError, match="did you mean 'velocity'"):
        Process("velocty")
