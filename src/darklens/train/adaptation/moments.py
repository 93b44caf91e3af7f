"""Moment matching: the normalisation of every layer learns the mean and variance of the new images (AdaBN; Li et al. 2016).

A network with batch normalisation keeps the mean and variance of each of its feature maps. They belong to the images that it was
trained on; measured again on unlabelled images of another kind (arXiv:1603.04779, algorithm 1), every map has the moments there
that its next layer expects. No weight changes, and the order of classes in the target does not matter.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from darklens.train.adaptation.encoder import batches, prepared
from darklens.train.config import Preprocess

BATCH = 256


def has_moments(network: nn.Module) -> bool:
    """Whether a network keeps moments that could be matched."""
    return any(isinstance(m, _BatchNorm) and m.track_running_stats for m in network.modules())


def match_moments(network: nn.Module, inputs: np.ndarray, settings: Preprocess, device: torch.device, seed: int = 0) -> None:
    """Measure the moments of every batch normalisation again, in place; a network without any stays as it is.

    Args:
        network: the classifier.
        inputs: `(n, bands, H, W)`, what it sees before `prepare`.
        settings: from there to its input.
        device: where it lies.
        seed: of the order, so that a batch holds images of all kinds.
    """
    layers = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not layers:
        return
    network.eval()  # nothing is dropped
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the plain mean over batches
        layer.train()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for index in batches(len(inputs), BATCH, generator):
            network(prepared(inputs, index, settings, device))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    network.eval()
