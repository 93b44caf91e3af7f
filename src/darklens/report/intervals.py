"""Where the marks of an interval plot go: numbers to positions on a track of 100 units, drawn as SVG by the template."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Track:
    """A linear axis from `low` to `high`, drawn from 0 to 100."""

    low: float
    high: float

    @classmethod
    def around(cls, numbers: Iterable[Mapping[str, Any] | None], *, zero: bool = False) -> Track:
        """Return the track that holds all the intervals with a margin; with `zero`, zero stands in its middle."""
        ends = [n[key] for n in numbers if n for key in ("low", "value", "high") if n.get(key) is not None] or [0.0, 1.0]
        low, high = min(ends), max(ends)
        if zero:
            reach = max(abs(low), abs(high)) or 1.0
            return cls(-1.15 * reach, 1.15 * reach)
        margin = 0.12 * (high - low) or 0.05 * (abs(high) or 1.0)
        return cls(low - margin, high + margin)

    def at(self, value: float) -> float:
        """Return the position of a value."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)

    def ticks(self, most: int = 4) -> list[tuple[float, str]]:
        """Return at most so many round values as (position, label)."""
        span = self.high - self.low
        power = 10.0 ** math.floor(math.log10(span / most))
        step = next(
            f * power for f in (1, 2, 5, 10, 20) if math.floor(self.high / (f * power)) - math.ceil(self.low / (f * power)) < most
        )
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        first = math.ceil(self.low / step)
        return [(self.at(i * step), f"{i * step:.{digits}f}") for i in range(first, math.floor(self.high / step) + 1)]

    def mark(self, number: Mapping[str, Any] | None) -> dict[str, float] | None:
        """Return the positions `x`, `left`, `right` of a value and the ends of its interval; None where there is no value."""
        if not number or number.get("value") is None:
            return None
        ends = {key: number[key] if number.get(key) is not None else number["value"] for key in ("low", "high")}
        return {"x": self.at(number["value"]), "left": self.at(ends["low"]), "right": self.at(ends["high"])}
