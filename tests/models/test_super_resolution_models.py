import pytest
import torch

from darklens.errors import InputError
from darklens.models import CLASSICAL, blurred, build, count_parameters, models_for, task_of, upsampled

NAMES = list(models_for("super-resolution"))


def lens(height=24, width=24, seed=0):
    """A ring over sky noise, in counts."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(height) - height / 2, torch.arange(width) - width / 2, indexing="ij")
    ring = 300 * torch.exp(-((torch.hypot(x - 1, y + 2) - 6) ** 2) / 4)
    return (ring + 3 * torch.randn(2, 1, height, width, generator=generator)).float()


@pytest.mark.parametrize("name", NAMES)
def test_each_answers_on_finer_pixels_and_every_weight_is_learned(name):
    model, generator = build(name, scale=2, gain=0.25, seed=1), torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():  # zero-initialised ones would stop the gradient of those before
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    out = model.train()(lens(20, 28))
    assert out.shape == (2, 2 if getattr(model, "heteroscedastic", False) else 1, 40, 56)
    out.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert task_of(name) == "super-resolution"
    with pytest.raises(InputError, match="a scale of 1 makes nothing finer"):
        build(name, scale=1)


def test_the_published_network_has_its_layers():
    model = build("srresnet")
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 2 + 16 * 2 + 1 + 1
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules())
    blocks = 33 * (64 * 64 * 9 + 64) + 16  # with their PReLUs
    assert count_parameters(model) == blocks + (81 * 64 + 64 + 1) + (64 * 256 * 9 + 256 + 1) + (81 * 64 + 1)


def test_untrained_ours_is_bicubic_with_the_noise_as_sigma():
    images = lens(64, 64)
    model = build("srresnet-arc", gain=0.25).eval()
    image, log_sigma = model(images).split(1, 1)
    assert torch.allclose(image, upsampled(images, 2, gain=0.25), atol=1e-4)
    assert torch.allclose(log_sigma.exp(), torch.full_like(image, 0.75), rtol=0.3)  # noise of 3 counts, a quarter of it


@pytest.mark.parametrize("shape", [(24, 24), (20, 28)])
def test_ours_turns_with_the_image_and_scales_with_its_unit(shape):
    model = build("srresnet-arc", seed=3).eval()
    torch.nn.init.normal_(model.answer.weight, std=0.05, generator=torch.Generator().manual_seed(0))
    images = lens(*shape)
    out = model(images)
    assert not torch.allclose(out[:, :1], upsampled(images, 2), atol=0.1)
    for turn in (lambda a: a.flip(-1), lambda a: a.flip(-2), lambda a: torch.rot90(a, 1 if shape[0] == shape[1] else 2, (-2, -1))):
        assert torch.allclose(model(turn(images)), turn(out), atol=1e-3)
    assert torch.allclose(model(images * 7)[:, :1], 7 * out[:, :1], rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("method", CLASSICAL)
@pytest.mark.parametrize("scale", [2, 3])
def test_baselines_keep_light_and_place(method, scale):
    images = torch.nn.functional.pad(lens()[:1], (8, 8, 8, 8))
    fine = upsampled(images, scale, method, gain=1 / scale**2, blur=1.0)
    assert fine.sum() == pytest.approx(float(images.sum()), rel=0.02)
    y = torch.arange(fine.shape[-2])
    centre = (fine.sum((0, 1, 3)) * y).sum() / fine.sum()
    coarse = (images.sum((0, 1, 3)) * torch.arange(images.shape[-2])).sum() / images.sum()
    assert centre == pytest.approx(float(scale * (coarse + 0.5) - 0.5), abs=0.25)


def test_deconvolution_undoes_a_blur_that_it_knows():
    pixels = torch.arange(48)
    sharp = 300 * torch.exp(-((pixels[:, None] - 20) ** 2 + (pixels - 26) ** 2) / 8.0)[None, None]
    coarse = 4 * torch.nn.functional.avg_pool2d(blurred(sharp, 2.0), 2)

    def error(method, iterations=0):
        found = upsampled(coarse, 2, method, gain=0.25, blur=2.0, iterations=iterations)
        return float((found - sharp).square().mean())

    assert error("richardson-lucy", 30) < error("richardson-lucy", 3) < error("bicubic")
    assert error("richardson-lucy", 30) < 0.2 * error("bicubic")
