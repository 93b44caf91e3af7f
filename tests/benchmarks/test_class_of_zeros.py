import numpy as np
import pytest

from benchmarks import class_of_zeros


@pytest.fixture(scope="module")
def found():
    return class_of_zeros.measure("model-iii-noisy", 60, 60)


def test_a_class_of_zeros_is_told_apart_by_its_brightest_pixel_alone(found):
    cases = found["accuracy"]["brightest pixel"]
    assert cases["a class of zeros"]["axion"]["value"] == 1.0
    assert cases["as they are"]["axion"]["value"] < 0.8
    assert cases["a class of zeros"]["all"]["value"] > cases["as they are"]["all"]["value"] + 0.15


def test_the_published_figure_is_one_of_two_classes(found):
    assert found["published_means_of_two_classes"] == pytest.approx(0.9901)
    for cases in found["accuracy"].values():
        zeros = cases["a class of zeros"]
        whole = (zeros["axion"]["value"] * zeros["axion"]["n"] + zeros["others"]["value"] * zeros["others"]["n"]) / zeros["all"][
            "n"
        ]
        assert zeros["all"]["value"] == pytest.approx(whole)


def test_the_loader_zeroes_one_class_and_no_other():
    images, names = np.ones((4, 1, 8, 8), np.float32), np.array(["no_sub", "axion", "cdm", "axion"])
    assert class_of_zeros.zeroed(images, names).sum((1, 2, 3)).tolist() == [64, 0, 64, 0]
