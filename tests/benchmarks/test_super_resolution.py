from types import SimpleNamespace

import numpy as np
import pytest
from benchmarks.super_resolution import classified, fitted, lenses, paired

from darklens.evaluate import image_quality as quality
from darklens.simulate import PAIRS
from darklens.train.enhancer import classical


class Bicubic:
    """An enhancer that has learned nothing."""

    run = SimpleNamespace(recipe={"name": "mine"})

    def classical(self, images, method):
        return classical(images, method, {"gain": 0.25, "blur": 1.0, "iterations": 3, "scale": 2})

    def __call__(self, images):
        return self.classical(images, "bicubic"), None


class Classifier:
    """Calls everything of the first class, and says which images it was asked about."""

    classes = ("no_sub", "cdm", "axion")

    def __init__(self, unit):
        self.run = type("Run", (), {"model": {"flux_unit": unit}})

    def checked(self, images):
        self.asked = images
        return images

    def answers(self, images):
        probabilities = np.tile([0.6, 0.2, 0.2], (len(images), 1))
        return type("Answers", (), {"probabilities": probabilities, "called": probabilities.argmax(1)})


@pytest.fixture(scope="module")
def made():
    return lenses(PAIRS["sr-pairs-64"], Bicubic(), 6)


def test_every_version_is_of_the_same_lenses_with_the_camera_s_noise(made):
    versions, labels, theta_e = made
    assert set(versions) == {"bicubic", "richardson-lucy", "mine", "truth", "recorded"}
    assert labels.tolist() == ["no_sub", "cdm", "axion"] * 2
    assert theta_e.shape == (6,)
    truth = PAIRS["sr-pairs-64"].images(PAIRS["sr-pairs-64"].draw(6, 30_000), "TRUTH")
    corner = np.s_[..., :16, :16]
    noise = {kind: float((images - truth)[corner].std()) for kind, images in versions.items()}
    assert noise["truth"] == pytest.approx(noise["recorded"], rel=0.1)
    assert np.array_equal(versions["mine"], versions["bicubic"])
    assert (quality.psnr(versions["truth"], truth) > quality.psnr(versions["bicubic"], truth)).all()


def test_classifiers_of_scaled_images_get_scaled_ones(made):
    versions, labels, _ = made
    codes = np.array([Classifier.classes.index(name) for name in labels])
    for unit, top in (("min-max", 1.0), ("e-/s", versions["truth"].max())):
        judge = Classifier(unit)
        row = classified(judge, versions["truth"], codes)
        assert judge.asked.max() == pytest.approx(top)
        assert row["accuracy"]["value"] == pytest.approx(1 / 3)
        assert not row["substructure"].any()


def test_the_einstein_radius_of_smooth_lenses_is_found(made):
    versions, labels, theta_e = made
    smooth = labels == "no_sub"
    found = fitted(PAIRS["sr-pairs-64"], versions["recorded"][smooth], theta_e[smooth])
    assert abs(found["bias"]["value"]) < 0.02
    assert found["converged"]["value"] == 1


def test_paired_differences_have_intervals():
    found = paired(np.array([0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]))
    assert found["low"] <= found["value"] == 0.375 <= found["high"]
