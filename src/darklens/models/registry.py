"""The names of the architectures, and the one function that builds them.

To add a model, write its file and enter it in `MODELS`. A model is an `nn.Module` with a one-line `summary` whose
`forward` maps images (B, bands, H, W), each normalised to [0, 1], to logits (B, classes). Its constructor takes what it
needs of `bands`, `classes`, `size` and `pixel_scale`; every other argument is an option of its own.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from darklens.errors import InputError, unknown
from darklens.models.arcnet import ArcNet
from darklens.models.cnn import CNN
from darklens.models.pi_resnet18 import PIResNet18
from darklens.models.pi_resnet18_published import PIResNet18Published
from darklens.models.resnet18 import ResNet18

MODELS: dict[str, type[nn.Module]] = {
    "arcnet": ArcNet,
    "cnn": CNN,
    "resnet18": ResNet18,
    "pi-resnet18": PIResNet18,
    "pi-resnet18-published": PIResNet18Published,
}


def build(
    name: str,
    *,
    bands: int = 1,
    classes: int = 3,
    size: int | tuple[int, int] = 64,
    pixel_scale: float = 0.08,
    seed: int | torch.Generator = 0,
    **options: Any,
) -> nn.Module:
    """Build a model on the CPU, with weights that are a pure function of the arguments.

    Args:
        name: a key of `MODELS`.
        bands: number of bands of an image.
        classes: number of logits.
        size: height and width of an image in pixels; one number for a square.
        pixel_scale: arcsec a pixel, for the models that do physics.
        seed: where the initial weights are drawn from; the global random state is left as it was.
        options: what else the model's constructor takes.

    Raises:
        InputError: unknown model or option, or a value that the model cannot take.
    """
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    for what, number in (("bands", bands), ("classes", classes)):
        if number < 1:
            raise InputError(f"a model with {number} {what} cannot be built: give at least 1")
    common = {"bands": bands, "classes": classes, "size": size, "pixel_scale": pixel_scale}
    accepted = inspect.signature(MODELS[name]).parameters
    for option in options:
        if option not in accepted:
            raise unknown(f"option of {name}", option, [key for key in accepted if key not in common])
    needed = {key: value for key, value in common.items() if key in accepted}
    if isinstance(seed, torch.Generator):
        seed = int(torch.randint(2**62, (), generator=seed))
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        return MODELS[name](**needed, **options)
