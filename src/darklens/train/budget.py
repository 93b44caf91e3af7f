"""Trainings that end in time: epochs, and with them the schedule, are cut to what a budget of wall time allows.

The rate is measured once, on a copy of the model with the training's own images; the decision is kept in the run, so that a resumed
training follows the schedule that it began with.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

from darklens.errors import InputError

MARGIN = 0.9
"""Part of the budget that is planned with; the rest is for a machine that becomes slower, and for writing files."""
STEPS = 12
"""Steps that are timed, after the first ones."""
WARM_UP = 3
"""Steps that are not timed: the first ones allocate and tune."""
SHORT = 0.05
"""Part of the budget after which measuring ends."""


def duration(text: str | float) -> float:
    """Return seconds from "90s", "30m", "2h", "1h30m", or a number of seconds.

    Raises:
        InputError: it is no duration.
    """
    found = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m(?:in)?)?(?:([\d.]+)s?)?", str(text).strip().lower().replace(" ", ""))
    try:
        seconds = sum(float(n) * s for n, s in zip(found.groups(), (3600, 60, 1), strict=True) if n) if found else 0.0
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise InputError(f"--budget {text!r} is no duration: write for example 90s, 30m or 2h")
    return seconds


def in_words(seconds: float) -> str:
    """Return a duration in the unit that suits it."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds:.3g} s"


@dataclass(frozen=True)
class Plan:
    """How long a training is.

    Args:
        epochs: that are run.
        steps: of an epoch.
        asked: epochs that the recipe asks for.
        full: steps of a whole epoch.
        budget_s: seconds that were allowed; None without a budget.
    """

    epochs: int
    steps: int
    asked: int
    full: int
    budget_s: float | None = None

    def as_dict(self) -> dict[str, float | None]:
        """Return it as plain data."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """What is done, for the log."""
        start = f"budget {in_words(self.budget_s or 0.0)}: {self.epochs} of {self.asked} epochs"
        short = f", shortened to {self.steps} of {self.full} steps: less than one epoch fits" if self.steps < self.full else ""
        return start + short


def cut(budget_s: float, spent_s: float, step_s: float, judge_s: float, *, epochs: int, steps: int) -> Plan:
    """Plan what fits.

    Args:
        budget_s: seconds allowed.
        spent_s: seconds gone already.
        step_s: measured seconds of a step.
        judge_s: measured seconds of everything that follows the steps of an epoch.
        epochs: that the recipe asks for.
        steps: of an epoch.

    Returns:
        At most the recipe's epochs; at least one, which is shortened where not even that fits, to one step at least.
    """
    left = MARGIN * budget_s - spent_s
    fitting = int(left // (steps * step_s + judge_s))
    if fitting >= 1:
        return Plan(min(epochs, fitting), steps, epochs, steps, budget_s)
    return Plan(1, max(1, min(steps, int((left - judge_s) // step_s))), epochs, steps, budget_s)
