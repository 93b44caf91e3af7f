"""The command line: a thin layer over `darklens.api`. Heavy imports happen inside the commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from darklens.errors import DarklensError, InputError

app = typer.Typer(
    name="darklens",
    help="From images of strong gravitational lenses to statements about dark matter.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Any command takes --debug to show the traceback of an error.",
)

Json = Annotated[bool, typer.Option("--json", help="Print the numbers as JSON on stdout.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Resize = Annotated[bool, typer.Option("--resize", help="Accept images of another size, by resampling.")]
Hdu = Annotated[str | None, typer.Option(help="Extension of a FITS file, by number or name.")]
Key = Annotated[str | None, typer.Option(help="Array of an .npz file.")]
Group = Annotated[list[str] | None, typer.Option(help="LABEL=CLASS: what a label in the data counts as; repeatable.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="key=value, dotted keys: --set train.epochs=5; repeatable.")]


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where to put it.")] = Path("runs/demo"),
    tiny: Annotated[bool, typer.Option("--tiny", help="A minute's version, to see that everything works.")] = False,
    as_json: Json = False,
) -> None:
    """Do the main job from start to finish: simulate, train two networks, evaluate them, write a report."""
    from darklens import api, console

    with console.progress_bar() as progress:
        runs, page = api.demo(out, tiny=tiny, log=console.say, progress=progress)
    if page is None:
        _interrupted()
    _show_comparison(api.compare(runs), as_json)
    console.say(f"runs: {', '.join(str(run.path) for run in runs)}\nreport: {page}")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List presets, instruments, models and recipes."""
    from darklens import console
    from darklens.models import MODELS
    from darklens.recipes import load, names
    from darklens.simulate import INSTRUMENTS, PRESETS

    content = {
        "presets": {p.name: p.summary for p in PRESETS.values()},
        "instruments": {
            i.name: f'{i.pixel_scale}"/pixel, {i.psf!r}, zero point {i.zero_point}, {i.n_exposures} x {i.exposure_time} s'
            for i in INSTRUMENTS.values()
        },
        "models": {name: model.summary for name, model in MODELS.items()},
        "recipes": {name: load(name).summary for name in names()},
    }
    if as_json:
        return console.show_json(content)
    for title, rows in content.items():
        console.table(title, ["name", "what it is"], [list(row) for row in rows.items()])
        console.stdout.print()
    return None


@app.command()
def simulate(
    preset: Annotated[str, typer.Argument(help="Preset; darklens list names them.")],
    out: Annotated[Path, typer.Option(help="Folder of the table.")],
    n: Annotated[int, typer.Option("--n", help="Images over all classes.")] = 3000,
    seed: Annotated[int, typer.Option(help="Every row is a function of (seed, row).")] = 0,
    instrument: Annotated[str | None, typer.Option(help="See the scenes through another instrument.")] = None,
    device: Device = "cpu",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Simulate lens images into a table; a killed simulation is continued by the same command."""
    from darklens import console
    from darklens.data import summary
    from darklens.simulate import simulate as write

    done = 0
    with console.progress_bar() as progress:

        def advance(rows: int) -> None:
            nonlocal done
            done += rows
            progress(f"simulating {preset}", done, n)

        table = write(preset, n, seed=seed, out=out, instrument=instrument, device=device, force=force, progress=advance)
    _show(summary(table), as_json)


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="A DeepLense tree, .npy, .npz, FITS, or a folder of them.")],
    out: Annotated[Path, typer.Option(help="Folder of the table.")],
    split: Annotated[str | None, typer.Option(help="Fractions train,val,test: 0.8,0.1,0.1; drawn by content.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
    hdu: Hdu = None,
    key: Key = None,
    label: Annotated[str | None, typer.Option(help="Class of all images.")] = None,
    resize: Annotated[int | None, typer.Option(help="Resample every image to N x N pixels.")] = None,
    fill: Annotated[float | None, typer.Option(help="Value for pixels that are not finite.")] = None,
    pixel_scale: Annotated[float | None, typer.Option(help="Arcsec a pixel.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Import images into a table; says what was read, what was skipped, and why."""
    from darklens import console
    from darklens.data import import_path

    with console.progress_bar() as progress:
        report = import_path(
            path, out, split=split, seed=seed, hdu=_hdu(hdu), key=key, label=label, resize=resize, fill=fill,
            pixel_scale=pixel_scale, force=force, progress=lambda done, total: progress("importing", done, total),
        )  # fmt: skip
    if as_json:
        return console.show_json(report.as_dict())
    for line in report.lines():
        console.stdout.print(line, markup=False)
    return None


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="A table, or anything that darklens reads.")],
    figure: Annotated[Path | None, typer.Option(help="Where to draw the gallery; NAME-gallery.png by default.")] = None,
    hdu: Hdu = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Show counts, ranges and labels, and draw a gallery."""
    from darklens.data import read, summary
    from darklens.evaluate.figure_set import save_gallery

    content = summary(path, hdu=_hdu(hdu), key=key)
    picture = figure or Path(f"{path.resolve().stem}-gallery.png")
    about = content.get("table", {})
    records = read(path, hdu=_hdu(hdu), key=key, on_skip=lambda *_: None)
    save_gallery(picture, records, unit=about.get("flux_unit") or "", pixel_scale=about.get("pixel_scale"))
    content["gallery"] = str(picture)
    return _show(content, as_json)


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
        _interrupted()
    _show_metrics({str(run.path): run.metrics for run in runs}, as_json)


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
        return _show_metrics({str(run): opened.metrics}, as_json)
    skipped: list[str] = []
    metrics = api.evaluate(
        opened,
        data,
        name=name,
        split=split,
        group=_mapping(group),
        resize=resize,
        hdu=_hdu(hdu),
        device=device,
        on_skip=lambda what, why: skipped.append(f"skipped {what}: {why}"),
    )
    for line in skipped:
        console.say(line)
    return _show_metrics({f"{run} on {data}": metrics}, as_json)


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
    content = predict_path(predictor, path, out, resize=resize, hdu=_hdu(hdu), force=force, collect=as_json)
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

    _show_comparison(api.compare(runs, on=on), as_json)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Annotated[Path, typer.Option(help="HTML file.")] = Path("report.html"),
    title: Annotated[str | None, typer.Option(help="Title of the page.")] = None,
) -> None:
    """Write one self-contained HTML page about runs."""
    from darklens import api, console

    console.say(f"report: {api.report(runs, out, title=title)}")


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what this machine can do."""
    from darklens import console
    from darklens.doctor import examine

    content = examine()
    if as_json:
        return console.show_json(content)
    console.table("darklens doctor", ["", ""], [[k, _short(v)] for k, v in content.items()])
    return None


