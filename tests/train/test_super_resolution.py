from dataclasses import replace

import numpy as np
import pytest
import torch

from darklens.data import ImagePairs
from darklens.errors import InputError
from darklens.models import build
from darklens.runs import Run
from darklens.train import checkpoint
from darklens.train.config import Preprocess, TrainConfig
from darklens.train.config_super_resolution import SuperResolutionConfig
from darklens.train.loop import Training
from darklens.train.pair_facts import pair_facts, registered
from darklens.train.pair_set import PairSet
from darklens.train.super_resolution import SuperResolution
from darklens.train.task import Task


def blobs(n=24, seed=0, shift=(0.0, 0.0), gain=0.25, noise=0.5):
    """Pairs 16x16 and 32x32 of two blobs; the coarse ones are binned, with noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:32, :32]
    place = rng.uniform(10, 22, (4, n, 1, 1))

    def light(dy=0.0, dx=0.0):
        spots = [np.exp(-((y - place[2 * k] - dy) ** 2 + (x - place[2 * k + 1] - dx) ** 2) / 9) for k in range(2)]
        return 60 * (spots[0] + 0.5 * spots[1])[:, None]

    truth, low = light(*shift), light().reshape(n, 1, 16, 2, 16, 2).mean((3, 5)) / gain
    low = low + 2 * noise * rng.normal(size=low.shape)
    high = truth + noise * rng.normal(size=truth.shape)
    ids = np.array([f"blob{k}" for k in range(n)], dtype=object)
    return ImagePairs(ids, *(a.astype(np.float32) for a in (low, high, truth)), {})


def training(path, model="srresnet-arc", truth=True, after_epoch=lambda row: False, epochs=2, **settings):
    settings = {"target": "truth", "loss": "nll"} | settings
    config = TrainConfig(
        task="super-resolution", epochs=epochs, batch_size=8, precision="float32", augment=["dihedral"], lr=5e-3, ema=0.9
    )
    pairs = blobs()
    facts = pair_facts(pairs)
    task = SuperResolution(SuperResolutionConfig(**settings), 2, facts["gain"], facts["unit"])
    network = build(model, scale=2, gain=facts["gain"], blocks=1, width=8, seed=1)
    sets, run = (PairSet(pairs, truth), PairSet(blobs(8, 1), truth)), Run.create(path, {"name": "x"})
    return Training(
        run, network, task, *sets, config, Preprocess(normalise="none"), device="cpu", log=lambda s: None, after_epoch=after_epoch
    )


def test_it_learns_more_than_bicubic_knows_and_resumes_bitwise(tmp_path):
    whole = training(tmp_path / "whole", epochs=6)
    state = whole.fit()
    assert isinstance(whole.task, Task)
    history = Run.open(tmp_path / "whole").history
    assert history[-1]["val_loss"] < history[0]["val_loss"]
    assert state["best"]["val_gain_db"] > 0.3
    training(tmp_path / "part", epochs=6, after_epoch=lambda row: row["epoch"] == 2).fit()
    training(tmp_path / "part", epochs=6).fit()
    for name in ("weights.safetensors", "last.safetensors"):
        a, b = (checkpoint.load_weights(tmp_path / p / name) for p in ("whole", "part"))
        assert all(torch.equal(a[k], b[k]) for k in a), name


def test_a_pair_is_cut_and_turned_as_one():
    task = SuperResolution(SuperResolutionConfig(patch=10), 2, 1.0, 1.0)
    low = torch.arange(6 * 16 * 16, dtype=torch.float32).view(6, 1, 16, 16)
    high = torch.nn.functional.interpolate(low, scale_factor=2, mode="nearest")
    config = TrainConfig(augment=["dihedral"])

    def seen(part):
        generator = torch.Generator().manual_seed(5)
        return task.augment(low[part], high[part], config, generator, (part, 6))

    inputs, targets = seen(slice(0, 6))
    assert inputs.shape[2:] == (10, 10)
    assert torch.equal(torch.nn.functional.avg_pool2d(targets, 2), inputs)
    assert len({float(image[0, 0, 0] - 256 * k) for k, image in enumerate(inputs)}) > 1  # each elsewhere
    for whole, shared in zip((inputs, targets), seen(slice(2, 5)), strict=True):
        assert torch.equal(whole[2:5], shared)  # whichever process has it
    with pytest.raises(InputError, match="patch is 20 and the coarse images have 16x16 pixels"):
        SuperResolution(SuperResolutionConfig(patch=20), 2, 1.0, 1.0).augment(
            low, high, config, torch.Generator(), (slice(None), 6)
        )


class Answer(torch.nn.Module):
    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, low):
        return self.output


@pytest.mark.parametrize("loss", ["l1", "charbonnier", "nll"])
def test_losses_are_what_they_are_called(loss):
    task = SuperResolution(SuperResolutionConfig(loss=loss, unit="images"), 2, 0.25, 8.0)  # errors in units of 2
    low, target = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 8, 8)
    image, log_sigma = torch.full_like(target, 6.0), torch.full_like(target, float(np.log(4.0)))
    answer = torch.cat([image, log_sigma], 1) if loss == "nll" else image
    expected = {"l1": 3, "charbonnier": (9 + 1e-6) ** 0.5, "nll": 0.5 * 1.5**2 + np.log(2)}[loss]
    assert float(task.losses(Answer(answer), low, target)[0]) == pytest.approx(expected, rel=1e-5)


def test_beta_weighs_pixels_by_their_sigma():
    low, target = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 8, 8)
    answer = torch.cat([torch.full_like(target, 6.0), torch.full_like(target, float(np.log(4.0)))], 1)  # in units of 2: 3 and 2
    plain, weighed = (
        SuperResolution(SuperResolutionConfig(loss="nll", unit="images", beta=beta), 2, 0.25, 8.0) for beta in (0.0, 0.5)
    )
    losses = [float(task.losses(Answer(answer), low, target)[0]) for task in (plain, weighed)]
    assert losses[1] == pytest.approx(2 * losses[0])


def test_fourier_amplitudes_do_not_feel_a_shift_and_pixels_do():
    low, target = torch.zeros(1, 1, 8, 8), torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    task = SuperResolution(SuperResolutionConfig(unit="images", fourier=1.0), 2, 1.0, 1.0)
    moved = task.losses(Answer(target.roll(3, -1)), low, target)
    assert float(moved[1]) < 1e-6 < float(moved[0])
    assert float(task.losses(Answer(target / 2), low, target)[1]) > 0.05


def test_gain_blur_and_brightness_are_measured_where_no_manifest_says_them():
    facts = pair_facts(blobs())
    assert facts["gain"] == pytest.approx(0.25, rel=0.03)
    assert facts["blur"] < 0.5
    assert facts["measured"] == ["gain", "blur"]
    assert facts["peaks"][0] <= facts["unit"] <= facts["peaks"][1]


def test_shifted_partners_are_moved_back_and_strangers_named(tmp_path):
    straight, crooked = blobs(4, noise=0.1), blobs(4, noise=0.1, shift=(0.8, -1.3))
    mended, moved = registered(crooked, tmp_path)
    assert np.allclose(moved, np.hypot(0.8, 1.3), atol=0.1)
    assert np.abs(mended.high - straight.truth).mean() < 0.25 * np.abs(crooked.high - straight.truth).mean()
    strange = blobs(4, noise=0.1, shift=(9.0, 0.0))
    with pytest.raises(InputError, match=r"HR/blob0 is shifted by [89]\.. fine pixels against its partner in LR, the limit is 4"):
        registered(strange, tmp_path)


def test_pairs_that_show_nothing_are_refused():
    pairs = blobs(4)
    dark = replace(pairs, low=np.full_like(pairs.low, 5), high=np.full_like(pairs.high, 5))
    with pytest.raises(InputError, match=r"the light of the images in HR above the level of their border is 0 of that in LR"):
        pair_facts(dark)
