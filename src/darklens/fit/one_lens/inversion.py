r"""Everything that is linear about a lens, solved at once, and how good that makes the parameters that are not.

The data d in units of the noise are `B x` and noise. The amplitudes x are those of source nodes s, which have a Gaussian prior of
precision `lambda R` and are integrated out, and those of light l (profiles, points), which must not be negative and take their best
values. With `A_s = B_s^T B_s + lambda R`, the logarithm of the evidence (Warren & Dye 2003, ApJ 590, 673; Suyu et al. 2006, MNRAS
371, 983, eq. 19) is

    ln E = -(|d - B x|^2 + lambda s^T R s + ln|A_s| - ln|lambda R| + N ln 2 pi) / 2 + sum ln weight,

at the x that makes the first two terms least among those whose light is not negative (Lawson & Hanson 1974, chapter 23). That
minimum is a function of the other parameters without steps or bends, also where a column of light comes or goes; were light
integrated out as well, ln E would jump there by the width of its prior, which nobody knows.

Its derivative with respect to parameters that move B: for the first two terms the amplitudes may be taken as fixed (variable
projection; Golub & Pereyra 1973; Kaufman 1975), so that with `V = (dB/d eta) x` the gradient of half their sum is `-V^T (d - B x)`
and the Gauss-Newton matrix is `V^T V - (B^T V)^T A^-1 (B^T V)`, A of all amplitudes that are not zero: one more image a parameter,
no second inversion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

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

    def solve(self, strength: float) -> Solution:
        """Solve for the amplitudes, light not negative.

        Args:
            strength: lambda.

        Raises:
            numpy.linalg.LinAlgError: columns that say the same.
        """
        n, norm = self.nodes, np.diag(self.gram)
        seen = n + np.flatnonzero(norm[n:] > INVISIBLE * norm.max())
        ridge = RIDGE * norm[seen]
        right = self.B.T @ self.d
        nodes = cholesky(self.gram[:n, :n] + strength * self.R, lower=True, check_finite=False)
        shared = solve_triangular(nodes, self.gram[:n, seen], lower=True, check_finite=False)
        left = solve_triangular(nodes, right[:n], lower=True, check_finite=False)
        # the nodes follow from the light, whose amplitudes are thus a problem of their own
        normal = self.gram[np.ix_(seen, seen)] + np.diag(ridge) - shared.T @ shared
        light = _not_negative(normal, right[seen] - shared.T @ left)
        some, x = light > 0, np.zeros(len(norm))
        x[seen] = light
        x[:n] = solve_triangular(nodes, left - shared @ light, lower=True, trans="T", check_finite=False)
        keep = np.concatenate([np.arange(n), seen[some]])
        root = np.zeros((len(keep), len(keep)))
        root[:n, :n], root[n:, :n] = nodes, shared[:, some].T
        root[n:, n:] = cholesky(normal[np.ix_(some, some)], lower=True, check_finite=False)
        residual = self.d - self.B @ x
        prior = strength * x[:n] @ (self.R @ x[:n]) + ridge @ light**2
        cost = float(residual @ residual + prior + self.offset)
        log_det = 2 * np.log(np.diag(nodes)).sum() - self.log_det_R - n * math.log(strength) if n else 0.0
        evidence = -0.5 * (cost + log_det + len(self.d) * math.log(2 * math.pi))
        return Solution(self, x, residual, cost, evidence, strength, keep, root)


def _not_negative(normal: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the `(k,)` x >= 0 at which `x^T normal x / 2 - right^T x` is least."""
    if not len(right):
        return right
    scale = 1 / np.sqrt(np.maximum(np.diag(normal), 1e-300))
    factor = cholesky(normal * scale[:, None] * scale, lower=True, check_finite=False)
    return scale * nnls(factor.T, solve_triangular(factor, right * scale, lower=True, check_finite=False))[0]


@dataclass(frozen=True, eq=False)
class Solution:
    """The best amplitudes.

    Args:
        problem: what was solved.
        x: `(n + k,)` amplitudes.
        residual: `(N,)` data minus model, in units of the noise.
        cost: chi^2, the prior's term, and the problem's offset.
        evidence: ln E in units of the noise (without `sum ln weight`).
        strength: lambda.
        keep: `(n + j,)` the nodes, and which light is not zero.
        root: `(n + j, n + j)` lower Cholesky factor of A, whose first `(n, n)` are that of `A_s`.
    """

    problem: Linear
    x: np.ndarray
    residual: np.ndarray
    cost: float
    evidence: float
    strength: float
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

    def influence(self) -> np.ndarray:
        """Return `B_s A_s^-1`, `(N, n)`."""
        n = self.problem.nodes
        return cho_solve((self.root[:n, :n], True), self.problem.B[:, :n].T, check_finite=False).T

    def columns_of(self, amplitudes: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return `B A^-1` for some amplitudes, `(N, k)`, and their covariance `(k, k)`, zero for those that are zero."""
        wanted = np.arange(len(self.x))[amplitudes]
        unit = (self.keep[:, None] == wanted).astype(float)
        inverse = cho_solve((self.root, True), unit, check_finite=False)
        return self.problem.B[:, self.keep] @ inverse, unit.T @ inverse

    def effective_parameters(self) -> float:
        """Return how many amplitudes the data determine, `tr(A^-1 B^T B)` (Suyu et al. 2006, eq. 21)."""
        inner = np.ix_(self.keep, self.keep)
        return float(np.trace(cho_solve((self.root, True), self.problem.gram[inner], check_finite=False)))

    def slope_of_strength(self) -> float:
        """Return the derivative of ln E with respect to ln lambda."""
        n, R = self.problem.nodes, self.problem.R
        s, smooth = self.x[:n], cho_solve((self.root[:n, :n], True), R, check_finite=False)
        return 0.5 * (n - self.strength * float(s @ (R @ s) + np.trace(smooth)))


def best_strength(problem: Linear, start: float, tolerance: float = 0.1) -> Solution:
    """Return the solution for the lambda of largest evidence, by golden section on its logarithm.

    Args:
        problem: the columns.
        start: lambda near the largest evidence, if it is known.
        tolerance: of ln lambda.
    """
    found = problem.solve(start)
    if not problem.nodes:
        return found
    step, here = 1.5, {math.log(start): found}

    def at(log_strength: float) -> float:
        if log_strength not in here:
            here[log_strength] = problem.solve(math.exp(log_strength))
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
    return max(here.values(), key=lambda s: s.evidence)
