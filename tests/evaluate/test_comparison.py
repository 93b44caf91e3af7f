import numpy as np
import pytest
from scipy.special import softmax

from darklens.errors import InputError
from darklens.evaluate import compare_predictions

CLASSES = ("no_sub", "cdm", "axion")
N = 200
RNG = np.random.default_rng(7)
LABELS = RNG.integers(0, 3, N)
PROBABILITIES = softmax(RNG.normal(size=(N, 3)) + 2 * np.eye(3)[LABELS], axis=1)
IDS = np.array([f"image-{i}" for i in range(N)], dtype=object)


def columns(order=slice(None), p=PROBABILITIES, labels=LABELS):
    names = np.array(CLASSES, dtype=object)[labels]
    return {"id": IDS[order], "label": names[order]} | {c: p[order, k] for k, c in enumerate(CLASSES)}


def test_rows_are_aligned_by_name():
    (row,) = compare_predictions({"a": (columns(), CLASSES), "b": (columns(RNG.permutation(N)), CLASSES)})
    assert (row["a"], row["b"], row["n"]) == ("a", "b", N)
    assert row["accuracy"]["value"] == 0
    assert row["loss"]["high"] == pytest.approx(0)


def test_every_pair_stands_once():
    worse = softmax(0.2 * np.log(PROBABILITIES) + RNG.normal(size=(N, 3)), axis=1)
    rows = compare_predictions({"a": (columns(), CLASSES), "b": (columns(p=worse), CLASSES), "c": (columns(), CLASSES)})
    assert [(r["a"], r["b"]) for r in rows] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert rows[0]["loss"]["excludes_zero"]
    assert rows[0]["loss"]["value"] == pytest.approx(-rows[2]["loss"]["value"])
    assert not rows[1]["loss"]["excludes_zero"]


@pytest.mark.parametrize(
    ("other", "classes", "match"),
    [
        (columns(slice(150)), CLASSES, "different images"),
        (columns(), CLASSES[::-1], "same classes"),
        (columns(labels=(LABELS + 1) % 3), CLASSES, "different labels"),
    ],
)
def test_what_cannot_be_compared_is_refused(other, classes, match):
    with pytest.raises(InputError, match=match):
        compare_predictions({"a": (columns(), CLASSES), "b": (other, classes)})
