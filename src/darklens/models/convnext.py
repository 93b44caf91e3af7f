"""A small ConvNeXt V2 (Woo et al. 2023, arXiv:2301.00808), for images of 64 to 150 pixels.

Blocks of a depthwise 7x7 convolution, a layer norm and two 1x1 convolutions with global response normalisation between
them, over four stages that each halve the map. It is the published "femto" but for its patches of 2 pixels instead of
4, which leave 4x4 of 64 pixels at the end: 4,847,283 parameters. Published sizes and weights come through
`hf:facebook/convnextv2-atto-1k-224` and its sisters.
"""

from __future__ import annotations

from torch import Tensor, nn

from darklens.models.backbone import Backbone


class ConvNeXt(nn.Module):
    """Images (B, bands, H, W) to logits (B, classes); needs the extra darklens[zoo].

    Args:
        bands: number of bands.
        classes: number of logits.
        size: image height and width, at least 32 pixels.
        patch: pixels a side of the first convolution, and its stride.
        width: channels of the first stage; they double with each stage.
        depths: blocks of the four stages.
        drop_path: probability of stochastic depth at the last block.

    Raises:
        InputError: `transformers` is missing, image too small, or a combination that cannot be built.
    """

    summary = "small ConvNeXt V2, 4.8 M parameters (needs darklens[zoo])"

    def __init__(
        self,
        bands: int = 1,
        classes: int = 3,
        size: int | tuple[int, int] = 64,
        *,
        patch: int = 2,
        width: int = 48,
        depths: tuple[int, int, int, int] = (2, 2, 6, 2),
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        widths = [width << stage for stage in range(len(depths))]
        config = {"model_type": "convnextv2", "patch_size": patch, "hidden_sizes": widths, "depths": list(depths)}
        self.trunk = Backbone(bands, classes, size, config | {"drop_path_rate": drop_path})

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        return self.trunk(images)
