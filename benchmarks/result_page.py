"""The page `docs/results.md`, made of rows; every figure and every sentence comes from their numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from benchmarks.published import BEST, compared
from benchmarks.result_rows import HEADLINE, LIMIT, OWN, SEARCHES, TITLES, called
from benchmarks.search_table import leader, lines_of
from benchmarks.task_rows import COLUMNS, task_lines, task_verdict
from darklens.evaluate import format_difference, format_interval

Row = dict[str, Any]
INTRODUCTION = """# Results

Made by `make results` from [results.json](results.json); nothing is typed by hand. Brackets are 95% intervals: bootstrap over the
test images. Where a recipe was trained with several seeds, the figures with brackets are those of its first seed, and mean and
standard deviation over all seeds stand beside them. *Published* figures have the interval that the size of their test set implies;
theirs and ours "agree" where the two intervals meet. Differences are paired: the same images, the same resamples. `public-model-*`
are files of the public DeepLenseSim scripts, `official-common-test` official images of that data set: neither made by darklens, and
never trained on.
"""
NONE = "–"
ARROWS = "Arrows: better or worse than the undisturbed images, or than without the adaptation, by a paired interval without zero."
PICTURES = {
    "learning-curve": "![Errors against the number of training images](learning-curve.png)",
    "few-labels": "![Accuracy against the number of labels](label-efficiency.png)",
}
MATRICES = {"accuracy": "Accuracy", "auc_macro": "Macro AUC", "flagged": "Fraction flagged as unusual"}
SCORES = {key: HEADLINE[key] for key in ("accuracy", "auc_macro", "loss", "ece")}


def page(rows: list[Row]) -> str:
    """Return the Markdown page."""
    blocks: dict[str, list[Row]] = {}
    for row in rows:
        blocks.setdefault(row["block"], []).append(row)
    parts = [INTRODUCTION]
    for block, members in blocks.items():
        parts += [
            f"## {TITLES.get(block, block)}",
            PICTURES.get(block, ""),
            *_parts(block, members),
        ]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _parts(block: str, rows: list[Row]) -> list[str]:
    """Return the parts of a block: conditions by models, the table of a task, or classifiers."""
    if _is_matrix(rows):
        return matrix(rows)
    if block in COLUMNS:
        return [
            task_verdict(block, rows, name_of),
            table(*task_lines(block, rows, name_of)),
            _details("What it took", _cost([row for row in rows if row.get("epochs")])),
            _details("Where the rows come from", origins(rows)),
        ]
    return _block(block, rows)


def _block(block: str, rows: list[Row]) -> list[str]:
    limits, trained = [r for r in rows if r["model"] == LIMIT], [r for r in rows if r["model"] != LIMIT]
    return [
        verdict(block, trained, limits),
        leader(trained, name_of) if block in SEARCHES else "",
        table(*lines_of(trained, name_of)),
        _scores(trained, limits),
        _beside_published(trained),
        _details("AUC per class", _per_class(rows)),
        _details("What it took", _cost([r for r in trained if r["data"] == OWN])),
        _details("Where the rows come from", origins(rows)),
    ]


def table(header: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table, empty without lines; columns whose cells are all empty are left out."""
    cells, titles = [list(line) for line in lines], list(header)
    kept = [k for k in range(len(titles)) if k == 0 or any(line[k] != NONE for line in cells)]
    rows = ["| " + " | ".join(line[k] for k in kept) + " |" for line in (titles, *cells)]
    return "\n".join([rows[0], "|---" * len(kept) + "|", *rows[1:]]) if cells else ""


def name_of(row: Row) -> str:
    """Return what a row is called."""
    plain = row["recipe"] if row["recipe"].endswith((row["model"], f":{row['block']}")) else f"{row['recipe']}, {row['model']}"
    return plain + (f" ({row['variant']})" if row.get("variant") else "")


def _scores(trained: list[Row], limits: list[Row]) -> str:
    header = [
        "recipe, model",
        "parameters",
        "images/s: training, prediction",
        "tested on",
        "n",
        *SCORES.values(),
        "accuracy − ResNet-18",
        "AUC − ResNet-18",
        "seeds: accuracy, AUC",
        "minutes of training",
    ]
    lines = [
        [
            _marked(row),
            _millions(row.get("parameters")),
            _speed(row),
            row["data"],
            f"{row['metrics']['accuracy']['n']:,}",
            *(format_interval(row["metrics"].get(key)) for key in SCORES),
            *(_paired(row, key) for key in ("accuracy", "auc_macro")),
            _spread(row),
            _minutes(row),
        ]
        for row in sorted(trained, key=_by_score)
    ]
    for row in limits:
        scores = (format_interval(row["metrics"].get(key)) for key in SCORES)
        lines.append(["*the best that anybody could do*", NONE, NONE, row["data"], _n(row), *scores, NONE, NONE, NONE, NONE])
    return table(header, lines)


