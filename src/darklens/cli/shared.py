"""What the commands share: options, and how results are shown."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, get_type_hints

import typer

from darklens.errors import InputError

if TYPE_CHECKING:
    from darklens.runs import Run

Json = Annotated[bool, typer.Option("--json", help="Print the numbers as JSON on stdout.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Resize = Annotated[bool, typer.Option("--resize", help="Accept images of another size, by resampling.")]
Hdu = Annotated[str | None, typer.Option(help="Extension of a FITS file, by number or name.")]
Bands = Annotated[str | None, typer.Option(help="Bands to read, in order: g,r,i or VIS,Y,J; by number where none is named: 2,1,0.")]
Fill = Annotated[
    str | None,
    typer.Option(
        help="What fills pixels that are not finite or masked: a number; border (the default), the median of the band's frame, a "
        "tenth of its side wide, if at most half of the band is missing; refuse."
    ),
]
Key = Annotated[str | None, typer.Option(help="Array of an .npz file.")]
Group = Annotated[list[str] | None, typer.Option(help="LABEL=CLASS: what a label in the data counts as; repeatable.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="key=value, dotted keys: --set train.epochs=5; repeatable.")]
Runs = Annotated[
    list[Path], typer.Argument(metavar="RUN...", help="Run folder, or MODEL:PRESET (darklens list); several: an ensemble.")
]


@dataclass(frozen=True)
class Asked:
    """What commands that ask trained runs about images have in common: how to read them, and how to answer."""

    resize: Resize = False
    hdu: Hdu = None
    bands: Bands = None
    symmetries: Annotated[
        bool, typer.Option("--symmetries", help="Average over the symmetries of the square, whatever the run was trained for.")
    ] = False
    coverage: Annotated[float | None, typer.Option(help="Fraction of the prediction sets that hold the true class; 0.9.")] = None
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Measure PSF and noise of the fits on these images first, on those that look smooth."),
    ] = False
    prevalence: Annotated[
        float | None, typer.Option(help="Fraction of the second of two classes where probabilities shall hold; that of training.")
    ] = None
    threshold: Annotated[
        str | None, typer.Option(help="Call the second class from here on: f1 or cost (chosen on validation), or a probability.")
    ] = None
    cost_fp: Annotated[float | None, typer.Option(help="Of a false positive, for --threshold cost.")] = None
    cost_fn: Annotated[float | None, typer.Option(help="Of a positive that is missed, for --threshold cost.")] = None
    device: Device = "auto"

    @property
    def reading(self) -> dict[str, Any]:
        """How to read the images, as the functions of `darklens.api` take it."""
        return {"resize": self.resize, "hdu": hdu_of(self.hdu), "bands": self.bands}

    @property
    def answering(self) -> dict[str, Any]:
        """How to answer, as `darklens.api.ensemble` takes it, but for the device."""
        names = ("coverage", "prevalence", "threshold", "cost_fp", "cost_fn")
        return {"symmetries": self.symmetries or None} | {name: getattr(self, name) for name in names}

    @property
    def changed(self) -> bool:
        """Whether an answer is asked for that is not the one a finished run has given."""
        return self.calibrate or any(value is not None for value in self.answering.values())


def asking(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `Asked`, after its own, in the place of its parameter `asked`, which receives them together."""
    own, kinds = inspect.signature(command, eval_str=True), get_type_hints(Asked, include_extras=True)
    listed = [parameter for name, parameter in own.parameters.items() if name != "asked"]
    for one in fields(Asked):
        listed.append(inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=kinds[one.name]))

    @wraps(command)
    def taking_all(**given: Any) -> None:
        asked = Asked(**{one.name: given.pop(one.name) for one in fields(Asked)})
        return command(**given, asked=asked)

    taking_all.__signature__ = own.replace(parameters=listed)  # type: ignore[attr-defined]  # any function may have one
    taking_all.__annotations__ = {one.name: one.annotation for one in listed}
    return taking_all


def show(content: dict[str, Any], as_json: bool) -> None:
    """Print a mapping as a table or as JSON."""
    from darklens import console
    from darklens.files import plain

    if as_json:
        return console.show_json(content)
    content = plain(content)
    flat = {k: v for k, v in content.items() if k != "table"} | content.get("table", {})
    flat |= {"ranges": {k: f"{short(a)} to {short(b)}" for k, (a, b) in flat.get("ranges", {}).items()}}
    rows = [[k, short(v)] for k, v in flat.items() if v not in (None, {}, [], "")]
    console.table(str(content.get("path") or ""), ["", ""], rows)
    return None


