import numpy as np
import pytest
import torch

from darklens.models.joint_embedding import JointEmbedding as Network
from darklens.train.config import TrainConfig
from darklens.train.config_foundation import FoundationConfig
from darklens.train.joint_embedding import JointEmbedding


@pytest.fixture
def task():
    return JointEmbedding(FoundationConfig())


def images(count=8, seed=0):
    return torch.randn(count, 2, 32, 32, generator=torch.Generator().manual_seed(seed))


def test_white_vectors_cost_nothing_and_collapsed_ones_the_most(task):
    white = torch.randn(20_000, 8, generator=torch.Generator().manual_seed(0))
    assert task.spread(1.1 * white).item() < 0.1
    collapsed = task.spread(torch.ones(100, 8)).item()
    assert collapsed == pytest.approx(25 * (1 - 0.01), rel=1e-3)
    line = white[:, :1].expand(-1, 8)
    assert task.spread(line).item() == pytest.approx(7 * line[:, 0].var().item() ** 2, rel=0.02)


def test_the_distance_of_views_counts_as_much_as_was_asked(task):
    first = torch.randn(500, 6, generator=torch.Generator().manual_seed(0))
    same, apart = (task.loss_of(torch.cat([first, first + step], 1).numpy()) for step in (0.0, 0.2))
    assert apart - same == pytest.approx(25 * 0.04, rel=1e-3)


def test_two_views_differ_and_are_the_same_on_any_number_of_processes(task):
    config = TrainConfig()
    whole, targets = task.augment(images(), torch.arange(8), config, torch.Generator().manual_seed(3), (slice(None), 8))
    assert whole.shape == (8, 4, 32, 32)
    assert torch.equal(targets, torch.arange(8))
    first, second = whole.chunk(2, 1)
    assert (first - second).abs().mean() > 0.1
    for part in (slice(0, 3), slice(3, 8)):
        own, _ = task.augment(images()[part], torch.arange(8)[part], config, torch.Generator().manual_seed(3), (part, 8))
        assert torch.allclose(own, whole[part], atol=1e-5)


def test_views_without_noise_and_blur_are_the_image_turned():
    task = JointEmbedding(FoundationConfig(renoise=0, reconvolve=0))
    x = images()
    views, _ = task.augment(x, torch.zeros(8), TrainConfig(), torch.Generator().manual_seed(0), (slice(None), 8))
    for view in views.chunk(2, 1):
        assert torch.allclose(view.flatten(1).sort(1).values, x.flatten(1).sort(1).values)


def test_answers_depend_on_no_chance_and_on_no_other_image(task):
    torch.manual_seed(0)
    network = Network(2, 32, dim=32, depth=1, projection=16).eval()
    with torch.no_grad():
        together, again, alone = (task.predict(network, x) for x in (images(), images(), images()[3:4]))
    assert together.shape == (8, 32)
    assert torch.equal(together, again)
    assert torch.allclose(together[3:4], alone, atol=1e-5)


def test_learning_brings_views_together_and_keeps_lenses_apart(task):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    network, config = Network(2, 32, dim=32, depth=1, projection=16), TrainConfig()
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    radius = 3 + 9 * torch.rand(64, 1, 1, 1, generator=generator)
    rings = torch.exp(-((torch.hypot(x - 15.5, y - 15.5) - radius) ** 2) / 4).expand(-1, 2, -1, -1)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)

    def loss():
        with torch.no_grad():
            return task.loss_of(task.predict(network.eval(), rings).numpy())

    before = loss()
    for _ in range(40):
        views, _ = task.augment(rings, torch.zeros(64), config, generator, (slice(None), 64))
        optimizer.zero_grad()
        sum(task.losses(network.train(), views, None)).backward()
        optimizer.step()
    assert loss() < 0.7 * before
    with torch.no_grad():
        first, second = np.split(task.predict(network.eval(), rings).numpy(), 2, axis=1)
    distance, size = np.linalg.norm(first[:, None] - second[None], axis=2), radius[:, 0, 0, 0].numpy()
    assert (np.abs(size[distance.argmin(1)] - size) < 1.0).mean() > 0.8
