"""Simulated arcs on real galaxies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from darklens.data import Table
    from darklens.simulate.injection import Injection

GALLERY = 12


def inject(
    cutouts: str | Path | Table,
    *,
    out: str | Path | None = None,
    n: int | None = None,
    gallery: str | Path | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> Table:
    """Paint simulated arcs on real galaxies.

    Args:
        cutouts: a table, or anything that darklens reads.
        out: folder of the table; None keeps it in memory. An injection that was killed is continued.
        n: rows, lenses and untouched galaxies together; by default as many as show every galaxy once without arcs.
        gallery: PNG file to draw some lenses into.
        force: replace what is in `out`.
        progress: called with rows done and rows asked for.
        settings: the camera, the lenses, the sources, see `darklens.simulate.injection.injection`.

    Returns:
        A table with the classes `nonlens` and `lens`, the truth of every lens, and a split by galaxy.

    Raises:
        InputError: something about the camera that has to be known is not, or no lens meets the selection.
    """
    return injected(cutouts, out=out, n=n, gallery=gallery, force=force, progress=progress, **settings)[0]


def injected(
    cutouts: str | Path | Table,
    *,
    out: str | Path | None = None,
    n: int | None = None,
    gallery: str | Path | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> tuple[Table, dict[str, Any]]:
    """Do what `inject` does, and check it: returns the table, and what `check_injection` finds."""
    from darklens.simulate import injection as room

    chosen = room.injection(cutouts, **settings)
    table = room.inject(chosen, n, out=out, force=force, progress=progress)
    if gallery is not None:
        draw_gallery(table, chosen, gallery)
    return table, room.check_injection(table, chosen)


def draw_gallery(table: Table, chosen: Injection, path: str | Path, count: int = GALLERY) -> None:
    """Draw some lenses of an injection, spread evenly: original, injected, arcs."""
    from darklens.evaluate.injection_gallery import Injected, save_injection_gallery

    lenses = table.rows(label="lens")
    rows = lenses[:: max(1, len(lenses) // count)][:count]
    made = [chosen.row(int(row)) for row in rows]
    systems = [Injected(m.original, m.image, m.arcs, _caption(m.truth)) for m in made]
    save_injection_gallery(Path(path), systems, f"{len(lenses)} lenses painted on {len(chosen.hosts)} galaxies")


def _caption(truth: dict[str, float]) -> str:
    redshifts = f"  z {truth['z_lens']:.2f}, {truth['z_source']:.2f}" if {"z_lens", "z_source"} <= set(truth) else ""
    radius = rf'$\theta_E$ {truth["theta_E"]:.2f}"  ' if "theta_E" in truth else ""
    return f"{radius}S/N {truth['snr']:.0f}  x{truth['magnification']:.1f}{redshifts}"
