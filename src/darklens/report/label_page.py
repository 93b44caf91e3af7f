"""A page to label images in a browser: no server, no network; what is decided stays in the browser until it is saved as CSV."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import jinja2
import numpy as np

from darklens.files import write_atomic


def write_label_page(path: Path, names: Sequence[str], pictures: Sequence[np.ndarray], classes: Sequence[str], title: str) -> None:
    """Write the page; it does not say what a model thinks of the images, so that nobody is swayed.

    Args:
        path: HTML file.
        names: ids of the images.
        pictures: `(H, W, 3)` in 0 to 1 each, the row index growing with +y.
        classes: what an image may be; `maybe` and `skip` are added.
        title: heading, and the name under which the browser keeps the decisions.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    images = [{"id": name, "png": _png(picture)} for name, picture in zip(names, pictures, strict=True)]
    page = environment.get_template("label.html").render(title=title, images=images, answers=[*classes, "maybe", "skip"])
    write_atomic(Path(path), page)


def _png(picture: np.ndarray) -> str:
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, np.ascontiguousarray(picture[::-1]), format="png")
    return base64.b64encode(buffer.getvalue()).decode()
