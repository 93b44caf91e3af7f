"""A ResNet-18 that is shown what a smooth lens cannot explain.

A small encoder predicts from each image a singular isothermal sphere with external shear. `Relensing` rebuilds the
source through it and predicts the image again; the residual goes into the ResNet-18 as one more band beside the image.
Everything between the encoder and the logits is differentiable, so the classification itself teaches the lens model,
together with an auxiliary loss, the residual's power relative to the image's. Lensing is achromatic: the physics acts
on the bands' mean.

The encoder corrects a closed-form start. With f any function of brightness, an SIS whose light lies within theta_E of
its axis obeys

    theta_E = sum f(I) / sum (f(I) / r)

exactly, up to pixels and noise: along a diameter, brightness is the source's at `b = r - theta_E` on one side and at
`-b` on the other, so the mean of b with the measure `dr dphi = dA/r` vanishes. Here f is 1 above `BRIGHT` and 0 below,
which leaves the sky out: theta_E starts as the harmonic mean radius of the bright pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from darklens.errors import InputError
from darklens.models.detail import small_structures
from darklens.models.relensing import Relensing, pixel_grid
from darklens.models.resnet18 import ResNet18
from darklens.models.shapes import check_images, check_size

BRIGHT = 0.15  # of the image's range
THETA_E_MIN = 0.3  # arcsec
CENTER_MAX = 0.2  # arcsec
SHEAR_MAX = 0.3
GAIN = 0.1  # of the encoder's head: it starts near the closed form, and Adam's equal steps of 1,025 weights stay small


class PIResNet18(nn.Module):
    """Images (B, bands, H, W) to logits (B, classes), by way of a lens model.

    Args:
        bands: number of bands.
        classes: number of logits.
        size: image height and width, at least 32 pixels.
        pixel_scale: arcsec a pixel; half the field must be more than 0.6 arcsec.
        stem: first layers of the trunk, as in `ResNet18`.
        detail: deviation in pixels of a blur that is subtracted from what the trunk sees (`small_structures`); the physics
            needs the whole image, the classification only the small structures. None shows the trunk everything.

    Raises:
        InputError: image or field too small, or an unknown stem.
    """

    summary = "ResNet-18 on the image and its re-lensing residual, through a differentiable lens model"

    def __init__(
        self,
        bands: int = 1,
        classes: int = 3,
        size: int | tuple[int, int] = 64,
        pixel_scale: float = 0.08,
        *,
        stem: str = "standard",
        detail: float | None = None,
    ) -> None:
        super().__init__()
        self.bands, self.size, self.detail = bands, check_size(size, minimum=32), detail
        self.encoder = LensEncoder(self.size, pixel_scale)
        self.relensing = Relensing(self.size, pixel_scale)
        # The residual is a few per cent of the image: without this the trunk would hardly see it at first.
        self.balance = nn.BatchNorm2d(bands + 1, affine=False)
        self.trunk = ResNet18(bands + 1, classes, self.size, stem=stem)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        return self._classify(images, self._relens(images))

    def forward_with_auxiliary(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits and the auxiliary loss, at the cost of one `forward`."""
        found = self._relens(images)
        return self._classify(images, found), self._loss(found)

    def auxiliary_loss(self, images: Tensor) -> Tensor:
        """Return the residual's power over the image's, a scalar for the encoder alone, least for the true lens."""
        return self._loss(self._relens(images))

    def physics(self, images: Tensor) -> dict[str, Tensor]:
        """Return what the model believes about the lens.

        Returns:
            theta_E, center_x, center_y (arcsec), gamma1 and gamma2, each (B,); source (B, h, w), in cells of 0.75
            pixels over the middle half of the field; relensed and residual (B, H, W).
        """
        found = self._relens(images)
        del found["image"]
        return found

    def _relens(self, images: Tensor) -> dict[str, Tensor]:
        check_images(images, self.bands, self.size)
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 cannot tell two pixels apart
            image = images.to(torch.promote_types(images.dtype, torch.float32)).mean(1)
            lens = self.encoder(image)
            relensed, source = self.relensing(image, lens)
        return lens | {"image": image, "source": source, "relensed": relensed, "residual": image - relensed}

    def _classify(self, images: Tensor, found: dict[str, Tensor]) -> Tensor:
        bands = torch.cat([images, found["residual"].unsqueeze(1)], 1)
        if self.detail is not None:
            bands = small_structures(bands, self.detail)
        return self.trunk(self.balance(bands))

    def _loss(self, found: dict[str, Tensor]) -> Tensor:
        unexplained, power = (found[key].square().sum((1, 2)) for key in ("residual", "image"))
        return (unexplained / power.clamp_min(1e-6)).mean()


class LensEncoder(nn.Module):
    """Images (B, H, W) to theta_E, center_x, center_y, gamma1, gamma2, each (B,).

    theta_E is bounded to (0.3 arcsec, half the field), each centre coordinate to 0.2 arcsec and each shear component to
    0.3.

    Raises:
        InputError: a field too small to hold an Einstein radius of 0.3 arcsec.
    """

    radius: Tensor

    def __init__(self, size: tuple[int, int], pixel_scale: float) -> None:
        super().__init__()
        x, y = pixel_grid(size, pixel_scale)
        self.theta_E_max = min(size) * pixel_scale / 2
        if self.theta_E_max <= 2 * THETA_E_MIN:
            raise InputError(
                f"a field of half-width {self.theta_E_max:.3g} arcsec is too small for lenses of {THETA_E_MIN} arcsec "
                f"and more, which need {2 * THETA_E_MIN}: check the pixel scale, or give larger images"
            )
        radius = torch.hypot(x, y)
        radius[radius == 0] = torch.inf  # the central pixel of an odd grid lies on no diameter
        self.register_buffer("radius", radius, persistent=False)
        layers = []
        for before, after, kernel in ((1, 16, 5), (16, 32, 3), (32, 64, 3)):
            convolution = nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        self.convolutions = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.head = nn.Linear(64 * 4 * 4 + 1, 5)
        nn.init.zeros_(self.head.bias)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the lens, named as the parameters of `SIS` and `Shear`."""
        span = self.theta_E_max - THETA_E_MIN
        start = torch.logit(((self.closed_form_theta_E(image) - THETA_E_MIN) / span).clamp(0.02, 0.98))
        raw = GAIN * self.head(torch.cat([self.convolutions(image.unsqueeze(1)), start.unsqueeze(1)], 1))
        bounded = torch.tanh(raw[:, 1:])
        return {
            "theta_E": THETA_E_MIN + span * torch.sigmoid(start + raw[:, 0]),
            "center_x": CENTER_MAX * bounded[:, 0],
            "center_y": CENTER_MAX * bounded[:, 1],
            "gamma1": SHEAR_MAX * bounded[:, 2],
            "gamma2": SHEAR_MAX * bounded[:, 3],
        }

    def closed_form_theta_E(self, image: Tensor) -> Tensor:
        """Return theta_E (B,) in arcsec of an SIS in the middle of each image (B, H, W); see the module."""
        return closed_form_theta_E(image, self.radius)


def closed_form_theta_E(image: Tensor, radius: Tensor) -> Tensor:
    """Return theta_E (B,) of images (B, H, W) between 0 and 1, in the unit of the radius (H, W) of their pixels."""
    weight = (image > BRIGHT) + image.new_tensor(1e-9)  # a blank image then has a radius, too
    return weight.sum((1, 2)) / (weight / radius.clamp_min(1e-9)).sum((1, 2))
