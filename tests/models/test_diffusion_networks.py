"""The two networks that make images: the published one's form, and what ours does with what it is told."""

import math

import pytest
import torch

from darklens.errors import InputError
from darklens.models import build, count_parameters, models_for
from darklens.models.ddpm import DDPM, sinusoids

SMALL = {"ddpm": {"widths": (8, 16, 24)}, "lens-diffusion": {"widths": (8, 16), "embedding": 16}}
every_network = pytest.mark.parametrize("name", models_for("generation"))


def small(name, **more):
    return build(name, bands=2, size=(16, 24), **SMALL[name], **more)


def awake(model):
    """A network whose silenced convolutions say something."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in model.parameters():
            value += 0.05 * torch.randn(value.shape, generator=generator)
    return model.eval()


@every_network
def test_the_answer_has_the_shape_of_the_images_and_depends_on_the_time(name):
    model, images = awake(small(name)), torch.rand(3, 2, 16, 24)
    with torch.no_grad():
        early, late = (model(images, torch.full((3,), t)) for t in (0.1, 0.9))
    assert early.shape == images.shape
    assert not torch.allclose(early, late)


@every_network
def test_every_parameter_feels_the_loss(name):
    model = awake(small(name, **({"classes": 3, "parameters": 1} if name == "lens-diffusion" else {}))).train()
    told = torch.tensor([[1, 0, 0, 0.3], [0, 1, 0, float("nan")]])
    model(torch.rand(2, 2, 16, 24), torch.tensor([0.2, 0.7]), told).square().mean().backward()
    assert [k for k, v in model.named_parameters() if v.grad is None or not v.grad.abs().sum() > 0] == []


@every_network
def test_images_do_not_look_at_each_other(name):
    model, images, time = awake(small(name)), torch.rand(3, 2, 16, 24), torch.tensor([0.1, 0.5, 0.9])
    with torch.no_grad():
        together, alone = model(images, time), torch.cat([model(images[i : i + 1], time[i : i + 1]) for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-5)


@every_network
def test_wrong_sizes_are_refused(name):
    with pytest.raises(InputError, match=r"30 pixels cannot be halved .* crop them to a multiple of"):
        build(name, size=(16, 30), **SMALL[name])
    with pytest.raises(InputError, match="do not fit"):
        small(name)(torch.rand(1, 1, 16, 24), torch.rand(1))


def test_the_published_network_has_its_form():
    with torch.device("meta"):
        model = DDPM()
    assert count_parameters(model) == 62_437_601
    assert [block.change.in_channels for block in model.down] == [128, 256, 512, 1024]
    assert not any("attention" in name for name, _ in model.named_modules())


def test_ours_is_small_enough():
    assert count_parameters(build("lens-diffusion", classes=3, parameters=2)) < 5_000_000


def test_ours_does_what_it_is_told_and_knows_nothing_from_zero():
    model = awake(small("lens-diffusion", classes=3, parameters=1))
    images, time = torch.rand(1, 2, 16, 24), torch.tensor([0.5])
    told = {"cdm": [0, 1, 0, 0.0], "axion": [0, 0, 1, 0.0], "unsaid": [0, 1, 0, float("nan")], "nothing": [float("nan")] * 4}
    with torch.no_grad():
        found = {name: model(images, time, torch.tensor([row])) for name, row in told.items()}
        assert torch.equal(model(images, time), found.pop("nothing"))
    answers = list(found.values())
    assert all(not torch.allclose(a, b, atol=1e-6) for i, a in enumerate(answers) for b in answers[:i])


def test_ours_begins_by_predicting_nothing():
    assert not build("lens-diffusion", size=16, widths=(8,))(torch.rand(1, 1, 16, 16), torch.rand(1)).any()


def test_widths_that_cannot_be_normalised_in_groups_are_refused():
    with pytest.raises(InputError, match="multiples of 8"):
        build("lens-diffusion", widths=(12, 24))


def test_sinusoids_are_those_of_the_paper():
    found = sinusoids(torch.tensor([0.0, 3.0]), 4)
    assert torch.allclose(found[0], torch.tensor([0.0, 0, 1, 1]))
    expected = [math.sin(3), math.sin(3e-4), math.cos(3), math.cos(3e-4)]
    assert found[1].tolist() == pytest.approx(expected, abs=1e-6)
