"""Runs and tables told to others: cards, and files for other programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darklens.errors import InputError, unknown
from darklens.runs import RECIPE, Run, locate

if TYPE_CHECKING:
    from darklens.report.card import Card

OF_RUNS = ("onnx", "hub-folder")
OF_TABLES = ("deeplense", "fits")
CHECKED = 16
"""Images on which an ONNX file has to answer as the run does."""


def card(of: str | Path | Run, out: str | Path | None = None, *, force: bool = False) -> Card:
    """Return the card of a run or of a table: fixed questions, answered from what is on record.

    Args:
        of: a run, its folder, the name of one that comes with darklens (`MODEL:PRESET`), or the folder of a table.
        out: Markdown file to write, too.
        force: replace a file that is there.

    Returns:
        The card; `card.markdown()` is its text.

    Raises:
        InputError: neither a run nor a table, or `out` exists.
    """
    from darklens.files import write_atomic

    if out is not None and Path(out).exists() and not force:
        raise InputError(f"--out {out} exists: choose another file or give --force")
    found = _card(of)
    if out is not None:
        write_atomic(Path(out), found.markdown())
    return found


def _card(of: str | Path | Run) -> Card:
    if isinstance(of, Run) or is_run(of):
        from darklens.report.model_card import model_card

        run = of if isinstance(of, Run) else Run.open(of)
        if "classes" not in run.model:
            raise InputError(f"{run} is a run of {run.model['task']} and cards are of classifiers: darklens report shows it")
        return model_card(run)
    from darklens.data import MANIFEST, Table
    from darklens.report.data_card import data_card

    if not (Path(of) / MANIFEST).is_file():
        raise InputError(f"{of} is neither a run nor a table: give the folder of one, or import images with darklens import first")
    return data_card(Table.open(of, allow_incomplete=True))


def is_run(of: str | Path) -> bool:
    """Whether this names a run: its folder, or one that comes with darklens."""
    return (locate(of) / RECIPE).is_file()


def export(
    of: str | Path | Run,
    out: str | Path,
    *,
    to: str | None = None,
    data: str | Path | None = None,
    band_axis: bool = False,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write a run or a table as files for other programs.

    Args:
        of: a run, its folder or the name of one that comes with darklens; or a table, or anything that darklens reads.
        out: file or folder.
        to: for a run `onnx` (one checked file, see `darklens.train.onnx_file`) or `hub-folder` (see
            `darklens.report.hub_folder`); for images `deeplense` (the default) or `fits` (see `darklens.data.export_table`).
        data: images of the run's kind that the ONNX file is checked with; by default its own test images.
        band_axis: `deeplense` images of one band as `(1, y, x)`.
        force: replace what is there.
        progress: called with images done and their number.

    Returns:
        What was written, as plain data.

    Raises:
        InputError: a layout that is not of this kind of thing, missing packages, or `out` holds something else.
        WorkError: the ONNX file does not answer as the run does, or the disk is full.
    """
    if to is not None and to not in (*OF_RUNS, *OF_TABLES):
        raise unknown("layout", to, [*OF_RUNS, *OF_TABLES])
    if isinstance(of, Run) or is_run(of):
        if to not in OF_RUNS:
            raise InputError(f"{of} is a run: export it --to {' or --to '.join(OF_RUNS)}")
        return _export_run(of if isinstance(of, Run) else Run.open(of), out, to, data, band_axis, force)
    if to in OF_RUNS:
        raise InputError(
            f"{of} is no run, and --to {to} is for runs: give the folder of a run, or --to {' or --to '.join(OF_TABLES)}"
        )
    if data is not None:
        raise InputError("--data is for --to onnx, whose file is checked with these images: leave it out")
    from darklens.data import export_table, load

    report = export_table(load(of), out, layout=to or OF_TABLES[0], band_axis=band_axis, force=force, progress=progress)
    return report.as_dict()


def _export_run(run: Run, out: str | Path, to: str, data: str | Path | None, band_axis: bool, force: bool) -> dict[str, Any]:
    if band_axis:
        raise InputError("--band-axis is for --to deeplense: leave it out")
    if to == "hub-folder":
        from darklens.report.hub_folder import write_hub_folder

        if data is not None:
            raise InputError("--data is for --to onnx, whose file is checked with these images: leave it out")
        return write_hub_folder(run, out, force=force)
    from darklens.train.onnx_file import check_packages, export_onnx
    from darklens.train.own_images import own_images
    from darklens.train.predictor import Predictor

    check_packages()
    return export_onnx(Predictor(run, "cpu"), own_images(run, CHECKED, data), out, force=force).as_dict()
