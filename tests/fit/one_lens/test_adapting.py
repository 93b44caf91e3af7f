"""Sources adapted to what was found before."""

import numpy as np

from darklens.fit.one_lens import Choices, fit_lens
from darklens.fit.one_lens.adapting import freest, image_grid


def test_freedom_is_chosen_by_its_evidence(lens):
    fit = fit_lens(**lens, choices=Choices(model="epl+shear", light="sersic", theta_E=1.1, starts=1, nodes=12, adaptive=False))
    grid = fit.model.grid
    assert grid.freedom is None
    model, solution = freest(fit.model, fit.found)
    problem = fit.model.problem(fit.found.eta)
    uniform = max((problem.solve(fit.found.solution.strength * f) for f in (0.3, 0.6, 1, 2, 4)), key=lambda s: s.evidence)
    assert solution.evidence >= uniform.evidence - 0.1
    if model.grid.freedom is not None:
        brightest = np.unravel_index(model.grid.freedom.argmax(), grid.shape)
        light = fit.found.solution.x[: grid.size].reshape(grid.shape)
        assert light[brightest] > 0.5 * light.max()


def test_the_grid_holds_all_the_light_of_the_source(lens):
    fit = fit_lens(**lens, choices=Choices(model="epl+shear", light="sersic", theta_E=1.1, starts=1, nodes=12))
    fine, even = (image_grid(fit.model, fit.found, 12, "curvature", power, 0.3) for power in (1.0, 0.0))
    assert np.allclose([fine.x[0], fine.x[-1]], [even.x[0], even.x[-1]])
    assert np.diff(fine.x).min() < np.diff(even.x).min()
    source, (left, right, bottom, top) = fit.source(60, 1.5)
    outside = source.copy()
    x, y = left + (np.arange(60) + 0.5) / 60 * (right - left), bottom + (np.arange(60) + 0.5) / 60 * (top - bottom)
    outside[np.ix_((y > fine.y[0]) & (y < fine.y[-1]), (x > fine.x[0]) & (x < fine.x[-1]))] = 0
    assert np.abs(outside).sum() < 0.1 * np.abs(source).sum()  # splines reach 1.5 nodes farther
