"""Presets: a population, seen by an instrument, recorded in one way. One entry each; `darklens list` prints them."""

from __future__ import annotations

from dataclasses import replace

from darklens.errors import unknown
from darklens.simulate.instruments import INSTRUMENTS, Instrument
from darklens.simulate.noise import BandMinMax, DeepLenseSimCounts, Exposure, NoiseFree, SkyCountsMinMax
from darklens.simulate.populations import (
    CommonTest,
    DeepLenseSim,
    LensFinding,
    LineOfSight,
    Perturber,
    Subhalos,
)
from darklens.simulate.preset_type import SOURCE_MAG, Preset, source_amplitude
from darklens.simulate.priors import PowerLaw, Uniform
from darklens.simulate.psf import GaussianPSF
from darklens.simulate.survey import Survey
from darklens.units import FWHM_PER_SIGMA

DEFLECTION_SCALE = 0.6343116828934973
"""Defect 7: `(D_ls/D_s at z_s = 1.0) / (D_ls/D_s at z_s = 2.5)` in pyHalo's cosmology (H0 69.7, Om0 0.2815, Ob0 0.0455)."""


# The public files carry the VIS zero point of older lenstronomy releases.
_EUCLID_AS_PUBLISHED = replace(INSTRUMENTS["euclid-vis"], zero_point=24.0, origin="lenstronomy before 1.12: zero point 24.0")
_EUCLID, _F160W = INSTRUMENTS["euclid-vis"], INSTRUMENTS["hst-wfc3-f160w"]
_MODEL_I = Instrument("deeplense-model-i", 0.05, GaussianPSF(0.087, truncation=3.0), origin="DeepLenseSim")
_COMMON = Instrument("common-test", 0.05, GaussianPSF(0.085 * FWHM_PER_SIGMA), origin="measured on official images")

_CUTOUTS = "seeing and depth as measured on official lens-finding images"
_I_ZERO = 28.61
_GRI = (
    Instrument("lens-finding-g", 0.168, GaussianPSF(0.78), 28.90, 22.0, 0.0, 234.0, origin=_CUTOUTS),
    Instrument("lens-finding-r", 0.168, GaussianPSF(0.75), 28.86, 20.6, 0.0, 424.0, origin=_CUTOUTS),
    Instrument("lens-finding-i", 0.168, GaussianPSF(0.58), _I_ZERO, 19.7, 0.0, 600.0, origin=_CUTOUTS),
)


def _deeplense(instrument: Instrument) -> DeepLenseSim:
    return DeepLenseSim(source_amplitude(SOURCE_MAG, instrument), DEFLECTION_SCALE)


_DEFECTS = "As published: Einstein radii from luminosity distances, subhalo slope -0.9, always 25 subhalos"
_SCALED = f"{_DEFECTS}, every deflection times 0.63431"

_PHYSICAL = "Sersic sources, one redshift each for lens and source (0.5, 1.0), a PSF narrower than the real one of F160W."
_F160W_ZERO = 25.96

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
        Preset(
            "subhalos",
            "no_sub / cdm / wdm / sidm: truncated NFW subhaloes of cold, warm, self-interacting dark matter; HST WFC3 F160W, noise",
            Subhalos(zero_point=_F160W_ZERO),
            _F160W,
            Exposure(),
            (64, 64),
            _PHYSICAL,
        ),
        Preset(
            "subhalos-axion",
            "no_sub / cdm / axion: the question of Models I to III with physical distances, mass functions and lenses that vary",
            Subhalos(zero_point=_F160W_ZERO, classes=("no_sub", "cdm", "axion")),
            _F160W,
            Exposure(),
            (64, 64),
            f"{_PHYSICAL} The vortex is DeepLenseSim's: 3e10 M_sun through the middle.",
        ),
        Preset(
            "subhalos-los",
            "no_sub / cdm with haloes on the line of sight in 8 planes, and the light of the lens galaxy",
            Subhalos(zero_point=_F160W_ZERO, classes=("no_sub", "cdm"), line_of_sight=LineOfSight(), lens_mag=Uniform(18.5, 20.5)),
            _F160W,
            Exposure(),
            (64, 64),
            f"{_PHYSICAL} Lens light stays in.",
        ),
        Preset(
            "subhalos-population",
            "cdm of many lenses: mass fraction (0.5 to 10%) and slope of the mass function (-2.3 to -1.5) differ; bright arcs",
            Subhalos(
                zero_point=_F160W_ZERO,
                classes=("cdm",),
                f_sub=Uniform(0.005, 0.1),
                slope_sub=Uniform(-2.3, -1.5),
                m_sub=PowerLaw(-1.9, 1e8, 1e10),
                source_mag=Uniform(21.0, 22.5),
            ),
            _F160W,
            Exposure(),
            (64, 64),
            f"{_PHYSICAL} Subhaloes from 1e8 M_sun.",
        ),
        Preset(
            "perturber",
            "no_sub / sub: one truncated NFW subhalo of 1e8 to 1e10 M_sun near the ring, its mass and place in the truth columns",
            Perturber(zero_point=_F160W_ZERO),
            _F160W,
            Exposure(),
            (64, 64),
            _PHYSICAL,
        ),
        Preset(
            "lens-finding",
            "nonlens / lens: 64x64 cutouts of a ground-based survey in g, r, i, each band min-max scaled; seeing and depth vary",
            LensFinding(zero_point=_I_ZERO),
            _GRI[-1],
            BandMinMax(),
            (64, 64),
            "Noise, seeing, colours and magnitudes measured on 20 official images, whose survey and pixel scale are not named; "
            'taken for 0.168" a pixel.',
            survey=Survey(_GRI, (Uniform(0.62, 0.95), Uniform(0.55, 0.9), Uniform(0.44, 0.68)), BandMinMax(), reference=2),
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
