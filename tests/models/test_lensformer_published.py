"""lensformer-published: that it does what was published, and has the defects that were published."""

import math

import pytest
import torch

from darklens.models import build


def by_loops(image: torch.Tensor, theta_E: torch.Tensor) -> torch.Tensor:
    """Each pixel written to the cell nearest to its beta, in the order of the rows; then divided by the maximum."""
    height, width = image.shape
    source = torch.zeros(height, width)
    for row in range(height):
        for column in range(width):
            y, x = row - height // 2, column - width // 2
            if not (x or y):
                continue
            shrink = 1 - theta_E[row, column].item() / 0.101 / math.hypot(x, y)
            source[round(y * shrink) + height // 2, round(x * shrink) + width // 2] = image[row, column]
    return source / (source.max() + 1e-8)


@pytest.mark.parametrize("size", [(64, 64), (33, 48)])
def test_source_is_what_was_written_last(size):
    images = torch.rand(2, 2, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = build("lensformer-published", bands=2, size=size).eval().physics(images)
    for k in range(2):
        for band in range(2):
            expected = by_loops(images[k, band], found["theta_E"][k])
            assert ((found["source"][k, band] - expected).abs() > 1e-6).float().mean() < 0.005  # ties of rounding


def test_one_bright_pixel_dims_the_source():
    images = torch.full((2, 1, 64, 64), 0.2)
    images[1, 0, 60, 3] = 1.0
    with torch.no_grad():
        source = build("lensformer-published").eval().physics(images)["source"]
    assert source[0].max() == pytest.approx(1.0)
    assert source[1][source[1] > 0].median() == pytest.approx(0.2)


def test_no_gradient_reaches_the_lens():
    model = build("lensformer-published").train()
    model(torch.rand(4, 1, 64, 64)).square().sum().backward()
    silent = sum(value.numel() for value in model.parameters() if value.grad is None)
    assert silent == 8_515_073
    assert all(value.grad is None for value in model.network.encoder.parameters())


def test_pixel_scale_is_a_constant():
    images = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        one, two = (build("lensformer-published", pixel_scale=scale).eval()(images) for scale in (0.05, 0.2))
    assert torch.equal(one, two)
