"""Coordinates that go along with the lens: what the image cannot tell, the evidence must not claim to know."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from darklens.fit.one_lens import Macro, Model, Observation, adapted, lens_light
from darklens.fit.one_lens.source_frame import Frame
from darklens.lensing import ConvergenceSheet

TRUTH = {"theta_E": 1.1, "e1": 0.1, "e2": -0.05, "center_x": 0.0, "center_y": 0.0}


def test_a_frame_undoes_every_linear_map():
    rng = np.random.default_rng(0)
    b = torch.from_numpy(rng.standard_normal((2, 300)))
    weight = torch.from_numpy(rng.random(300))
    frame = Frame.of(*b, weight)
    matrix = torch.tensor([[0.7, 0.2], [-0.1, 1.3]], dtype=torch.float64)
    mapped = matrix @ b + torch.tensor([[0.4], [-0.2]], dtype=torch.float64)
    at_home = torch.stack(frame.place(*(p[:, None] for p in b))(*b))
    assert torch.allclose(at_home, b)
    found = torch.stack(frame.place(*(p[:, None] for p in mapped))(*mapped))
    turn = torch.linalg.lstsq(b.T, found.T).solution  # a turn about the mean is all that second moments leave open
    moments = [torch.cov(p, aweights=weight) for p in (b, found)]
    assert torch.allclose(*moments)
    assert torch.allclose(frame.place(*(2.5 * p[:, None] + 1 for p in b))(*(2.5 * p + 1 for p in b))[0], b[0])
    assert torch.linalg.det(turn) == pytest.approx(1.0, abs=0.02)


def test_the_evidence_does_not_break_the_mass_sheet_degeneracy(lens):
    """A lens scaled by s and a sheet of 1 - s map the source to s times itself (Falco, Gorenstein & Shapiro 1985)."""
    observation = Observation(lens["image"], lens["noise"], lens["psf"], lens["pixel_scale"], np.ones(lens["image"].shape, bool))
    macro = Macro("sie")
    bounds = macro.bounds(1.1, (0, 0))
    low, high = ({k: v[i] for k, v in bounds.items()} for i in (0, 1))
    dark = lens_light("none", 1, 1)
    model = Model(observation, macro, dark, dark, None, low, high)
    eta = np.array([TRUTH[name] for name in model.names])
    bx, by = (b.mean(-1).numpy() for b in model.traced(model.named(eta)))
    grid = adapted(bx, by, np.ones(len(bx)), 11, "curvature", held=np.hypot(bx, by) < 0.6)
    s, scaled = 0.8, eta.copy()
    scaled[model.names.index("theta_E")] *= s
    with_sheet = replace(model, extra=(ConvergenceSheet(torch.tensor(1 - s, dtype=torch.float64)),))
    for moving, same in ((grid, True), (replace(grid, frame=None), False)):
        pair = [m.on(moving).problem(e).solve(0.1).evidence for m, e in ((model, eta), (with_sheet, scaled))]
        assert (abs(pair[0] - pair[1]) < 1e-3) == same, pair
