"""The lens model inside pi-resnet18: its formulas, its residual's meaning, and the gradient that runs through it."""

import math

import pytest
import torch

from darklens.errors import InputError
from darklens.lensing import SIS, Shear, magnification, trace
from darklens.models import build
from darklens.models.pi_resnet18 import LensEncoder
from darklens.models.relensing import Relensing, outside_critical_curve, pixel_grid

PIXEL_SCALE = 0.08
LENS = {"theta_E": 0.9, "center_x": 0.06, "center_y": -0.05, "gamma1": 0.06, "gamma2": -0.04}


def batch_of(lens: dict, batch: int = 1) -> dict:
    return {key: torch.full((batch,), value, dtype=torch.float64) for key, value in lens.items()}


def masses(lens: dict) -> list:
    return [SIS(lens["theta_E"], lens["center_x"], lens["center_y"]), Shear(lens["gamma1"], lens["gamma2"])]


def lensed_gaussian(lens, size=(64, 64), source=(0.2, 0.1), width=0.2, clump=None, finer=1):
    """A Gaussian source (B, H, W) behind the lens and, if given, a point mass (theta_E^2, x, y)."""
    x, y = (grid.double() for grid in pixel_grid(size, PIXEL_SCALE / finer))
    beta_x, beta_y = trace(masses(lens), x, y)
    if clump:
        power, dx, dy = clump[0], x - clump[1], y - clump[2]
        beta_x, beta_y = (b - power * d / (dx**2 + dy**2) for b, d in ((beta_x, dx), (beta_y, dy)))
    return torch.exp(-((beta_x - source[0]) ** 2 + (beta_y - source[1]) ** 2) / (2 * width**2))


def residual_power(image, lens):
    relensing = Relensing(tuple(image.shape[1:]), PIXEL_SCALE).double()
    relensed, _ = relensing(image, lens)
    return ((image - relensed).square().sum((1, 2)) / image.square().sum((1, 2))).item()


@pytest.mark.parametrize("size", [(64, 64), (64, 80), (65, 65)])
def test_closed_form_theta_E_of_a_singular_isothermal_sphere(size):
    lens = batch_of({"theta_E": 0.8, "center_x": 0.0, "center_y": 0.0, "gamma1": 0.0, "gamma2": 0.0})
    for source in ((0.0, 0.0), (0.3, 0.1), (-0.1, 0.35)):
        found = LensEncoder(size, PIXEL_SCALE).double().closed_form_theta_E(lensed_gaussian(lens, size, source, 0.15))
        assert found.item() == pytest.approx(0.8, abs=PIXEL_SCALE / 4)


def test_pixels_approach_the_closed_form_as_they_shrink():
    lens = batch_of({"theta_E": 0.8, "center_x": 0.0, "center_y": 0.0, "gamma1": 0.0, "gamma2": 0.0})
    errors = []
    for finer in (1, 4):
        image = lensed_gaussian(lens, (64 * finer, 64 * finer), (0.3, 0.1), 0.1, finer=finer)
        encoder = LensEncoder((64 * finer, 64 * finer), PIXEL_SCALE / finer).double()
        errors.append(abs(encoder.closed_form_theta_E(image).item() - 0.8))
    assert errors[1] < errors[0] / 4
    assert errors[1] < 0.002


def test_encoder_starts_at_the_closed_form_and_keeps_its_bounds():
    lens = batch_of({"theta_E": 1.1, "center_x": 0.0, "center_y": 0.0, "gamma1": 0.0, "gamma2": 0.0}, 4)
    image = lensed_gaussian(lens).float()
    encoder = LensEncoder((64, 64), PIXEL_SCALE)
    start = encoder(image)
    assert torch.allclose(start["theta_E"], encoder.closed_form_theta_E(image), atol=0.05)
    assert all(start[key].abs().max() < 0.02 for key in ("center_x", "center_y", "gamma1", "gamma2"))
    with torch.no_grad():
        encoder.head.weight.mul_(1e6)
    wild = encoder(image)
    assert ((wild["theta_E"] >= 0.3) & (wild["theta_E"] <= 2.56)).all()
    assert all(wild[key].abs().max() <= 0.2 for key in ("center_x", "center_y"))
    assert all(wild[key].abs().max() <= 0.3 for key in ("gamma1", "gamma2"))


