import numpy as np
import pytest
import torch
from torch.nn import functional

from darklens.errors import InputError
from darklens.models import build
from darklens.runs import Run
from darklens.train import checkpoint
from darklens.train.augment_pixels import cutmix
from darklens.train.classification import Classification
from darklens.train.config import Preprocess, TrainConfig
from darklens.train.image_set import ImageSet
from darklens.train.imbalance import BALANCING, Imbalance, imbalance_of, prevalence_offsets
from darklens.train.loop import Training

COUNTS = (90, 10)
LOGITS = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
LABELS = (torch.arange(40) % 4 == 0).long()
KINDS = ("weighted", "focal", "logit-adjusted", "balanced-sampling")


class Fixed(torch.nn.Module):
    """Answers what it was given, whatever it sees."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(logits)

    def forward(self, images):
        return self.logits[: len(images)]


def loss(imbalance, logits=LOGITS, labels=LABELS):
    return imbalance.loss(logits, functional.one_hot(labels, logits.shape[1]).float())


def test_weights_are_those_of_balanced_classes():
    expected = functional.cross_entropy(LOGITS, LABELS, reduction="none") * torch.tensor([100 / 180, 100 / 20])[LABELS]
    assert loss(Imbalance("weighted", COUNTS)) == pytest.approx(float(expected.mean()), rel=1e-6)


def test_focal_loss_is_the_published_one_and_plain_without_exponent():
    p = torch.softmax(LOGITS, 1)[torch.arange(40), LABELS]
    assert loss(Imbalance("focal", COUNTS, 2.0)) == pytest.approx(float((-((1 - p) ** 2) * p.log()).mean()), rel=1e-5)
    assert loss(Imbalance("focal", COUNTS, 0.0)) == pytest.approx(float(functional.cross_entropy(LOGITS, LABELS)), rel=1e-6)


def test_logit_adjustment_adds_the_logarithm_of_the_prior():
    shifted = LOGITS + torch.tensor([0.9, 0.1]).log()
    assert loss(Imbalance("logit-adjusted", COUNTS)) == pytest.approx(float(functional.cross_entropy(shifted, LABELS)), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_one_logit_learns_what_two_learn(kind):
    images = torch.zeros(40, 1)
    one = Classification(("nonlens", "lens"), {}, single_logit=True, imbalance=Imbalance(kind, COUNTS))
    two = Classification(("nonlens", "lens"), {}, imbalance=Imbalance(kind, COUNTS))
    single, double = Fixed(LOGITS[:, 1:] - LOGITS[:, :1]), Fixed(LOGITS)
    assert float(one.loss(single, images, LABELS).detach()) == pytest.approx(
        float(two.loss(double, images, LABELS).detach()), rel=1e-5
    )
    p, q = (torch.softmax(task.predict(m, images), 1) for task, m in ((one, single), (two, double)))
    assert torch.allclose(p, q, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_in_parts_has_the_loss_of_the_whole(kind):
    imbalance = Imbalance(kind, COUNTS)
    parts = [loss(imbalance, LOGITS[s], LABELS[s]) * len(LABELS[s]) for s in (slice(0, 7), slice(7, 40))]
    assert sum(parts) / 40 == pytest.approx(float(loss(imbalance)), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_constant_answer_has_the_ratio_of_the_training_images(kind):
    """A network that sees nothing: whatever the loss makes of the ratio, its probabilities are those of the training images."""
    labels = np.repeat([0, 1], COUNTS)
    task = Classification(("nonlens", "lens"), {}, single_logit=True, imbalance=Imbalance(kind, COUNTS, gamma=0.0))
    order = task.order(type("Images", (), {"labels": labels, "__len__": lambda self: 100})(), torch.Generator().manual_seed(0))
    target = torch.from_numpy(labels[order])
    answer = torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.LBFGS([answer], max_iter=50)

    def step():
        optimiser.zero_grad()
        value = task.loss(lambda images: answer.expand(len(images), 1), torch.zeros(len(target), 1), target)
        value.backward()
        return value

    optimiser.step(step)
    p = torch.softmax(task.predict(lambda images: answer[None].detach(), torch.zeros(1, 1)), 1)[0, 1]
    assert float(p) == pytest.approx(0.1, abs=2e-3)


def test_sampling_is_balanced_and_shows_every_rare_image_equally_often():
    labels = np.repeat([0, 1], COUNTS)
    orders = [Imbalance("balanced-sampling", COUNTS).order(labels, torch.Generator().manual_seed(k)) for k in (0, 0, 1)]
    assert np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])
    assert (labels[orders[0]] == 1).sum() == 50
    assert len(orders[0]) == 100
    rare, often = np.unique(orders[0][labels[orders[0]] == 1], return_counts=True)
    assert (len(rare), set(often)) == (10, {5})
    assert len(np.unique(orders[0][labels[orders[0]] == 0])) == 50  # none twice
    assert 0.3 < (labels[orders[0][:50]] == 1).mean() < 0.7  # mixed


def test_only_what_balances_is_taken_back():
    for kind in KINDS:
        offsets = Imbalance(kind, COUNTS).offsets
        assert offsets == (pytest.approx(np.log([1.8, 0.2])) if kind in BALANCING else ())


def test_prevalence_follows_bayes():
    p = np.array([0.2, 0.8])
    shifted = np.exp(np.log(p) + prevalence_offsets({"nonlens": 0.9, "lens": 0.1}, 0.001))
    odds = 0.8 / 0.2 * (0.001 / 0.999) / (0.1 / 0.9)
    assert shifted[1] / shifted[0] == pytest.approx(odds)
    assert prevalence_offsets({"nonlens": 0.9, "lens": 0.1}, 0.1) == pytest.approx([0, 0])


@pytest.mark.parametrize(
    ("prior", "value", "says"),
    [
        ({"a": 0.5, "b": 0.5}, 0.0, "prevalence 0.0 is outside"),
        ({"a": 0.5, "b": 0.5}, 1.0, "fraction of b"),
        ({"a": 0.2, "b": 0.3, "c": 0.5}, 0.1, "has 3"),
    ],
)
def test_a_prevalence_that_makes_no_sense_is_refused(prior, value, says):
    with pytest.raises(InputError, match=says):
        prevalence_offsets(prior, value)


@pytest.mark.parametrize("kind", ["none", *KINDS])
def test_a_class_without_training_images_is_refused_with_the_counts(kind):
    with pytest.raises(InputError, match=r"'lens' has 0 training images \(beside 28,675 of nonlens\)"):
        imbalance_of(kind, {"nonlens": 28_675, "lens": 0})


def test_mixed_labels_are_learned_by_their_parts():
    task = Classification(("nonlens", "lens"), {}, single_logit=True)
    model, mixed = Fixed(torch.tensor([[0.7]])), torch.tensor([[0.25, 0.75]])
    expected = 0.75 * task.loss(model, torch.zeros(1, 1), torch.tensor([1])) + 0.25 * task.loss(
        model, torch.zeros(1, 1), torch.tensor([0])
    )
    assert float(task.loss(model, torch.zeros(1, 1), mixed).detach()) == pytest.approx(float(expected.detach()), rel=1e-6)


def spots(n=40, seed=0, size=32):
    """Few images with a spot, many without, in three bands."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 5 == 0).astype(np.int64)
    y, x = np.mgrid[:size, :size]
    spot = np.exp(-((x - size / 3) ** 2 + (y - size / 2) ** 2) / 20)
    images = labels[:, None, None, None] * spot + 0.1 * rng.normal(size=(n, 3, size, size))
    return ImageSet(images.astype(np.float32), labels, np.arange(n).astype(str).astype(object), ("nonlens", "lens"))


