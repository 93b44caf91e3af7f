"""The answers on validation images that a run keeps, for conformal sets of any coverage and for the temperature of an ensemble."""

from __future__ import annotations

import numpy as np
import torch

from darklens.runs import VALIDATION, Run
from darklens.train.checkpoint import load_weights, save_weights


def save_held_out(run: Run, logits: np.ndarray, labels: np.ndarray) -> None:
    """Write logits `(n, k)` and class indices `(n,)`."""
    tensors = {"logits": torch.from_numpy(logits.astype(np.float32)), "labels": torch.from_numpy(labels.astype(np.int64))}
    save_weights(run.path / VALIDATION, tensors)


def load_held_out(run: Run) -> tuple[np.ndarray, np.ndarray] | None:
    """Read what `save_held_out` wrote, None for runs that have not kept it.

    Raises:
        InputError: the file is damaged.
    """
    if not (run.path / VALIDATION).is_file():
        return None
    tensors = load_weights(run.path / VALIDATION)
    return tensors["logits"].numpy(), tensors["labels"].numpy()
