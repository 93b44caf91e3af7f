"""Out of noise: ways from time 1 to time 0, each from nothing but what the network makes of an image at a time.

- `ancestral`: the published sampler, noise at every step (Ho et al. 2020, arXiv:2006.11239, eq. 7).
- `ddim`: the same way without noise, first order (Song et al. 2021, arXiv:2010.02502); for a flow, Euler's method.
- `dpm-solver++`: second order in few steps, the last image beside this one (Lu et al. 2022, arXiv:2211.01095, algorithm 2).

With h the growth of log(alpha / sigma) over a step, `e^-h = alpha_t sigma_s / (sigma_t alpha_s)`; nothing here needs its logarithm
at the ends, where it is infinite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from darklens.errors import InputError, unknown
from darklens.train.config_generation import MOST_STEPS
from darklens.train.generation.process import Network, Process

SAMPLERS = ("dpm-solver++", "ddim", "ancestral")
Progress = Callable[[int, int], None]
Step = Callable[[Tensor, Tensor, Tensor, float, float, float, float], Tensor]
"""From `x_t`, what the network makes of it (image and noise), and alpha and sigma of this time and of the next, to `x_s`."""


@torch.no_grad()
def sample(
    network: Network,
    process: Process,
    noise: Tensor,
    *,
    sampler: str = "dpm-solver++",
    steps: int = 25,
    smallest: float = 0.01,
    generators: Sequence[torch.Generator] = (),
    progress: Progress = lambda done, total: None,
) -> Tensor:
    """Return images of the shape of the noise `(B, bands, H, W)` that they begin as.

    Args:
        network: what it predicts of `x_t` at times `(B,)`.
        process: what that prediction means.
        noise: white, of unit variance.
        sampler: one of `SAMPLERS`.
        steps: evaluations of the network for each image.
        smallest: noise over image at the last of them.
        generators: of each image, sources of the noise that `ancestral` adds.
        progress: called with (done, total) steps.

    Raises:
        InputError: unknown sampler, or no steps.
    """
    check_sampler(sampler, steps)
    grid = times(process, sampler, steps, smallest)
    steppers: dict[str, Step] = {"dpm-solver++": _SecondOrder(), "ddim": _ddim, "ancestral": _Ancestral(generators)}
    step = steppers[sampler]
    mixed = noise
    for i, (now, then) in enumerate(zip(grid[:-1].tolist(), grid[1:].tolist(), strict=True)):
        time = torch.full((len(noise),), now, device=noise.device, dtype=noise.dtype)
        image, left = process.solve(mixed, network(mixed, time), time)
        levels = [float(v) for t in (now, then) for v in process.levels(torch.tensor([t], dtype=torch.float64))]
        mixed = step(mixed, image, left, *levels)
        progress(i + 1, steps)
    return mixed


def check_sampler(sampler: str, steps: int) -> None:
    """Make sure that there is such a sampler, and such a number of steps.

    Raises:
        InputError: there is not.
    """
    if sampler not in SAMPLERS:
        raise unknown("sampler", sampler, SAMPLERS)
    if steps < 1:
        raise InputError(f"{steps} steps make no image: give at least 1")
    if steps > MOST_STEPS:
        raise InputError(f"{steps} steps are more than {MOST_STEPS}, beyond which nothing is gained: give fewer")


def times(process: Process, sampler: str, steps: int, smallest: float) -> Tensor:
    """Return the `(steps + 1,)` times of a sampler: even ones for `ancestral`, as published, else those of `Process.grid`."""
    if sampler == "ancestral":
        return torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    return process.grid(steps, smallest)


def _ddim(mixed: Tensor, image: Tensor, left: Tensor, alpha_t: float, sigma_t: float, alpha_s: float, sigma_s: float) -> Tensor:
    return alpha_s * image + sigma_s * left


class _SecondOrder:
    """DPM-Solver++(2M); the first step, and the last, to an image without noise, are of first order."""

    def __init__(self) -> None:
        self.before: Tensor | None = None
        self.growth = 0.0

    def __call__(
        self, mixed: Tensor, image: Tensor, left: Tensor, alpha_t: float, sigma_t: float, alpha_s: float, sigma_s: float
    ) -> Tensor:
        decay = alpha_t * sigma_s / (sigma_t * alpha_s)
        growth = float("inf") if decay <= 0 else -float(torch.tensor(decay, dtype=torch.float64).log())
        towards = image
        if self.before is not None and sigma_s > 0:
            towards = image + (image - self.before) * (0.5 * growth / self.growth)
        self.before, self.growth = image, growth
        return (sigma_s / sigma_t) * mixed + alpha_s * (1 - decay) * towards


class _Ancestral:
    """A step back of the chain that made the noise, with the variance that it has once the image is known."""

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self.generators = generators

    def __call__(
        self, mixed: Tensor, image: Tensor, left: Tensor, alpha_t: float, sigma_t: float, alpha_s: float, sigma_s: float
    ) -> Tensor:
        kept = alpha_t / alpha_s
        added = sigma_t**2 - kept**2 * sigma_s**2
        mean = kept * sigma_s**2 / sigma_t**2 * mixed + alpha_s * added / sigma_t**2 * image
        if sigma_s == 0:
            return mean
        own = (torch.randn(mixed.shape[1:], generator=generator, dtype=mixed.dtype) for generator in self.generators)
        fresh = torch.stack(list(own)).to(mixed.device)
        return mean + (added / sigma_t**2) ** 0.5 * sigma_s * fresh


def guided(network: Callable[[Tensor, Tensor, Tensor], Tensor], conditions: Tensor, weight: float) -> Network:
    """Return a network that is told conditions `(B, n)`, beyond what they ask by a weight (Ho & Salimans 2022, arXiv:2207.12598).

    A weight of 1 does what it is told, with one evaluation; others ask the network twice, once without conditions.
    """
    if weight == 1:
        return lambda images, time: network(images, time, conditions)
    silent = torch.full_like(conditions, float("nan"))

    def both(images: Tensor, time: Tensor) -> Tensor:
        told, free = network(images.repeat(2, 1, 1, 1), time.repeat(2), torch.cat([conditions, silent])).chunk(2)
        return free + weight * (told - free)

    return both


def slerp(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """Return noise on the great circle between two noises `(bands, H, W)`, at shares `(n,)` of the way (Shoemake 1985)."""
    cosine = (a * b).sum() / (a.norm() * b.norm())
    angle = torch.acos(cosine.clamp(-1, 1))
    if float(angle.sin()) < 1e-6:
        return torch.lerp(a[None], b[None], share[:, None, None, None])
    first, second = (torch.sin(s * angle) / angle.sin() for s in (1 - share, share))
    return first[:, None, None, None] * a + second[:, None, None, None] * b