def test_parity_is_the_sign_of_the_jacobian():
    lens = batch_of(LENS)
    x, y = (grid.double() for grid in pixel_grid((40, 56), PIXEL_SCALE))
    assert torch.equal(outside_critical_curve(lens, x, y), magnification(masses(lens), x, y) > 0)


@pytest.mark.parametrize("size", [(64, 64), (64, 80)])
def test_residual_is_smallest_at_the_true_lens(size):
    truth = batch_of(LENS)
    image = lensed_gaussian(truth, size)
    best = residual_power(image, truth)
    assert best < 0.01
    for key, step in {"theta_E": 0.08, "center_x": 0.1, "center_y": 0.1, "gamma1": 0.08, "gamma2": 0.08}.items():
        for wrong in (truth[key] - step, truth[key] + step):
            assert residual_power(image, truth | {key: wrong}) > 2 * best, key


def test_no_lens_model_explains_an_image_by_keeping_its_pixels_apart():
    image = lensed_gaussian(batch_of(LENS))
    powers = [residual_power(image, batch_of(LENS | {"theta_E": theta_E})) for theta_E in (0.3, 0.5, 0.7, 0.8, 0.9)]
    assert powers[0] > 0.8
    assert powers[-1] < 0.01
    assert powers[1:] == sorted(powers[1:], reverse=True)


def test_residual_shows_a_clump_where_it_is():
    truth = batch_of(LENS)
    where = (0.75, 0.85)
    image = lensed_gaussian(truth, clump=(0.01, *where))
    relensing = Relensing((64, 64), PIXEL_SCALE).double()
    smooth = lensed_gaussian(truth)
    disturbed, undisturbed = (light - relensing(light, truth)[0] for light in (image, smooth))
    change = (disturbed - undisturbed)[0].square()
    x, y = pixel_grid((64, 64), PIXEL_SCALE)
    near = torch.hypot(x - where[0], y - where[1]) < 0.3
    assert change.sum() > 0.3 * undisturbed.square().sum()
    assert change[near].mean() > 5 * change[~near].mean()


def test_source_is_rebuilt_where_it_was():
    truth = batch_of(LENS)
    relensing = Relensing((64, 64), PIXEL_SCALE).double()
    _, source = relensing(lensed_gaussian(truth, source=(0.2, 0.1), width=0.2), truth)
    rows, columns = relensing.source_shape
    y, x = ((torch.arange(n) - (n - 1) / 2) * relensing.cell for n in (rows, columns))
    expected = torch.exp(-((x - 0.2) ** 2 + (y[:, None] - 0.1) ** 2) / (2 * 0.2**2))
    assert (source[0] - expected).abs().max() < 0.1
    assert (source[0] - expected).abs().mean() < 0.01


def test_light_beyond_the_source_grid_is_left_unexplained():
    lens = batch_of(LENS | {"theta_E": 0.3})
    image = torch.zeros(1, 64, 64, dtype=torch.float64)
    image[:, 2:6, 2:6] = 1
    relensed, _ = Relensing((64, 64), PIXEL_SCALE).double()(image, lens)
    assert relensed.abs().max() == 0


