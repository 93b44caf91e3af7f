"""Fits as tables: the residual as the image, parameters with errors as columns. A fit is paid once and can be continued."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from darklens.data import MANIFEST, Record, Table, TableWriter, class_order
from darklens.files import read_json, write_atomic
from darklens.fit.evidence import CHANNELS
from darklens.fit.lens_model import PARAMETERS
from darklens.fit.plan import Plan
from darklens.fit.smooth import BATCH, SmoothFit
from darklens.units import UNITS

RESIDUAL_UNIT = "sigma"
ROWS_PER_SHARD = 1024


def fit_table(
    table: Table, plan: Plan, *, progress: Callable[[int, int], None] = lambda done, total: None, device: str = "cpu"
) -> Table:
    """Fit every image of a table, once: the fits lie in `TABLE/fits/KEY` beside its images and are used again.

    Args:
        table: images of one band.
        plan: how to fit; another plan has another key.
        progress: called with (done, total).
        device: where PyTorch computes, if it is not the CPU's kernel.

    Returns:
        A table with the same ids and labels in the same order: image `(1, H, W)` the residual in units of the noise, columns
        `fit_NAME`, `fit_NAME_error`, `fit_chi2`, `fit_converged`. It lies in memory if the table does.
    """
    about = _manifest(plan, table) | {"rows": len(table)}
    if table.path is None:
        rows = [_columns(b["id"], b["label"], plan.fit(b["image"], device=device)) for b in table.batches(BATCH)]
        return _in_memory(rows, table.classes, about)
    out = table.path / "fits" / plan.key()
    stale = (out / MANIFEST).is_file() and read_json(out / MANIFEST).get("source_checksum") != table.checksum
    shape = (1, *table.shape[1:])
    with TableWriter(out, shape=shape, classes=table.classes, manifest=about, rows_per_shard=ROWS_PER_SHARD, force=stale) as writer:
        done = writer.rows_done
        for batch in table.batches(BATCH, rows=np.arange(done, len(table))) if done < len(table) else ():
            writer.write_columns(**_columns(batch["id"], batch["label"], plan.fit(batch["image"], device=device)))
            done += len(batch["id"])
            progress(done, len(table))
    return Table.open(out)


def evidence_table(
    table: Table,
    plan: Plan,
    *,
    crop: int | None = None,
    bin: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
    fit_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Table:
    """Fit every image of a table and keep the evidence for substructure; both are paid once.

    Args:
        table: images of one band.
        plan: how to fit.
        crop: side in pixels of the central square that is used.
        bin: side of the blocks of pixels.
        progress: called with (done, total) of the maps.
        fit_progress: called with (done, total) of the fits.

    Returns:
        A table with the same ids and labels in the same order, whose images are the maps `(5, h, w)` of `darklens.fit.evidence`,
        with the columns of `fit_table`. It lies in `TABLE/fits/KEY-evidence-CROP-BIN`, or in memory if the table does.
    """
    about = _manifest(plan, table) | {
        "rows": len(table),
        "summary": "maps of the evidence for substructure",
        "channels": list(CHANNELS),
    }
    if table.path is None:
        fitted = [(b, plan.fit(b["image"])) for b in table.batches(BATCH)]
        rows = [
            _columns(b["id"], b["label"], fit) | {"images": plan.evidence(b["image"], fit, crop=crop, bin=bin)} for b, fit in fitted
        ]
        return _in_memory(rows, table.classes, about)
    fits = fit_table(table, plan, progress=fit_progress)
    out = table.path / "fits" / f"{plan.key()}-evidence-{crop or 'whole'}-{bin}"
    stale = (out / MANIFEST).is_file() and read_json(out / MANIFEST).get("source_checksum") != table.checksum
    height, width = ((crop or side) // bin for side in table.shape[1:])
    names = [name for name in fits.columns if name.startswith("fit_")]
    with TableWriter(
        out, shape=(len(CHANNELS), height, width), classes=table.classes, manifest=about, rows_per_shard=ROWS_PER_SHARD, force=stale
    ) as writer:
        done = writer.rows_done
        columns = {name: fits.column(name) for name in names}
        for batch in table.batches(BATCH, rows=np.arange(done, len(table))) if done < len(table) else ():
            some = {name: values[done : done + len(batch["id"])] for name, values in columns.items()}
            maps = plan.evidence(batch["image"], _fit_of(some, plan), crop=crop, bin=bin)
            writer.write_columns(ids=list(batch["id"]), images=maps, labels=list(batch["label"]), truth=some)
            done += len(batch["id"])
            progress(done, len(table))
    return Table.open(out)


def fitted_parameters(fits: Table, plan: Plan, rows: np.ndarray) -> np.ndarray:
    """Return every parameter of the smooth lenses of rows of a table of fits, `(n, len(PARAMETERS))` float64."""
    return _fit_of({name: fits.column(name)[rows] for name in fits.columns if name.startswith("fit_")}, plan).parameters


def _fit_of(columns: dict[str, np.ndarray], plan: Plan) -> SmoothFit:
    """Return what `evidence` needs of a fit: its parameters."""
    count = len(columns["fit_chi2"])
    parameters = plan.model.start(count)
    for name in plan.model.free:
        parameters[:, PARAMETERS.index(name)] = columns[f"fit_{name}"]
    empty = np.zeros((count, 0, 0))
    converged = columns["fit_converged"] > 0
    return SmoothFit(plan.model.free, parameters, empty, empty, empty, columns["fit_chi2"], converged, np.zeros(count, int))


def write_fits(
    records: Iterable[Record],
    plan: Plan,
    out: Path,
    *,
    mask: np.ndarray | None = None,
    force: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[Table, list[tuple[np.ndarray, SmoothFit]]]:
    """Fit a stream of records of one shape into a folder: a table of residuals, and `parameters.csv` for people.

    Returns:
        The table, and the first batch's images `(n, H, W)` with their fit, for a picture.
    """
    stream = iter(records)
    first = list(islice(stream, BATCH))
    about = _manifest(plan, None)
    shown: list[tuple[np.ndarray, SmoothFit]] = []
    rows: list[dict[str, Any]] = []
    classes = class_order({r.label for r in first if r.label is not None})
    with TableWriter(
        out, shape=(1, *first[0].image.shape[1:]), classes=classes, manifest=about, resume=False, force=force
    ) as writer:
        for batch in _chained(first, stream):
            images = np.stack([r.image[0] for r in batch])
            fit = plan.fit(images, mask=mask)
            columns = _columns([r.id for r in batch], [r.label for r in batch], fit)
            writer.write_columns(**columns)
            names = columns["truth"]
            rows += [{"id": r.id, "label": r.label or ""} | {k: float(v[i]) for k, v in names.items()} for i, r in enumerate(batch)]
            shown = shown or [(images, fit)]
            progress(len(rows))
    text = io.StringIO()
    writer_of_rows = csv.DictWriter(text, list(rows[0]))
    writer_of_rows.writeheader()
    writer_of_rows.writerows(_for_people(row) for row in rows)
    write_atomic(out / "parameters.csv", text.getvalue())
    return Table.open(out), shown


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row without the errors of a fit that did not converge."""
    return row if row["fit_converged"] else {name: "" if name.endswith("_error") else value for name, value in row.items()}


