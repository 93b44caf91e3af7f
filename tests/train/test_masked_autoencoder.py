import pytest
import torch

from darklens.models.mae_arc import MAEArc
from darklens.train.config import TrainConfig
from darklens.train.masked_autoencoder import MaskedAutoencoding, fixed_orders


def images(count=4, bands=2, seed=0):
    return torch.randn(count, bands, 32, 32, generator=torch.Generator().manual_seed(seed))


def hidden(count=4):
    mask = torch.zeros(count, 1, 32, 32)
    mask[:, :, 8:] = 1
    return mask


def test_only_hidden_pixels_count():
    task, target, mask = MaskedAutoencoding("pixels"), images(), hidden()
    guess = target + 2 * mask
    assert torch.allclose(task.errors(guess, target, mask)[0], torch.full((4, 2), 4.0), atol=1e-5)
    assert torch.equal(task.errors(guess + 100 * (1 - mask), target, mask)[0], task.errors(guess, target, mask)[0])


def test_the_mean_of_what_is_seen_is_what_guesses_are_compared_with():
    task, mask = MaskedAutoencoding("pixels"), hidden()
    target = 3.0 + 5.0 * mask.expand(-1, 2, -1, -1)
    assert torch.allclose(task.errors(target, target, mask)[1], torch.full((4, 2), 25.0))


def test_errors_in_units_of_the_noise_know_no_unit_of_the_image():
    mask, target = hidden(), images()
    guess = 0.3 * target
    for task, factor in ((MaskedAutoencoding("noise"), 1.0), (MaskedAutoencoding("pixels"), 49.0)):
        ratio = task.errors(7 * guess, 7 * target, mask)[0] / task.errors(guess, target, mask)[0]
        assert torch.allclose(ratio, torch.full((4, 2), factor), rtol=1e-4)


def test_noise_has_a_chi2_of_one_whatever_its_level():
    noise = torch.tensor([0.1, 30.0])[:, None, None] * images(64)
    error = MaskedAutoencoding("noise").errors(torch.zeros_like(noise), noise, hidden(64))[0].mean(0)
    assert torch.allclose(error, torch.ones(2), atol=0.1)


def test_a_residual_is_in_units_of_the_noise_already():
    target, mask = 3 * images(), hidden()
    known, measured = (
        MaskedAutoencoding("noise", residual).errors(torch.zeros_like(target), target, mask)[0] for residual in (True, False)
    )
    assert known[:, 0].mean().item() == pytest.approx(9, rel=0.15)
    assert measured[:, 0].mean().item() == pytest.approx(1, rel=0.15)
    assert torch.equal(known[:, 1], measured[:, 1])


def test_a_bright_image_does_not_drown_the_residual():
    errors = torch.tensor([[3.0, 400.0]])
    residual, image = MaskedAutoencoding("noise", True).lost(errors)[0].tolist()
    assert residual == 3.0
    assert image == pytest.approx(5.994, abs=1e-3)
    assert torch.equal(MaskedAutoencoding("pixels", True).lost(errors), errors)


def test_the_fixed_masks_show_every_patch_once_and_are_the_same_for_all_images():
    orders = fixed_orders(images(3), 64, 16)
    assert len(orders) == 4
    shown = torch.cat([order[0, :16] for order in orders])
    assert sorted(shown.tolist()) == list(range(64))
    for order in orders:
        assert (order == order[0]).all()
        assert sorted(order[0].tolist()) == list(range(64))


def test_answers_to_an_image_do_not_depend_on_the_others():
    torch.manual_seed(0)
    model, task = MAEArc(2, 32, dim=32, depth=1, decoder_dim=32, decoder_depth=1).eval(), MaskedAutoencoding("noise", True)
    with torch.no_grad():
        together, alone = task.predict(model, images()), task.predict(model, images()[2:3])
    assert together.shape == (4, 4)
    assert torch.allclose(together[2:3], alone, atol=1e-5)


def test_it_learns_what_can_be_guessed():
    """Stripes of a random phase: a patch tells what the others look like."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    model, task, config = (
        MAEArc(1, 32, dim=32, depth=2, decoder_dim=32, decoder_depth=1),
        MaskedAutoencoding("pixels"),
        TrainConfig(),
    )

    def stripes(count):
        phase = 6.28 * torch.rand(count, 1, 1, 1, generator=generator)
        return torch.sin(torch.arange(32.0) * 6.28 / 8 + phase).expand(-1, 1, 32, 32)

    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(60):
        x, _ = task.augment(stripes(32), torch.zeros(32), config.model_copy(update={"augment": []}), generator, (slice(None), 32))
        loss, _ = task.losses(model, x, None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        error, mean = task.predict(model.eval(), stripes(32)).mean(0)
    assert error < 0.2 * mean
