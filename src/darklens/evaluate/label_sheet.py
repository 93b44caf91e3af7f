"""A sheet of pictures to label from: numbered and named, without a word on what the model thinks of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from darklens.evaluate.composite import bands_for_colour, colour, grey, white_balance
from darklens.evaluate.style import FAINT, INK, new_figure, save_png

COLUMNS = 8
INCHES = 1.35
"""Side of a picture."""
GAP, WORDS = 0.07, 0.3
"""Between pictures, and of the line above each, in parts of a picture's side."""
LETTERS = 18
"""Of a name that are shown; of a long one the end."""


def pictures(images: Sequence[np.ndarray] | np.ndarray) -> list[np.ndarray]:
    """Return a picture `(H, W, 3)` in 0 to 1 of each image `(bands, H, W)`: in colour where there are three bands or more."""
    if not len(images):
        return []
    bands = bands_for_colour(None, None, len(images[0]))
    if bands is None:
        return [grey(image[0]) for image in images]
    chosen = [image[list(bands)] for image in images]
    balance = white_balance(chosen)
    return [colour(image, balance) for image in chosen]


def save_label_sheet(path: Path, shown: Sequence[np.ndarray], names: Sequence[str], title: str) -> None:
    """Write a PNG with all pictures, in order, each with its number and name.

    Args:
        path: of the file.
        shown: pictures `(H, W, 3)` in 0 to 1, the row index growing with +y.
        names: one each.
        title: above all.
    """
    rows = -(-len(shown) // COLUMNS)
    width, height = COLUMNS * (1 + GAP) + GAP, rows * (1 + WORDS) + WORDS
    figure = new_figure(INCHES * width, INCHES * height)
    figure.set_layout_engine("none")
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, width), ylim=(height, 0))
    axis.axis("off")
    axis.autoscale(False)  # pictures do not move the page
    axis.text(GAP, WORDS / 2, f"{title}: {len(shown)} images", fontsize=11, color=INK, va="center")
    for k, (picture, name) in enumerate(zip(shown, names, strict=True)):
        row, column = divmod(k, COLUMNS)
        x, y = GAP + column * (1 + GAP), WORDS + row * (1 + WORDS)
        axis.text(x, y + 0.16, f"{k + 1}", fontsize=8, color=INK, weight="bold", va="bottom")
        axis.text(x + 1, y + 0.16, _short(name), fontsize=6, color=FAINT, ha="right", va="bottom")
        axis.imshow(
            picture, origin="lower", extent=(x, x + 1, y + 1 + WORDS - 0.1, y + WORDS - 0.1), interpolation="nearest", aspect="auto"
        )
    save_png(figure, Path(path))


def _short(name: str) -> str:
    return name if len(name) <= LETTERS else f"…{name[-LETTERS:]}"
