"""What may be wrong with the images that a network is asked about: presets, disturbed in one known way, and other simulators.

The scene of a row, and its noise where noise is the same, are those of the undisturbed preset: conditions are compared pairwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn.functional import interpolate

from darklens.errors import InputError
from darklens.lensing import Multipole
from darklens.simulate import CommonTest, GaussianPSF, Preset, Scene, preset
from darklens.simulate.noise import DeepLenseSimCounts, Exposure, NoiseFree, SkyCountsMinMax
from darklens.simulate.populations import Population, System
from darklens.simulate.rng import row_generator

PSF_FACTORS = (0.8, 0.9, 0.95, 1.05, 1.1, 1.2)
NOISE_FACTORS = (0.5, 0.7, 1.4, 2.0)
MULTIPOLES = (0.005, 0.01, 0.02)
ORDERS = (3, 4)
SIMULATORS = ("model-i", "model-ii", "model-iii", "model-ii-noisy", "model-iii-noisy", "common-test")
SUBSTRUCTURE = ({"no": "no_sub", "sphere": "cdm", "vort": "axion"}, {"no_sub": "no", "cdm": "sphere", "axion": "vort"})
"""Labels of the two families for the same question."""


@dataclass(frozen=True)
class Condition:
    """One way in which images differ from those of the training.

    Args:
        name: short, unique for a run.
        kind: "undisturbed", "psf", "noise", "lens" or "simulator".
        change: what was done, in a sentence.
        preset: makes the images.
        paired: whether a row has the scene that it has in the undisturbed preset.
    """

    name: str
    kind: str
    change: str
    preset: Preset
    paired: bool = True


@dataclass(frozen=True)
class WithMultipoles(Population):
    """A population whose macro lenses have multipoles of the orders 3 and 4, which neither training nor fit knows.

    Args:
        inner: the population.
        strength: `a_m / theta_E` of both orders, the fraction by which isodensity contours deviate (Xu et al. 2015, B3); their
            directions are random, a function of seed and row.
    """

    inner: Population
    strength: float

    @property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Class names in label order."""
        return self.inner.classes

    def draw_system(self, label: str, rng: np.random.Generator) -> System:
        """Draw one system without its multipoles."""
        return self.inner.draw_system(label, rng)

    def truth_columns(self) -> tuple[str, ...]:
        """Return the names of the truth columns."""
        return self.inner.truth_columns()

    def draw(self, n: int, seed: int, start: int = 0) -> Scene:
        """Draw the systems of the rows from `start` on."""
        scene = self.inner.draw(n, seed, start)
        theta_e = scene.macro[0].theta_E
        angles = np.array([row_generator(seed, row, "multipoles").uniform(0, 2 * math.pi, len(ORDERS)) for row in scene.rows])
        more = [
            Multipole(float(m), self.strength * theta_e, torch.from_numpy(angles[:, k] / m)) for k, m in enumerate(ORDERS)
        ]  # fmt: skip
        return replace(scene, macro=(*scene.macro, *more), macro_alone=(*(scene.macro_alone or scene.macro), *more))


def wrong_psf(base: Preset, factor: float) -> Condition:
    """Return images whose PSF is wider or narrower than fit and training assume.

    Raises:
        InputError: the PSF is no Gaussian.
    """
    psf = base.instrument.psf
    if not isinstance(psf, GaussianPSF):
        raise InputError(f"the PSF of {base.name} is tabulated: its width cannot be scaled; leave psf out of --only")
    change = f'PSF of {psf.fwhm * factor:.4f}" instead of {psf.fwhm:.4f}" (FWHM)'
    return Condition(f"psf x {factor:g}", "psf", change, base.with_psf(replace(psf, fwhm=psf.fwhm * factor)))


def other_noise(base: Preset, factor: float) -> Condition | None:
    """Return images of another exposure, whose noise relative to the signal is about this many times larger; None if noise-free.

    The exposure is divided by the factor squared: Poisson noise of source and sky scales exactly, read noise keeps its electrons.
    """
    recording, name = base.recording, f"noise x {factor:g}"
    change = f"exposure divided by {factor**2:g}"
    if isinstance(recording, Exposure):
        instrument = replace(base.instrument, exposure_time=base.instrument.exposure_time / factor**2)
        return Condition(name, "noise", f"{change}, read noise kept", replace(base, instrument=instrument))
    if isinstance(recording, SkyCountsMinMax) and isinstance(base.population, CommonTest):
        amp = base.population.source_amp
        fainter = replace(base.population, source_amp=replace(amp, value=amp.value / factor**2))
        sky = replace(recording, sky=recording.sky / factor**2)
        return Condition(
            name, "noise", f"{change}: fewer counts of source and sky", replace(base, population=fainter, recording=sky)
        )
    if isinstance(recording, DeepLenseSimCounts):
        low, high = (t - 2 * math.log10(factor) for t in recording.log10_exposure)
        other = replace(recording, log10_exposure=(low, high), background_rms=recording.background_rms * factor)
        return Condition(name, "noise", f"{change}, background scatter times {factor:g}", replace(base, recording=other))
    return None


