"""Denoising without clean images: two copies with independent noise, an error that knows its floor, and structure that is found."""

import numpy as np
import pytest
import torch

from darklens.errors import InputError
from darklens.models.denoise_arc import DenoiseArc
from darklens.recipes import execute, load
from darklens.train.config import TrainConfig
from darklens.train.denoising import Denoising


def noise(count=64, side=32, seed=0):
    return torch.randn(count, 1, side, side, generator=torch.Generator().manual_seed(seed))


def blobs(count=64, side=32, seed=0):
    """Structure of several times the noise: a spot somewhere."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    centre = side * (0.2 + 0.6 * torch.rand(count, 2, 1, 1, generator=generator))
    return 6 * torch.exp(-((x - centre[:, :1]) ** 2 + (y - centre[:, 1:]) ** 2) / 8)


@pytest.mark.parametrize("split", [0.3, 1.0, 2.0])
def test_noise_that_is_copied_is_no_structure(split):
    """A network that hands back what it sees has the error of the noise in it, not the gain of having learned it by heart."""
    errors, _ = Denoising(split).summary(Denoising(split).predict(lambda seen: seen, noise(800) + 3).numpy())
    assert errors.mean() == pytest.approx(1 + split**2, rel=0.05)


@pytest.mark.parametrize("found", [0.0, 0.5, 1.0])
def test_the_error_is_that_of_the_structure_that_nobody_has_told(found):
    """The measured error is that against clean structure, though only noisy copies are at hand."""
    task, structure = Denoising(0.5), blobs(600)
    answers = task.predict(lambda seen: found * structure, structure + noise(600)).numpy()
    errors, unexplained = task.summary(answers)
    power = float(structure.square().mean())
    assert errors.mean() == pytest.approx((1 - found) ** 2 * power, abs=0.02)
    assert unexplained[0] == pytest.approx((1 - found) ** 2, abs=0.03)


def test_copies_are_the_same_on_any_number_of_processes():
    task, images, config = Denoising(), blobs(8) + noise(8), TrainConfig(augment=["dihedral"])
    targets = torch.arange(8)
    whole, kept = task.augment(images, targets, config, torch.Generator().manual_seed(3), (slice(None), 8))
    assert whole.shape == (8, 2, 32, 32)
    assert torch.equal(kept, targets)
    for part in (slice(0, 3), slice(3, 8)):
        own, _ = task.augment(images[part], targets[part], config, torch.Generator().manual_seed(3), (part, 8))
        assert torch.allclose(own, whole[part], atol=1e-5)


@pytest.mark.parametrize("size", [32, 33, (40, 47), 96])
def test_any_size_comes_out_as_it_went_in(size):
    network = DenoiseArc(1, size, widths=(8, 8, 12), decoder_width=8)
    images = torch.randn(2, 1, *network.encoder.size)
    assert network(images).shape == images.shape


def test_vectors_do_not_depend_on_the_orientation():
    torch.manual_seed(0)
    encoder = DenoiseArc(1, 32, widths=(8, 8, 12)).encoder.eval()
    images = blobs(4) + noise(4)
    with torch.no_grad():
        first, turned = encoder(images), encoder(images.rot90(1, (-2, -1)).flip(-1))
    assert first.shape == (4, encoder.dimension)
    assert torch.allclose(first, turned, atol=1e-5)


def test_learning_finds_structure_without_ever_seeing_it():
    torch.manual_seed(0)
    task, network, config = Denoising(), DenoiseArc(1, 32, widths=(8, 16, 24), decoder_width=24), TrainConfig()
    optimizer, generator = torch.optim.AdamW(network.parameters(), 4e-3), torch.Generator().manual_seed(1)
    for step in range(120):
        copies, _ = task.augment(blobs(32, seed=step) + noise(32, seed=step), torch.zeros(32), config, generator, (slice(None), 32))
        optimizer.zero_grad()
        sum(task.losses(network.train(), copies, None)).backward()
        optimizer.step()
    structure = blobs(100, seed=999)
    with torch.no_grad():
        answers = task.predict(network.eval(), structure + noise(100, seed=999)).numpy()
        found = network(structure + noise(100, seed=999))
    assert task.summary(answers)[1][0] < 0.5
    assert float((found - structure).square().mean()) < 0.5 * float(structure.square().mean())


@pytest.mark.slow
def test_a_run_its_vectors_and_the_classifier_that_starts_from_it(tmp_path):
    quiet = {"device": "cpu", "log": lambda sentence: None}
    small = ["tiny=true", "model.options={widths: [8, 8, 12], decoder_width: 8}"]
    (run,) = execute(load("denoise-arc", small), tmp_path / "denoiser", **quiet)
    assert np.isfinite(run.metrics["unexplained_residual"]["value"])
    assert run.metrics["probe_labels"] > 0
    assert {"denoised.png", "history.png"} <= {figure["file"] for figure in run.figures}
    settings = [
        f"model.options.run={run.path}",
        "preprocess.input=residual",
        "preprocess.normalise=none",
        "preprocess.stretch=linear",
    ]
    (tuned,) = execute(load("model-iii-noisy-encoder", ["tiny=true", *settings]), tmp_path / "tuned", **quiet)
    assert tuned.model["options"]["encoder"] == "denoise-arc"
    before, after = (darklens_weights(one) for one in (run, tuned))
    assert before.keys() == after.keys()


def darklens_weights(run):
    from safetensors.torch import load_file

    return {key: value.shape for key, value in load_file(run.weights).items() if key.startswith("encoder.")}


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("preprocess.input=both", "splits noise that is known, that of a fitted residual"),
        ("preprocess.bin=2", "splits noise that is known, that of a fitted residual"),
        ("train.augment=[noise]", "which denoising does not do"),
        ("train.label_smoothing=0.1", "is about labels, and denoising learns without them"),
    ],
)
def test_settings_that_would_make_the_noise_unknown(tmp_path, setting, says):
    with pytest.raises(InputError, match=says):
        execute(load("denoise-arc", ["tiny=true", setting]), tmp_path / "run", device="cpu", log=lambda sentence: None)


def test_an_encoder_of_residuals_makes_no_images_sharper(tmp_path):
    from darklens.models.encoder_super_resolution import EncoderSuperResolution

    with pytest.raises(InputError, match="sees residuals, not images"):
        EncoderSuperResolution(1, encoder="denoise-arc")


def test_a_frozen_encoder_keeps_its_batch_norms():
    from darklens.models import build

    network = build("encoder", bands=1, classes=3, size=(32, 32), encoder="denoise-arc", frozen=True, weights="random").train()
    before = {key: value.clone() for key, value in network.encoder.state_dict().items()}
    network(noise(8))
    assert all(torch.equal(value, before[key]) for key, value in network.encoder.state_dict().items())