def show_metrics(named: dict[str, dict], as_json: bool) -> None:
    """Print metrics by run as a table or as JSON."""
    from darklens import console

    if as_json:
        console.show_json(next(iter(named.values())) if len(named) == 1 else named)
    else:
        console.metrics_table("metrics with 95% intervals", named)
        for name, metrics in named.items():
            for note in metrics.get("notes") or ():
                console.say(f"{name}: {note}")


def show_seeds(runs: Sequence[Run], as_json: bool) -> None:
    """Print what a recipe reached with several seeds: mean, spread, extremes and the best seed, never the best alone."""
    from darklens import console
    from darklens.files import read_json
    from darklens.runs import SEEDS

    path = next(folder / SEEDS for folder in runs[0].path.parents if (folder / SEEDS).is_file())
    content = read_json(path)
    if as_json:
        return console.show_json(content)
    columns = ["", "mean", "spread (sd)", "lowest", "highest", "best seed", "seeds"]
    for name, metrics in {content["model"]: content["metrics"], **content["also"]}.items():
        rows = [
            [key, *(f"{m[k]:.4f}" if m[k] is not None else "" for k in ("mean", "sd", "min", "max")), m["best_seed"], m["n"]]
            for key, m in metrics.items()
        ]
        console.table(f"{name}, seeds {', '.join(map(str, content['finished']))}: {path}", columns, rows)
    return None


def show_comparison(content: dict, as_json: bool) -> None:
    """Print runs side by side with their paired differences."""
    from darklens import console

    if as_json:
        return console.show_json(content)
    console.metrics_table("metrics with 95% intervals", content["runs"])
    from darklens.evaluate.wording import SEARCH, format_difference

    keys = ("accuracy", "auc_macro", "average_precision", "loss")
    rows = [[key, *(format_difference(pair[key]) for pair in content["pairs"])] for key in keys]
    searched = [pair.get("search", {}) for pair in content["pairs"]]
    for key, label in SEARCH.items():
        if any(key in search for search in searched):
            rows.append([label.format("second class"), *(format_difference(search.get(key)) for search in searched)])
    console.table("paired differences on the same images", ["", *(f"{p['a']} minus {p['b']}" for p in content["pairs"])], rows)
    return None


def short(value: object) -> str:
    """Return a value in few characters: spans as "0 to 1", what was skipped as "path reason"."""
    if isinstance(value, dict) and set(value) == {"min", "max", "n"}:
        return f"{short(value['min'])} to {short(value['max'])} ({value['n']})"
    if isinstance(value, dict) and set(value) == {"path", "reason"}:
        return f"{value['path']} {value['reason']}"
    if isinstance(value, dict):
        return ", ".join(f"{k}: {short(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(short(v) for v in value[:12]) + (f", and {len(value) - 12} more" if len(value) > 12 else "")
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def hdu_of(value: str | None) -> int | str | None:
    """Return the extension of a FITS file as a number where it is one."""
    return int(value) if value is not None and value.lstrip("-").isdigit() else value


def fill_of(value: str | None) -> float | str | None:
    """Return what fills missing pixels, as a number where it is one."""
    try:
        return None if value is None else float(value)
    except ValueError:
        return value


def mapping(items: list[str] | None) -> dict[str, str]:
    """Read LABEL=CLASS options."""
    for item in items or []:
        if "=" not in item:
            raise InputError(f"--group {item!r} is not LABEL=CLASS: write for example --group cdm=sub")
    return dict(item.split("=", 1) for item in items or [])


def count_of(text: str) -> int:
    """Return a whole number that may be written as 1e7.

    Raises:
        InputError: it is none.
    """
    try:
        value = float(text.replace("_", "").replace(",", ""))
    except ValueError:
        value = float("nan")
    if not value.is_integer():
        raise InputError(f"--n {text!r} is not a whole number: write for example 3000 or 1e7")
    return int(value)


def interrupted() -> NoReturn:
    """Leave with the exit code of an interruption."""
    raise typer.Exit(130)
