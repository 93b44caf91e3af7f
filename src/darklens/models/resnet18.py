"""ResNet-18 (He, Zhang, Ren & Sun 2016, arXiv:1512.03385, table 1 and figure 5).

Eight blocks `y = relu(x + F(x))`, F two 3x3 convolutions with batch norm, in four stages of 64, 128, 256 and 512
channels; each stage after the first halves the map, and there the shortcut is a strided 1x1 convolution. It is the
standard network but for its first convolution, which takes any number of bands: 11,171,779 parameters for one band and
three classes. It may start from weights learned on ImageNet; a grey image then gets the response that it had in colour.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from darklens.errors import InputError, unknown
from darklens.models.backbone import grey_kernel
from darklens.models.hub import PREFIX, fetch
from darklens.models.shapes import check_images, check_size

CHANNELS = (64, 128, 256, 512)
IMAGENET = "hf:microsoft/resnet-18"


class ResNet18(nn.Module):
    """Images (B, bands, H, W) to logits (B, classes).

    Args:
        bands: number of bands.
        classes: number of logits.
        size: image height and width, at least 32 pixels.
        stem: "standard" (7x7 stride 2, max pooling: the map starts at a quarter of the image) or "fine" (3x3 stride 1, no
            pooling: full resolution, about 16 times the work).
        weights: "random", "imagenet" (those of `hf:microsoft/resnet-18`), or `hf:` and a repository or folder with the weights of
            another ResNet-18 in the layout of `transformers`. The head always starts fresh.

    Raises:
        InputError: image too small, an unknown stem, or weights that cannot be had or do not fit.
    """

    summary = "ResNet-18, 11.17 M parameters"

    def __init__(
        self,
        bands: int = 1,
        classes: int = 3,
        size: int | tuple[int, int] = 64,
        *,
        stem: str = "standard",
        weights: str = "random",
    ) -> None:
        super().__init__()
        if stem not in STEMS:
            raise unknown("stem", stem, STEMS)
        self.bands, self.size = bands, check_size(size, minimum=32)
        self.stem = STEMS[stem](bands)
        stages = []
        for before, after in zip((CHANNELS[0], *CHANNELS), CHANNELS, strict=False):
            stages += [Block(before, after, stride=1 if before == after else 2), Block(after, after)]
        self.stages = nn.Sequential(*stages)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head: nn.Module = nn.Linear(CHANNELS[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if weights != "random":
            self._start_from(weights, stem)

    def _start_from(self, weights: str, stem: str) -> None:
        source = IMAGENET if weights == "imagenet" else weights
        if not source.startswith(PREFIX):
            raise unknown("weights", weights, ("random", "imagenet", f"{PREFIX}REPOSITORY"))
        if stem != "standard":
            raise InputError(f"weights {weights!r} belong to the standard stem, not to {stem!r}: leave one of them out")
        self.load_state_dict(published_weights(source, self.bands) | {f"head.{k}": v for k, v in self.head.state_dict().items()})

    def features(self, images: Tensor) -> Tensor:
        """Return the mean of the last feature map, (B, 512)."""
        check_images(images, self.bands, self.size)
        return self.pool(self.stages(self.stem(images)))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        return self.head(self.features(images))


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut: (B, before, H, W) to (B, after, H/stride, W/stride)."""

    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))
        self.activation = nn.ReLU(inplace=True)

    def forward(self, maps: Tensor) -> Tensor:
        """Return `relu(shortcut + body)`."""
        return self.activation(self.shortcut(maps) + self.body(maps))


def _standard_stem(bands: int) -> nn.Sequential:
    convolution = nn.Conv2d(bands, CHANNELS[0], 7, stride=2, padding=3, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(CHANNELS[0]), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1))


def _fine_stem(bands: int) -> nn.Sequential:
    convolution = nn.Conv2d(bands, CHANNELS[0], 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(CHANNELS[0]), nn.ReLU(inplace=True))


STEMS = {"standard": _standard_stem, "fine": _fine_stem}


def published_weights(source: str, bands: int) -> dict[str, Tensor]:
    """Return the weights of a published ResNet-18 but for its head, by our names.

    Args:
        source: `hf:` and a repository or folder; its `model.safetensors` has the names of `transformers`' ResNet.
        bands: number of bands; the first kernel is summed over its colours.

    Raises:
        InputError: no weights there, or those of another network.
    """
    path = fetch(source.removeprefix(PREFIX), ("model.safetensors",))
    if path is None:
        raise InputError(
            f"the weights of {source} could not be had here: connect to a network, point HF_HOME to a "
            "cache that has them, or give weights: hf:FOLDER with model.safetensors"
        )
    given, found = _read(path), {}
    for ours, theirs in _names().items():
        if theirs not in given:
            raise InputError(f"{path} holds no ResNet-18 ({theirs} is missing): give the weights of microsoft/resnet-18")
        found[ours] = given[theirs]
    return found | {"stem.0.weight": grey_kernel(found["stem.0.weight"], bands)}


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is no safetensors file: fetch it again ({error})") from error


def _names() -> dict[str, str]:
    """Return our names of the tensors of a standard ResNet-18 without head, and the names in `transformers`."""
    pairs = {"stem.0": "embedder.embedder.convolution", "stem.1": "embedder.embedder.normalization"}
    for block in range(2 * len(CHANNELS)):
        layer = f"encoder.stages.{block // 2}.layers.{block % 2}"
        for ours, theirs in ((0, "layer.0.convolution"), (1, "layer.0.normalization"), (3, "layer.1.convolution")):
            pairs[f"stages.{block}.body.{ours}"] = f"{layer}.{theirs}"
        pairs[f"stages.{block}.body.4"] = f"{layer}.layer.1.normalization"
        if block % 2 == 0 and block > 0:
            pairs[f"stages.{block}.shortcut.0"] = f"{layer}.shortcut.convolution"
            pairs[f"stages.{block}.shortcut.1"] = f"{layer}.shortcut.normalization"
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return {
        f"{ours}.{part}": f"resnet.{theirs}.{part}"
        for ours, theirs in pairs.items()
        for part in (("weight",) if theirs.endswith("convolution") else norm)
    }
