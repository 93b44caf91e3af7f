r"""Physics and class from one network: a lens that has to explain the image, beginning with the smooth fit.

With `fitted`, the network is given what `darklens.fit` found (`input: lens`): the residual in units of the noise, the image, and
the fitted SIE with external shear. A small encoder corrects the lens; `Relensing` rebuilds the source through it from one set of
images and predicts the other. What is left, in units of the noise, is learned from (a curriculum raises its weight from 0 to 1)
and shown to the trunk beside residual and image:

    L = cross-entropy + lambda * mean ln(1 + r^2),    r = (image - re-lensed)/sigma.

No blank source makes r small. The logarithm (Cauchy's likelihood) lets substructure stand out instead of bending the lens. Without
`fitted` the lens begins with a circle at the harmonic mean radius of the light (`pi_resnet18`).

The noise: `sigma^2 = sigma_0^2 (1 + max(I, 0)/(sigma_0 sqrt(N)))`, sigma_0 the scatter of the empty border and N the variance of an
empty pixel in electrons (`sky_counts`), which is Poisson's law whatever the image was multiplied with.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from darklens.errors import InputError, unknown
from darklens.models.arcnet import ArcNet
from darklens.models.contrast import sky_and_noise
from darklens.models.curriculum import Curriculum
from darklens.models.pi_resnet18 import closed_form_theta_E
from darklens.models.relensing import Relensing
from darklens.models.resnet18 import ResNet18
from darklens.models.shapes import check_images, check_size

LENS = ("theta_E", "e1", "e2", "center_x", "center_y", "gamma1", "gamma2")
"""Planes of the fitted lens, the last bands of `input: lens`."""
REACH = (0.05, 0.05, 0.05, 0.03, 0.03, 0.03, 0.03)
"""How far the encoder may move each: ln theta_E, ellipticity, arcsec, shear."""
FREE = (0.3, 0.3, 0.3, 0.2, 0.2, 0.3, 0.3)
"""The same where no fit has been made."""
TRUNKS = {"arcnet": ArcNet, "resnet18": ResNet18}
GRAIN = 0.03
"""Relative error of a source on cells about as large as pixels: it counts as noise where photons are many."""
LARGEST = 30.0
"""Residuals are held between plus and minus this."""


class PINN(nn.Module):
    """Bands (B, bands, H, W) to logits (B, classes), by way of a lens model.

    Args:
        bands: number of bands; with `fitted` the residual, those of the image, and the seven planes of the fitted lens.
        classes: number of logits.
        size: image height and width, at least 32 pixels.
        pixel_scale: arcsec a pixel.
        trunk: arcnet or resnet18, what tells the classes.
        fitted: begin with the smooth fit.
        relensing: show the trunk what the lens does not explain; without it the network is its own backbone.
        ramp: training steps over which the weight of the physics rises from 0 to 1.
        dropout: of the features of arcnet.
        sky_counts: variance of an empty pixel in electrons.

    Raises:
        InputError: image too small, too few bands for a fit, an unknown trunk, or a number out of its range.
    """

    reach: Tensor
    summary = "a lens (SIE + shear) that explains the image, what it leaves in units of the noise, and the class, in one network"

    def __init__(
        self,
        bands: int = 1,
        classes: int = 3,
        size: int | tuple[int, int] = 64,
        pixel_scale: float = 0.08,
        *,
        trunk: str = "arcnet",
        fitted: bool = False,
        relensing: bool = True,
        ramp: int = 2000,
        dropout: float = 0.1,
        sky_counts: float = 1000.0,
    ) -> None:
        super().__init__()
        if trunk not in TRUNKS:
            raise unknown("trunk of pinn", trunk, TRUNKS)
        if fitted and bands < 2 + len(LENS):
            raise InputError(f"pinn with fitted sees {bands} bands and needs {2 + len(LENS)} or more: set preprocess.input=lens")
        if not sky_counts > 0:
            raise InputError(f"sky_counts {sky_counts} is no variance of an empty pixel in electrons: give a number above 0")
        self.bands, self.size, self.fitted = bands, check_size(size, minimum=32), fitted
        self.explains, self.sky_counts = relensing, sky_counts
        self.seen = seen = bands - len(LENS) if fitted else bands
        self.relensing = Relensing(self.size, pixel_scale)
        self.encoder = _encoder(seen)
        self.correction = nn.Linear(64 * 16 + len(LENS), len(LENS))
        nn.init.zeros_(self.correction.bias)
        self.balance = nn.BatchNorm2d(seen + 1, affine=False)
        self.trunk = TRUNKS[trunk](seen + 1, classes, self.size, **({"dropout": dropout} if trunk == "arcnet" else {}))
        self.curriculum = Curriculum(ramp)
        reach = torch.tensor(REACH if fitted else FREE)
        self.register_buffer("reach", reach, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        return self._classify(images, self._relens(images))

    def forward_with_auxiliary(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits, and the loss of the lens with the weight that it has at this step."""
        found = self._relens(images)
        return self._classify(images, found), self.curriculum(self.training) * found["residual"].square().log1p().mean()

    def physics(self, images: Tensor) -> dict[str, Tensor]:
        """Return what the model believes: the lens (B,) by name, source (B, h, w), relensed and residual (B, H, W).

        The residual is in units of the noise.
        """
        return {name: value for name, value in self._relens(images).items() if name != "image"}

    def _relens(self, images: Tensor) -> dict[str, Tensor]:
        check_images(images, self.bands, self.size)
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 cannot tell two pixels apart
            wide = images.to(torch.promote_types(images.dtype, torch.float32))
            image = wide[:, 1 : self.seen].mean(1) if self.fitted else wide.mean(1)
            sky, sigma = (part[:, 0] for part in sky_and_noise(image[:, None]))
            start = wide[:, -len(LENS) :, 0, 0] if self.fitted else self._circle(image)
            lens = self._corrected(wide[:, : self.seen], start)
            relensed, source, explained = self.relensing.predict(image - sky, lens)
            light = (image - sky).clamp_min(0)
            sigma = sigma.clamp_min(1e-6)
            noise = (sigma**2 * (1 + light / (sigma * self.sky_counts**0.5)) + (GRAIN * light) ** 2).sqrt()
            residual = torch.where(explained, (image - sky - relensed) / noise, 0.0).clamp(-LARGEST, LARGEST)
        return lens | {"image": image, "source": source, "relensed": relensed, "residual": residual}

    def _circle(self, image: Tensor) -> Tensor:
        low, high = image.amin((1, 2), keepdim=True), image.amax((1, 2), keepdim=True)
        far = (self.relensing.x**2 + self.relensing.y**2).sqrt()  # ONNX has no hypot
        radius = closed_form_theta_E((image - low) / (high - low).clamp_min(1e-12), far)
        zero = torch.zeros_like(radius)
        return torch.stack([radius.clamp_min(0.1), *[zero] * (len(LENS) - 1)], 1)

    def _corrected(self, bands: Tensor, start: Tensor) -> dict[str, Tensor]:
        raw = self.correction(torch.cat([self.encoder(bands), start], 1))
        step = self.reach * torch.tanh(0.1 * raw)
        values = torch.cat([start[:, :1] * step[:, :1].exp(), start[:, 1:] + step[:, 1:]], 1)
        return dict(zip(LENS, values.unbind(1), strict=True))

    def _classify(self, images: Tensor, found: dict[str, Tensor]) -> Tensor:
        shown = found["residual"] if self.explains else torch.zeros_like(found["residual"])
        return self.trunk(self.balance(torch.cat([images[:, : self.seen], shown.unsqueeze(1).to(images.dtype)], 1)))


def _encoder(bands: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after, kernel in ((bands, 16, 5), (16, 32, 3), (32, 64, 3)):
        convolution = nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2, bias=False)
        layers += [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten())
