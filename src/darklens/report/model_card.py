"""The card of a trained model (Mitchell et al. 2019, arXiv:1810.03993): every sentence comes from the run's own files."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping
from typing import Any

from darklens.evaluate.proportion import proportion
from darklens.evaluate.wording import format_interval
from darklens.files import read_json
from darklens.models import summaries
from darklens.report.card import Card, Grid, Section, command, cosmology, counts, instrument, number, plain, question, said, size
from darklens.report.page import HEADLINE, NOT_RECORDED
from darklens.runs import RECIPE, SEEDS, Evaluation, Run

PER_CLASS = {
    "auc": "AUC",
    "average_precision_per_class": "average precision",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
}
SEEN = {
    "image": "the recorded image",
    "residual": "what a smooth-lens fit leaves of the image, in units of the noise",
    "both": "the recorded image, and what a smooth-lens fit leaves of it in units of the noise",
    "evidence": "what a smooth-lens fit says for and against substructure, as maps (residual, matched filters, sensitivity, model)",
}
"""Input of a network -> what that is."""
ELSEWHERE = ("accuracy", "auc_macro", "loss", "ece")
"""Headline metrics of evaluations on other data."""
HUB_METRICS = {"accuracy": "accuracy", "auc_macro": "roc_auc", "f1_macro": "f1", "loss": "loss", "ece": "ece"}
"""Headline metrics and the names that model hubs have for them."""
TAGS = ("astronomy", "gravitational-lensing", "dark-matter", "substructure")
WIDE = 0.02
"""Half-width of the interval of an accuracy from which on a test set is called small."""


def model_card(run: Run, called: str | None = None) -> Card:
    """Return the card of a run.

    Args:
        run: with a `model.json`; what is not there yet is said to be not recorded.
        called: how its folder is named in commands; its path, or the name that it is shipped under, by default.

    Raises:
        InputError: the training has not begun.
    """
    model = run.model
    name = run.name if run.shipped else str(run.recipe.get("name") or run.name)
    called = called or str(run)
    summary = (
        run.recipe.get("summary") or f"{model['name']}: which of {', '.join(model['classes'])} an image of a strong lens shows"
    )
    sections = (
        *(_details(run), _use(run, called), _data(run), _training(run, called), _figures(run)),
        *(_elsewhere(run), _trust(run), Section("Limits", (question("What limits it?", tuple(_limits(run))),))),
    )
    return Card(f"Model card: {name}", summary, sections, _front(run, name))


def _details(run: Run) -> Section:
    model, made = run.model, run.provenance or {}
    machine = made.get("machine") or {}
    package = importlib.metadata.metadata("darklens")
    about = f"A classifier of images of strong gravitational lenses into {', '.join(model['classes'])}"
    versions = ", ".join(f"{name} {version}" for name, version in (made.get("versions") or {}).items())
    computer = ", ".join(
        filter(None, (machine.get("processor"), said("{} cores", machine.get("cores")), machine.get("accelerator")))
    )
    options = ", ".join(f"{k} {plain(v)}" for k, v in (model.get("options") or {}).items() if not isinstance(v, dict))
    cite = f"Cite {package['Name']} {package['Version']} ({package['Author']}): {package['Summary']}."
    return Section(
        "Model",
        (
            question("What is it?", f"{about}. It sees {_seen(model)}, and gives calibrated probabilities."),
            question(
                "Which architecture?",
                ": ".join(filter(None, (model["name"], summaries().get(model["name"])))),
                said("Options: {}.", options),
                said("{} parameters.", made.get("parameters") and number(made["parameters"])),
            ),
            question("Who made it?", made.get("author")),
            question("What made it, and when?", made.get("command") and command(made["command"]), made.get("date")),
            question("With which code?", versions, said("commit {}", made.get("commit"))),
            question("On which machine?", computer),
            question("Under which licence, and how is it cited?", f"{package['License-Expression']}. {cite}"),
        ),
    )


def _use(run: Run, called: str) -> Section:
    model, data = run.model, run.data or {}
    shown = f"{size(model['shape'], model.get('pixel_scale'))}; unit of a pixel: {model.get('flux_unit') or NOT_RECORDED}"
    purpose = (
        "Research on dark-matter substructure, with images that show one strong lens in the middle of the field and were recorded"
    )
    never = (
        f"Images recorded otherwise than these: {shown}. Other sizes are refused, or resampled only where that is asked for.",
        "Images without a lens: every image gets a class, and no class is that of images without one.",
        f"Kinds of substructure that were not in training: they are called one of {', '.join(model['classes'])} all the same.",
    )
    real = ("Claims about a real lens without further evidence: no real image was in training.",) if data.get("preset") else ()
    return Section(
        "Use",
        (
            question("What is it for?", f"{purpose} as those of its training.", command(f"darklens predict {called} PATH")),
            question("What is it not for?", never + real),
        ),
    )


def _data(run: Run) -> Section:
    data = run.data or {}
    splits = {name: split["counts"] for name, split in (data.get("splits") or {}).items()}
    fresh = "New training images were drawn every epoch: their number is that of one." if data.get("fresh") else None
    again = [command(line) for line in (data.get("how_to_repeat") or "").split("; ") if line]
    return Section(
        "Training data",
        (
            question("What do the images show?", data.get("summary")),
            question("Where do they come from?", data.get("source")),
            question("How many are there of each class?", counts(splits, run.model["classes"]) if splits else None, fresh),
            question("How large are they?", size(data.get("shape"), data.get("pixel_scale"))),
            question("What is the unit of a pixel?", data.get("flux_unit")),
            question("What instrument saw them?", instrument(data.get("instrument"))),
            question("In what cosmology?", cosmology(data.get("cosmology"))),
            question("Do the splits share images?", data.get("disjoint")),
            question("What is known to be wrong with them?", data.get("notes")),
            question("How can they be made again?", *again),
        ),
    )


def _training(run: Run, called: str) -> Section:
    model, made, settings = run.model, run.provenance or {}, run.recipe.get("train") or {}
    seconds, best = made.get("training_seconds"), said(" (best: {})", made.get("best_epoch"))
    lasted = (
        said("{} epochs", made.get("epochs")) and f"{made['epochs']} epochs{best or ''}",
        seconds and f"{seconds:,.0f} s on {made.get('device', NOT_RECORDED)} in {made.get('precision', NOT_RECORDED)}",
        said("{} images/s in the last epoch", run.history and number(run.history[-1].get("images_per_s"))),
    )
    repeat = f"darklens train {run.recipe.get('name')} --out RUN" if run.shipped else f"darklens train {called}/{RECIPE} --out RUN"
    return Section(
        "Training",
        (
            question("What does the network see?", _preprocessing(model)),
            question("How are smooth lenses fitted?", _fit(model["fit"]) if model.get("fit") else "They are not."),
            question("With which settings?", ", ".join(f"{key} {plain(value)}" for key, value in settings.items())),
            question("For how long?", ", ".join(filter(None, lasted))),
            question("From which seed?", None if made.get("seed") is None else str(made["seed"]), _seeds(run)),
            question("How can it be repeated?", command(repeat)),
        ),
    )


def _seen(model: Mapping[str, Any]) -> str:
    columns = model.get("columns") or {}
    known = ", ".join(f"{name} ({scale['mean']:.4g} ± {scale['std']:.2g} in training)" for name, scale in columns.items())
    return SEEN[model["preprocess"]["input"]] + (f", and beside it numbers of a table: {known}" if known else "")


def _preprocessing(model: Mapping[str, Any]) -> str:
    settings, sees = model["preprocess"], _seen(model)
    steps = [sees[0].upper() + sees[1:]]
    steps += [f"of it the central {settings['crop']} × {settings['crop']} pixels"] if settings.get("crop") else []
    steps += [f"in blocks of {settings['bin']} × {settings['bin']}"] if settings.get("bin", 1) > 1 else []
    if settings["input"] in ("residual", "both"):
        steps += [f"residuals held within ±{settings['limit']:g}"]
    if settings["input"] in ("image", "both"):
        steps += [f"{settings['stretch']} stretch", f"normalised: {settings['normalise']}"]
        steps += [f"a blur of {settings['detail']:g} pixels subtracted"] if settings.get("detail") else []
    steps += ["answers averaged over the symmetries of the square"] if model.get("symmetries") else []
    return "; ".join(steps) + "."


def _fit(fit: Mapping[str, Any]) -> str:
    def words(key: str) -> str:
        return ", ".join(f"{name} {plain(value)}".removeprefix("kind ") for name, value in (fit.get(key) or {}).items())

    parts = [str(fit.get("model")), *(f"{key} {words(key)}" for key in ("psf", "noise", "fixed", "effort") if fit.get(key))]
    return "; ".join([*parts, f"settings from {fit.get('origin') or NOT_RECORDED}"]).replace("; psf ", "; PSF ") + "."


def _seeds(run: Run) -> str | None:
    """Say what runs of other seeds reached, where this is one of several."""
    path = run.path.parent / SEEDS
    found = (read_json(path).get("metrics") or {}).get("accuracy") if path.is_file() else None
    if not found or not found.get("sd"):
        return None
    spread = f"accuracy {found['mean']:.4f} ± {found['sd']:.4f} (mean and deviation), {found['min']:.4f} to {found['max']:.4f}"
    return f"One of {found['n']} seeds: {spread}."


def _figures(run: Run) -> Section:
    metrics, made = run.metrics or {}, run.provenance or {}
    names = metrics.get("classes") or []
    headline = tuple((label, _figure(metrics, key)) for key, label in HEADLINE.items() if metrics)
    per_class = tuple((name, *(format_interval((metrics.get(key) or {}).get(name)) for key in PER_CLASS)) for name in names)
    confusion = tuple((name, *map(str, row)) for name, row in zip(names, metrics.get("confusion_matrix") or [], strict=False))
    interval = f"{metrics.get('level', 0.95):.0%} intervals, n = {metrics['n']:,} images." if metrics else None
    return Section(
        "Figures on the test split",
        (
            question(
                "What does it reach on images that it has not seen?",
                Grid(("figure", "value and interval"), headline),
                interval,
                tuple(metrics.get("notes") or ()),
            ),
            question("And for each class?", Grid(("class", *PER_CLASS.values()), per_class)),
            question("What does it take for what?", Grid(("true class", *(f"called {name}" for name in names)), confusion)),
            question("How fast does it answer?", said("{} images/s, without the smooth fits.", made.get("predict_images_per_s"))),
        ),
    )


def _figure(metrics: Mapping[str, Any], key: str) -> str:
    """Return a headline metric with its interval, for an accuracy without spread the exact one (Clopper & Pearson)."""
    found = metrics.get(key)
    if key == "accuracy" and found and found.get("value") is not None and found.get("low") == found.get("high"):
        return f"{format_interval(proportion(round(found['value'] * found['n']), found['n']))} (exact)"
    return format_interval(found)


def _elsewhere(run: Run) -> Section:
    rows = tuple(
        (
            *(e.name, str((e.data or {}).get("source") or NOT_RECORDED), number(e.metrics["n"])),
            *(_figure(e.metrics, key) for key in ELSEWHERE),
        )
        for e in run.evaluations
        if e.metrics
    )
    grid = Grid(("evaluation", "images", "n", *(HEADLINE[key] for key in ELSEWHERE)), rows)
    return Section("Figures on other data", (question("What does it reach on images of another origin?", grid),))


def _trust(run: Run) -> Section:
    fitted, metrics, novelty = run.calibration or {}, run.metrics or {}, run.novelty or {}
    before, after = (format_interval(fitted.get(key)) for key in ("ece_before", "ece_after"))
    scaled, flagging = None, None
    if fitted:
        scaled = f"Temperature {fitted['temperature']:.3f}, fitted on {fitted['n']:,} {fitted['fitted_on']} images."
    if novelty:
        flagging = f"By {novelty['method']}; wanted are false alarms in {novelty['rate']:.0%} of images of its own kind."
    sets = metrics.get("conformal")
    promised = (
        sets and f"{sets['asked']:.0%} asked, {format_interval(sets['coverage'])} measured, {sets['size']:.2f} classes a set."
    )
    own = metrics.get("unusual") and f"Flagged of its own test images: {format_interval(metrics['unusual'])}."
    others = [(e.name, e.metrics["unusual"]) for e in run.evaluations if e.metrics and e.metrics.get("unusual")]
    return Section(
        "Trust",
        (
            question(
                "Are the probabilities calibrated?",
                scaled,
                f"Calibration error there {before} before and {after} after." if fitted else None,
                metrics.get("ece") and f"Calibration error on the test split {format_interval(metrics['ece'])}.",
            ),
            question(
                "Do prediction sets hold the true class as often as promised?", promised, sets and f"Method: {sets['method']}."
            ),
            question(
                "Does it notice images of another kind?",
                flagging,
                own,
                Grid(("evaluation", "flagged"), tuple((name, format_interval(flagged)) for name, flagged in others)),
            ),
        ),
    )


def _limits(run: Run) -> Iterator[str]:
    """Iterate over what the run's own files say against it."""
    model, data, made = run.model, run.data or {}, run.provenance or {}
    if run.recipe.get("tiny"):
        yield "It was trained with tiny=true, to see that everything works: its figures mean nothing."
    if data.get("preset"):
        seen = (data.get("instrument") or {}).get("name") or NOT_RECORDED
        yield f"Simulated images of one preset ({data['preset']}) and one instrument ({seen}): its figures hold for such images."
    if model.get("pixel_scale"):
        yield f'One pixel scale, {model["pixel_scale"]:g}" a pixel: the network cannot tell another from it.'
    if model.get("columns"):
        names = ", ".join(model["columns"])
        yield f"What it says rests on {names} as well: numbers that were measured otherwise than those of its training mislead it."
    if model.get("fit"):
        known = "PSF and noise are taken as known when the smooth lens is fitted"
        yield f"{known}: wrong ones, or a lens outside the family, leave residuals that read as substructure."
    else:
        yield "PSF and noise of the training images are learnt with the rest: what other ones do has to be measured."
    if not any(e.metrics for e in run.evaluations):
        yield "It has not been evaluated on images of another origin."
    yield from _weak_figures(run)
    if _seeds(run) is None:
        yield "One seed: how much its figures vary from seed to seed is not recorded."
    if made.get("best_epoch") and made["best_epoch"] == made.get("epochs"):
        yield "Its best epoch was the last one: a longer training may reach more."
    if str(made.get("commit") or "").endswith("+changes"):
        yield "It was trained with code that had changes beyond its commit."
    if data.get("notes"):
        yield f"What is known to be wrong with its training images was learnt with them. {data['notes']}"