def test_gradient_through_the_lens_equals_finite_differences():
    lens = batch_of(LENS, 2)
    image = lensed_gaussian(lens, (32, 40)) + 0.1 * torch.rand(2, 32, 40, generator=torch.Generator().manual_seed(0))
    relensing = Relensing((32, 40), PIXEL_SCALE).double()
    weights = torch.rand(2, 32, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def projected(*parameters):
        return (weights * relensing(image, dict(zip(LENS, parameters, strict=True)))[0]).sum()

    inputs = [value.requires_grad_() for value in lens.values()]
    gradients = torch.autograd.grad(projected(*inputs), inputs)
    assert all((gradient.abs() > 1e-3).all() for gradient in gradients)
    assert torch.autograd.gradcheck(projected, inputs, eps=1e-7, atol=1e-6, rtol=1e-5)


def test_logits_teach_the_encoder_by_the_gradient_of_finite_differences():
    """The path under proof: head of the encoder -> lens -> residual -> trunk -> loss of the classification alone."""
    lens = batch_of(LENS, 3)
    images = lensed_gaussian(lens, (48, 48)).unsqueeze(1)
    model = build("pi-resnet18", size=48).double().eval()
    bias = model.encoder.head.bias

    def loss() -> torch.Tensor:
        return torch.nn.functional.cross_entropy(model(images), torch.tensor([0, 1, 2]))

    gradient = torch.autograd.grad(loss(), bias)[0]
    for which in range(5):
        step = torch.zeros_like(bias)
        step[which] = 1e-6
        with torch.no_grad():
            up = (bias.add_(step), loss())[1]
            down = (bias.sub_(2 * step), loss())[1]
            bias.add_(step)
        assert gradient[which].abs() > 1e-6
        assert gradient[which].item() == pytest.approx(((up - down) / 2e-6).item(), rel=1e-3)


def test_auxiliary_loss_is_the_relative_power_of_the_residual():
    images = lensed_gaussian(batch_of(LENS, 3)).float().unsqueeze(1)
    model = build("pi-resnet18").eval()
    with torch.no_grad():
        logits, auxiliary = model.forward_with_auxiliary(images)
        residual = model.physics(images)["residual"]
        assert torch.equal(logits, model(images))
        assert torch.equal(auxiliary, model.auxiliary_loss(images))
    expected = (residual.square().sum((1, 2)) / images.square().sum((1, 2, 3))).mean()
    assert torch.allclose(auxiliary, expected)


def test_auxiliary_loss_alone_finds_the_lens():
    generator = torch.Generator().manual_seed(0)
    lens = batch_of({"theta_E": 0.9, "center_x": 0.0, "center_y": 0.0, "gamma1": 0.08, "gamma2": 0.0}, 24)
    spots = 0.3 * (2 * torch.rand(2, 24, 1, 1, generator=generator, dtype=torch.float64) - 1)
    images = lensed_gaussian(lens, (48, 48), spots).float().unsqueeze(1)
    model = build("pi-resnet18", size=48)
    optimiser = torch.optim.Adam(model.encoder.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        loss = model.auxiliary_loss(images)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 4
    found = model.physics(images)
    assert (found["theta_E"] - 0.9).abs().mean() < 0.03
    assert (found["gamma1"] - 0.08).abs().mean() < 0.03


def test_physics_names_and_shapes():
    images = torch.rand(2, 3, 64, 80)
    with torch.no_grad():
        found = build("pi-resnet18", bands=3, size=(64, 80)).eval().physics(images)
    shapes = {key: tuple(value.shape) for key, value in found.items()}
    numbers = dict.fromkeys(("theta_E", "center_x", "center_y", "gamma1", "gamma2"), (2,))
    assert shapes == numbers | {"source": (2, 44, 54), "relensed": (2, 64, 80), "residual": (2, 64, 80)}
    assert torch.allclose(found["relensed"] + found["residual"], images.mean(1), atol=1e-6)


def test_blank_image_gives_finite_logits_and_gradients():
    model = build("pi-resnet18", size=48)
    logits, auxiliary = model.forward_with_auxiliary(torch.zeros(2, 1, 48, 48))
    (logits.sum() + auxiliary).backward()
    assert logits.isfinite().all()
    assert math.isfinite(auxiliary.item())
    assert all(value.grad.isfinite().all() for value in model.parameters())


def test_pixel_grid_runs_with_x_along_rows():
    x, y = pixel_grid((2, 3), 0.5)
    assert x.tolist() == [[-0.5, 0, 0.5]] * 2
    assert y.tolist() == [[-0.25] * 3, [0.25] * 3]
    with pytest.raises(InputError, match="pixel scale of -1"):
        pixel_grid((2, 3), -1)
