"""The application that the commands register with."""

from typing import Annotated

import typer

app = typer.Typer(
    name="darklens",
    help="From images of strong gravitational lenses to statements about dark matter.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Any command takes --debug to show the traceback of an error.",
)


def _version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        from importlib.metadata import version

        typer.echo(f"darklens {version('darklens')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """From images of strong gravitational lenses to statements about dark matter."""
