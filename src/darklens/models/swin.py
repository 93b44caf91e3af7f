"""A small Swin transformer (Liu et al. 2021, arXiv:2103.14030), for images of 64 to 150 pixels.

Attention within windows of 4x4 tokens, shifted by half a window in every other block, over four stages that each halve
the map. Tokens of 2 pixels instead of 4, and half the width of Swin-T: 64 pixels give maps of 32, 16, 8 and 4, with
6,897,117 parameters. Published sizes and weights come through `hf:microsoft/swin-tiny-patch4-window7-224`.
"""

from __future__ import annotations

from torch import Tensor, nn

from darklens.models.backbone import Backbone

WINDOW, HEADS = 4, (3, 6, 12, 24)


class Swin(nn.Module):
    """Images (B, bands, H, W) to logits (B, classes); needs the extra darklens[zoo].

    Args:
        bands: number of bands.
        classes: number of logits.
        size: image height and width, at least 32 pixels.
        patch: pixels a side of a token.
        width: numbers of a token in the first stage, a multiple of 3; it doubles with each stage.
        depths: blocks of the four stages.
        drop_path: probability of stochastic depth at the last block.

    Raises:
        InputError: `transformers` is missing, image too small, or a combination that cannot be built.
    """

    summary = "small Swin transformer, windows of 4x4 tokens, 6.9 M parameters (needs darklens[zoo])"

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
        config = {"model_type": "swin", "patch_size": patch, "embed_dim": width, "depths": list(depths), "num_heads": list(HEADS)}
        self.trunk = Backbone(bands, classes, size, config | {"window_size": WINDOW, "drop_path_rate": drop_path})

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        return self.trunk(images)
