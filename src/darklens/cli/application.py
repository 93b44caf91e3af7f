"""The application that the commands register with."""

import typer

app = typer.Typer(
    name="darklens",
    help="From images of strong gravitational lenses to statements about dark matter.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Any command takes --debug to show the traceback of an error.",
)
