"""darklens list: what there is, by name."""

from __future__ import annotations

from typing import Annotated

import typer

from darklens.cli.application import app
from darklens.cli.shared import Json


@app.command("list")
def list_(
    kind: Annotated[str | None, typer.Argument(help="One kind: presets, models, recipes, ...")] = None,
    as_json: Json = False,
) -> None:
    """List presets, instruments, mass and light profiles, models, recipes and the trained models that come with darklens."""
    from darklens import console
    from darklens.errors import unknown

    if kind is not None and kind not in LISTED:
        raise unknown("kind", kind, LISTED)
    content = {name: rows() for name, rows in LISTED.items() if kind in (None, name)}
    if as_json:
        return console.show_json(content)
    for title, rows in ((title, rows) for title, rows in content.items() if rows):
        console.table(title, ["name", "what it is"], [list(row) for row in rows.items()])
        console.stdout.print()
    return None


def _presets() -> dict[str, str]:
    from darklens.simulate import PRESETS

    return {p.name: p.summary for p in PRESETS.values()}


def _pairs() -> dict[str, str]:
    from darklens.simulate import PAIRS

    return {p.name: p.summary for p in PAIRS.values()}


def _instruments() -> dict[str, str]:
    from darklens.simulate import INSTRUMENTS

    return {
        i.name: f'{i.pixel_scale}"/pixel, {i.psf!r}, zero point {i.zero_point:.5g}, {i.n_exposures} x {i.exposure_time} s'
        for i in INSTRUMENTS.values()
    }


def _masses() -> dict[str, str]:
    from darklens.lensing import MASSES

    return {name: _first_line(profile) for name, profile in sorted(MASSES.items())}


def _lights() -> dict[str, str]:
    from darklens.lensing import LIGHTS

    return {name: _first_line(profile) for name, profile in sorted(LIGHTS.items())}


def _models() -> dict[str, str]:
    from darklens.models import summaries

    return summaries()


def _recipes() -> dict[str, str]:
    from darklens.recipes.catalogue import summaries

    return summaries()


def _shipped() -> dict[str, str]:
    from darklens.runs import shipped

    return {name: _headline(name) for name in shipped()}


def _headline(name: str) -> str:
    """Return what a shipped run reached on its own test split: its first two figures."""
    from darklens.evaluate.wording import format_interval
    from darklens.runs import Run

    metrics = Run.open(name).metrics
    assert metrics is not None  # only finished runs are shipped
    titles = {key: key.replace("_", " ") for key in metrics.get("headline", [])[:2]}
    titles = titles or {"accuracy": "accuracy", "auc_macro": "macro AUC"}
    said = ", ".join(f"{title} {format_interval(metrics[key])}" for key, title in titles.items())
    return f"{said} on {metrics['n']:,} test images" if metrics.get("n") else said


def _first_line(profile: type) -> str:
    """Return what a profile is and the names of its parameters."""
    import inspect
    from dataclasses import fields

    summary = (inspect.getdoc(profile) or "").split("\n", 1)[0].split("`")[0].rstrip(" .,:")
    return f"{summary} ({', '.join(f.name for f in fields(profile))})"


LISTED = {
    "presets": _presets,
    "pairs": _pairs,
    "instruments": _instruments,
    "masses": _masses,
    "lights": _lights,
    "models": _models,
    "recipes": _recipes,
    "shipped": _shipped,
}
"""Kind -> name and what it is of each; only what is asked for is imported."""
