r"""Everything that is linear about a lens, solved at once, and how good that makes the parameters that are not.

With the data d in units of the noise, the blurred columns B of source nodes and light amplitudes x, and the prior's precision
`H = diag(lambda R, ridge)`, the best amplitudes are `x = A^-1 B^T d`, `A = B^T B + H`, and the logarithm of the evidence, with x
integrated out (Warren & Dye 2003, ApJ 590, 673; Suyu et al. 2006, MNRAS 371, 983, eq. 19), is

    ln E = -(|d - B x|^2 + x^T H x + ln|A| - ln|H| + N ln 2 pi) / 2 + sum ln weight.

Its derivative with respect to parameters that move B: for the first two terms the amplitudes may be taken as fixed (variable
projection; Golub & Pereyra 1973; Kaufman 1975), so that with `V = (dB/d eta) x` the gradient of half their sum is `-V^T (d - B x)`
and the Gauss-Newton matrix is `V^T V - (B^T V)^T A^-1 (B^T V)`: one more image a parameter, no second inversion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import nnls

RIDGE = 1e-8
"""Prior precision of a light amplitude, in units of what the data say: it only keeps degenerate columns apart."""
INVISIBLE = 1e-12
"""Norm of a column, in units of the largest one, below which its amplitude has no trace in the data."""


@dataclass(frozen=True, eq=False)
class Linear:
    """Columns, data and prior of one set of non-linear parameters.

    Args:
        B: `(N, n + k)` blurred columns in units of the noise: n source nodes, then k amplitudes that must not be negative.
        d: `(N,)` data in units of the noise.
        R: `(n, n)` prior precision of the nodes for lambda = 1; `(0, 0)` if the source has no nodes.
        log_det_R: of R.
        gram: `B^T B`.
        offset: of the cost, by data that the amplitudes have no part in; it is in `cost` and in ln E, not in chi^2.
    """

    B: np.ndarray
    d: np.ndarray
    R: np.ndarray
    log_det_R: float
    gram: np.ndarray
    offset: float = 0.0

    @classmethod
    def of(cls, B: np.ndarray, d: np.ndarray, R: np.ndarray, log_det_R: float, offset: float = 0.0) -> Linear:
        """Return the problem with its normal matrix."""
        return cls(B, d, R, log_det_R, B.T @ B, offset)

    @property
    def nodes(self) -> int:
        """Number of source nodes."""
        return len(self.R)

    def solve(self, strength: float, active: np.ndarray | None = None) -> Solution:
        """Solve for the amplitudes.

        Args:
            strength: lambda.
            active: `(k,)` which amplitudes take part; None finds those that come out positive.
        """
        norm = np.diag(self.gram)
        visible = norm[self.nodes :] > INVISIBLE * norm.max()
        if active is not None:
            return self._solve(strength, active & visible)
        return self._solve(strength, visible & self._positive(strength, visible))

    def _positive(self, strength: float, visible: np.ndarray) -> np.ndarray:
        """Return which amplitudes are positive where the cost is least among amplitudes that are not negative, `(k,)`.

        The nodes follow from the amplitudes, so that these are a problem of non-negative least squares of their own, with one
        answer (Lawson & Hanson 1974, chapter 23); leaving out what comes out negative step by step ends at any of several.
        """
        found = np.zeros(len(visible), bool)
        if not visible.any():
            return found
        n, light = self.nodes, self.nodes + np.flatnonzero(visible)
        M, b = self.gram[np.ix_(light, light)].copy(), self.B.T @ self.d
        M[np.diag_indices_from(M)] *= 1 + RIDGE
        right = b[light]
        if n:
            root = cholesky(self.gram[:n, :n] + strength * self.R, lower=True, check_finite=False)
            shared = solve_triangular(root, self.gram[np.ix_(range(n), light)], lower=True, check_finite=False)
            M -= shared.T @ shared
            right = right - shared.T @ solve_triangular(root, b[:n], lower=True, check_finite=False)
        scale = 1 / np.sqrt(np.maximum(np.diag(M), 1e-300))
        factor = cholesky(M * scale[:, None] * scale, lower=True, check_finite=False)
        x, _ = nnls(factor.T, solve_triangular(factor, right * scale, lower=True, check_finite=False))
        found[visible] = x > 0
        return found

    def _solve(self, strength: float, active: np.ndarray) -> Solution:
        keep = np.concatenate([np.ones(self.nodes, bool), active])
        A = self.gram[np.ix_(keep, keep)]
        diagonal = np.diag(A).copy()
        ridge = RIDGE * diagonal[self.nodes :]
        A[: self.nodes, : self.nodes] += strength * self.R
        A[np.arange(self.nodes, len(A)), np.arange(self.nodes, len(A))] += ridge
        root = cholesky(A, lower=True, check_finite=False)
        b = self.B.T @ self.d
        x = np.zeros(len(keep))
        x[keep] = cho_solve((root, True), b[keep], check_finite=False)
        residual = self.d - self.B @ x
        s, g = x[: self.nodes], x[self.nodes :][active]
        prior = strength * s @ (self.R @ s) + (ridge * g * g).sum()
        log_det_H = self.nodes * math.log(strength) + self.log_det_R + np.log(ridge).sum() if self.nodes else np.log(ridge).sum()
        log_det_A = 2 * np.log(np.diag(root)).sum()
        cost = float(residual @ residual + prior + self.offset)
        evidence = -0.5 * (cost + log_det_A - log_det_H + len(self.d) * math.log(2 * math.pi))
        return Solution(self, x, residual, cost, evidence, strength, active, keep, root)


@dataclass(frozen=True, eq=False)
class Solution:
    """The best amplitudes.

    Args:
        problem: what was solved.
        x: `(n + k,)` amplitudes; zero where a column takes no part.
        residual: `(N,)` data minus model, in units of the noise.
        cost: chi^2, the prior's term, and the problem's offset.
        evidence: ln E in units of the noise (without `sum ln weight`).
        strength: lambda.
        active: `(k,)` columns that take part.
        keep: `(n + k,)` likewise, the nodes included.
        root: Cholesky factor of A.
    """

    problem: Linear
    x: np.ndarray
    residual: np.ndarray
    cost: float
    evidence: float
    strength: float
    active: np.ndarray
    keep: np.ndarray
    root: np.ndarray

    @property
    def chi2(self) -> float:
        """Sum of the squared residuals."""
        return float(self.residual @ self.residual)

    def gauss_newton(self, V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return gradient `(p,)` and Gauss-Newton matrix `(p, p)` of half the cost.

        Args:
            V: `(N, p)` derivatives of the blurred model in units of the noise, amplitudes held.
        """
        half = solve_triangular(self.root, self.problem.B[:, self.keep].T @ V, lower=True, check_finite=False)
        return -V.T @ self.residual, V.T @ V - half.T @ half

    def influence(self, nodes: int) -> np.ndarray:
        """Return `B A^-1` for the source nodes, `(N, nodes)`."""
        return cho_solve((self.root, True), self.problem.B[:, self.keep].T, check_finite=False)[:nodes].T

    def columns_of(self, amplitudes: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return `B A^-1` for some amplitudes, `(N, k)`, and their covariance `(k, k)`, zero for those that take no part."""
        wanted = np.arange(len(self.x))[amplitudes]
        unit = (np.flatnonzero(self.keep)[:, None] == wanted).astype(float)
        inverse = cho_solve((self.root, True), unit, check_finite=False)
        return self.problem.B[:, self.keep] @ inverse, unit.T @ inverse

    def effective_parameters(self) -> float:
        """Return how many amplitudes the data determine, `tr(A^-1 B^T B)` (Suyu et al. 2006, eq. 21)."""
        inner = np.ix_(self.keep, self.keep)
        return float(np.trace(cho_solve((self.root, True), self.problem.gram[inner], check_finite=False)))

    def slope_of_strength(self) -> float:
        """Return the derivative of ln E with respect to ln lambda, amplitudes integrated out."""
        n, R = self.problem.nodes, self.problem.R
        unit = np.eye(len(self.root), n)
        inverse = cho_solve((self.root, True), unit, check_finite=False)[:n]
        s = self.x[:n]
        return 0.5 * (n - self.strength * float(s @ (R @ s) + (inverse * R).sum()))

    def with_strength(self, strength: float) -> Solution:
        """Return the solution for another lambda with the same columns."""
        return self.problem.solve(strength, self.active)


def best_strength(problem: Linear, active: np.ndarray | None, start: float, tolerance: float = 0.1) -> Solution:
    """Return the solution for the lambda of largest evidence, by golden section on its logarithm.

    Args:
        problem: the columns.
        active: columns that take part, None for those that come out positive at the start.
        start: lambda near the largest evidence, if it is known.
        tolerance: of ln lambda.
    """
    found = problem.solve(start, active)
    if not problem.nodes:
        return found
    active = found.active
    step, here = 1.5, {math.log(start): found}

    def at(log_strength: float) -> float:
        if log_strength not in here:
            here[log_strength] = problem.solve(math.exp(log_strength), active)
        return here[log_strength].evidence

    middle = math.log(start)
    while at(middle + step) > at(middle) and middle < 40:
        middle += step
    while at(middle - step) > at(middle) and middle > -40:
        middle -= step
    low, high, ratio = middle - step, middle + step, 0.5 * (math.sqrt(5) - 1)
    while high - low > 2 * tolerance:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if at(left) > at(right) else (left, high)
    return replace(max(here.values(), key=lambda s: s.evidence))
