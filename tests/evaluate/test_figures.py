import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import auc, average_precision_score, roc_auc_score

from darklens.data import Record
from darklens.errors import InputError
from darklens.evaluate import classification_metrics, figures
from darklens.evaluate.figure_set import save_classification_figures, save_gallery, save_training_figures
from darklens.evaluate.style import new_figure

CLASSES = ["no_sub", "cdm", "axion"]
PNG = b"\x89PNG"


def judged(n=90, seed=0, signal=2.0, only=None):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n) if only is None else np.full(n, only)
    p = softmax(rng.normal(size=(n, 3)) + signal * np.eye(3)[labels], axis=1)
    return SimpleNamespace(p=p, labels=labels, metrics=classification_metrics(p, labels, CLASSES, n_boot=20))


def images(n=90, shape=(1, 20, 30)):
    return np.random.default_rng(3).random((n, *shape)).astype(np.float32)


def save(folder, found, **options):
    names = [f"image-{i}" for i in range(len(found.labels))]
    save_classification_figures(folder, found.p, found.labels, found.metrics, images(len(found.labels)), names, **options)
    return {entry["file"]: entry for entry in json.loads((folder / "figures.json").read_text())["figures"]}


@pytest.fixture
def ax():
    return new_figure(3, 3).subplots()


def test_the_area_below_the_drawn_curves_is_the_number_in_the_legend(ax):
    found = judged(300)
    figures.plot_precision_recall(ax, found.p, found.labels, found.metrics)
    for k in range(3):
        recall, precision = ax.lines[2 * k].get_data()  # a curve and its chance level for each class
        area = (np.diff(recall) * precision[1:]).sum()
        assert area == pytest.approx(average_precision_score(found.labels == k, found.p[:, k]))
    other = new_figure(3, 3).subplots()
    figures.plot_roc(other, found.p, found.labels, found.metrics)
    for k in range(3):
        false, true = other.lines[1 + k].get_data()
        assert auc(false, true) == pytest.approx(roc_auc_score(found.labels == k, found.p[:, k]), abs=3e-3)  # the axis floor


def test_reliability_shows_the_accuracy_of_each_bin_within_its_interval(ax):
    found = judged(500)
    figures.plot_reliability(ax, found.p, found.labels, found.metrics)
    points = [line for line in ax.lines if line.get_marker() == "o"]
    bars = [line for line in ax.lines if line.get_marker() == "None" and line.get_linestyle() == "-"]
    assert len(points) == len(bars) > 3
    for point, bar in zip(points, bars, strict=True):
        low, high = bar.get_ydata()
        assert 0 <= low <= point.get_ydata()[0] <= high <= 1 + 1e-12
        assert high > low  # also where every answer of a bin is right


def test_colour_bar_is_in_the_images_own_unit(ax):
    image = np.linspace(5.0, 250.0, 600).reshape(20, 30)
    figures.show_image(ax, image, unit="ADU")
    bar = ax.figure.axes[1]
    ticks = [float(label.get_text()) for label in bar.get_yticklabels()]
    assert ticks[0] == pytest.approx(5, abs=2)
    assert ticks[-1] == pytest.approx(250, abs=1)
    assert np.all(np.diff(ticks) > 0)
    assert bar.get_title(loc="left") == "ADU"


def test_scale_bar_has_the_length_that_it_says(ax):
    figures.show_image(ax, images(1)[0, 0], pixel_scale=0.2)  # 30 pixels are 6"
    length = np.ptp(ax.lines[0].get_xdata())
    assert float(ax.texts[0].get_text().rstrip('"')) == pytest.approx(length * 0.2)
    assert 0.1 < length / 30 < 0.3


def test_one_hot_pixel_does_not_hide_the_image(ax):
    image = images(1)[0, 0].copy()
    image[3, 4] = 1e6
    figures.show_image(ax, image)
    assert ax.images[0].norm.vmax < 10


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan])
def test_images_of_one_value_and_of_none_are_shown(ax, value):
    figures.show_image(ax, np.full((8, 8), value), unit="e-/s", pixel_scale=0.1)
    ax.figure.canvas.draw()
    assert len(ax.images) == 1


