"""Pictures of candidates for people to look at: pages of a gallery (PNG) and a contact sheet (PDF)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from darklens.evaluate.style import COLOURS, FAINT, INK, new_figure, save_png
from darklens.files import write_atomic

KNOWN, UNUSUAL = COLOURS[2], COLOURS[1]
COLUMNS, ROWS = 5, 6
"""Candidates of a gallery page."""
SHEET_COLUMNS, SHEET_ROWS = 7, 9
"""Candidates of a page of the contact sheet."""
GAP, WORDS = 0.06, 0.26
"""Between tiles, and of the two lines above each, in parts of a picture's width."""


@dataclass(frozen=True)
class Tile:
    """One candidate, ready to be drawn.

    Args:
        rank: from 1.
        id: its name.
        probability: by which it is ranked.
        views: pictures `(H, W, 3)` in 0 to 1, row index growing with +y; none where its image was not found.
        known: name of the known object at this place, empty if there is none.
        unusual: whether the model found it unlike its training images.
    """

    rank: int
    id: str
    probability: float
    views: tuple[np.ndarray, ...]
    known: str = ""
    unusual: bool = False


def save_gallery(folder: Path, tiles: Sequence[Tile], title: str) -> list[Path]:
    """Write `gallery-001.png`, ... with all views of the candidates, and return the files."""
    paths: list[Path] = []
    for first in range(0, len(tiles), COLUMNS * ROWS):
        page = tiles[first : first + COLUMNS * ROWS]
        path = folder / f"gallery-{len(paths) + 1:03d}.png"
        figure = _page(page, COLUMNS, f"{title}, {page[0].rank} to {page[-1].rank} of {tiles[-1].rank}")
        save_png(figure, path)
        paths.append(path)
    return paths


def save_contact_sheet(path: Path, tiles: Sequence[Tile], title: str) -> None:
    """Write a PDF with the last view of each candidate, many a page."""
    count = SHEET_COLUMNS * SHEET_ROWS
    buffer = io.BytesIO()
    with PdfPages(buffer, metadata={"Title": title, "Creator": "darklens"}) as pdf:
        for first in range(0, len(tiles), count):
            page = [replace(tile, views=tile.views[-1:]) for tile in tiles[first : first + count]]
            words = f"{title}, {page[0].rank} to {page[-1].rank} of {tiles[-1].rank}"
            pdf.savefig(_page(page, SHEET_COLUMNS, words, width=7.6, rows=SHEET_ROWS), facecolor="white")
    write_atomic(path, buffer.getvalue())


def _page(tiles: Sequence[Tile], columns: int, title: str, *, width: float = 11.0, rows: int | None = None) -> Figure:
    """Draw candidates on one page of a width in inches; as many rows as there are, unless a number is given."""
    many = max(1, *(len(tile.views) for tile in tiles))
    rows = rows or -(-len(tiles) // columns)
    across, height = columns * (many + GAP * 2), rows * (1 + WORDS + GAP)
    inches = width / across
    head, foot = 0.5 / inches, 0.3 / inches
    figure = new_figure(width, (height + head + foot) * inches)
    figure.set_layout_engine("none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, across), ylim=(height + head + foot, 0))
    ax.axis("off")
    ax.autoscale(False)  # pictures do not move the page
    ax.text(GAP, head / 2, title, fontsize=10, color=INK, va="center", weight="bold")
    _explain(ax, across, height + head + foot / 2, tiles)
    for k, tile in enumerate(tiles):
        row, column = divmod(k, columns)
        _draw(ax, tile, column * (many + GAP * 2) + GAP, head + row * (1 + WORDS + GAP), many, 72 * inches)
    return figure


def _explain(ax: Axes, width: float, y: float, tiles: Sequence[Tile]) -> None:
    """Say below what the frames mean, where there are any."""
    marks = ((KNOWN, "known", any(t.known for t in tiles)), (UNUSUAL, "unlike the training images", any(t.unusual for t in tiles)))
    words = [(colour, text) for colour, text, there in marks if there]
    for k, (colour, text) in enumerate(words):
        ax.text(
            width * (0.5 + 0.25 * (k - (len(words) - 1) / 2)), y, f"■ {text}", fontsize=7.5, color=colour, ha="center", va="center"
        )


def _draw(ax: Axes, tile: Tile, x: float, y: float, many: int, points: float) -> None:
    """Draw one candidate: two lines, and below them its views side by side."""
    size = min(8.0, 0.1 * points)
    ax.text(x, y + 0.3 * WORDS, f"{tile.rank}", fontsize=size, color=INK, weight="bold", va="center")
    ax.text(x + many, y + 0.3 * WORDS, probability_text(tile.probability), fontsize=size, color=INK, va="center", ha="right")
    letters = int(many * points / (0.56 * size))
    second = f"{tile.id}  ({tile.known})" if tile.known else tile.id
    ax.text(x, y + 0.75 * WORDS, _cut(second, letters), fontsize=0.85 * size, color=KNOWN if tile.known else FAINT, va="center")
    top = y + WORDS
    for k in range(many):
        if k < len(tile.views):
            box = (x + k, x + k + 1, top + 1, top)
            ax.imshow(tile.views[k][::-1], extent=box, interpolation="nearest", aspect="auto", zorder=1)
        else:
            ax.add_patch(Rectangle((x + k, top), 1, 1, facecolor="#e8eaf0", edgecolor="none"))
            ax.text(x + k + 0.5, top + 0.5, "no image", fontsize=size, color=FAINT, ha="center", va="center")
    frame = KNOWN if tile.known else UNUSUAL if tile.unusual else None
    if frame:
        ax.add_patch(Rectangle((x, top), many, 1, fill=False, edgecolor=frame, linewidth=1.8, zorder=2))


def probability_text(value: float) -> str:
    """Return a probability with digits enough to tell it from 1."""
    return f"{value:.6f}" if 0.9995 <= value < 1 else f"{value:.4f}"


def _cut(text: str, letters: int) -> str:
    """Return a text of this many letters at most; of a long one the end tells more."""
    return text if len(text) <= letters else "…" + text[-(letters - 1) :]
