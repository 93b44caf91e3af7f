"""The recipes of lens finding, on a small copy of the official folders."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

import darklens
from darklens.errors import InputError
from darklens.recipes import load, names
from darklens.train.deciding import Deciding
from darklens.train.predictor import Predictor

RECIPES = ("lens-finding", "lens-finding-cnn", "lens-finding-resnet18")
FAST = ["train.epochs=2", "train.batch_size=32", "train.precision=float32"]


def write_official(root: Path, lenses: int = 24, others: int = 120, size: int = 64) -> Path:
    """Lay out {train,test}_{lenses,nonlenses}: galaxies, some with a bluer companion on either side."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    galaxy = np.exp(-np.hypot(x, y) / 4)
    for split, share in (("train", 1.0), ("test", 0.5)):
        for name, count in (("lenses", lenses), ("nonlenses", others)):
            folder = root / f"{split}_{name}"
            folder.mkdir(parents=True)
            for i in range(int(count * share)):
                angle = rng.uniform(0, np.pi)
                arcs = [np.exp(-((x - s * 9 * np.cos(angle)) ** 2 + (y - s * 9 * np.sin(angle)) ** 2) / 6) for s in (1, -1)]
                bands = [galaxy + (name == "lenses") * blue * sum(arcs) for blue in (0.9, 0.5, 0.1)]
                image = np.stack(bands) + rng.normal(0, 0.02, (3, size, size))
                image -= image.min((1, 2), keepdims=True)
                np.save(folder / f"{i}.npy", (image / image.max((1, 2), keepdims=True)).astype(np.float32))
    return root


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    return write_official(tmp_path_factory.mktemp("official"))


@pytest.fixture(scope="module")
def run(official, tmp_path_factory):
    settings = [*FAST, "data.seed=3", "train.cost_fn=10", "train.lr=0.01"]
    out = tmp_path_factory.mktemp("runs") / "lens-finding"
    return darklens.train("lens-finding", data=official, set=settings, out=out, device="cpu", log=lambda sentence: None)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_name_the_official_folders_and_their_numbers(name):
    recipe = load(name)
    assert name in names()
    assert recipe.data.positives.model_dump() == {"train": 1730, "validation": 250, "test": 195}
    assert (recipe.data.train, recipe.data.test) == (1730 + 28_675, 195 + 19_455)
    assert recipe.train.task == "binary"
    assert "{train,test}_{lenses,nonlenses}" in recipe.official


def test_published_settings_are_those_published():
    recipe = load("lens-finding-cnn")
    settings = recipe.train
    assert (settings.optimizer, settings.lr, settings.weight_decay, settings.epochs) == ("adam", 1e-3, 1e-4, 20)
    assert (settings.schedule, settings.gamma, settings.patience, settings.imbalance) == ("plateau", 0.5, 3, "weighted")
    assert recipe.model.options == {"blocks": 3}


@pytest.mark.slow
def test_the_official_folders_are_trained_on_by_their_splits(run):
    counts = {name: split["counts"] for name, split in run.data["splits"].items()}
    assert counts["test"] == {"nonlens": 60, "lens": 12}
    assert counts["train"]["lens"] + counts["validation"]["lens"] == 24
    assert run.classes == ("nonlens", "lens")
    prior = counts["train"]["lens"] / sum(counts["train"].values())
    assert run.model["prior"]["lens"] == pytest.approx(prior)
    assert run.model["offsets"] == pytest.approx(np.log([2 * (1 - prior), 2 * prior]))


def test_metrics_have_the_figures_of_a_search(run):
    search = json.loads((run.path / "metrics.json").read_text())["search"]
    assert (search["n_positives"], search["n_negatives"]) == (12, 60)
    assert set(search["at"]) == {"f1", "cost", "equal-odds"}
    assert search["tpr_at_fpr"]["0.0001"] is None
    assert search["at"]["f1"]["threshold"] == pytest.approx(run.calibration["thresholds"]["f1"]["threshold"])
    assert run.calibration["thresholds"]["cost"]["cost_fn"] == 10
    assert {"purity.png"} <= {p["file"] for p in run.figures}
    assert 0 <= search["purity"]["curve"][0]["purity"]["low"] <= 1


def test_a_run_answers_for_a_survey_and_by_its_thresholds(run, official, tmp_path):
    rows = {}
    for name, wishes in {"plain": {}, "survey": {"prevalence": 1e-3}, "f1": {"threshold": "f1"}}.items():
        judge = darklens.ensemble([run], device="cpu", **wishes)
        images = np.stack([np.load(path) for path in sorted((official / "test_lenses").glob("*.npy"))])
        rows[name] = judge.answers(images)
    assert (rows["survey"].probabilities[:, 1] < rows["plain"].probabilities[:, 1]).all()
    cut = run.calibration["thresholds"]["f1"]["threshold"]
    assert rows["f1"].called.tolist() == (rows["plain"].probabilities[:, 1] >= cut).astype(int).tolist()
    metrics = darklens.evaluate(run, official, split="test", prevalence=1e-3, threshold="cost", device="cpu")
    assert metrics["search"]["purity"]["prevalence"] == 1e-3
    assert "asked" in metrics["search"]["at"]
    assert (run.path / "evaluations" / f"{official.name}-threshold-cost-prevalence-0.001").is_dir()


def test_costs_without_their_threshold_are_refused(run):
    with pytest.raises(InputError, match="add --threshold cost"):
        darklens.ensemble([run], cost_fn=3.0)


def test_a_class_without_training_images_is_refused_with_its_count(tmp_path, official):
    empty = write_official(tmp_path / "none", lenses=24, others=40)
    for path in (empty / "train_lenses").glob("*.npy"):
        path.unlink()
    with pytest.raises(InputError, match="'lens' has 0 training images"):
        darklens.train("lens-finding", data=empty, set=FAST, out=tmp_path / "run", device="cpu", log=lambda s: None)


def test_validation_without_lenses_is_refused_before_training(tmp_path):
    few = write_official(tmp_path / "few", lenses=2, others=60)
    with pytest.raises(InputError, match=r"validation images is of class 'lens'"):
        darklens.train("lens-finding", data=few, set=[*FAST, "data.seed=1"], out=tmp_path / "run", device="cpu", log=lambda s: None)


def test_an_old_run_without_offsets_answers_as_before(run, tmp_path):
    described = run.model
    predictor = Predictor(run, "cpu")
    assert predictor.task.offsets == tuple(described["offsets"])
    assert Deciding(predictor, prevalence=predictor.prior["lens"]).offsets == pytest.approx((0, 0))
    assert yaml.safe_load((run.path / "recipe.yaml").read_text())["train"]["imbalance"] == "logit-adjusted"
