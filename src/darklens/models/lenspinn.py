"""LensPINN: what a smooth lens leaves over, found by comparing the image with its source.

Ojha, Gleyzer, Toomey et al., "LensPINN: physics informed neural network for learning dark matter morphology in lensing" (Machine
Learning and the Physical Sciences, NeurIPS 2024), in two sizes. A transformer block predicts theta_E, the image is traced back to
the source plane, and two convolutional networks f and g look at the image I, its source S and a map D of its distortions:

    D = |tanh(d_x d_y [ln(I_max / I)]^2)|,    logits = MLP(f(I) - f(S), g(D))

f and g give 1,000 features each and are two EfficientNet-B0 (large) or two half-wide MobileNetV3-Small (small); published with the
weights of ImageNet, here drawn at random. Counted as published, 14.56 and 7.17 M parameters, with a block of 942,337 that the code
never calls: left out here, 13,621,389 and 6,231,317 for one band, 64x64 pixels and three classes.

**Defects of the published code, both corrected by default**:

- `rounding`: the source plane was sampled by whole cells, so no gradient reached theta_E, which was a free number besides: the
  transformer, 2.9 M parameters, stayed as it was drawn, with |theta_E| of some tenths of an arcsec. Here light is spread
  bilinearly and theta_E stays in a range;
- `softmax`: the head ended in a softmax whose probabilities went into a cross-entropy that takes logits. Its loss cannot fall
  below ln(1 + 2/e) = 0.551 for three classes, and its gradient vanishes where the network is sure and wrong.

D is guarded against pixels without light, of which the published formula takes the logarithm.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from darklens.errors import InputError
from darklens.models.efficientnet_b0 import EfficientNetB0
from darklens.models.mobilenet_v3 import MobileNetV3Small
from darklens.models.patches import PATCH
from darklens.models.shapes import check_images, check_size
from darklens.models.small_data import DIM, LocalityBlock, ShiftedPatches, mlp, token_count
from darklens.models.source_plane import SourcePlane, check_theta_E_range

FEATURES = 1000
GAIN = 0.1  # of theta_E's layer: Adam moves its 1,920 weights by equal steps, at a rate of 1e-3 together 0.05 arcsec instead of 0.5
FAINTEST = 0.01  # of an image's range: what is darker counts as this much
FIELD = 3.232 + 3.323  # arcsec across; one of the published limits has its digits swapped


class LensPINN(nn.Module):
    """Images (B, bands, H, W) to logits (B, classes), by way of their source and their distortions; see the two sizes.

    Args:
        bands: number of bands; they share the lens.
        classes: number of logits.
        size: image height and width, at least 32 pixels; for the tokens, zeros around it make up whole patches of 32.
        pixel_scale: arcsec a pixel.
        theta_E_range: smallest and largest Einstein radius in arcsec.
        dropout: in training.
        rounding: trace to whole cells, and let theta_E be any number, as published.
        softmax: give probabilities in the place of logits, as published.

    Raises:
        InputError: image or field too small, a range out of order, or a dropout outside [0, 1).
    """

    make_network: Callable[..., nn.Module]

    def __init__(
        self,
        bands: int = 1,
        classes: int = 3,
        size: int | tuple[int, int] = 64,
        pixel_scale: float = 0.08,
        *,
        theta_E_range: tuple[float, float] = (0.5, 1.8),
        dropout: float = 0.1,
        rounding: bool = False,
        softmax: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise InputError(f"dropout {dropout} is outside [0, 1): give a probability below 1")
        self.bands, self.size, self.softmax = bands, check_size(size, minimum=PATCH), softmax
        self.theta_E_range = None if rounding else check_theta_E_range(theta_E_range)
        self.source_plane = CellSourcePlane(self.size) if rounding else SourcePlane(self.size, pixel_scale, theta_E_range[1])
        tokens = token_count(self.size)
        self.encoder = nn.Sequential(
            ShiftedPatches(bands, self.size, norm=False),
            LocalityBlock(tokens, dropout, projections=True),
            nn.Flatten(),
            nn.Linear(tokens * DIM, 1),
        )
        self.trunk = self.make_network(bands, FEATURES, self.size)
        self.distortion_network = self.make_network(bands, FEATURES, self.size)
        self.head = mlp(2 * FEATURES, classes, hidden_layers=1, dropout=dropout)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes); with `softmax`, probabilities."""
        check_images(images, self.bands, self.size)
        source = self.source_plane(images, self._theta_E(images))
        # Both in one pass: batch norm learns one mean for the two, and predicts with the one that it trained with.
        features = self.trunk(torch.cat([images, source.to(images.dtype)]))
        difference = features[: images.shape[0]] - features[images.shape[0] :]
        logits = self.head(torch.cat([difference, self.distortion_network(distortions(images))], 1))
        return logits.softmax(1) if self.softmax else logits

    def physics(self, images: Tensor) -> dict[str, Tensor]:
        """Return what the model believes: theta_E (B,) in arcsec, source and distortions (B, bands, H, W)."""
        check_images(images, self.bands, self.size)
        theta_E = self._theta_E(images)
        return {"theta_E": theta_E, "source": self.source_plane(images, theta_E), "distortions": distortions(images)}

    def _theta_E(self, images: Tensor) -> Tensor:
        raw = self.encoder(images).squeeze(1)
        raw = raw.to(torch.promote_types(raw.dtype, torch.float32))
        if self.theta_E_range is None:
            return raw
        low, high = self.theta_E_range
        return low + (high - low) * (GAIN * raw).sigmoid()


