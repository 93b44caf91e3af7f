import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from darklens.errors import InputError, WorkError
from darklens.models import build
from darklens.runs import Run
from darklens.train import checkpoint
from darklens.train.augment import augment
from darklens.train.classification import Classification
from darklens.train.config import Preprocess, TrainConfig
from darklens.train.ema import MovingAverage
from darklens.train.image_set import ImageSet
from darklens.train.loop import Training
from darklens.train.optim import Schedule, optimizer
from darklens.train.preprocess import check, prepare

CLASSES = ("left", "right")
TASK = Classification(CLASSES, {})


def blobs(n=64, seed=0, size=32):
    """Images with a blob on the left or on the right: anything that learns, learns this."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    y, x = np.mgrid[:size, :size]
    centre = np.where(labels == 0, size * 0.3, size * 0.7)[:, None, None] + rng.normal(0, 1, (n, 1, 1))
    images = np.exp(-((x - centre) ** 2 + (y - size / 2) ** 2) / 20) + 0.05 * rng.normal(size=(n, size, size))
    return ImageSet(images[:, None].astype(np.float32), labels, np.arange(n).astype(str).astype(object), CLASSES)


def training(path, model="arcnet", size=32, **settings):
    """A training of a network with batch statistics and dropout; a small one, for what is tested here is the loop."""
    config = TrainConfig(**({"epochs": 3, "batch_size": 16, "precision": "float32", "augment": ["shift"], "lr": 3e-3} | settings))
    network = build(model, classes=2, size=size, seed=1)
    run = Run.create(path, {"name": "x"})
    sets = blobs(size=size), blobs(32, 1, size)
    return Training(run, network, TASK, *sets, config, Preprocess(), device="cpu", log=lambda s: None)


def test_it_learns_and_keeps_best_last_and_history(tmp_path):
    state = training(tmp_path / "run", model="cnn", size=64, epochs=10, ema=0.8, lr=2e-3).fit()
    assert state["best"]["val_accuracy"] > 0.95
    run = Run.open(tmp_path / "run")
    assert [row["epoch"] for row in run.history] == list(range(1, 11))
    assert run.weights.is_file()
    assert (run.path / "last.safetensors").is_file()


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "adamw", "schedule": "onecycle"},
        {"optimizer": "adam", "schedule": "plateau", "patience": 0, "ema": None},
        pytest.param({"optimizer": "sgd", "schedule": "exponential", "label_smoothing": 0.1}, marks=pytest.mark.slow),
        {"schedule": "cosine", "augment": ["dihedral", "shift"], "clip": None},
    ],
)
def test_resumed_is_bitwise_uninterrupted(tmp_path, settings):
    whole = training(tmp_path / "whole", **settings)
    whole.fit()
    part = training(tmp_path / "part", **settings)
    log = part.log

    def stop_after_first(sentence):
        part.stopping = part.stopping or sentence.startswith("epoch 1/")
        log(sentence)

    part.log = stop_after_first
    assert part.fit()["interrupted"]
    resumed = training(tmp_path / "part", **settings)
    assert resumed.state["epoch"] == 1
    resumed.fit()
    for name in ("weights.safetensors", "last.safetensors"):
        a, b = (checkpoint.load_weights(tmp_path / p / name) for p in ("whole", "part"))
        assert all(torch.equal(a[k], b[k]) for k in a), name


@pytest.mark.slow
def test_killed_in_mid_epoch_and_resumed_is_bitwise_uninterrupted(tmp_path):
    recipe = [
        "--set",
        "tiny=true",
        "--set",
        "train.precision=float32",
        "--set",
        "train.epochs=3",
        "--set",
        "data.validation=12",
        "--set",
        "data.test=12",
        "--set",
        "model.name=cnn",
    ]

    def command(out):
        return [sys.executable, "-m", "darklens", "train", "model-iii-resnet18", *recipe, "--out", str(out)]

    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(command(tmp_path / "a" / "run"), check=True, capture_output=True, env=environment)
    process = subprocess.Popen(
        command(tmp_path / "b" / "run"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    history = tmp_path / "b" / "run" / "history.csv"
    deadline = time.monotonic() + 120
    while not history.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(
        [sys.executable, "-m", "darklens", "train", "--resume", str(tmp_path / "b" / "run")],
        check=True,
        capture_output=True,
        env=environment,
    )
    a, b = ((tmp_path / x / "run" / "weights.safetensors").read_bytes() for x in "ab")
    assert a == b
    left, right = (json.loads((tmp_path / x / "run" / "metrics.json").read_text()) for x in "ab")
    assert left == right


def test_a_loss_that_is_not_finite_ends_in_one_sentence_that_says_where(tmp_path):
    run = training(tmp_path / "run", clip=None)
    run.train_set.images[7] = np.inf
    with pytest.raises(WorkError, match=r"the loss became nan at epoch 1, step \d"):
        run.fit()


def test_early_stopping(tmp_path):
    run = training(tmp_path / "run", epochs=50, early_stopping=1, lr=1e-9, ema=None, schedule="constant")
    run.validation_set = blobs(32, 5)
    assert run.fit()["epoch"] < 50


def test_schedules_reach_what_they_promise():
    model = torch.nn.Linear(2, 2)
    config = TrainConfig(epochs=4, lr=0.1, schedule="onecycle", warmup=0.25)
    opt = optimizer(model, config)
    schedule = Schedule(opt, config, steps_per_epoch=10)
    rates = []
    for _ in range(40):
        rates.append(opt.param_groups[0]["lr"])
        opt.step()
        schedule.step()
    assert max(rates) == pytest.approx(0.1)
    assert rates.index(max(rates)) == 9
    assert rates[-1] < 1e-4


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.3), (2, 0.5), (10, 0.1), (4, 0.25), (3, 0.3)])
def test_onecycle_without_a_step_to_rise_over_begins_at_the_top(steps, warmup):
    config = TrainConfig(epochs=1, lr=0.1, schedule="onecycle", warmup=warmup)
    opt = optimizer(torch.nn.Linear(2, 2), config)
    schedule = Schedule(opt, config, steps)
    rates = []
    for _ in range(steps):
        rates.append(opt.param_groups[0]["lr"])
        opt.step()
        schedule.step()
    assert rates == sorted(rates, reverse=True)
    assert steps == 1 or rates[0] > 0.04
    assert rates[-1] < 1e-4


def test_exponential_schedule_decays_once_an_epoch():
    config = TrainConfig(epochs=4, lr=0.1, schedule="exponential", gamma=0.5)
    opt = optimizer(torch.nn.Linear(2, 2), config)
    schedule = Schedule(opt, config, 10)
    for _ in range(3):
        for _ in range(10):
            opt.step()
            schedule.step()
        schedule.epoch(1.0)
    assert opt.param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**3)


def test_augmentation_is_a_symmetry_and_reproducible():
    images = torch.rand(200, 1, 8, 8)
    kinds = ["dihedral"]
    first = augment(images, kinds, torch.Generator().manual_seed(1))
    assert torch.equal(first, augment(images, kinds, torch.Generator().manual_seed(1)))
    assert torch.equal(images.flatten(1).sort(1).values, first.flatten(1).sort(1).values)  # pixels move, none changes
    symmetries = [torch.rot90(v, k, (-2, -1)) for v in (images, images.flip(-1)) for k in range(4)]
    found = {next(i for i, s in enumerate(symmetries) if torch.equal(s[n], first[n])) for n in range(200)}
    assert found == set(range(8))


def test_shift_moves_by_whole_pixels():
    images = torch.rand(50, 2, 6, 9)
    moved = augment(images, ["shift"], torch.Generator().manual_seed(3), max_shift=2)
    for before, after in zip(images, moved, strict=True):
        assert any(torch.equal(before.roll((dy, dx), (-2, -1)), after) for dy in range(-2, 3) for dx in range(-2, 3))


def test_rotations_alone_never_mirror():
    image = torch.rand(1, 1, 6, 6).expand(100, -1, -1, -1)
    turned = augment(image, ["rotate90"], torch.Generator().manual_seed(3))
    allowed = [torch.rot90(image[0], k, (-2, -1)) for k in range(4)]
    found = [next(i for i, s in enumerate(allowed) if torch.equal(s, t)) for t in turned]
    assert set(found) == {0, 1, 2, 3}


def test_moving_average_against_its_formula():
    model = torch.nn.Linear(1, 1, bias=False)
    average = MovingAverage(model, 0.9)
    expected = model.weight.item()
    for step in range(1, 30):
        with torch.no_grad():
            model.weight.fill_(float(step))
        average.update(model)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.state["weight"].item() == pytest.approx(expected, rel=1e-5)


def test_normalisation():
    images = torch.rand(5, 2, 12, 12) * 7 - 2
    scaled = prepare(images, Preprocess())
    assert torch.allclose(scaled.amin((-2, -1)), torch.zeros(5, 2))
    assert torch.allclose(scaled.amax((-2, -1)), torch.ones(5, 2))
    standard = prepare(images, Preprocess(normalise="standard"))
    assert torch.allclose(standard.mean((-2, -1)), torch.zeros(5, 2), atol=1e-6)
    assert prepare(torch.full((1, 1, 4, 4), 3.0), Preprocess()).abs().max() == 0  # an image without contrast is no NaN
    assert prepare(images, Preprocess(crop=8)).shape == (5, 2, 8, 8)
    with pytest.raises(InputError, match="larger than the image"):
        prepare(images, Preprocess(crop=20))


@pytest.mark.parametrize(
    ("image", "match"),
    [
        (np.zeros((64, 60)), "64x60 pixels and the model was trained on 64x64"),
        (np.zeros((3, 64, 64)), "3 bands and the model was trained on 1"),
        (np.full((64, 64), np.nan), "4096 pixels that are not finite"),
        (np.zeros(64), "1 axes"),
    ],
)
def test_an_image_that_does_not_fit_is_refused_in_one_sentence(image, match):
    with pytest.raises(InputError, match=match):
        check(image, (1, 64, 64), "x.npy")


def test_unknown_classes_are_named():
    with pytest.raises(InputError, match="class 'vort' and this run knows left, right"):
        TASK.encode(np.array(["left", "vort"], dtype=object))
    assert TASK.with_group({"vort": "right"}).encode(np.array(["vort"], dtype=object)) == [1]


def test_a_single_logit_is_a_sigmoid():
    task = Classification(CLASSES, {}, single_logit=True)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 1))
    images, labels = torch.rand(6, 1, 2, 2), torch.tensor([0, 1, 1, 0, 1, 0])
    p = torch.softmax(task.predict(model, images), 1)[:, 1]
    assert torch.allclose(p, torch.sigmoid(model(images))[:, 0])
    assert task.loss(model, images, labels).item() == pytest.approx(
        torch.nn.functional.binary_cross_entropy(p, labels.float()).item(), rel=1e-5
    )
    with pytest.raises(InputError, match="needs 2 classes and the images have 3"):
        Classification(("a", "b", "c"), {}, single_logit=True)


def test_checkpoints_are_whole_or_refused(tmp_path):
    run = training(tmp_path / "run", epochs=1)
    run.fit()
    path = tmp_path / "run" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        checkpoint.load_weights(path)
