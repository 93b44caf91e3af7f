"""One look for every figure: colours that the colour-blind can tell apart (Okabe & Ito 2008), small type, no clutter."""

from __future__ import annotations

import io
import json
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6b6b6b")
INK, GRID = "#1f2430", "#d9dce3"
SKY_MAP = "magma"
DPI = 150


def new_figure(width: float, height: float) -> Figure:
    """Return a figure of this size in inches; no global state is touched."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def dress(ax, title: str = "", xlabel: str = "", ylabel: str = "") -> None:
    """Give an axis the common look."""
    ax.set_title(title, fontsize=10, color=INK, loc="left")
    ax.set_xlabel(xlabel, fontsize=9, color=INK)
    ax.set_ylabel(ylabel, fontsize=9, color=INK)
    ax.tick_params(labelsize=8, colors=INK)
    ax.grid(True, color=GRID, linewidth=0.6)
    ax.set_axisbelow(True)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


class FigureSet:
    """The pictures of a folder, with the list that says what they show (`figures.json`).

    Args:
        folder: where they go; pictures of the same name are replaced, the others stay.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.index = self.folder / "figures.json"
        self.entries = {e["file"]: e for e in json.loads(self.index.read_text())} if self.index.is_file() else {}

    def add(self, figure: Figure, file: str, title: str, caption: str, alt: str) -> None:
        """Write a picture and its line in the list."""
        self.folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI, facecolor="white")
        (self.folder / file).write_bytes(buffer.getvalue())
        self.entries[file] = {"file": file, "title": title, "caption": caption, "alt": alt}
        self.index.write_text(json.dumps(list(self.entries.values()), indent=1) + "\n")
