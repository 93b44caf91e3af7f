"""LensPINN: its distortion map, its source, and where gradients go in the corrected and in the published version."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from darklens.errors import InputError
from darklens.lensing import SIS, trace
from darklens.models import build, count_parameters
from darklens.models.lenspinn import GAIN, distortions
from darklens.models.relensing import pixel_grid

PIXEL_SCALE = 0.101


def lensed_gaussian(theta_E: float) -> tuple[torch.Tensor, torch.Tensor]:
    """An image (1, 1, 64, 64) of a Gaussian source at (0.3, -0.2) arcsec behind an SIS, and the source."""
    x, y = pixel_grid((64, 64), PIXEL_SCALE)
    beta_x, beta_y = trace([SIS(torch.tensor(theta_E), torch.tensor(0.0), torch.tensor(0.0))], x, y)
    image, source = (torch.exp(-((u - 0.3) ** 2 + (v + 0.2) ** 2) / (2 * 0.25**2)) for u, v in ((beta_x, beta_y), (x, y)))
    return image[None, None], source


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_distortions_are_the_published_formula_where_there_is_light():
    images = 0.1 + 0.9 * noise(2, 2, 20, 24)
    images[..., 0, 0], images[..., 0, 1] = 0, 1  # so that each image is its own normalisation
    depth = np.log(1 / images.double().numpy().clip(0.01)) ** 2
    expected = np.abs(np.tanh(np.gradient(np.gradient(depth, axis=-1), axis=-2)))
    assert np.abs(distortions(images).numpy() - expected)[..., 1:-1, 1:-1].max() < 1e-5


def test_distortions_survive_darkness_and_ignore_scale():
    images = noise(2, 1, 16, 16)
    assert distortions(torch.zeros(1, 1, 16, 16)).abs().max() == 0
    assert torch.allclose(distortions(5 * images - 3), distortions(images), atol=1e-3)
    images[..., 4:8, 4:8] = -7
    assert distortions(images).isfinite().all()


@pytest.mark.parametrize("name", ["lenspinn-small", "lenspinn-large"])
def test_true_einstein_radius_gives_the_source_back(name):
    image, source = lensed_gaussian(1.1)
    model = build(name, pixel_scale=PIXEL_SCALE).eval()
    errors = []
    for theta_E in (1.1, 0.95):
        with torch.no_grad():
            model.encoder[3].weight.zero_()
            model.encoder[3].bias.fill_(torch.logit(torch.tensor((theta_E - 0.5) / 1.3)) / GAIN)
            found = model.physics(image)
        assert found["theta_E"].item() == pytest.approx(theta_E, abs=1e-5)
        errors.append((found["source"] - source).abs())
    assert errors[0].max() < 0.08
    assert errors[1].mean() > 3 * errors[0].mean()


def test_logits_teach_the_einstein_radius_by_the_gradient_of_finite_differences():
    images = noise(3, 1, 48, 48).double()
    model = build("lenspinn-small", size=48, pixel_scale=PIXEL_SCALE).double().eval()
    bias = model.encoder[3].bias

    def loss() -> torch.Tensor:
        return F.cross_entropy(model(images), torch.tensor([0, 1, 2]))

    gradient = torch.autograd.grad(loss(), bias)[0]
    with torch.no_grad():
        up = (bias.add_(1e-6), loss())[1]
        down = (bias.sub_(2e-6), loss())[1]
    assert gradient.abs() > 0
    assert gradient.item() == pytest.approx(((up - down) / 2e-6).item(), rel=1e-3)


def test_light_tells_the_radius():
    """theta_E, taught by nothing but the source that it should give, becomes the true one."""
    image, source = lensed_gaussian(1.1)
    model = build("lenspinn-small", pixel_scale=PIXEL_SCALE).eval()
    for value in model.encoder[:3].parameters():
        value.requires_grad_(False)
    optimiser = torch.optim.Adam(model.encoder[3].parameters(), 2e-3)
    for _ in range(40):
        loss = (model.physics(image)["source"] - source).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert model.physics(image)["theta_E"].item() == pytest.approx(1.1, abs=0.01)


def test_published_rounding_stops_the_gradient():
    for rounding in (False, True):
        model = build("lenspinn-small", size=32, pixel_scale=0.2, rounding=rounding)
        F.cross_entropy(model(noise(3, 1, 32, 32)), torch.arange(3)).backward()
        taught = [key for key, value in model.named_parameters() if value.grad is not None and value.grad.abs().sum() > 0]
        assert any(key.startswith("trunk.") for key in taught)
        assert any(key.startswith("encoder.") for key in taught) is not rounding


def test_published_source_is_the_mean_over_whole_cells():
    images = noise(2, 1, 40, 40)
    with torch.no_grad():
        found = build("lenspinn-small", size=40, rounding=True).eval().physics(images)
    pixel = 6.555 / 40
    for image, theta_E, source in zip(images, found["theta_E"], found["source"], strict=True):
        landed: dict[tuple[int, int], list[float]] = {}
        for row in range(40):
            for column in range(40):
                y, x = (row - 19) * pixel, (column - 19) * pixel
                shrink = 1 - theta_E.item() / (math.hypot(x, y) or 1)
                cell = tuple(int(min(max(t * shrink / pixel + 20, 0), 39)) for t in (y, x))
                landed.setdefault(cell, []).append(image[0, row, column].item())
        expected = torch.zeros(40, 40)
        for cell, values in landed.items():
            expected[cell] = sum(values) / len(values)
        assert ((source[0] - expected).abs() > 1e-5).float().mean() < 0.005  # ties of rounding


def test_published_einstein_radius_has_no_bounds():
    for rounding in (False, True):
        model = build("lenspinn-small", rounding=rounding).eval()
        with torch.no_grad():
            model.encoder[3].bias.fill_(-9.0)
            theta_E = model.physics(noise(2, 1, 64, 64))["theta_E"]
        assert (theta_E < 0).all() == rounding
        assert rounding or (theta_E >= 0.5).all()


def test_softmax_puts_a_floor_under_the_loss():
    images = noise(4, 1, 64, 64)
    model = build("lenspinn-small", softmax=True).eval()
    with torch.no_grad():
        model.head[-1].weight.zero_()
        model.head[-1].bias.copy_(torch.tensor([100.0, 0.0, 0.0]))  # as sure and as right as can be
        probabilities = model(images)
        model.softmax = False
        logits = model(images)
    right = torch.zeros(4, dtype=torch.long)
    assert torch.allclose(probabilities.sum(1), torch.ones(4))
    assert F.cross_entropy(probabilities, right).item() == pytest.approx(math.log(1 + 2 / math.e), abs=1e-6)
    assert F.cross_entropy(logits, right).item() < 1e-6


def test_options_leave_the_number_of_parameters():
    plain = count_parameters(build("lenspinn-small"))
    assert count_parameters(build("lenspinn-small", rounding=True, softmax=True)) == plain


def test_wrong_arguments_are_refused():
    for options, says in [
        ({"pixel_scale": 0.02}, "half-width 0.64 arcsec is too small for lenses of up to 1.8"),
        ({"theta_E_range": (2.0, 1.0)}, "is no range"),
        ({"dropout": -0.1}, "dropout -0.1"),
    ]:
        with pytest.raises(InputError, match=says):
            build("lenspinn-small", **options)
