import pytest
import torch

from darklens.train.augment import augment
from darklens.train.config import Preprocess
from darklens.train.preprocess import prepare


def spot(height, width, x, y, n=1):
    """Images of a round spot whose centre is x to the right of the middle and y below it."""
    rows, columns = torch.meshgrid(torch.arange(height) - (height - 1) / 2, torch.arange(width) - (width - 1) / 2, indexing="ij")
    return torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)[None, None].repeat(n, 1, 1, 1)


def place(images):
    """Where the light is: x to the right of the middle, y below it."""
    height, width = images.shape[-2:]
    weights = images[:, 0] / images[:, 0].sum((-2, -1), keepdim=True)
    x = (weights.sum(-2) * (torch.arange(width) - (width - 1) / 2)).sum(-1)
    y = (weights.sum(-1) * (torch.arange(height) - (height - 1) / 2)).sum(-1)
    return x, y


@pytest.mark.parametrize(("height", "width"), [(41, 41), (40, 40), (40, 64)])
def test_rotation_by_any_angle_keeps_the_distance_to_the_centre_and_the_limit(height, width):
    images = spot(height, width, 10.0, 0.0, n=300)
    turned = augment(images, ["rotate"], torch.Generator().manual_seed(0), max_rotation=30.0)
    x, y = place(turned)
    assert torch.hypot(x, y) == pytest.approx(torch.full((300,), 10.0), abs=0.05)
    angle = torch.rad2deg(torch.atan2(y, x))
    assert angle.abs().max() < 30.2
    assert angle.min() < -28
    assert angle.max() > 28
    assert angle.std() == pytest.approx(60 / 12**0.5, abs=1.5)  # uniform, either way
    assert turned.sum((-2, -1)) == pytest.approx(images.sum((-2, -1)), rel=1e-3)


def test_corners_of_a_rotated_image_show_no_edge():
    flat = torch.full((20, 1, 16, 16), 3.0)
    assert augment(flat, ["rotate"], torch.Generator().manual_seed(0), max_rotation=45.0) == pytest.approx(flat, abs=1e-5)


def test_an_image_is_turned_in_the_same_way_on_any_number_of_processes():
    images = torch.rand(8, 1, 16, 16)
    whole = augment(images, ["rotate"], torch.Generator().manual_seed(1))
    half = augment(images[4:], ["rotate"], torch.Generator().manual_seed(1), share=(slice(4, 8), 8))
    assert torch.equal(whole[4:], half)


def test_signed_images_go_from_minus_one_to_one():
    seen = prepare(torch.rand(3, 2, 8, 8) * 50 + 7, Preprocess(normalise="signed"))
    assert seen.amin((-2, -1)) == pytest.approx(torch.full((3, 2), -1.0))
    assert seen.amax((-2, -1)) == pytest.approx(torch.full((3, 2), 1.0))
