"""Every recipe, in its tiny mode, from images to metrics: each in under a minute of one core."""

import time

import pytest

from darklens.recipes import execute, load, names

QUICK = ("dropout-cnn-3class",)
"""In `make test`; all others in `make test-all`."""


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Folder for the images, which recipes with the same preset share."""
    return tmp_path_factory.mktemp("tables")


@pytest.mark.parametrize("name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in names()])
def test_every_recipe_runs_in_its_tiny_mode(name, tmp_path, tables):
    start = time.process_time()
    runs = execute(load(name, ["tiny=true", "data.seed=1"]), tmp_path / "run", data=tables, device="cpu", log=lambda sentence: None)
    assert time.process_time() - start < 60
    assert all(run.complete for run in runs)
    assert len(runs) == len(load(name, ["tiny=true"]).single())
    for run in runs:
        assert 0 < run.metrics.get("accuracy", run.metrics)["n"] <= 48  # what tells no classes apart says n of all its numbers


@pytest.mark.slow
def test_as_published_runs_and_its_run_says_so(tmp_path, tables):
    recipe = load("dropout-cnn-3class", ["tiny=true", "data.seed=1", "as_published=true"])
    (run,) = execute(recipe, tmp_path / "run", data=tables, device="cpu", log=lambda sentence: None)
    assert run.recipe["as_published"]
    assert run.model["options"] == {"dropout2d": 0.5}
