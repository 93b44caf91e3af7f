import numpy as np
import pytest

from darklens.errors import InputError
from darklens.recipes import load, prepare

ROWS = ["data.train=12", "data.validation=12", "data.test=24"]


def ids(images):
    return {image.tobytes() for image in images.images}


def test_a_leak_puts_every_test_image_into_training_and_the_card_says_so(tmp_path):
    said = []
    kept, leaked = (
        prepare(load("binary-leak", [*ROWS, f"data.leak={leak}"]), tmp_path, said.append, lambda *_: None)
        for leak in ("false", "true")
    )
    assert not ids(kept.train) & ids(kept.test)
    assert kept.card["leaked"] == 0
    assert kept.card["disjoint"].startswith("checked")
    assert ids(leaked.test) <= ids(leaked.train)
    assert len(leaked.train) == len(kept.train) + len(kept.test)
    assert leaked.train.labels.tolist() == [*kept.train.labels, *kept.test.labels]
    assert leaked.card["leaked"] == 24
    assert leaked.card["disjoint"].startswith("LEAKED on purpose: all 24 test images")
    assert leaked.card["splits"]["train"]["rows"] == 36
    assert [line for line in said if line.startswith("LEAKED")] == [leaked.card["disjoint"]]
    assert np.array_equal(kept.test.images, leaked.test.images)
    assert kept.card["splits"]["test"]["checksum"] == leaked.card["splits"]["test"]["checksum"]


def test_subsets_of_training_images_are_nested_and_leave_the_rest_alone(tmp_path):
    few, more = (
        prepare(load("binary-leak", [*ROWS, "data.leak=false", f"data.subset={n}"]), tmp_path, lambda s: None, lambda *_: None)
        for n in (5, 9)
    )
    assert (len(few.train), len(more.train)) == (5, 9)
    assert ids(few.train) < ids(more.train)
    assert ids(few.test) == ids(more.test)
    with pytest.raises(InputError, match=r"data.subset is 13 and there are 12 training images"):
        prepare(load("binary-leak", [*ROWS, "data.subset=13"]), tmp_path, lambda s: None, lambda *_: None)


def test_a_test_seed_draws_new_test_images_and_leaves_the_others(tmp_path):
    recipe = ["data.leak=false", *ROWS]
    old, new = (
        prepare(load("binary-leak", [*recipe, *more]), tmp_path, lambda s: None, lambda *_: None)
        for more in ([], ["data.test_seed=99"])
    )
    assert np.array_equal(old.train.images, new.train.images)
    assert not ids(old.test) & ids(new.test)
    assert new.card["splits"]["test"]["seed"] == 99
    assert "--seed 99 --out TEST" in new.card["how_to_repeat"]
    with pytest.raises(InputError, match=r"data.test_seed 56 draws the training or validation images again"):
        load("binary-leak", ["data.test_seed=56"])


def test_images_too_few_for_three_splits_are_refused(tmp_path):
    for k, label in enumerate(("cdm", "no_sub")):
        (tmp_path / "own" / label).mkdir(parents=True)
        np.save(tmp_path / "own" / label / "one.npy", np.random.default_rng(k).normal(size=(8, 8)))
    recipe = load("model-iii-resnet18", ["data.preset=null", f"data.path={tmp_path / 'own'}"])
    with pytest.raises(
        InputError, match=r"own has 2 images and leaves none for (train|validation|test): give more, or other data.fractions"
    ):
        prepare(recipe, tmp_path, lambda s: None, lambda *_: None)
