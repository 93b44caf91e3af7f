"""A recipe with a network of a model hub: what the run keeps, and what opens it again."""

import json
import shutil

import numpy as np
import pytest

from darklens.models import hub
from darklens.recipes import load
from darklens.recipes.execution import execute, folder_name
from darklens.runs import Run
from darklens.train.predictor import Predictor

transformers = pytest.importorskip("transformers")


@pytest.fixture
def published(tmp_path):
    """A folder as a hub has it: a very small network with random weights."""
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=5)
    transformers.ResNetForImageClassification(config).save_pretrained(tmp_path / "published")
    return tmp_path / "published"


@pytest.mark.parametrize(
    ("model", "folder"),
    [
        ("resnet18", "resnet18"),
        ("hf:microsoft/resnet-18", "hf-microsoft-resnet-18"),
        ("hf:apple/mobilevitv2-1.0-imagenet1k-256", "hf-apple-mobilevitv2-1.0-imagenet1k-256"),
        ("hf:../nets/mine", "hf-..-nets-mine"),
    ],
)
def test_names_of_models_as_names_of_folders(model, folder):
    assert folder_name(model) == folder


@pytest.mark.slow
def test_a_run_opens_without_the_repository(published, tmp_path, monkeypatch):
    changes = ["model.options={}", "also=[]", f"model.name=hf:{published}", "tiny=true", "train.epochs=1"]
    sizes = ["train.precision=float32", "data.train=24", "data.validation=12", "data.test=12"]
    (run,) = execute(load("demo", [*changes, *sizes]), tmp_path / "run", device="cpu", log=lambda sentence: None)
    options = json.loads((run.path / "model.json").read_text())["options"]
    assert options["weights"] == "pretrained"
    assert options["config"]["hidden_sizes"] == [8, 16]
    assert run.recipe["model"]["options"] == {}  # the recipe stays what the user wrote
    shutil.rmtree(published)
    monkeypatch.setattr(hub, "_find", lambda *args, **kwargs: pytest.fail("looked for the repository again"))
    monkeypatch.setattr(hub, "_pretrained", lambda *args: pytest.fail("loaded the weights that training started from"))
    images = np.random.default_rng(0).random((3, 1, 64, 64), dtype=np.float32)
    assert np.allclose(Predictor(Run.open(run.path), device="cpu").probabilities(images).sum(1), 1)
