"""A small simulated lens whose truth is known, rendered by the simulator: another path than the one that is tested."""

import numpy as np
import pytest
import torch

from darklens.lensing import EPL, SersicEllipse, Shear
from darklens.simulate import Instrument, Scene, render
from darklens.simulate.psf import TabulatedPSF

SIDE, SCALE = 32, 0.1
TRUTH = {
    "theta_E": 1.1,
    "gamma": 2.05,
    "e1": 0.1,
    "e2": -0.05,
    "center_x": 0.01,
    "center_y": -0.02,
    "gamma1": 0.03,
    "gamma2": -0.02,
}


def kernel() -> np.ndarray:
    """Return a PSF that is round about no axis, so that a flip shows."""
    y, x = np.mgrid[-3:4, -3:4]
    found = np.exp(-0.5 * (x**2 + y**2) / 0.9**2) + 0.1 * np.exp(-0.5 * ((x - 1) ** 2 + (y + 1) ** 2))
    return found / found.sum()


@pytest.fixture(scope="session")
def lens() -> dict:
    """Return image, noise, psf and pixel scale as `fit_lens` takes them."""
    t = TRUTH
    shape = (t["e1"], t["e2"], t["center_x"], t["center_y"])
    tensor = [torch.tensor([v], dtype=torch.float64) for v in (t["theta_E"], t["gamma"], *shape)]
    shear = [torch.tensor([t[k]], dtype=torch.float64) for k in ("gamma1", "gamma2")]
    source = SersicEllipse(*(torch.tensor([v], dtype=torch.float64) for v in (8.0, 0.25, 1.0, 0.1, 0.1, 0.08, -0.06)))
    galaxy = SersicEllipse(*(torch.tensor([v], dtype=torch.float64) for v in (10.0, 0.7, 1.5, 0.08, -0.04, 0.01, -0.02)))
    scene = Scene((EPL(*tensor), Shear(*shear)), (), (source,), ("",), {}, 0, (0,), lens_light=(galaxy,))
    camera = Instrument("", SCALE, TabulatedPSF(kernel()))
    image = render(scene, camera, (SIDE, SIDE), supersampling=2, dtype=torch.float64)[0].numpy()
    noise = np.sqrt(0.005**2 + 4e-4 * np.clip(image, 0, None))
    data = image + noise * np.random.default_rng(0).standard_normal(image.shape)
    return {"image": data, "noise": noise, "psf": kernel(), "pixel_scale": SCALE}