def wrong_lens(base: Preset, strength: float) -> Condition:
    """Return images of lenses with multipoles."""
    change = f"multipoles m = 3 and 4 of {strength:.1%} in the lens, known to neither training nor fit"
    return Condition(
        f"multipoles {strength:.1%}", "lens", change, replace(base, population=WithMultipoles(base.population, strength))
    )


def other_simulator(base: Preset, name: str) -> Condition:
    """Return the images of another preset, resampled to the pixels of this one."""
    other = preset(name)
    there, here = other.instrument.pixel_scale, base.instrument.pixel_scale
    change = (
        f'images of {name}, {other.shape[0]} pixels of {there}" resampled to {base.shape[0]} of {here}" at their angular size, '
        "the border filled with the level of the corners"
    )
    return Condition(f"on {name}", "simulator", change, other, paired=False)


def conditions(base: Preset, only: set[str]) -> list[Condition]:
    """Return every condition of these kinds, the undisturbed one first."""
    found: list[Condition | None] = [Condition("undisturbed", "undisturbed", "none", base)]
    if "psf" in only:
        found += [wrong_psf(base, factor) for factor in PSF_FACTORS]
    if "noise" in only:
        found += [other_noise(base, factor) for factor in NOISE_FACTORS]
    if "lens" in only:
        found += [wrong_lens(base, strength) for strength in MULTIPOLES]
    if "simulator" in only:
        found += [other_simulator(base, name) for name in SIMULATORS if name != base.name]
    return [condition for condition in found if condition is not None]


def draw(condition: Condition, base: Preset, n: int, seed: int, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return images `(n, 1, H, W)` on the pixels of the base preset, and label names, of the rows from `start` on."""
    scene = condition.preset.population.draw(n, seed, start)
    images, _ = condition.preset.images(scene)
    if condition.kind == "simulator":
        images = regrid(images, condition.preset.instrument.pixel_scale, base.instrument.pixel_scale, base.shape)
        images = images / _factor(condition.preset) * _factor(base)
        if isinstance(base.recording, SkyCountsMinMax):
            low, high = images.min((-2, -1), keepdims=True), images.max((-2, -1), keepdims=True)
            images = (images - low) / (high - low)
    names = next(m for m in (*SUBSTRUCTURE, {c: c for c in base.classes}) if set(m.values()) == set(base.classes))
    return images.astype(np.float32), np.array([names.get(label, label) for label in scene.labels], dtype=object)


def _factor(of: Preset) -> float:
    """Return what the noise-free Models were multiplied with when they were published: noisy ones are not."""
    return of.recording.factor if isinstance(of.recording, NoiseFree) else 1.0


def regrid(images: np.ndarray, scale: float, wanted: float, shape: tuple[int, int]) -> np.ndarray:
    """Resample images to another pixel scale at the same angular size, then cut or fill them to a shape.

    Args:
        images: `(n, bands, H, W)`; a pixel is the flux of its area.
        scale: arcsec a pixel.
        wanted: arcsec a pixel of the result.
        shape: rows and columns of the result; what lies outside of the image has the median of its corners.
    """
    sides = [round(n * scale / wanted) for n in images.shape[-2:]]
    sides = [side - (side - n) % 2 for side, n in zip(sides, shape, strict=True)]  # cut or filled alike on both sides
    area = images.shape[-2] * images.shape[-1] / (sides[0] * sides[1])
    pixels = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))
    pixels = interpolate(pixels, sides, mode="bilinear", antialias=True).numpy() * np.float32(area)
    k = max(2, min(sides) // 10)
    corners = [pixels[..., rows, columns] for rows in (slice(k), slice(-k, None)) for columns in (slice(k), slice(-k, None))]
    level = np.median(np.concatenate(corners, axis=-1), axis=(-2, -1))
    out = np.empty((*images.shape[:2], *shape), np.float32)
    out[:] = level[..., None, None]
    cut = [slice(max(0, (a - b) // 2), max(0, (a - b) // 2) + min(a, b)) for a, b in zip(sides, shape, strict=True)]
    put = [slice(max(0, (b - a) // 2), max(0, (b - a) // 2) + min(a, b)) for a, b in zip(sides, shape, strict=True)]
    out[..., put[0], put[1]] = pixels[..., cut[0], cut[1]]
    return out
