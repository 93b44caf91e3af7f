"""Images with the parameters that are learned from them: stored, or drawn while a network trains.

Networks may see numbers of the smooth fit beside what it leaves over: `preprocess.columns` names them as `darklens.fit` does
(`fit_theta_E`, `fit_theta_E_error`, `fit_chi2`). They travel as the planes of columns do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from darklens.data import Table
from darklens.errors import unknown
from darklens.fit import Plan, SmoothFit
from darklens.models.posterior import fit_to_z
from darklens.simulate import Preset
from darklens.train.columns import scales, with_planes
from darklens.train.config import Preprocess
from darklens.train.fitted import network_inputs
from darklens.train.fresh import FreshImages
from darklens.train.inference.space import ParameterSpace
from darklens.train.stored import Stored

LARGEST = 1e6
"""At which an error of a fit that found nothing is held."""
OUTERMOST = 0.02, 0.98
"""Quantiles beyond which the numbers of fits are not asked for their scatter."""


def fit_columns(plan: Plan | None) -> tuple[str, ...]:
    """Return the numbers of a fit that a network may see, by name."""
    free = plan.model.free if plan else ()
    return (*(name for p in free for name in (f"fit_{p}", f"fit_{p}_error")), *(("fit_chi2",) if plan else ()))


def check_columns(names: list[str], plan: Plan | None) -> None:
    """Make sure that the fits have these numbers.

    Raises:
        InputError: one is no number of the fit.
    """
    for name in names:
        if name not in fit_columns(plan):
            raise unknown(
                "number of the smooth fit (preprocess.columns)", name, fit_columns(plan) or ("none: preprocess.input is image",)
            )


def fit_numbers(columns: Mapping[str, np.ndarray], n: int) -> np.ndarray:
    """Return numbers of n fits, `(n, C)` float32, all of them finite."""
    values = np.stack(list(columns.values()), 1) if columns else np.zeros((n, 0))
    return np.nan_to_num(values, nan=LARGEST, posinf=LARGEST, neginf=-LARGEST).clip(-LARGEST, LARGEST).astype(np.float32)


def anchors(names: Sequence[str], columns: Sequence[str], known: ParameterSet) -> dict[str, Any] | None:
    """Return what `darklens.models.posterior.Anchors` is told of the parameters whose fit a network sees; None if there is none.

    Args:
        names: of the parameters.
        columns: that the network sees.
        known: training images.
    """
    places = [k for k, name in enumerate(names) if f"fit_{name}" in columns]
    if not places:
        return None
    at = [columns.index(f"fit_{names[k]}") for k in places]
    space = known.space
    of_kind = (space.mean, space.std) if space.kind == "standard" else (space.low, space.high)
    ends = [[part[k] for part in of_kind] for k in places]
    told = fit_to_z(torch.from_numpy(known.numbers[:, at]), space.kind, torch.tensor(ends, dtype=torch.float32))
    scale = (torch.from_numpy(space.to_z(known.theta)[:, places]) - told).std(0).clamp_min(1e-4)
    planes = [k - len(columns) for k in at]
    return {"places": places, "planes": planes, "kind": space.kind, "ends": ends, "scale": scale.tolist()}


def number_scales(columns: Sequence[str], numbers: np.ndarray) -> dict[str, dict[str, float]]:
    """Return mean and deviation of each of a fit's numbers `(n, C)`, as if the outermost images were like their neighbours.

    One failed fit in a thousand, with an error of `LARGEST`, would else make all others alike.
    """
    low, high = np.quantile(numbers, OUTERMOST, axis=0)
    inner = np.where(low < high, numbers.clip(low, high), numbers)
    return scales(dict(zip(columns, inner.T, strict=True)))


def _number(fit: SmoothFit, name: str) -> np.ndarray:
    plain = name.removeprefix("fit_")
    if plain == "chi2":
        return fit.chi2
    return fit.error(plain.removesuffix("_error")) if plain.endswith("_error") else fit[plain]


def seen(images: np.ndarray, plan: Plan | None, settings: Preprocess) -> tuple[np.ndarray, SmoothFit | None]:
    """Return what a network sees of images `(n, bands, H, W)`, before `prepare`, and the fit, if there was one."""
    inputs, fit = network_inputs(images, plan, settings.model_copy(update={"columns": []}))
    return (
        inputs
        if fit is None
        else with_planes(inputs, fit_numbers({name: _number(fit, name) for name in settings.columns}, len(fit)))
    ), fit


@dataclass(frozen=True)
class ParameterSet(Stored):
    """A set of images whose parameters are known.

    Args:
        shown: `(n, C, h, w)` float32, what the network sees, before `prepare`, without the planes of columns.
        numbers: `(n, K)` float32, the columns that it sees beside; K may be 0.
        theta: `(n, P)` float64.
        space: of the parameters.
        ids: `(n,)`.
        shape: `(bands, H, W)` of the images themselves.
        chi2: `(n,)` reduced chi^2 of the smooth fits; None for networks that see images.
        rows: `(n,)` rows of the preset's table, of which scenes are drawn again.
    """

    shown: np.ndarray
    numbers: np.ndarray
    theta: np.ndarray
    space: ParameterSpace
    ids: np.ndarray
    shape: tuple[int, int, int]
    chi2: np.ndarray | None
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.theta)

    @property
    def counts(self) -> dict[str, int]:
        """Images, of one kind."""
        return {"known": len(self)}

    @property
    def classes(self) -> tuple[str, ...]:
        """None are told apart."""
        return ("known",)

    def batch(self, index: np.ndarray, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Return what a network sees and z `(B, P)` at these positions, on a device."""
        z = torch.from_numpy(self.space.to_z(self.theta[index]))
        return torch.from_numpy(np.ascontiguousarray(self.inputs(index))).to(device), z.to(device)

    def inputs(self, index: np.ndarray | slice) -> np.ndarray:
        """Return what a network sees, before `prepare`."""
        return with_planes(self.shown[index], self.numbers[index])

    def take(self, index: np.ndarray) -> ParameterSet:
        """Return the images at these positions."""
        names = ("shown", "numbers", "theta", "ids", "rows")
        chi2 = None if self.chi2 is None else self.chi2[index]
        return replace(self, chi2=chi2, **{name: getattr(self, name)[index] for name in names})

    def seen_as(self, settings: Preprocess) -> ParameterSet:
        """Return the set: it was made for one network."""
        return self


