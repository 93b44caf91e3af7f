"""docs/explain.md and docs/explain.png, from the rows that benchmarks.explain measured; no figure is typed by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from darklens.evaluate.style import COLOURS, FAINT, INK, dress, new_figure
from darklens.evaluate.vector_figures import save_picture
from darklens.evaluate.wording import format_interval
from darklens.explain import METHODS
from darklens.explain.truth import REGIONS
from darklens.files import write_atomic
from darklens.report.explanation import FIGURES

HEAD = """# Where the networks look, and which method tells the truth

Written by `{command}` on {machine}, {date}; every figure below is its. {images}

`darklens explain RUN PATH --out FOLDER` draws the same maps, with the same figures, for a run and images of your own.

How to read it: brackets are 95% bootstrap intervals **over images**: a difference that is smaller than they are is none. Stability
and networks that know nothing are of the first {checked} images. *Truth* is what the substructure changed, which the simulator
draws again from seed and row. The *perturbation* is the fewest pixels that hold half of its square; *arcs* is what else is at least
a fifth as bright as the peak; *elsewhere* is the rest; a map that is zero everywhere lies in none of them. These images have no
noise: what substructure does to the faint light beside the arcs can be seen by a network that takes the logarithm, and *as seen*
compares with what it is shown. Rows in brackets need no network: a method that does no better than
`(brightness)` has found the light.
"""
TRUTH = ("pointing_subhalo", "pointing_perturbation", "on_arcs", "correlation", "correlation_seen")
FAITH = ("deletion", "insertion", "stability", "randomised_weights", "randomised_labels")
MORE = {"randomised_labels": "randomised labels"}


def write_page(rows: list[dict[str, Any]], folder: Path) -> None:
    """Write the picture and the page."""
    if not rows:
        return
    draw_shares(rows, folder / "explain.png")
    first = rows[0]
    images = "; ".join(
        f"{row['run']}: {row['n']} images of {row['preset']} with substructure (seed {row['seed']}), of which it names the class "
        f"of {row['accuracy']:.0%}"
        for row in rows
    )
    facts = {key: first[key] for key in ("command", "machine", "date")}
    parts = [HEAD.format(**facts, images=images + ".", checked=first["checked"])]
    parts += [verdict(rows)]
    parts += [f"![Part of each map on the perturbation, on the arcs, and elsewhere](explain.png)\n\n{shares(rows)}"]
    for row in rows:
        parts.append(f"## {row['run']}: {row['model']} on the {row['input']}\n")
        parts.append(_table(row, TRUTH, "beside the truth"))
        parts.append(_table(row, FAITH, "beside the network"))
        wrong = row["wrong_labels"]
        parts.append(
            f"The network of the last column was taught the shuffled labels of {wrong['images']} images and knew "
            f"{wrong['learnt']:.0%} of them by heart. "
            + " ".join(f"Left out: {one['method']} ({one['why']})." for one in row["left_out"])
        )
    write_atomic(folder / "explain.md", "\n".join(part.rstrip() + "\n" for part in parts))


def verdict(rows: list[dict[str, Any]]) -> str:
    """Say for each run which methods tell the perturbation from the rest of the arcs, by an interval that excludes chance."""
    lines = ["## Which method tells the truth for which network\n"]
    for row in rows:
        light = row["references"]["brightness"]["on_arcs"]
        told = [f"{name} ({format_interval(m['on_arcs'], 2)})" for name, m in row["methods"].items() if above(m["on_arcs"], 0.5)]
        passed = [name for name, m in row["methods"].items() if above(m["on_arcs"], light["high"] or 1.0)]
        lines.append(
            f"- **{row['model']}, {row['input']}** ({row['run']}): above chance on the arcs "
            f"{', '.join(told) if told else 'none'}; brightness alone reaches {format_interval(light, 2)}, and "
            f"{', '.join(passed) if passed else 'no method'} {'stands' if len(passed) < 2 else 'stand'} clear of it."
        )
    return "\n".join(lines) + "\n"


def shares(rows: list[dict[str, Any]]) -> str:
    """Return the published finding, tested: which part of each map is on the perturbation, the arcs, and elsewhere."""
    lines = [
        "## Does the network look at bright artefacts?\n",
        "Part of each map in each region, in percent, beside the region's part of the area (chance). The published finding was a "
        "ResNet-18 whose Grad-CAM lay on bright artefacts.\n",
        "| run | method | " + " | ".join(REGIONS) + " |",
        "|---|---|" + "---:|" * len(REGIONS),
    ]
    for row in rows:
        named = {**row["methods"], "(brightness)": row["references"]["brightness"], "(chance)": row["references"]["chance"]}
        for name, m in named.items():
            cells = [_percent(m[f"share_{region}"]) for region in REGIONS]
            lines.append(f"| {row['model']}, {row['input']} | {name} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *(on_the_light(row) for row in rows)]) + "\n"


def on_the_light(row: dict[str, Any]) -> str:
    """Say of each method's map whether it lies on the arcs as chance would, or as the light itself does."""
    light, chance = (row["references"][name]["share_arcs"] for name in ("brightness", "chance"))
    said: dict[str, list[str]] = {}
    for name, m in row["methods"].items():
        found = m["share_arcs"]
        if above(found, light["low"]):
            answer = "as much as the light itself"
        elif above(found, chance["high"]):
            answer = "more than chance, less than the light"
        elif found["high"] < chance["low"]:
            answer = "less than chance"
        else:
            answer = "as chance would"
        said.setdefault(answer, []).append(name)
    answers = "; ".join(f"{answer}: {', '.join(names)}" for answer, names in said.items())
    return f"- **{row['model']}, {row['input']}**, on the arcs: {answers}."


