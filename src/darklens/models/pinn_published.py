r"""The physics-informed network as it was published (common test: accuracy about .955, AUC .9937).

A ResNet-18 makes 512 features of an image; from these come an Einstein radius (sigmoid) and a centre (0.2 tanh) of a singular
isothermal sphere, through which the image is traced back to its source, spread bilinearly. Class and lens share the features: the
head sees them and the three numbers. The loss is that of the classes and, with a weight that rises from 0 to 1 while it trains,

    Var(S) + 0.1 TV(S).

**Its defect, kept here on purpose**: both are least for a blank source, so that this loss rewards a lens that throws the light
off the source plane. `pinn` asks instead that the source explains the image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from darklens.models.curriculum import Curriculum
from darklens.models.relensing import Relensing
from darklens.models.resnet18 import CHANNELS, ResNet18
from darklens.models.shapes import check_images, check_size

CENTER_MAX = 0.2
"""Arcsec."""
SMOOTHNESS = 0.1
"""Weight of the total variation."""


class PINNPublished(nn.Module):
    """Images (B, bands, H, W) to logits (B, classes).

    Args:
        bands: number of bands; the lens acts on their mean.
        classes: number of logits.
        size: image height and width, at least 32 pixels.
        pixel_scale: arcsec a pixel.
        ramp: training steps over which the weight of the physics rises from 0 to 1.
        stem: first layers, as in `ResNet18`.

    Raises:
        InputError: image too small, a ramp below 1, or an unknown stem.
    """

    summary = "ResNet-18 with a lens behind its features and a blank-source loss that grows, as published, defect included"

    def __init__(
        self,
        bands: int = 1,
        classes: int = 3,
        size: int | tuple[int, int] = 64,
        pixel_scale: float = 0.08,
        *,
        ramp: int = 3000,
        stem: str = "standard",
    ) -> None:
        super().__init__()
        self.bands, self.size = bands, check_size(size, minimum=32)
        self.theta_E_max = min(self.size) * pixel_scale / 2
        self.trunk = ResNet18(bands, classes, self.size, stem=stem)
        self.trunk.head = nn.Identity()
        self.lens = nn.Linear(CHANNELS[-1], 3)
        self.head = nn.Linear(CHANNELS[-1] + 3, classes)
        self.relensing = Relensing(self.size, pixel_scale)
        self.curriculum = Curriculum(ramp)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        return self._look(images)[0]

    def forward_with_auxiliary(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits, and the loss of the sources with the weight that it has at this step."""
        logits, lens = self._look(images)
        return logits, self.curriculum(self.training) * blank_source_loss(self._source(images, lens))

    def physics(self, images: Tensor) -> dict[str, Tensor]:
        """Return theta_E, center_x, center_y (B,) in arcsec and the source (B, h, w)."""
        _, lens = self._look(images)
        return {name: lens[name] for name in ("theta_E", "center_x", "center_y")} | {"source": self._source(images, lens)}

    def _look(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        check_images(images, self.bands, self.size)
        features = self.trunk.features(images)
        raw = self.lens(features).float()
        center, zero = CENTER_MAX * raw[:, 1:].tanh(), torch.zeros_like(raw[:, 0])
        lens = {"theta_E": self.theta_E_max * raw[:, 0].sigmoid(), "center_x": center[:, 0], "center_y": center[:, 1]}
        known = torch.stack(list(lens.values()), 1).to(features.dtype)
        return self.head(torch.cat([features, known], 1)), lens | {"gamma1": zero, "gamma2": zero}

    def _source(self, images: Tensor, lens: dict[str, Tensor]) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 cannot tell two pixels apart
            return self.relensing(images.float().mean(1), lens)[1]


def blank_source_loss(source: Tensor) -> Tensor:
    """Return the mean of `Var(S) + 0.1 TV(S)` of sources (B, h, w)."""
    rough = (source.diff(dim=-1).abs().mean((1, 2)) + source.diff(dim=-2).abs().mean((1, 2))).mean()
    return source.flatten(1).var(1).mean() + SMOOTHNESS * rough
