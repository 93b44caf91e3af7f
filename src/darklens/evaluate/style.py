"""One look for every figure: colours that the colour-blind can tell apart (Okabe & Ito 2008), small type, no clutter."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from darklens.files import read_json, write_atomic, write_json

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6b6b6b")
INK, FAINT, GRID = "#1f2430", "#8a91a0", "#e3e6ec"
SKY_MAP = "magma"
DPI = 150


def new_figure(width: float, height: float) -> Figure:
    """Return a figure of this size in inches; no global state is touched."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure of `new_figure` whole or not at all.

    `Figure.savefig` would draw it twice, the first time for the layout alone.
    """
    assert isinstance(figure.canvas, FigureCanvasAgg)
    buffer = io.BytesIO()
    figure.canvas.print_png(buffer)
    write_atomic(Path(path), buffer.getvalue())


def dress(ax: Axes, title: str = "", xlabel: str = "", ylabel: str = "") -> None:
    """Give an axis the common look."""
    ax.set_title(title, fontsize=10, color=INK, loc="left")
    ax.set_xlabel(xlabel, fontsize=9, color=INK)
    ax.set_ylabel(ylabel, fontsize=9, color=INK)
    ax.tick_params(labelsize=8, colors=INK)
    ax.grid(True, color=GRID, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(FAINT)


def legend(ax: Axes, title: str) -> None:
    """Put a legend below an axis, one entry a line, where it hides no curve."""
    drawn = ax.legend(
        title=title, fontsize=8, title_fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(-0.02, -0.15), alignment="left"
    )
    for text in (*drawn.get_texts(), drawn.get_title()):
        text.set_color(INK)


class FigureSet:
    """The pictures of a folder, with the list that says what they show (`figures.json`).

    Args:
        folder: where they go; pictures of the same name are replaced, the others stay.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.index = self.folder / "figures.json"
        self.entries = {e["file"]: e for e in read_json(self.index)["figures"]} if self.index.is_file() else {}

    def add(self, figure: Figure, file: str, title: str, caption: str, alt: str) -> None:
        """Write a picture and its line in the list."""
        save_png(figure, self.folder / file)
        self.entries[file] = {"file": file, "title": title, "caption": caption, "alt": alt}
        write_json(self.index, {"figures": list(self.entries.values())})

    def discard(self, file: str) -> None:
        """Remove a picture that no longer applies, if it is there."""
        if self.entries.pop(file, None):
            write_json(self.index, {"figures": list(self.entries.values())})
            (self.folder / file).unlink(missing_ok=True)
