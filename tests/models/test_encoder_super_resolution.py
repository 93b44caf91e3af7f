import pytest
import torch

from darklens.models import build, upsampled


def lens(height, width):
    return 50 + 20 * torch.randn(2, 1, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("encoder", ["mae-arc", "mae"])
def test_untrained_it_is_bicubic_on_images_of_any_size(encoder):
    model = build("encoder-super-resolution", gain=0.25, encoder=encoder).eval()
    for shape in ((64, 64), (43, 50)):
        images = lens(*shape)
        with torch.no_grad():
            assert torch.equal(model(images), upsampled(images, 2, gain=0.25))


def test_what_it_adds_has_the_unit_of_the_image():
    model = build("encoder-super-resolution", seed=3).eval()
    torch.nn.init.normal_(model.answer.weight, std=0.3, generator=torch.Generator().manual_seed(0))
    images = lens(43, 50)
    with torch.no_grad():
        added = model(images) - upsampled(images, 2)
        again = model(7 * images + 100) - upsampled(7 * images + 100, 2)
    assert added.abs().mean() > 0.1
    assert torch.allclose(again, 7 * added, rtol=1e-2, atol=1e-2)