def training(path, kind, **settings):
    asked = {"epochs": 3, "batch_size": 8, "precision": "float32", "lr": 3e-3, "imbalance": kind, "task": "binary"}
    config = TrainConfig(**(asked | {"augment": ["dihedral", "shift", "blur", "colour", "noise", "cutmix"]} | settings))
    train = spots()
    task = Classification(train.classes, {}, single_logit=True, imbalance=imbalance_of(kind, train.counts))
    network = build("p4m-resnet", bands=3, classes=1, size=32, widths=(2, 2), seed=1)
    run = Run.create(path, {"name": "x"})
    return Training(run, network, task, train, spots(20, 1), config, Preprocess(), device="cpu", log=lambda s: None)


@pytest.mark.parametrize("kind", ["balanced-sampling", "logit-adjusted"])
def test_resumed_is_bitwise_uninterrupted(tmp_path, kind):
    training(tmp_path / "whole", kind).fit()
    part = training(tmp_path / "part", kind)
    part.after_epoch = lambda row: row["epoch"] == 1
    part.fit()
    resumed = training(tmp_path / "part", kind)
    assert resumed.state["epoch"] == 1
    resumed.fit()
    a, b = (checkpoint.load_weights(tmp_path / name / "last.safetensors") for name in ("whole", "part"))
    assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("kind", KINDS)
def test_parts_of_a_batch_take_the_step_of_the_whole(tmp_path, kind):
    """Without batch statistics, which are those of a part, the gradients of parts add up to those of the batch."""
    found = []
    for parts in (1, 4):
        one = training(tmp_path / str(parts), kind, accumulate=parts, clip=None)
        one.model.eval()
        images, labels = one.train_set.batch(np.arange(8))
        images, labels = cutmix(images, labels, 2, torch.Generator().manual_seed(0), (slice(None), 8))
        one._gradients(images, labels)
        found.append(torch.cat([p.grad.flatten() for p in one.raw.parameters()]))
    assert torch.allclose(*found, atol=1e-6)
    assert found[0].abs().max() > 1e-3
