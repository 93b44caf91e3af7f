"""The map of pixel values: back without loss, noise made even, and its numbers measured right."""

import numpy as np
import pytest
import torch

from darklens.errors import InputError
from darklens.train.generation import Intensity

V0, V1 = 0.04, 0.01


def recorded(flux, seed=0):
    """Poisson counts of a flux over a sky: variance V0 + V1 flux."""
    counts = np.random.default_rng(seed).poisson((flux + V0 / V1) / V1)
    return (counts * V1 - V0 / V1).astype(np.float32)


@pytest.fixture
def images():
    y, x = np.mgrid[:32, :32] - 15.5
    arc = np.exp(-((np.hypot(x, y) - 9) ** 2) / 8)
    return recorded(np.stack([k * arc for k in range(12)])[:, None])


@pytest.mark.parametrize("kind", ["root", "asinh", "linear", "range"])
def test_there_and_back(kind, images):
    found = Intensity.measured(kind, images, (V0, V1))
    wild = torch.tensor([-1e3, -50.0, -4.0, -1.0, 0.0, 1e-3, 2.0, 900.0], dtype=torch.float64)
    assert torch.allclose(found.inverse(found.forward(wild)), wild, rtol=1e-9, atol=1e-9)
    assert found.forward(wild).diff().min() > 0
    assert Intensity(**found.as_dict()) == found


@pytest.mark.parametrize("flux", [0.0, 1.0, 30.0])
def test_the_root_makes_noise_even(flux):
    found = Intensity.measured("root", recorded(np.full((4, 1, 32, 32), flux) + np.linspace(0, 1, 32)), (V0, V1))
    pixels = torch.from_numpy(recorded(np.full((200, 1, 32, 32), flux), seed=1))
    assert float(found.forward(pixels).std() * found.std) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("kind", ["root", "asinh", "linear"])
def test_training_pixels_have_mean_0_and_deviation_1(kind, images):
    mapped = Intensity.measured(kind, images, (V0, V1)).forward(torch.from_numpy(images))
    assert abs(float(mapped.mean())) < 1e-3
    assert float(mapped.std()) == pytest.approx(1, abs=1e-3)


def test_the_noise_of_the_sky_is_known_after_the_map(images):
    found = Intensity.measured("root", images, (V0, V1))
    sky = found.forward(torch.from_numpy(recorded(np.zeros((50, 1, 32, 32)), seed=2)))
    assert found.noise == pytest.approx(float(sky.std()), rel=0.06)


def test_range_is_minus_one_to_one(images):
    mapped = Intensity.measured("range", images).forward(torch.from_numpy(images))
    assert float(mapped.min()) == pytest.approx(-1, abs=1e-5)
    assert float(mapped.max()) == pytest.approx(1, abs=1e-5)


def test_a_root_without_photon_noise_is_an_asinh(images):
    assert Intensity.measured("root", images).kind == "asinh"


def test_images_without_noise_have_a_map_too():
    smooth = np.linspace(0, 1, 512, dtype=np.float32).reshape(2, 1, 16, 16)
    found = Intensity.measured("asinh", smooth, (0.0, 0.0))
    assert np.isfinite(found.forward(torch.from_numpy(smooth)).numpy()).all()


def test_what_cannot_be_mapped_is_refused(images):
    with pytest.raises(InputError, match="every pixel of the training images is 2"):
        Intensity.measured("root", np.full((3, 1, 8, 8), 2.0))
    with pytest.raises(InputError, match="unknown intensity transform"):
        Intensity.measured("log", images)
