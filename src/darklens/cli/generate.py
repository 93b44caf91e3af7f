"""The commands that make images out of noise: generate, walk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darklens.cli.application import app
from darklens.cli.shared import Device, Force, Json, count_of, show

Asked = Annotated[
    list[str] | None, typer.Option("--set", help="NAME=VALUE that the images shall have: theta_E=1.2, class=cdm; repeatable.")
]
Trained = Annotated[Path, typer.Argument(help="Run folder of a generator: lens-diffusion, lens-flow or ddpm.")]
Sampler = Annotated[str | None, typer.Option(help="dpm-solver++, ddim or ancestral; the run's by default.")]
Steps = Annotated[int | None, typer.Option(help="Evaluations of the network for an image; the run's by default.")]
Guidance = Annotated[float | None, typer.Option(help="1 does what was asked; more insists, for twice the time.")]


@app.command()
def generate(
    run: Trained,
    n: Annotated[str, typer.Option(help="Images, for example 300 or 1e4.")],
    out: Annotated[Path, typer.Option(help="Folder of the table.")],
    set_: Asked = None,
    seed: Annotated[int, typer.Option(min=0, help="Image i is a function of the seed and i.")] = 0,
    sampler: Sampler = None,
    steps: Steps = None,
    guidance: Guidance = None,
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Generate images of lenses, of a class and with parameters that are asked for, into a table that says they are synthetic."""
    from darklens import api, console

    with console.progress_bar() as progress:
        table = api.generate(
            run, count_of(n), out=out, set=set_ or [], seed=seed, sampler=sampler, steps=steps, guidance=guidance, device=device,
            force=force, progress=progress,
        )  # fmt: skip
    about = table.manifest
    kept = ("summary", "notes", "rows", "shape", "classes", "flux_unit", "pixel_scale", "seed", "generator")
    show({"path": str(out)} | {name: about.get(name) for name in kept}, as_json)


@app.command()
def walk(
    run: Trained,
    out: Annotated[Path, typer.Option(help="FILE.gif; a strip of pictures lies beside it as FILE.png.")],
    frames: Annotated[int, typer.Option(help="Images on the way.")] = 24,
    set_: Asked = None,
    to: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE of the last image where it differs from --set; without it, the noise changes."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of noise and conditions.")] = 0,
    sampler: Sampler = None,
    steps: Steps = None,
    guidance: Guidance = None,
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Draw the way from one generated image to another, as an animation and as a strip."""
    from darklens import api, console

    with console.progress_bar() as progress:
        content = api.walk(
            run, out=out, frames=frames, set=set_ or [], to=to or [], seed=seed, sampler=sampler, steps=steps, guidance=guidance,
            device=device, force=force, progress=progress,
        )  # fmt: skip
    if as_json:
        return console.show_json(content)
    console.say(f"{content['frames']} images: {content['animation']}, the strip {content['strip']}")
    return None
