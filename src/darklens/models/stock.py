"""The published sizes of well-known backbones, by the name of their repository.

With these, `hf:microsoft/swin-tiny-patch4-window7-224` can be built where neither the hub nor its cache can be reached;
the weights are then random. A family is a pattern for the name and, per size, what its configuration says beyond the
defaults of `transformers`. Groups of the pattern named like an entry of the configuration are entered into it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

_STAGES = (2, 2, 6, 2)


@dataclass(frozen=True)
class Family:
    """Repositories `pattern`, of architecture `model_type`; `sizes` by the pattern's group "size"."""

    pattern: str
    model_type: str
    sizes: dict[str, dict[str, Any]]
    common: dict[str, Any] = field(default_factory=dict)


def _vit(width: int, heads: int, depth: int = 12) -> dict[str, int]:
    return {"hidden_size": width, "num_attention_heads": heads, "num_hidden_layers": depth, "intermediate_size": 4 * width}


def _doubling(first: int, depths: tuple[int, ...]) -> dict[str, Any]:
    return {"hidden_sizes": [first << k for k in range(4)], "depths": list(depths)}


def _swin(width: int, heads: int, third: int) -> dict[str, Any]:
    return {"embed_dim": width, "depths": [2, 2, third, 2], "num_heads": [heads << k for k in range(4)]}


def _resnet(depths: tuple[int, ...], layer: str = "bottleneck") -> dict[str, Any]:
    return _doubling(256 if layer == "bottleneck" else 64, depths) | {"layer_type": layer}


def _efficientnet(side: int, width: float, depth: float, top: int, dropout: float, padding: tuple[int, ...]) -> dict[str, Any]:
    shape = {"image_size": side, "width_coefficient": width, "depth_coefficient": depth, "hidden_dim": top}
    return shape | {"dropout_rate": dropout, "depthwise_padding": list(padding)}


def _regnet(kind: str, depths: tuple[int, ...], widths: tuple[int, ...], group: int) -> dict[str, Any]:
    return {"layer_type": kind, "depths": list(depths), "hidden_sizes": list(widths), "groups_width": group}


def _levit(widths: tuple[int, ...], heads: tuple[int, ...], key: int, depths: tuple[int, ...] = (4, 4, 4)) -> dict[str, Any]:
    return {"hidden_sizes": list(widths), "num_attention_heads": list(heads), "key_dim": [key] * 3, "depths": list(depths)}


def _focalnet(width: int, depths: tuple[int, ...], levels: int) -> dict[str, Any]:
    widths = [width * factor for factor in (2, 4, 8, 8)]
    return {"embed_dim": width, "hidden_sizes": widths, "depths": list(depths), "focal_levels": [levels] * 4}


def _pyramid(widths: tuple[int, ...], depths: tuple[int, ...], key: str = "hidden_sizes") -> dict[str, Any]:
    return {key: list(widths), "depths": list(depths)}


_LARGE = (3, 3, 27, 3)
_VITS = {
    "tiny": _vit(192, 3),
    "small": _vit(384, 6),
    "base": _vit(768, 12),
    "large": _vit(1024, 16, 24),
    "huge": _vit(1280, 16, 32),
}
_SWINS = {"tiny": _swin(96, 3, 6), "small": _swin(96, 3, 18), "base": _swin(128, 4, 18), "large": _swin(192, 6, 18)}
_REGNETS = {
    "x-002": _regnet("x", (1, 1, 4, 7), (24, 56, 152, 368), 8),
    "x-004": _regnet("x", (1, 2, 7, 12), (32, 64, 160, 384), 16),
    "x-006": _regnet("x", (1, 3, 5, 7), (48, 96, 240, 528), 24),
    "x-008": _regnet("x", (1, 3, 7, 5), (64, 128, 288, 672), 16),
    "x-016": _regnet("x", (2, 4, 10, 2), (72, 168, 408, 912), 24),
    "x-032": _regnet("x", (2, 6, 15, 2), (96, 192, 432, 1008), 48),
    "y-002": _regnet("y", (1, 1, 4, 7), (24, 56, 152, 368), 8),
    "y-004": _regnet("y", (1, 3, 6, 6), (48, 104, 208, 440), 8),
    "y-006": _regnet("y", (1, 3, 7, 4), (48, 112, 256, 608), 16),
    "y-008": _regnet("y", (1, 3, 8, 2), (64, 128, 320, 768), 16),
    "y-016": _regnet("y", (2, 6, 17, 2), (48, 120, 336, 888), 24),
    "y-032": _regnet("y", (2, 5, 13, 1), (72, 216, 576, 1512), 24),
    "y-040": _regnet("y", (2, 6, 12, 2), (128, 192, 512, 1088), 64),
}