def test_a_run_gets_its_figures_with_titles_and_alt_texts(tmp_path):
    entries = save(tmp_path, judged(), unit="e-/s", pixel_scale=0.08)
    assert list(entries) == ["examples.png", "curves.png", "confusion.png", "mistakes.png"]
    for file, entry in entries.items():
        assert (tmp_path / file).read_bytes().startswith(PNG)
        assert min(len(entry[key]) for key in ("title", "caption", "alt")) > 10
    assert "e-/s" in entries["examples.png"]["caption"]


def test_mistakes_are_the_most_confident_first_and_go_when_there_are_none(tmp_path):
    found = judged()
    wrong = np.flatnonzero(found.p.argmax(1) != found.labels)
    surest = wrong[found.p[wrong].max(1).argmax()]
    assert f"among 90: image-{surest}," in save(tmp_path, found)["mistakes.png"]["caption"]
    assert "mistakes.png" not in save(tmp_path, judged(signal=60.0))
    assert not (tmp_path / "mistakes.png").exists()


def test_data_of_one_class_is_drawn(tmp_path):
    assert "–" in save(tmp_path, judged(only=1))["curves.png"]["alt"]


def test_training_figures(tmp_path):
    history = [{"epoch": e, "lr": 1e-3, "train_loss": 2 / e, "val_loss": abs(e - 2) + 0.1, "val_accuracy": 0.5} for e in (1, 2, 3)]
    save_training_figures(tmp_path, history, np.random.default_rng(0).normal(size=(3, 5, 9, 9)), images(3)[:, 0], CLASSES)
    entries = json.loads((tmp_path / "figures.json").read_text())["figures"]
    assert [e["file"] for e in entries] == ["history.png", "features.png"]
    assert "epoch 2 of 3" in entries[0]["caption"]
    assert "first 5 of 5" in entries[1]["caption"]


def test_gallery_takes_any_shapes_and_unlabelled_images(tmp_path):
    def record(i, label, size):
        return Record(id=f"{i}", image=images(1, (1, size, size))[0], label=label, truth={}, source="s", split=None, metadata={})

    save_gallery(tmp_path / "g.png", (record(i, ["a", "b", None][i % 3], 8 + i) for i in range(12)), per_class=2)
    assert (tmp_path / "g.png").read_bytes().startswith(PNG)
    with pytest.raises(InputError, match="at least 1"):
        save_gallery(tmp_path / "none.png", [])


def test_images_of_three_bands_are_shown_in_colour_which_the_caption_says(tmp_path, ax):
    found, cubes = judged(), images(90, (3, 20, 30))
    names = [str(i) for i in range(90)]
    save_classification_figures(tmp_path, found.p, found.labels, found.metrics, cubes, names, unit="counts", pixel_scale=0.1)
    entries = {entry["file"]: entry for entry in json.loads((tmp_path / "figures.json").read_text())["figures"]}
    assert "the last band is red" in entries["examples.png"]["caption"]
    assert "colour bars" not in entries["examples.png"]["caption"]
    figures.show_image(ax, np.zeros((20, 30, 3)), unit="counts", pixel_scale=0.1)
    assert len(ax.figure.axes) == 1  # no colour bar
    assert ax.lines  # the scale


@pytest.mark.parametrize(("labels", "rows"), [([None], 3), (["a", "b"], 2)])
def test_a_gallery_of_one_class_has_rows_of_it(tmp_path, monkeypatch, labels, rows):
    made = []
    monkeypatch.setattr("darklens.evaluate.figure_set.new_figure", lambda *size: made.append(new_figure(*size)) or made[-1])
    records = [
        Record(id=f"{i}", image=image, label=labels[i % len(labels)], truth={}, source="s", split=None, metadata={})
        for i, image in enumerate(images(10, (3, 9, 9)))
    ]
    save_gallery(tmp_path / "g.png", records)
    (figure,) = made
    shown = [ax for ax in figure.axes if ax.images]
    assert figure.axes[0].get_gridspec().get_geometry() == (rows, 4)
    assert len(shown) == (10 if len(labels) == 1 else 8)
    assert all(ax.images[0].get_array().shape[-1] == 3 for ax in shown)
