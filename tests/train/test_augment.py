import pytest
import torch

from darklens.errors import InputError
from darklens.train.augment import augment, augmented
from darklens.train.config import Preprocess, TrainConfig
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


def batch(n=8, bands=3, size=16):
    return torch.rand(n, bands, size, size, generator=torch.Generator().manual_seed(0)), torch.arange(n) % 2


def changed(kinds, images, labels, *, seed=1, share=None, **settings):
    config = TrainConfig(augment=kinds, **settings)
    return augmented(images, labels, 2, config, torch.Generator().manual_seed(seed), share or (slice(None), len(images)))


@pytest.mark.parametrize("kind", ["colour", "blur", "noise", "cutmix", "dihedral", "shift"])
def test_every_word_is_repeatable_and_alike_on_any_number_of_processes(kind):
    images, labels = batch()
    whole, again = (changed([kind], images, labels) for _ in range(2))
    parts = [changed([kind], images[s], labels[s], share=(s, 8)) for s in (slice(0, 2), slice(2, 8))]
    for k in range(2):
        assert torch.equal(whole[k], again[k])
        assert torch.allclose(torch.cat([part[k] for part in parts]).float(), whole[k].float(), atol=1e-6)
    assert not torch.equal(whole[0], images)
    assert not torch.equal(whole[0], changed([kind], images, labels, seed=2)[0])


def test_colour_changes_each_band_by_a_factor_of_its_own_within_the_limit():
    images, labels = batch(400)
    factor = (changed(["colour"], images, labels, max_gain=0.2)[0] / images).flatten(2)
    assert factor.std(-1).max() < 1e-5
    assert factor.amin() == pytest.approx(0.8, abs=0.01)
    assert factor.amax() == pytest.approx(1.2, abs=0.01)
    assert torch.corrcoef(factor[:, :, 0].T)[0, 1].abs() < 0.2


def test_blur_keeps_the_light_and_widens_a_point_by_its_deviation():
    point = torch.zeros(300, 1, 31, 31)
    point[:, :, 15, 15] = 1.0
    blurred, _ = changed(["blur"], point, torch.zeros(300).long(), max_blur=1.5)
    place = torch.arange(31) - 15.0
    width = ((blurred[:, 0].sum(1) * place**2).sum(1)).sqrt()
    assert blurred.sum((1, 2, 3)) == pytest.approx(torch.ones(300), abs=1e-5)
    assert width.max() == pytest.approx(1.5, abs=0.05)
    assert width.min() < 0.1


def test_noise_is_added_in_units_of_each_bands_own():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(200, 2, 32, 32, generator=generator) * torch.tensor([1.0, 10.0]).view(2, 1, 1)
    added = (changed(["noise"], images, torch.zeros(200).long(), max_noise=1.0)[0] - images).std((-2, -1))
    assert added[:, 1] / added[:, 0] == pytest.approx(torch.full((200,), 10.0), rel=0.25)
    assert added[:, 0].mean() == pytest.approx(0.5, abs=0.06)


def test_cutmix_pastes_a_rectangle_and_mixes_labels_by_its_area():
    images = torch.arange(100.0).view(100, 1, 1, 1).expand(100, 2, 20, 20)
    labels = torch.arange(100) % 2
    mixed, target = changed(["cutmix"], images, labels)
    own = torch.arange(100.0).view(100, 1, 1, 1)
    partner = (torch.arange(100) ^ 1).view(100, 1, 1, 1)
    foreign = mixed == partner
    assert ((mixed == own) | foreign).all()
    kept = 1 - foreign[:, 0].float().mean((-2, -1))
    assert target[torch.arange(100), labels] == pytest.approx(kept, abs=1e-6)
    assert target.sum(1) == pytest.approx(torch.ones(100))
    assert 0.3 < (kept == 1).float().mean() < 0.75
    rows, columns = foreign[:, 0].any(2), foreign[:, 0].any(1)
    assert torch.equal(foreign[:, 0], rows[:, :, None] & columns[:, None, :])  # a rectangle


def test_the_last_image_of_an_odd_batch_stays_whole():
    images, labels = batch(7)
    mixed, target = changed(["cutmix"], images, labels)
    assert torch.equal(mixed[6], images[6])
    assert target[6].tolist() == [1.0, 0.0]


def test_partners_in_two_processes_are_refused():
    images, labels = batch(8)
    with pytest.raises(InputError, match=r"cut between images 0 to 3.*multiple of twice"):
        changed(["cutmix"], images[:3], labels[:3], share=(slice(0, 3), 8))
