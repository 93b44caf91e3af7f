"""Arrays to metrics with uncertainties; arrays to figures (`figures` and `figure_set`, which load matplotlib)."""

from darklens.evaluate.calibration import fit_temperature
from darklens.evaluate.comparison import compare_predictions
from darklens.evaluate.curves import area_under_roc, average_precision, precision_recall_curve, roc_curve
from darklens.evaluate.metrics import classification_metrics, paired_difference

__all__ = [
    "area_under_roc",
    "average_precision",
    "classification_metrics",
    "compare_predictions",
    "fit_temperature",
    "paired_difference",
    "precision_recall_curve",
    "roc_curve",
]
