"""What a generated image is asked to be: a class, and numbers such as theta_E and f_sub, as the vector that a network is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from darklens.errors import InputError, unknown

CLASS = "class"
"""What `--set` calls the class."""
ROUND = 0.005
"""Part of its range by which a value may lie outside: the largest of 9,000 radii up to 1.5 arcsec is 1.4999, and 1.5 is meant."""


@dataclass(frozen=True)
class Column:
    """A number that images are conditioned on.

    Args:
        name: of the truth column.
        low: smallest value of the training images.
        high: largest.
        unit: of both.
    """

    name: str
    low: float
    high: float
    unit: str = ""

    def told(self, value: Any) -> Any:
        """Return a value, or an array of them, as the network is told it: -1 to 1 over the range."""
        return (value - (self.low + self.high) / 2) / ((self.high - self.low) / 2)

    def value(self, told: Any) -> Any:
        """Return the value that the network was told."""
        return (self.low + self.high) / 2 + told * (self.high - self.low) / 2


@dataclass(frozen=True)
class Conditions:
    """The classes and numbers that a generator knows.

    Args:
        classes: names; a single one, or none, is no choice and takes no place in the vector.
        columns: numbers; each is told as -1 to 1 over its range.
    """

    classes: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()

    @classmethod
    def measured(cls, classes: Sequence[str], truth: Mapping[str, np.ndarray], wanted: Sequence[str], units: Mapping) -> Conditions:
        """Return what can be asked of training images: columns that are not known, or are the same in all, are left out.

        Args:
            classes: names of the classes that occur.
            truth: column -> `(n,)`, NaN where unknown.
            wanted: the columns to be conditioned on.
            units: column -> unit.
        """
        columns = []
        for name in wanted:
            values = np.asarray(truth.get(name, []), dtype=np.float64)
            values = values[np.isfinite(values)]
            if len(values) and values.min() < values.max():
                columns.append(Column(name, float(values.min()), float(values.max()), units.get(name, "")))
        return cls(tuple(classes) if len(classes) > 1 else (), tuple(columns))

    @property
    def size(self) -> int:
        """Length of the vector."""
        return len(self.classes) + len(self.columns)

    def encode(self, labels: Sequence[str | None] | np.ndarray, truth: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the vectors `(n, size)` float32 of images, NaN where something is not known.

        Args:
            labels: n class names, None where unknown.
            truth: column -> `(n,)`.
        """
        told = np.full((len(labels), self.size), np.nan, dtype=np.float32)
        for i, label in enumerate(labels):
            if self.classes and label is not None:
                told[i, : len(self.classes)] = [float(name == label) for name in self.classes]
        for k, column in enumerate(self.columns, start=len(self.classes)):
            if column.name in truth:
                told[:, k] = column.told(np.asarray(truth[column.name], dtype=np.float64))
        return told

    def asked(self, settings: Sequence[str]) -> dict[str, Any]:
        """Read what a user asks for, `theta_E=1.2` or `class=cdm`.

        Raises:
            InputError: not NAME=VALUE, a name twice or one that the run does not know, or a value outside what it has seen.
        """
        found: dict[str, Any] = {}
        for setting in settings:
            name, sign, value = (part.strip() for part in setting.partition("="))
            if not sign:
                raise InputError(f"--set {setting!r} is not NAME=VALUE: write for example --set {self._example()}")
            if name in found:
                raise InputError(f"{name} is asked for twice, {found[name]} and {value}: give it once")
            found[name] = self.checked(name, value)
        return found

    def checked(self, name: str, value: Any) -> Any:
        """Return a value that may be asked for: a class's name, or a number within the range that was trained on.

        Raises:
            InputError: it may not.
        """
        known = {column.name: column for column in self.columns}
        if name == CLASS and self.classes:
            if str(value) not in self.classes:
                raise unknown("class", str(value), self.classes)
            return str(value)
        if name not in known:
            names = [*([CLASS] if self.classes else []), *known]
            if not names:
                raise InputError(f"{name} cannot be set: this run was trained without conditions; leave --set out")
            raise unknown("condition of this run", name, names)
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = float("nan")
        if not np.isfinite(number):
            raise InputError(f"{name} = {value!r} is not a number: write for example --set {name}={known[name].low:.3g}")
        column = known[name]
        margin = ROUND * (column.high - column.low)
        if not column.low - margin <= number <= column.high + margin:
            raise InputError(
                f"{name} = {number:g} is outside what this run was trained on, {column.low:.4g} to {column.high:.4g} "
                f"{column.unit}: ask for a value in between".replace(" :", ":")
            )
        return number

    def _example(self) -> str:
        if self.columns:
            return f"{self.columns[0].name}={(self.columns[0].low + self.columns[0].high) / 2:.3g}"
        return f"{CLASS}={self.classes[0]}" if self.classes else "theta_E=1.2"

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready data that `from_dict` reads."""
        return {"classes": list(self.classes), "columns": [asdict(column) for column in self.columns]}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Conditions:
        """Return what `as_dict` described."""
        return cls(tuple(content["classes"]), tuple(Column(**column) for column in content["columns"]))
