import numpy as np
import pytest

from darklens.errors import InputError
from darklens.recipes import load
from darklens.recipes.splits import prepare

RECIPE = {
    "name": "few-lenses",
    "data": {
        "preset": "lens-finding",
        "train": 60,
        "validation": 40,
        "test": 50,
        "positives": {"train": 7, "validation": 5, "test": 3},
        "difficulty": 0.25,
        "seed": 5,
    },
    "model": {"name": "dropout-cnn"},
    "train": {"task": "binary"},
}


def quiet(*_):
    pass


def test_every_split_has_its_exact_count_and_no_image_of_another(tmp_path):
    splits = prepare(load(RECIPE), tmp_path, quiet, quiet)
    sets = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    assert splits.task.classes == ("nonlens", "lens")
    assert {name: images.counts["lens"] for name, images in sets.items()} == RECIPE["data"]["positives"]
    assert [len(images) for images in sets.values()] == [60, 40, 50]
    every = {np.ascontiguousarray(image).tobytes() for images in sets.values() for image in images.images}
    assert len(every) == 150
    again = splits.card["how_to_repeat"].split("; ")[2]
    assert again == "darklens simulate lens-finding --n 50 --positives 3 --difficulty 0.25 --seed 7 --out TEST"


def test_another_difficulty_is_another_table(tmp_path):
    folders = []
    for difficulty in (0.25, 0.5):
        recipe = load(
            RECIPE,
            ["data.train=4", "data.validation=4", "data.test=4", f"data.difficulty={difficulty}"]
            + [f"data.positives.{name}=2" for name in ("train", "validation", "test")],
        )
        folders.append(prepare(recipe, tmp_path, quiet, quiet).card["splits"]["test"]["path"])
    assert folders[0] != folders[1]


def test_fresh_images_have_the_ratio_too(tmp_path):
    recipe = load(RECIPE, ["data.fresh=true"])
    train = prepare(recipe, tmp_path, quiet, quiet).train
    assert train.counts == {"nonlens": 53, "lens": 7}
    assert train.draw(60, 60)[1].sum() == 7


def test_impossible_counts_are_refused_and_tiny_keeps_both_classes():
    with pytest.raises(InputError, match=r"data\.positives\.test is 50 of 50 images"):
        load(RECIPE, ["data.positives.test=50"])
    with pytest.raises(InputError, match="greater than or equal to 1"):
        load(RECIPE, ["data.positives.test=0"])
    large = load(RECIPE, ["tiny=true", "data.train=30405", "data.positives.train=1730"]).effective().data
    assert (large.train, large.positives.train) == (48, 12)
