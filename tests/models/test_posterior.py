"""Posteriors above a trunk: densities that integrate to one, draws that follow them."""

import numpy as np
import pytest
import torch
from torch import nn

from darklens.models import posterior_over

KINDS = [("gaussian", "nsf"), ("flow", "nsf"), ("flow", "maf")]


def network(posterior: str, flow: str, parameters: int = 1, seed: int = 0):
    settings = {"parameters": [str(k) for k in range(parameters)], "context": 6, "posterior": posterior, "flow": flow}
    torch.manual_seed(seed)
    trunk = nn.Sequential(nn.Flatten(), nn.Linear(9, 6))
    return posterior_over(trunk, settings | {"transforms": 2, "hidden": 16}, seed).eval()


@pytest.mark.parametrize(("posterior", "flow"), KINDS)
def test_the_density_integrates_to_one_and_draws_follow_it(posterior, flow):
    torch.manual_seed(0)
    model, images = network(posterior, flow), torch.randn(2, 1, 3, 3)
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
