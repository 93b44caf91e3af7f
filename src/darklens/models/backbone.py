"""Image classifiers of `transformers`, fitted to images of any bands, size and number of classes.

The network is built from its configuration (a dict, so that a run can keep it). Where the architecture cannot take the
images as they are, they are resized bilinearly to the smallest size that it does take: a multiple of the patch for
vision transformers, a multiple of 32, then the published size for the others.

Images enter as `(image - 0.449) / 0.226`, the mean and deviation of ImageNet's pixels over all colours, as published
networks expect them. Fresh ones need it too: where dark sky is zero, the layer norm after the first convolution makes
its noise as large as the arc.

Weights of a published network are carried over with three changes. The first convolution is summed over its colours, so
that a grey image gets the response that it had; embeddings of position, and biases by distance, are interpolated; the
head starts fresh.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from darklens.errors import InputError
from darklens.models.shapes import check_images, check_size

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

MEAN, DEVIATION = 0.449, 0.226
MULTIPLE = 32  # what nearly every hierarchical network halves its maps to
_UNKEPT = ("architectures", "id2label", "label2id", "num_labels", "dtype", "torch_dtype", "transformers_version", "_name_or_path")
_REFUSALS = (RuntimeError, ValueError, TypeError, IndexError, AssertionError, ArithmeticError)


class Backbone(nn.Module):
    """Images (B, bands, H, W) to logits (B, classes).

    Args:
        bands: number of bands.
        classes: number of logits.
        size: image height and width, at least 32 pixels.
        config: the configuration, "model_type" included.
        image_size: side to which images are resized before the network; by default they are resized only where they must be.

    Attributes:
        network_size: height and width of what the network sees.

    Raises:
        InputError: `transformers` is missing, image too small, a configuration that it does not know or that takes no such images.
    """

    def __init__(
        self, bands: int, classes: int, size: int | tuple[int, int], config: dict[str, Any], image_size: int | None = None
    ) -> None:
        super().__init__()
        self.bands, self.size = bands, check_size(size, minimum=MULTIPLE)
        if image_size is not None and image_size < MULTIPLE:
            raise InputError(f"image_size {image_size} is too small: give at least {MULTIPLE} pixels")
        published = configuration(config)
        refusals = []
        for height, width in _sizes(published, self.size, image_size):
            try:
                network = _network(config, bands, classes, (height, width))
            except _REFUSALS as refusal:
                refusals.append(str(refusal).split("\n")[0])
                continue
            self.network, self.network_size = network, (height, width)
            return
        raise InputError(
            f"a {published.model_type} of this configuration takes no images of {self.size[0]}x{self.size[1]} ({refusals[-1]}): "
            "give the option image_size, or take another model"
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        check_images(images, self.bands, self.size)
        if self.network_size != self.size:
            images = interpolate(images, self.network_size, mode="bilinear", antialias=True)
        return self.network(pixel_values=(images - MEAN) / DEVIATION).logits

    def adopt(self, source: PreTrainedModel) -> None:
        """Take over the weights of a published network of the same architecture.

        Args:
            source: an image classifier of `transformers`.

        Raises:
            InputError: a tensor of another shape that is none of those that can be adapted.
        """
        given, wanted = source.state_dict(), self.network.state_dict()
        grids = _patch_grid(source.config), _patch_grid(self.network.config)
        adapted = {}
        for key, target in wanted.items():
            tensor = given.get(key)
            if tensor is not None and tensor.shape == target.shape:
                adapted[key] = tensor
            elif tensor is None or _is_head(tensor, target, source.config.num_labels, self.network.config.num_labels):
                adapted[key] = target
            else:
                adapted[key] = _adapt(key, tensor, target, *grids)
        self.network.load_state_dict(adapted)


def transformers_library() -> Any:
    """Return the package `transformers`.

    Raises:
        InputError: it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise InputError(
            'swin, convnext and hf: models need the package transformers, which is not installed: pip install "darklens[zoo]"'
        ) from error
    return transformers


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep `transformers` from drawing progress bars and printing what is said better in one sentence."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def classifier_class(model_type: str) -> type[PreTrainedModel]:
    """Return the image classifier of `transformers` for a type of model.

    Raises:
        InputError: it has none, or one that needs yet another package.
    """
    library = transformers_library()
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

    names = MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES.get(model_type)
    if names is None or model_type == "timm_wrapper":
        raise InputError(
            f"models of type {model_type!r} are no image classifiers of transformers: take one of resnet, convnextv2, vit, ..."
        )
    return getattr(library, names if isinstance(names, str) else names[0])  # the second would be a teacher's pupil


def configuration(config: dict[str, Any]) -> PretrainedConfig:
    """Build the configuration that a dict describes.

    Raises:
        InputError: no or an unknown "model_type", or entries that it does not take.
    """
    library = transformers_library()
    entries = dict(config)
    model_type = entries.pop("model_type", None)
    if not isinstance(model_type, str):
        raise InputError('a configuration without "model_type" says nothing: give for example {"model_type": "resnet"}')
    classifier_class(model_type)
    try:
        return library.AutoConfig.for_model(model_type, **entries)
    except Exception as error:  # each version of transformers has its own class for this
        raise InputError(f"configuration of a {model_type}: {str(error).splitlines()[0]}") from error


def as_dict(config: PretrainedConfig) -> dict[str, Any]:
    """Return what of a configuration differs from the defaults and makes the architecture, as plain JSON values."""
    entries = json.loads(config.to_json_string(use_diff=True))
    return {"model_type": config.model_type} | {key: value for key, value in entries.items() if key not in _UNKEPT}


