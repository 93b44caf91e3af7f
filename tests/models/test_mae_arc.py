import pytest
import torch

from darklens.errors import InputError
from darklens.models import count_parameters
from darklens.models.joint_embedding import JointEmbedding
from darklens.models.mae_arc import MAEArc
from darklens.models.token_encoder import TokenEncoder, hidden_pixels, sine_positions


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return MAEArc(bands=2, size=64).eval()


def images(count=3, bands=2, size=(64, 64), seed=0):
    return torch.randn(count, bands, *size, generator=torch.Generator().manual_seed(seed))


def test_it_is_small(model):
    assert count_parameters(model) < 3_000_000
    assert count_parameters(JointEmbedding(2)) < 3_000_000


def test_nothing_of_a_hidden_patch_reaches_the_prediction(model):
    x, order = images(), torch.rand(3, 64, generator=torch.Generator().manual_seed(1)).argsort(1)
    with torch.no_grad():
        predicted, target, hidden = model(x, order)
        other, _, _ = model(torch.where(hidden > 0, images(seed=9), x), order)
        changed, _, _ = model(torch.where(hidden > 0, x, x + 1), order)
    assert torch.equal(target, x)
    assert torch.equal(predicted, other)
    assert (predicted - changed).abs().max() > 1e-3


def test_hidden_pixels_are_those_of_the_patches_that_come_last():
    order = torch.tensor([[5, 0, 1, 2, 3, 4]])
    hidden = hidden_pixels(order, 2, (2, 3), 4)
    assert hidden.shape == (1, 1, 8, 12)
    assert hidden[0, 0, ::4, ::4].tolist() == [[0, 1, 1], [1, 1, 0]]
    assert hidden.sum() == 4 * 16


def test_pixels_are_predicted_where_their_patch_is(model):
    """A step of one patch's head output moves the pixels of that patch and of no other."""
    x, order = images(1), torch.arange(64)[None]
    with torch.no_grad():
        tokens = model.encoder.tokens(x, order[:, :16])
        before = model.decoder(tokens, order)
        kept = model.decoder.positions.clone()
        blocks, model.decoder.blocks = model.decoder.blocks, torch.nn.ModuleList()
        still = model.decoder(tokens, order)
        model.decoder.positions[0, 63] += 1 + torch.arange(model.decoder.positions.shape[2]) % 3  # the last patch, bottom right
        moved = model.decoder(tokens, order) - still
        model.decoder.positions.copy_(kept)
        model.decoder.blocks = blocks
        assert torch.equal(model.decoder(tokens, order), before)
    assert moved[0, :, 56:, 56:].abs().max() > 1e-3
    moved[0, :, 56:, 56:] = 0
    assert moved.abs().max() == 0


def test_tokens_of_all_patches_do_not_depend_on_the_order_that_they_are_given_in(model):
    x = images()
    order = torch.rand(3, 64, generator=torch.Generator().manual_seed(3)).argsort(1)
    with torch.no_grad():
        whole, shuffled = model.encoder.tokens(x), model.encoder.tokens(x, order)
    assert torch.allclose(whole.gather(1, order[..., None].expand(-1, -1, whole.shape[2])), shuffled, atol=1e-5)
    maps, (rows, columns) = model.encoder.maps_of(x)
    assert torch.equal(maps[:, :, 1, 2], whole[:, 8 + 2])
    assert (rows, columns) == (slice(0, 64), slice(0, 64))
    maps, (rows, columns) = model.encoder.maps_of(x[..., :50, :37])
    assert maps.shape[-2:] == (7, 5)
    assert (rows, columns) == (slice(3, 53), slice(1, 38))


@pytest.mark.parametrize("size", [(61, 61), (64, 80), (32, 48)])
def test_images_that_are_no_whole_patches_get_zeros_around_them(size):
    model = MAEArc(bands=1, size=size)
    predicted, target, hidden = model(images(2, 1, size))
    assert predicted.shape == target.shape
    assert hidden.shape[-2:] == target.shape[-2:]
    assert target.shape[-2] % 8 == target.shape[-1] % 8 == 0
    assert model.encoder(images(2, 1, size)).shape == (2, model.encoder.dimension)


def test_positions_tell_all_patches_apart():
    positions = sine_positions((7, 9), 64)[0]
    distance = torch.cdist(positions, positions) + 10 * torch.eye(63)
    assert distance.min() > 0.5


@pytest.mark.parametrize(
    ("options", "says"),
    [({"mask": 1.0}, "mask 1.0"), ({"mask": 0.0}, "mask 0.0"), ({"dim": 126}, "dim 126"), ({"mask": 0.999}, "all or none of 64")],
)
def test_wrong_options_are_refused(options, says):
    with pytest.raises(InputError, match=says):
        MAEArc(**options)


def test_an_encoder_refuses_other_images():
    with pytest.raises(InputError, match="do not fit"):
        TokenEncoder(1, 64, patch=8, dim=32, depth=1, heads=4)(torch.rand(2, 2, 64, 64))
