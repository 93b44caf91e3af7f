import pytest
import torch

from darklens.errors import InputError
from darklens.models import build, sky_and_noise
from darklens.models.contrast import contrast
from darklens.models.p4m import GroupConv2d, Lifting, turned

SYMMETRIES = {"mirror": lambda x: x.flip(-1), "upside down": lambda x: x.flip(-2), "transposed": lambda x: x.transpose(-1, -2)}
"""What generates the symmetries of the square."""


def galaxies(n, bands, height, width, seed=0):
    """Bright spots in the middle, fainter ones beside them, noise of another strength in every band."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(height) - (height - 1) / 2, torch.arange(width) - (width - 1) / 2, indexing="ij")
    place = 20 * torch.rand(2, n, bands, 1, 1, generator=generator) - 10
    light = torch.exp(-torch.hypot(x, y) / 3) + 0.3 * torch.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / 8)
    return light + 0.01 * torch.arange(1, bands + 1).view(bands, 1, 1) * torch.randn(light.shape, generator=generator)


@pytest.mark.parametrize("size", [(64, 64), (63, 63), (64, 80), (65, 33), (47, 64)])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("maps", ["contrast", "bands"])
def test_logits_do_not_change_with_the_way_an_image_lies(size, training, maps):
    images = galaxies(6, 3, *size)
    model = build("p4m-resnet", bands=3, classes=2, size=size, dropout=0.0, maps=maps, seed=1)
    model(images)
    model.train(training)
    with torch.no_grad():
        logits = model(images)
        assert logits.std(0).min() > 1e-3  # it does tell images apart
        for name, turn in SYMMETRIES.items():
            if turn(images).shape == images.shape:
                assert torch.allclose(model(turn(images)), logits, atol=2e-5), name


@pytest.mark.parametrize("size", [(12, 12), (11, 11), (9, 12)])
def test_convolutions_on_the_group_turn_with_the_image(size):
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    lifting, convolution = Lifting(3, 4), GroupConv2d(4, 5)
    with torch.no_grad():
        upright = convolution(lifting(images)).unflatten(1, (5, 8))
        for element in range(8):
            found = convolution(lifting(turned(images, element))).unflatten(1, (5, 8))
            expected = turned(upright, element)
            order = [next(h for h in range(8) if torch.allclose(found[:, :, g], expected[:, :, h], atol=1e-5)) for g in range(8)]
            assert sorted(order) == list(range(8))  # the maps, turned, with their orientations exchanged


def test_a_turned_arc_is_not_the_same_in_one_orientation():
    image = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    lifting = Lifting(1, 1)
    with torch.no_grad():
        assert not torch.allclose(lifting(image)[:, 0], turned(lifting(turned(image, 1))[:, 0], 3), atol=1e-3)


def test_sky_and_noise_of_each_band_are_found_under_galaxies():
    images = galaxies(20, 3, 64, 64) + 5.0
    sky, noise = sky_and_noise(images)
    assert noise.mean(0).flatten() == pytest.approx([0.01, 0.02, 0.03], rel=0.1)
    assert sky.flatten() == pytest.approx(torch.full((60,), 5.0), abs=0.03)


def test_a_companion_of_the_galaxys_own_colour_vanishes_in_the_colour_map():
    y, x = torch.meshgrid(torch.arange(64) - 31.5, torch.arange(64) - 31.5, indexing="ij")
    galaxy, companion = torch.exp(-torch.hypot(x, y) / 3), torch.exp(-((x - 12) ** 2 + y**2) / 8)
    noise = 0.003 * torch.randn(2, 2, 64, 64, generator=torch.Generator().manual_seed(0))
    red = torch.stack([0.4 * galaxy + 0.12 * companion, galaxy + 0.3 * companion])
    blue = torch.stack([0.4 * galaxy + 0.3 * companion, galaxy + 0.3 * companion])
    maps = contrast(torch.stack([red, blue]) + noise)
    there = companion > 0.5
    assert maps[0, 2][there].abs().mean() < 0.3
    assert maps[1, 2][there].min() > 1.0
    assert maps[0, 2][galaxy > 0.3].abs().mean() < 0.3  # the galaxy goes


def test_maps_do_not_depend_on_zero_and_unit_of_a_band():
    images = galaxies(2, 3, 40, 40)
    other = images * torch.tensor([2.0, 0.1, 30.0]).view(3, 1, 1) + torch.tensor([1.0, -2.0, 0.5]).view(3, 1, 1)
    assert torch.allclose(contrast(images), contrast(other), atol=1e-3)


def test_unknown_maps_are_refused():
    with pytest.raises(InputError, match="did you mean 'contrast'"):
        build("p4m-resnet", bands=3, maps="contrasts")
    with pytest.raises(InputError, match="at least two stages"):
        build("p4m-resnet", widths=(4,))
