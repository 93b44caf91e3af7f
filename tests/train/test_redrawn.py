"""Images of a run whose tables are gone: the same rows again, as hard and as rare as the recipe asked for."""

from fractions import Fraction

import numpy as np
import pytest

from darklens.errors import InputError
from darklens.runs import Run
from darklens.simulate import configured, simulate
from darklens.train.adaptation.images import source_images
from darklens.train.classification import Classification
from darklens.train.own_images import own_images
from darklens.train.redrawn import redrawn

CLASSES = ("nonlens", "lens")
DATA = {"preset": "lens-finding", "difficulty": 0.9, "train": 6, "test": 6, "positives": {"train": 2, "test": 3}}


@pytest.fixture
def run(tmp_path):
    """A run that has begun on images which nobody kept."""
    made = Run.create(tmp_path / "run", {"name": "x", "data": DATA})
    made.write("model", {"shape": [3, 64, 64], "classes": list(CLASSES)})
    splits = {name: {"path": str(tmp_path / "gone"), "seed": seed, "rows": 6} for name, seed in (("train", 8), ("test", 9))}
    made.write("data", {"preset": "lens-finding", "splits": splits})
    return Run.open(made.path)


def wanted(n, seed, share):
    return simulate(configured("lens-finding", difficulty=0.9, positives=Fraction(share)), n, seed=seed)


def test_test_images_have_the_difficulty_and_the_ratio_of_the_recipe(run):
    assert np.array_equal(own_images(run, 4), wanted(4, 9, "1/2").images())
    assert not np.array_equal(own_images(run, 4), simulate("lens-finding", 4, seed=9).images())


def test_training_images_too_and_never_more_than_there_were(run):
    found = source_images(run, Classification(CLASSES, {}), (3, 64, 64), 50)
    assert np.array_equal(found.images, wanted(6, 8, "1/3").images())
    assert found.counts == {"nonlens": 4, "lens": 2}


def test_what_no_preset_makes_is_not_made(run):
    run.write("data", {"preset": None, "splits": {"test": {"path": "gone", "seed": None}}})
    run = Run.open(run.path)
    assert redrawn(run, "test", 3) is None
    with pytest.raises(InputError, match="--data PATH"):
        own_images(run, 3)