class LensPINNLarge(LensPINN):
    """LensPINN on two EfficientNet-B0."""

    summary = "LensPINN: image, source behind a learned lens and distortions in two EfficientNet-B0, 13.6 M parameters"

    @staticmethod
    def make_network(bands: int, classes: int, size: tuple[int, int]) -> nn.Module:
        """Return f or g; the published ones have no dropout."""
        return EfficientNetB0(bands, classes, size, dropout=0.0, drop_path=0.0)


class LensPINNSmall(LensPINN):
    """LensPINN on two MobileNetV3-Small of half the width."""

    summary = "LensPINN: image, source behind a learned lens and distortions in two small MobileNetV3, 6.2 M parameters"
    make_network = MobileNetV3Small


def distortions(images: Tensor) -> Tensor:
    """Return `|tanh(d_x d_y [ln(I_max / I)]^2)|`, the modulus of a mixed derivative in pixels.

    Each band of each image is brought to [0, 1] first, and pixels below 0.01 count as 0.01: black ones have no logarithm.

    Args:
        images: (B, bands, H, W).

    Returns:
        (B, bands, H, W), in [0, 1).
    """
    with torch.autocast(images.device.type, enabled=False):  # bfloat16 has too few digits for differences of differences
        images = images.to(torch.promote_types(images.dtype, torch.float32))
        low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
        light = (images - low) / (high - low).clamp_min(torch.finfo(images.dtype).tiny)
        depth = pad(light.clamp_min(FAINTEST).log().square(), (1, 1, 1, 1), mode="replicate")
        along = (depth[..., 2:] - depth[..., :-2]) / 2
        return ((along[..., 2:, :] - along[..., :-2, :]) / 2).tanh().abs()


class CellSourcePlane(nn.Module):
    """The published way to the source plane: the mean over whole cells, whose numbers have no gradient.

    The coordinates start one pixel beside the middle and end in the cell below, over a field of 6.555 arcsec whatever the images.

    Args:
        size: image height and width in pixels.
    """

    position: Tensor
    inward: Tensor

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        rows, columns = torch.meshgrid(*(torch.arange(side) - side // 2 + 1 for side in size), indexing="ij")
        position = torch.stack([rows, columns]).float()
        inward = position / torch.hypot(*position).clamp_min(1) * size[0] / FIELD
        self.register_buffer("position", position, persistent=False)
        self.register_buffer("inward", inward, persistent=False)

    def forward(self, images: Tensor, theta_E: Tensor) -> Tensor:
        """Return the sources (B, bands, H, W) behind lenses of theta_E (B,) in arcsec; zero where no pixel lands."""
        height, width = images.shape[-2:]
        beta = self.position - theta_E.detach().view(-1, 1, 1, 1) * self.inward
        rows, columns = ((beta[:, k] + n // 2).clamp(0, n - 1).long() for k, n in ((0, height), (1, width)))
        cells = (rows * width + columns).flatten(1).unsqueeze(1).expand(-1, images.shape[1], -1)
        pixels = images.flatten(2)
        light, cover = (torch.zeros_like(pixels).scatter_add(2, cells, each) for each in (pixels, torch.ones_like(pixels)))
        return (light / cover.clamp_min(1)).view(images.shape)
