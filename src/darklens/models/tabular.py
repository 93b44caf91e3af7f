"""A network that sees numbers beside the image: the features of any architecture, joined to those of a small network on columns.

A catalogue knows what a cutout does not show: how bright an object is, its colours, the seeing of its exposure. The architecture is
asked for `FEATURES` numbers in the place of logits; two layers make `HIDDEN` of the columns, each in units of its scatter over the
training images; two more answer on both. A value that is not known counts as the mean, and a flag beside each column says so: the
missing-indicator method, with which a network can learn that not to know is not to be average (Le Morvan et al. 2021,
arXiv:2106.00311, on when it suffices).

Columns come behind the bands, each as a plane of one value, NaN where it is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from darklens.errors import InputError
from darklens.models.registry import build

FEATURES = 64
"""Numbers that the architecture is asked for."""
HIDDEN = 32
"""Width of the layers that see the columns."""
LIMIT = 10.0
"""Columns are held between plus and minus this, in units of their scatter: no slip of a catalogue outshouts the image."""


class Tabular(nn.Module):
    """Images with the planes of their columns `(B, bands + C, H, W)` to logits `(B, classes)`.

    Args:
        trunk: images `(B, bands, H, W)` to `(B, FEATURES)`.
        columns: name -> `mean` and `std` over the training images, in the order of the planes.
        classes: number of logits.

    Raises:
        InputError: no column, or one without scatter.
    """

    mean: Tensor
    std: Tensor
    summary = "any architecture, and a small network on columns of a table beside it"

    def __init__(self, trunk: nn.Module, columns: Mapping[str, Mapping[str, float]], classes: int) -> None:
        super().__init__()
        if not columns:
            raise InputError("a tabular model without a column cannot be built: name some in preprocess.columns")
        if flat := next((name for name, scale in columns.items() if not scale["std"] > 0), None):
            raise InputError(f"column {flat!r} has the scatter {columns[flat]['std']}: leave it out of preprocess.columns")
        self.trunk = trunk
        for part in ("mean", "std"):  # they come with the description of the model, not with its weights
            self.register_buffer(part, torch.tensor([float(scale[part]) for scale in columns.values()]), persistent=False)
        self.numbers = nn.Sequential(nn.Linear(2 * len(columns), HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN), nn.GELU())
        self.head = nn.Sequential(
            nn.LayerNorm(FEATURES + HIDDEN), nn.Linear(FEATURES + HIDDEN, FEATURES), nn.GELU(), nn.Linear(FEATURES, classes)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits `(B, classes)`."""
        images, numbers = self._apart(inputs)
        return self._answer(self.trunk(images), numbers)

    def _apart(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return images `(B, bands, H, W)`, and columns in units of their scatter with flags `(B, 2 C)`."""
        count = len(self.mean)
        values = inputs[:, -count:, 0, 0].float()
        missing = values.isnan()
        scaled = torch.where(missing, torch.zeros_like(values), (values - self.mean) / self.std).clamp(-LIMIT, LIMIT)
        return inputs[:, :-count].contiguous(), torch.cat([scaled, missing.float()], 1)

    def _answer(self, features: Tensor, numbers: Tensor) -> Tensor:
        return self.head(torch.cat([features, self.numbers(numbers).to(features.dtype)], 1))


class TabularWithPhysics(Tabular):
    """The same on an architecture that has a physics loss of its own."""

    trunk: Any  # a module with `forward_with_auxiliary`

    def forward_with_auxiliary(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits `(B, classes)` and the architecture's own loss."""
        images, numbers = self._apart(inputs)
        features, extra = self.trunk.forward_with_auxiliary(images)
        return self._answer(features, numbers), extra


def build_tabular(
    name: str, *, columns: Mapping[str, Mapping[str, float]], classes: int, seed: int = 0, **settings: Any
) -> Tabular:
    """Build a model that sees columns, on the CPU, with weights that are a pure function of the arguments.

    Args:
        name: of the architecture, as `build` takes it.
        columns: see `Tabular`.
        classes: number of logits.
        seed: where the initial weights are drawn from; those of the architecture are drawn as without columns.
        settings: what else `build` takes.

    Raises:
        InputError: unknown model or option, or a column that cannot be used.
    """
    trunk = build(name, classes=FEATURES, seed=seed, **settings)
    kind = TabularWithPhysics if hasattr(trunk, "forward_with_auxiliary") else Tabular
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        return kind(trunk, columns, classes)
