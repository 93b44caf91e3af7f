"""The entry point: one sentence and an exit code for every failure."""

from __future__ import annotations

import sys

import typer

from darklens.cli.application import app
from darklens.errors import DarklensError


def main() -> None:
    """Run the command line; every failure is one sentence with its exit code, and a traceback only with --debug."""
    debug = "--debug" in sys.argv
    sys.argv = [a for a in sys.argv if a != "--debug"]
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            raise
        text, code = _explain(error)
        print(f"error: {text}", file=sys.stderr)
        sys.exit(code)


def _explain(error: BaseException) -> tuple[str, int]:
    """Return the sentence and the exit code of a failure."""
    if isinstance(error, DarklensError):
        return str(error), error.exit_code
    if hasattr(error, "format_message"):  # wrong usage; the class lies in click or inside typer, by typer's version
        return error.format_message(), 2
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'}: {error.strerror or error}; check that it exists and can be read or written", 1
    if isinstance(error, MemoryError):
        return "not enough memory: use fewer or smaller images at once", 1
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return "interrupted", 130
    return f"unexpected {type(error).__name__}: {error}; run again with --debug and report it", 1