def grey_kernel(weight: Tensor, bands: int) -> Tensor:
    """Return a first kernel (out, bands, h, w) from one of colours (out, colours, h, w).

    Each band gets the sum over the colours divided by the number of bands: where all bands are alike, the response is unchanged.
    """
    if weight.shape[1] == bands:
        return weight
    return (weight.sum(1, keepdim=True) / bands).expand(-1, bands, -1, -1).contiguous()


def _network(config: dict[str, Any], bands: int, classes: int, size: tuple[int, int]) -> PreTrainedModel:
    """Build the network with fresh weights and try it on an empty image."""
    adapted = configuration(config)
    adapted.num_channels, adapted.num_labels = bands, classes
    if hasattr(adapted, "image_size"):
        adapted.image_size = size[0] if size[0] == size[1] else size
    if hasattr(adapted, "use_mask_token"):
        adapted.use_mask_token = False  # nothing is masked here, and a parameter without gradient stops distributed training
    with quietly():
        network = classifier_class(adapted.model_type)(adapted)
    if hasattr(adapted, "initializer_range"):
        _start_batch_norms(network)
    with torch.no_grad():
        shape = network.eval()(pixel_values=torch.zeros(1, bands, *size)).logits.shape
    if shape != (1, classes):
        raise ValueError(f"logits of shape {tuple(shape)}")
    return network.train()


def _start_batch_norms(network: nn.Module) -> None:
    """Start batch norms at scale 1 and draw the kernels before them anew.

    Some architectures of `transformers` draw both with a deviation of 0.02: a few blocks on, the image has vanished.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_parameters()
    for module in network.modules() if norms else ():
        if isinstance(module, nn.Conv2d) and module.bias is None:
            nn.init.kaiming_normal_(module.weight)


def _sizes(config: PretrainedConfig, size: tuple[int, int], image_size: int | None) -> list[tuple[int, int]]:
    """Return the sizes to try, each (height, width), the most faithful first."""
    if image_size is not None:
        return [(image_size, image_size)]
    patch = _side(getattr(config, "patch_size", None))
    if patch and not hasattr(config, "depths") and isinstance(getattr(config, "hidden_size", None), int):
        tried = [_round_up(size, patch)]  # a plain vision transformer would drop the pixels beyond its last whole patch
    else:
        tried = [size]
    rounded = _round_up(size, MULTIPLE)
    published = _side(getattr(config, "image_size", None)) or 224
    tried += [rounded, (max(rounded),) * 2, (max(published, *rounded),) * 2]
    return list(dict.fromkeys(tried))


def _round_up(size: tuple[int, int], multiple: int) -> tuple[int, int]:
    height, width = (math.ceil(side / multiple) * multiple for side in size)
    return height, width


def _side(value: object) -> int | None:
    """Return one number for a side that may be given as a number, a pair or not at all."""
    if isinstance(value, list | tuple):
        return int(value[0])
    return value if isinstance(value, int) else None


def _patch_grid(config: PretrainedConfig) -> tuple[int, int] | None:
    """Return rows and columns of patches, None where the architecture has no plain patches."""
    patch, size = _side(getattr(config, "patch_size", None)), getattr(config, "image_size", None)
    if not patch or size is None:
        return None
    height, width = size if isinstance(size, list | tuple) else (size, size)
    return height // patch, width // patch


def _is_head(tensor: Tensor, target: Tensor, labels: int | None, classes: int | None) -> bool:
    return tensor.shape[0] == labels and target.shape[0] == classes and tensor.shape[1:] == target.shape[1:]


def _adapt(key: str, tensor: Tensor, target: Tensor, given: tuple[int, int] | None, wanted: tuple[int, int] | None) -> Tensor:
    """Return a published tensor in the shape of the target's."""
    if tensor.ndim == 4 and tensor.shape[0] == target.shape[0] and tensor.shape[2:] == target.shape[2:]:
        return grey_kernel(tensor, target.shape[1])
    if "position_embedding" in key and tensor.ndim == 3 and given is not None and wanted is not None:
        return _resample_positions(tensor, target, given, wanted)
    if "attention_biases" in key and tensor.ndim == 2:  # by distance down and right, from 0 on
        before, after = (math.isqrt(t.shape[1]) for t in (tensor, target))
        square = tensor.unflatten(1, (before, before))[None]
        return interpolate(square, (after, after), mode="bilinear", align_corners=False)[0].flatten(1)
    raise InputError(
        f"the published weights do not fit images of this size ({key} has shape {tuple(tensor.shape)}, {tuple(target.shape)} is "
        "needed): give the option image_size with the published size, or weights: random"
    )


def _resample_positions(tensor: Tensor, target: Tensor, given: tuple[int, int], wanted: tuple[int, int]) -> Tensor:
    """Interpolate position embeddings (1, special + rows columns, width) to another grid; special tokens stay."""
    special = tensor.shape[1] - given[0] * given[1]
    if special < 0 or special != target.shape[1] - wanted[0] * wanted[1]:
        raise InputError(f"position embeddings {tuple(tensor.shape)} do not belong to a grid of {given[0]}x{given[1]} patches")
    grid = tensor[:, special:].mT.unflatten(2, given)
    return torch.cat([tensor[:, :special], interpolate(grid, wanted, mode="bicubic", align_corners=False).flatten(2).mT], 1)
