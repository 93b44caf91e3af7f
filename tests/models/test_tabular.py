"""What a network that sees columns owes its users beyond the contract of its architecture."""

import pytest
import torch
from torch.nn import functional as F

from darklens.errors import InputError
from darklens.models import build, build_tabular, count_parameters, first_convolution
from darklens.models.tabular import HIDDEN, LIMIT

SCALES = {"mag": {"mean": 20.0, "std": 2.0}, "seeing": {"mean": 1.0, "std": 0.1}}
NAN = float("nan")


def inputs(values, bands=1, size=32, seed=0):
    """Noise images with the planes of two columns behind them."""
    images = torch.rand(len(values), bands, size, size, generator=torch.Generator().manual_seed(seed))
    planes = torch.tensor(values, dtype=torch.float32)[:, :, None, None].expand(-1, -1, size, size)
    return torch.cat([images, planes], 1)


def model(name="cnn", bands=1, **settings):
    return build_tabular(name, columns=SCALES, classes=3, bands=bands, size=32, **settings)


@pytest.mark.parametrize("name", ["cnn", "arcnet", "resnet18", "p4m-resnet"])
def test_every_weight_learns_from_three_bands_and_two_columns(name):
    network = model(name, bands=3)
    batch = inputs([[19.0, 0.9], [21.0, NAN], [23.0, 1.3], [NAN, NAN]], bands=3)
    loss = F.cross_entropy(network(batch), torch.tensor([0, 1, 2, 0]))
    loss.backward()
    assert network(batch).shape == (4, 3)
    assert not [key for key, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()]
    assert first_convolution(network).in_channels in (3, 9)
    assert count_parameters(network) > count_parameters(build(name, bands=3, size=32, classes=64)) + HIDDEN**2


def test_the_architecture_starts_with_the_weights_that_it_has_alone():
    alone, joined = build("cnn", classes=64, size=32, seed=4), model(seed=4)
    assert all(torch.equal(value, joined.trunk.state_dict()[key]) for key, value in alone.state_dict().items())
    assert not all(torch.equal(a, b) for a, b in zip(joined.parameters(), model(seed=5).parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(joined.parameters(), model(seed=4).parameters(), strict=True))


def test_what_is_not_known_counts_as_the_mean_with_a_flag():
    network = model().eval()
    kept = []
    network.numbers.register_forward_pre_hook(lambda module, args: kept.append(args[0]))
    with torch.no_grad():
        network(inputs([[22.0, NAN], [NAN, 0.9], [1e6, 1.0]]))
    expected = [[1.0, 0.0, 0.0, 1.0], [0.0, -1.0, 1.0, 0.0], [LIMIT, 0.0, 0.0, 0.0]]
    assert torch.allclose(kept[0], torch.tensor(expected), atol=1e-5)


def test_columns_change_the_answer_and_each_image_its_own():
    network = model().eval()
    images = inputs([[20.0, 1.0]]).repeat(3, 1, 1, 1)
    images[1, 1], images[2, 1] = 24.0, NAN
    with torch.no_grad():
        together = network(images)
        alone = torch.cat([network(one[None]) for one in images])
    assert torch.allclose(together, alone, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-3
    assert (together[0] - together[2]).abs().max() > 1e-3  # the mean, and not known, are two things


def test_the_physics_loss_of_an_architecture_is_kept():
    network = build_tabular("pi-resnet18", columns=SCALES, classes=3, size=64, pixel_scale=0.1)
    logits, extra = network.forward_with_auxiliary(inputs([[20.0, 1.0], [21.0, 1.1]], size=64))
    assert logits.shape == (2, 3)
    assert extra.isfinite()
    assert not hasattr(model(), "forward_with_auxiliary")


def test_scales_are_no_weights_and_have_to_be_usable():
    assert not {"mean", "std"} & set(model().state_dict())
    with pytest.raises(InputError, match=r"'mag' has the scatter 0.0: leave it out"):
        build_tabular("cnn", columns={"mag": {"mean": 1.0, "std": 0.0}}, classes=2, size=32)
    with pytest.raises(InputError, match=r"without a column.*preprocess.columns"):
        build_tabular("cnn", columns={}, classes=2, size=32)
