"""A drift report as files: numbers (JSON), a page to read (HTML, Markdown), pictures (PNG)."""

from __future__ import annotations

import base64
import datetime
import importlib.metadata
import math
from pathlib import Path
from typing import Any

from darklens import files
from darklens.errors import InputError
from darklens.evaluate.drift import Drift, Sample
from darklens.evaluate.drift_figures import save_drift_figures
from darklens.evaluate.image_statistics import STATISTICS
from darklens.evaluate.wording import NOTHING, format_interval
from darklens.files import plain, read_json, write_atomic, write_json
from darklens.report.page import environment

JSON, PAGE, TEXT = "drift.json", "drift.html", "drift.md"


def content_of(drift: Drift, a: Sample, b: Sample, *, run: str | None = None) -> dict[str, Any]:
    """Return a report as plain data: the verdict, what has changed, and every number with its test."""
    sides = {
        key: {"path": s.name, "images": len(s.images), "shapes": {"x".join(map(str, k)): n for k, n in s.shapes.items()}}
        for key, s in zip("ab", (a, b), strict=True)
    }
    return plain(
        sides
        | {
            "run": run,
            "verdict": drift.verdict,
            "drift": drift.found,
            "rate": drift.rate,
            "changes": drift.changes,
            "classifier": {key: drift.classifier[key] for key in ("auc", "p")},
            "network": drift.network,
            "together": drift.together,
            "statistics": drift.rows,
        }
    )


def free_folder(out: Path, force: bool) -> Path:
    """Return the folder to write into.

    Raises:
        InputError: it is a file, holds something else, or holds a report and `force` is not given.
    """
    if out.suffix in (".html", ".json", ".md", ".png"):
        raise InputError(
            f"--out {out} looks like a file, and a drift report is a folder of page, JSON and pictures: leave {out.suffix} out"
        )
    return files.free_folder(out, JSON, "is no drift report", force)


def write_drift(out: Path, drift: Drift, a: Sample, b: Sample, bands: list[str], content: dict[str, Any]) -> None:
    """Write drift.json, drift.md, drift.html and four pictures into a folder.

    Raises:
        WorkError: the disk is full.
    """
    save_drift_figures(out, drift, a, b, bands)
    figures = read_json(out / "figures.json")["figures"]
    title = f"{Path(b.name).name} against {Path(a.name).name}"
    rows = facts(content)
    pictures = [
        f | {"source": "data:image/png;base64," + base64.b64encode((out / f["file"]).read_bytes()).decode()} for f in figures
    ]
    templates = environment()
    templates.filters |= {"short": short, "signed": signed, "capitalize_first": lambda text: text[:1].upper() + text[1:]}
    page = templates.get_template("drift.html").render(
        title=f"Drift: {title}",
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        content=content,
        rows=rows,
        figures=pictures,
        version=importlib.metadata.version("darklens"),
    )
    write_atomic(out / PAGE, page)
    write_atomic(out / TEXT, _markdown(title, content, rows, figures))
    write_json(out / JSON, content)


def facts(content: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what was compared, and what the tests of everything together say, as questions and answers."""
    sides = [(name, content[key]) for name, key in (("A", "a"), ("B", "b"))]
    rows = [
        (name, f"{s['path']}: {s['images']:,} images of {', '.join(s['shapes'])} (bands x rows x columns)") for name, s in sides
    ]
    told, network = content["classifier"], content["network"]
    rows.append(("Classifier that tells A from B", f"AUC {format_interval(told['auc'], 3)}, p = {told['p']:.2g}"))
    if network:
        f = network["features"]
        rows.append(("Network", content["run"]))
        rows.append(
            ("Frechet distance of its features", f"{f['distance']:.3g}; halves of one sample {f['floor']:.3g}; p = {f['p']:.2g}")
        )
        if "unusual" in network:
            parts = (f"{name} {format_interval(network['unusual'][key], 3)}" for name, key in (("A", "a"), ("B", "b")))
            rows.append(("Images unlike its training images", "; ".join(parts)))
    return rows


def short(value: float | None) -> str:
    """Return a number in few characters, a dash where there is none."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.3g}"


def signed(value: float | None) -> str:
    """Return a difference in standard errors with its sign; many where every image changed by the same."""
    return "many" if value is None or not math.isfinite(value) else f"{value:+.1f}"


def _markdown(title: str, content: dict[str, Any], rows: list[tuple[str, str]], figures: list[dict[str, str]]) -> str:
    lines = [f"# Drift: {title}", "", f"**{content['verdict']}**", ""]
    lines += [f"- {question}: {answer}" for question, answer in rows]
    if content["changes"]:
        lines += ["", "What has changed:", "", *(f"- {change}" for change in content["changes"])]
    lines += ["", "| statistic | band | A | B | difference (SE) | ratio | KS | p |", "|---|---|---|---|---|---|---|---|"]
    for row in content["statistics"]:
        numbers = [short(row["mean_a"]), short(row["mean_b"]), signed(row["in_se"]), short(row["ratio"]), f"{row['ks']:.3f}"]
        lines.append("| " + " | ".join([row["statistic"], row["band"], *numbers, short(row["p_holm"])]) + " |")
    lines += ["", "p is corrected for the number of tests. " + "; ".join(f"{k}: {v}" for k, v in STATISTICS.items()) + "."]
    for figure in figures:
        lines += ["", f"![{figure['alt']}]({figure['file']})", "", f"{figure['title']}. {figure['caption']}"]
    return "\n".join(lines) + "\n"
