"""Inference from recipe to posteriors of a folder of images, with a network of some seconds."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

import darklens
from benchmarks import ship
from darklens import runs
from darklens.errors import InputError
from darklens.recipes import execute, load, resume
from darklens.runs import Run
from darklens.train.inference import Estimator, FreshParameters, ParameterSpace

RECIPE = {
    "name": "small",
    "data": {"preset": "model-iii", "train": 480, "validation": 96, "test": 96, "seed": 5},
    "model": {"name": "arcnet", "options": {"widths": [4, 8, 16], "dropout": 0.0, "symmetric": False}},
    "preprocess": {"crop": 40, "stretch": "log", "detail": 3, "normalise": "standard"},
    "inference": {"parameters": ["log10_m_axion", "source_x"], "samples": 100, "hidden": 16, "context": 8, "predictive": 2},
    "train": {"task": "inference", "epochs": 6, "batch_size": 16, "lr": 0.01, "augment": [], "ema": None, "precision": "float32"},
}
WANTED = ("log10_m_axion", "source_x")


def trained(folder, **changes):
    recipe = RECIPE | {key: RECIPE.get(key, {}) | value for key, value in changes.items()}
    return execute(load(recipe), folder / "run", device="cpu", log=lambda sentence: None)[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return trained(tmp_path_factory.mktemp("inference"))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return darklens.simulate("model-iii", n=9, seed=77).select(label="axion").images()


def test_a_run_is_judged_once_with_intervals_coverage_and_figures(run):
    metrics = run.metrics
    assert metrics["n"] == 32  # a third of the images are of the class whose axion mass is known
    for name in WANTED:
        found = metrics["parameters"][name]
        assert found["mae"]["low"] <= found["mae"]["value"] <= found["mae"]["high"]
        assert found["rmse"]["value"] >= found["mae"]["value"]
        assert found["coverage_68"]["n"] == 32
        assert metrics[f"mae_{name}"] == found["mae"]
    assert metrics["parameters"]["source_x"]["mae"]["value"] < metrics["parameters"]["source_x"]["prior_mae"]["value"]
    assert len(metrics["tarp"]["coverage"]) == len(metrics["tarp"]["credibility"])
    assert metrics["predictive"]["truth"]["median"] < metrics["predictive"]["prior"]["median"]
    assert {picture["file"] for picture in run.figures} == {"recovered.png", "calibration.png", "history.png", "predictive.png"}
    assert run.calibration["fitted_on"] == "validation"
    rows = run.predictions()
    assert np.all(rows["source_x_low"] <= rows["source_x"])
    assert np.all(rows["source_x"] <= rows["source_x_high"])


def test_draws_are_reproducible_ordered_like_the_images_and_inside_the_prior(run, images):
    estimator = Estimator(run, "cpu")
    draws = estimator.draws(images, 200, seed=1)
    assert draws.samples.shape == (3, 200, 2)
    assert np.array_equal(draws.samples, estimator.draws(images, 200, seed=1).samples)
    assert not np.array_equal(draws.samples, estimator.draws(images, 200, seed=2).samples)
    low, high = (np.array(part) for part in (estimator.space.low, estimator.space.high))
    assert ((draws.samples >= low) & (draws.samples <= high)).all()
    alone = estimator.draws(images[0], 200, seed=1).samples[0]
    assert np.allclose(alone.mean(0), draws.samples[0].mean(0), atol=0.2)


def test_the_log_density_is_that_of_the_draws(run, images):
    estimator = Estimator(run, "cpu")
    inputs, _ = estimator.see(estimator.checked(images))
    summaries, _ = estimator.look(inputs)
    draws = estimator.draws(images, 60, raw=True)
    for k in (0, 59):
        assert np.allclose(estimator.log_prob_of(summaries, draws.samples[:, k]), draws.log_prob[:, k], atol=0.05)


def test_a_space_goes_there_and_back_and_knows_its_jacobian():
    theta = np.random.default_rng(0).uniform(-2, 3, (500, 2))
    for kind in ("probit", "standard"):
        space = ParameterSpace.measured(["a", "b"], theta, kind, {})
        z = space.to_z(theta)
        assert np.allclose(space.to_theta(z), theta, atol=1e-5)
        assert np.abs(z.mean()) < 0.2
        assert 0.5 < z.std() < 1.5
        step = 1e-3
        numeric = np.log(np.prod((space.to_z(theta[5] + step).astype(float) - space.to_z(theta[5] - step)) / (2 * step)))
        assert space.log_jacobian(z)[5] == pytest.approx(numeric, abs=0.02)
        assert ParameterSpace.from_dict(json.loads(json.dumps(space.as_dict()))) == space


def test_infer_writes_draws_a_summary_and_corners(run, images, tmp_path):
    table = darklens.simulate("model-iii", n=12, seed=78, out=tmp_path / "table")
    found = darklens.infer(run, table.path, tmp_path / "out", samples=60)
    assert [row["id"] for row in found["images"]] == list(table.ids)
    axion = next(i for i, label in enumerate(table.labels) if label == "axion")
    row = json.loads((tmp_path / "out" / "summary.json").read_text())["images"][axion]
    for name in WANTED:
        one = row[name]
        assert one["low_95"] <= one["low"] <= one["value"] <= one["high"] <= one["high_95"]
    assert row["log10_m_axion"]["true"] == table.column("log10_m_axion")[axion]
    draws = pq.read_table(tmp_path / "out" / "posterior.parquet")
    assert len(draws) == 12 * 60
    assert set(WANTED) < set(draws.column_names)
    assert (tmp_path / "out" / "corner.png").stat().st_size > 5000
    assert found["coverage"] == {
        name: {key: run.metrics["parameters"][name][key] for key in ("coverage_68", "coverage_95")} for name in WANTED
    }
    only = darklens.infer(run, table.path, tmp_path / "one", samples=60, parameters=["source_x"], population="source_x")
    assert "log10_m_axion" not in only["images"][0]
    assert only["population"]["source_x"]["mu"]["low"] < only["population"]["source_x"]["mu"]["high"]


def test_a_parameter_of_which_nothing_was_learnt_is_named(run, images, tmp_path):
    shutil.copytree(run.path, tmp_path / "run")
    other, np_file = Run.open(tmp_path / "run"), tmp_path / "one.npy"
    metrics = other.metrics
    metrics["parameters"]["log10_m_axion"]["information"] = {"value": 0.004, "low": 0.0, "high": 0.01, "n": 32}
    metrics["parameters"]["source_x"]["information"]["value"] = 0.8
    other.write("metrics", metrics)
    np.save(np_file, images[0, 0])
    noticed = darklens.infer(other, np_file, tmp_path / "out", samples=60)["noticed"]
    said = [line for line in noticed if "learnt nothing" in line]
    assert len(said) == 1
    assert said[0].startswith("log10_m_axion: this run has learnt nothing of it (images tell 0.004 nats")
    without = darklens.infer(other, np_file, tmp_path / "one", samples=60, parameters=["source_x"])["noticed"]
    assert not any("learnt nothing" in line for line in without)


def test_a_posterior_can_come_along_and_answers_as_its_run(run, images, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "SHIPPED", tmp_path / "package")
    ship.ship(run, "arcnet:small")
    assert runs.shipped("inference") == ["arcnet:small"]
    draws = [Estimator(Run.open(name), "cpu").draws(images, 60).samples for name in ("arcnet:small", run.path)]
    assert np.array_equal(*draws)


def test_images_unlike_those_of_the_training_are_flagged(run, tmp_path):
    from darklens.data import Table

    noise = np.random.default_rng(0).normal(0, 1, (2, 1, 64, 64))
    table = Table.from_columns(ids=["a", "b"], images=noise, labels=[None, None])
    estimator = Estimator(run, "cpu")
    assert estimator.draws(table.images(), 60).unusual.flags.all()


def test_a_run_is_evaluated_on_other_images(run, tmp_path):
    darklens.simulate("model-iii", n=66, seed=79, out=tmp_path / "other")
    found = darklens.evaluate(run, tmp_path / "other", out=tmp_path / "judged")
    assert found["n"] == 22
    assert (tmp_path / "judged" / "figures" / "calibration.png").is_file()
    with pytest.raises(InputError, match="at least 20"):
        darklens.evaluate(run, darklens.simulate("model-iii", n=9, seed=79, out=tmp_path / "few").path)


def test_fresh_images_are_those_of_the_preset_and_of_the_class_that_is_known():
    from darklens.simulate import preset
    from darklens.train.config import Preprocess

    values = np.random.default_rng(0).uniform(-24, -22, (50, 1))
    space = ParameterSpace.measured(["log10_m_axion"], values, "probit", {})
    fresh = FreshParameters(preset("model-iii"), 3, 8, None, None, Preprocess(), space=space, kinds=("axion",))
    first = next(iter(fresh.epoch(0, np.arange(8), 8)))
    images, z = fresh.inputs(0, 8)
    assert np.array_equal(first[0].numpy(), images)
    assert np.array_equal(first[1].numpy(), z)
    assert np.isfinite(z).all()
    assert images.shape == (8, 1, 64, 64)
    assert not np.array_equal(fresh.inputs(8, 8)[0], images)


@pytest.mark.slow
def test_what_the_fit_says_need_not_be_learnt(tmp_path):
    changes = {
        "data": {"preset": "subhalos", "train": 64, "validation": 32, "test": 32},
        "preprocess": {"input": "residual", "crop": 40, "columns": ["fit_theta_E", "fit_theta_E_error", "fit_e1"]},
        "train": {"epochs": 2, "lr": 1e-3},
    }
    wanted = {"parameters": ["theta_E", "e1", "source_x"], "predictive": 0}
    run = trained(tmp_path, **changes, inference=wanted)
    assert run.model["anchors"]["places"] == [0, 1]
    found = run.metrics["parameters"]
    for name in ("theta_E", "e1"):
        assert found[name]["mae"]["high"] < 0.25 * found[name]["prior_mae"]["low"]
        assert found[name]["coverage_68"]["value"] > 0.4
    assert found["source_x"]["mae"]["high"] > 0.4 * found["source_x"]["prior_mae"]["low"]
    before = {key: run.model[key] for key in ("anchors", "columns")}
    older = run.model | {"columns": {name: {"mean": 0.5, "std": 2.0} for name in before["columns"]}}
    del older["anchors"]  # as of a run that was begun before there were any
    run.write("model", older)
    shutil.rmtree(run.path / "state")
    (run.path / "metrics.json").unlink()
    again = resume(run.path, device="cpu", log=lambda sentence: None)
    assert "anchors" not in again.model
    assert again.model["columns"] == older["columns"]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"inference": {"parameters": ["theta_E"]}}, "nothing to infer"),
        ({"inference": {"parameters": ["mass"]}}, "unknown truth column"),
        ({"inference": {"parameters": ["source_x", "source_x"]}}, "once"),
        ({"train": {"augment": ["dihedral"]}}, "which changes source_x"),
        ({"model": {"options": {"symmetric": True}}}, "symmetric: false"),
        ({"preprocess": {"columns": ["fit_theta_E"]}}, "number of the smooth fit"),
        ({"data": {"train": 6, "validation": 6, "test": 6}}, "20 are needed"),
    ],
)
def test_wrong_recipes_are_one_sentence(changes, match, tmp_path):
    with pytest.raises(InputError, match=match):
        trained(tmp_path, **changes)


def test_wrong_questions_are_one_sentence(run, tmp_path):
    with pytest.raises(InputError, match="never learnt 'theta_E': it infers log10_m_axion, source_x"):
        darklens.infer(run, tmp_path, tmp_path / "out", parameters=["theta_E"])
    with pytest.raises(InputError, match="outside 50"):
        darklens.infer(run, tmp_path, tmp_path / "out", samples=10)
    with pytest.raises(InputError, match="no closed form"):
        darklens.infer(run, darklens.simulate("model-iii", n=3, seed=1, out=tmp_path / "t").path, tmp_path / "out", reweight=True)
    for force in (False, True):  # the table that is read lies there
        with pytest.raises(InputError, match="something other than posteriors"):
            darklens.infer(run, tmp_path / "t", tmp_path / "t", force=force)
    assert (tmp_path / "t" / "manifest.json").is_file()
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "posterior.parquet").touch()
    with pytest.raises(InputError, match="exists"):
        darklens.infer(run, tmp_path, tmp_path / "there")
    with pytest.raises(InputError, match="infers no numbers"):
        Estimator(Run.open("arcnet:common-test"))
