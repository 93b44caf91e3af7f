from typing import Any

import numpy as np
import pytest

from darklens.data import Table
from darklens.simulate.injection import Camera, camera_of

SCALE = 0.25
SIGMA = np.array([3.0, 4.0, 6.0])


@pytest.fixture(scope="session")
def settings() -> dict[str, Any]:
    """What `injection` is told of the camera."""
    return {"bands": "g,r,i", "psf": "1.1,1.0,0.9", "pixel_scale": SCALE, "zero_point": 30.0, "gain": 40}


@pytest.fixture(scope="session")
def camera(settings) -> Camera:
    return camera_of(3, **settings)


@pytest.fixture(scope="session")
def cutouts() -> Table:
    """Twelve red, round galaxies on white noise, not square, r about 19.3."""
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[:45, :51]
    away = np.hypot(rows - 22.0, columns - 25.0) * SCALE
    light = np.exp(-(away / 0.8)) * np.array([60.0, 300.0, 600.0])[:, None, None]
    images = (light + rng.normal(0, SIGMA[:, None, None], (12, 3, 45, 51))).astype(np.float32)
    return Table.from_columns([f"galaxy-{i}" for i in range(12)], images, [None] * 12)