FAMILIES: tuple[Family, ...] = (
    Family(
        r"microsoft/resnet-(?P<size>\d+)",
        "resnet",
        {
            "18": _resnet((2, 2, 2, 2), "basic"),
            "26": _resnet((2, 2, 2, 2)),
            "34": _resnet((3, 4, 6, 3), "basic"),
            "50": _resnet((3, 4, 6, 3)),
            "101": _resnet((3, 4, 23, 3)),
            "152": _resnet((3, 8, 36, 3)),
        },
    ),
    Family(
        r"facebook/convnext-(?P<size>\w+)-(?P<image_size>\d+)(-22k)?(-1k)?",
        "convnext",
        {
            "tiny": _doubling(96, (3, 3, 9, 3)),
            "small": _doubling(96, _LARGE),
            "base": _doubling(128, _LARGE),
            "large": _doubling(192, _LARGE),
            "xlarge": _doubling(256, _LARGE),
        },
    ),
    Family(
        r"facebook/convnextv2-(?P<size>\w+)-(1k|22k)-(?P<image_size>\d+)",
        "convnextv2",
        {
            "atto": _doubling(40, _STAGES),
            "femto": _doubling(48, _STAGES),
            "pico": _doubling(64, _STAGES),
            "nano": _doubling(80, (2, 2, 8, 2)),
            "tiny": _doubling(96, (3, 3, 9, 3)),
            "base": _doubling(128, _LARGE),
            "large": _doubling(192, _LARGE),
            "huge": _doubling(352, _LARGE),
        },
    ),
    Family(r"microsoft/swin-(?P<size>\w+)-patch4-window(?P<window_size>\d+)-(?P<image_size>\d+)(-in22k)?", "swin", _SWINS),
    Family(r"microsoft/swinv2-(?P<size>\w+)-patch4-window(?P<window_size>\d+)-(?P<image_size>\d+)(-22k)?", "swinv2", _SWINS),
    Family(r"(google|WinKawaks)/vit-(?P<size>\w+)-patch(?P<patch_size>\d+)-(?P<image_size>\d+)(-in21k)?", "vit", _VITS),
    Family(r"facebook/deit-(?P<size>\w+)-patch16-(?P<image_size>\d+)", "vit", _VITS),
    Family(r"facebook/deit-(?P<size>\w+)-distilled-patch16-(?P<image_size>\d+)", "deit", _VITS),
    Family(
        r"facebook/dinov2-(?P<size>\w+)",
        "dinov2",
        {k: {n: v for n, v in _VITS[k].items() if n != "intermediate_size"} for k in ("small", "base", "large")},
        {"image_size": 518, "patch_size": 14},
    ),
    Family(
        r"microsoft/cvt-(?P<size>13|21|w24)(-384)?(-22k)?",
        "cvt",
        {
            "13": {"depth": [1, 2, 10]},
            "21": {"depth": [1, 4, 16]},
            "w24": {"depth": [2, 2, 20], "embed_dim": [192, 768, 1024], "num_heads": [3, 12, 16]},
        },
    ),
    Family(
        r"facebook/levit-(?P<size>\w+)",
        "levit",
        {
            "128S": _levit((128, 256, 384), (4, 6, 8), 16, (2, 3, 4)),
            "128": _levit((128, 256, 384), (4, 8, 12), 16),
            "192": _levit((192, 288, 384), (3, 5, 6), 32),
            "256": _levit((256, 384, 512), (4, 6, 8), 32),
            "384": _levit((384, 512, 768), (6, 9, 12), 32),
        },
    ),
    Family(
        r"apple/mobilevit-(?P<size>[\w-]+)",
        "mobilevit",
        {
            "small": {},
            "x-small": {"hidden_sizes": [96, 120, 144], "neck_hidden_sizes": [16, 32, 48, 64, 80, 96, 384]},
            "xx-small": {
                "hidden_sizes": [64, 80, 96],
                "neck_hidden_sizes": [16, 16, 24, 48, 64, 80, 320],
                "expand_ratio": 2.0,
                "hidden_dropout_prob": 0.05,
            },
        },
    ),
    Family(
        r"apple/mobilevitv2-(?P<size>[\d.]+)-imagenet1k-(?P<image_size>\d+)",
        "mobilevitv2",
        {f"{width / 4 + 0.5}": {"width_multiplier": width / 4 + 0.5} for width in range(7)},
    ),
    Family(
        r"google/mobilenet_v2_(?P<size>[\d.]+)_(?P<image_size>\d+)",
        "mobilenet_v2",
        {f"{width}": {"depth_multiplier": width} for width in (0.35, 0.75, 1.0, 1.4)},
    ),
    Family(
        r"google/efficientnet-(?P<size>b\d)",
        "efficientnet",
        {
            "b0": _efficientnet(224, 1.0, 1.0, 1280, 0.2, ()),
            "b1": _efficientnet(240, 1.0, 1.1, 1280, 0.2, (16,)),
            "b2": _efficientnet(260, 1.1, 1.2, 1408, 0.3, (5, 8, 16)),
            "b3": _efficientnet(300, 1.2, 1.4, 1536, 0.3, (5, 18)),
            "b4": _efficientnet(380, 1.4, 1.8, 1792, 0.4, (6,)),
            "b5": _efficientnet(456, 1.6, 2.2, 2048, 0.4, (13, 27)),
            "b6": _efficientnet(528, 1.8, 2.6, 2304, 0.5, (31,)),
            "b7": _efficientnet(600, 2.0, 3.1, 2560, 0.5, (18,)),
        },
    ),
    Family(r"facebook/regnet-(?P<size>[xy]-\d+)", "regnet", _REGNETS),
    Family(
        r"microsoft/focalnet-(?P<size>[\w-]+)",
        "focalnet",
        {
            f"{name}{suffix}": _focalnet(width, (2, 2, third, 2), levels)
            for name, width, third in (("tiny", 96, 6), ("small", 96, 18), ("base", 128, 18))
            for suffix, levels in (("", 2), ("-lrf", 3))
        },
    ),
    Family(
        r"sail/poolformer_(?P<size>\w+)",
        "poolformer",
        {
            "s12": _pyramid((64, 128, 320, 512), (2, 2, 6, 2)),
            "s24": _pyramid((64, 128, 320, 512), (4, 4, 12, 4)),
            "s36": _pyramid((64, 128, 320, 512), (6, 6, 18, 6)) | {"layer_scale_init_value": 1e-6},
            "m36": _pyramid((96, 192, 384, 768), (6, 6, 18, 6)) | {"layer_scale_init_value": 1e-6},
            "m48": _pyramid((96, 192, 384, 768), (8, 8, 24, 8)) | {"layer_scale_init_value": 1e-6},
        },
    ),
    Family(
        r"OpenGVLab/pvt_v2_(?P<size>b\d)",
        "pvt_v2",
        {
            "b0": _pyramid((32, 64, 160, 256), (2, 2, 2, 2)),
            "b1": _pyramid((64, 128, 320, 512), (2, 2, 2, 2)),
            "b2": _pyramid((64, 128, 320, 512), (3, 4, 6, 3)),
            "b3": _pyramid((64, 128, 320, 512), (3, 4, 18, 3)),
            "b4": _pyramid((64, 128, 320, 512), (3, 8, 27, 3)),
            "b5": _pyramid((64, 128, 320, 512), (3, 6, 40, 3)) | {"mlp_ratios": [4, 4, 4, 4]},
        },
    ),
    Family(
        r"MBZUAI/swiftformer-(?P<size>\w+)",
        "swiftformer",
        {
            "xs": _pyramid((48, 56, 112, 220), (3, 3, 6, 4), "embed_dims"),
            "s": _pyramid((48, 64, 168, 224), (3, 3, 9, 6), "embed_dims"),
            "l1": _pyramid((48, 96, 192, 384), (4, 3, 10, 5), "embed_dims"),
            "l3": _pyramid((64, 128, 320, 512), (4, 4, 12, 6), "embed_dims"),
        },
    ),
)


def stock_config(repo: str) -> dict[str, Any] | None:
    """Return the configuration of a well-known repository, with its "model_type"; None for others.

    Args:
        repo: "owner/name" on the hub.
    """
    for family in FAMILIES:
        found = re.fullmatch(family.pattern, repo)
        if found and found["size"] in family.sizes:
            read = {key: int(value) for key, value in found.groupdict().items() if key != "size"}
            return {"model_type": family.model_type, **family.common, **family.sizes[found["size"]], **read}
    return None
