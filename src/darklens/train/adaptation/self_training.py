"""Self-training: the network's own confident answers on the new images become labels, round by round.

Each round answers on all target images, takes those whose calibrated probability exceeds a threshold, and trains on them beside
labelled source images (pseudo-labels, Lee 2013; several rounds, with every class drawn equally often so that easy classes do not
crowd out the others, Zou et al. 2018, arXiv:1810.07911). Source and target go through the normalisation apart, each with its own
moments; those of the target are measured at the end of a round. A class without a confident answer is learned from the source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from darklens.errors import WorkError
from darklens.train.adaptation.encoder import endless, prepared
from darklens.train.adaptation.moments import match_moments
from darklens.train.adaptation.settings import AdaptConfig
from darklens.train.answers import softmax
from darklens.train.classification import Classification
from darklens.train.config import Preprocess
from darklens.train.logits import predict_logits

Log = Callable[[str], None]


def self_train(
    network: nn.Module,
    task: Classification,
    target: np.ndarray,
    source: tuple[np.ndarray, np.ndarray],
    preprocess: Preprocess,
    config: AdaptConfig,
    device: torch.device,
    *,
    temperature: float = 1.0,
    augment: tuple[str, ...] = (),
    log: Log = lambda sentence: None,
) -> list[dict[str, Any]]:
    """Adapt a network in place.

    Args:
        network: the classifier, trained on the source.
        task: what it is asked.
        target: `(n, bands, H, W)` unlabelled, what the network sees before `prepare`.
        source: inputs `(m, bands, H, W)` likewise of the images it was trained on, and their class indices.
        preprocess: from there to its input.
        config: rounds, epochs, batch size, rate, confidence, seed.
        device: where it lies.
        temperature: by which logits are divided before they are probabilities.
        augment: kinds of augmentation of both sides.
        log: receives sentences.

    Returns:
        One row a round: how many answers were taken for labels, of how many classes, and the mean losses.

    Raises:
        WorkError: no answer is confident enough, or the loss is not finite.
    """
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.Adam(network.parameters(), config.lr)
    match_moments(network, target, preprocess, device, config.seed)
    history = []
    for number in range(config.rounds):
        chosen, labels = confident(predict_logits(network, task, target, preprocess, device) / temperature, config.confidence)
        if not len(chosen):
            raise WorkError(f"no target image has an answer of probability {config.confidence} or more: lower --confidence")
        network.train()
        old, new = endless(len(source[1]), config.batch_size, generator), balanced(labels, config.batch_size, generator)
        losses = []
        with torch.random.fork_rng():
            torch.manual_seed(config.seed + number)  # dropout has no generator argument
            for _ in range(config.epochs * max(1, len(target) // config.batch_size)):
                a, b = next(old), next(new)
                known = prepared(source[0], a, preprocess, device, augment, generator)
                guessed = prepared(target, chosen[b], preprocess, device, augment, generator)
                of_known = task.loss(network, known, torch.from_numpy(source[1][a]).to(device))
                of_guessed = task.loss(network, guessed, torch.from_numpy(labels[b]).to(device))
                optimizer.zero_grad(set_to_none=True)
                (of_known + of_guessed).backward()
                optimizer.step()
                losses.append([float(of_known.detach()), float(of_guessed.detach())])
        on_source, on_target = np.mean(losses, axis=0).tolist()
        if not np.isfinite([on_source, on_target]).all():
            raise WorkError(
                f"the loss of self-training became {on_target} in round {number + 1} (rate {config.lr:.2g}): lower --lr"
            )
        match_moments(network, target, preprocess, device, config.seed)
        row = {"epoch": number + 1, "taken": len(chosen), "classes": len(np.unique(labels))}
        history.append(row | {"source_loss": on_source, "target_loss": on_target})
        log(f"round {number + 1}/{config.rounds}: {len(chosen)} of {len(target)} answers were taken for labels")
    return history


def confident(logits: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of answers of at least this probability, and their classes, of logits `(n, k)`."""
    probabilities = softmax(logits)
    chosen = np.flatnonzero(probabilities.max(1) >= threshold)
    return chosen, probabilities[chosen].argmax(1)


def balanced(labels: np.ndarray, batch_size: int, generator: torch.Generator) -> Iterator[np.ndarray]:
    """Yield positions for ever, so that each class that is there comes equally often."""
    counts = np.bincount(labels)
    weights = torch.from_numpy(1.0 / counts[labels])
    while True:
        yield torch.multinomial(weights, batch_size, replacement=True, generator=generator).numpy()
