"""Files of image positions: JSON `[[x, y], ...]` or CSV with the columns x and y, in arcsec from the middle of the image."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from darklens.errors import InputError, unknown
from darklens.files import unreadable
from darklens.fit.one_lens.observation import Observation
from darklens.fit.one_lens.positions import Positions

ORDERS = ("xy", "yx")
COLUMNS = ("x", "y", "source")
"""Of a CSV file; without the last one all positions belong to one source."""
ON_ARC = 3.0
"""Noise standard deviations above the galaxy from which a position lies on an arc."""


def read_positions(path: str | Path, order: str | None = None, **settings: Any) -> Positions:
    """Read positions.

    Args:
        path: JSON, `[[x, y], ...]` for one source or a list of such lists; or CSV with columns x, y and, for several, source.
        order: of the numbers in JSON, "xy" or "yx" (as PyAutoLens writes them); None means xy.
        **settings: of `Positions`: sigma, tolerance, in_likelihood.

    Raises:
        InputError: a file that cannot be read, is neither, or holds what `Positions` refuses.
    """
    path = Path(path)
    if order is not None and order not in ORDERS:
        raise unknown("order of coordinates", order, ORDERS)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in UTF-8: give positions as JSON or CSV") from error
    except OSError as error:
        raise unreadable(path, error) from error
    if path.suffix.lower() == ".csv":
        if order is not None:
            raise InputError(f"{path} names its columns: --position-order {order} is for JSON, leave it out")
        given = _rows(path, text)
    else:
        try:
            given = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} is not JSON ({error}): write [[x, y], [x, y]] in arcsec, or a .csv file") from error
    try:
        found = Positions.of(given, **settings)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return Positions(found.y, found.x, found.source, **settings) if order == "yx" else found


def _rows(path: Path, text: str) -> list[list[tuple[float, float]]]:
    """Return the positions of each source, in the order in which the sources first come."""
    rows = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
    names = [str(name).strip() for name in rows.fieldnames or ()]
    rows.fieldnames = names
    for name in names:
        if name not in COLUMNS:
            raise InputError(f"{path} has an unknown column {name!r}: known: {', '.join(COLUMNS)}")
    if not {"x", "y"} <= set(names) or len(set(names)) < len(names):
        raise InputError(
            f"{path} has the columns {', '.join(names) or 'none'}: it needs x and y in arcsec, each once, and may have source"
        )
    found: dict[str, list[tuple[float, float]]] = {}
    try:
        for row in rows:
            try:
                pair = float(row["x"]), float(row["y"])
            except (TypeError, ValueError) as error:
                where = f"{path}, line {rows.line_num}"
                raise InputError(f"{where}: x {row['x']!r} and y {row['y']!r} are not two numbers: give arcsec") from error
            found.setdefault((row.get("source") or "").strip(), []).append(pair)
    except csv.Error as error:
        raise InputError(f"{path}, line {rows.line_num}: {error}; write it as plain CSV") from error
    return list(found.values())


def positions_on(
    file: str | Path | None, order: str | None, stated: dict[str, Any], known: dict[str, Any], centre: tuple[float, float] | None
) -> Positions | None:
    """Read positions, and look whether JSON that does not say its order has them on the arcs.

    Args:
        file: of them; None where there are none.
        order: of the numbers in JSON, as for `read_positions`.
        stated: settings of `Positions`; None stands for one that was not given.
        known: the image with what belongs to it, as `Given.read` returns them.
        centre: of the lens, arcsec; None for the middle.

    Raises:
        InputError: as `read_positions` and `check_order`; settings without a file.
    """
    stated = {name: value for name, value in stated.items() if value is not None}
    if file is None:
        if stated or order is not None:
            raise InputError(
                "--position-sigma, -tolerance, -order and -likelihood are about --positions: give that file, or leave them out"
            )
        return None
    found = read_positions(file, order, **stated)
    if order is None and Path(file).suffix.lower() != ".csv":
        observation = Observation(*(known[name] for name in ("image", "noise", "psf", "pixel_scale", "mask")))
        check_order(found, observation, centre or (0.0, 0.0))
    return found


def check_order(positions: Positions, observation: Observation, centre: tuple[float, float]) -> None:
    """Refuse positions that lie beside the arcs as (x, y), and on them as (y, x).

    Args:
        positions: as they were read.
        observation: the image.
        centre: of the lens, arcsec.

    Raises:
        InputError: with the brightness at both readings, in units of the noise, above the median of the circle about the centre.
    """
    as_read = _above(positions.x, positions.y, observation, centre)
    swapped = _above(positions.y, positions.x, observation, centre)
    if max(as_read) < ON_ARC <= min(swapped):
        here, there = (", ".join(f"{value:.1f}" for value in values) for values in (as_read, swapped))
        raise InputError(
            f"the positions as (x, y) lie beside the arcs ({here} sigma above the galaxy), and as (y, x) on them ({there}): give "
            "--position-order yx, as for files of PyAutoLens, or xy if they are right"
        )


def _above(x: np.ndarray, y: np.ndarray, observation: Observation, centre: tuple[float, float]) -> list[float]:
    """Return how far the image stands above its circle at each position, in units of the noise; -inf where no pixel counts."""
    px, py = observation.coordinates()
    r, scale = np.hypot(px - centre[0], py - centre[1]), observation.pixel_scale
    found = []
    for a, b in zip(x, y, strict=True):
        near = observation.mask & (np.hypot(px - a, py - b) <= 1.5 * scale)
        circle = observation.mask & (np.abs(r - np.hypot(a - centre[0], b - centre[1])) <= scale)
        excess = observation.image[near].mean() - np.median(observation.image[circle]) if near.any() and circle.any() else -np.inf
        found.append(float(excess / observation.noise[near].mean()) if near.any() else -np.inf)
    return found
