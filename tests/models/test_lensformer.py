"""The lens inside lensformer: what it makes of a true one, and the gradient that teaches it."""

import pytest
import torch
from torch.nn import functional as F

from darklens.errors import InputError
from darklens.lensing import SIS, trace
from darklens.models import build
from darklens.models.relensing import pixel_grid

PIXEL_SCALE = 0.101


def lensed_gaussian(theta_E: float, size: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (3, 1, H, W) of a Gaussian source at (0.3, -0.2) arcsec behind an SIS, and the source (H, W)."""
    x, y = pixel_grid((size, size), PIXEL_SCALE)
    beta_x, beta_y = trace([SIS(torch.tensor(theta_E), torch.tensor(0.0), torch.tensor(0.0))], x, y)
    image, source = (torch.exp(-((u - 0.3) ** 2 + (v + 0.2) ** 2) / (2 * 0.25**2)) for u, v in ((beta_x, beta_y), (x, y)))
    return image.expand(3, 1, size, size), source


def with_radius(model: torch.nn.Module, theta_E: float) -> torch.nn.Module:
    """Make the model believe in one Einstein radius, whatever it sees."""
    linear = model.network.encoder[2]
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.fill_(torch.logit(torch.tensor((theta_E - 0.8) / 0.4)))
    return model.eval()


def test_true_lens_gives_the_source_back():
    images, source = lensed_gaussian(1.1)
    with torch.no_grad():
        right, wrong = (with_radius(build("lensformer", pixel_scale=PIXEL_SCALE), r).physics(images) for r in (1.1, 0.95))
    assert torch.allclose(right["theta_E"], torch.full((3, 64, 64), 1.1))
    assert (right["source"] - source).abs().max() < 0.08
    assert (wrong["source"] - source).abs().mean() > 3 * (right["source"] - source).abs().mean()


def test_logits_teach_the_lens_by_the_gradient_of_finite_differences():
    images = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0)).double()
    model = build("lensformer", size=32, pixel_scale=PIXEL_SCALE).double().eval()
    bias = model.network.encoder[2].bias

    def loss() -> torch.Tensor:
        return F.cross_entropy(model(images), torch.tensor([0, 1, 2]))

    gradient = torch.autograd.grad(loss(), bias)[0]
    strongest = gradient.abs().topk(4).indices
    for which in strongest.tolist():
        step = torch.zeros_like(bias)
        step[which] = 1e-6
        with torch.no_grad():
            up = (bias.add_(step), loss())[1]
            down = (bias.sub_(2 * step), loss())[1]
            bias.add_(step)
        assert gradient[which].item() == pytest.approx(((up - down) / 2e-6).item(), rel=1e-3)
    assert (gradient.abs() > 1e-9).float().mean() > 0.9


def test_lens_stays_in_its_range_and_has_a_value_for_every_pixel():
    model = build("lensformer", bands=2, size=(150, 96), pixel_scale=0.05, theta_E_range=(0.9, 1.7)).eval()
    with torch.no_grad():
        model.network.encoder[2].weight.mul_(1e4)
        found = model.physics(torch.rand(2, 2, 150, 96))
    assert found["theta_E"].shape == (2, 150, 96)
    assert found["source"].shape == (2, 2, 150, 96)
    assert found["theta_E"].min() >= 0.9
    assert found["theta_E"].max() <= 1.7
    assert found["theta_E"].std() > 0.1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"theta_E_range": (1.2, 0.8)}, r"\[1.2, 0.8\] is no range"),
        ({"theta_E_range": [1.0]}, r"\[1.0\] is no range"),
        ({"pixel_scale": 0.02}, "half-width 0.64 arcsec is too small for lenses of up to 1.2"),
        ({"dropout": 1.0}, "dropout 1.0"),
    ],
)
def test_wrong_arguments_are_refused(options, says):
    with pytest.raises(InputError, match=says):
        build("lensformer", **options)
