"""The three methods under one roof: a trained model and unlabelled images in, a network out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn

from darklens.errors import InputError, unknown
from darklens.train.adaptation.adversarial import adversarial
from darklens.train.adaptation.moments import has_moments, match_moments
from darklens.train.adaptation.self_training import self_train
from darklens.train.adaptation.settings import AdaptConfig
from darklens.train.image_set import ImageSet
from darklens.train.predictor import Predictor

METHODS = {
    "moments": "measure the moments of every batch normalisation again (AdaBN, arXiv:1603.04779); seconds, no source images",
    "adda": "an encoder whose features a discriminator cannot tell from the source's (ADDA, arXiv:1702.05464)",
    "self-training": "confident answers become labels, class-balanced, in rounds (arXiv:1810.07911)",
}
"""The methods, each in a line."""
FEWEST = 16
"""Target images below which moments would be a guess."""
Log = Callable[[str], None]


def check_method(method: str, network: nn.Module) -> None:
    """Make sure that a method is known and can do something for a network.

    Raises:
        InputError: it is not, or cannot.
    """
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    if method == "moments" and not has_moments(network):
        raise InputError("method moments needs batch normalisation, and this network has none: use adda or self-training")


def adapt_network(
    predictor: Predictor,
    images: np.ndarray,
    method: str,
    config: AdaptConfig,
    *,
    source: Callable[[], ImageSet] | None = None,
    log: Log = lambda sentence: None,
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """Return a network adapted to images, and the history of its adaptation; the predictor stays what it is.

    Args:
        predictor: the trained model.
        images: `(n, bands, H, W)` of the target, checked, without labels.
        method: one of `METHODS`.
        config: the settings.
        source: gives labelled images of the run's own kind to the methods that need them.
        log: receives sentences.

    Raises:
        InputError: an unknown method, one that can do nothing for this network, or too few images.
        WorkError: a loss that is not finite, or no confident answer.
    """
    check_method(method, predictor.model)
    if len(images) < FEWEST:
        raise InputError(f"{len(images)} target images to adapt to: give at least {FEWEST}")
    inputs, _ = predictor.see(images)
    network, settings, device = copy.deepcopy(predictor.model), predictor.preprocess, predictor.device
    if method == "moments":
        match_moments(network, inputs, settings, device, config.seed)
        return network, []
    if source is None:
        raise InputError(f"method {method} needs labelled images of the source: give --source, or use moments")
    labelled = source()
    known, _ = predictor.see(predictor.checked(labelled.pixels))
    kinds = tuple(predictor.run.recipe.get("train", {}).get("augment", ()))
    if method == "adda":
        history = adversarial(
            network, predictor.task.outputs, inputs, known, settings, config, device, augment=kinds, log=log
        )  # fmt: skip
        return network, history
    pair = known, labelled.labels
    return network, self_train(
        network, predictor.task, inputs, pair, settings, config, device, temperature=predictor.temperature, augment=kinds, log=log
    )
