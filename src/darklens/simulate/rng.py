"""Random numbers by address: every row of a simulated table is a pure function of `(seed, row, stream)`.

A counter-based generator (Philox; Salmon et al. 2011, SC'11) is keyed by the address, so a row is the same whatever the batch
size, the number of workers or the order of work, and a killed simulation continues as if nothing had happened.
"""

from __future__ import annotations

import zlib

import numpy as np

from darklens.errors import InputError

MAX_SEED = 2**63 - 1


def row_generator(seed: int, row: int, stream: str) -> np.random.Generator:
    """Return the generator of one row.

    Args:
        seed: seed of the table, 0 to 2^63 - 1.
        row: index of the row in the table.
        stream: what the numbers are for ("scene", "noise"), so that a scene does not change when its noise does.

    Raises:
        InputError: the seed is out of range.
    """
    if not 0 <= seed <= MAX_SEED:
        raise InputError(f"seed {seed} is outside 0 to {MAX_SEED}: give a non-negative integer")
    words = np.random.SeedSequence([seed, row, zlib.crc32(stream.encode())]).generate_state(2, np.uint64)
    return np.random.Generator(np.random.Philox(key=words))
