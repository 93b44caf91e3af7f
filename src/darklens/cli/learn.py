"""Commands that teach networks and ask them: demo, train, evaluate, predict, compare, report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from darklens.cli.application import app
from darklens.cli.shared import (
    Asked,
    Device,
    Force,
    Group,
    Json,
    Runs,
    Settings,
    asking,
    interrupted,
    mapping,
    show_comparison,
    show_metrics,
    show_seeds,
)
from darklens.errors import InputError

if TYPE_CHECKING:
    from darklens.runs import Run


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where to put it.")] = Path("runs/demo"),
    tiny: Annotated[bool, typer.Option("--tiny", help="A minute's version, to see that everything works.")] = False,
    as_json: Json = False,
) -> None:
    """Do the main job from start to finish: simulate, fit, train networks, evaluate them, write a report."""
    from darklens import api, console

    with console.progress_bar() as progress:
        runs, page = api.demo(out, tiny=tiny, log=console.say, progress=progress)
    if page is None:
        interrupted()
    folders = list(dict.fromkeys(run.path.parent for run in runs))
    compared = {str(folder): api.compare([run for run in runs if run.path.parent == folder]) for folder in folders}
    if as_json:
        console.show_json(compared)
    for content in () if as_json else compared.values():
        show_comparison(content, as_json)
    console.say(f"runs: {', '.join(str(run.path) for run in runs)}\nreport: {page}")


@app.command()
def train(
    recipe: Annotated[str | None, typer.Argument(help="Name of a recipe, or a YAML file.")] = None,
    data: Annotated[Path | None, typer.Option(help="Train on this instead of the recipe's data.")] = None,
    set_: Settings = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/NAME by default.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue this run.")] = None,
    seeds: Annotated[str | None, typer.Option(help="How many seeds (5), or which (3,7,11): mean and spread.")] = None,
    budget: Annotated[str | None, typer.Option(help="Time for a training, 90s, 30m or 2h: cuts epochs and schedule.")] = None,
    device: Device = "auto",
    devices: Annotated[str, typer.Option(help="Devices of each machine that share every batch: a number, or auto.")] = "1",
    nodes: Annotated[int, typer.Option(help="Machines, inside a SLURM job.")] = 1,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train what a recipe says, calibrate it, and look at the test set once."""
    from darklens import api, console
    from darklens.train.distributed import leads

    if (recipe is None) == (resume is None):
        raise InputError("train needs either a recipe or --resume RUN: darklens list names the recipes")
    if resume and seeds:
        raise InputError("--seeds and --resume exclude each other: repeat the command with --seeds, and what is finished is kept")
    with console.progress_bar() as progress:
        found: api.TrainedRun | list[api.TrainedRun]
        if recipe is not None:
            found = api.train(
                recipe, data=data, out=out, set=set_ or [], seeds=seeds, budget=budget, device=device, devices=devices,
                nodes=nodes, force=force, log=console.say, progress=progress,
            )  # fmt: skip
        elif resume is not None:
            found = api.resume(
                resume, budget=budget, device=device, devices=devices, nodes=nodes, log=console.say, progress=progress
            )
    runs = [found] if isinstance(found, api.TrainedRun) else found
    if not leads():
        return
    if seeds:
        show_seeds(runs, as_json)
    if not all(run.complete for run in runs):
        interrupted()
    if not seeds:
        show_metrics({str(run.path): _metrics_of(run) for run in runs}, as_json)


@app.command()
@asking
def evaluate(
    runs: Runs,
    asked: Asked,
    data: Annotated[Path | None, typer.Option(help="Labelled images; without it, the run's own test figures.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the evaluation.")] = None,
    split: Annotated[str | None, typer.Option(help="Only this split of the data.")] = None,
    group: Group = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the results; RUN/evaluations/NAME by default.")] = None,
    as_json: Json = False,
) -> None:
    """Metrics with 95% intervals and figures, on the run's test split or on other data.

    Results of a shipped run, or of an ensemble, go to evaluations/ where you stand.
    """
    from darklens import api, console

    opened = [api.open_run(run) for run in runs]
    if data is None:
        return _own_metrics(opened, asked.changed or out is not None, as_json)
    skipped: list[str] = []
    metrics = api.evaluate(
        opened,
        data,
        name=name,
        split=split,
        group=mapping(group),
        device=asked.device,
        out=out,
        calibrate=asked.calibrate,
        **asked.reading,
        **asked.answering,
        on_skip=lambda what, why: skipped.append(f"skipped {what}: {why}"),
    )
    for line in skipped:
        console.say(line)
    return show_metrics({f"{' + '.join(map(str, runs))} on {data}": metrics}, as_json)