def above(number: dict[str, Any], level: float) -> bool:
    """Whether the whole interval of a number lies above a level."""
    return number["low"] is not None and number["low"] > level


def draw_shares(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw which part of each map lies where, a panel a run."""
    figure = new_figure(3.6 * len(rows) + 1.4, 4.2)
    names = [name for name in METHODS if any(name in row["methods"] for row in rows)] + ["(brightness)", "(chance)"]
    for ax, row in zip(figure.subplots(1, len(rows), sharey=True, squeeze=False)[0], rows, strict=True):
        named = {**row["methods"], "(brightness)": row["references"]["brightness"], "(chance)": row["references"]["chance"]}
        left = np.zeros(len(names))
        for region, colour in zip(REGIONS, (COLOURS[1], COLOURS[4], FAINT), strict=True):
            values = np.array([(named.get(name, {}).get(f"share_{region}") or {}).get("value") or 0.0 for name in names])
            ax.barh(range(len(names)), values, left=left, color=colour, label=region, height=0.7)
            left = left + values
        dress(ax, f"{row['model']} on the {row['input']}, {row['n']} images", "part of the map")
        ax.set_yticks(range(len(names)), names)
        ax.set_xlim(0, 1)
        ax.invert_yaxis()
        ax.grid(False)
        for k, name in enumerate(names):
            if name not in named:
                ax.text(0.02, k, "not for this network", fontsize=7, color=INK, va="center")
    figure.axes[-1].legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    save_picture(figure, path)


def _table(row: dict[str, Any], keys: tuple[str, ...], what: str) -> str:
    named = {**row["methods"], **{f"({name})": m for name, m in row["references"].items()}}
    titles = {key: FIGURES[key][0] if key in FIGURES else MORE[key] for key in keys}
    lines = [f"| {what} | " + " | ".join(titles.values()) + " |", "|---|" + "---:|" * len(keys)]
    for name, m in named.items():
        if any(key in m for key in keys):
            lines.append(f"| {name} | " + " | ".join(format_interval(m.get(key), 2) for key in keys) + " |")
    return "\n".join(lines) + "\n"


def _percent(number: dict[str, Any]) -> str:
    if number["value"] is None:
        return "–"
    return f"{100 * number['value']:.0f} [{100 * number['low']:.0f}, {100 * number['high']:.0f}]"
