"""The published masked autoencoder against the code that it was published with."""

import pytest
import torch

from darklens.errors import InputError
from darklens.models import count_parameters
from darklens.models.mae import MAE

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return MAE(bands=3, size=128).eval()


def test_it_has_the_published_shape(model):
    config = model.encoder.network.config
    assert (config.image_size, config.patch_size, config.hidden_size) == (128, 16, 192)
    assert (config.num_hidden_layers, config.num_attention_heads) == (12, 4)
    assert (config.decoder_hidden_size, config.decoder_num_hidden_layers) == (128, 4)
    assert model.seen == 16
    assert model.patches == 64
    assert count_parameters(MAE(1)) == 6_239_488


def test_it_predicts_what_transformers_predicts_and_loses_as_much(model):
    whole = transformers.ViTMAEForPreTraining(model.encoder.network.config).eval()
    whole.vit, whole.decoder = model.encoder.network, model.decoder
    generator = torch.Generator().manual_seed(1)
    images, noise = torch.rand(2, 3, 128, 128, generator=generator), torch.rand(2, 64, generator=generator)
    with torch.no_grad():
        theirs = whole(images, noise=noise)
        predicted, target, hidden = model(images, noise.argsort(1))
    assert torch.equal(target, images)
    assert torch.allclose(whole.unpatchify(theirs.logits), predicted, atol=1e-5)
    ours = ((predicted - target) ** 2 * hidden).sum() / (3 * hidden.sum())
    assert ours.item() == pytest.approx(theirs.loss.item(), rel=1e-5)


def test_all_tokens_are_those_of_transformers_without_a_mask(model):
    images = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(2))
    config = model.encoder.network.config
    config.mask_ratio, before = 0.0, config.mask_ratio
    try:
        with torch.no_grad():
            theirs = model.encoder.network(images, noise=torch.arange(64.0).expand(2, -1)).last_hidden_state
            assert torch.allclose(model.encoder.tokens(images), theirs, atol=1e-5)
    finally:
        config.mask_ratio = before


def test_images_of_other_sizes_are_resampled_to_its_own():
    model = MAE(bands=1, size=(64, 80)).eval()
    with torch.no_grad():
        predicted, target, hidden = model(torch.rand(2, 1, 64, 80))
        assert model.encoder(torch.rand(2, 1, 64, 80)).shape == (2, model.encoder.dimension)
    assert predicted.shape == target.shape == (2, 1, 128, 128)
    assert hidden.mean().item() == 0.75
    with pytest.raises(InputError, match="do not fit"):
        model(torch.rand(2, 1, 64, 64))
