"""The command line: a thin layer over `darklens.api`, one file per family. Heavy imports happen inside the commands.

The order of the imports is the order of the commands in `darklens --help`.
"""

from darklens.cli import learn, tune, adapt, active  # noqa: F401, I001
from darklens.cli import listing, simulate, inject, show, data  # noqa: F401
from darklens.cli import candidates, drift, explain, enhance, generate, embed  # noqa: F401
from darklens.cli import serve, card, fit, infer, limit, localise, machine  # noqa: F401
from darklens.cli.application import app
from darklens.cli.entry import main

__all__ = ["app", "main"]
