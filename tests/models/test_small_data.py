"""Shifted patches and locality attention."""

import pytest
import torch

from darklens.models.small_data import DIM, LocalityBlock, ShiftedPatches, token_count, with_shifts


def test_shifts_move_the_image_to_its_four_corners():
    images = torch.rand(2, 3, 6, 9, generator=torch.Generator().manual_seed(0))
    found = with_shifts(images, 2).unflatten(1, (5, 3))
    assert torch.equal(found[:, 0], images)
    for k, (dy, dx) in enumerate([(-2, -2), (-2, 2), (2, -2), (2, 2)], start=1):
        expected = torch.zeros_like(images)
        for row in range(6):
            for column in range(9):
                if 0 <= row - dy < 6 and 0 <= column - dx < 9:
                    expected[:, :, row, column] = images[:, :, row - dy, column - dx]
        assert torch.equal(found[:, k], expected), k


@pytest.mark.parametrize(("size", "tokens"), [((64, 64), 5), ((150, 150), 26), ((64, 80), 7)])
def test_one_token_a_patch_and_one_for_the_class(size, tokens):
    assert token_count(size) == tokens
    assert ShiftedPatches(2, size)(torch.rand(3, 2, *size)).shape == (3, tokens, DIM)


def test_a_patch_knows_what_lies_across_its_border():
    tokens = ShiftedPatches(1, (64, 64))
    image = torch.zeros(1, 1, 64, 64)
    near, far = image.clone(), image.clone()
    near[..., 40, 40] = 1  # within half a patch of the first patch
    far[..., 60, 60] = 1
    with torch.no_grad():
        blank, seen, unseen = (tokens(each)[0, 1] for each in (image, near, far))
    assert not torch.allclose(seen, blank)
    assert torch.equal(unseen, blank)


def attended(block: LocalityBlock, tokens: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    kept = []
    handle = block.attention.register_forward_hook(lambda module, args, output: kept.append(output[0]))
    with torch.no_grad():
        block.eval()(tokens, values)
    handle.remove()
    return kept[0]


def test_a_token_does_not_look_at_itself():
    tokens, values = torch.randn(2, 1, 5, DIM, generator=torch.Generator().manual_seed(0))
    block = LocalityBlock(5, 0.0)
    other = values.clone()
    other[:, 2] += 1
    change = (attended(block, tokens, other) - attended(block, tokens, values)).abs().amax((0, 2))
    assert change[2] < 1e-6
    assert (change[[0, 1, 3, 4]] > 1e-3).all()


def test_a_high_temperature_makes_attention_even():
    tokens, values = torch.randn(2, 1, 5, DIM, generator=torch.Generator().manual_seed(0))
    block = LocalityBlock(5, 0.0)
    cold = attended(block, tokens, values)
    with torch.no_grad():
        block.temperature.fill_(1e6)
    hot = attended(block, tokens, values)
    assert torch.allclose(hot, attended(block, tokens.flip(1), values), atol=1e-4)
    assert not torch.allclose(cold, hot, atol=1e-3)
