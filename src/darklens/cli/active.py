"""Active learning: a campaign is begun, asks, learns, and says where it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from darklens.cli.application import app
from darklens.cli.shared import Device, Force, Group, Hdu, Json, Resize, Settings, hdu_of, interrupted, mapping

active = typer.Typer(
    name="active", help="Let a network ask which images to label, and learn from the answers.", no_args_is_help=True
)
app.add_typer(active)
Folder = Annotated[Path, typer.Argument(help="Folder of the campaign.")]


@active.command()
def start(
    pool: Annotated[Path, typer.Argument(help="Images without labels: a table, a folder; labels in it are not looked at.")],
    out: Annotated[Path, typer.Option(help="Folder of the campaign.")],
    run: Annotated[str | None, typer.Option(help="The first network: a run folder, or MODEL:PRESET (darklens list).")] = None,
    recipe: Annotated[str | None, typer.Option(help="Or the recipe to train it with: a name or a YAML file.")] = None,
    validation: Annotated[
        Path | None, typer.Option(help="Labelled images to measure with, never asked for; by default the run's own test images.")
    ] = None,
    set_: Settings = None,
    replay: Annotated[int, typer.Option(help="Images of the first training that every round learns from again.")] = 4000,
    seed: Annotated[int, typer.Option(help="Of what is drawn by lot.")] = 0,
    budget: Annotated[str | None, typer.Option(help="Time that the first training may take: 90s, 30m or 2h.")] = None,
    group: Group = None,
    resize: Resize = False,
    hdu: Hdu = None,
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Begin a campaign: a pool, a first network, and images that measure it."""
    from darklens import api, console

    skipped: list[str] = []
    with console.progress_bar() as progress:
        campaign = api.Campaign.start(
            pool, out, run=run, recipe=recipe, set=set_ or [], validation=validation, replay=replay, seed=seed,
            group=mapping(group), resize=resize, hdu=hdu_of(hdu), budget=budget, device=device, force=force, log=console.say,
            progress=progress,            on_skip=lambda what, why: skipped.append(f"skipped {what}: {why}"),
        )  # fmt: skip
    for line in skipped:
        console.say(line)
    if campaign is None:
        interrupted()
    _show(campaign.history, str(out), as_json)
    console.say(f"choose what to label with: darklens active next {out}")


@active.command(name="next")
def next_(
    campaign: Folder,
    n: Annotated[int, typer.Option("--n", help="Images to ask for.")] = 50,
    strategy: Annotated[
        str, typer.Option(help="uncertainty, diversity, expected-gain, badge, likely, random, or mixed.")
    ] = "uncertainty",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Choose images to be labelled, none of which was asked for before: queue.csv, label.html, sheet.png, decisions.csv."""
    from darklens import api, console

    folder = api.Campaign(campaign).next(n, strategy, device=device, log=console.say)
    if as_json:
        console.show_json({"path": str(folder), "queue": str(folder / "queue.csv"), "decisions": str(folder / "decisions.csv")})
    else:
        console.say(f"then: darklens active learn {campaign} {folder / 'decisions.csv'}")


@active.command()
def learn(
    campaign: Folder,
    decisions: Annotated[Path | None, typer.Argument(help="CSV: id, decision, who, when; none to continue a round.")] = None,
    budget: Annotated[str | None, typer.Option(help="Time that the training may take: 90s, 5m or 2h.")] = None,
    epochs: Annotated[int, typer.Option(help="Passes through new and old images.")] = 5,
    lr: Annotated[float, typer.Option(help="Largest learning rate.")] = 5e-4,
    share: Annotated[float, typer.Option(help="Part of what is learned from that new labels should make up.")] = 0.3,
    repeats: Annotated[int, typer.Option(help="How often an image may come in an epoch for that, at most.")] = 10,
    begin: Annotated[str, typer.Option("--from", help="Go on from the `current` network, or from the `first`.")] = "current",
    one_class: Annotated[
        bool, typer.Option("--one-class", help="Go on without a decision for every class; old images stand for the others.")
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Learn from decisions, and measure the network on images that were never asked for."""
    from darklens import api, console

    opened = api.Campaign(campaign)
    with console.progress_bar() as progress:
        row = opened.learn(
            decisions, one_class=one_class, budget=budget, device=device, log=console.say, progress=progress,
            epochs=epochs, lr=lr, share=share, repeats=repeats, start=begin,
        )  # fmt: skip
    if row is None:
        interrupted()
    _show(opened.history, str(campaign), as_json)


@active.command()
def status(campaign: Folder, as_json: Json = False) -> None:
    """Show the history: labels, and what they brought."""
    from darklens import api

    _show(api.Campaign(campaign).history, str(campaign), as_json)


def _show(history: list[dict[str, Any]], path: str, as_json: bool) -> None:
    from darklens import console
    from darklens.evaluate.wording import format_interval

    if as_json:
        return console.show_json({"path": path, "rounds": history})
    rows = [
        [
            row["round"],
            ", ".join(f"{n} {name}" for name, n in row["labels"].items() if n) or "none",
            *(format_interval(row["metrics"][key]) for key in ("average_precision", "auc")),
            row["asked"],
        ]
        for row in history
    ]
    return console.table(
        f"{path}, measured on {history[0]['metrics']['accuracy']['n']:,} images, with 95% intervals",
        ["round", "labels so far", "AP", "AUC", "new ones, asked by"],
        rows,
    )
