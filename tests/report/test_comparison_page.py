"""The comparison page, from run folders with the real layout."""

import re

import numpy as np
import pytest
from scipy.special import softmax

from darklens.api import comparison_page, report
from darklens.errors import InputError
from darklens.evaluate import classification_metrics
from darklens.runs import Run

CLASSES = ["no_sub", "cdm", "axion"]
METRICS = {
    "n": 12,
    "task": "super-resolution",
    "headline": ["gain_db"],
    "gain_db": {"value": 1.25, "low": 1.0, "high": 1.5, "n": 12},
}


def finished(path, seed, signal):
    """A classifier's run, tested on the same 120 images as every other, without pictures or weights."""
    labels = np.random.default_rng(0).integers(0, 3, 120)
    noise = np.random.default_rng(seed).normal(size=(120, 3))
    p = softmax(noise + signal * np.eye(3)[labels], axis=1)
    run = Run.create(path, {"name": "fake"})
    run.write_history([{"epoch": e, "lr": 0.1, "train_loss": 1 / e, "val_loss": 1.1 / e, "val_accuracy": 0.2 * e} for e in (1, 2)])
    names = np.array(CLASSES, dtype=object)
    ids = [f"image-{i}" for i in range(120)]
    run.write_predictions({"id": ids, "label": names[labels]} | {c: p[:, k] for k, c in enumerate(CLASSES)})
    run.write("model", {"name": "net", "classes": CLASSES, "single_logit": False})
    run.write("data", {"preset": "model-iii", "splits": {"test": {"rows": 120, "counts": {}, "checksum": "ab" * 32, "seed": 1}}})
    run.write("metrics", classification_metrics(p, labels, CLASSES, n_boot=50))
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [finished(folder / "good", 1, 3.0), finished(folder / "poor", 2, 0.2), finished(folder / "alike", 3, 3.0)]


@pytest.fixture
def sharper(tmp_path):
    made = Run.create(tmp_path / "sharper", {"name": "x"})
    made.write("metrics", METRICS)
    made.write("model", {"name": "mine", "task": "super-resolution"})
    return made


def test_runs_of_any_tasks_stand_on_one_page(runs, sharper, tmp_path):
    text = comparison_page([*runs, sharper], tmp_path / "page.html", title="All <of> them").read_text()
    assert "All &lt;of&gt; them" in text
    assert "http" not in text.split("<body>")[1]
    assert "<img" not in text  # figures are with the reports
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(re.findall(r'id="([^"]+)"', text))
    for run in runs:
        assert f"{run.metrics['auc_macro']['value']:.4f}" in text
    assert "super-resolution" in text
    assert "gain over bicubic (dB)" in text
    for name in CLASSES:
        assert f"ROC of {name} against the rest" in text
    assert text.count("<polyline") == 3 * 3 + 2 * 3  # curves of each class, loss and accuracy of each run


def test_only_what_is_better_beyond_doubt_is_green(runs, tmp_path):
    text = comparison_page(runs, tmp_path / "page.html").read_text()
    matrix = text.split("Macro AUC of the row minus")[1].split("</table>")[0]
    rows = {part.split("</th>")[0]: part for part in matrix.split('<th scope="row">')[1:]}
    assert [rows[name].count('class="best"') for name in ("good", "poor", "alike")] == [1, 0, 1]
    assert all(part.count("<td") == 3 for part in rows.values())


def test_what_is_no_comparison_is_refused(runs, tmp_path):
    with pytest.raises(InputError, match="1 run given"):
        comparison_page(runs[:1], tmp_path / "page.html")
    with pytest.raises(InputError, match=r"is no \.html file"):
        comparison_page(runs, tmp_path / "page.pdf")
    unfinished = Run.create(tmp_path / "unfinished", {"name": "x"})
    unfinished.write("model", {"name": "cnn"})
    with pytest.raises(InputError, match="has no metrics yet"):
        comparison_page([*runs, unfinished], tmp_path / "page.html")


def test_a_report_says_why_no_mistake_can_be_opened(runs, tmp_path):
    text = report(runs[:2], tmp_path / "page.html").read_text()
    assert text.count("No mistake can be opened") == 2
    assert "the training is not finished" in text
    assert "<dialog" not in text
    assert text.count("<polyline") == 2 * (3 + 2 + 1)
    assert "No mistake" not in report(runs[:2], tmp_path / "page.html", mistakes=0).read_text()
    with pytest.raises(InputError, match="--mistakes -1 is below 0"):
        report(runs, tmp_path / "page.html", mistakes=-1)
