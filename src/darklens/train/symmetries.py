"""The mean of a network's answers over the symmetries of the square: a lens has no preferred orientation, networks have one."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def symmetric_views(images: Tensor) -> list[Tensor]:
    """Return the images `(B, C, H, W)` under their symmetries, eight of a square, four of a rectangle; unchanged first."""
    flipped = images.flip(-1)
    if images.shape[-1] != images.shape[-2]:
        return [images, flipped, images.flip(-2), flipped.flip(-2)]
    return [torch.rot90(view, turns, (-2, -1)) for view in (images, flipped) for turns in range(4)]


class Symmetrised(nn.Module):
    """A network that answers with the mean of its logits over `symmetric_views`.

    Args:
        network: prepared images `(B, C, H, W)` to logits; it shares its weights with this.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits `(B, k)`."""
        return torch.stack([self.network(view.contiguous()) for view in symmetric_views(images)]).mean(0)


def symmetrised(network: nn.Module) -> nn.Module:
    """Return a network whose answers do not turn with the image: itself, where it says that it is `symmetric` already."""
    return network if getattr(network, "symmetric", False) else Symmetrised(network)
