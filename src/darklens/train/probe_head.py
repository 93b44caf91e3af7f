"""A last layer to begin with: what a line through an encoder's vectors can tell apart, before the encoder itself is tuned."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from darklens.errors import InputError
from darklens.evaluate.vectors import fitted_probe
from darklens.models.encoder_classifier import EncoderClassifier
from darklens.train.config import Preprocess
from darklens.train.embedder import embed
from darklens.train.fresh import FreshImages
from darklens.train.image_set import ImageSet


def begin_with_probe(model: EncoderClassifier, images: ImageSet | FreshImages, settings: Preprocess) -> None:
    """Give a network the logistic regression on its encoder's vectors of the training images as its last layer.

    Args:
        model: a network that begins with a `probe`, on the CPU.
        images: to learn from, as the network sees them.
        settings: from images to inputs.

    Raises:
        InputError: images that are drawn while training, or a class without any.
    """
    if isinstance(images, FreshImages):
        raise InputError("model.options.probe begins with vectors of stored images, and data.fresh stores none: leave one out")
    missing = [name for name, count in images.counts.items() if not count]
    if missing:
        raise InputError(f"no training image is of class {missing[0]!r}, and model.options.probe needs some of each: leave it out")
    known = embed(model.encoder, images.inputs, len(images), settings, "cpu")
    scale, line = fitted_probe(known, images.labels)
    weight, bias = line.coef_, line.intercept_
    last = model.head[1]
    assert isinstance(last, nn.Linear), "as every head of this network ends"
    if len(weight) < last.out_features:  # of two classes, the line between them
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    model.begin_with(*(torch.as_tensor(part, dtype=torch.float32) for part in (scale.mean, scale.deviation, weight, bias)))
