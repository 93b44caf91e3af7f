"""The page, made from run folders with the real layout."""

import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from scipy.special import softmax

from darklens.errors import InputError
from darklens.evaluate import classification_metrics, compare_predictions, format_difference
from darklens.evaluate.figure_set import save_classification_figures, save_training_figures
from darklens.report import page as report_page
from darklens.report import render_report
from darklens.runs import Run

CLASSES = ["no_sub", "cdm", "axion"]


def fake_run(path, seed, signal, name="<b>net</b>"):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 120)
    noise = np.random.default_rng(seed).normal(size=(120, 3))
    p = softmax(noise + signal * np.eye(3)[labels], axis=1)
    images = np.random.default_rng(1).random((120, 1, 20, 24)).astype(np.float32)
    ids = [f"image-{i}" for i in range(120)]
    run = Run.create(path, {"name": "fake", "summary": "made for this test", "data": {}, "model": {"name": name}})
    metrics = classification_metrics(p, labels, CLASSES, n_boot=50)
    history = [
        {"epoch": e, "lr": 0.1, "train_loss": 1 / e, "val_loss": 1.1 / e, "val_accuracy": 0.5, "images_per_s": 9.0} for e in (1, 2)
    ]
    run.write_history(history)
    names = np.array(CLASSES, dtype=object)
    run.write_predictions({"id": ids, "label": names[labels]} | {c: p[:, k] for k, c in enumerate(CLASSES)})
    run.write("model", {"name": name, "classes": CLASSES, "single_logit": False})
    split = {"rows": 120, "counts": {c: 40 for c in CLASSES}, "checksum": "ab" * 32, "seed": 1}
    card = {"source": "simulated: <script>alert(1)</script>", "classes": CLASSES, "shape": [1, 20, 24], "pixel_scale": 0.1}
    run.write(
        "data", card | {"flux_unit": "e-/s", "splits": dict.fromkeys(("train", "validation", "test"), split), "disjoint": "checked"}
    )
    machine = {"processor": "P", "cores": 2, "memory_gib": 8, "accelerator": None}
    made = {"parameters": 123456, "training_seconds": 61.0, "seed": 0, "machine": machine, "versions": {"darklens": "0"}}
    run.write("provenance", made)
    number = {"value": 0.02, "low": 0.01, "high": 0.03, "n": 9}
    run.write("calibration", {"temperature": 1.25, "n": 90, "ece_before": number, "ece_after": number})
    save_classification_figures(run.path / "figures", p, labels, metrics, images, ids, unit="e-/s", pixel_scale=0.1)
    save_training_figures(
        run.path / "figures", history, np.random.default_rng(2).normal(size=(3, 8, 10, 12)), images[:3, 0], CLASSES
    )
    run.write("metrics", metrics)
    return run


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.images, self.links, self.ids, self.text = [], [], [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        if tag == "img":
            self.images.append(attributes)
        if tag == "a":
            self.links.append(attributes["href"])
        if "id" in attributes:
            self.ids.add(attributes["id"])

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fake")
    return [fake_run(folder / "good", 3, 3.0), fake_run(folder / "poor", 4, 0.5)]


def rendered(runs, path):
    pairs = compare_predictions({r.path.name: (r.predictions(), r.metrics["classes"]) for r in runs}) if len(runs) > 1 else None
    render_report(runs, path, comparison=pairs, title="A <title>")
    return path.read_text()


def test_the_page_is_self_contained_and_shows_every_number(runs, tmp_path):
    text = rendered(runs, tmp_path / "r.html")
    page = Page(text)
    assert page.tags.count("script") == 1  # the page's own
    assert not any(link for link in page.links if not link.startswith("#"))
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.images)
    assert "http" not in text.split("<body>")[1]
    words = " ".join(page.text)
    for run in runs:
        value = run.metrics["auc_macro"]
        assert f"{value['value']:.4f}" in words
        assert f"[{value['low']:.4f}, {value['high']:.4f}]" in words
        for name in CLASSES:
            assert f"{run.metrics['auc'][name]['value']:.4f}" in words
    assert "1.250" in words
    assert "image-" in words  # the mistakes are named


def test_the_page_is_accessible(runs, tmp_path):
    page = Page(rendered(runs, tmp_path / "r.html"))
    assert page.tags.count("h1") == 1
    assert all(len(image["alt"]) > 15 for image in page.images)
    assert {link[1:] for link in page.links} <= page.ids
    assert "main" in page.tags


def test_what_users_supply_is_escaped(runs, tmp_path):
    text = rendered(runs, tmp_path / "r.html")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "A &lt;title&gt;" in text


def test_best_is_said_only_where_the_paired_interval_excludes_zero(runs, tmp_path):
    text = rendered(runs, tmp_path / "r.html")
    assert "good is better" in text
    assert "★" in text
    same = rendered([runs[0], fake_run(tmp_path / "again", 3, 3.0)], tmp_path / "s.html")
    assert "indistinguishable" in same
    assert "★" not in same


def test_one_run_has_no_comparison(runs, tmp_path):
    assert "Paired comparison" not in rendered(runs[:1], tmp_path / "r.html")


def test_evaluations_on_other_data_are_shown(runs, tmp_path):
    place = runs[0].evaluation("official files")
    place.write("metrics", runs[0].metrics)
    place.write("data", {"source": "somewhere"})
    assert "On other data" in rendered(runs, tmp_path / "r.html")


