"""Maps of networks whose answer is known to come from one place."""

import numpy as np
import pytest
import torch
from torch import nn

from darklens.errors import InputError
from darklens.explain import METHODS, Question, baseline_of, chosen_methods, maps_of, stability
from darklens.explain.cam import cam_layer
from darklens.models import build
from darklens.models.arcnet import ArcNet

SPOT = (20, 9)
"""Row and column of the pixel that decides."""


class Spot(nn.Module):
    """Answers by how much light there is around one pixel; its maps are that light, and eight channels of nothing."""

    def __init__(self):
        super().__init__()
        self.light = nn.Conv2d(1, 9, 3, padding=1, bias=False)
        with torch.no_grad():
            self.light.weight.zero_()
            self.light.weight[0] = 1 / 9
        window = torch.zeros(32, 32)
        window[SPOT[0] - 1 : SPOT[0] + 2, SPOT[1] - 1 : SPOT[1] + 2] = 1.0
        self.register_buffer("window", window)

    def forward(self, images):
        near = (self.light(images)[:, 0] * self.window).sum((1, 2))
        return torch.stack([-near, near, torch.zeros_like(near)], 1)


@pytest.fixture
def question():
    inputs = torch.zeros(3, 1, 32, 32)
    inputs[:, 0, SPOT[0], SPOT[1]] = 1.0
    inputs[:, 0, 5, 25] = 1.0  # as bright, and of no importance
    return Question(Spot(), lambda z: z, inputs, torch.zeros_like(inputs), torch.tensor([1, 1, 1]))


@pytest.mark.parametrize("name", ["grad-cam", "integrated-gradients", "smoothgrad", "occlusion"])
def test_the_pixel_that_decides_is_found(question, name):
    maps = maps_of(METHODS[name], question)
    assert maps.shape == (3, 32, 32)
    assert maps.min() >= 0
    row, column = np.unravel_index(maps[0].argmax(), (32, 32))
    if name == "grad-cam":  # its weights know the channel, not the place: both lights are equal, and nothing else is
        assert maps[0][SPOT] == pytest.approx(maps[0][5, 25])
        assert maps[0][15, 25] == 0
    else:
        assert abs(row - SPOT[0]) <= 4
        assert abs(column - SPOT[1]) <= 4
        assert maps[0][5, 25] < 0.05 * maps[0].max()


def test_integrated_gradients_share_out_the_whole_answer(question):
    maps = maps_of(METHODS["integrated-gradients"], question)
    z = question.network(question.inputs) - question.network(question.baseline)
    margin = z[:, 1] - (z[:, 0] + z[:, 2]) / 2
    assert np.allclose(maps.sum((1, 2)), margin.detach().numpy(), rtol=1e-4)


@pytest.mark.parametrize("frames", ["mean", "one"])
def test_maps_of_a_symmetric_network_turn_with_the_image(frames):
    network = ArcNet(bands=1, size=48, frames=frames).eval()
    images = torch.rand(2, 1, 48, 48, generator=torch.Generator().manual_seed(3))
    targets = torch.tensor([0, 2])
    for name in ("grad-cam", "grad-cam++"):
        upright, turned = (
            maps_of(METHODS[name], Question(network, lambda z: z, x, torch.zeros_like(x), targets))
            for x in (images, images.flip(-2))
        )
        assert upright.max() > 0
        assert np.allclose(upright[:, ::-1], turned, atol=1e-3 * upright.max())
    assert network.symmetric


@pytest.mark.parametrize("name", ["cnn", "efficientnet-b0", "p4m-resnet", "resnet18", "vit", "cvt", "lensformer"])
def test_classifiers_have_maps_to_weigh(name):
    network = build(name, size=64).eval()
    images = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    layer = network.get_submodule(cam_layer(network, images))
    sizes = []
    handle = layer.register_forward_hook(lambda module, args, output: sizes.append(output.shape))
    maps = maps_of(METHODS["grad-cam"], Question(network, lambda z: z, images, torch.zeros_like(images), torch.tensor([0, 1])))
    handle.remove()
    assert maps.shape == (2, 64, 64)
    assert np.isfinite(maps).all()
    coarse = 2 if name.startswith(("vit", "lensformer")) else 7
    assert min(sizes[0][-2:]) >= coarse


def test_rollout_follows_what_attention_says():
    network = build("vit", size=64).eval()
    images = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    question = Question(network, lambda z: z, images, torch.zeros_like(images), torch.tensor([0, 1]))
    before = maps_of(METHODS["attention-rollout"], question)
    with torch.no_grad():  # queries that see only keys of the lower left patch: rows and columns below 32
        for block in network.blocks:
            block.queries_keys_values.weight.zero_()
    even = maps_of(METHODS["attention-rollout"], question)
    assert np.ptp(even) < 1e-5 < np.ptp(before)  # attention that is equal everywhere points nowhere


def test_rollout_is_refused_where_there_is_none():
    images = torch.rand(1, 1, 64, 64)
    for name in ("cnn", "cvt"):
        network = build(name, size=64).eval()
        with pytest.raises(InputError, match="vit and encoder have one"):
            maps_of(METHODS["attention-rollout"], Question(network, lambda z: z, images, images, torch.tensor([0])))


def test_maps_are_the_same_in_parts(question, monkeypatch):
    whole = maps_of(METHODS["occlusion"], question)
    monkeypatch.setattr("darklens.explain.maps.BATCH", 2)
    assert np.array_equal(whole, maps_of(METHODS["occlusion"], question))


def test_drawing_leaves_the_global_state_alone(question):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = maps_of(METHODS["smoothgrad"], question)
    assert torch.equal(torch.rand(1), expected)
    assert np.array_equal(first, maps_of(METHODS["smoothgrad"], question))


def test_a_map_of_the_image_alone_is_stable_and_noise_is_not(question):
    method = METHODS["integrated-gradients"]
    maps = maps_of(method, question)
    assert stability(method, question, maps, noise=0.0) == pytest.approx(1.0)
    assert stability(method, question, maps, noise=30.0).mean() < 0.9


def test_baselines_keep_what_is_not_asked_about():
    inputs = torch.rand(2, 5, 16, 16) + 1
    evidence = baseline_of(inputs, "evidence")
    assert torch.equal(evidence[:, 3:], inputs[:, 3:])
    assert not evidence[:, :3].any()
    both = baseline_of(inputs[:, :2], "both")
    assert not both[:, 0].any()
    assert torch.equal(both[:, 1], inputs[:, 1])
    image = baseline_of(inputs[:, :1], "image")
    assert torch.allclose(image.mean(), inputs[:, :1].mean(), rtol=0.02)
    assert image.std() < 0.3 * inputs.std()
    with pytest.raises(InputError, match="has no baseline"):
        baseline_of(inputs, "spectrum")


def test_unknown_methods_are_named():
    with pytest.raises(InputError, match="did you mean 'grad-cam'"):
        chosen_methods(["gradcam"])
    assert list(chosen_methods(None)) == list(METHODS)
