import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics as sk

from darklens.errors import InputError
from darklens.evaluate import classification_metrics, compare_predictions, fit_temperature, paired_difference

CLASSES = ("no_sub", "cdm", "axion")


def predictions(n=600, seed=0, signal=1.0, ties=False):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    logits = rng.normal(size=(n, 3)) + signal * np.eye(3)[labels]
    p = softmax(logits.round(1) if ties else logits, axis=1)
    return p, labels


@pytest.mark.parametrize("ties", [False, True])
def test_figures_are_scikit_learns(ties):
    p, y = predictions(ties=ties)
    found = classification_metrics(p, y, CLASSES, n_boot=20)
    one_hot, predicted = np.eye(3)[y], p.argmax(1)
    expected = {
        "accuracy": sk.accuracy_score(y, predicted),
        "loss": sk.log_loss(y, p),
        "auc_macro": sk.roc_auc_score(one_hot, p, average="macro"),
        "average_precision": sk.average_precision_score(one_hot, p, average="macro"),
        "f1_macro": sk.f1_score(y, predicted, average="macro"),
        "precision_macro": sk.precision_score(y, predicted, average="macro"),
        "recall_macro": sk.recall_score(y, predicted, average="macro"),
        "brier": ((p - one_hot) ** 2).sum(1).mean(),
    }
    for key, value in expected.items():
        assert found[key]["value"] == pytest.approx(value, abs=1e-12), key
        assert found[key]["low"] <= value <= found[key]["high"]
    for k, name in enumerate(CLASSES):
        assert found["auc"][name]["value"] == pytest.approx(sk.roc_auc_score(y == k, p[:, k]), abs=1e-12)
        assert found["average_precision_per_class"][name]["value"] == pytest.approx(
            sk.average_precision_score(y == k, p[:, k]), abs=1e-12
        )
    assert found["confusion_matrix"] == sk.confusion_matrix(y, predicted).tolist()


def test_calibration_error_by_hand():
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    y = np.array([0, 1, 0, 1])
    found = classification_metrics(p, y, ("a", "b"), n_boot=5)["ece"]["value"]
    assert found == pytest.approx((abs(1 - 1.8) + abs(1 - 0.6) + abs(1 - 0.8)) / 4)


def test_intervals_cover_the_truth_as_often_as_they_say():
    """The interval of the AUC of one draw must hold the AUC of the population in 95% of draws (within four deviations)."""
    big, labels = predictions(200_000, seed=99)
    truth = sk.roc_auc_score(np.eye(3)[labels], big, average="macro")
    inside = 0
    trials = 120
    for trial in range(trials):
        p, y = predictions(300, seed=trial)
        found = classification_metrics(p, y, CLASSES, n_boot=200, seed=trial)["auc_macro"]
        inside += found["low"] <= truth <= found["high"]
    assert inside / trials > 0.95 - 4 * (0.95 * 0.05 / trials) ** 0.5


def test_the_width_of_the_accuracy_interval_is_the_binomial_one():
    p, y = predictions(3000)
    found = classification_metrics(p, y, CLASSES)["accuracy"]
    a = found["value"]
    assert (found["high"] - found["low"]) / 2 == pytest.approx(1.96 * (a * (1 - a) / 3000) ** 0.5, rel=0.1)


def test_an_absent_class_has_null_figures_and_a_note():
    p, y = predictions(100)
    p, y = p[y != 2], y[y != 2]
    found = classification_metrics(p, y, CLASSES, n_boot=20)
    assert found["auc"]["axion"]["value"] is None
    assert found["auc_macro"]["value"] == pytest.approx(np.mean([found["auc"][c]["value"] for c in CLASSES[:2]]))
    assert "axion" in found["notes"][0]


def test_paired_difference_is_of_the_same_images():
    p, y = predictions(1500, seed=1)
    q = softmax(np.log(p) + 0.15 * np.random.default_rng(2).normal(size=p.shape), axis=1)  # the same, slightly worse
    found = paired_difference(p, q, y, CLASSES)["auc_macro"]
    alone = classification_metrics(p, y, CLASSES)["auc_macro"]
    assert found["high"] - found["low"] < 0.5 * (alone["high"] - alone["low"])  # pairing takes the common scatter out
    assert paired_difference(p, p, y, CLASSES)["accuracy"]["value"] == 0
    assert not paired_difference(p, p, y, CLASSES)["accuracy"]["excludes_zero"]


def test_paired_difference_is_antisymmetric_and_sees_a_real_one():
    p, y = predictions(1500, seed=1, signal=2.0)
    q, _ = predictions(1500, seed=1, signal=1.0)
    ab, ba = paired_difference(p, q, y, CLASSES), paired_difference(q, p, y, CLASSES)
    assert ab["auc_macro"]["value"] == pytest.approx(-ba["auc_macro"]["value"])
    assert ab["auc_macro"]["excludes_zero"]
    assert ab["auc_macro"]["p_value"] < 0.01


def test_comparison_aligns_by_name_and_refuses_other_images():
    p, y = predictions(200)
    ids = np.array([f"image-{i}" for i in range(200)], dtype=object)
    labels = np.array(CLASSES, dtype=object)[y]

    def columns(order, p=p):
        return {"id": ids[order], "label": labels[order]} | {c: p[order, k] for k, c in enumerate(CLASSES)}

    shuffled = np.random.default_rng(0).permutation(200)
    (row,) = compare_predictions({"a": (columns(np.arange(200)), CLASSES), "b": (columns(shuffled), CLASSES)})
    assert row["accuracy"]["value"] == 0
    assert row["loss"]["high"] == pytest.approx(0)
    with pytest.raises(InputError, match="different images"):
        compare_predictions({"a": (columns(np.arange(200)), CLASSES), "b": (columns(np.arange(150)), CLASSES)})
    with pytest.raises(InputError, match="same classes"):
        compare_predictions({"a": (columns(np.arange(200)), CLASSES), "b": (columns(np.arange(200)), CLASSES[::-1])})


def test_temperature_is_recovered():
    rng = np.random.default_rng(4)
    logits = 2 * rng.normal(size=(20_000, 3))
    p = softmax(logits, axis=1)
    labels = (p.cumsum(1) > rng.random((20_000, 1))).argmax(1)
    assert fit_temperature(2.5 * logits, labels) == pytest.approx(2.5, rel=0.05)
    before = classification_metrics(softmax(2.5 * logits, axis=1), labels, CLASSES, n_boot=2)["ece"]["value"]
    after = classification_metrics(p, labels, CLASSES, n_boot=2)["ece"]["value"]
    assert after < 0.02 < before


@pytest.mark.parametrize(
    ("p", "y", "match"),
    [
        (np.full((3, 3), 0.5), [0, 1, 2], "add up to 1"),
        (np.full((3, 3), 1 / 3), [0, 1, 5], "0 to 2"),
        (np.full((2, 3), 1 / 3), [0, 1, 2], "shape"),
        (np.zeros((0, 3)), [], "at least 1"),
    ],
)
def test_bad_input_is_one_sentence(p, y, match):
    with pytest.raises(InputError, match=match):
        classification_metrics(p, np.array(y, dtype=int), CLASSES)
