import numpy as np
import pytest
import torch
from torch import nn

from darklens.errors import InputError
from darklens.runs import Run
from darklens.train import budget, checkpoint
from darklens.train.classification import Classification
from darklens.train.config import Preprocess, TrainConfig
from darklens.train.image_set import ImageSet
from darklens.train.loop import Training

CLASSES = ("left", "right")


def images(n, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    pixels = rng.normal(size=(n, 1, 8, 8)) + labels[:, None, None, None]
    return ImageSet(pixels.astype(np.float32), labels, np.arange(n).astype(str).astype(object), CLASSES)


def training(path, budget_s=None, epochs=50):
    torch.manual_seed(0)
    model, said = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), []
    config = TrainConfig(epochs=epochs, batch_size=8, precision="float32", augment=["shift"])
    run, task = Run.create(path, {"name": "x"}), Classification(CLASSES, {})
    made = Training(
        run, model, task, images(64, 0), images(16, 1), config, Preprocess(), device="cpu", budget_s=budget_s, log=said.append
    )
    made.said = said
    return made


def slow(monkeypatch, seconds):
    """Make a clock that only training steps move on."""
    clock = [0.0]
    monkeypatch.setattr("darklens.train.loop.time.perf_counter", lambda: clock[0])
    step = Training._step

    def timed(self, *arguments):
        clock[0] += seconds
        return step(self, *arguments)

    monkeypatch.setattr(Training, "_step", timed)
    return clock


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("30min", 1800), ("2h", 7200), ("1h30m", 5400), ("0.5h", 1800), (45, 45)]
)
def test_durations(text, seconds):
    assert budget.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5m", "0s", "m30", "1.2.3s", "inf"])
def test_what_is_no_duration_is_refused_in_one_sentence(text):
    with pytest.raises(InputError, match="is no duration: write for example 90s, 30m or 2h"):
        budget.duration(text)


def test_what_fits_is_planned():
    whole = budget.cut(1000, 10, 1.0, 5.0, epochs=150, steps=80)  # 900 - 10 seconds for epochs of 85
    assert (whole.epochs, whole.steps) == (10, 80)
    assert whole.sentence == "budget 16.67 min: 10 of 150 epochs"
    assert budget.cut(1e6, 10, 1.0, 5.0, epochs=150, steps=80).epochs == 150
    part = budget.cut(60, 10, 1.0, 5.0, epochs=150, steps=80)
    assert (part.epochs, part.steps) == (1, 39)
    assert part.sentence == "budget 60 s: 1 of 150 epochs, shortened to 39 of 80 steps: less than one epoch fits"
    assert budget.cut(1, 10, 1.0, 5.0, epochs=150, steps=80).steps == 1  # at least something


def test_a_budget_cuts_epochs_and_schedule_and_the_training_ends_in_time(tmp_path, monkeypatch):
    clock = slow(monkeypatch, 1.0)
    made = training(tmp_path / "run", budget_s=200.0)
    state = made.fit()
    assert 160 < clock[0] <= 200  # the budget is used, measurement included, and kept
    assert state["epoch"] == made.plan.epochs < 50
    assert made.said[0] == f"budget 3.333 min: {state['epoch']} of 50 epochs"
    history = Run.open(tmp_path / "run").history
    assert history[-1]["lr"] < 0.3 * max(row["lr"] for row in history)  # the schedule came down
    assert {row["budget_s"] for row in history} == {200.0}
    assert {row["epochs"] for row in history} == {state["epoch"]}


def test_a_budget_below_an_epoch_shortens_it_and_says_so(tmp_path, monkeypatch):
    clock = slow(monkeypatch, 10.0)
    made = training(tmp_path / "run", budget_s=80.0)
    assert made.fit()["epoch"] == 1
    assert made.steps < 8
    assert clock[0] <= 80
    assert "less than one epoch fits" in made.said[0]


def test_measuring_leaves_no_trace_in_the_training(tmp_path):
    training(tmp_path / "plain", epochs=2).fit()
    made = training(tmp_path / "budget", budget_s=3600.0, epochs=2)
    made.fit()
    assert made.said[0] == "budget 60 min: 2 of 2 epochs"
    a, b = (checkpoint.load_weights(tmp_path / x / "last.safetensors") for x in ("plain", "budget"))
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_a_resumed_training_keeps_the_decision(tmp_path, monkeypatch):
    slow(monkeypatch, 1.0)
    whole = training(tmp_path / "whole", budget_s=100.0)
    whole.fit()
    part = training(tmp_path / "part", budget_s=100.0)
    part.after_epoch = lambda row: row["epoch"] == 2
    assert part.fit()["epoch"] == 2
    monkeypatch.setattr("darklens.train.budget.cut", lambda *a, **k: pytest.fail("measured again"))
    for again in (None, 7.0):  # with the budget left out, or another one
        resumed = training(tmp_path / "part", budget_s=again)
        assert resumed.plan == whole.plan
    assert resumed.fit()["epoch"] == whole.plan.epochs
    a, b = (checkpoint.load_weights(tmp_path / x / "last.safetensors") for x in ("whole", "part"))
    assert all(torch.equal(a[k], b[k]) for k in a)