def _own_metrics(runs: Sequence[Run], changed: bool, as_json: bool) -> None:
    """Show what runs reached on their own test split."""
    if changed:
        asked = "--symmetries, --coverage, --calibrate, --prevalence, --threshold and --out"
        raise InputError(f"{asked} need --data: without it, the figures of the finished run are shown")
    show_metrics({str(run): _metrics_of(run) for run in runs}, as_json)


def _metrics_of(run: Run) -> dict:
    """Return what a run reached on its own test split.

    Raises:
        InputError: it is not finished.
    """
    if (metrics := run.metrics) is None:
        raise InputError(f"{run} is not finished and has no metrics: continue it with darklens train --resume {run}")
    return metrics


@app.command()
@asking
def predict(
    runs: Runs,
    path: Annotated[str, typer.Argument(help="An image, a folder, a table; for a survey also a URL.")],
    asked: Asked,
    out: Annotated[str | None, typer.Option(help="FILE.csv or FILE.parquet; a folder for a survey; stdout by default.")] = None,
    ray: Annotated[str | None, typer.Option(help="Share a survey on a Ray cluster: local, auto, or HOST:PORT.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that score a survey.")] = None,
    keep: Annotated[str | None, typer.Option(help="Columns to carry into the scores of a survey: z,mag.")] = None,
    images_per_part: Annotated[int | None, typer.Option(help="Images of a part of a survey; 4,096.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Calibrated class probabilities of every readable image, with its name; prediction sets; a flag on unusual images.

    With a folder or a URL as --out, a survey: scores in parts, once each whatever is killed; the same command continues.
    """
    from darklens import api, console
    from darklens.cli.survey import is_survey, score_survey
    from darklens.train.prediction_file import predict_path

    survey = {"ray": ray, "workers": workers, "keep": keep, "images_per_part": images_per_part}
    folder = out if is_survey(out, survey) else None
    here = "cpu" if ray else asked.device  # the networks go to the devices of the cluster
    judge = api.ensemble(runs, device=here, **asked.answering)
    if asked.calibrate:
        judge = api.calibrated(judge, path, **asked.reading, log=console.say)
    if folder is not None:
        return score_survey(
            judge, path, folder, keep=keep, ray=ray, workers=workers, images_per_part=images_per_part, **asked.reading,
            device=asked.device, force=force, as_json=as_json,
        )  # fmt: skip
    file = None if out is None else Path(out)
    content = predict_path(judge, Path(path), file, **asked.reading, force=force, collect=as_json)
    for what, why in content["skipped"]:
        console.say(f"skipped {what}: {why}")
    for line in content["noticed"]:
        console.say(line)
    if unusual := content["unusual"]:
        flagged = round(unusual["value"] * unusual["n"])
        console.say(f"{flagged} of {unusual['n']} images look unlike the training data (1 in 100 would by chance)")
    if as_json:
        console.show_json(content)
    elif out is not None:
        called = ", ".join(f"{n} {name}" for name, n in content["called"].items() if n)
        images = "1 image" if content["images"] == 1 else f"{content['images']} images"
        console.say(f"{images} (called {called}), {len(content['skipped'])} skipped: {out}")
    return None


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two or more run folders.")],
    on: Annotated[str | None, typer.Option(help="Evaluation on other data, by name.")] = None,
    out: Annotated[Path | None, typer.Option(help="HTML file: a page about all of them instead, of any tasks.")] = None,
    title: Annotated[str | None, typer.Option(help="Title of the page.")] = None,
    as_json: Json = False,
) -> None:
    """Runs side by side, with paired differences on the same images."""
    from darklens import api, console

    if out is None:
        return show_comparison(api.compare(runs, on=on), as_json)
    if on is not None or as_json:
        raise InputError("--out writes the page of the runs' own test figures: leave --on and --json out")
    return console.say(f"comparison: {api.comparison_page(runs, out, title=title)}")


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Annotated[Path, typer.Option(help="HTML file.")] = Path("report.html"),
    title: Annotated[str | None, typer.Option(help="Title of the page.")] = None,
    mistakes: Annotated[int, typer.Option(help="Wrong answers of each classifier that can be opened; 0 for none.")] = 8,
) -> None:
    """Write one self-contained HTML page about runs."""
    from darklens import api, console

    console.say(f"report: {api.report(runs, out, title=title, mistakes=mistakes)}")
