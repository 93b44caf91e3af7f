"""Rows of the blocks whose networks do not tell classes apart, and their tables.

A block is named by what its networks do. Its columns stand in `COLUMNS`: the key of a figure in `metrics.json` (with a dot where it
lies in a section), and its title. A row of such a block has `metrics` with those keys; what classical methods and floors reach on
the same images are rows too, with the recipe `BASELINE`. Scripts leave more rows of the same form in `runs/rows/`.
"""

from __future__ import annotations

from typing import Any

from darklens.evaluate import format_difference, format_interval
from darklens.runs import Run

Row = dict[str, Any]
BASELINE = "baseline"
NONE = "–"
BLOCKS = {
    "super-resolution": "super-resolution",
    "generation": "generation",
    "masked-autoencoder": "foundation",
    "joint-embedding": "foundation",
    "denoising": "foundation",
}
"""Block by the task of a recipe; rows of inference and localisation come from scripts of these names."""
COLUMNS: dict[str, dict[str, str]] = {
    "localisation": {
        "log10_m_50": "mass of which half are found, log10 M_sun",
        "log10_m_50_on_arcs": "on bright arcs",
        "false_positives": "false positives an image without clump",
        "found": "clumps found",
        "mass_bias": "bias of log10 M_sun",
    },
    "super-resolution": {
        "truth.gain_db": "PSNR over bicubic against the truth, dB",
        "recorded.gain_db": "against the image as recorded, dB",
        "truth.psnr": "PSNR, truth, dB",
        "truth.ssim": "SSIM, truth",
        "recorded.psnr": "PSNR, recorded, dB",
        "truth.power_error": "largest error of the power spectrum",
        "truth.flux_bias": "flux bias",
        "coverage": "pixels within one sigma",
        "coverage_bright": "bright pixels within one sigma",
    },
    "generation": {
        "frechet_ratio": "Fréchet distance over its floor",
        "frechet": "Fréchet distance",
        "precision": "precision",
        "recall": "recall",
        "coverage": "coverage",
        "two_sample_auc": "told from real, AUC",
        "spectrum_deviation": "deviation of the power spectrum",
        "histogram_distance": "distance of pixel histograms",
        "chi2": "chi^2 of the smooth fit",
        "theta_E_bias": "theta_E asked for: bias",
        "theta_E_scatter": "theta_E asked for: scatter",
        "memorised": "memorised",
    },
    "foundation": {
        "probe_accuracy": "linear probe, accuracy",
        "probe_auc_macro": "linear probe, macro AUC",
        "neighbours_accuracy": "nearest neighbours, accuracy",
        "unexplained_image": "image left unexplained under the mask",
        "unexplained_residual": "residual left unexplained",
        "rank": "effective dimensions of the vectors",
    },
    "substructure-survives": {
        "accuracy": "classifier: accuracy",
        "auc_macro": "macro AUC",
        "called_substructure": "smooth lenses said to have substructure",
        "hallucinated": "more than on the truth",
        "theta_E.bias": "theta_E of the fit: bias",
        "theta_E.scatter": "scatter",
        "chi2": "median chi^2 of the fit",
    },
    "sampling": {
        "frechet_ratio": "Fréchet distance over its floor",
        "coverage": "coverage",
        "seconds_per_image": "seconds an image",
    },
    "lessons-of-generated": {
        "accuracy": "accuracy on real images",
        "auc_macro": "macro AUC",
        "loss": "log loss",
    },
    "inference": {
        "mae": "mean absolute error",
        "published_mae": "published",
        "prior_mae": "of always saying the median",
        "bias": "bias",
        "scatter": "scatter",
        "width": "half of the 68% interval",
        "coverage_68": "68% intervals hold",
        "coverage_95": "95% intervals hold",
        "ks": "ranks: largest deviation",
        "tarp_ks": "TARP: largest deviation",
        "critical": "exceeded by chance once in 20",
        "unusual": "flagged as unusual",
    },
    "few-labels": {"value": "accuracy", "minus_random": "minus the same from random weights, same labels"},
    "class-of-zeros": {
        "as they are": "images as they are",
        "a class of zeros": "a class of zeros",
        "others": "of it, the two classes that are left",
    },
}
FLOORS = {"generation": "_floor"}
"""Blocks whose metrics give beside a figure what real images have, under the key with this ending."""
LEADS = {
    "super-resolution": "truth.gain_db",
    "generation": "frechet_ratio",
    "foundation": "probe_accuracy",
    "localisation": "log10_m_50",
}
"""The figure by which a block is put in order."""
SMALL_IS_GOOD = ("generation", "localisation")
PUBLISHED = {
    "srresnet": {
        "by": "SRResNet, 75 to 150 pixels",
        "says": "PSNR 42.35 dB, 0.22 dB above bicubic on the same pairs",
    },
    "ddpm": {"by": "DDPM, 64x64", "says": "FID 16.60 of 960 samples, in features that know no lenses, without a floor"},
    "mae": {
        "by": "masked autoencoder, 128x128",
        "says": "99.34% after tuning, from a loader that turned every image of one class into zeros",
    },
}
"""What is said of the published system that a recipe reproduces."""


def block_of_task(task: str) -> str | None:
    """Return the block of a recipe's `train.task`, None for classifiers."""
    return BLOCKS.get(task)


def task_metrics(run: Run, block: str) -> dict[str, Any]:
    """Return the figures of a run that its block has columns for."""
    metrics = run.metrics or {}
    if block == "super-resolution":
        return _super_resolved(metrics, metrics["network"])
    return {key: metrics[key] for key in COLUMNS.get(block, {}) if key in metrics}


