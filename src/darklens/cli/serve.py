"""The command that opens the laboratory, the prediction page, the vetting room and the API: serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darklens.cli.application import app


@app.command()
def serve(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Run folder or MODEL:PRESET; those that are shipped come along.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; beyond this machine only with --token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8765,
    token: Annotated[
        str | None, typer.Option(envvar="DARKLENS_TOKEN", help="What visitors have to know; DARKLENS_TOKEN keeps it out of ps.")
    ] = None,
    db: Annotated[
        str | None, typer.Option(envvar="DARKLENS_DB", help="Database of the vetting room: postgresql://...; else a file.")
    ] = None,
    vet: Annotated[Path | None, typer.Option(help="What to vet: candidates, scores, or a campaign of darklens active.")] = None,
    images: Annotated[Path | None, typer.Option(help="Where the images to vet are, by id; if not as the list says.")] = None,
    voters: Annotated[int | None, typer.Option(help="How many people answer about each image; all by default.")] = None,
    ray: Annotated[str | None, typer.Option(help="Judge on a Ray cluster: auto, or HOST:PORT of its head.")] = None,
    replicas: Annotated[int | None, typer.Option(help="With --ray: copies of each RUN; by default what its cores allow.")] = None,
) -> None:
    """Open the laboratory in the browser: build lenses, classify images, vet candidates; the HTTP API likewise."""
    from darklens import api, console

    api.serve(
        runs or [], host=host, port=port, token=token, db=db, vet=vet, images=images, voters=voters,
        ray=ray, replicas=replicas, log=console.say,
    )  # fmt: skip
