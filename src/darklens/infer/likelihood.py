"""The exact likelihood of simulated images, as Poisson counts.

`common-test`: counts over a known sky. Its min-max scale hides nothing, since every value is a whole number of counts and the sky
fixes the zero, so the counts themselves are used. Instruments: counts of source and sky with Gaussian read noise of variance
R^2; to both sides R^2 is added and the sum taken for Poisson, which has the right mean and variance (Snyder, Hammoud & White
1993, JOSA A 10, 1014); with a thousand sky counts a pixel nothing else can be seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from darklens.errors import InputError
from darklens.simulate import Instrument, Preset, Scene, render
from darklens.simulate.noise import Exposure, NoiseFree, SkyCountsMinMax
from darklens.simulate.rng import draw_exposure, row_keys


@dataclass(frozen=True)
class Likelihood:
    """Images of one preset as counts, and what is expected of a scene: `mean = gain flux + offset`.

    Args:
        counts: `(N, H, W)` float32, offset included, not negative.
        gain: counts of a unit of flux.
        offset: counts of a pixel without light.
        instrument: pixel scale and PSF.
    """

    counts: Tensor
    gain: float
    offset: float
    instrument: Instrument

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.counts.shape[1], self.counts.shape[2]

    def flux(self, scene: Scene, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the flux of a scene, `(B, H, W)`."""
        return render(scene, self.instrument, self.shape, dtype=dtype)

    def weights(self, flux: Tensor) -> Tensor:
        """Return the Fisher information of the flux, `gain^2 / mean`, of the shape of the flux."""
        return self.gain**2 / (self.gain * flux + self.offset)

    def __call__(self, scene: Scene, which: Tensor) -> Tensor:
        """Return the log-likelihood of B scenes on images `which (B,)`, less that of a perfect fit: minus half the deviance."""
        mean = self.flux(scene).mul_(self.gain).add_(self.offset).clamp_min_(1e-6)
        counts = self.counts[which]
        ratio = torch.where(counts > 0, counts * (mean / counts.clamp_min(1e-6)).log(), 0)
        return (ratio + counts - mean).sum((1, 2), dtype=torch.float64)


def likelihood_of(preset: Preset, scene: Scene, side: int | None = None) -> Likelihood:
    """Record a scene as its preset does and return the likelihood of these images.

    Args:
        preset: one band, counted light.
        scene: B systems; `(seed, row)` fixes the noise.
        side: of the central square in pixels that is used; None uses all.

    Raises:
        InputError: the preset's recording has no likelihood in closed form.
    """
    instrument = preset.instrument
    t, sky, read = counting(preset)
    flux = render(scene, instrument, preset.shape, supersampling=preset.supersampling).float().cpu().numpy()
    recorded = draw_exposure(row_keys(scene.seed, scene.rows, "noise"), flux, t, sky, read)  # the very draw of the preset
    counts = torch.from_numpy((recorded.astype(np.float64) + sky) * t + read**2).clamp_min(0).float()
    high, wide = preset.shape
    cut = min(side or high, high, wide)
    top, left = (high - cut) // 2, (wide - cut) // 2
    window = counts if side is None else counts[:, top : top + cut, left : left + cut]
    return Likelihood(window.contiguous(), t, t * sky + read**2, instrument)


def likelihood_of_images(preset: Preset, images: np.ndarray) -> Likelihood:
    """Return the likelihood of images `(N, H, W)` in e-/s, sky-subtracted, as a preset records them.

    Raises:
        InputError: the preset's recording has no likelihood in closed form, or it is in other units.
    """
    t, sky, read = counting(preset)
    if not isinstance(preset.recording, Exposure):
        raise InputError(f"images of {preset.name!r} are scaled one by one: use model-ii-noisy, model-iii-noisy or subhalos")
    counts = torch.from_numpy((images.astype(np.float64) + sky) * t + read**2).clamp_min(0).float()
    return Likelihood(counts.contiguous(), t, t * sky + read**2, preset.instrument)


def counting(preset: Preset) -> tuple[float, float, float]:
    """Return seconds, sky in e-/s a pixel, and read noise in e- of a preset that counts light.

    Raises:
        InputError: it does something else.
    """
    instrument, recording = preset.instrument, preset.recording
    if isinstance(recording, SkyCountsMinMax):
        return 1.0, recording.sky, 0.0
    if isinstance(recording, Exposure) and not preset.artefacts and len(preset.instruments) == 1:
        return instrument.total_exposure, instrument.sky_per_pixel, instrument.read_noise * instrument.n_exposures**0.5
    raise InputError(
        f"preset {preset.name!r} records {type(recording).__name__}, whose likelihood has no closed form: "
        "use common-test, model-ii-noisy, model-iii-noisy or subhalos"
    )


def noise_free(preset: Preset) -> bool:
    """Return whether images of a preset have no noise at all."""
    return isinstance(preset.recording, NoiseFree)
