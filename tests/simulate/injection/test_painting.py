from dataclasses import replace

import numpy as np
import pytest
import torch

from darklens.lensing import SersicEllipse
from darklens.simulate import TabulatedPSF
from darklens.simulate.injection import Deflector, Source
from darklens.simulate.injection.painting import arcs_of, scene_of, with_shot_noise

SHAPE = (61, 71)
ROUND = Deflector(theta_E=1.2, e1=0.0, e2=0.0, gamma1=0.0, gamma2=0.0, z_lens=0.5, z_source=2.0, sigma_v=250.0)


def exponential(radius: float, center: tuple[float, float]) -> Source:
    amp = SersicEllipse.amp_for_flux(1.0, R_sersic=radius, n_sersic=1.0)
    values = (amp, radius, 1.0, 0.0, 0.0, *center)
    return Source((SersicEllipse(*(torch.tensor([float(v)], dtype=torch.float64) for v in values)),), radius, {})


def magnified_flux(theta_E: float, radius: float, center: tuple[float, float]) -> float:
    """Flux of an exponential disc behind a singular isothermal sphere, by the sum over a grid of its own, 0.01" wide."""
    step = (np.arange(-600, 600) + 0.5) * 0.01
    x, y = np.meshgrid(step, step)
    r = np.hypot(x, y)
    away = np.hypot(x - theta_E * x / r - center[0], y - theta_E * y / r - center[1])
    b = 1.9992 - 0.3271
    return float(np.exp(-b * away / radius).sum() * 0.01**2 * b**2 / (2 * np.pi * radius**2))


@pytest.mark.parametrize(("radius", "center"), [(0.08, (0.2, 0.1)), (0.3, (0.0, 0.5)), (0.15, (-0.9, 0.3))])
def test_the_flux_in_the_cutout_is_the_magnified_flux_of_the_source(camera, radius, center):
    scene = scene_of(ROUND, exponential(radius, center), 0, 0)
    arcs = arcs_of(scene, camera, SHAPE, (0.4, -0.7))
    expected = magnified_flux(1.2, radius, center)
    assert arcs.images.sum((1, 2)) == pytest.approx(expected, rel=0.01)
    assert arcs.magnification == pytest.approx(expected, rel=0.01)
    assert arcs_of(scene, camera, SHAPE, (0.4, -0.7), coarse=True).magnification == pytest.approx(expected, rel=0.2)


def test_arcs_lie_around_the_galaxy_and_as_wide_as_the_einstein_radius(camera):
    scene = scene_of(replace(ROUND, theta_E=2.5), exponential(0.1, (0.0, 0.0)), 0, 0)
    image = arcs_of(scene, camera, SHAPE, (1.5, -1.0)).images[1]
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    x, y = (columns - 35.0) * camera.pixel_scale, (rows - 30.0) * camera.pixel_scale
    assert (image * x).sum() / image.sum() == pytest.approx(1.5, abs=0.02)
    assert (image * y).sum() / image.sum() == pytest.approx(-1.0, abs=0.02)
    assert np.hypot(x - 1.5, y + 1.0)[image > 0.7 * image.max()].mean() == pytest.approx(2.5, abs=0.1)


def test_a_band_of_worse_seeing_is_wider_and_loses_nothing(camera):
    scene = scene_of(ROUND, exponential(0.1, (0.3, 0.0)), 0, 0)
    g, _, i = arcs_of(scene, camera, SHAPE, (0.0, 0.0)).images
    assert g.max() < 0.9 * i.max()
    assert g.sum() == pytest.approx(i.sum(), rel=1e-4)


def test_a_psf_from_a_kernel_moves_light_as_it_says(camera):
    """A kernel with its light two columns right of and one row above its middle, on a field that is not square."""
    kernel = np.zeros((7, 5))
    kernel[4, 4] = 1.0
    moved = replace(camera, psfs=(TabulatedPSF(kernel), *camera.psfs[1:]))
    sharp = replace(camera, psfs=(TabulatedPSF(np.ones((1, 1))), *camera.psfs[1:]))
    scene = scene_of(ROUND, exponential(0.2, (0.3, 0.0)), 0, 0)
    there, here = (arcs_of(scene, c, SHAPE, (0.0, 0.0)).images[0] for c in (moved, sharp))
    assert there[1:, 2:] == pytest.approx(here[:-1, :-2], abs=1e-9)


def test_arcs_have_the_noise_of_their_own_electrons_and_nothing_else_has(camera):
    arcs = np.zeros((3, 60, 60))
    arcs[:, :30] = np.array([0.5, 2.0, 50.0])[:, None, None]
    noisy = with_shot_noise(arcs, camera, 3, 8)
    assert not noisy[:, 30:].any()
    for band in range(3):
        mean, variance = arcs[band, 0, 0], arcs[band, 0, 0] / 40.0
        n = 30 * 60
        assert noisy[band, :30].mean() == pytest.approx(mean, abs=4 * np.sqrt(variance / n))
        assert noisy[band, :30].var() == pytest.approx(variance, rel=4 * np.sqrt(2 / n) + 0.02)
    steps = noisy[0] * 40
    assert np.abs(steps - steps.round()).max() < 1e-3  # whole electrons
    assert np.array_equal(noisy, with_shot_noise(arcs, camera, 3, 8))
    assert not np.array_equal(noisy, with_shot_noise(arcs, camera, 3, 9))
    assert abs(np.corrcoef(noisy[0, :30].ravel(), noisy[1, :30].ravel())[0, 1]) < 0.1
    silent = replace(camera, gains=(np.inf,) * 3)
    assert np.array_equal(with_shot_noise(arcs, silent, 3, 8), arcs.astype(np.float32))
