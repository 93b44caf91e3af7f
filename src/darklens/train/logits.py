"""What a network answers to many images, in batches."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from darklens.train.config import Preprocess
from darklens.train.preprocess import prepare
from darklens.train.task import Images, Task

EVALUATION_BATCH = 256
"""Images that are asked about at once."""


def predict_logits(
    model: nn.Module, task: Task, images: Images | np.ndarray, preprocess: Preprocess, device: torch.device | str
) -> np.ndarray:
    """Return what a task predicts, `(n, k)` logits above all, of a set or of inputs `(n, bands, H, W)`, always in float32."""
    inputs = images.__getitem__ if isinstance(images, np.ndarray) else images.inputs
    model.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), EVALUATION_BATCH):
            batch = torch.from_numpy(np.ascontiguousarray(inputs(slice(start, start + EVALUATION_BATCH)))).to(device)
            parts.append(task.predict(model, prepare(batch, preprocess)).cpu().numpy())
    return np.concatenate(parts) if parts else np.zeros((0, len(getattr(task, "classes", ()))), np.float32)
