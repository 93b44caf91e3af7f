"""Small pictures for pages: an array becomes a PNG of as many pixels, which the page enlarges without smoothing."""

from __future__ import annotations

import base64
import io

import numpy as np
from matplotlib import colormaps
from PIL import Image

from darklens.evaluate.label_sheet import pictures

SIGNED, STRENGTH = "RdBu_r", "viridis"


def sky_tile(image: np.ndarray) -> str:
    """Return an image `(bands, H, W)` as a data URI, with an asinh stretch; in colour where there are three bands or more."""
    return _encoded(pictures([image])[0])


def signed_tile(values: np.ndarray, limit: float | None = None) -> str:
    """Return what lies around zero `(H, W)` as a data URI: red above, blue below; its largest magnitude ends the scale."""
    limit = limit or float(np.abs(values).max()) or 1.0
    return _encoded(colormaps[SIGNED](0.5 + 0.5 * np.clip(values / limit, -1, 1))[..., :3])


def strength_tile(values: np.ndarray) -> str:
    """Return a map of how much pixels matter `(H, W)` as a data URI, dark for none to bright for the most."""
    low, high = float(values.min()), float(values.max())
    return _encoded(colormaps[STRENGTH]((values - low) / (high - low) if high > low else np.zeros_like(values))[..., :3])


def _encoded(picture: np.ndarray) -> str:
    """Return a picture `(H, W, 3)` in 0 to 1, its row index growing with +y, as a data URI."""
    buffer = io.BytesIO()
    pixels = (255 * np.clip(picture[::-1], 0, 1)).round().astype(np.uint8)
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
