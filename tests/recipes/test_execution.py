"""A training that is refused takes nothing away and leaves nothing behind."""

import numpy as np
import pytest

from darklens.errors import InputError
from darklens.recipes import execute, load
from darklens.runs import RECIPE, Run
from darklens.train.predictor import Predictor

QUIET = {"device": "cpu", "log": lambda sentence: None}


@pytest.fixture
def tree(tmp_path):
    """Images of one class alone."""
    folder = tmp_path / "tree" / "no_sub"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(12):
        np.save(folder / f"{i}.npy", rng.random((64, 64)))
    return tmp_path / "tree"


def recipe_of(tree, *settings):
    return load("model-iii-cnn", ["tiny=true", "data.preset=null", f"data.path={tree}", *settings])


def test_a_refused_training_leaves_its_folder_free(tree, tmp_path):
    out = tmp_path / "runs" / "mine"
    with pytest.raises(InputError):
        execute(recipe_of(tree), out, **QUIET)
    assert not out.exists()


def test_a_network_that_cannot_be_built_leaves_its_folder_free(tmp_path):
    out = tmp_path / "runs" / "mine"
    small = load("model-iii-cnn", ["tiny=true", "preprocess.crop=8"])
    with pytest.raises(InputError):
        execute(small, out, **QUIET)
    assert not out.exists()


def test_force_replaces_nothing_before_there_is_something_to_begin(tree, tmp_path):
    out = tmp_path / "runs" / "mine"
    Run.create(out, load("model-iii-resnet18").model_dump(mode="json")).write("metrics", {"n": 1})
    with pytest.raises(InputError):
        execute(recipe_of(tree), out, force=True, **QUIET)
    assert Run.open(out).metrics == {"n": 1}


def test_a_run_of_another_recipe_is_refused_before_images_are_made(tmp_path):
    out = tmp_path / "runs" / "mine"
    Run.create(out, load("model-iii-resnet18").model_dump(mode="json"))
    with pytest.raises(InputError, match="holds a run of another recipe"):
        execute(load("model-iii-cnn", ["tiny=true"]), out, **QUIET)
    assert not (out.parent / "data").exists()
    assert (out / RECIPE).is_file()


def test_images_whose_scale_nobody_knows_teach_a_run_that_says_so(tree, tmp_path):
    rng = np.random.default_rng(1)
    for name in ("cdm", "axion"):
        (tree / name).mkdir()
        for i in range(12):
            np.save(tree / name / f"{i}.npy", rng.random((64, 64)))
    (run,) = execute(recipe_of(tree, "data.fractions=[0.5, 0.25, 0.25]", "train.epochs=1"), tmp_path / "run", **QUIET)
    assert (run.model["pixel_scale"], run.model["flux_unit"]) == (None, None)
    assert Predictor(run, "cpu").probabilities(rng.random((2, 1, 64, 64)).astype(np.float32)).shape == (2, 3)
