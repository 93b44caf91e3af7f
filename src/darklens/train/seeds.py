"""Seeds by address: everything random in a training is a function of (seed, epoch, ...)."""

from __future__ import annotations

import numpy as np


def seed_at(*address: int) -> int:
    """Return the seed of a generator at an address of whole numbers, below 2^63."""
    return int(np.random.SeedSequence(address).generate_state(1, np.uint64)[0] >> np.uint64(1))
