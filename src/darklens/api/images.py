"""Images: simulated, or read from wherever they lie."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darklens.errors import InputError

if TYPE_CHECKING:
    from darklens.data import Table


def simulate(
    preset: str,
    n: int,
    *,
    seed: int = 0,
    out: str | Path | None = None,
    instrument: str | None = None,
    positives: int | None = None,
    difficulty: float | None = None,
    galaxies: str | Path | None = None,
    device: str = "cpu",
    ray: str | None = None,
    force: bool = False,
) -> Table:
    """Simulate n images of a preset, in memory or (with `out`) on disk.

    Args:
        preset: its name.
        n: images over all classes.
        seed: every row is a function of (seed, row).
        out: folder of the table.
        instrument: see the scenes through another instrument.
        positives: so many of the n images are of the last class (of lens-finding: lens); by default classes take turns.
        difficulty: of lens-finding, 0 (easy) to 1.
        galaxies: of lens-finding, a folder or table of real cutouts in place of simulated galaxies.
        device: where to render.
        ray: share the work on a Ray cluster: "local", "auto" or HOST:PORT of its head; `out` is a folder that all nodes see.
        force: replace what is in `out`.

    Raises:
        InputError: unknown preset or instrument, `out` holds something else, or no cluster.
    """
    from darklens.simulate import configured
    from darklens.simulate import simulate as write

    share = None if positives is None else Fraction(positives, max(1, n))
    chosen = configured(preset, instrument=instrument, positives=share, difficulty=difficulty, galaxies=galaxies)
    if ray is not None:
        from darklens.cluster import simulate_on_cluster
        from darklens.data import Table

        if out is None:
            raise InputError("ray shares the work on a table on disk: give out=FOLDER")
        if "://" in str(out):
            raise InputError(f"{out} is a URL, which Table.open does not read: use darklens simulate --ray, or give a folder")
        if device != "cpu":
            raise InputError(f"ray renders on the nodes' CPUs, not on device={device!r}: leave one of the two out")
        simulate_on_cluster(chosen, n, seed=seed, out=str(out), address=ray, force=force)
        return Table.open(out)
    return write(chosen, n, seed=seed, out=out, device=device, force=force)


def simulate_pairs(
    preset: str,
    n: int,
    *,
    out: str | Path,
    seed: int = 0,
    device: str = "cpu",
    force: bool = False,
    progress: Callable[[str, int, int], None] = lambda phase, done, total: None,
) -> Path:
    """Simulate n pairs for super-resolution: one scene through a blunt and a sharp camera.

    Args:
        preset: its name, `sr-pairs` for example.
        n: pairs over all classes.
        out: folder, in which `HR`, `LR` and `TRUTH` (the sharp image without noise) are tables.
        seed: every row is a function of (seed, row).
        device: where to render.
        force: replace what is in `out`.
        progress: receives (phase, done, total).

    Raises:
        InputError: no such preset of pairs, or `out` holds something else.
    """
    from darklens.errors import unknown
    from darklens.simulate import PAIRS
    from darklens.simulate import simulate_pairs as write

    if preset not in PAIRS:
        raise unknown("preset of pairs", preset, PAIRS)
    done = 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        progress(f"simulating {preset}", done, 3 * n)

    return write(preset, n, out=out, seed=seed, device=device, force=force, progress=advance)


def load(path: str | Path, **options: Any) -> Table:
    """Open a table, or read anything that darklens reads (`.npy` trees, FITS, ...) into one in memory.

    Raises:
        InputError: nothing readable at the path.
    """
    from darklens.data import load as read

    return read(path, **options)
