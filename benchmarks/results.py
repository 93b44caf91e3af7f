"""The results of the project as data: `docs/results.json` from run folders, and `docs/results.md` from that.

    python -m benchmarks.results [RUN ...]          (make results: every finished run below runs/)

A run gives one row for its own test split and one for each evaluation on other data. Rows of runs that are not there any more are
kept; a row is replaced by a newer one of the same block, model and data.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from darklens.files import write_atomic, write_json
from darklens.runs import RECIPE, Evaluation, Run

ROOT = Path(__file__).parents[1]
DATA, PAGE = ROOT / "docs" / "results.json", ROOT / "docs" / "results.md"
HEADLINE = {"accuracy": "accuracy", "auc_macro": "macro AUC", "average_precision": "macro AP", "loss": "log loss", "ece": "ECE"}
PUBLISHED: dict[str, dict[str, Any]] = {
    "model-i": {"accuracy": 0.9673, "auc_macro": 0.9955, "by": "CoAtNet-nano, pretrained; 150x150, 30,000 images a class"},
    "model-ii": {"accuracy": 0.99987, "by": "EfficientFormer-L3; 14,998 of 15,000"},
    "model-iii": {"accuracy": 0.99993, "by": "CoaT-lite-small; 14,999 of 15,000"},
    "common-test": {"accuracy": 0.9712, "auc_macro": 0.9975, "by": "HybridFNO 14M, 8x test-time augmentation"},
}
INTRODUCTION = (
    "Made by `make results` from `docs/results.json`; nothing is typed by hand. Brackets are 95% bootstrap intervals of the test",
    "images; one seed each. `public-model-*` are files of the public DeepLenseSim scripts, `official-common-test` official images",
    "of that data set: neither made by darklens, and never trained on.",
)
TITLES = {
    "model-i": "Model I (noise drawn twice, as published)",
    "model-ii": "Model II (noise-free, as published)",
    "model-iii": "Model III (noise-free, as published)",
    "model-ii-noisy": "Model II scenes with noise",
    "model-iii-noisy": "Model III scenes with noise",
    "common-test": "Common test (no / sphere / vort)",
    "binary": "Substructure or none",
}


def rows_of(run: Run) -> list[dict[str, Any]]:
    """Return the rows of a run: its own test split, then its evaluations on other data."""
    block = "binary" if run.model["single_logit"] else (run.data or {}).get("preset") or "other"
    return [_row(run, run, block, "own test split")] + [_row(run, e, block, e.name) for e in run.evaluations if e.metrics]


def _row(run: Run, place: Evaluation, block: str, data: str) -> dict[str, Any]:
    made, metrics = run.provenance or {}, place.metrics or {}
    kept = {key: metrics[key] for key in (*HEADLINE, "auc") if key in metrics}
    rates = [row["images_per_s"] for row in run.history]
    return {
        "block": block,
        "model": run.model["name"],
        "recipe": run.recipe["name"],
        "data": data,
        "metrics": kept,
        "published": PUBLISHED.get(block),
        "parameters": made.get("parameters"),
        "images_per_s": {
            "train": round(sum(rates) / len(rates), 1) if rates else None,
            "predict": made.get("predict_images_per_s"),
        },
        "seeds": 1,
        "seed": made.get("seed"),
        "training_images": run.data["splits"]["train"]["rows"] if run.data else None,
        "budget": f"{made['training_seconds'] / 60:.0f} min" if "training_seconds" in made else None,
        "command": made.get("command"),
        "commit": made.get("commit"),
        "machine": _machine(made.get("machine") or {}),
        "date": made.get("date"),
    }


def _machine(machine: dict[str, Any]) -> str:
    return f"{machine.get('processor')}, {machine.get('cores')} cores, {machine.get('accelerator') or 'no GPU'}"


def merge(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return all rows, newer ones in place of older ones of the same block, recipe, model and data, in a fixed order."""
    keyed = {(r["block"], r["recipe"], r["model"], r["data"]): r for r in [*old, *new]}
    order = list(TITLES)
    return sorted(
        keyed.values(), key=lambda r: (order.index(r["block"]) if r["block"] in order else 99, r["recipe"], r["model"], r["data"])
    )


def page(rows: list[dict[str, Any]]) -> str:
    """Return the Markdown page."""
    lines = ["# Results", "", *INTRODUCTION, ""]
    for block in dict.fromkeys(row["block"] for row in rows):
        members = [row for row in rows if row["block"] == block]
        lines += [f"## {TITLES.get(block, block)}", ""]
        lines += [
            "| recipe, model | tested on | n | " + " | ".join(HEADLINE.values()) + " | trained on | time |",
            "|---" * (5 + len(HEADLINE)) + "|",
        ]
        for row in members:
            cells = [_number(row["metrics"].get(key)) for key in HEADLINE]
            n = row["metrics"]["accuracy"]["n"]
            lines.append(
                f"| {row['recipe']}, {row['model']} | {row['data']} | {n:,} | "
                + " | ".join(cells)
                + f" | {row['training_images']:,} | {row['budget']} |"
            )
        published = members[0]["published"]
        if published:
            known = ", ".join(f"{HEADLINE[k]} {v}" for k, v in published.items() if k in HEADLINE)
            lines += ["", f"Best published: {known} ({published['by']})."]
        lines += [
            "",
            *[f"- `{c}` ({m}, commit {str(h)[:10]}, {str(d)[:10]})" for c, m, h, d in dict.fromkeys(_origin(r) for r in members)],
            "",
        ]
    return "\n".join(lines)


def _origin(row: dict[str, Any]) -> tuple[str, str, str, str]:
    return row["command"], row["machine"], row["commit"], row["date"]


def _number(number: dict[str, Any] | None) -> str:
    if not number or number["value"] is None:
        return "-"
    return f"{number['value']:.4f} [{number['low']:.4f}, {number['high']:.4f}]"


def main(arguments: list[str]) -> int:
    """Collect the rows and write both files."""
    folders = [Path(a) for a in arguments] or sorted(p.parent for p in (ROOT / "runs").rglob(RECIPE))
    runs = [Run.open(folder) for folder in folders]
    new = [row for run in runs if run.complete and not run.recipe.get("tiny") for row in rows_of(run)]
    rows = merge(json.loads(DATA.read_text()) if DATA.is_file() else [], new)
    write_json(DATA, rows)
    write_atomic(PAGE, page(rows))
    print(f"{len(new)} rows from {len(runs)} runs, {len(rows)} rows in {DATA.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