def _weak_figures(run: Run) -> Iterator[str]:
    metrics = run.metrics
    if run.novelty is None:
        yield "It does not notice images of another kind: its run kept nothing to tell them by."
    if metrics is None:
        yield "It has not been evaluated on its test split."
        return
    half = (metrics["accuracy"]["high"] - metrics["accuracy"]["low"]) / 2
    small = "A small test set" if half > WIDE else "The test set"
    yield f"{small} of {metrics['n']:,} images: accuracies within {half:.4f} of its own are not different from it."
    recall = {name: found for name, found in metrics["recall"].items() if found and found.get("value") is not None}
    worst = min(recall, key=lambda name: recall[name]["value"])
    yield f"Of the classes, it finds {worst} least often: recall {format_interval(recall[worst])}."


def _front(run: Run, name: str) -> dict[str, Any]:
    """Return what model hubs read."""
    model, data = run.model, run.data or {}
    results = [_result(run, "test", data.get("preset") or data.get("source"))] if run.metrics else []
    results += [_result(e, e.name, (e.data or {}).get("source")) for e in run.evaluations if e.metrics]
    return {
        "license": importlib.metadata.metadata("darklens")["License-Expression"].lower(),
        "library_name": "darklens",
        "pipeline_tag": "image-classification",
        "tags": [*TAGS, model["name"], *filter(None, [data.get("preset")])],
        **({"model-index": [{"name": name, "results": results}]} if results else {}),
    }


def _result(place: Evaluation, split: str, source: str | None) -> dict[str, Any]:
    metrics, images = place.metrics or {}, str(source or NOT_RECORDED)
    found = {key: metrics[key] for key in HUB_METRICS if (metrics.get(key) or {}).get("value") is not None}
    return {
        "task": {"type": "image-classification"},
        "dataset": {"name": images, "type": images, "split": split},
        "metrics": [
            {
                "type": HUB_METRICS[key],
                "value": round(value["value"], 6),
                "name": f"{HEADLINE[key]}, {_figure(metrics, key)}, n = {metrics['n']}",
            }
            for key, value in found.items()
        ],
    }
