import pytest
import torch

from darklens.errors import InputError
from darklens.lensing import SIE, SIS, PointMass, Shear, critical_curves, magnification, residual, solve_images, trace


def test_images_of_a_point_source_behind_a_sphere():
    images = solve_images([SIS(1.2)], 0.3, 0.0, n=200)
    assert sorted(images[:, 0].tolist()) == pytest.approx([-0.9, 1.5])
    assert images[:, 1].abs().max() < 1e-8


@pytest.mark.parametrize("n", [200, 201])
@pytest.mark.parametrize(("beta", "count"), [((0.02, 0.03), 4), ((0.0, 0.0), 4), ((0.5, 0.4), 2), ((2.5, 0.0), 1)])
def test_every_image_solves_the_lens_equation(beta, count, n):
    masses = [SIE(1.2, 0.25, 0.1), Shear(0.05, 0.02)]
    images = solve_images(masses, *beta, half_width=5.0, n=n)
    assert len(images) == count
    assert torch.cat(residual(masses, images[:, :1], images[:, 1:], *beta)).abs().max() < 1e-10


def test_images_agree_with_lenstronomy():
    from lenstronomy.LensModel.lens_model import LensModel
    from lenstronomy.LensModel.Solver.lens_equation_solver import LensEquationSolver

    sie = {"theta_E": 1.2, "e1": 0.2, "e2": 0.1, "center_x": 0.02, "center_y": 0.03}
    solver = LensEquationSolver(LensModel(["SIE", "SHEAR"]))
    x, y = solver.image_position_from_source(0.05, -0.03, [sie, {"gamma1": 0.05, "gamma2": 0.0}], search_window=6)
    images = solve_images([SIE(**sie), Shear(0.05, 0.0)], 0.05, -0.03, n=200)
    expected = torch.tensor(sorted(zip(x.tolist(), y.tolist(), strict=True)), dtype=torch.float64)
    assert torch.allclose(torch.tensor(sorted(images.tolist()), dtype=torch.float64), expected, atol=1e-6)


def test_no_masses_are_no_lens():
    x, y = torch.rand(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert trace([], x, y) == (x, y)
    assert torch.equal(magnification([], x, y), torch.ones_like(x))


def test_magnification_of_a_point_lens():
    x = torch.tensor([[0.7, 1.5, 3.0]], dtype=torch.float64)
    assert torch.allclose(magnification([PointMass(1.0)], x, torch.zeros_like(x)), 1 / (1 - 1 / x**4))


def test_magnification_is_the_ratio_of_areas():
    masses = [SIE(1.2, 0.2, -0.1), Shear(0.1, 0.0)]
    x, y, h = torch.tensor([[1.6]], dtype=torch.float64), torch.tensor([[0.4]], dtype=torch.float64), 1e-5
    (ax, ay), (bx, by), (cx, cy) = (trace(masses, x + i * h, y + j * h) for i, j in ((0, 0), (1, 0), (0, 1)))
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    assert float(h * h / area) == pytest.approx(float(magnification(masses, x, y)), rel=1e-3)


def test_the_lens_equation_is_differentiable_in_its_parameters():
    theta_E = torch.tensor([1.2, 1.3], dtype=torch.float64, requires_grad=True)
    x, y = torch.full((1, 1), 1.5, dtype=torch.float64), torch.full((1, 1), 0.5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda t: magnification([SIS(t), Shear(0.1, 0.02)], x, y), theta_E)


@pytest.mark.parametrize("find", [critical_curves, lambda masses, **kw: solve_images(masses, 0.1, 0.0, **kw)])
def test_batches_and_empty_grids_are_refused(find):
    with pytest.raises(InputError, match=r"\(2,\).*one system"):
        find([SIS(torch.tensor([1.0, 1.2]))])
    with pytest.raises(InputError, match="n >= 2"):
        find([SIS(1.0)], n=1)
