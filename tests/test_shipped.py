"""Runs that come with darklens: they are found by name, answer like folders, and are never written to."""

import json
import os
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import darklens
from benchmarks import ship
from darklens import cli, runs
from darklens.api import compare, ensemble, evaluate, open_run, report, score
from darklens.errors import InputError
from darklens.models import build
from darklens.recipes import load, resume
from darklens.runs import Run
from darklens.simulate import preset
from darklens.train import evaluation
from darklens.train.checkpoint import save_weights
from darklens.train.config import Preprocess
from darklens.train.evaluation import calibrate, evaluate_test, learn_novelty
from darklens.train.image_set import ImageSet
from darklens.train.prediction_file import predict_path
from darklens.train.predictor import Predictor

CLASSES = ("no", "sphere", "vort")


def pictures(n, seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    images = rng.normal(size=(n, 1, 32, 32)) + labels[:, None, None, None]
    return ImageSet(images.astype(np.float32), labels, np.array([str(i) for i in range(n)], object), CLASSES)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run with fresh weights."""
    run = Run.create(tmp_path_factory.mktemp("runs") / "mine", load("model-iii-resnet18").model_dump(mode="json"))
    card = {"splits": {name: {"rows": 60, "counts": {}, "checksum": name} for name in ("train", "validation", "test")}}
    run.write(
        "model",
        {
            "name": "cnn",
            "options": {},
            "seed": 0,
            "classes": CLASSES,
            "group": {},
            "single_logit": False,
            "shape": [1, 32, 32],
            "pixel_scale": 0.05,
            "flux_unit": "counts",
            "preprocess": Preprocess(normalise="none").model_dump(),
        },
    )
    save_weights(run.path / "weights.safetensors", build("cnn", classes=3, size=32, seed=0).state_dict())
    run.write_history([{"epoch": 1, "train_loss": 1.0, "val_loss": 1.0, "val_accuracy": 0.5, "lr": 1e-3, "seconds": 1.0}])
    predictor = Predictor(run, "cpu")
    calibrate(predictor, pictures(120, 0))
    learn_novelty(predictor, pictures(120, 1), pictures(120, 0))
    evaluate_test(predictor, pictures(60, 2), card)
    return run


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An empty place for shipped runs, and a folder to stand in."""
    monkeypatch.setattr(runs, "SHIPPED", tmp_path / "package")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "package"


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    """They take seconds each and have tests of their own."""
    monkeypatch.setattr(evaluation, "save_classification_figures", lambda *a, **k: None)


@pytest.fixture
def shipped(finished, package):
    return ship.ship(finished, "cnn:common-test")


@pytest.fixture
def tree(tmp_path):
    images = pictures(30, 7)
    for i, image in enumerate(images.images):
        folder = tmp_path / "tree" / CLASSES[images.labels[i]]
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{i}.npy", image[0])
    return tmp_path / "tree"


def everything(folder):
    return {p.relative_to(folder): p.stat().st_mtime_ns for p in folder.rglob("*")}


def test_a_shipped_run_is_found_by_name_and_answers_as_its_original(shipped, finished):
    assert runs.shipped() == ["cnn:common-test"]
    run = open_run("cnn:common-test")
    assert (run.name, run.shipped, run.path) == ("cnn:common-test", True, shipped)
    images = pictures(5, 3).images
    assert (str(run), str(finished)) == ("cnn:common-test", str(finished.path))  # as refusals call them
    assert np.array_equal(run.predict(images), Predictor(finished, "cpu").probabilities(images))
    assert not Run.open(finished.path).shipped
    assert Run.open(finished.path).name == "mine"
    assert open_run("common-test:cnn").path == shipped  # people write either first
    recipe = finished.recipe["name"]
    assert recipe != "cnn"
    for name in (recipe, f"{recipe}:common-test", f"common-test:{recipe}"):  # or the recipe, as in `darklens list recipes`
        assert open_run(name).path == shipped


def test_shipped_runs_are_compared_on_other_data_alone(shipped):
    with pytest.raises(InputError, match="cnn:common-test has no predictions of single images: run darklens evaluate"):
        compare(["cnn:common-test", "cnn:common-test"])


def test_a_folder_of_that_name_wins(shipped, finished, tmp_path):
    os.symlink(finished.path, tmp_path / "here" / "cnn:common-test")
    assert not Run.open("cnn:common-test").shipped


def test_wrong_names_are_one_sentence_with_the_nearest(shipped):
    with pytest.raises(InputError, match=r"unknown shipped run 'cnn:comon-test': did you mean 'cnn:common-test'\?"):
        Run.open("cnn:comon-test")
    with pytest.raises(InputError, match="is not a run"):
        Run.open("somewhere/cnn:comon-test")


def test_a_package_without_runs_says_so(package):
    with pytest.raises(InputError, match="no run comes with this copy of darklens"):
        Run.open("cnn:common-test")
    assert runs.shipped() == []


def test_nothing_is_written_to_it(shipped, tree, tmp_path):
    before = everything(shipped)
    metrics = evaluate("cnn:common-test", tree, device="cpu")
    place = tmp_path / "here" / "evaluations" / "cnn-common-test" / "tree"
    assert json.loads((place / "metrics.json").read_text())["accuracy"] == metrics["accuracy"]
    assert (place / "predictions.parquet").is_file()
    assert [e.name for e in Run.open("cnn:common-test").evaluations] == ["tree"]
    with pytest.raises(InputError, match="comes with darklens and is finished"):
        resume("cnn:common-test", device="cpu")
    assert everything(shipped) == before


def test_it_is_compared_and_reported_by_name(shipped, finished, tree, tmp_path):
    for run in ("cnn:common-test", finished.path):
        evaluate(run, tree, device="cpu", name="other")
    found = compare(["cnn:common-test", finished.path], on="other")
    assert set(found["runs"]) == {"cnn:common-test", "mine"}
    assert found["pairs"][0]["accuracy"]["value"] == 0
    assert "cnn:common-test" in report(["cnn:common-test"], tmp_path / "page.html").read_text()


def test_the_command_line_takes_names(shipped, tree, tmp_path, monkeypatch, capsys):
    def run(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["darklens", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        assert caught.value.code == code, out + err
        return SimpleNamespace(stdout=out, stderr=err)

    found = run("predict", "cnn:common-test", tree, "--device", "cpu")
    assert found.stdout.count("\n") == 31
    assert "of 30 images look unlike the training data" in found.stderr
    found = json.loads(run("predict", "cnn:common-test", "cnn:common-test", tree, "--json", "--symmetries").stdout)
    assert {"disagreement", "set", "unusual"} <= set(found["predictions"][0])
    assert json.loads(run("evaluate", "cnn:common-test", "--json").stdout)["accuracy"]["n"] == 60
    run("evaluate", "cnn:common-test", "--data", tree, "--out", tmp_path / "e", "--symmetries")
    assert (tmp_path / "e" / "metrics.json").is_file()
    assert "need --data" in run("evaluate", "cnn:common-test", "--coverage", "0.8", code=2).stderr
    assert "did you mean 'cnn:common-test'" in run("predict", "cnn:commontest", tree, code=2).stderr
    listed = json.loads(run("list", "--json").stdout)["shipped"]
    assert listed["cnn:common-test"].startswith("accuracy 0.3")
    assert "on 60 test images" in listed["cnn:common-test"]


def test_what_may_not_be_shipped_is_refused(finished, package, tmp_path, monkeypatch):
    for name, match in (("common-test", "is no name"), ("cnn:../x", "is no name"), ("arcnet:common-test", "holds cnn")):
        with pytest.raises(InputError, match=match):
            ship.ship(finished, name)
    other = Run.create(tmp_path / "other", {"name": "x"})
    other.write("model", {"name": "cnn"})
    with pytest.raises(InputError, match=r"lacks weights.safetensors, .*novelty.json"):
        ship.ship(other, "cnn:common-test")
    monkeypatch.setattr(ship, "MOST_BYTES", 1000)
    with pytest.raises(InputError, match="1,000 are the limit"):
        ship.ship(finished, "cnn:common-test")
    assert runs.shipped() == []


def test_shipping_leaves_the_bulk_behind_and_replaces_what_was_there(shipped, finished):
    (shipped / "stale.txt").write_text("x")
    again = ship.ship(finished, "cnn:common-test")
    assert again == shipped
    assert sorted(p.name for p in again.iterdir()) == sorted(ship.files_of(Run(again)))
    assert not list(again.parent.glob("tmp*"))


def test_runs_that_do_come_with_darklens_are_whole():
    for name in runs.shipped():
        run = Run.open(name)
        assert sorted(p.name for p in run.path.iterdir()) == sorted(ship.files_of(run))
        assert sum(p.stat().st_size for p in run.path.iterdir()) < ship.MOST_BYTES
        if name in runs.shipped("inference"):
            held = [of[key] for of in run.metrics["parameters"].values() for key in ("coverage_68", "coverage_95")]
            assert all(found["n"] >= 1000 for found in held), f"{name} comes without how often its intervals held"
            assert run.metrics["headline"][1].startswith("coverage_68_")  # of the two that darklens list prints
        if name not in runs.shipped("classification"):
            assert run.metrics["headline"]
            continue
        assert run.metrics["n"] >= 1000
        predictor = Predictor(run, "cpu")
        assert predictor.novelty is not None
        assert predictor.threshold is not None


def test_the_interface_names_ensembles():
    assert callable(darklens.ensemble)


@pytest.mark.slow
def test_images_of_another_psf_are_named_with_the_remedy(tmp_path):
    chosen = preset("model-iii-noisy")
    for factor in (1.0, 1.15):
        psf = replace(chosen.instrument.psf, fwhm=factor * chosen.instrument.psf.fwhm)
        seen = replace(chosen, instrument=replace(chosen.instrument, psf=psf))
        images, _ = seen.images(seen.population.draw(45, seed=77))
        np.savez(tmp_path / f"{factor}.npz", images=images)
        judge = ensemble(["arcnet:model-iii-noisy"], device="cpu")
        found = predict_path(judge, tmp_path / f"{factor}.npz", tmp_path / f"{factor}.csv")
        said = [line for line in found["noticed"] if "predict --calibrate measures PSF and noise" in line]
        assert bool(said) == (factor != 1.0)
        assert score(judge, tmp_path / f"{factor}.npz", tmp_path / f"scores-{factor}")["noticed"] == said
