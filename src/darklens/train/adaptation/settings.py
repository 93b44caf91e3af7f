"""What an adaptation is told."""

from __future__ import annotations

from dataclasses import dataclass

from darklens.errors import InputError

LIMITS = {
    "epochs": (1, 1000),
    "batch_size": (2, 4096),
    "lr": (1e-8, 1.0),
    "rounds": (1, 20),
    "confidence": (0.0, 0.999999),
    "source_images": (2, 1_000_000),
    "test_fraction": (0.0, 0.9),
    "seed": (0, 2**31 - 1),
}


@dataclass(frozen=True)
class AdaptConfig:
    """Settings of the three methods.

    Args:
        epochs: of the adversarial training, or of each round of self-training, in passes through the target images.
        batch_size: images of each side of a step.
        lr: rate of Adam.
        rounds: of self-training.
        confidence: probability from which on an answer is taken for a label in self-training.
        source_images: labelled images of the run's own kind that are used at most.
        test_fraction: part of the target images that is never looked at before the test, drawn by content.
        seed: of that split's draw, of the order of images and of new weights.

    Raises:
        InputError: a value outside its limits.
    """

    epochs: int = 10
    batch_size: int = 64
    lr: float = 1e-4
    rounds: int = 3
    confidence: float = 0.9
    source_images: int = 3000
    test_fraction: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{name.replace('_', ' ')} {value} is outside {low} to {high}: choose a value between")
