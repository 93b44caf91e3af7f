"""Simulate a preset into a table, in memory or on disk; a killed simulation continues where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from darklens.data import Table, TableWriter
from darklens.errors import InputError
from darklens.lensing import Cosmology
from darklens.simulate.bands import names_of
from darklens.simulate.instruments import instrument as find_instrument
from darklens.simulate.preset_type import Preset
from darklens.simulate.presets import preset as find_preset
from darklens.units import UNITS

MAX_ROWS = 10**10
MAX_SHARDS = 20_000
ROWS_AT_ONCE = 256
ROWS_PER_SHARD = 1024


def simulate(
    preset: str | Preset,
    n: int,
    *,
    seed: int = 0,
    out: str | Path | None = None,
    instrument: str | None = None,
    device: str = "cpu",
    force: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Table:
    """Simulate n lens images.

    Args:
        preset: name of a preset, or one of your own.
        n: number of images over all classes, which take turns, or have the shares that the preset says.
        seed: every row is a pure function of `(seed, row)`.
        out: folder of the table; None keeps it in memory. A folder that holds part of this very simulation is continued.
        instrument: see the scenes through another instrument, with its noise; several, with commas, give a band each.
        device: where to render.
        force: replace whatever is in `out`.
        progress: called with the number of new rows done.

    Returns:
        The table.

    Raises:
        InputError: unknown name, n out of range, or `out` holds something else.
    """
    check_rows(n)
    if isinstance(out, str) and "://" in out:
        raise InputError(f"{out} is a URL: add --ray local (or a cluster's address), which writes to any file system")
    chosen = find_preset(preset) if isinstance(preset, str) else preset
    if instrument is not None:
        chosen = chosen.observed_in([find_instrument(name.strip()) for name in instrument.split(",")])
    report = progress or (lambda rows: None)
    if out is None:
        batches = list(_batches(chosen, n, seed, 0, device, report))
        return Table.from_columns(
            ids=[i for b in batches for i in b["ids"]],
            images=np.concatenate([b["images"] for b in batches]),
            labels=[label for b in batches for label in b["labels"]],
            truth={k: np.concatenate([b["truth"][k] for b in batches]) for k in batches[0]["truth"]},
            classes=list(chosen.classes),
            manifest=manifest(chosen, n, seed),
        )
    shape = chosen.image_shape
    with TableWriter(
        Path(out),
        shape=shape,
        classes=list(chosen.classes),
        manifest=manifest(chosen, n, seed),
        rows_per_shard=rows_per_shard(n),
        force=force,
    ) as writer:
        report(writer.rows_done)
        for batch in _batches(chosen, n, seed, writer.rows_done, device, report):
            writer.write_columns(**batch)
    return Table.open(out)


def check_rows(n: int) -> None:
    """Refuse an impossible number of images.

    Raises:
        InputError: n is out of range.
    """
    if not 1 <= n <= MAX_ROWS:
        raise InputError(f"n = {n} images is outside 1 to {MAX_ROWS:,}: choose a number in between")


def rows_per_shard(n: int) -> int:
    """Return the rows of a shard: 1,024, and more for tables so large that their files would be too many for a folder."""
    return max(ROWS_PER_SHARD, 1 << max(0, -(-n // MAX_SHARDS) - 1).bit_length())


def write_rows(preset: Preset, seed: int, first: int, rows: int, out: Path) -> dict:
    """Write some rows of a simulation into a table of their own, of one shard, and return its manifest.

    The shard's bytes are those that the whole table's shard has, if it begins at the same row.
    """
    about = manifest(preset, rows, seed)
    with TableWriter(out, shape=preset.image_shape, classes=list(preset.classes), manifest=about, rows_per_shard=rows) as writer:
        for batch in _batches(preset, first + rows, seed, first, "cpu", lambda done: None):
            writer.write_columns(**batch)
    return Table.open(out).manifest


def manifest(preset: Preset, n: int, seed: int) -> dict:
    """Return what the table's manifest says of its making."""
    return {
        "preset": preset.name,
        "summary": preset.summary,
        "notes": preset.notes,
        "instrument": preset.instrument.as_dict(),
        **preset.options(),
        "seed": seed,
        "cosmology": Cosmology().as_dict(),
        "pixel_scale": preset.instrument.pixel_scale,
        "flux_unit": preset.recording.unit,
        "rows": n,
        "units": {k: UNITS[k] for k in preset.truth_columns},
    } | ({"band_names": names_of(preset.instruments)} if len(preset.instruments) > 1 else {})


def _batches(preset: Preset, n: int, seed: int, start: int, device: str, report: Callable[[int], None]) -> Iterator[dict]:
    for first in range(start, n, ROWS_AT_ONCE):
        scene = preset.draw(min(ROWS_AT_ONCE, n - first), seed, first)
        images, truth = preset.images(scene, device)
        ids = [f"{preset.name}-{seed}-{row:08d}" for row in scene.rows]
        yield {"ids": ids, "images": images, "labels": list(scene.labels), "truth": truth}
        report(len(scene))