def known_rows(table: Table, rows: np.ndarray, parameters: list[str], classes: list[str] | None) -> np.ndarray:
    """Return those of the rows whose parameters are all known, and whose class is one of these.

    Raises:
        InputError: the table has no such column or class.
    """
    for name in parameters:
        if name not in table.columns:
            raise unknown(f"truth column of {table.path or 'the table'}", name, table.columns)
    for name in classes or ():
        if name not in table.classes:
            raise unknown("class", name, table.classes)
    known = np.isfinite(np.stack([table.column(name)[rows] for name in parameters], 1)).all(1)
    if classes:
        known &= np.isin(table.labels[rows], classes)
    return rows[known]


@dataclass(frozen=True)
class FreshParameters(FreshImages):
    """The same without end: images of the classes whose parameters are known, new ones every epoch.

    Args:
        space: of the parameters, and their names.
        kinds: classes that take turns.
    """

    space: ParameterSpace = field(kw_only=True)
    kinds: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """None are told apart."""
        return ("known",)

    @property
    def counts(self) -> dict[str, int]:
        """Images, of one kind."""
        return {"known": self.size}

    def inputs(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what the network sees of these rows (before `prepare`), and their z `(count, P)`."""
        images, theta = drawn(self.preset, self.seed, first, count, self.kinds, self.space.names)
        return seen(images, self.plan, self.settings)[0], self.space.to_z(theta)


def drawn(
    preset: Preset, seed: int, first: int, count: int, kinds: tuple[str, ...], names: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return images `(count, bands, H, W)` and parameters `(count, P)` of rows of a preset, all of these classes in turn."""
    labels = tuple(kinds[row % len(kinds)] for row in range(first, first + count))
    images, truth = preset.images(preset.population.draw(count, seed, first, labels=labels))
    return images, np.stack([truth[name] for name in names], 1)
