"""Curves as SVG that a page can ask for their figures: numbers to positions, drawn by the template `charts.html`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from darklens.report.intervals import Track

WIDTH, HEIGHT = 420, 240
LEFT, RIGHT, TOP, BOTTOM = 44, 410, 12, 206
"""The frame of the axes in the drawing."""
MOST_POINTS = 150
"""Of a curve: a page need not know more than its drawing shows."""


def line_chart(
    title: str,
    x: str,
    y: str,
    lines: Mapping[str, Sequence[tuple[float, float]]],
    *,
    log_x: bool = False,
    log_y: bool = False,
    mark: float | None = None,
) -> dict[str, Any] | None:
    """Return a chart ready to be drawn; None where no curve has two points.

    Args:
        title: above it.
        x: name of the horizontal axis.
        y: name of the vertical axis.
        lines: name -> points; those that are not finite, or not above zero on a logarithmic axis, are left out.
        log_x: logarithmic horizontal axis.
        log_y: logarithmic vertical axis.
        mark: a place on the horizontal axis that is marked.
    """
    kept = {name: _thinned([p for p in points if _drawable(p, log_x, log_y)]) for name, points in lines.items()}
    kept = {name: points for name, points in kept.items() if len(points) > 1}
    if not kept:
        return None
    across, up = (
        Track(*_ends([_scaled(p[k], log) for points in kept.values() for p in points])) for k, log in enumerate((log_x, log_y))
    )

    def place(point: tuple[float, float]) -> tuple[float, float]:
        at_x, at_y = across.at(_scaled(point[0], log_x)), up.at(_scaled(point[1], log_y))
        return round(LEFT + at_x / 100 * (RIGHT - LEFT), 1), round(BOTTOM - at_y / 100 * (BOTTOM - TOP), 1)

    return {
        "title": title,
        "x": x,
        "y": y,
        "lines": [
            {
                "name": name,
                "path": " ".join(f"{px},{py}" for px, py in map(place, points)),
                "points": [[round(_scaled(a, log_x), 5), round(b, 6), f"{a:.3g}", f"{b:.4g}"] for a, b in points],
            }
            for name, points in kept.items()
        ],
        "scale": {"left": LEFT, "right": RIGHT, "x0": across.low, "x1": across.high},
        "x_ticks": [(round(LEFT + at / 100 * (RIGHT - LEFT), 1), label) for at, label in _ticks(across, log_x)],
        "y_ticks": [(round(BOTTOM - at / 100 * (BOTTOM - TOP), 1), label) for at, label in _ticks(up, log_y)],
        "mark": None if mark is None else place((mark, next(iter(kept.values()))[0][1]))[0],
    }


def history_charts(histories: Mapping[str, Sequence[Mapping[str, float]]]) -> list[dict[str, Any]]:
    """Return what was noted while runs were trained, a chart each: losses, and what else was judged on validation images."""
    if len(histories) == 1:
        ((_, rows),) = histories.items()
        best = min(rows, key=lambda row: row.get("val_loss", math.inf), default={}).get("epoch")
        both = {"training": _series(rows, "train_loss"), "validation": _series(rows, "val_loss")}
        found = [line_chart("Loss", "epoch", "loss", both, log_y=_positive(both), mark=best)]
    else:
        losses = {name: _series(rows, "val_loss") for name, rows in histories.items()}
        found = [line_chart("Loss on validation", "epoch", "loss", losses, log_y=_positive(losses))]
    names = dict.fromkeys(key for rows in histories.values() for row in rows[:1] for key in row)
    others = [key for key in names if key.startswith("val_") and key != "val_loss"]
    for key in others:
        called = key.removeprefix("val_").replace("_", " ")
        lines = {name: _series(rows, key) for name, rows in histories.items()}
        found.append(line_chart(f"{called.capitalize()} on validation", "epoch", called, lines))
    return [chart for chart in found if chart]


def _series(rows: Sequence[Mapping[str, float]], key: str) -> list[tuple[float, float]]:
    return [(float(row["epoch"]), float(row[key])) for row in rows if row.get(key) is not None and "epoch" in row]


def _positive(lines: Mapping[str, Sequence[tuple[float, float]]]) -> bool:
    return all(value > 0 for points in lines.values() for _, value in points)


def _drawable(point: tuple[float, float], log_x: bool, log_y: bool) -> bool:
    return all(math.isfinite(v) and (v > 0 or not log) for v, log in zip(point, (log_x, log_y), strict=True))


def _scaled(value: float, log: bool) -> float:
    return math.log10(value) if log else value


def _ends(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return at most `MOST_POINTS` of the points, the first and the last among them."""
    if len(points) <= MOST_POINTS:
        return list(points)
    return [points[round(k * (len(points) - 1) / (MOST_POINTS - 1))] for k in range(MOST_POINTS)]


def _ticks(track: Track, log: bool) -> list[tuple[float, str]]:
    if not log:
        return track.ticks(6)
    decades = [(10.0**e, f"{10.0**e:g}") for e in range(math.ceil(track.low - 1e-9), math.floor(track.high + 1e-9) + 1)]
    digits = [(f * 10.0**e, f"{f * 10.0**e:g}") for e in range(math.floor(track.low), math.ceil(track.high) + 1) for f in (1, 2, 5)]
    inside = [(value, label) for value, label in digits if track.low - 1e-9 <= math.log10(value) <= track.high + 1e-9]
    if len(decades) >= 2:
        found = decades
    elif len(inside) >= 3:
        found = inside
    else:  # so little of a decade that it is as good as linear
        found = [(float(label), label) for _, label in Track(10**track.low, 10**track.high).ticks(4)]
    return [(track.at(math.log10(value)), label) for value, label in found]
