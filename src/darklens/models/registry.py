"""The names of the architectures, and the one function that builds them.

To add a model, write its file and enter it in `MODELS`. A model is an `nn.Module` with a one-line `summary` and the `task` it is
for, one of `TASKS`; classifiers need not say it. The `forward` of a classifier maps images (B, bands, H, W), each normalised to
[0, 1], to logits (B, classes). A constructor takes what it needs of `bands`, `classes`, `size` and `pixel_scale`; every other
argument is an option of its own. Names that begin with `hf:` stand for the image classifiers of a model hub, or of a folder.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from darklens.errors import InputError, unknown
from darklens.models.arcnet import ArcNet
from darklens.models.cnn import CNN
from darklens.models.coatnet import CoAtNet
from darklens.models.convnext import ConvNeXt
from darklens.models.cvt import CvT
from darklens.models.ddpm import DDPM
from darklens.models.dropout_cnn import DropoutCNN
from darklens.models.efficientnet_b0 import EfficientNetB0
from darklens.models.encoder_classifier import ENCODERS, EncoderClassifier, settle_encoder
from darklens.models.encoder_super_resolution import EncoderSuperResolution
from darklens.models.hub import PREFIX, HubModel
from darklens.models.hub import settle as settle_hub
from darklens.models.lens_diffusion import LensDiffusion
from darklens.models.lensformer import Lensformer
from darklens.models.lensformer_published import LensformerPublished
from darklens.models.lenspinn import LensPINNLarge, LensPINNSmall
from darklens.models.p4m_resnet import P4MResNet
from darklens.models.peaknet import PeakNet
from darklens.models.pi_resnet18 import PIResNet18
from darklens.models.pi_resnet18_published import PIResNet18Published
from darklens.models.pinn import PINN
from darklens.models.pinn_published import PINNPublished
from darklens.models.resnet18 import ResNet18
from darklens.models.srresnet import EDSR, SRResNet
from darklens.models.srresnet_arc import SRResNetArc
from darklens.models.swin import Swin
from darklens.models.vit import ViT

MODELS: dict[str, type[nn.Module]] = {
    "arcnet": ArcNet,
    "p4m-resnet": P4MResNet,
    "cnn": CNN,
    "resnet18": ResNet18,
    "pi-resnet18": PIResNet18,
    "pi-resnet18-published": PIResNet18Published,
    "pinn": PINN,
    "pinn-published": PINNPublished,
    "efficientnet-b0": EfficientNetB0,
    "vit": ViT,
    "cvt": CvT,
    "lensformer": Lensformer,
    "lensformer-published": LensformerPublished,
    "lenspinn-large": LensPINNLarge,
    "lenspinn-small": LensPINNSmall,
    "dropout-cnn": DropoutCNN,
    "swin": Swin,
    "convnext": ConvNeXt,
    "coatnet": CoAtNet,
    "srresnet": SRResNet,
    "edsr": EDSR,
    "srresnet-arc": SRResNetArc,
    "peaknet": PeakNet,
    "ddpm": DDPM,
    "lens-diffusion": LensDiffusion,
    "encoder": EncoderClassifier,
    "encoder-super-resolution": EncoderSuperResolution,
    **ENCODERS,
}


FAMILIES = dict.fromkeys(("classification", "binary", "inference"), "classification") | {
    task: task for task in ("super-resolution", "generation", "masked-autoencoder", "joint-embedding", "denoising", "localisation")
}
"""`train.task` of a recipe -> the task of the models that it may name; what tells classes apart can tell a posterior, too."""
TASKS = tuple(dict.fromkeys(FAMILIES.values()))


def task_of(name: str) -> str:
    """Return what a model is for, one of `TASKS`."""
    return getattr(architecture(name), "task", TASKS[0])


def models_for(task: str) -> dict[str, type[nn.Module]]:
    """Return the models for a task."""
    return {name: model for name, model in MODELS.items() if task_of(name) == task}


def architecture(name: str) -> type[nn.Module]:
    """Return the class behind the name of a model.

    Raises:
        InputError: unknown model.
    """
    if name.startswith(PREFIX):
        return HubModel
    if name not in MODELS:
        raise unknown("model", name, [*MODELS, f"{PREFIX}REPOSITORY"])
    return MODELS[name]


def summaries() -> dict[str, str]:
    """Return what a user may name as a model, with one line each; what is no classifier begins with its task."""
    tasks = {name: "" if task_of(name) == TASKS[0] else f"{task_of(name)}: " for name in MODELS}
    said = {name: tasks[name] + model.summary for name, model in MODELS.items()}  # type: ignore[attr-defined]  # each has one, see above
    return said | {f"{PREFIX}REPOSITORY": HubModel.summary}


def settle(name: str, options: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Return a model's options with all that was looked up for them, for a run to keep, and a sentence if some was not found.

    Raises:
        InputError: unknown model, or a repository or weights that cannot be had.
    """
    if architecture(name) in (EncoderClassifier, EncoderSuperResolution):
        return settle_encoder(options), None
    return settle_hub(name.removeprefix(PREFIX), options) if architecture(name) is HubModel else (options, None)


def for_trained(options: dict[str, Any]) -> dict[str, Any]:
    """Return a model's options without the weights that training started from: those that it ended with are loaded instead."""
    return options | {"weights": "random"} if "weights" in options else options


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
        name: a key of `MODELS`, or "hf:" and a repository or folder.
        bands: number of bands of an image.
        classes: number of logits.
        size: height and width of an image in pixels; one number for a square.
        pixel_scale: arcsec a pixel, for the models that do physics.
        seed: where the initial weights are drawn from; the global random state is left as it was.
        options: what else the model's constructor takes.

    Raises:
        InputError: unknown model or option, or a value that the model cannot take.
    """
    model = architecture(name)
    for what, number in (("bands", bands), ("classes", classes)):
        if number < 1:
            raise InputError(f"a model with {number} {what} cannot be built: give at least 1")
    common = {"bands": bands, "classes": classes, "size": size, "pixel_scale": pixel_scale, "repo": name.removeprefix(PREFIX)}
    accepted = inspect.signature(model).parameters
    for option in options:
        if option not in accepted or option in common:
            raise unknown(f"option of {name}", option, [key for key in accepted if key not in common])
    needed = {key: value for key, value in common.items() if key in accepted}
    if isinstance(seed, torch.Generator):
        seed = int(torch.randint(2**62, (), generator=seed))
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        return model(**needed, **options)
