"""Commands that teach networks and ask them: demo, train, evaluate, predict, compare, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
)
from darklens.errors import InputError


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
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train what a recipe says, calibrate it, and look at the test set once."""
    from darklens import api, console
    from darklens.recipes import resume as continue_run

    if (recipe is None) == (resume is None):
        raise InputError("train needs either a recipe or --resume RUN: darklens list names the recipes")
    with console.progress_bar() as progress:
        if resume:
            runs = [continue_run(resume, device=device, log=console.say, progress=progress)]
        else:
            found = api.train(
                recipe,
                data=data,
                out=out,
                set=set_ or [],
                device=device,
                force=force,
                log=console.say,
                progress=progress,
            )
            runs = found if isinstance(found, list) else [found]
    if not all(run.complete for run in runs):
        interrupted()
    show_metrics({str(run.path): run.metrics for run in runs}, as_json)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    data: Annotated[Path | None, typer.Option(help="Labelled images; without it, the run's own test figures.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the evaluation.")] = None,
    split: Annotated[str | None, typer.Option(help="Only this split of the data.")] = None,
    group: Group = None,
    resize: Resize = False,
    hdu: Hdu = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Metrics with 95% intervals and figures, on the run's test split or on other data."""
    from darklens import api, console

    opened = api.open_run(run)
    if data is None:
        if opened.metrics is None:
            raise InputError(f"{run} is not finished and has no metrics: continue it with darklens train --resume {run}")
        return show_metrics({str(run): opened.metrics}, as_json)
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
        on_skip=lambda what, why: skipped.append(f"skipped {what}: {why}"),
    )
    for line in skipped:
        console.say(line)
    return show_metrics({f"{run} on {data}": metrics}, as_json)


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    path: Annotated[Path, typer.Argument(help="An image, a folder, a table.")],
    out: Annotated[Path | None, typer.Option(help="FILE.csv or FILE.parquet; stdout by default.")] = None,
    resize: Resize = False,
    hdu: Hdu = None,
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Calibrated class probabilities of every readable image, with its name."""
    from darklens import api, console
    from darklens.train.prediction_file import predict_path
    from darklens.train.predictor import Predictor

    predictor = Predictor(api.open_run(run), device)
    content = predict_path(predictor, path, out, resize=resize, hdu=hdu_of(hdu), force=force, collect=as_json)
    for what, why in content["skipped"]:
        console.say(f"skipped {what}: {why}")
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
