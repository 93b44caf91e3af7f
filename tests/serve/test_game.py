import collections

import numpy as np
import pytest

from darklens.serve import game
from darklens.serve.frames import unframed

LEVEL = "arcnet:common-test"


def deal(client):
    return unframed(client.get("/api/guess", params={"level": LEVEL}).content)


def told(client, header, guess="no"):
    return client.post("/api/guess", json={"level": header["level"], "puzzle": header["puzzle"], "guess": guess})


def test_the_truth_comes_after_the_guess_and_stays_the_same(client):
    header, arrays = deal(client)
    assert arrays["image"].shape == arrays["residual"].shape == (150, 150)
    assert "truth" not in header
    first, second = (told(client, header, guess).json() for guess in ("no", "vort"))
    assert first == second
    assert first["truth"] in {c["name"] for c in header["classes"]}
    assert first["network"]["predicted"] in first["network"]["probabilities"]


def test_all_classes_are_dealt():
    from darklens.simulate import PRESETS

    preset = PRESETS["common-test"]
    labels = collections.Counter(game._drawn(preset, LEVEL, f"word-{i}")[1].labels[0] for i in range(60))
    assert set(labels) == set(preset.classes)
    assert min(labels.values()) > 8


def test_an_image_from_before_a_restart_is_refused(client, monkeypatch):
    header, _ = deal(client)
    monkeypatch.setattr(game, "_EPOCH", "another0")
    answer = told(client, header)
    assert answer.status_code == 400
    assert "started anew" in answer.json()["error"]


def test_levels_are_networks_whose_images_are_simulated(client):
    names = [level["name"] for level in client.get("/api/levels").json()]
    assert LEVEL in names
    assert "p4m-resnet:lens-finding" not in names, "three bands"
    assert client.get("/api/guess", params={"level": "nowhere"}).status_code == 400


@pytest.mark.parametrize("model", [LEVEL, "p4m-resnet:lens-finding"])
def test_examples_can_be_predicted(client, model):
    image = client.get("/api/example", params={"model": model})
    assert image.headers["content-type"] == "application/fits"
    answer = client.post("/api/predict", params={"model": model}, content=image.content).json()
    assert np.isclose(sum(answer["predictions"][0]["probabilities"].values()), 1, atol=1e-5)
