"""The command that says what the numbers of a lens are, and how well they are known: infer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darklens.cli.application import app
from darklens.cli.shared import Bands, Device, Force, Hdu, Json, Resize, hdu_of

SHOWN = 12
"""Images whose numbers are printed."""


@app.command()
def infer(
    run: Annotated[Path, typer.Argument(help="Run of inference: its folder, or MODEL:PRESET (darklens list).")],
    path: Annotated[Path, typer.Argument(help="A table, an image, a folder of images.")],
    out: Annotated[Path, typer.Option(help="FOLDER: posterior.parquet, summary.json, corner.png.")],
    samples: Annotated[int, typer.Option(help="Draws from the posterior of each image.")] = 1000,
    parameters: Annotated[str | None, typer.Option(help="Only these, of those that the run has learnt: theta_E,e1.")] = None,
    reweight: Annotated[
        bool, typer.Option("--reweight", help="Weigh the draws with the exact likelihood, where it is known.")
    ] = False,
    population: Annotated[
        str | None, typer.Option(help="Mean and scatter of this parameter over all images, as one population: log10_m_axion.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    resize: Resize = False,
    hdu: Hdu = None,
    bands: Bands = None,
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Posteriors of the numbers that a run has learnt, for every image: values with 68% and 95% intervals."""
    from darklens import api, console
    from darklens.evaluate.wording import format_interval

    wanted = [name.strip() for name in parameters.split(",")] if parameters else None
    content = api.infer(
        run, path, out, samples=samples, parameters=wanted, reweight=reweight, population=population, seed=seed,
        resize=resize, hdu=hdu_of(hdu), bands=bands, device=device, force=force,
    )  # fmt: skip
    for skipped in content["skipped"]:
        console.say(f"skipped {skipped['path']}: {skipped['reason']}")
    for line in content["noticed"]:
        console.say(line)
    rows = content["images"]
    flagged = [row for row in rows if row["unusual"]]
    if flagged:
        console.say(
            f"{len(flagged)} of {len(rows)} images are unlike those that the run was trained on, and their intervals need not "
            f"hold: {flagged[0]['id']} ({flagged[0]['unusual_because']})" + (" and others" if len(flagged) > 1 else "")
        )
    poor = [row for row in rows if row.get("reweighted") is False]
    if poor:
        console.say(
            f"re-weighting left {poor[0]['effective_samples']:.0f} effective draws of {poor[0]['id']}, and too few of {len(poor)} "
            f"of {len(rows)} images: these keep the network's intervals; give more --samples, or train longer"
        )
    if as_json:
        return console.show_json(content)
    names = content["parameters"]
    lines = [
        [row["id"], *(f"{row[n]['value']:.5g} [{row[n]['low']:.5g}, {row[n]['high']:.5g}]" for n in names), row["unusual_because"]]
        for row in rows[:SHOWN]
    ]
    console.table(f"medians and 68% intervals, {len(rows)} images", ["id", *names, "unusual"], lines)
    held = "; ".join(
        f"{name} {format_interval(found['coverage_68'], 3)}, {format_interval(found['coverage_95'], 3)}"
        for name, found in content["coverage"].items()
    )
    if held:
        n = next(iter(content["coverage"].values()))["coverage_68"]["n"]
        console.say(f"on {n:,} test images of the run, 68% and 95% intervals held the truth in these parts: {held}")
    for name, found in content.get("population", {}).items():
        mu, sigma = (f"{found[k]['value']:.4g} [{found[k]['low']:.4g}, {found[k]['high']:.4g}]" for k in ("mu", "sigma"))
        console.say(f"population of {found['lenses']} lenses: mean {name} {mu}, scatter {sigma} (68% intervals)")
    console.say(f"{content['samples']} draws an image, corner plots and summary: {out}")
    return None