def _millions(parameters: int | None) -> str:
    return NONE if parameters is None else f"{parameters / 1e6:.2f} M"


def _speed(row: Row) -> str:
    speed = row.get("images_per_s") or {}
    return f"{_number(speed.get('train'))}, {_number(speed.get('predict'))}" if row["data"] == OWN and any(speed.values()) else NONE


def _minutes(row: Row) -> str:
    return NONE if row.get("minutes") is None or row["data"] != OWN else f"{row['minutes']:.3g}"


def _n(row: Row) -> str:
    n = next((m.get("n") for key, m in row["metrics"].items() if key in SCORES), None)
    return f"{n:,}" if n else NONE


def _by_score(row: Row) -> tuple:
    number = row["metrics"].get("auc_macro") or row["metrics"]["accuracy"]
    return row["data"] != OWN, row["data"], row.get("variant") == "leaked", -(number["value"] or 0)


def _marked(row: Row) -> str:
    return f"**LEAKED** {name_of(row)}" if row.get("variant") == "leaked" else name_of(row)


def _paired(row: Row, key: str) -> str:
    difference = (row.get("paired") or {}).get("reference")
    return format_difference(difference[key]) if difference and row["data"] == OWN else NONE


def _spread(row: Row) -> str:
    spread = row.get("spread") or {}
    numbers = [
        f"{s['mean']:.4f} ± {s['sd']:.4f}" for key in ("accuracy", "auc_macro") if (s := spread.get(key)) and s["sd"] is not None
    ]
    return f"{row['seeds']}: {', '.join(numbers)}" if numbers else NONE


def _per_class(rows: list[Row]) -> str:
    own = [row for row in rows if row["metrics"].get("auc")]
    classes = list(dict.fromkeys(name for row in own for name in row["metrics"]["auc"]))
    lines = [
        [name_of(row), row["data"], *(format_interval(row["metrics"]["auc"].get(c)) for c in classes)]
        for row in sorted(own, key=_by_score)
    ]
    return table(["recipe, model", "tested on", *classes], lines)


def _cost(rows: list[Row]) -> str:
    header = ["recipe, model", "parameters", "trained on", "epochs", "minutes", "budget"]
    return table(header, [[name_of(row), *_cost_cells(row)] for row in rows])


def _cost_cells(row: Row) -> list[str]:
    epochs = row.get("epochs") or {}
    run, asked = epochs.get("run"), epochs.get("asked")
    return [
        _number(row.get("parameters")),
        _trained_on(row),
        NONE if run is None else f"{run}" if run == asked else f"{run} of {asked}",
        NONE if row.get("minutes") is None else f"{row['minutes']:.0f}",
        str(row.get("budget") or NONE),
    ]


def _trained_on(row: Row) -> str:
    """Return the images of an epoch, and whether every epoch has its own."""
    return _number(row.get("training_images")) + (", new ones in every epoch" if row.get("fresh") else "")


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}"


def _beside_published(rows: list[Row]) -> str:
    lines, sources = [], {}
    for row in rows:
        published = row.get("published") or {}
        if row["data"] != OWN or row.get("variant") == "leaked" or "n" not in published:
            continue
        for entry in compared(row["metrics"], published):
            label = HEADLINE.get(entry["key"], entry["key"].replace("auc ", "AUC "))
            numbers = [format_interval(entry[side]) for side in ("published", "ours")]
            lines.append([name_of(row), label, *numbers, entry["verdict"], _length(row)])
        sources.setdefault(published["by"], published["n"])
    said = "\n".join(f"- {by}; {f'{n:,} test images' if n else 'test set not given'}" for by, n in sources.items())
    header = ["ours beside the published system", "figure", "published", "ours", "so", "images x epochs here"]
    return f"{table(header, lines)}\n\n{said}" if lines else ""


def _length(row: Row) -> str:
    epochs = (row.get("epochs") or {}).get("run")
    return _trained_on(row) + (f" x {epochs}" if epochs else "")


def verdict(block: str, rows: list[Row], limits: list[Row]) -> str:
    """Return the block's sentences: who is first, by how much, the best published figure, and what is left to gain."""
    own = [
        r for r in rows if r["data"] == OWN and r.get("variant") != "leaked" and (r["metrics"].get("auc_macro") or {}).get("value")
    ]
    sentences = [_leader(own)] if own else []
    sentences += [_against_leader(own)] if own else []
    if block in BEST:
        best = BEST[block]
        known = ", ".join(f"{HEADLINE[k]} {v:.4f}" for k, v in best.metrics.items() if k in HEADLINE)
        sentences.append(f"Highest published: {known} ({best.by}).")
    for bound in limits:
        sentences.append(_left_to_gain(own, bound))
    leaked = [r for r in rows if r.get("variant") == "leaked" and r["data"] == OWN]
    for row in leaked:
        reached = format_interval(row["metrics"]["auc_macro"])
        sentences.append(f"With its test images in training, {row['recipe']} scores a macro AUC of {reached}: that says nothing.")
    return " ".join(s for s in sentences if s)


