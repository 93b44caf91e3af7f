"""The building blocks of the mobile networks: squeeze-and-excitation and stochastic depth.

Both stand inside the inverted residual, MBConv (Sandler et al. 2018, arXiv:1801.04381): a 1x1 convolution widens, a
depthwise one mixes neighbours, a 1x1 convolution narrows again. EfficientNet and CoAtNet differ in where they
normalise.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SqueezeExcite(nn.Module):
    """Weigh the channels of a map by what its mean says (Hu, Shen & Sun 2018, arXiv:1709.01507, equation 4).

    Args:
        channels: of the map (B, channels, H, W), which keeps its shape.
        squeezed: width of the hidden layer.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            nn.SiLU(),
            nn.Conv2d(squeezed, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return the map with weighted channels."""
        return maps * self.gate(maps)


class StochasticDepth(nn.Module):
    """In training, drop a whole branch of an image with a probability, and scale the others up (arXiv:1603.09382).

    Args:
        probability: that the branch of one image is dropped.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, branch: Tensor) -> Tensor:
        """Return the branch (B, ...), zero for dropped images; in evaluation, the branch."""
        if not self.training or self.probability == 0:
            return branch
        kept = torch.rand(len(branch), *(1,) * (branch.ndim - 1), device=branch.device) >= self.probability
        return branch * kept.to(branch.dtype) / (1 - self.probability)
