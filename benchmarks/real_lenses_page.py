"""The page on what networks trained on injected arcs find in real images, from its figures alone."""

from __future__ import annotations

from typing import Any

from benchmarks.cross_survey_page import written
from darklens.evaluate.proportion import proportion

TITLES = {"des": "DES", "panstarrs": "Pan-STARRS", "euclid-vis": "Euclid VIS"}
LEARNED = {
    "des": "arcs painted on {galaxies} real galaxies of DES, {rows:,} images of {pixels} pixels",
    "panstarrs": "arcs painted on the {galaxies} galaxies of DES after these were made to look like Pan-STARRS, {rows:,} images of "
    "{pixels} pixels",
    "euclid-vis": "the simulated sky of `lens-finding` recorded by VIS, {rows:,} images of {pixels} pixels: no real galaxy",
}
SCORED = {
    "des": "The lens of Euclid Q1 in its DES bands",
    "panstarrs": "13 known systems",
    "euclid-vis": "The lens of Euclid Q1 in VIS",
}


def page(content: dict[str, Any]) -> str:
    """Return Markdown for what `benchmarks.real_lenses` found."""
    effort, share = content["effort"], content["found"]
    lines = [
        "# Real lenses, scored by networks that learned from painted ones",
        "",
        "    python -m benchmarks.real_lenses",
        "",
        f"Made from `real-lenses.json`, commit `{content['commit'][:7]}`. A `p4m-resnet` of 0.04 M parameters for each of "
        f"{effort['folds']} folds of galaxies, {effort['epochs']} epochs ({effort['simulated_epochs']} on the simulated sky of "
        "VIS). A non-lens is scored by the network that has not seen its galaxy, a real system by all; the two are compared "
        "by what that network says of both. "
        f"**Found** means: at most {share:.0%} of the non-lenses score as high. Probabilities hold for a set with as many lenses "
        "as others; a rank needs no prior.",
        "",
        "| instrument | learned from | AUC, galaxies not seen "
        f"| painted arcs above all but {share:.0%} of non-lenses | non-lenses above 1/2 | real systems found |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in content["instruments"].items():
        lines.append(f"| {TITLES[name]} | {LEARNED[name].format(**found)} | {' | '.join(_summary(found))} |")
    for name, found in content["instruments"].items():
        lines += ["", f"## {TITLES[name]}", "", *_systems(name, found)]
    return "\n".join([*lines, "", *_limits(content), ""])


def _summary(found: dict[str, Any]) -> list[str]:
    held, systems = found["held_out"], found["systems"]
    hits = proportion(sum(row["found"] for row in systems), len(systems))
    above = f"{held['non_lenses_above_half']} of {held['non_lenses']}"
    real = f"{sum(row['found'] for row in systems)} of {len(systems)} [{hits['low']:.0%}, {hits['high']:.0%}]"
    return [written(held["auc"]), f"{held['arcs_found']:.0%} of {held['arcs']}", above, real]


def _systems(name: str, found: dict[str, Any]) -> list[str]:
    lines = [
        f"{SCORED[name]}, most probable first. Rank 1 means that no non-lens scores as high; of VIS each counts once a network.",
        "",
        "| system | probability | least and largest of the networks | rank among the non-lenses | found |",
        "|---|---|---|---|---|",
    ]
    for row in sorted(found["systems"], key=lambda row: -row["probability"]):
        between = f"{row['low']:.2f} to {row['high']:.2f}"
        rank = f"{row['rank']} of {row['non_lenses'] + 1}"
        lines.append(f"| {row['name']} | {row['probability']:.2f} | {between} | {rank} | {'yes' if row['found'] else 'no'} |")
    if found.get("others"):
        scores = found["others"]
        above = sum(score > 0.5 for score in scores)
        lines += [
            "",
            f"Other objects in the same images, which really are of this instrument: {above} of {len(scores)} score above 1/2, the "
            f"highest {scores[0]:.2f}. Some are members of a cluster that lenses; none is a known lens.",
        ]
    return lines


def _limits(content: dict[str, Any]) -> list[str]:
    """Return what was found in a sentence of its own each, and what it does not say."""
    verdicts = []
    for name, found in content["instruments"].items():
        systems = found["systems"]
        hits = sum(row["found"] for row in systems)
        by_chance = content["found"] * len(systems)
        verdicts.append(
            f"- **{TITLES[name]}**: {hits} of {len(systems)} found; a network that knows nothing finds {by_chance:.1f} on average."
        )
    return [
        "## What it says, and what not",
        "",
        *verdicts,
        "- 46 galaxies are few, and all are of one kind: red, in the middle, seen by one survey. Among them are no spirals, rings "
        "and mergers, which are what a lens finder confuses with lenses; in a survey, candidates would be less pure than here.",
        "- The non-lenses of Pan-STARRS are galaxies of DES made to look like it: part of what a network tells apart may be that.",
        "- Einstein radii of painted lenses are 0.8 to 3 arcsec with arcs of S/N 20 or more. In most of the 13 Pan-STARRS "
        "systems nothing of the kind is resolved; some are clusters with wider arcs, some have no visible lens in these bands. A "
        "network for painted arcs has no reason to find these.",
        "- One lens of Euclid is one lens: its row is an anecdote. VIS networks have never seen a real image.",
        "- The real systems were in nobody's training, and no setting was chosen by them. There is no held-out survey.",
    ]
