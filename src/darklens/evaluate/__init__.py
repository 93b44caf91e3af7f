"""Arrays to metrics with uncertainties; arrays to figures (`figures` and `figure_set`, which load matplotlib)."""

from darklens.evaluate.calibration import fit_temperature
from darklens.evaluate.comparison import compare_predictions
from darklens.evaluate.curves import precision_recall_curve, roc_curve
from darklens.evaluate.metrics import classification_metrics, paired_difference
from darklens.evaluate.rare import rare_differences, rare_metrics
from darklens.evaluate.thresholds import choose_thresholds
from darklens.evaluate.wording import format_difference, format_interval, verdict, winner

__all__ = [
    "choose_thresholds",
    "classification_metrics",
    "compare_predictions",
    "fit_temperature",
    "format_difference",
    "format_interval",
    "paired_difference",
    "precision_recall_curve",
    "rare_differences",
    "rare_metrics",
    "roc_curve",
    "verdict",
    "winner",
]
