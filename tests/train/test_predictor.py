"""Answers of a run and of several: prediction sets, unusual images, symmetries, ensembles; on networks trained in seconds."""

import csv
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from darklens.api import ensemble, evaluate
from darklens.data import Record
from darklens.errors import InputError
from darklens.fit import plan_for
from darklens.fit.smooth import Effort
from darklens.models import build
from darklens.runs import Run
from darklens.simulate import preset
from darklens.train import evaluation
from darklens.train.answers import softmax
from darklens.train.checkpoint import save_weights
from darklens.train.classification import Classification
from darklens.train.config import Preprocess
from darklens.train.ensemble import Ensemble
from darklens.train.evaluation import calibrate, evaluate_test, learn_novelty
from darklens.train.image_set import ImageSet
from darklens.train.prediction_file import predict_path
from darklens.train.predictor import Predictor

CLASSES = ("left", "right")
SIZE = 32


def blobs(n, seed, noise=0.35, size=SIZE):
    """Faint blobs on the left or on the right, near enough to the middle that some cannot be told."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    y, x = np.mgrid[:size, :size]
    centre = np.where(labels == 0, size * 0.42, size * 0.58)[:, None, None] + rng.normal(0, 1.5, (n, 1, 1))
    images = np.exp(-((x - centre) ** 2 + (y - size / 2) ** 2) / 20) + noise * rng.normal(size=(n, size, size))
    return ImageSet(images[:, None].astype(np.float32), labels, np.arange(n).astype(str).astype(object), CLASSES)


def described(path, seed=0, **changes):
    """Begin a run by hand, with fresh weights."""
    run = Run.create(path, {"name": "blobs", "seed": seed})
    about = {
        "name": "cnn",
        "options": {},
        "seed": seed,
        "classes": list(CLASSES),
        "group": {},
        "single_logit": False,
        "shape": [1, SIZE, SIZE],
        "pixel_scale": 1.0,
        "flux_unit": "counts",
        "preprocess": Preprocess(normalise="none").model_dump(),
    } | changes
    run.write("model", about)
    network = build("cnn", classes=len(about["classes"]), size=about["shape"][1], seed=seed, **about["options"])
    save_weights(run.path / "weights.safetensors", network.state_dict())
    run.write("data", {"splits": {name: {"checksum": name} for name in ("train", "validation", "test")}})
    run.write_history([{"epoch": 1, "train_loss": 1.0, "val_loss": 1.0, "val_accuracy": 0.5, "lr": 1e-3, "seconds": 1.0}])
    return run


def teach(run, train, seed, steps=60):
    """Train the weights of a run for some seconds."""
    predictor = Predictor(run, "cpu")
    network, rng = predictor.model.train(), np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3)
    torch.manual_seed(seed)
    for _ in range(steps):
        images, labels = train.batch(rng.integers(0, len(train), 64))
        optimiser.zero_grad()
        predictor.task.loss(network, images, labels).backward()
        optimiser.step()
    save_weights(run.weights, network.state_dict())


@pytest.fixture(scope="module")
def sets():
    return SimpleNamespace(train=blobs(512, 0), validation=blobs(800, 1), test=blobs(800, 2))


@pytest.fixture(scope="module")
def runs(tmp_path_factory, sets):
    folder, found = tmp_path_factory.mktemp("runs"), []
    for seed in (0, 1):
        run = described(folder / f"seed-{seed}", seed)
        teach(run, sets.train, seed)
        predictor = Predictor(run, "cpu")
        calibrate(predictor, sets.validation)
        learn_novelty(predictor, sets.train, sets.validation)
        found.append(run)
    return found


def tree(path, images, n=40):
    for i in range(n):
        folder = path / CLASSES[int(images.labels[i])]
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{i}.npy", images.images[i, 0])
    return path


def test_sets_and_false_alarms_are_what_was_promised(runs, sets):
    answers = Predictor(runs[0], "cpu", coverage=0.95).answers_of(sets.test)
    accuracy = (answers.probabilities.argmax(1) == sets.test.labels).mean()
    assert 0.75 < accuracy < 0.95  # so that sets of one class cannot be enough
    held = answers.sets[np.arange(800), sets.test.labels].mean()
    assert 0.95 - 4 * np.sqrt(2 * 0.95 * 0.05 / 800) < held < 0.95 + 4 * np.sqrt(2 * 0.95 * 0.05 / 800)
    assert 1 < answers.sets.sum(1).mean() < 2
    assert answers.unusual.flags.mean() < 0.01 + 4 * np.sqrt(2 * 0.01 / 800)


def test_images_of_another_kind_are_flagged_with_the_reason(runs):
    other = blobs(100, 5)
    images = other.images[:, :, ::-1].copy() + np.linspace(0, 6, SIZE, dtype=np.float32)  # a gradient of the sky
    found = Predictor(runs[0], "cpu").answers(images).unusual
    assert found.flags.mean() > 0.9
    assert all(why.startswith("features ") for why, flag in zip(found.because, found.flags, strict=True) if flag)
    assert all(why == "" for why, flag in zip(found.because, found.flags, strict=True) if not flag)


def test_the_test_split_says_what_became_of_the_promises(runs, sets, tmp_path, monkeypatch):
    for name in ("save_classification_figures", "save_training_figures"):
        monkeypatch.setattr(evaluation, name, lambda *a, **k: None)  # they have tests of their own
    run = described(tmp_path / "run")
    save_weights(run.weights, Predictor(runs[0], "cpu").model.state_dict())
    predictor = Predictor(run, "cpu")
    calibrate(predictor, sets.validation)
    learn_novelty(predictor, sets.train, sets.validation)
    metrics = evaluate_test(predictor, sets.test, {"splits": run.data["splits"]})
    assert metrics["conformal"]["asked"] == 0.9
    assert metrics["conformal"]["coverage"]["low"] < 0.9 + 0.03
    assert metrics["unusual"]["n"] == 800
    assert metrics["unusual"]["low"] <= metrics["unusual"]["value"] < 0.04
    thresholds = run.calibration["conformal"]["thresholds"]
    assert thresholds["0.5"] <= thresholds["0.9"] <= thresholds["0.99"]
    assert thresholds["0.9"] == pytest.approx(Predictor(run, "cpu").threshold)


def test_a_run_of_an_older_version_answers_without_sets_and_flags(runs, tmp_path):
    old = described(tmp_path / "old")
    answers = Predictor(old, "cpu").answers(blobs(3, 0).images)
    assert answers.sets is None
    assert answers.unusual is None
    with pytest.raises(InputError, match="kept no answers on validation images"):
        ensemble([old.path], device="cpu", coverage=0.8)
    with pytest.raises(InputError, match=r"coverage 1.5 is outside 0 to 1"):
        ensemble([runs[0]], device="cpu", coverage=1.5)


def test_symmetries_are_the_mean_of_the_logits_of_eight_turns(runs):
    images = blobs(5, 9).images
    plain, mean = (Predictor(runs[0], "cpu", symmetries=s) for s in (None, True))
    turned = [np.rot90(v, k, (2, 3)) for v in (images, images[..., ::-1]) for k in range(4)]
    expected = np.mean([plain.logits(np.ascontiguousarray(v)) for v in turned], axis=0)
    assert np.allclose(mean.logits(images), expected, atol=1e-5)
    assert not np.allclose(mean.logits(images), plain.logits(images), atol=1e-3)
    for view in turned:
        assert np.allclose(mean.logits(np.ascontiguousarray(view)), expected, atol=1e-4)
    assert mean.evaluation("x").name == "x-symmetries"


def test_a_run_trained_for_symmetries_keeps_to_them(tmp_path):
    run = described(tmp_path / "run", symmetries=True)
    assert Predictor(run, "cpu").symmetries
    assert not Predictor(run, "cpu", symmetries=False).symmetries


def test_an_ensemble_is_the_mean_and_says_where_members_disagree(runs, sets):
    members = [Predictor(run, "cpu") for run in runs]
    together = Ensemble(members)
    answers = together.answers_of(sets.test)
    each = np.stack([m.answers_of(sets.test).probabilities for m in members])
    mean = each.mean(0)
    assert np.allclose(answers.probabilities, softmax(np.log(mean) / together.temperature), atol=1e-12)
    assert 0.5 < together.temperature < 2

    def entropy(p):
        return -(p * np.log(p)).sum(-1)

    assert np.allclose(answers.disagreement, entropy(mean) - entropy(each).mean(0), atol=1e-9)
    assert answers.disagreement.max() > 1e-3
    loss = [-np.log(p[np.arange(800), sets.test.labels]).mean() for p in (*each, answers.probabilities)]
    assert loss[2] < np.mean(loss[:2])
    held = answers.sets[np.arange(800), sets.test.labels].mean()
    assert held > 0.9 - 4 * np.sqrt(2 * 0.9 * 0.1 / 800)
    assert answers.unusual.flags.mean() < 0.03


def test_one_network_twice_is_that_network(runs, sets):
    alone = Predictor(runs[0], "cpu")
    twice = ensemble([runs[0].path, runs[0].path], device="cpu").answers_of(sets.test)
    assert np.allclose(twice.probabilities, alone.answers_of(sets.test).probabilities, atol=2e-3)  # its temperature was fitted
    assert twice.disagreement.max() < 1e-9
    assert np.array_equal(twice.unusual.flags, alone.answers_of(sets.test).unusual.flags)


def test_members_that_do_not_fit_together_are_one_sentence(runs, tmp_path):
    other = described(tmp_path / "other", classes=["right", "left"])
    with pytest.raises(InputError, match=r"has classes left, right and .* right, left: give runs that share classes"):
        ensemble([runs[0], other], device="cpu")
    larger = described(tmp_path / "larger", shape=[1, 64, 64])
    with pytest.raises(InputError, match=r"has shape 1x32x32 and .* 1x64x64"):
        ensemble([runs[0], larger], device="cpu")
    with pytest.raises(InputError, match="needs at least 2"):
        Ensemble([Predictor(runs[0], "cpu")])


def test_columns_of_a_prediction_file(runs, tmp_path):
    images = blobs(40, 11)
    images.images[:5] += 30 * np.linspace(0, 1, SIZE, dtype=np.float32)
    folder = tree(tmp_path / "tree", images)
    content = predict_path(Ensemble([Predictor(run, "cpu") for run in runs]), folder, tmp_path / "p.csv", collect=True)
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "source", "predicted", *CLASSES, "set", "unusual", "unusual_because", "disagreement"]
    strange = {f"{i}" for i in range(5)}
    flagged = {r["id"].rsplit("/", 1)[-1].removesuffix(".npy").split("-")[-1] for r in rows if r["unusual"] == "1"}
    assert strange <= flagged
    assert all(("features" in r["unusual_because"]) == (r["unusual"] == "1") for r in rows)
    assert {r["set"] for r in rows} <= {"left", "right", "left|right"}
    assert all(r["predicted"] in r["set"].split("|") for r in rows)
    assert content["unusual"]["n"] == 40
    assert content["unusual"]["value"] == len(flagged) / 40
    assert json.loads(json.dumps(content["predictions"][0]))["unusual"] in (0, 1)
    predict_path(Predictor(runs[0], "cpu"), folder, tmp_path / "p.parquet")
    import pyarrow.parquet as pq

    assert pq.read_table(tmp_path / "p.parquet").column_names == [*list(rows[0])[:-1]]


def test_the_stream_is_flat_and_agrees_with_the_whole(runs, sets):
    predictor = Predictor(runs[0], "cpu")
    drawn = []

    def stream():
        for i in range(600):
            drawn.append(i)
            yield Record(id=str(i), image=sets.test.images[i])

    parts = predictor.answer(stream())
    first = next(parts)[1]
    assert len(first.probabilities) == 256
    assert len(drawn) == 256
    rest = [answers for _, answers in parts]
    together = np.concatenate([first.probabilities, *(a.probabilities for a in rest)])
    assert np.allclose(together, predictor.probabilities(sets.test.images[:600]), atol=1e-6)


def test_an_ensemble_and_another_folder_are_evaluated(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "save_classification_figures", lambda *a, **k: None)  # they have tests of their own
    monkeypatch.chdir(tmp_path)
    folder = tree(tmp_path / "tree", blobs(40, 12))
    metrics = evaluate([run.path for run in runs], folder, device="cpu")
    assert metrics["unusual"]["n"] == 40
    assert (tmp_path / "evaluations" / "seed-0+seed-1" / "tree" / "metrics.json").is_file()
    again = evaluate(runs[0].path, folder, out=tmp_path / "elsewhere", coverage=0.7, device="cpu")
    assert (tmp_path / "elsewhere" / "predictions.parquet").is_file()
    assert again["conformal"]["asked"] == 0.7
    assert not runs[0].evaluations


@pytest.fixture(scope="module")
def residual(tmp_path_factory):
    """A run that sees residuals of a smooth fit, with fresh weights: what is judged here is the fit."""
    plan, chosen = replace(plan_for("model-iii-noisy"), effort=Effort(2, 12, 12, 0)), preset("model-iii-noisy")
    images = {name: chosen.images(chosen.population.draw(n, seed))[0] for seed, (name, n) in enumerate((("a", 60), ("b", 60)))}
    settings = Preprocess(input="residual", normalise="none")
    labels = np.arange(60) % 2
    fits = {name: plan.fit(array) for name, array in images.items()}
    sets = {
        name: ImageSet(
            array,
            labels,
            labels.astype(str).astype(object),
            CLASSES,
            {"residual": fits[name].residual[:, None].astype(np.float32), "chi2": fits[name].chi2},
        )
        for name, array in images.items()
    }
    run = described(
        tmp_path_factory.mktemp("residual") / "run",
        shape=[1, *chosen.shape],
        pixel_scale=plan.pixel_scale,
        preprocess=settings.model_dump(),
        fit=plan.as_dict(),
    )
    predictor = Predictor(run, "cpu")
    calibrate(predictor, sets["b"])
    learn_novelty(predictor, sets["a"], sets["b"])
    return run, sets, chosen


def test_a_fit_that_is_kept_and_a_fit_that_is_made_say_the_same(residual):
    run, sets, _ = residual
    predictor = Predictor(run, "cpu")
    few = sets["b"].take(np.arange(20))
    kept, made = predictor.answers_of(few), predictor.answers(few.images)
    assert np.allclose(kept.probabilities, made.probabilities, atol=1e-5)
    assert np.array_equal(kept.unusual.flags, made.unusual.flags)


def test_a_fit_that_leaves_too_much_or_too_little_is_flagged(residual):
    run, sets, _ = residual
    predictor = Predictor(run, "cpu")
    assert set(run.novelty["thresholds"]) == {"fit_high", "fit_low", "features"}
    images = sets["b"].images[:12]
    noisy = images + np.random.default_rng(0).normal(0, images.std() * 0.5, images.shape).astype(np.float32)
    found = predictor.answers(noisy).unusual
    assert found.flags.all()
    assert all("fit chi2" in why and ">" in why for why in found.because)
    found = predictor.answers(predictor.plan.fit(images).model[:, None].astype(np.float32)).unusual  # images without noise
    assert found.beyond["fit_low"].mean() > 0.8
    assert all("fit chi2" in why and "<" in why for why, low in zip(found.because, found.beyond["fit_low"], strict=True) if low)


def test_members_that_see_the_same_share_its_fit(residual, monkeypatch):
    run, sets, _ = residual
    members = [Predictor(run, "cpu") for _ in range(3)]
    counted = []
    fit = type(members[0].plan).fit
    monkeypatch.setattr(type(members[0].plan), "fit", lambda self, *a, **k: counted.append(1) or fit(self, *a, **k))
    Ensemble(members).answers(sets["b"].images[:4])
    assert len(counted) == 1


def test_the_task_of_an_ensemble_knows_the_labels(runs):
    assert isinstance(Ensemble([Predictor(run, "cpu") for run in runs]).task, Classification)
