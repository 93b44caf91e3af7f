import pytest
import torch

from darklens.models.patches import pad_to_patches, padded_size


@pytest.mark.parametrize(
    ("size", "margins"),
    [((150, 150), (5, 5, 5, 5)), ((64, 80), (0, 0, 8, 8)), ((33, 64), (15, 16, 0, 0)), ((64, 96), (0, 0, 0, 0))],
)
def test_zeros_surround_the_image_evenly(size, margins):
    images = 1 + torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    padded = pad_to_patches(images)
    top, bottom, left, right = margins
    assert padded_size(size) == padded.shape[2:] == (top + size[0] + bottom, left + size[1] + right)
    assert torch.equal(padded[..., top : top + size[0], left : left + size[1]], images)
    assert (padded > 0).sum() == images.numel()
