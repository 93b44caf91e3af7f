"""Presets: a population, seen by an instrument, recorded in one way. One entry each; `darklens list` prints them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from darklens.errors import InputError, unknown
from darklens.lensing import SersicEllipse
from darklens.simulate.instruments import INSTRUMENTS, Instrument
from darklens.simulate.noise import DeepLenseSimCounts, Exposure, NoiseFree, Recording, SkyCountsMinMax
from darklens.simulate.populations import CommonTest, DeepLenseSim, Population
from darklens.simulate.psf import GaussianPSF
from darklens.simulate.rendering import render
from darklens.simulate.rng import row_generator
from darklens.simulate.scene import Scene
from darklens.units import FWHM_PER_SIGMA

DEFLECTION_SCALE = 0.6343116828934973
"""Defect 7: `(D_ls/D_s at z_s = 1.0) / (D_ls/D_s at z_s = 2.5)` in pyHalo's cosmology (H0 69.7, Om0 0.2815, Ob0 0.0455)."""


@dataclass(frozen=True)
class Preset:
    """A recipe for images.

    Args:
        name: what the user types.
        summary: one line.
        population: what is in the sky.
        instrument: who looks.
        recording: what ends up in the file.
        shape: rows and columns.
        notes: known defects and limits, for the data card.
    """

    name: str
    summary: str
    population: Population
    instrument: Instrument
    recording: Recording
    shape: tuple[int, int]
    notes: str = ""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.population.classes

    def images(self, scene: Scene, device: str = "cpu") -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Render and record a scene.

        Returns:
            Images `(B, 1, H, W)` float32 and the truth columns, those of the recording included.
        """
        flux = render(scene, self.instrument, self.shape, device=device).double().cpu().numpy()
        images, extra = np.empty((len(scene), 1, *self.shape), np.float32), []
        for i, row in enumerate(scene.rows):
            images[i, 0], more = self.recording.record(flux[i], self.instrument, row_generator(scene.seed, row, "noise"))
            extra.append(more)
        return images, scene.truth | {k: np.array([e[k] for e in extra]) for k in extra[0]}

    def observed_by(self, instrument: Instrument) -> Preset:
        """Return the same scenes seen by another instrument, with that instrument's noise.

        Raises:
            InputError: the preset's source has no magnitude, or the instrument no zero point.
        """
        if not isinstance(self.population, DeepLenseSim) or self.instrument.zero_point is None:
            raise InputError(
                f"preset {self.name!r} is in uncalibrated counts and cannot be seen by {instrument.name!r}: "
                "use model-ii-noisy or model-iii-noisy, whose sources have magnitudes"
            )
        return replace(
            self,
            population=replace(self.population, source_amp=_amplitude(SOURCE_MAG, instrument)),
            instrument=instrument,
            recording=Exposure(),
            notes=f"{self.notes} Seen by {instrument.name} instead of {self.instrument.name}.",
        )


SOURCE_MAG = 20.0
"""AB magnitude of the source of Models II and III."""


def _amplitude(magnitude: float, instrument: Instrument) -> float:
    """Surface brightness at `R_sersic` of the DeepLenseSim source of this magnitude."""
    return float(SersicEllipse.amp_for_flux(instrument.flux(magnitude), R_sersic=0.25, n_sersic=1.0))


# The public files carry the VIS zero point of older lenstronomy releases.
_EUCLID_AS_PUBLISHED = replace(INSTRUMENTS["euclid-vis"], zero_point=24.0, origin="lenstronomy before 1.12: zero point 24.0")
_EUCLID, _F160W = INSTRUMENTS["euclid-vis"], INSTRUMENTS["hst-wfc3-f160w"]
_MODEL_I = Instrument("deeplense-model-i", 0.05, GaussianPSF(0.087, truncation=3.0), origin="DeepLenseSim")
_COMMON = Instrument("common-test", 0.05, GaussianPSF(0.085 * FWHM_PER_SIGMA), origin="measured on official images")


def _deeplense(instrument: Instrument) -> DeepLenseSim:
    return DeepLenseSim(_amplitude(SOURCE_MAG, instrument), DEFLECTION_SCALE)


_DEFECTS = "As published: Einstein radii from luminosity distances, subhalo slope -0.9, always 25 subhalos"
_SCALED = f"{_DEFECTS}, every deflection times 0.63431"

PRESETS: dict[str, Preset] = {
    p.name: p
    for p in [
        Preset(
            "model-i",
            'DeepLenseSim Model I as published: 150x150 at 0.05", counts with Poisson noise drawn twice',
            DeepLenseSim(source_amp=20.0),
            _MODEL_I,
            DeepLenseSimCounts(),
            (150, 150),
            f"{_DEFECTS}; noise drawn twice.",
        ),
        Preset(
            "model-ii",
            "DeepLenseSim Model II as published: 64x64, Euclid VIS, noise-free and doubled",
            _deeplense(_EUCLID_AS_PUBLISHED),
            _EUCLID_AS_PUBLISHED,
            NoiseFree(2.0),
            (64, 64),
            f"{_SCALED}; no noise, image doubled.",
        ),
        Preset(
            "model-iii",
            "DeepLenseSim Model III as published: 64x64, HST WFC3 F160W, noise-free and doubled",
            _deeplense(_F160W),
            _F160W,
            NoiseFree(2.0),
            (64, 64),
            f"{_SCALED}; no noise, image doubled.",
        ),
        Preset(
            "model-ii-noisy",
            "the scenes of Model II with Euclid VIS noise really added (e-/s, sky-subtracted)",
            _deeplense(_EUCLID),
            _EUCLID,
            Exposure(),
            (64, 64),
            f"{_SCALED}; Poisson and read noise of the instrument.",
        ),
        Preset(
            "model-iii-noisy",
            "the scenes of Model III with HST WFC3 F160W noise really added (e-/s, sky-subtracted)",
            _deeplense(_F160W),
            _F160W,
            Exposure(),
            (64, 64),
            f"{_SCALED}; Poisson and read noise of the instrument.",
        ),
        Preset(
            "common-test",
            'no / sphere / vort in the style of the common test: 150x150 at 0.05", Poisson over sky, min-max scaled',
            CommonTest(),
            _COMMON,
            SkyCountsMinMax(),
            (150, 150),
            "Parameters measured on official images; the generator itself is not public.",
        ),
    ]
}


def preset(name: str) -> Preset:
    """Return the preset of that name.

    Raises:
        InputError: no such preset; the nearest name is in the message.
    """
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]
