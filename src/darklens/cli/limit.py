"""How well anybody could do: limit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from darklens.cli.application import app
from darklens.cli.shared import Device, Force, Json


@app.command()
def limit(
    preset: Annotated[str, typer.Argument(help="darklens list names them.")],
    n: Annotated[int, typer.Option(help="Images, equally many of each class.")] = 600,
    seed: Annotated[int, typer.Option(help="Of images and chains.")] = 0,
    out: Annotated[Path | None, typer.Option(help="JSON file; runs/limits/PRESET.json by default.")] = None,
    reference: Annotated[Path | None, typer.Option(help="Run folder, or MODEL:PRESET, to score on the same images.")] = None,
    budget: Annotated[float | None, typer.Option(min=0, help="Minutes after which no new images are begun.")] = None,
    steps: Annotated[int | None, typer.Option(min=2, help="Of a chain; more come closer to the limit.")] = None,
    chains: Annotated[int | None, typer.Option(min=2, help="Of each image and class.")] = None,
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Bound the best score that any classifier could reach on a preset's images, from below and above; run again to go on."""
    from darklens import api, console

    path = out or Path("runs") / "limits" / f"{preset}.json"
    with console.progress_bar() as progress:
        content = api.limit(
            preset, n=n, seed=seed, out=path, reference=reference, steps=steps, chains=chains,
            budget=None if budget is None else 60 * budget, device=device, force=force, progress=progress,
        )  # fmt: skip
    if as_json:
        return console.show_json(content)
    blocks = [name for name in ("reference", "achieved", "optimistic", "oracle") if content.get(name)]
    rows = [
        [name, _number(content[name]), *(_number(content[block][name]) for block in blocks)] for name in ("accuracy", "auc_macro")
    ]
    rows += [[f"auc {name}", _number(v), *(_number(content[b]["auc"][name]) for b in blocks)] for name, v in content["auc"].items()]
    console.table(f"limit of {preset}, {content['accuracy']['n']} images", ["", "limit", *blocks], rows)
    console.say(f"{content['method']}: {path}")
    return None


def _number(found: dict[str, Any]) -> str:
    """Return a number with its interval, or the interval alone where the number is not known."""
    value, low, high = (found[key] for key in ("value", "low", "high"))
    between = f"{'?' if low is None else f'{low:.4f}'} to {'?' if high is None else f'{high:.4f}'}"
    return between if value is None else f"{value:.4f} ({between})"
