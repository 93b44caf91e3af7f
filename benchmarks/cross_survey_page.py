"""The page on lens finders in other surveys, from its figures alone."""

from __future__ import annotations

from typing import Any

Figure = dict[str, float | None]
WORDS = {
    "as trained": "fine-tuning",
    "moments": "AdaBN, then fine-tuning",
    "adda": "ADDA, then fine-tuning",
    "self-training": "self-training, then fine-tuning",
    "scratch": "these labels alone",
}
"""Rows of the table of labels."""
METHODS = {"moments": "AdaBN", "adda": "ADDA", "self-training": "self-training"}
SINGLE = ("psf", "noise", "pixels", "colour")


def page(content: dict[str, Any]) -> str:
    """Return Markdown for what `benchmarks.cross_survey` found."""
    world, target = content["world"], content["target"].upper()
    labels = [0, *world["labels"], world["pool"]]
    lines = [
        "# A lens finder of one survey in another",
        "",
        "    python -m benchmarks.cross_survey",
        "",
        f"Made from `cross-survey.json`: seeds {content['seeds']}, difficulty {world['difficulty']:g}, commit "
        f"`{content['commit'][:7]}`. A `p4m-resnet` on images binned to half their pixels learned for {world['epochs']} epochs "
        f"from {world['train']:,} images, {world['train_positives']:.0%} of them lenses; every condition is {world['test']:,} "
        f"images of the same sky, {world['positives']:.0%} lenses. {content['about']} Small networks and short "
        "trainings: differences are the point here, not the figures themselves.",
        "",
        *_findings(content, target),
        "",
        "## What a change of survey costs",
        "",
        "| images | average precision | minus that of the source | AUC |",
        "|---|---|---|---|",
    ]
    for row in content["conditions"]:
        measured = (written(row["average_precision"]), written(row.get("difference"), sign=True), written(row["auc"]))
        lines.append(f"| **{row['name']}**: {row['what']} | {' | '.join(measured)} |")
    lines += [
        "",
        f"What is lost has two parts: {target} shows less of a lens, whoever looks, and the network does not know its images. The "
        f"last column of the next table says what the same network reaches that learned from {world['pool']:,} images of "
        f"{target} itself.",
        "",
        f"## Labels of {target} against average precision",
        "",
        "| method | " + " | ".join(f"n = {n:,}" for n in labels) + " |",
        "|---" * (len(labels) + 1) + "|",
    ]
    for row in content["adaptation"]:
        cells = {cell["labels"]: cell for cell in row["cells"]}
        shown = [written(cells[n]["average_precision"]) if n in cells else "" for n in labels]
        lines.append(f"| {WORDS[row['start']]} | {' | '.join(shown)} |")
    lines += ["", f"Minus the network as it stands, on the same images of {target}:", ""]
    lines += ["| method | " + " | ".join(f"n = {n:,}" for n in labels) + " |", "|---" * (len(labels) + 1) + "|"]
    for row in content["adaptation"]:
        cells = {cell["labels"]: cell for cell in row["cells"]}
        shown = [written(cells[n].get("difference"), sign=True) if n in cells else "" for n in labels]
        lines.append(f"| {WORDS[row['start']]} | {' | '.join(shown)} |")
    lines += ["", *_limits(content, target), ""]
    return "\n".join(lines)


def written(figure: Figure | None, *, sign: bool = False) -> str:
    """Return value and interval, `.731 [.702, .760]`; nothing where there is no figure, no brackets where there is one seed."""
    if figure is None:
        return ""

    def number(value: float) -> str:
        return f"{value:{'+' if sign else ''}.3f}".replace("0.", ".", 1)

    if figure["low"] is None:
        return number(figure["value"])
    return f"{number(figure['value'])} [{number(figure['low'])}, {number(figure['high'])}]"


def _findings(content: dict[str, Any], target: str) -> list[str]:
    """Return what the tables say, in sentences."""
    singles = sorted((row for row in content["conditions"] if row["name"] in SINGLE), key=lambda row: row["difference"]["value"])
    costs = ", ".join(f"{row['name']} {written(row['difference'], sign=True)}" for row in singles)
    cells = {row["start"]: {c["labels"]: c for c in row["cells"]} for row in content["adaptation"]}
    means = {start: {n: c["average_precision"]["value"] for n, c in row.items()} for start, row in cells.items()}
    without = {start: values[0] for start, values in means.items() if 0 in values and start != "as trained"}
    best = max(without, key=without.get)
    whole = content["world"]["pool"]
    enough = [n for n, value in means["as trained"].items() if n and value > without[best]]
    ahead = [n for n, value in means["as trained"].items() if n and value > means["scratch"][n]]
    return [
        f"- Single changes, the dearest first, in average precision: {costs}.",
        f"- Without a label of {target}, {METHODS[best]} does best: {written(cells[best][0]['average_precision'])}, "
        f"{written(cells[best][0]['difference'], sign=True)}. Fine-tuning is above that at n = "
        + (", ".join(f"{n:,}" for n in enough) or "none")
        + ".",
        "- Going on from the source beats learning from the same labels alone at n = "
        + (", ".join(f"{n:,}" for n in ahead) or "none")
        + f"; {whole:,} labels alone reach {written(cells['scratch'][whole]['average_precision'])}.",
    ]


def _limits(content: dict[str, Any], target: str) -> list[str]:
    """Return how it was done, and what it does not say."""
    settings, world = content["settings"], content["world"]
    adda, rounds, tuned = settings["adda"], settings["self-training"], settings["fine-tuning"]
    return [
        "## How, and what it does not say",
        "",
        f"- Without labels: AdaBN measures the batch normalisation again; ADDA, epochs {adda['epochs']}, on "
        f"{world['pool']:,} images of {target}, rate {adda['lr']:g}; self-training, rounds {rounds['rounds']}, epochs "
        f"{rounds['epochs']}, answers of probability {rounds['confidence']:g} or more (`darklens adapt`). No setting was searched.",
        f"- With labels: n images drawn at random from the pool, lenses as rare as there, up to {tuned['repeats']} times each "
        f"beside {tuned['replay']} of the source, epochs {tuned['epochs']}, rate {tuned['lr']:g}; no label chooses an epoch.",
        "- Intervals over few seeds are wide: with three, Student's t puts 4.3 standard errors to either side.",
        "- The population of lenses and galaxies is the same everywhere: what is shown is the telescope, not another sky, and "
        "not real data. Seeing varies by a fifth in every survey, depth by a quarter; PSFs are round, noise is Gaussian, and read "
        "noise counts as sky.",
        "- Bands scaled by their own extremes know no zero points: `colour` is a change of filters, not of calibration.",
        "- Euclid has no row: its VIS has one band, and a network for g, r, i does not take that.",
    ]
