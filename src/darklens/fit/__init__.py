"""Images to smooth lens models, in batches: model, residual in units of the noise, parameters with errors."""

from darklens.fit.calibration import Calibration, calibrate
from darklens.fit.lens_model import MODELS, PARAMETERS, LensModel
from darklens.fit.noise import Estimated, Floor, Linear, Noise, NoiseMap, SkyCounts, counts_per_unit
from darklens.fit.plan import Plan, plan_for, plan_for_instrument, recognise, smooth_form
from darklens.fit.smooth import Effort, SmoothFit, fit_images
from darklens.fit.table import evidence_table, fit_table, write_fits

__all__ = [
    "MODELS",
    "PARAMETERS",
    "Calibration",
    "Effort",
    "Estimated",
    "Floor",
    "LensModel",
    "Linear",
    "Noise",
    "NoiseMap",
    "Plan",
    "SkyCounts",
    "SmoothFit",
    "calibrate",
    "counts_per_unit",
    "evidence_table",
    "fit_images",
    "fit_table",
    "plan_for",
    "plan_for_instrument",
    "recognise",
    "smooth_form",
    "write_fits",
]
