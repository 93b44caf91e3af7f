"""What others report: the figures that ours stand beside, with the test set they were measured on.

One entry a system. `n` is the size of its test set, from which follows how sure its figures can be: a binomial interval for an
accuracy (Wilson 1927), the variance of an area under the curve for an AUC (Hanley & McNeil 1982).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

Z = 1.959964
"""Standard deviations of a two-sided 95% interval."""


@dataclass(frozen=True)
class System:
    """A published classifier.

    Args:
        block: of the table.
        by: what and whose, in words.
        metrics: figure by key; `auc` per class.
        n: images of its test set, None where that is not said.
        classes: classes of that test set, taken to be equally frequent.
        positives: images of the rare class among the n, where they are not.
        models: our models that are this system.
        recipes: our recipes that are this system, where the model alone does not say so.
    """

    block: str
    by: str
    metrics: dict[str, Any]
    n: int | None
    classes: int = 3
    positives: int | None = None
    models: tuple[str, ...] = ()
    recipes: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """Return it for a row of `docs/results.json`."""
        about = {"by": self.by, "n": self.n, "classes": self.classes}
        return {**self.metrics, **about} | ({"positives": self.positives} if self.positives else {})


_SIX = "six architectures on Model III, 100 epochs of 80,457 images at a rate that never decayed"
_PI = "physics-informed ResNet on the common test, 150 epochs of 27,000 images"

_LENSES: dict[str, Any] = {"n": 195 + 19_455, "classes": 2, "positives": 195}

SYSTEMS = (
    System("model-iii", f"CNN; {_SIX}", {"accuracy": 0.9555, "auc_macro": 0.9956, "loss": 0.1161}, 15000, models=("cnn",)),
    System(
        "model-iii", f"ResNet-18; {_SIX}", {"accuracy": 0.9828, "auc_macro": 0.9989, "loss": 0.0658}, 15000, models=("resnet18",)
    ),
    System(
        "model-iii",
        f"EfficientNet-B0; {_SIX}",
        {"accuracy": 0.9917, "auc_macro": 0.9994, "loss": 0.0791},
        15000,
        models=("efficientnet-b0",),
    ),
    System("model-iii", f"ViT; {_SIX}", {"accuracy": 0.9525, "auc_macro": 0.9984, "loss": 0.1392}, 15000, models=("vit",)),
    System("model-iii", f"CvT; {_SIX}", {"accuracy": 0.9785, "auc_macro": 0.9985, "loss": 0.0624}, 15000, models=("cvt",)),
    System(
        "model-iii",
        f"Lensformer; {_SIX}",
        {"accuracy": 0.9845, "auc_macro": 0.9991, "loss": 0.0446},
        15000,
        models=("lensformer", "lensformer-published"),
    ),
    System(
        "common-test",
        "ResNet-18, fine-tuned, with Grad-CAM maps",
        {"accuracy": 0.9369, "auc_macro": 0.9907},
        None,
        recipes=("common-test-resnet18-finetuned",),
    ),
    System(
        "common-test",
        f"the same with a gradient channel; {_PI}",
        {"auc": {"no": 0.97706, "sphere": 0.95757, "vort": 0.96059}},
        7500,
        recipes=("common-test-pi-resnet18-gradient",),
    ),
    System(
        "common-test",
        f"PI-ResNet-18; {_PI}",
        {"accuracy": 0.934, "auc": {"no": 0.99206, "sphere": 0.97997, "vort": 0.99270}},
        7500,
        models=("pi-resnet18", "pi-resnet18-published"),
    ),
    System(
        "common-test",
        f"ResNet-18; {_PI} (the sphere AUC from its saved predictions, the report misprints it as .68420)",
        {"accuracy": 0.906, "auc": {"no": 0.98860, "sphere": 0.96842, "vort": 0.98511}},
        7500,
        models=("resnet18",),
    ),
    System(
        "binary",
        "ResNet-18 from ImageNet's weights, 100 epochs; test images stood in training",
        {"auc_macro": 1.0},
        None,
        classes=2,
        recipes=("binary-substructure",),
    ),
    System(
        "lens-finding",
        "CNN of 3 blocks, class weights, 20 epochs of 30,405 official images",
        {"auc_macro": 0.9488},
        **_LENSES,
        recipes=("lens-finding-cnn",),
    ),
    System(
        "lens-finding",
        "ResNet-18 from ImageNet's weights, weighted loss, augmentation; official images",
        {"auc_macro": 0.9862},
        **_LENSES,
        recipes=("lens-finding-resnet18",),
    ),
    System(
        "lessons", "CNN of 4 blocks with Dropout2d(.5) behind each, 25 epochs", {"auc_macro": 0.5086}, None, models=("dropout-cnn",)
    ),
)

BEST = {
    "model-i": System(
        "model-i",
        "CoAtNet-nano, pretrained; 150x150, 30,000 images a class",
        {"accuracy": 0.9673, "auc_macro": 0.9955, "auc": {"no_sub": 0.9996, "cdm": 0.9917, "axion": 0.9952}},
        None,
    ),
    "model-ii": System("model-ii", "EfficientFormer-L3; 14,998 of 15,000", {"accuracy": 14998 / 15000}, 15000),
    "model-iii": System("model-iii", "CoaT-lite-small; 14,999 of 15,000", {"accuracy": 14999 / 15000}, 15000),
    "common-test": System(
        "common-test", "HybridFNO, 14 M parameters, 8x test-time augmentation", {"accuracy": 0.9712, "auc_macro": 0.9975}, 7500
    ),
    "lens-finding": System(
        "lens-finding",
        "official images; average precision .8233 is of another system, at AUC .9905",
        {"auc_macro": 0.9932},
        **_LENSES,
    ),
}
"""The highest known of a block, by whatever system."""


def system_of(block: str, recipe: str, model: str) -> System | None:
    """Return the published system that a run reproduces: the one of its recipe, else the one of its model."""
    here = [system for system in SYSTEMS if system.block == block]
    named = [system for system in here if recipe in system.recipes]
    return next(iter(named or [system for system in here if model in system.models]), None)


def interval(key: str, value: float, n: int | None, classes: int, positives: int | None = None) -> tuple[float, float] | None:
    """Return the 95% interval of a published figure; None without the size of its test set, and for a log loss."""
    if n is None or not (key == "accuracy" or key.startswith("auc")):
        return None
    if key == "accuracy":
        centre, width = (value + Z**2 / (2 * n)), Z * math.sqrt(value * (1 - value) / n + Z**2 / (4 * n**2))
        return (centre - width) / (1 + Z**2 / n), (centre + width) / (1 + Z**2 / n)
    positive = positives or n / classes
    negative = n - positive
    q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
    variance = value * (1 - value) + (positive - 1) * (q1 - value**2) + (negative - 1) * (q2 - value**2)
    half = Z * math.sqrt(variance / (positive * negative))
    return max(0.0, value - half), min(1.0, value + half)


def compared(metrics: dict[str, Any], published: dict[str, Any]) -> list[dict[str, Any]]:
    """Hold our figures beside published ones.

    Args:
        metrics: of a row, each with its interval.
        published: of a row.

    Returns:
        One entry for each figure that both have: `key`, `published` with `low` and `high`, `ours`, and `verdict`: "agrees" where
        the two intervals meet, else "ours higher" or "ours lower".
    """
    found = []
    for key, value in _flat(published).items():
        ours = _flat(metrics).get(key)
        if not ours or ours.get("low") is None:
            continue
        bounds = interval(key, value, published["n"], published["classes"], published.get("positives"))
        low, high = bounds or (value, value)
        verdict = "ours higher" if ours["low"] > high else "ours lower" if ours["high"] < low else "agrees"
        theirs = {"value": value, "low": low if bounds else None, "high": high if bounds else None}
        found.append({"key": key, "published": theirs, "ours": ours, "verdict": verdict})
    return found


def _flat(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return figures by key, those of a class as `auc CLASS`."""
    plain = {key: metrics[key] for key in ("accuracy", "auc_macro", "loss", "average_precision") if metrics.get(key) is not None}
    return plain | {f"auc {name}": number for name, number in (metrics.get("auc") or {}).items()}
