"""ADDA: an encoder for the new images whose features nobody can tell from those of the old ones (Tzeng et al. 2017).

The encoder of the target starts as a copy of the source's. A discriminator learns to tell features of source images, through the
encoder that stays, from features of target images, through the one that learns; that one learns to be taken for the source
(arXiv:1702.05464, eq. 9: inverted labels). The classifier behind the encoder never changes and sees no target label. Here the
moments of the target's normalisation are matched first and after every epoch, and held in between, so that the network that is
trained is the network that will be used; and features enter the discriminator in units of their scatter over source images.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, leaky_relu

from darklens.errors import WorkError
from darklens.train.adaptation.encoder import Encoder, batches, endless, prepared
from darklens.train.adaptation.moments import match_moments
from darklens.train.adaptation.settings import AdaptConfig
from darklens.train.config import Preprocess

WIDTH = 256
BETAS = (0.5, 0.999)
"""Of Adam, as in the paper."""
Log = Callable[[str], None]


class Discriminator(nn.Module):
    """Features `(B, d)` to one logit, positive for source images.

    Args:
        mean: `(d,)` of features of source images.
        scatter: `(d,)` likewise.
    """

    mean: Tensor
    scatter: Tensor

    def __init__(self, mean: Tensor, scatter: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scatter", scatter.clamp_min(1e-3 * float(scatter.max()) + 1e-12))
        self.first, self.second, self.last = nn.Linear(len(mean), WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits `(B,)`."""
        features = (features - self.mean) / self.scatter
        return self.last(leaky_relu(self.second(leaky_relu(self.first(features), 0.2)), 0.2))[:, 0]


def adversarial(
    network: nn.Module,
    outputs: int,
    target: np.ndarray,
    source: np.ndarray,
    preprocess: Preprocess,
    config: AdaptConfig,
    device: torch.device,
    *,
    augment: tuple[str, ...] = (),
    log: Log = lambda sentence: None,
) -> list[dict[str, Any]]:
    """Adapt a network in place.

    Args:
        network: the classifier, trained on the source.
        outputs: number of its outputs.
        target: `(n, bands, H, W)` unlabelled, what the network sees before `prepare`.
        source: `(m, bands, H, W)` likewise of the images it was trained on.
        preprocess: from there to its input.
        config: epochs, batch size, rate, seed.
        device: where it lies.
        augment: kinds of augmentation of both sides.
        log: receives sentences.

    Returns:
        One row an epoch: losses of the two sides, and how often the discriminator was right (0.5 is what the encoder wants).

    Raises:
        WorkError: a loss that is not finite.
    """
    before = Encoder(copy.deepcopy(network), outputs).frozen()
    match_moments(network, target, preprocess, device, config.seed)
    encoder = Encoder(network, outputs)
    generator = torch.Generator().manual_seed(config.seed)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        judge = Discriminator(*_moments(before, source, preprocess, device)).to(device)
    optimizers = [torch.optim.Adam(m.parameters(), config.lr, BETAS) for m in (judge, network)]
    others = endless(len(source), config.batch_size, generator)
    history = []
    for epoch in range(config.epochs):
        encoder.keep_statistics()
        rows = []
        for index in batches(len(target), config.batch_size, generator):
            old = prepared(source, next(others), preprocess, device, augment, generator)
            new = prepared(target, index, preprocess, device, augment, generator)
            rows.append(_step(before, encoder, judge, optimizers, old, new))
        match_moments(network, target, preprocess, device, config.seed)
        judged, encoded, right = np.mean(rows, axis=0).tolist()
        if not np.isfinite([judged, encoded]).all():
            raise WorkError(f"the adversarial loss became {encoded} in epoch {epoch + 1} (rate {config.lr:.2g}): lower --lr")
        history.append({"epoch": epoch + 1, "discriminator_loss": judged, "encoder_loss": encoded, "told_apart": right})
        log(f"epoch {epoch + 1}/{config.epochs}: source and target told apart in {right:.1%} of the images")
    network.requires_grad_(True)
    return history


def _step(
    before: Encoder, encoder: Encoder, judge: Discriminator, optimizers: Sequence[torch.optim.Optimizer], old: Tensor, new: Tensor
) -> tuple[float, float, float]:
    with torch.no_grad():
        known = before(old)[0]
    features = encoder(new)[0]
    real, fake = judge(known), judge(features.detach())
    loss = binary_cross_entropy_with_logits(real, torch.ones_like(real))
    loss = loss + binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    optimizers[0].zero_grad(set_to_none=True)
    loss.backward()
    optimizers[0].step()
    taken = judge(features)
    fooled = binary_cross_entropy_with_logits(taken, torch.ones_like(taken))
    optimizers[1].zero_grad(set_to_none=True)
    fooled.backward()
    optimizers[1].step()
    right = 0.5 * ((real > 0).float().mean() + (fake < 0).float().mean())
    return float(loss.detach()), float(fooled.detach()), float(right)


def _moments(encoder: Encoder, inputs: np.ndarray, settings: Preprocess, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return mean and scatter of the features of source images."""
    with torch.no_grad():
        parts = np.array_split(np.arange(len(inputs)), max(1, len(inputs) // 256))
        features = torch.cat([encoder(prepared(inputs, part, settings, device))[0] for part in parts])
    return features.mean(0), features.std(0)
