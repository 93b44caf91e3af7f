"""Samplers on data whose every answer is known: normal pixels, of which the exact network is a formula."""

import pytest
import torch

from darklens.errors import InputError
from darklens.train.generation import PROCESSES, SAMPLERS, Process, sample, slerp
from darklens.train.generation.samplers import guided

MEAN, STD = 1.3, 0.5
every_process = pytest.mark.parametrize("kind", PROCESSES)


def exact(process):
    """What a perfect network predicts for pixels of normal distribution."""

    def network(mixed, time):
        alpha, sigma = (v[:, None, None, None] for v in process.levels(time))
        variance = alpha**2 * STD**2 + sigma**2
        image = MEAN + alpha * STD**2 * (mixed - alpha * MEAN) / variance
        noise = sigma * (mixed - alpha * MEAN) / variance
        a, b = {"noise": (1, 0), "velocity": (alpha, sigma), "flow": (1, 1)}[process.kind]
        return a * noise - b * image

    return network


def noise_of(count):
    return torch.randn(count, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def error(kind, sampler, steps):
    """Largest difference from where the exact flow takes each noise: it keeps every pixel's place in the distribution."""
    process, noise = Process(kind), noise_of(4)
    alpha, sigma = process.levels(process.grid(steps, 1e-4)[:1])
    expected = MEAN + STD * (noise - alpha * MEAN) / (alpha**2 * STD**2 + sigma**2) ** 0.5
    return float((sample(exact(process), process, noise, sampler=sampler, steps=steps, smallest=1e-4) - expected).abs().max())


@every_process
@pytest.mark.parametrize(("sampler", "order"), [("ddim", 1), ("dpm-solver++", 2)])
def test_order_of_convergence(kind, sampler, order):
    assert error(kind, sampler, 60) / error(kind, sampler, 120) == pytest.approx(2**order, rel=0.25)


@every_process
def test_the_second_order_needs_fewer_steps(kind):
    assert error(kind, "dpm-solver++", 25) < 0.1
    assert error(kind, "ddim", 25) > 0.2


@every_process
def test_the_ancestral_sampler_draws_from_the_distribution(kind):
    process = Process(kind)
    found = sample(
        exact(process),
        process,
        noise_of(300),
        sampler="ancestral",
        steps=200,
        generators=[torch.Generator().manual_seed(i) for i in range(300)],
    )
    assert float(found.mean()) == pytest.approx(MEAN, abs=4 * STD / found.numel() ** 0.5 + 0.02)
    assert float(found.std()) == pytest.approx(STD, rel=0.05)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_one_step_gives_the_mean_and_progress_is_told(sampler):
    process, told = Process("velocity"), []
    found = sample(exact(process), process, noise_of(2), sampler=sampler, steps=1, progress=lambda *a: told.append(a))
    assert torch.allclose(found, torch.full_like(found, MEAN), atol=0.02)
    assert told == [(1, 1)]


def test_guidance_goes_beyond_what_is_told():
    network = guided(lambda x, t, c: torch.where(c.isnan(), 1.0, c)[:, :, None, None].expand_as(x), torch.tensor([[3.0]]), 2.0)
    assert network(torch.zeros(1, 1, 2, 2), torch.zeros(1)).unique().tolist() == [5.0]
    plain = guided(lambda x, t, c: c, torch.tensor([[3.0]]), 1.0)
    assert plain(torch.zeros(1), torch.zeros(1)).tolist() == [[3.0]]


def test_slerp_keeps_the_length_and_meets_both_ends():
    a, b = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(4))
    way = slerp(a, b, torch.linspace(0, 1, 5))
    assert torch.allclose(way[0], a, atol=1e-5)
    assert torch.allclose(way[-1], b, atol=1e-5)
    assert way.flatten(1).norm(dim=1).min() > 0.97 * min(a.norm(), b.norm())
    assert torch.allclose(slerp(a, a, torch.tensor([0.3]))[0], a)


@pytest.mark.parametrize(("wrong", "says"), [({"sampler": "dim"}, "did you mean 'ddim'"), ({"steps": 0}, "0 steps make no image")])
def test_wrong_settings_are_refused(wrong, says):
    with pytest.raises(InputError, match=says):
        sample(lambda x, t: x, Process(), noise_of(1), **wrong)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [10, 25])
def test_steps_are_those_of_diffusers(steps):
    """The published schedule on its own whole steps, beside another package's DDIM and DPM-Solver++."""
    diffusers = pytest.importorskip("diffusers", reason="pip install diffusers to compare with it")
    process = Process("noise")
    common = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
    peer = diffusers.DDIMScheduler(**common, clip_sample=False, set_alpha_to_one=True, timestep_spacing="trailing")
    peer.set_timesteps(steps)
    grid = torch.cat([(peer.timesteps.double() + 1) / 1000, torch.zeros(1, dtype=torch.float64)])
    theirs = ours = noise_of(2)
    network = exact(process)
    for i, t in enumerate(peer.timesteps):
        now, then = grid[i : i + 1], grid[i + 1 : i + 2]
        theirs = peer.step(network(theirs, now.expand(2)), t, theirs).prev_sample
        image, left = process.solve(ours, network(ours, now.expand(2)), now.expand(2))
        alpha, sigma = process.levels(then)
        ours = alpha * image + sigma * left
    assert torch.allclose(ours, theirs, atol=1e-5)
