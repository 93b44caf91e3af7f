"""The command that takes a run to images from elsewhere: adapt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darklens.cli.application import app
from darklens.cli.shared import Bands, Device, Force, Group, Hdu, Json, Resize, hdu_of, mapping, show_metrics


@app.command()
def adapt(
    run: Annotated[Path, typer.Argument(help="Run folder, or MODEL:PRESET (darklens list).")],
    to: Annotated[Path, typer.Option(help="Images of the target: a table, a folder; labels are used for the test alone.")],
    out: Annotated[Path, typer.Option(help="Folder of the new run.")],
    method: Annotated[str, typer.Option(help="moments, adda or self-training.")] = "moments",
    source: Annotated[
        Path | None, typer.Option(help="Labelled images like those of the training, if they are not at hand.")
    ] = None,
    calibrate: Annotated[bool, typer.Option("--calibrate", help="Measure PSF and noise of the fits on the target first.")] = False,
    epochs: Annotated[int, typer.Option(help="Passes through the target: of adda, or of a round of self-training.")] = 10,
    rounds: Annotated[int, typer.Option(help="Of self-training.")] = 3,
    confidence: Annotated[float, typer.Option(help="Probability from which an answer is a label in self-training.")] = 0.9,
    batch_size: Annotated[int, typer.Option(help="Images of each side of a step.")] = 64,
    lr: Annotated[float, typer.Option(help="Rate of Adam.")] = 1e-4,
    source_images: Annotated[int, typer.Option(help="Labelled images of the source at most.")] = 3000,
    test_fraction: Annotated[float, typer.Option(help="Part of the target kept for the test, by content.")] = 0.3,
    seed: Annotated[int, typer.Option(help="Of the division, of the order, of new weights.")] = 0,
    group: Group = None,
    resize: Resize = False,
    hdu: Hdu = None,
    bands: Bands = None,
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Adapt a run to unlabelled images of another kind; the result is a run like any other."""
    from darklens import api, console

    skipped: list[str] = []
    adapted = api.adapt(
        run, to, out, method=method, source=source, calibrate=calibrate, group=mapping(group), resize=resize, hdu=hdu_of(hdu),
        bands=bands, device=device, force=force, on_skip=lambda what, why: skipped.append(f"skipped {what}: {why}"),
        log=console.say, epochs=epochs, rounds=rounds, confidence=confidence, batch_size=batch_size, lr=lr,
        source_images=source_images, test_fraction=test_fraction, seed=seed,
    )  # fmt: skip
    for line in skipped:
        console.say(line)
    if adapted.metrics is None:
        console.say(f"{out}: adapted; the target has no labels, so nothing is measured")
        return console.show_json({"path": str(out), "metrics": None}) if as_json else None
    return show_metrics({str(out): adapted.metrics}, as_json)
