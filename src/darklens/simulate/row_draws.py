"""Random numbers of many rows at once, each a pure function of `(seed, row)`.

`RowDraws` looks to a prior like a numpy generator, and gives a whole batch at each call: `Uniform(1, 2).draw(draws)` is `(B,)`. The
k-th number of a row is word k of its own Philox counter, whatever rows stand beside it, so every row must draw the same numbers
in the same order: what only some need is drawn for all and then left alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri

from darklens.simulate.rng import philox, row_keys

BLOCK = 64
"""Columns drawn at once."""


class RowDraws:
    """The generators of B rows, which draw together.

    Args:
        seed: of the table.
        rows: B row indices.
        stream: what the numbers are for.
    """

    def __init__(self, seed: int, rows: Sequence[int], stream: str) -> None:
        self._keys = row_keys(seed, rows, stream)
        self._ready = np.zeros((len(self._keys), 0))
        self._blocks = 0

    def __len__(self) -> int:
        return len(self._keys)

    def random(self, size: int | None = None) -> np.ndarray:
        """Return numbers between 0 and 1, both excluded: `(B,)`, or `(B, size)`."""
        count = 1 if size is None else size
        while self._ready.shape[1] < count:
            first = self._blocks * BLOCK // 4
            words = philox(self._keys[:, None], np.arange(first, first + BLOCK // 4, dtype=np.uint64))
            self._ready = np.concatenate([self._ready, (np.concatenate(words, 1) + 0.5) * 2.0**-32], 1)
            self._blocks += 1
        taken, self._ready = self._ready[:, :count], self._ready[:, count:]
        return taken[:, 0] if size is None else taken

    def uniform(self, low: float | np.ndarray = 0.0, high: float | np.ndarray = 1.0, size: int | None = None) -> np.ndarray:
        """Return numbers between two limits."""
        return low + (high - low) * self.random(size)

    def normal(self, mean: float | np.ndarray = 0.0, sigma: float | np.ndarray = 1.0, size: int | None = None) -> np.ndarray:
        """Return normal numbers, by inverse transform."""
        return mean + sigma * ndtri(self.random(size))

    def poisson(self, mean: float, most: int) -> np.ndarray:
        """Return Poisson counts up to `most`, `(B,)` int, by inverse transform."""
        term = np.exp(-mean) * np.cumprod([1.0, *(mean / k for k in range(1, most + 1))])
        return np.minimum(np.searchsorted(np.cumsum(term), self.random()), most)

    def choice(self, weights: np.ndarray) -> np.ndarray:
        """Return indices drawn with these weights, `(B,)` int."""
        edges = np.cumsum(weights) / np.sum(weights)
        return np.minimum(np.searchsorted(edges, self.random()), len(weights) - 1)
