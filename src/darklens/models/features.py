"""Views into a model that figures and reports need."""

from __future__ import annotations

from torch import nn


def first_convolution(model: nn.Module) -> nn.Conv2d:
    """Return the convolution that sees the input bands of the classifier.

    Where a physics layer stands before the network (`model.trunk`), or columns beside it, this is the first convolution behind
    that: hook it and run the model on images to draw its feature maps.
    """
    while isinstance(behind := getattr(model, "trunk", None), nn.Module):
        model = behind
    return next(module for module in model.modules() if isinstance(module, nn.Conv2d))


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable numbers in a model."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
