"""Commands that teach networks and ask them: demo, train, evaluate, predict, compare, report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from darklens.cli.application import app
from darklens.cli.shared import (
    Device,
    Force,
    Group,
    Hdu,
    Json,
    Resize,
    Settings,
    hdu_of,
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
    shared = {"device": device, "devices": devices, "nodes": nodes, "budget": budget}
    with console.progress_bar() as progress:
        shared |= {"log": console.say, "progress": progress}
        if resume:
            found = api.resume(resume, **shared)
        else:
            found = api.train(recipe, data=data, out=out, set=set_ or [], seeds=seeds, force=force, **shared)
    runs = found if isinstance(found, list) else [found]
    if not leads():
        return
    if seeds:
        show_seeds(runs, as_json)
    if not all(run.complete for run in runs):
        interrupted()
    if not seeds:
        show_metrics({str(run.path): run.metrics for run in runs}, as_json)


Runs = Annotated[
    list[Path], typer.Argument(metavar="RUN...", help="Run folder, or MODEL:PRESET (darklens list); several: an ensemble.")
]
Symmetries = Annotated[
    bool, typer.Option("--symmetries", help="Average over the symmetries of the square, whatever the run was trained for.")
]
Coverage = Annotated[float | None, typer.Option(help="Fraction of the prediction sets that hold the true class; 0.9.")]
Calibrate = Annotated[
    bool, typer.Option("--calibrate", help="Measure PSF and noise of the fits on these images first, on those that look smooth.")
]


@app.command()
def evaluate(
    runs: Runs,
    data: Annotated[Path | None, typer.Option(help="Labelled images; without it, the run's own test figures.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the evaluation.")] = None,
    split: Annotated[str | None, typer.Option(help="Only this split of the data.")] = None,
    group: Group = None,
    resize: Resize = False,
    hdu: Hdu = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the results; RUN/evaluations/NAME by default.")] = None,
    symmetries: Symmetries = False,
    coverage: Coverage = None,
    calibrate: Calibrate = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Metrics with 95% intervals and figures, on the run's test split or on other data.

    Results of a shipped run, or of an ensemble, go to evaluations/ where you stand.
    """
    from darklens import api, console

    opened = [api.open_run(run) for run in runs]
    if data is None:
        return _own_metrics(opened, symmetries or coverage is not None or out is not None or calibrate, as_json)
    skipped: list[str] = []
    metrics = api.evaluate(
        opened,
        data,
        name=name,
        split=split,
        group=mapping(group),
        resize=resize,
        hdu=hdu_of(hdu),
        device=device,
        out=out,
        symmetries=symmetries or None,
        coverage=coverage,
        calibrate=calibrate,
        on_skip=lambda what, why: skipped.append(f"skipped {what}: {why}"),
    )
    for line in skipped:
        console.say(line)
    return show_metrics({f"{' + '.join(map(str, runs))} on {data}": metrics}, as_json)


def _own_metrics(runs: list[Run], changed: bool, as_json: bool) -> None:
    """Show what runs reached on their own test split."""
    if changed:
        asked = "--symmetries, --coverage, --calibrate and --out"
        raise InputError(f"{asked} need --data: without it, the figures of the finished run are shown")
    for run in runs:
        if run.metrics is None:
            raise InputError(f"{run.path} is not finished and has no metrics: continue it with darklens train --resume {run.path}")
    show_metrics({run.name if run.shipped else str(run.path): run.metrics for run in runs}, as_json)


@app.command()
def predict(
    runs: Runs,
    path: Annotated[Path, typer.Argument(help="An image, a folder, a table.")],
    out: Annotated[Path | None, typer.Option(help="FILE.csv or FILE.parquet; stdout by default.")] = None,
    resize: Resize = False,
    hdu: Hdu = None,
    symmetries: Symmetries = False,
    coverage: Coverage = None,
    calibrate: Calibrate = False,
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Calibrated class probabilities of every readable image, with its name; prediction sets; a flag on unusual images."""
    from darklens import api, console
    from darklens.train.prediction_file import predict_path

    judge = api.ensemble(runs, device=device, symmetries=symmetries or None, coverage=coverage)
    if calibrate:
        judge = api.calibrated(judge, path, resize=resize, hdu=hdu_of(hdu), log=console.say)
    content = predict_path(judge, path, out, resize=resize, hdu=hdu_of(hdu), force=force, collect=as_json)
    for what, why in content["skipped"]:
        console.say(f"skipped {what}: {why}")
    if unusual := content["unusual"]:
        flagged = round(unusual["value"] * unusual["n"])
        console.say(f"{flagged} of {unusual['n']} images look unlike the training data (1 in 100 would by chance)")
    if as_json:
        console.show_json(content)
    elif out is not None:
        console.say(f"{content['images']} images, {len(content['skipped'])} skipped: {out}")


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two or more run folders.")],
    on: Annotated[str | None, typer.Option(help="Evaluation on other data, by name.")] = None,
    as_json: Json = False,
) -> None:
    """Runs side by side, with paired differences on the same images."""
    from darklens import api

    show_comparison(api.compare(runs, on=on), as_json)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Annotated[Path, typer.Option(help="HTML file.")] = Path("report.html"),
    title: Annotated[str | None, typer.Option(help="Title of the page.")] = None,
) -> None:
    """Write one self-contained HTML page about runs."""
    from darklens import api, console

    console.say(f"report: {api.report(runs, out, title=title)}")
