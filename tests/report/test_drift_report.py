"""The drift report: from two places with images to a verdict and a page, through the public interface and the command line."""

import json
import re
import sys

import numpy as np
import pytest
import torch

import darklens
from darklens import cli
from darklens.data import TableWriter
from darklens.errors import InputError
from darklens.models import build
from darklens.runs import Run
from darklens.train.checkpoint import save_weights
from darklens.train.novelty import Novelty

Y, X = np.mgrid[:32, :32] - 15.5


def table(path, seed, *, n=120, noise=1.0, size=32):
    rng = np.random.default_rng(seed)
    light = np.exp(-(X**2 + Y**2) / 20) * rng.lognormal(3, 0.4, (n, 3, 1, 1))
    images = (light + rng.normal(0, noise, light.shape))[:, :, :size, :size].astype(np.float32)
    with TableWriter(path, shape=images.shape[1:], classes=["nonlens", "lens"], manifest={}) as writer:
        writer.write_columns([f"{path.name}-{i}" for i in range(n)], images, [None] * n, {})
    return path


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    return [
        table(folder / "a", 0),
        table(folder / "b", 1),
        table(folder / "noisy", 2, noise=1.4),
        table(folder / "loud", 3, noise=9),
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory, places):
    """An untrained network with one logit for lenses, which knows what the images of the first table are like."""
    run = Run.create(tmp_path_factory.mktemp("runs") / "toy", {"name": "untrained"})
    described = {"name": "cnn", "options": {}, "seed": 0, "classes": ["nonlens", "lens"], "group": {}, "single_logit": True}
    described |= {"shape": [3, 32, 32], "pixel_scale": 0.2, "flux_unit": None, "symmetries": False, "torch": torch.__version__}
    run.write("model", described | {"preprocess": {"normalise": "none"}})
    save_weights(run.path / "weights.safetensors", build("cnn", bands=3, classes=1, size=(32, 32), seed=0).state_dict())
    predictor = darklens.open_run(run.path).predictor
    images = darklens.load(places[0]).images()
    features = predictor.features(images)
    half = np.arange(len(images)) % 2
    Novelty.learn(features[half == 0], np.zeros(60, int)).with_thresholds(features, None).save(run, {})
    return run.path


def test_equal_tables_show_no_drift_and_noise_is_named(places):
    same = darklens.drift(places[0], places[1])
    assert not same["drift"]
    assert same["verdict"].startswith("no drift seen")
    noisy = darklens.drift(places[0], places[2], n=100)
    assert noisy["drift"]
    assert re.search(r"noise x1\.[345]\d? in band 0", noisy["verdict"]), noisy["verdict"]
    assert (noisy["a"]["images"], noisy["b"]["shapes"]) == (100, {"3x32x32": 100})
    assert noisy["classifier"]["auc"]["low"] > 0.9
    json.dumps(noisy, allow_nan=False)


def test_the_draw_is_a_function_of_the_seed(places):
    first, again, other = (darklens.drift(places[0], places[1], n=40, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first["statistics"] != other["statistics"]


def test_a_network_of_several_bands_and_one_logit_is_asked_for_features_and_flags(places, run):
    content = darklens.drift(places[0], places[3], run=run, device="cpu")
    assert content["network"]["features"]["distance"] > 1.5 * content["network"]["features"]["floor"]
    assert content["network"]["unusual"]["a"]["value"] < 0.05
    assert content["network"]["unusual"]["b"]["value"] > 0.1
    assert any("features of the network" in change for change in content["changes"])
    assert [row["statistic"] for row in content["statistics"] if row["statistic"].startswith("answer")] == ["answer lens"]


def test_the_report_stands_alone(places, tmp_path):
    out = tmp_path / "report"
    content = darklens.drift(places[0], places[2], out=out)
    assert json.loads((out / "drift.json").read_text())["verdict"] == content["verdict"]
    page = (out / "drift.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert not re.findall(r"(?:src|href)=[\"'](?!data:|#)", page)
    assert "<script" not in page
    text = (out / "drift.md").read_text()
    assert content["verdict"] in text
    for name in re.findall(r"\]\((\S+\.png)\)", text):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="exists: choose another folder or give --force"):
        darklens.drift(places[0], places[2], out=out)


def test_the_command_and_its_failures(places, run, tmp_path, monkeypatch, capsys):
    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["darklens", "drift", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code, capsys.readouterr()

    code, said = command(places[0], places[1], "--n", 60)
    assert code == 0
    assert "no drift seen" in said.err
    assert "sky_sigma" in said.out
    small = table(tmp_path / "small", 3, n=30, size=20)
    code, said = command(places[0], small, "--run", run)
    assert code == 2
    assert "is 20x20 pixels and the model was trained on 32x32" in said.err
    code, said = command(places[0], small, "--run", run, "--resize", "--json")
    assert code == 0
    assert "images of 20x20 pixels instead of 32x32" in json.loads(said.out)["changes"]
    code, said = command(places[0], table(tmp_path / "few", 4, n=5))
    assert code == 2
    assert "has 5 images and a comparison needs 10" in said.err
    code, said = command(places[0], places[1], "--rate", 0)
    assert code == 2
    code, said = command(places[0], tmp_path / "nowhere")
    assert code == 2