def baseline_rows(run: Run, row: Row) -> list[Row]:
    """Return what classical methods, or real images, reach on the test images of a run: rows like the run's own."""
    block, metrics = row["block"], run.metrics or {}
    if block == "super-resolution":
        known = dict.fromkeys(m for methods in _judged(metrics).values() for m in methods)
        found = {m: _super_resolved(metrics, m) for m in known if m != metrics["network"]}
    elif block in FLOORS:
        ending = FLOORS[block]
        figures = {key: metrics[key + ending] for key in COLUMNS[block] if key + ending in metrics}
        found = {"other real images": figures} if figures else {}
    else:
        found = {}
    preset = (run.data or {}).get("preset") or "files"
    unknown = {"published": None, "parameters": None, "images_per_s": {}, "training_images": None, "epochs": {}, "minutes": None}
    return [row | unknown | {"recipe": BASELINE, "model": m, "variant": preset, "metrics": figures} for m, figures in found.items()]


def _judged(metrics: Row) -> Row:
    """Return truth or recorded -> the figures of every method against it."""
    return {metrics["target"]: metrics["methods"]} | metrics.get("against", {})


def _super_resolved(metrics: Row, method: str) -> Row:
    """Return one method's figures against the truth and against images as recorded."""
    judged = _judged(metrics)
    found = {f"{what}.{key}": value for what, of in judged.items() for key, value in of.get(method, {}).items()}
    if method == metrics["network"]:
        found |= {key: metrics[key] for key in ("coverage", "coverage_bright") if key in metrics}
    return {key: found[key] for key in COLUMNS["super-resolution"] if key in found}


def task_lines(block: str, rows: list[Row], name: Any) -> tuple[list[str], list[list[str]]]:
    """Return header and lines of a block's table, the best first, baselines in their place.

    Args:
        block: a key of `COLUMNS`.
        rows: of the block.
        name: returns what a row is called.
    """
    columns = COLUMNS[block] | {key: key for row in rows for key in row["metrics"] if key not in COLUMNS[block]}
    header = ["recipe, model", "parameters", "tested on", "n", *columns.values(), "minutes of training"]
    lines = []
    for row in sorted(rows, key=lambda row: _order(block, row)):
        figures = row["metrics"]
        n = max((f["n"] for f in figures.values() if isinstance(f, dict) and f.get("n")), default=0)
        called = f"*{row['model']}*" if row["recipe"] == BASELINE else name(row)
        size = f"{row['parameters'] / 1e6:.2f} M" if row.get("parameters") else NONE
        took = f"{row['minutes']:.3g}" if row.get("minutes") is not None else NONE
        lines.append([called, size, row["data"], f"{n:,}", *(_cell(key, figures.get(key)) for key in columns), took])
    return header, lines


def script_row(block: str, model: str, data: str, metrics: Row, made: Row, **more: Any) -> Row:
    """Return a row that a script leaves in `runs/rows/`.

    Args:
        block: a key of `COLUMNS`.
        model: what the row is called, with `recipe` among `more` where it is not a baseline.
        data: what it was measured on.
        metrics: figure by key of the block's columns.
        made: of `provenance()`.
        **more: further keys of the row.
    """
    machine = made["machine"]
    named = f"{machine.get('processor')}, {machine.get('cores')} cores, {machine.get('accelerator') or 'no GPU'}"
    kept = {key: made.get(key) for key in ("command", "commit", "date")} | {"machine": named}
    about = {"block": block, "recipe": BASELINE, "model": model, "variant": "", "data": data, "metrics": metrics}
    return about | kept | more


def _order(block: str, row: Row) -> tuple:
    figure = row["metrics"].get(LEADS.get(block, ""))
    if figure is None:
        return (1, _leading_number(row["data"]), row["model"]) if block not in LEADS else (1, 0.0, row["model"])
    return (0, figure["value"] if block in SMALL_IS_GOOD else -figure["value"], row["model"])


def _leading_number(text: str) -> float:
    """Return the number that a text begins with, so that 100 labels stand behind 30; 0 without one."""
    first = text.split(" ", 1)[0].replace(",", "")
    return float(first) if first.isdigit() else 0.0


def _cell(key: str, figure: Row | float | None) -> str:
    if figure is None:
        return NONE
    if not isinstance(figure, dict):
        return f"{figure:.4g}"
    if figure.get("low") is None:
        return f"{figure['value']:.4g}"
    if figure.get("high") is None:
        return f"{figure['value']:.4f} [{figure['low']:.4f}, not reached]"
    if "excludes_zero" in figure:
        return format_difference(figure) if figure["value"] or figure["low"] or figure["high"] else "0"
    if abs(figure["value"]) >= 20:
        return f"{figure['value']:.2f} [{figure['low']:.2f}, {figure['high']:.2f}]"
    return format_interval(figure)


def task_verdict(block: str, rows: list[Row], name: Any) -> str:
    """Return the block's sentence: who is first, and how far the published network and the baselines are."""
    lead = LEADS.get(block)
    own = sorted((row for row in rows if row["recipe"] != BASELINE and lead in row["metrics"]), key=lambda row: _order(block, row))
    if not own:
        return ""
    title, first = COLUMNS[block][lead], own[0]
    said = f"First is **{name(first)}**: {title} {_cell(lead, first['metrics'][lead])}"
    behind = [f"{name(row)} {_cell(lead, row['metrics'][lead])}" for row in own[1:]]
    behind += [f"{r['model']} {_cell(lead, r['metrics'][lead])}" for r in rows if r["recipe"] == BASELINE and lead in r["metrics"]]
    said += f"; {', '.join(behind)}." if behind else "."
    told = [f"{row['published']['says']} ({row['published']['by']})" for row in own if (row.get("published") or {}).get("says")]
    return " ".join([said, *(f"Published: {text}." for text in told)])