def _leader(own: list[Row]) -> str:
    first = min(own, key=_by_score)
    scores = f"macro AUC {format_interval(first['metrics']['auc_macro'])}, accuracy {format_interval(first['metrics']['accuracy'])}"
    return f"First is **{name_of(first)}**: {scores} on {first['metrics']['accuracy']['n']:,} images."


def _against_leader(own: list[Row]) -> str:
    """Say which rows the best of those on the same images beats by a paired interval without zero, and which it does not."""
    found = [(row, (row.get("paired") or {}).get("best")) for row in own]
    bests = {pair["to"] for _, pair in found if pair}
    compared_with = [row for row in own if called(row["recipe"], row["model"], row.get("variant") or "") in bests]
    if not compared_with:
        return ""
    first = min(compared_with, key=_by_score)
    leader = called(first["recipe"], first["model"], first.get("variant") or "")
    pairs = [(row, pair["auc_macro"]) for row, pair in found if pair and pair["to"] == leader]
    beaten, near = [p for p in pairs if p[1]["excludes_zero"]], [p for p in pairs if not p[1]["excludes_zero"]]
    closest = max(pairs, key=lambda pair: pair[1]["value"])
    who = "it" if first is min(own, key=_by_score) else name_of(first)
    said = f"On the same images {who} beats {len(beaten)} of {len(pairs)} others by an interval that excludes zero"
    said += f"; the closest, {name_of(closest[0])}, is at {format_difference(closest[1])} of its macro AUC."
    took = [row["minutes"] for row, _ in pairs if row.get("minutes") is not None]
    if took and first.get("minutes") is not None:
        span = f"{min(took):.3g}" if len(took) == 1 else f"{min(took):.3g} to {max(took):.3g}"
        said += (
            f" {who.capitalize() if who == 'it' else who} was trained for {first['minutes']:.3g} minutes, the others for {span}:"
        )
        said += " unequal time makes an unequal contest."
    return said + (f" Not told apart: {', '.join(name_of(row) for row, _ in near)}." if near else "")


def _left_to_gain(own: list[Row], bound: Row) -> str:
    limit = bound["metrics"].get("accuracy")
    if not limit:
        return ""
    best = max((r["metrics"]["accuracy"]["value"] for r in own), default=None)
    said = f"Nobody could do better than accuracy {format_interval(limit)} ({bound.get('method') or 'estimated'})"
    return f"{said}; {limit['value'] - best:.4f} of it is left to gain." if best is not None else f"{said}."


def _is_matrix(rows: list[Row]) -> bool:
    return all(row.get("condition") for row in rows)


def matrix(rows: list[Row]) -> list[str]:
    """Return tables of condition by model, one a metric, and where the rows come from."""
    models = list(dict.fromkeys(name_of(row) for row in rows))
    conditions = list(dict.fromkeys(row["data"] for row in sorted(rows, key=lambda row: row["condition"].get("images", 0))))
    at = {(row["data"], name_of(row)): row for row in rows}
    parts = [ARROWS] if any(row.get("difference") for row in rows) else []
    for key, title in MATRICES.items():
        if any(key in row["metrics"] for row in rows):
            lines = [[c, *(_cell(at.get((c, m)), key) for m in models)] for c in conditions]
            parts.append(table([f"{title}, condition", *models], lines))
    reasons = {f"- {name_of(row)}, {row['data']}: {row['refused']}": None for row in rows if row.get("refused")}
    return [*parts, _details("What was refused", "\n".join(reasons)), _details("Where the rows come from", origins(rows))]


def _cell(row: Row | None, key: str) -> str:
    if row is None or row.get("refused"):
        return NONE if row is None else "refused"
    difference = (row.get("difference") or {}).get(key) or {}
    arrow = ("" if not difference.get("excludes_zero") else " ↑" if difference["value"] > 0 else " ↓") if difference else ""
    return format_interval(row["metrics"].get(key), 3) + arrow


def origins(rows: list[Row]) -> str:
    """Return a list of command, seed, machine, commit and date, each once."""
    said = {}
    for row in rows:
        commit = re.sub(r"^([0-9a-f]{10})[0-9a-f]*", r"\1", str(row.get("commit")))
        seed = "" if row.get("seed") is None else f"seed {row['seed']}, "
        said[f"- `{row.get('command')}` ({seed}{row.get('machine')}, commit {commit}, {str(row.get('date'))[:10]})"] = None
    return "\n".join(said)


def _details(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{content}\n\n</details>" if content else ""
