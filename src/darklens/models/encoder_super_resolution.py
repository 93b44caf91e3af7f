"""Sharper images from an encoder that learned without labels: bicubic, and what the tokens know beyond it.

The tokens of all patches are spread over the pixels of their patches (a pixel shuffle), brought to the fine pixels, and a last
convolution, zero at first, adds what they say to the bicubic image: an untrained network is bicubic, so that whatever is gained
over it has been learned. The encoder sees each image with mean 0 and deviation 1; the result is in the image's own unit again.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle

from darklens.errors import InputError
from darklens.models.denoise_arc import ArcEncoder
from darklens.models.encoder_classifier import encoder_of
from darklens.models.upsampling import upsampled


class EncoderSuperResolution(nn.Module):
    """Coarse images (B, bands, h, w) to fine ones (B, bands, scale h, scale w).

    Args:
        bands: of the images.
        scale: fine pixels along the side of a coarse one.
        gain: value of a fine pixel for that of a coarse one.
        run: folder of the run whose encoder this is, one that sees images (`input: image`); None starts from random weights.
        encoder: which model the encoder is of; with a run, that of the run.
        encoder_options: of that model.
        width: channels on the fine pixels.
        frozen: leave the encoder as it is.
        weights: "pretrained" with a run, "random" for weights that are loaded later.

    Raises:
        InputError: a scale below 2, unknown encoder, a run that has none, or one that sees other images.
    """

    summary = "bicubic and what the encoder of mae or mae-arc adds, by a pixel shuffle (option run)"
    task = "super-resolution"
    tiny: ClassVar = {"width": 8}

    def __init__(
        self,
        bands: int = 1,
        *,
        scale: int = 2,
        gain: float = 1.0,
        run: str | None = None,
        encoder: str = "mae-arc",
        encoder_options: dict[str, Any] | None = None,
        width: int = 16,
        frozen: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if scale < 2:
            raise InputError(f"a scale of {scale} makes nothing finer: give 2 or more")
        self.scale, self.gain = scale, gain
        found = encoder_of(bands, None, run=run, encoder=encoder, encoder_options=encoder_options, weights=weights)
        if isinstance(found, ArcEncoder):
            raise InputError(f"the encoder of {run or encoder} sees residuals, not images: give a run of mae or mae-arc")
        self.encoder = found
        self.encoder.requires_grad_(not frozen)
        self.spread = nn.Conv2d(self.encoder.dim, width * self.encoder.patch**2, 1)
        self.mix = nn.Sequential(nn.GELU(), nn.Conv2d(width, width, 3, padding=1), nn.GELU())
        self.answer = nn.Conv2d(width, bands, 3, padding=1)
        for parameter in self.answer.parameters():
            nn.init.zeros_(parameter)

    def forward(self, low: Tensor) -> Tensor:
        """Return the fine images."""
        mean, deviation = low.mean((-2, -1), keepdim=True), low.std((-2, -1), keepdim=True).clamp_min(1e-12)
        maps, cut = self.encoder.maps_of((low - mean) / deviation)
        fine = pixel_shuffle(self.spread(maps), self.encoder.patch)[(..., *cut)]
        fine = interpolate(fine, [self.scale * side for side in low.shape[-2:]], mode="bilinear")
        return upsampled(low, self.scale, gain=self.gain) + self.gain * deviation * self.answer(self.mix(fine))
