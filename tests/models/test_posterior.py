"""Posteriors above a trunk: densities that integrate to one, draws that follow them."""

import numpy as np
import pytest
import torch
from torch import nn

from darklens.models import posterior_over
from darklens.models.posterior import fit_to_z
from darklens.train.inference import ParameterSpace

KINDS = [("gaussian", "nsf"), ("flow", "nsf"), ("flow", "maf")]


ANCHORS = {"places": [0], "planes": [-1], "kind": "standard", "ends": [[2.0, 0.5]], "scale": [0.1]}


def network(posterior: str, flow: str, parameters: int = 1, seed: int = 0, anchors: dict | None = None):
    settings = {"parameters": [str(k) for k in range(parameters)], "context": 6, "posterior": posterior, "flow": flow}
    torch.manual_seed(seed)
    trunk = nn.Sequential(nn.Flatten(), nn.Linear(9, 6))
    return posterior_over(trunk, settings | {"transforms": 2, "hidden": 16}, seed, anchors).eval()


@pytest.mark.parametrize("anchors", [None, ANCHORS])
@pytest.mark.parametrize(("posterior", "flow"), KINDS)
def test_the_density_integrates_to_one_and_draws_follow_it(posterior, flow, anchors):
    torch.manual_seed(0)
    model, images = network(posterior, flow, anchors=anchors), torch.randn(2, 1, 3, 3)
    z = torch.linspace(-12, 12, 4001)[:, None]
    with torch.no_grad():
        told = model(images)
        density = model.log_prob(told[:1].expand(len(z), -1), z).exp()
        assert float(torch.trapezoid(density, z[:, 0])) == pytest.approx(1, abs=0.01)
        mean = float(torch.trapezoid(density * z[:, 0], z[:, 0]))
        drawn = model.sample(told, 6000, 1)
    assert drawn.shape == (2, 6000, 1)
    assert float(drawn[0].mean()) == pytest.approx(mean, abs=0.06)


@pytest.mark.parametrize(("posterior", "flow"), KINDS)
def test_every_weight_learns_and_seeds_decide(posterior, flow):
    model, images = network(posterior, flow, 3).train(), torch.randn(8, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    z = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    assert model(images, z).shape == (8,)
    (-model(images, z).mean()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for name, p in model.named_parameters() if "norm.bias" not in name)
    same, other = network(posterior, flow, 3), network(posterior, flow, 3, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(same.state_dict().values(), model.state_dict().values(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(same.state_dict().values(), other.state_dict().values(), strict=True))
    told = same(images).detach()
    state = torch.random.get_rng_state()
    assert torch.equal(same.sample(told, 5, 3), same.sample(told, 5, 3))
    assert not torch.equal(same.sample(told, 5, 3), same.sample(told, 5, 4))
    assert torch.equal(state, torch.random.get_rng_state())  # the global state is left as it was


@pytest.mark.parametrize(("posterior", "flow"), KINDS)
def test_a_posterior_begins_at_the_fit_and_what_no_fit_says_is_as_before(posterior, flow):
    model, images = network(posterior, flow, 2, anchors=ANCHORS), torch.zeros(2, 1, 3, 3)
    images[0], images[1] = 2.5, 2.0  # the fit's number: 1 and 0 in units of the scatter
    drawn = model.sample(model(images).detach(), 4000, 0)
    assert (drawn[:, :, 0].median(1).values - torch.tensor([1.0, 0.0])).abs().max() < 0.2
    assert (drawn[:, :, 0].std(1) < 0.25).all()
    assert (drawn[:, :, 1].std(1) > 0.3).all()


@pytest.mark.parametrize("kind", ["probit", "standard"])
def test_the_fit_stands_where_its_parameter_would(kind):
    theta = np.random.default_rng(0).uniform(-2, 3, (50, 1))
    space = ParameterSpace.measured(["a"], theta, kind, {})
    ends = [[space.low[0], space.high[0]] if kind == "probit" else [space.mean[0], space.std[0]]]
    told = fit_to_z(torch.from_numpy(theta), kind, torch.tensor(ends)).numpy()
    assert np.allclose(told, space.to_z(theta).clip(-3, 3), atol=1e-4)
    lost = fit_to_z(torch.tensor([[1e6], [-1e6]]), kind, torch.tensor(ends))
    assert lost.flatten().tolist() == pytest.approx([3, -3], abs=1e-3)


@pytest.mark.parametrize("posterior", ["gaussian", "flow"])
def test_it_learns_a_known_posterior(posterior):
    generator = torch.Generator().manual_seed(0)
    theta = torch.randn(4000, 1, generator=generator)
    images = (theta + 0.5 * torch.randn(4000, 1, generator=generator))[:, :, None, None].expand(-1, 1, 3, 3)
    model = network(posterior, "nsf").train()
    optimizer = torch.optim.Adam(model.parameters(), 2e-2)
    for step in range(150):
        rows = slice(400 * (step % 10), 400 * (step % 10) + 400)
        optimizer.zero_grad()
        (-model(images[rows], theta[rows]).mean()).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        drawn = model.sample(model(torch.full((1, 1, 3, 3), 1.0)), 4000, 0)[0, :, 0].numpy()
    assert np.mean(drawn) == pytest.approx(0.8, abs=0.12)  # x / (1 + sigma^2)
    assert np.std(drawn) == pytest.approx(np.sqrt(0.2), abs=0.1)