def _chained(first: list[Record], stream: Iterator[Record]) -> Iterator[list[Record]]:
    while first:
        yield first
        first = list(islice(stream, BATCH))


def _columns(ids: Any, labels: Any, fit: SmoothFit) -> dict[str, Any]:
    truth: dict[str, np.ndarray] = {}
    for name in fit.names:
        truth |= {
            f"fit_{name}": fit[name],
            f"fit_{name}_error": np.nan_to_num(fit.error(name), nan=np.inf, posinf=1e30).clip(max=1e30),
        }
    truth |= {"fit_chi2": fit.chi2, "fit_converged": fit.converged.astype(float)}
    return {"ids": list(ids), "images": fit.residual[:, None], "labels": list(labels), "truth": truth}


def _manifest(plan: Plan, table: Table | None) -> dict[str, Any]:
    names = [n for name in plan.model.free for n in (f"fit_{name}", f"fit_{name}_error")]
    units = {name: _unit(name) for name in (*names, "fit_chi2", "fit_converged")}
    own = {"flux_unit": RESIDUAL_UNIT, "pixel_scale": plan.pixel_scale, "fit": plan.as_dict(), "units": units}
    if table is None:
        return own | {"summary": "residuals of smooth-lens fits, in units of the noise"}
    return own | {"summary": "residuals of smooth-lens fits, in units of the noise", "source_checksum": table.checksum}


def _unit(name: str) -> str:
    plain = name.removeprefix("fit_").removesuffix("_error")
    if plain == "sky":
        return "flux/pixel"
    return UNITS.get(plain) or UNITS.get(plain.replace("lens_", "source_"), "")


def _in_memory(rows: list[dict[str, Any]], classes: list[str], about: dict[str, Any]) -> Table:
    return Table.from_columns(
        ids=[i for r in rows for i in r["ids"]],
        images=np.concatenate([r["images"] for r in rows]),
        labels=[label for r in rows for label in r["labels"]],
        truth={k: np.concatenate([r["truth"][k] for r in rows]) for k in rows[0]["truth"]},
        classes=classes,
        manifest=about,
    )
