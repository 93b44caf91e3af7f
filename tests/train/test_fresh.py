import threading

import numpy as np
import pytest

from darklens.errors import InputError
from darklens.models import build
from darklens.recipes import load
from darklens.runs import Run
from darklens.simulate import preset, simulate
from darklens.train.classification import Classification
from darklens.train.config import Preprocess, TrainConfig
from darklens.train.fresh import FreshImages
from darklens.train.image_set import ImageSet
from darklens.train.loop import Training

PRESET = preset("model-iii")
TASK = Classification(PRESET.classes, {})


def fresh(size=24, **other):
    return FreshImages(PRESET, 7, size, TASK, **other)


def training(path, **settings):
    config = TrainConfig(**({"epochs": 2, "batch_size": 12, "precision": "float32", "augment": ["dihedral"]} | settings))
    table = simulate(PRESET, 12, seed=8)
    validation = ImageSet.from_table(table, TASK)
    model = build("cnn", classes=3, size=64, seed=1)
    return Training(
        Run.create(path, {"name": "x"}), model, TASK, fresh(), validation, config, Preprocess(), device="cpu", log=lambda s: None
    )


def batches(source, number):
    return [(images.numpy(), labels.numpy()) for images, labels in source.epoch(number, np.arange(len(source)), 12)]


def test_every_epoch_has_new_rows_of_the_presets_own_table():
    table = simulate(PRESET, 48, seed=7)
    seen = np.concatenate([images for epoch in (0, 1) for images, _ in batches(fresh(), epoch)])
    np.testing.assert_array_equal(seen, table.images())
    labels = np.concatenate([labels for epoch in (0, 1) for _, labels in batches(fresh(), epoch)])
    assert labels.tolist() == TASK.encode(table.labels).tolist()
    assert fresh().counts == {name: 8 for name in PRESET.classes}


def test_resumed_is_bitwise_uninterrupted(tmp_path):
    whole = training(tmp_path / "whole")
    whole.fit()
    first = training(tmp_path / "again")
    original = first.log
    first.log = lambda sentence: setattr(first, "stopping", True) or original(sentence)
    assert first.fit()["interrupted"]
    rest = training(tmp_path / "again")
    rest.fit()
    for name, value in whole.raw.state_dict().items():
        np.testing.assert_array_equal(rest.raw.state_dict()[name].numpy(), value.numpy(), err_msg=name)


def test_waiting_is_recorded_and_threads_end(tmp_path):
    run = training(tmp_path / "run")
    run.fit()
    history = Run.open(tmp_path / "run").history
    assert all(0 <= row["waited_s"] <= row["seconds"] for row in history)
    assert not [t for t in threading.enumerate() if t.name == "darklens-fresh"]


def test_an_error_while_drawing_reaches_the_training():
    class Broken(type(PRESET)):
        def images(self, scene, device="cpu"):
            raise InputError("no light today")

    broken = Broken(**{name: getattr(PRESET, name) for name in PRESET.__dataclass_fields__})
    source = FreshImages(broken, 1, 24, TASK)
    with pytest.raises(InputError, match="no light today"):
        batches(source, 0)


def test_fresh_needs_a_preset():
    with pytest.raises(InputError, match="draws from a preset"):
        load("model-iii-resnet18", ["data.preset=null", "data.path=x", "data.fresh=true"])
