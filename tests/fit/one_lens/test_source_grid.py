"""The source on a grid: splines between its nodes, its prior, its frame."""

import numpy as np
import pytest
import torch

from darklens.errors import WorkError
from darklens.fit.one_lens import SourceGrid, adapted


@pytest.fixture
def uneven() -> SourceGrid:
    return SourceGrid(np.array([-1.0, -0.2, 0.1, 0.5, 0.9]), np.array([-0.5, 0.0, 0.2, 0.7, 1.0, 1.2]))


@pytest.fixture
def rays() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(2)
    return torch.from_numpy(rng.uniform(-1.9, 1.9, (60, 3))), torch.from_numpy(rng.uniform(-1.2, 2.1, (60, 3)))


def test_planes_are_exact_inside_a_grid_of_even_steps():
    grid = SourceGrid(np.linspace(-1, 1, 9), np.linspace(-0.5, 1, 7))
    y, x = np.meshgrid(grid.y, grid.x, indexing="ij")
    nodes = torch.from_numpy((2 + 3 * x - 1.5 * y).ravel())
    rng = np.random.default_rng(2)
    bx, by = torch.from_numpy(rng.uniform(-0.8, 0.8, (40, 3))), torch.from_numpy(rng.uniform(-0.3, 0.8, (40, 3)))
    assert torch.allclose(grid.interpolate(nodes, bx, by), 2 + 3 * bx - 1.5 * by)


def test_the_matrix_is_the_interpolation(uneven, rays):
    nodes = torch.from_numpy(np.random.default_rng(3).standard_normal(uneven.size))
    assert np.allclose(uneven.operator(*rays) @ nodes.numpy(), uneven.interpolate(nodes, *rays).mean(1).numpy())
    assert torch.allclose(
        uneven.interpolate(torch.ones(uneven.size), *(torch.tensor([0.15], dtype=torch.float64),) * 2), torch.ones(1).double()
    )


def test_slopes_are_those_of_the_interpolation(uneven, rays):
    nodes = torch.from_numpy(np.random.default_rng(4).standard_normal(uneven.size))
    bx, by = (b.requires_grad_() for b in rays)
    expected = torch.autograd.grad(uneven.interpolate(nodes, bx, by).sum(), (bx, by))
    found = uneven.slopes(nodes.expand(60, -1).contiguous(), bx.detach(), by.detach())
    for a, b in zip(expected, found, strict=True):
        assert torch.allclose(a / 3, b)


def test_brightness_and_slope_are_continuous_and_end_at_zero(uneven):
    nodes = torch.from_numpy(np.random.default_rng(5).standard_normal(uneven.size))
    line = torch.linspace(-6, 6, 48001, dtype=torch.float64)
    light = uneven.interpolate(nodes, line, torch.full_like(line, 0.3))
    step = float(line[1] - line[0])
    slope = light.diff() / step
    assert light[0] == light[-1] == 0
    assert light.diff().abs().max() < 0.01
    assert slope.diff().abs().max() < 0.1  # bilinear: as large as the slope itself


@pytest.mark.parametrize("kind", ["curvature", "gradient"])
@pytest.mark.parametrize("free", [False, True])
def test_the_prior_is_proper_and_its_determinant_is_right(kind, free):
    freedom = np.full((4, 5), 2.0) if free else None
    grid = SourceGrid(np.linspace(0, 1, 5), np.linspace(0, 1, 4), kind, freedom)
    value = np.linalg.eigvalsh(grid.precision)
    assert value.min() > 0
    assert grid.log_det == pytest.approx(np.log(value).sum())
    step = np.zeros(grid.shape)
    step[1, 2] = 1.0  # a single bright node: differences on four sides, squared
    expected = (4 if kind == "gradient" else 12) / (4 if free else 1)
    assert step.ravel() @ grid.precision @ step.ravel() == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["curvature", "gradient"])
def test_where_the_source_is_freer_a_step_costs_less(kind):
    freedom = np.full((7, 8), 0.1)
    freedom[:, 4:] = 1.0
    grid = SourceGrid(np.linspace(0, 1, 8), np.linspace(0, 1, 7), kind, freedom)
    costs = []
    for column in (1, 6):
        step = np.zeros(grid.shape)
        step[3, column] = 1.0
        costs.append(step.ravel() @ grid.precision @ step.ravel())
    assert costs[0] == pytest.approx(100 * costs[1])


def test_the_grid_is_finer_where_rays_crowd():
    rng = np.random.default_rng(3)
    rays = np.concatenate([rng.normal(0, 0.03, 3000), rng.uniform(-1, 1, 1000)])
    grid = adapted(rays, rng.permutation(rays), np.ones(4000), 15, "curvature", held=np.ones(4000, bool))
    steps = np.diff(grid.x)
    assert (steps > 0).all()
    assert steps.max() / steps.min() > 5
    assert abs(grid.x[steps.argmin()]) < 0.1


def test_the_grid_holds_what_it_is_told_to_hold():
    rng = np.random.default_rng(6)
    bx, by = rng.uniform(-1, 1, (2, 5000))
    held = np.hypot(bx, by) < 0.5
    grid = adapted(bx, by, np.ones(5000), 9, "curvature", held=held)
    assert -0.6 < grid.x[0] < -0.45
    assert 0.45 < grid.y[-1] < 0.6


def test_a_grid_that_holds_nothing_is_refused():
    rays = np.linspace(-1, 1, 50)
    with pytest.raises(WorkError, match="--theta-e"):
        adapted(rays, rays, np.ones(50), 9, "curvature", held=np.zeros(50, bool))
