import numpy as np
import pytest
import torch

from darklens.lensing import SersicEllipse
from darklens.simulate import pixel_grid
from darklens.simulate.injection import measure_galaxy

TRUTH = {"R_sersic": 1.0, "n_sersic": 1.5, "e1": 0.15, "e2": -0.2, "center_x": 0.4, "center_y": -0.3}
FLUX = np.array([4e3, 2e4, 4e4])
SIGMA = np.array([3.0, 4.0, 6.0])


def picture(camera, noise=True) -> np.ndarray:
    """One galaxy through the camera on a field that is not square."""
    amp = SersicEllipse.amp_for_flux(1.0, R_sersic=TRUTH["R_sersic"], n_sersic=TRUTH["n_sersic"])
    x, y = pixel_grid((71, 61), camera.pixel_scale, camera.margin)
    light = SersicEllipse(amp=amp, **TRUTH).intensity(x, y)[None] * camera.pixel_scale**2
    images = []
    for psf in camera.psfs:
        spare = camera.margin - psf.margin(camera.pixel_scale)
        inner = light[:, spare : light.shape[1] - spare, spare : light.shape[2] - spare]
        images.append(psf.convolve(inner, camera.pixel_scale)[0])
    image = torch.stack(images).numpy() * FLUX[:, None, None]
    rng = np.random.default_rng(3)
    return image + 7.0 + (rng.normal(0, SIGMA[:, None, None], image.shape) if noise else 0.0)


def test_a_galaxy_is_measured_as_it_was_made(camera):
    galaxy = measure_galaxy(picture(camera), camera)
    assert galaxy.sky == pytest.approx(7.0, abs=1.0)
    assert galaxy.sigma == pytest.approx(SIGMA, rel=0.08)
    assert (galaxy.center_x, galaxy.center_y) == pytest.approx((0.4, -0.3), abs=0.03)
    assert (galaxy.e1, galaxy.e2) == pytest.approx((0.15, -0.2), abs=0.03)
    assert galaxy.flux == pytest.approx(FLUX, rel=0.12)
    assert galaxy.radius == pytest.approx(1.15, abs=0.15)  # what the seeing makes of 1"


def test_neighbours_change_little(camera):
    image = picture(camera)
    alone = measure_galaxy(image, camera)
    image[:, 55:60, 8:13] += 300.0
    image[:, 2:6, 40:45] += 1000.0
    beside = measure_galaxy(image, camera)
    assert beside.sigma == pytest.approx(alone.sigma, rel=0.1)
    assert beside.flux == pytest.approx(alone.flux, rel=0.05)
    assert (beside.e1, beside.e2) == pytest.approx((alone.e1, alone.e2), abs=0.03)


def test_empty_sky_is_no_galaxy(camera):
    galaxy = measure_galaxy(np.random.default_rng(1).normal(0, 4.0, (3, 41, 41)), camera)
    assert galaxy.snr < 5
    assert abs(galaxy.center_x) < 3
    assert np.hypot(galaxy.e1, galaxy.e2) <= 0.5
