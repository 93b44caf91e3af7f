"""How the images of a data set are fitted: pixel scale, PSF, noise, model. Plain data, so that a run can keep it and repeat it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch

from darklens.errors import InputError
from darklens.fit.evidence import evidence
from darklens.fit.lens_model import LensModel
from darklens.fit.noise import Estimated, Floor, Linear, Noise, NoiseMap, SkyCounts, counts_per_unit
from darklens.fit.normal_equations import smooth_image
from darklens.fit.smooth import Effort, SmoothFit, fit_images
from darklens.simulate import CommonTest, DeepLenseSim, GaussianPSF, Instrument, Preset, TabulatedPSF
from darklens.simulate import preset as find_preset
from darklens.simulate.noise import DeepLenseSimCounts, Exposure, SkyCountsMinMax
from darklens.simulate.populations import Population
from darklens.simulate.psf import PSF

AT_ONCE = 64
"""Smooth lenses rendered together."""
NOISES: dict[str, type[Noise]] = {"sky-counts": SkyCounts, "linear": Linear, "floor": Floor, "estimated": Estimated}


@dataclass(frozen=True)
class Plan:
    """Everything that a fit needs besides the images.

    Args:
        pixel_scale: arcsec.
        psf: point spread function.
        noise: says what the variance is.
        model: what is fitted.
        effort: how hard to try.
        origin: where this came from, for people.
    """

    pixel_scale: float
    psf: PSF
    noise: Noise
    model: LensModel
    effort: Effort = field(default_factory=Effort)
    origin: str = ""

    def fit(
        self,
        images: np.ndarray,
        *,
        mask: np.ndarray | None = None,
        device: str = "cpu",
        progress: Callable[[int], None] = lambda n: None,
    ) -> SmoothFit:
        """Fit images `(N, H, W)` or `(N, 1, H, W)`.

        Raises:
            InputError: images of another form or with several bands.
        """
        images = np.asarray(images)
        if images.ndim == 4:
            if images.shape[1] != 1:
                raise InputError(f"images of {images.shape[1]} bands: the fit takes one band at a time; choose one")
            images = images[:, 0]
        return fit_images(
            images,
            pixel_scale=self.pixel_scale,
            psf=self.psf,
            noise=self.noise,
            model=self.model,
            mask=mask,
            effort=self.effort,
            device=device,
            progress=progress,
        )

    def render(self, parameters: np.ndarray, shape: tuple[int, int], device: str | torch.device = "cpu") -> np.ndarray:
        """Return the smooth lenses of parameters `(N, len(PARAMETERS))`, without noise, as `(N, H, W)` float32.

        Args:
            parameters: in the order of `darklens.fit.lens_model.PARAMETERS`.
            shape: `(H, W)`.
            device: where PyTorch computes.
        """
        values = torch.as_tensor(parameters, dtype=torch.float32, device=device)
        with torch.inference_mode():
            parts = [smooth_image(some, self.model, shape, self.pixel_scale, self.psf).cpu() for some in values.split(AT_ONCE)]
        return torch.cat(parts).numpy()

    def evidence(self, images: np.ndarray, fit: SmoothFit, *, crop: int | None = None, bin: int = 1) -> np.ndarray:
        """Return maps of what a fit says about substructure, `(N, 5, h, w)`; see `darklens.fit.evidence`.

        Args:
            images: `(N, H, W)` or `(N, 1, H, W)`.
            fit: what `fit` made of them.
            crop: side in pixels of the central square that is used.
            bin: side of the blocks of pixels.
        """
        flat = images[:, 0] if images.ndim == 4 else images
        return evidence(
            flat, fit, pixel_scale=self.pixel_scale, psf=self.psf, noise=self.noise, model=self.model, crop=crop, bin=bin
        )

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready data that `from_dict` reads.

        Raises:
            InputError: the noise is a map of its own for these images and cannot be used for others.
        """
        if isinstance(self.noise, NoiseMap):
            raise InputError("a noise map belongs to its images: give a noise model to use the plan on others")
        kind = next(name for name, known in NOISES.items() if type(self.noise) is known)
        return {
            "pixel_scale": self.pixel_scale,
            "psf": _psf_as_dict(self.psf),
            "noise": {"kind": kind} | asdict(self.noise),
            "model": self.model.name,
            "fixed": dict(self.model.fixed),
            "effort": asdict(self.effort),
            "origin": self.origin,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Plan:
        """Return the plan that `as_dict` described.

        Raises:
            InputError: the data are not those of a plan.
        """
        try:
            noise = dict(content["noise"])
            return cls(
                float(content["pixel_scale"]),
                _psf_of(content["psf"]),
                NOISES[noise.pop("kind")](**noise),
                LensModel(content["model"], dict(content["fixed"])),
                Effort(**content["effort"]),
                content.get("origin", ""),
            )
        except (KeyError, TypeError) as error:
            raise InputError(f"not a description of a fit ({error}): restore the file or make it again") from error

    def key(self) -> str:
        """Return a short name that changes when anything that changes a fit changes."""
        content = {k: v for k, v in self.as_dict().items() if k != "origin"}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _psf_as_dict(psf: PSF) -> dict[str, Any]:
    if isinstance(psf, GaussianPSF):
        return {"kind": "gaussian", "fwhm": psf.fwhm, "truncation": psf.truncation}
    assert isinstance(psf, TabulatedPSF)
    return {"kind": "kernel", "kernel": psf.kernel.tolist(), "pixel_scale": psf.pixel_scale}


def _psf_of(content: dict[str, Any]) -> PSF:
    if content["kind"] == "gaussian":
        return GaussianPSF(content["fwhm"], content["truncation"])
    return TabulatedPSF(np.array(content["kernel"]), content["pixel_scale"])


_CENTRED = {"center_x": 0.0, "center_y": 0.0}
_MODELS = {
    CommonTest: LensModel("sis+shear+sersic", _CENTRED | {"R_sersic": 0.5, "n_sersic": 1.5}),
    DeepLenseSim: LensModel("sie+shear+sersic", _CENTRED | {"n_sersic": 1.0}),
}
"""What is known of a population's smooth lenses: their form, not their parameters."""


def plan_for(preset: str | Preset, model: LensModel | None = None) -> Plan:
    """Return the plan for images of a preset: its instrument, its noise, and the form of its lenses.

    Raises:
        InputError: unknown preset.
    """
    chosen = find_preset(preset) if isinstance(preset, str) else preset
    recording = chosen.recording
    if isinstance(recording, SkyCountsMinMax):
        noise: Noise = SkyCounts(recording.sky)
    elif isinstance(recording, Exposure):
        noise = Linear.of(chosen.instrument)
    elif isinstance(recording, DeepLenseSimCounts):
        noise = Estimated(counts_per_unit=1.0, excess=2.0)
    else:
        noise = Floor()
    form = model or smooth_form(chosen.population)
    return Plan(chosen.instrument.pixel_scale, chosen.instrument.psf, noise, form, origin=f"preset {chosen.name}")


def smooth_form(population: Population) -> LensModel:
    """Return the form of a population's smooth lenses."""
    return next((known for kind, known in _MODELS.items() if isinstance(population, kind)), LensModel())


def plan_for_instrument(instrument: Instrument, model: LensModel | None = None) -> Plan:
    """Return the plan for sky-subtracted images of an instrument in e-/s."""
    return Plan(
        instrument.pixel_scale, instrument.psf, Linear.of(instrument), model or LensModel(), origin=f"instrument {instrument.name}"
    )


def recognise(images: np.ndarray, manifest: dict[str, Any] | None = None) -> Plan:
    """Return the plan for images that say themselves what they are: a simulated table, or min-max scaled counts of 150x150 pixels.

    Args:
        images: `(N, 1, H, W)` or `(N, H, W)`, a few of them.
        manifest: of the table that they come from.

    Raises:
        InputError: they do not; the remedy is to name a preset or an instrument.
    """
    about = manifest or {}
    if about.get("preset"):
        chosen = find_preset(about["preset"])
        seen_by = (about.get("instrument") or {}).get("name", chosen.instrument.name)
        if seen_by == chosen.instrument.name:
            return plan_for(chosen)
        from darklens.simulate import instrument as find_instrument

        return plan_for(chosen.observed_by(find_instrument(seen_by)))
    flat = np.asarray(images).reshape(-1, *np.asarray(images).shape[-2:])
    if flat.shape[1:] == (150, 150) and all(image.min() == 0 and image.max() == 1 and counts_per_unit(image) for image in flat[:5]):
        return replace(plan_for("common-test"), origin="recognised: min-max scaled counts of 150x150 pixels, as in common-test")
    raise InputError(
        f"images of {flat.shape[1]}x{flat.shape[2]} pixels do not say what instrument took them: give --preset or --instrument"
    )
