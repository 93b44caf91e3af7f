"""The few exceptions of darklens.

Every failure reaches the user as one sentence that names the value, the limit and the remedy. `InputError` is for what the
user can put right by giving something else (exit code 2); `WorkError` for work that failed on its way (exit code 1).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

TEXT_AT_MOST = 4000
"""Characters of a sentence; what a damaged file says of itself may be longer."""
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class DarklensError(Exception):
    """Base of all errors that darklens raises on purpose; its text is one sentence for the user.

    Names and values in it come from files: line breaks, what a terminal would obey, and bytes that are no text are escaped.
    """

    exit_code = 1

    def __init__(self, text: str = "") -> None:
        text = _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], str(text))
        super().__init__(text if len(text) <= TEXT_AT_MOST else f"{text[: TEXT_AT_MOST - 500]} [...] {text[-400:]}")


class InputError(DarklensError):
    """Wrong input: the text names the value, the limit and the remedy."""

    exit_code = 2


class WorkError(DarklensError):
    """Work that failed under way (disk full, training diverged); what was finished before is kept."""

    exit_code = 1


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is spelled most like `name`, or None if none is close."""
    lowered = {k.lower(): k for k in known}
    found = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    return lowered[found[0]] if found else None


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Build the error for a name that is not in a list.

    Args:
        kind: what the name stands for, for example "preset".
        name: what the user gave.
        known: every accepted name.

    Returns:
        The error to raise, with the nearest known name and the whole list.
    """
    known = list(known)
    close = nearest(name, known)
    hint = f"did you mean {close!r}? " if close else ""
    return InputError(f"unknown {kind} {name!r}: {hint}known: {', '.join(known)}")