def test_a_run_without_results_is_refused(tmp_path):
    empty = Run.create(tmp_path / "e", {"name": "x"})
    with pytest.raises(InputError, match="no metrics yet"):
        render_report([empty], tmp_path / "r.html")
    with pytest.raises(InputError, match="at least 1"):
        render_report([], tmp_path / "r.html")


def copy_of(run, path):
    """A run folder with the same content, to be changed."""
    shutil.copytree(run.path, path)
    return Run.open(path)


def test_the_page_asks_nothing_of_the_network_and_is_well_formed(runs, tmp_path):
    text = rendered(runs, tmp_path / "r.html")
    assert "url(" not in text
    assert "@import" not in text
    assert "<link" not in text
    identifiers = re.findall(r'\bid="([^"]+)"', text)
    assert len(identifiers) == len(set(identifiers))
    for tag in ("table", "section", "figure", "details", "svg", "tr", "td", "div"):
        assert len(re.findall(rf"<{tag}[ >]", text)) == text.count(f"</{tag}>"), tag
    assert set(re.findall(r'aria-labelledby="([^"]+)"', text)) <= set(identifiers)


def test_differences_stand_with_their_interval_and_in_words(runs, tmp_path):
    (pair,) = compare_predictions({r.path.name: (r.predictions(), r.metrics["classes"]) for r in runs})
    words = " ".join(Page(rendered(runs, tmp_path / "r.html")).text)
    for key in ("accuracy", "auc_macro", "loss", "brier"):
        assert format_difference(pair[key]).replace("-", "\N{MINUS SIGN}") in words
    assert "good is better" in words
    assert "Two networks were trained on 120 images" in words


def test_the_data_card_answers_every_question_or_says_that_it_cannot(runs, tmp_path):
    words = " ".join(Page(rendered(runs[:1], tmp_path / "r.html")).text)
    assert words.count("not recorded") == 5  # summary, command, instrument, cosmology, defects
    assert "360: 120 for train, 120 for validation, 120 for test" in words
    assert '0.1" a pixel, 2.4" × 2" on the sky' in words
    assert "abababababababab" in words


def test_runs_on_different_data_have_a_card_each(runs, tmp_path):
    other = copy_of(runs[1], tmp_path / "other")
    other.write("data", runs[1].data | {"summary": "other images"})
    text = rendered([runs[0], other], tmp_path / "r.html")
    assert text.count("What is known to be wrong with them?") == 2
    assert "trained on different data" in text


def test_one_card_stands_for_equal_images_in_two_folders(runs, tmp_path):
    twin = copy_of(runs[1], tmp_path / "twin")
    twin.write("data", twin.data | {"splits": {k: v | {"path": f"elsewhere/{k}"} for k, v in twin.data["splits"].items()}})
    text = rendered([runs[0], twin], tmp_path / "r.html")
    assert text.count("What is known to be wrong with them?") == 1
    assert "trained on different data" not in text
    for run, place in ((copy_of(runs[0], tmp_path / "one"), "here"), (twin, "there")):  # nobody knows that these are equal
        run.write("data", run.data | {"splits": {"test": {"rows": 120, "counts": {}, "checksum": None, "path": place}}})
    assert "trained on different data" in rendered([Run(tmp_path / "one"), twin], tmp_path / "s.html")


def test_sparse_folders_make_a_page(runs, tmp_path):
    bare = copy_of(runs[0], tmp_path / "bare")
    for name in ("data", "provenance", "calibration"):
        (bare.path / f"{name}.json").unlink()
    shutil.rmtree(bare.path / "figures")
    assert "origin not recorded" in rendered([bare], tmp_path / "r.html")


def test_a_temperature_at_its_end_is_remarked_upon(runs, tmp_path):
    lost = copy_of(runs[0], tmp_path / "lost")
    assert "carry no information" not in rendered([lost], tmp_path / "r.html")
    lost.write("calibration", runs[0].calibration | {"temperature": 50.0})
    assert "carry no information" in rendered([lost], tmp_path / "s.html")


def test_notes_of_the_metrics_are_passed_on(runs, tmp_path):
    noted = copy_of(runs[0], tmp_path / "noted")
    noted.write("metrics", runs[0].metrics | {"notes": ["no mistake & <none> seen"]})
    assert "noted: no mistake &amp; &lt;none&gt; seen." in rendered([noted], tmp_path / "r.html")


def test_runs_of_one_name_are_told_apart(runs, tmp_path):
    twins = [copy_of(runs[0], tmp_path / side / "net") for side in ("left", "right")]
    render_report(twins, tmp_path / "r.html")
    words = " ".join(Page((tmp_path / "r.html").read_text()).text)
    assert "left/net" in words
    assert "right/net" in words
    assert str(tmp_path) not in words.split("Provenance")[0]


def test_a_missing_picture_is_named(runs, tmp_path):
    torn = copy_of(runs[0], tmp_path / "torn")
    (torn.path / "figures" / "curves.png").unlink()
    with pytest.raises(InputError, match=r"curves\.png is missing"):
        render_report([torn], tmp_path / "r.html")


def test_a_page_that_grows_too_large_is_refused(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(report_page, "MAX_BYTES", 10_000)
    with pytest.raises(InputError, match="fewer runs"):
        render_report(runs, tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()