def _show(content: dict[str, Any], as_json: bool) -> None:
    from darklens import console

    if as_json:
        return console.show_json(content)
    content = console.plain(content)
    flat = {k: v for k, v in content.items() if k != "table"} | content.get("table", {})
    rows = [[k, _short(v)] for k, v in flat.items() if v not in (None, {}, [], "")]
    console.table(str(content.get("path") or ""), ["", ""], rows)
    return None


def _show_metrics(named: dict[str, dict], as_json: bool) -> None:
    from darklens import console

    if as_json:
        console.show_json(next(iter(named.values())) if len(named) == 1 else named)
    else:
        console.metrics_table("metrics with 95% intervals", named)


def _show_comparison(content: dict, as_json: bool) -> None:
    from darklens import console

    if as_json:
        return console.show_json(content)
    console.metrics_table("metrics with 95% intervals", content["runs"])
    from darklens.evaluate.wording import format_difference

    keys = ("accuracy", "auc_macro", "average_precision", "loss")
    rows = [[key, *(format_difference(pair[key]) for pair in content["pairs"])] for key in keys]
    console.table("paired differences on the same images", ["", *(f"{p['a']} minus {p['b']}" for p in content["pairs"])], rows)
    return None


def _short(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}: {_short(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_short(v) for v in value[:12]) + (f", and {len(value) - 12} more" if len(value) > 12 else "")
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _hdu(value: str | None) -> int | str | None:
    return int(value) if value is not None and value.lstrip("-").isdigit() else value


def _mapping(items: list[str] | None) -> dict[str, str]:
    for item in items or []:
        if "=" not in item:
            raise InputError(f"--group {item!r} is not LABEL=CLASS: write for example --group cdm=sub")
    return dict(item.split("=", 1) for item in items or [])


def _interrupted() -> None:
    raise typer.Exit(130)


def main() -> None:
    """Run the command line; every failure is one sentence with its exit code, and a traceback only with --debug."""
    debug = "--debug" in sys.argv
    sys.argv = [a for a in sys.argv if a != "--debug"]
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            raise
        text, code = _explain(error)
        print(f"error: {text}", file=sys.stderr)
        sys.exit(code)


def _explain(error: BaseException) -> tuple[str, int]:
    """Return the sentence and the exit code of a failure."""
    if isinstance(error, DarklensError):
        return str(error), error.exit_code
    if hasattr(error, "format_message"):  # wrong usage; the class lies in click or inside typer, by typer's version
        return error.format_message(), 2
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'}: {error.strerror or error}; check that it exists and can be read or written", 1
    if isinstance(error, MemoryError):
        return "not enough memory: use fewer or smaller images at once", 1
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return "interrupted", 130
    return f"unexpected {type(error).__name__}: {error}; run again with --debug and report it", 1
