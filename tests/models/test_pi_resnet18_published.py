"""pi-resnet18-published: that it does what was published, and has the defect that was published."""

import pytest
import torch

from darklens.models import build, count_parameters
from darklens.models.pi_resnet18_published import HALF_WIDTH, fixed_lens_cells, sobel_modulus


@pytest.mark.parametrize("size", [(150, 150), (64, 64), (64, 96)])
def test_second_band_is_the_mean_over_pixels_that_land_in_a_cell(size):
    image = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0))
    landed: dict[tuple[int, int], list[float]] = {}
    for row in range(size[0]):
        for column in range(size[1]):
            y, x = (HALF_WIDTH * (2 * k / (n - 1) - 1) for k, n in zip((row, column), size, strict=True))
            beta = [theta * (1 - 1 / (x * x + y * y) ** 0.5) for theta in (y, x)]
            cell = (round((b / HALF_WIDTH + 1) / 2 * (n - 1)) for b, n in zip(beta, size, strict=True))
            landed.setdefault(tuple(cell), []).append(image[0, 0, row, column].item())
    expected = torch.zeros(size)
    for (row, column), values in landed.items():
        if 0 <= row < size[0] and 0 <= column < size[1]:
            expected[row, column] = sum(values) / len(values)
    with torch.no_grad():
        found = build("pi-resnet18-published", size=size).physics(image)["source"][0]
    assert ((found - expected).abs() > 1e-6).float().mean() < 0.002  # ties of rounding


def test_pixels_thrown_far_stay_on_the_grid():
    cells = fixed_lens_cells((65, 65))
    assert cells.min() >= 0
    assert cells.max() < 65 * 65


def test_no_gradient_reaches_the_physics():
    model = build("pi-resnet18-published")
    assert set(dict(model.named_children())) == {"trunk"}
    found = model.physics(torch.rand(3, 1, 64, 64))
    assert found["theta_E"].tolist() == [1.0] * 3
    assert not found["theta_E"].requires_grad
    assert not found["source"].requires_grad


def test_gradient_channel_is_a_third_band():
    plain, with_gradient = (build("pi-resnet18-published", gradient_channel=g) for g in (False, True))
    assert count_parameters(with_gradient) - count_parameters(plain) == 7 * 7 * 64
    images = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        assert with_gradient.eval()(images).shape == (2, 3)


def test_sobel_modulus_of_a_slope_is_its_steepness():
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(10.0), indexing="ij")
    modulus = sobel_modulus((3 * x + 4 * y)[None, None])
    assert torch.allclose(modulus[0, 0, 1:-1, 1:-1], torch.full((6, 8), 5.0))
