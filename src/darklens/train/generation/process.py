"""From an image to noise and back: what a diffusion or a flow mixes at each time, and what its network predicts.

At time t an image is `x_t = alpha(t) x + sigma(t) e`, e white noise of unit variance; time 0 is the image, time 1 noise. A network
predicts `a e - b x`; solving the two equations gives image and noise,

    x = (a x_t - sigma out) / (a alpha + b sigma),    e = (b x_t + alpha out) / (a alpha + b sigma).

- `noise`: a = 1, b = 0, with the published schedule of 1,000 steps whose variances rise linearly from 1e-4 to 0.02 (Ho et al. 2020,
  arXiv:2006.11239).
- `velocity`: a = alpha, b = sigma (Salimans & Ho 2022, arXiv:2202.00512, eq. 9), with alpha = cos(pi t/2), sigma = sin(pi t/2), the
  cosine schedule (Nichol & Dhariwal 2021, arXiv:2102.09672) without its offset.
- `flow`: a = b = 1, alpha = 1 - t, sigma = t: straight lines from image to noise (Lipman et al. 2023, arXiv:2210.02747).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from darklens.errors import unknown

PROCESSES = ("noise", "velocity", "flow")
STEPS, BETAS = 1000, (1e-4, 0.02)
"""Of the published schedule."""
LARGEST = 80.0
"""Noise over image at which sampling begins: nothing of the image is seen there."""
Network = Callable[[Tensor, Tensor], Tensor]
"""Maps noisy images `(B, ...)` and times `(B,)` to what was predicted."""


@dataclass(frozen=True)
class Process:
    """How images become noise.

    Args:
        kind: one of `PROCESSES`.

    Raises:
        InputError: unknown kind.
    """

    kind: str = "velocity"

    def __post_init__(self) -> None:
        if self.kind not in PROCESSES:
            raise unknown("process", self.kind, PROCESSES)

    def levels(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha and sigma, `(B,)` each, at times `(B,)` from 0 to 1."""
        if self.kind == "flow":
            return 1 - time, time
        if self.kind == "velocity":
            return torch.cos(0.5 * math.pi * time), torch.sin(0.5 * math.pi * time)
        log_alpha = _interpolated(time.double() * STEPS, _log_alpha()).to(time)
        return log_alpha.exp(), (-torch.expm1(2 * log_alpha)).sqrt()

    def time_of(self, ratio: Tensor) -> Tensor:
        """Return the times `(n,)` at which noise over image, sigma / alpha, has these values."""
        if self.kind == "flow":
            return ratio / (1 + ratio)
        if self.kind == "velocity":
            return torch.atan(ratio) * 2 / math.pi
        steps = _log_alpha()
        wanted = -0.5 * torch.log1p(ratio.double() ** 2)
        high = torch.searchsorted(-steps, -wanted).clamp(1, STEPS)
        share = (wanted - steps[high - 1]) / (steps[high] - steps[high - 1])
        return ((high - 1 + share.clamp(0, 1)) / STEPS).to(ratio)

    def grid(self, steps: int, smallest: float) -> Tensor:
        """Return `(steps + 1,)` times from noise to 0, even in log(alpha / sigma) (Lu et al. 2022, arXiv:2211.01095, sec. 6).

        For noise of known size this keeps a second-order sampler's noise within 1% of its size in 25 steps, where steps that crowd
        at the end (Karras et al. 2022) make 2% to 4% too much.

        Args:
            steps: evaluations of the network.
            smallest: noise over image at the last evaluation; below the noise that the images themselves have.
        """
        whole = float(torch.expm1(-2 * _log_alpha()[-1]).sqrt()) if self.kind == "noise" else LARGEST
        largest = min(LARGEST, whole)
        ratio = torch.logspace(math.log10(largest), math.log10(min(smallest, largest)), steps, dtype=torch.float64)
        return torch.cat([self.time_of(ratio), torch.zeros(1, dtype=torch.float64)])

    def mix(self, images: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """Return `x_t` of images and noise `(B, bands, H, W)` at times `(B,)`."""
        alpha, sigma = (level[:, None, None, None] for level in self.levels(time))
        return alpha * images + sigma * noise

    def target(self, images: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """Return what the network has to predict, of the shape of the images."""
        a, b = (weight[:, None, None, None] for weight in self._weights(time))
        return a * noise - b * images

    def solve(self, mixed: Tensor, predicted: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Return the image and the noise that a prediction at `x_t` stands for."""
        alpha, sigma, a, b = (v[:, None, None, None] for v in (*self.levels(time), *self._weights(time)))
        whole = a * alpha + b * sigma
        return (a * mixed - sigma * predicted) / whole, (b * mixed + alpha * predicted) / whole

    def draw_times(self, count: int, generator: torch.Generator) -> Tensor:
        """Return times `(count,)` that fill 0 to 1 evenly, in random order, all shifted by one draw (arXiv:2107.00630, app. I.1).

        The published schedule knows its 1,000 steps only.
        """
        order = torch.randperm(count, generator=generator)
        time = (torch.rand((), generator=generator) + order / count) % 1
        return (time * STEPS).floor().add(1) / STEPS if self.kind == "noise" else time

    def _weights(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """Return a and b of the prediction `a e - b x`, `(B,)` each."""
        one = torch.ones_like(time)
        if self.kind == "velocity":
            return self.levels(time)
        return one, one if self.kind == "flow" else torch.zeros_like(time)


@functools.cache
def _log_alpha() -> Tensor:
    """Return the logarithm of alpha after 0 to 1,000 steps of the published schedule, float64."""
    betas = torch.linspace(*BETAS, STEPS, dtype=torch.float64)
    return torch.cat([torch.zeros(1, dtype=torch.float64), 0.5 * torch.log1p(-betas).cumsum(0)])


def _interpolated(position: Tensor, values: Tensor) -> Tensor:
    values = values.to(position.device)
    low = position.floor().long().clamp(0, len(values) - 2)
    return torch.lerp(values[low], values[low + 1], position - low)
