"""What a fit of one lens found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from darklens.fit.one_lens.model import Model
from darklens.fit.one_lens.parity import imaged_once
from darklens.fit.one_lens.positions import Positions
from darklens.fit.one_lens.search import Found, descend
from darklens.lensing import Mass

if TYPE_CHECKING:
    from darklens.fit.one_lens.choices import Choices


@dataclass(frozen=True, eq=False)
class LensFit:
    """The best fit of one lens.

    Args:
        found: model, parameters, amplitudes.
        choices: how it was modelled.
        starts: ln E that each start led to, with the coarse source, the best first.
        positions: images of points of the source that led the search, or None.
        others: `(g, p)` parameters on other grids of the source, or None.
    """

    found: Found
    choices: Choices
    starts: tuple[float, ...]
    positions: Positions | None = None
    others: np.ndarray | None = None

    @property
    def model(self) -> Model:
        """The model with its source grid."""
        return self.found.model

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the non-linear parameters."""
        return self.model.names

    @property
    def parameters(self) -> dict[str, float]:
        """The best parameters by name."""
        return dict(zip(self.names, self.found.eta.tolist(), strict=True))

    @cached_property
    def covariance(self) -> np.ndarray:
        """Gaussian approximation of the parameters' covariance, `(p, p)`: on one grid of the source, and the scatter of grids."""
        return self.covariance_on_grid + self.scatter

    @cached_property
    def scatter(self) -> np.ndarray:
        """Mean square of how far the parameters move on other grids of the source, `(p, p)`; zeros for a smooth source."""
        if self.others is None or not len(self.others):
            return np.zeros((len(self.names), len(self.names)))
        moved = self.others - self.found.eta
        return moved.T @ moved / len(moved)

    @cached_property
    def covariance_on_grid(self) -> np.ndarray:
        """Covariance on one grid of the source: the inverse of the Gauss-Newton matrix and the priors'.

        A prior, uniform within its bounds, counts with its variance: where the pixels say nothing, as of the shape of Gaussians
        without flux, it is all there is.
        """
        low, high = self.model.bounds
        return np.linalg.inv(self.found.information + np.diag(12 / (high - low) ** 2))

    @property
    def converged(self) -> bool:
        """Whether the descent came to rest, on a lens, and not at the end of a parameter's range."""
        return self.found.converged and not self.doubt

    @property
    def doubt(self) -> str:
        """Why what the descent came to is no answer, a clause; empty where nothing is known against it."""
        if self.at_bounds:
            return f"{', '.join(self.at_bounds)} at the end of the allowed range"
        if self.model.grid is not None and self.others is not None and not len(self.others):
            return "no other grid of the source could be solved, so that the grid's part of the errors is not known"
        if imaged_once(self.found):
            return (
                f"at theta_E {self.parameters['theta_E']:.3g}\" the model images its source only once, the ring being the source's "
                "own shape; say how large the ring is with --theta-e"
            )
        return ""

    @property
    def at_bounds(self) -> tuple[str, ...]:
        """Names of parameters of masses and source at the end of their range; shapes of Gaussians without flux may be."""
        low, high = self.model.bounds
        edge = 1e-4 * (high - low)
        on = (self.found.eta <= low + edge) | (self.found.eta >= high - edge)
        kept = {*self.model.macro.names, *self.model.source_light.names}
        return tuple(n for n, flag in zip(self.names, on, strict=True) if flag and n in kept)

    @property
    def chi2(self) -> float:
        """Sum of squared residuals in units of the noise."""
        return self.found.solution.chi2

    @cached_property
    def dof(self) -> float:
        """Pixels less the parameters that they determine: the non-linear ones, and of the amplitudes as many as are effective."""
        return self.model.observation.size - len(self.names) - self.found.solution.effective_parameters()

    @property
    def reduced_chi2(self) -> float:
        """chi^2 over degrees of freedom."""
        return self.chi2 / self.dof

    @property
    def evidence(self) -> float:
        """The logarithm of the evidence at the best parameters, a source on pixels integrated out."""
        return self.found.evidence

    @property
    def residual(self) -> np.ndarray:
        """Image minus model in units of the noise, `(H, W)`, zero where no pixel counts."""
        return self.model.observation.scattered(self.found.solution.residual)

    @property
    def model_image(self) -> np.ndarray:
        """`(H, W)` in the unit of the image, NaN where no pixel counts."""
        return self._blurred(slice(None))

    @property
    def lens_light_image(self) -> np.ndarray:
        """`(H, W)` light of the lens galaxy alone."""
        return self._blurred(self.model.blocks["light"])

    @property
    def source_image(self) -> np.ndarray:
        """`(H, W)` lensed source alone."""
        return self._blurred(self.model.blocks["source"])

    @property
    def point_image(self) -> np.ndarray:
        """`(H, W)` point images alone; zero where there are none."""
        return self._blurred(self.model.blocks["points"])

    def _blurred(self, columns: slice) -> np.ndarray:
        solution = self.found.solution
        return self.model.observation.scattered(
            solution.problem.B[:, columns] @ solution.x[columns] / self.model.observation.weight, np.nan
        )

    def report_of_positions(self) -> dict[str, Any] | None:
        """Return how well the best model explains the positions, see `Positions.report`; None without any."""
        if self.positions is None:
            return None
        return self.positions.report(self.model.masses(self.model.named(self.found.eta)))

    def point_fluxes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the flux of each point image, in the unit of the image, and its standard deviation, all else free, `(n,)` each."""
        block, solution = self.model.blocks["points"], self.found.solution
        influence, own = solution.columns_of(block)
        V, _ = self.model.derivatives(self.found.eta, solution)
        moved = influence.T @ V
        return solution.x[block], np.sqrt(np.diag(own + moved @ self.covariance @ moved.T))

    def source(self, side: int = 100, half: float | None = None) -> tuple[np.ndarray, tuple[float, float, float, float]]:
        """Return the source's surface brightness on even pixels `(side, side)`, and its left, right, bottom and top in arcsec.

        Args:
            side: pixels.
            half: half the width, arcsec; None covers the grid, or four half-light radii.
        """
        value, grid = self.parameters, self.model.grid
        if grid is not None:
            middle = 0.5 * (grid.x[0] + grid.x[-1]), 0.5 * (grid.y[0] + grid.y[-1])
            half = half or 0.5 * max(grid.x[-1] - grid.x[0], grid.y[-1] - grid.y[0])
        else:
            middle, half = (value["source_x"], value["source_y"]), half or 4 * value["source_R_sersic"]
        step = (np.arange(side) + 0.5) / side * 2 - 1
        x, y = torch.from_numpy(middle[0] + half * step), torch.from_numpy(middle[1] + half * step)
        bx, by = torch.broadcast_tensors(x[None], y[:, None])
        light = self.model.source(self.found.solution.x, self.found.eta, bx.contiguous(), by.contiguous()).numpy()
        return light, (middle[0] - half, middle[0] + half, middle[1] - half, middle[1] + half)

    def evidence_with(self, *masses: Mass) -> float:
        """Return ln E with deflectors added, source and amplitudes solved for anew, all else held: grid, lambda, macro model.

        Less `evidence` it is the linearised gain by a perturber, for example
        `fit.evidence_with(PointMass(theta_E=0.05, center_x=1.0, center_y=0.2)) - fit.evidence`.
        """
        solution = self.found.solution
        model = replace(self.model, extra=(*self.model.extra, *masses))
        again = model.problem(self.found.eta).solve(solution.strength)
        return again.evidence + float(np.log(model.observation.weight).sum())

    def refitted(self, *masses: Mass, iterations: int = 10) -> Found:
        """Return the fit with deflectors added and the non-linear parameters free again, on the same grid."""
        solution = self.found.solution
        model = replace(self.model, extra=(*self.model.extra, *masses))
        return descend(model, self.found.eta, solution.strength, iterations=iterations)
