"""How many images a device computes at once: all of its share of a batch, or parts whose gradients are added up."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from darklens.errors import WorkError

SMALLEST = 16
"""Smallest part that is tried on a processor: below it, the work is mostly overhead."""
GAIN = 1.1
"""A part is taken on a processor only if it is faster than the whole share by this factor."""


def parts(share: int, micro_batch: int | None, accumulate: int = 1) -> list[slice]:
    """Return the parts in which a share of a batch is computed, as even as can be.

    Args:
        share: images of the batch that this process has.
        micro_batch: images that are computed at once at most.
        accumulate: parts at least.
    """
    number = min(share, max(accumulate, math.ceil(share / (micro_batch or share))))
    return [slice(k * share // number, (k + 1) * share // number) for k in range(number)]


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is short, on a graphics card or on a processor."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def smaller(count: int) -> int:
    """Return the largest power of two below `count`.

    Raises:
        WorkError: there is none.
    """
    if count <= 1:
        raise WorkError("the memory does not hold a training step on one image: choose a smaller model, or crop the images")
    return 1 << (count - 1).bit_length() - 1


def largest_that_fits(attempt: Callable[[int], float], share: int) -> tuple[int, str]:
    """Find how many images a graphics card can compute at once.

    Args:
        attempt: makes a training step on so many images.
        share: as many as would be needed.

    Returns:
        The number, the share or a power of two, and a sentence.
    """
    count = share
    while True:
        try:
            attempt(count)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            count = smaller(count)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        else:
            return count, f"batches of {share} images are computed {count} at a time: the most that fits into memory"


def fastest(attempt: Callable[[int], float], share: int) -> tuple[int, str]:
    """Find how many images a processor computes fastest at once: small parts stay in its cache.

    Args:
        attempt: makes a training step on so many images; returns seconds.
        share: as many as the batch has.

    Returns:
        The number, the share or a power of two, and a sentence.
    """
    candidates = [share, *(2**k for k in range(4, share.bit_length()) if SMALLEST <= 2**k < share)]
    rates = {n: n / min(attempt(n) for _ in range(2)) for n in candidates}
    best = max(rates, key=rates.__getitem__)
    best = best if rates[best] > GAIN * rates[share] else share
    measured = ", ".join(f"{n}: {rate:.0f}" for n, rate in sorted(rates.items()))
    return best, f"batches of {share} images are computed {best} at a time (measured training images/s by number: {measured})"
