import torch

from darklens.models import build
from darklens.models.vit import PATCH, PatchNorm


def test_each_patch_is_normalised_in_its_place():
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    norm = PatchNorm(3)
    with torch.no_grad():
        found = norm(images)
        for row in (0, PATCH):
            for column in (0, PATCH, 2 * PATCH):
                here = (..., slice(row, row + PATCH), slice(column, column + PATCH))
                assert torch.allclose(found[here], norm.norm(images[here]), atol=1e-6)
                assert found[here].mean().abs() < 1e-5


def test_brightness_and_contrast_do_not_matter():
    images = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    model = build("vit").eval()
    with torch.no_grad():
        assert torch.allclose(model(3 * images + 1), model(images), atol=1e-4)


def test_only_the_positions_tell_patches_apart():
    images = torch.rand(2, 1, 64, 96, generator=torch.Generator().manual_seed(0))
    left, middle, right = images.split(PATCH, dim=3)
    swapped = torch.cat([right, left, middle], 3)
    model = build("vit", size=(64, 96)).eval()
    with torch.no_grad():
        assert not torch.allclose(model(swapped), model(images), atol=1e-3)
        model.positions[:, 1:] = 0
        assert torch.allclose(model(swapped), model(images), atol=1e-5)
