r"""Evidence by annealed importance sampling, bounded from both sides where the truth is known.

`Z = int L(u) du` over the unit cube, u = (m, w): m the smooth lens, w the substructure. Chains walk through

    pi_b(v, w) ~ q(v)^(1-b) L(u)^b 1[u in cube],    m = v - s(w),    b: 0 -> 1,

with q a Gaussian about what a smooth fit finds. The coordinate v = m + s(w) is what a smooth fit would see: substructure w
moves the best smooth lens by s(w), to first order, and a chain that changes w at fixed v takes the smooth lens along (the map has
unit Jacobian, so any s is right and a good one is fast). With log-weights `sum_k (b_k - b_(k-1)) [ln L - ln q]`, and chains of
large weight taking the place of the others (Del Moral, Doucet & Jasra 2006, J. R. Stat. Soc. B 68, 411), the mean weight is an
unbiased estimate of Z, so that its logarithm is too low in the mean.
Chains that start from an exact draw of the posterior, which the truth
behind a simulated image is, and walk back (Neal 2001, Stat. Comput. 11, 125) give one that is too high: bidirectional Monte Carlo
(Grosse, Ghahramani & Adams 2015, arXiv:1511.02543).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

COLDEST = 1e-5
"""First step in b: small enough that it is harmless whatever the likelihood says."""
TRIES = 8
"""Draws from which a chain takes its first that lies in the cube."""
SUBSTRUCTURE_MOVES = 0.7
"""Share of the steps that move substructure; the others move the smooth lens."""
FRESH = 0.15
"""Share of the substructure moves that draw anew from the prior."""


@dataclass(frozen=True)
class Problem:
    """What is integrated, for N images at once.

    Args:
        log_likelihood: `(B, size)` in the cube and image numbers `(B,)` to `(B,)`.
        shift: `(B, size - macro)` and image numbers to s `(B, macro)`.
        centre: `(N, macro)` of q.
        covariance: `(N, macro, macro)` of q.
        precision: `(N, macro, macro)` Fisher information of the smooth lens.
        blocks: `(K, size - macro)` bool, coordinates that move together.
    """

    log_likelihood: Callable[[Tensor, Tensor], Tensor]
    shift: Callable[[Tensor, Tensor], Tensor]
    centre: Tensor
    covariance: Tensor
    precision: Tensor
    blocks: Tensor

    @property
    def macro(self) -> int:
        """Number of coordinates of the smooth lens."""
        return self.centre.shape[1]

    @property
    def extra(self) -> int:
        """Number of coordinates of the substructure."""
        return self.blocks.shape[1]


@dataclass
class _Chains:
    v: Tensor
    w: Tensor
    s: Tensor
    log_l: Tensor
    which: Tensor


def anneal(problem: Problem, *, chains: int, steps: int, seed: int, truth: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Estimate ln Z of every image.

    Args:
        problem: the images.
        chains: of each image.
        steps: from prior to posterior.
        seed: of all that is random.
        truth: `(N, size)` an exact posterior draw of each image; the chains then start there and walk back.

    Returns:
        ln Z `(N,)`, and the effective number of chains `(N,)`.
    """
    generator = torch.Generator().manual_seed(seed)
    n = len(problem.centre)
    which = torch.arange(n).repeat_interleave(chains)
    state, log_inside = _draw(problem, which, generator)
    ladder = torch.cat([torch.zeros(1, dtype=torch.float64), torch.logspace(math.log10(COLDEST), 0, steps, dtype=torch.float64)])
    if truth is not None:
        v_truth = truth[:, : problem.macro]
        w = truth[which, problem.macro :]
        s = problem.shift(w, which)
        state = _Chains(v_truth[which] + s, w, s, problem.log_likelihood(truth[which], which), which)
        ladder = ladder.flip(0)
    total, log_z = torch.zeros(n, chains, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    inverse, constant = _gaussian(problem.covariance)
    for before, after in zip(ladder[:-1].tolist(), ladder[1:].tolist(), strict=True):
        energy = state.log_l - constant[which] + _quadratic(problem, state.v, which, inverse)
        total += (after - before) * energy.view(n, chains)
        if truth is None:
            log_z += _resample(state, total, generator)
        if after not in (0.0, 1.0):
            _move(problem, state, after, inverse, generator)
    mean = torch.logsumexp(total, 1) - math.log(chains)
    return log_inside + (log_z + mean if truth is None else -mean), _effective(total)


def _resample(state: _Chains, total: Tensor, generator: torch.Generator) -> Tensor:
    """Where few chains carry the weight, let them stand for all; return the logarithm of what is set aside, `(N,)`."""
    n, chains = total.shape
    poor = _effective(total) < chains / 2
    if not poor.any():
        return torch.zeros(n, dtype=torch.float64)
    share = torch.where(poor[:, None], (total - total.amax(1, keepdim=True)).exp(), 1.0)
    chosen = torch.multinomial(share, chains, replacement=True, generator=generator)
    chosen = torch.where(poor[:, None], chosen, torch.arange(chains)) + chains * torch.arange(n)[:, None]
    for name in ("v", "w", "s", "log_l"):
        setattr(state, name, getattr(state, name)[chosen.flatten()])
    mean = torch.logsumexp(total, 1) - math.log(chains)
    total[poor] = 0.0
    return torch.where(poor, mean, 0.0)


def _effective(log_weights: Tensor) -> Tensor:
    return (2 * torch.logsumexp(log_weights, 1) - torch.logsumexp(2 * log_weights, 1)).exp()


def _gaussian(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the inverse, and the logarithm of the density at the centre."""
    root = torch.linalg.cholesky(covariance)
    constant = -root.diagonal(dim1=1, dim2=2).log().sum(1) - 0.5 * covariance.shape[1] * math.log(2 * math.pi)
    return torch.linalg.inv(covariance), constant


def _draw(problem: Problem, which: Tensor, generator: torch.Generator) -> tuple[_Chains, Tensor]:
    """Draw chains from `q(v) 1[u in cube]`; also the logarithm of how much of q lies in the cube, `(N,)`."""
    count, n = len(which), len(problem.centre)
    tried = which.repeat_interleave(TRIES)
    normal = torch.randn(count * TRIES, problem.macro, generator=generator, dtype=torch.float64)
    v = problem.centre[tried] + torch.einsum("bij,bj->bi", torch.linalg.cholesky(problem.covariance)[tried], normal)
    w = torch.rand(count * TRIES, problem.extra, generator=generator, dtype=torch.float64)
    s = problem.shift(w, tried)
    inside = ((v - s > 0) & (v - s < 1)).all(1).view(count, TRIES)
    share = inside.double().view(n, -1).mean(1)
    first = inside.double().argmax(1) + torch.arange(count) * TRIES
    v, w, s = v[first], w[first], s[first]
    log_l = torch.full((count,), -math.inf, dtype=torch.float64)
    alive = inside.any(1)
    if alive.any():
        log_l[alive] = problem.log_likelihood(torch.cat([v - s, w], 1)[alive], which[alive])
    return _Chains(v, w, s, log_l, which), share.clamp_min(1e-300).log()


def _move(problem: Problem, state: _Chains, b: float, inverse: Tensor, generator: torch.Generator) -> None:
    """Move every chain once, leaving pi_b as it is (Metropolis)."""
    count = len(state.which)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    v, w, s = state.v, state.w, state.s
    if problem.extra and float(uniform(1)) < SUBSTRUCTURE_MOVES:
        block = problem.blocks[torch.randint(len(problem.blocks), (count,), generator=generator)]
        size = 10 ** (-2.7 + 2.4 * uniform(count, 1))
        size = torch.where(uniform(count, 1) < FRESH, torch.inf, size)
        step = torch.randn(w.shape, generator=generator, dtype=torch.float64)
        moved = torch.where(size.isinf(), uniform(*w.shape), (w + step * size.nan_to_num(posinf=0.0)) % 1)
        w = torch.where(block, moved, w)
        s = problem.shift(w, state.which)
    else:
        covariance = torch.linalg.inv((1 - b) * inverse + b * problem.precision)
        root = torch.linalg.cholesky(covariance)[state.which]
        size = 2.38 / problem.macro**0.5 * 10 ** (-1.0 * uniform(count, 1))
        normal = torch.randn(v.shape, generator=generator, dtype=torch.float64)
        v = v + size * torch.einsum("bij,bj->bi", root, normal)
    u = torch.cat([v - s, w], 1)
    inside = ((u[:, : problem.macro] > 0) & (u[:, : problem.macro] < 1)).all(1)
    if not inside.any():
        return
    log_l = torch.full_like(state.log_l, -math.inf)
    log_l[inside] = problem.log_likelihood(u[inside], state.which[inside])
    closer = _quadratic(problem, state.v, state.which, inverse) - _quadratic(problem, v, state.which, inverse)
    gain = b * (log_l - state.log_l) + (1 - b) * closer
    taken = inside & (uniform(count).log() < gain)
    for name, new in (("v", v), ("w", w), ("s", s), ("log_l", log_l)):
        old = getattr(state, name)
        setattr(state, name, torch.where(taken.view(-1, *[1] * (old.ndim - 1)), new, old))


def _quadratic(problem: Problem, v: Tensor, which: Tensor, inverse: Tensor) -> Tensor:
    d = v - problem.centre[which]
    return 0.5 * torch.einsum("bi,bij,bj->b", d, inverse[which], d)
