"""The network that could not learn: what stopped it, and that one line lets it."""

import pytest
import torch
from torch.nn import functional as F

from darklens.errors import InputError
from darklens.models import build, count_parameters


def rings_of_three_radii(n: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy rings (n, 1, 32, 32), and which of three radii each has."""
    y, x = torch.meshgrid(torch.linspace(-2, 2, 32), torch.linspace(-2, 2, 32), indexing="ij")
    labels = torch.arange(n) % 3
    ring = torch.exp(-((torch.hypot(x, y) - torch.tensor([0.8, 1.0, 1.2])[labels, None, None]) ** 2) / 0.08)
    return (ring + 0.05 * torch.randn(ring.shape, generator=generator)).unsqueeze(1), labels


@pytest.mark.parametrize(("dropout2d", "least", "most"), [(0.0, 0.0, 0.2), (0.5, 0.5, 2.0)])
def test_channel_dropout_is_what_keeps_it_from_learning(dropout2d, least, most):
    """After 30 steps on an easy task, the loss on new images: next to nothing, or next to ln 3."""
    generator = torch.Generator().manual_seed(0)
    model = build("dropout-cnn", size=32, dropout2d=dropout2d)
    optimiser = torch.optim.Adam(model.parameters(), 1e-3, weight_decay=1e-4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(30):
            images, labels = rings_of_three_radii(18, generator)
            loss = F.cross_entropy(model(images), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    images, labels = rings_of_three_radii(60, generator)
    with torch.no_grad():
        assert least <= F.cross_entropy(model.eval()(images), labels) < most


@pytest.mark.parametrize("dropout2d", [0.0, 0.5])
def test_channels_are_dropped_whole_behind_every_block(dropout2d):
    model = build("dropout-cnn", dropout2d=dropout2d).train()
    blank = []
    for module in model.convolutions:
        if isinstance(module, torch.nn.Dropout2d):
            module.register_forward_hook(lambda module, args, output: blank.append((output.abs().amax((2, 3)) == 0).float().mean()))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model(torch.rand(16, 1, 64, 64))
    assert len(blank) == 4
    assert all(abs(share - dropout2d) < 0.1 for share in blank)


def test_the_fix_loads_the_published_weights():
    published, fixed = build("dropout-cnn", dropout2d=0.5, seed=1), build("dropout-cnn", seed=2)
    fixed.load_state_dict(published.state_dict())
    images = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(fixed.eval()(images), published.eval()(images))


@pytest.mark.parametrize(("blocks", "size", "flat"), [(4, 64, 4096), (3, 64, 8192), (4, (150, 64), 256 * 9 * 4)])
def test_head_takes_the_flattened_map(blocks, size, flat):
    model = build("dropout-cnn", blocks=blocks, size=size)
    assert model.head[0].in_features == flat
    assert model.head[0].out_features == 512


def test_three_blocks_are_the_lens_finder():
    assert count_parameters(build("dropout-cnn", blocks=3)) == 320 + 18_496 + 73_856 + 2 * 224 + 8193 * 512 + 513 * 3


@pytest.mark.parametrize(
    ("options", "says"), [({"blocks": 5}, "5 blocks"), ({"dropout2d": 1.0}, "dropout2d 1.0"), ({"dropout": -0.5}, "dropout -0.5")]
)
def test_wrong_arguments_are_refused(options, says):
    with pytest.raises(InputError, match=says):
        build("dropout-cnn", **options)
