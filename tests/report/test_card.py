"""Cards of runs and tables, and the folder for model hubs: every question answered, every figure from the run."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
import yaml

import darklens
from darklens import cli
from darklens.errors import InputError
from darklens.evaluate import classification_metrics, format_interval
from darklens.evaluate.proportion import proportion
from darklens.report.card import Card, Grid, Section, question
from darklens.report.data_card import data_card
from darklens.report.hub_folder import CARD, CONFIG, KEPT
from darklens.report.model_card import model_card
from darklens.runs import Run
from darklens.simulate import simulate
from darklens.train.checkpoint import save_weights
from darklens.train.config import Preprocess
from darklens.train.predictor import Predictor, build_model

CLASSES = ["no_sub", "cdm", "axion"]
MODEL_QUESTIONS = 34
DATA_QUESTIONS = 23


def metrics_of(n=120, right=0.8):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    called = np.where(rng.random(n) < right, labels, (labels + 1) % 3)
    p = 0.1 + 0.7 * np.eye(3)[called]
    return classification_metrics(p, labels, CLASSES, n_boot=50)


def described(**more):
    model = {"name": "cnn", "options": {"classes_": 3}, "seed": 3, "classes": CLASSES, "group": {}, "single_logit": False}
    model |= {"shape": [1, 64, 64], "pixel_scale": 0.08, "flux_unit": "e-/s", "preprocess": Preprocess().model_dump()}
    return model | {"options": {}, "symmetries": False, "torch": "x"} | more


@pytest.fixture
def run(tmp_path):
    """A whole run, whose network has learnt nothing and whose figures are made up here."""
    recipe = {
        "name": "made-up",
        "summary": "of <b>this</b> test",
        "train": {"lr": 0.004, "augment": ["flip", "shift"], "ema": None},
    }
    run = Run.create(tmp_path / "run", recipe)
    run.write("model", described())
    network = build_model(described(), 3)
    for parameter in network.parameters():
        parameter.data += 0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    save_weights(run.path / "weights.safetensors", network.state_dict())
    run.write_history([{"epoch": e, "val_loss": 1.0 / e, "images_per_s": 321.0} for e in (1, 2, 3)])
    split = {"rows": 30, "counts": dict.fromkeys(CLASSES, 10), "checksum": "ab" * 32, "seed": 5}
    card = {"summary": "rings", "source": "simulated: model-iii", "preset": "model-iii", "shape": [1, 64, 64], "pixel_scale": 0.08}
    card |= {
        "flux_unit": "e-/s",
        "classes": CLASSES,
        "disjoint": "checked",
        "notes": "always 25 subhalos",
        "instrument": {"name": "F1"},
    }
    card |= {"cosmology": {"name": "Flat", "H0": 70.0}, "how_to_repeat": "darklens simulate A; darklens simulate B"}
    run.write("data", card | {"splits": dict.fromkeys(("train", "validation", "test"), split)})
    made = {"command": "darklens train made-up", "date": "2026-01-02", "commit": "abc123+changes", "parameters": 509955, "seed": 3}
    made |= {"versions": {"darklens": "0", "torch": "2"}, "machine": {"processor": "P", "cores": 2}, "training_seconds": 61.0}
    made |= {"epochs": 3, "best_epoch": 3, "device": "cpu", "precision": "float32", "predict_images_per_s": 777.0}
    run.write("provenance", made)
    number = {"value": 0.02, "low": 0.01, "high": 0.03, "n": 9}
    fitted = {"temperature": 1.25, "n": 90, "fitted_on": "validation", "ece_before": number, "ece_after": number}
    run.write("calibration", fitted)
    run.write("metrics", metrics_of())
    return run


def test_a_model_card_tells_every_figure_with_its_interval(run):
    text = model_card(run).markdown()
    metrics = run.metrics
    for key in ("accuracy", "auc_macro", "loss", "ece"):
        assert f"| {format_interval(metrics[key])} |" in text
    for key in ("auc", "recall"):
        assert all(format_interval(metrics[key][name]) in text for name in CLASSES)
    for fact in ("`darklens train made-up`", "abc123+changes", "509,955 parameters", "P, 2 cores", "Temperature 1.250", "lr 0.004"):
        assert fact in text
    for fact in (
        "augment flip + shift",
        "ema none",
        "| test | 10 | 10 | 10 | 30 |",
        "`darklens simulate B`",
        "61 s on cpu in float32",
    ):
        assert fact in text
    confusion = metrics["confusion_matrix"][1]
    assert "| cdm | " + " | ".join(map(str, confusion)) + " |" in text
    assert "of &lt;b>this&lt;/b> test" in text  # no HTML of users'


def test_the_limits_are_filled_from_facts(run):
    def limits():
        return model_card(run).markdown().split("## Limits")[1]

    half = (run.metrics["accuracy"]["high"] - run.metrics["accuracy"]["low"]) / 2
    for fact in (
        f"A small test set of 120 images: accuracies within {half:.4f}",
        "One seed",
        "best epoch was the last",
        "beyond its commit",
    ):
        assert fact in limits()
    for fact in (
        "one preset (model-iii)",
        'One pixel scale, 0.08"',
        "always 25 subhalos",
        "not been evaluated on images of another origin",
    ):
        assert fact in limits()
    assert "PSF and noise of the training images are learnt" in limits()
    run.write("provenance", run.provenance | {"best_epoch": 2, "commit": "abc123"})
    fit = {"model": "sie", "psf": {"kind": "gaussian", "fwhm": 0.1}, "noise": {"kind": "linear"}, "fixed": {}, "origin": "preset x"}
    run.write("model", described(fit=fit))
    place = run.evaluation("elsewhere")
    place.write("metrics", metrics_of(15, right=1.0))
    place.write("data", {"source": "official files"})
    for gone in ("best epoch was the last", "beyond its commit", "images of another origin", "are learnt with the rest"):
        assert gone not in limits()
    assert "PSF and noise are taken as known" in limits()
    text = model_card(run).markdown()
    assert "sie; PSF gaussian, fwhm 0.1; noise linear; settings from preset x." in text
    exact = format_interval(proportion(15, 15))  # resampling all right answers gives an interval without width
    assert f"| elsewhere | official files | 15 | {exact} (exact) |" in text
    (run.path.parent / "seeds.json").write_text(
        json.dumps({"metrics": {"accuracy": {"n": 5, "mean": 0.81, "sd": 0.012, "min": 0.79, "max": 0.83}}})
    )
    assert "One seed" not in limits()
    assert "One of 5 seeds: accuracy 0.8100 ± 0.0120" in model_card(run).markdown()


def questions(text):
    return re.findall(r"^\*\*(.+\?)\*\*\n\n(.+)", text, flags=re.MULTILINE)


def test_no_question_is_left_blank(run, tmp_path):
    whole = questions(model_card(run).markdown())
    assert len(whole) == MODEL_QUESTIONS
    assert [q for q, a in whole if a == "not recorded"] == [
        "Who made it?",
        "What does it reach on images of another origin?",
        "Do prediction sets hold the true class as often as promised?",
        "Does it notice images of another kind?",
    ]
    bare = Run.create(tmp_path / "bare", {"name": "bare"})
    bare.write("model", described())
    asked = questions(model_card(bare).markdown())
    assert [q for q, _ in asked] == [q for q, _ in whole]
    assert sum(a == "not recorded" for _, a in asked) == 25
    with pytest.raises(InputError, match="has not begun"):
        model_card(Run.create(tmp_path / "nothing", {"name": "nothing"}))


def test_the_front_matter_is_what_hubs_read(run):
    text = model_card(run).markdown()
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["license"] == "mit"
    assert (front["library_name"], front["pipeline_tag"]) == ("darklens", "image-classification")
    assert "cnn" in front["tags"]
    result = front["model-index"][0]["results"][0]
    assert result["dataset"]["name"] == "model-iii"
    found = {m["type"]: m for m in result["metrics"]}
    accuracy = run.metrics["accuracy"]
    assert found["accuracy"]["value"] == pytest.approx(accuracy["value"], abs=1e-6)
    assert format_interval(accuracy) in found["accuracy"]["name"]
    assert "n = 120" in found["accuracy"]["name"]
    assert not model_card(run).markdown(front=False).startswith("---")


def test_a_data_card_tells_how_a_table_was_made(tmp_path):
    table = simulate("model-iii-noisy", 12, seed=7, out=tmp_path / "t")
    text = data_card(table).markdown()
    assert len(questions(text)) == DATA_QUESTIONS
    assert "not recorded" not in text
    x = table.column("source_x")
    assert f"| source_x | arcsec | {x.min():.6g} | {np.median(x):.6g} | {x.max():.6g} | 12 |" in text
    known = np.isfinite(table.column("log10_m_axion")).sum()
    assert re.search(rf"\| log10_m_axion \| eV \|.*\| {known} \|", text)
    for fact in (
        "| cdm | 4 | 33.3% |",
        "`darklens simulate model-iii-noisy --n 12 --seed 7 --out TABLE`",
        table.checksum,
        "hst-wfc3-f160w",
    ):
        assert fact in text
    for fact in (
        "| m_sub | density ~ x^-0.9 from 1e+06 to 1e+10 | M_sun |",
        "Poisson counts of source and sky",
        "slope -0.9",
        "H0 70.0",
    ):
        assert fact in text
    images = table.images().astype(np.float64)
    assert f"{images.min():.6g} to {images.max():.6g}, mean {images.mean():.6g}" in text


def test_the_data_card_names_the_instrument_that_was_chosen(tmp_path):
    table = simulate("model-iii-noisy", 3, seed=7, instrument="euclid-vis", out=tmp_path / "t")
    text = data_card(table).markdown()
    assert "--seed 7 --instrument euclid-vis --out TABLE" in text
    amplitude = float(table.column("source_amp")[0])
    assert amplitude == pytest.approx(float(re.search(r"\| source_amp \| always ([\d.e+]+)", text)[1]), rel=1e-4)


def test_a_data_card_of_imported_images_says_what_it_does_not_know(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "tree" / "train" / name).mkdir(parents=True)
        np.save(tmp_path / "tree" / "train" / name / "1.npy", np.random.default_rng(ord(name)).random((8, 9)))
    from darklens.data import import_path

    import_path(tmp_path / "tree", tmp_path / "t")
    text = darklens.card(tmp_path / "t").markdown()
    assert len(questions(text)) == DATA_QUESTIONS
    for fact in (
        "| train | 1 | 1 | 2 |",
        "1 band, 8 × 9 pixels\n",
        "None but id, label and split.",
        f"`darklens import {tmp_path / 'tree'} --out",
    ):
        assert fact in text
    assert text.count("not recorded") == 9


def test_what_users_supply_breaks_neither_tables_nor_pages():
    grid = Grid(("a|b",), (("x | <i>y",),))
    card = Card("t", "s", (Section("S", (question("Q?", "see [this](javascript:x) & `a < b`", grid),)),))
    text = card.markdown()
    assert "| a\\|b |" in text
    assert "| x \\| &lt;i>y |" in text
    assert "[this]\\(javascript:x) &amp; `a < b`" in text


def test_a_hub_folder_answers_as_the_run_does(run, tmp_path):
    images = np.random.default_rng(1).random((5, 1, 64, 64), np.float32)
    report = darklens.export(run, tmp_path / "hub", to="hub-folder")
    assert {CARD, CONFIG, "model.safetensors", "recipe.yaml"} <= set(report["files"])
    assert not (tmp_path / "hub" / "weights.safetensors").exists()
    wanted = darklens.open_run(run.path).predict(images)
    assert wanted.std(0).min() > 1e-5
    run.write("calibration", run.calibration | {"temperature": 9.0})  # the folder stands on its own
    moved = shutil.move(tmp_path / "hub", tmp_path / "elsewhere")
    shutil.rmtree(run.path)
    assert np.array_equal(darklens.open_run(moved).predict(images), wanted)
    config = json.loads((tmp_path / "elsewhere" / CONFIG).read_text())
    assert config["id2label"] == {"0": "no_sub", "1": "cdm", "2": "axion"}
    assert (config["architecture"], config["temperature"], config["shape"]) == ("cnn", 1.25, [1, 64, 64])
    assert Preprocess(**config["preprocess"]) == Preprocess()
    text = (tmp_path / "elsewhere" / CARD).read_text()
    assert "`darklens predict hub PATH`" in text
    from safetensors import safe_open

    with safe_open(tmp_path / "elsewhere" / "model.safetensors", "pt") as file:
        assert file.metadata()["format"] == "pt"


def test_a_hub_folder_replaces_only_its_like(run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("x")
    with pytest.raises(InputError, match="holds something"):
        darklens.export(run, tmp_path / "mine", to="hub-folder", force=True)
    with pytest.raises(InputError, match="the run itself"):
        darklens.export(run, run.path, to="hub-folder", force=True)
    darklens.export(run, tmp_path / "hub", to="hub-folder")
    with pytest.raises(InputError, match="--force"):
        darklens.export(run, tmp_path / "hub", to="hub-folder")
    run.write("calibration", run.calibration | {"temperature": 2.5})
    darklens.export(run, tmp_path / "hub", to="hub-folder", force=True)
    assert Predictor(Run.open(tmp_path / "hub"), "cpu").temperature == 2.5
    assert not (tmp_path / "hub" / "predictions.parquet").exists()
    assert "metrics.json" in KEPT


def command(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["darklens", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code, capsys.readouterr()


def test_the_command_prints_or_writes_a_card(run, tmp_path, monkeypatch, capsys):
    code, printed = command(monkeypatch, capsys, "card", run.path)
    assert code == 0
    assert printed.out == model_card(run).markdown()
    code, printed = command(monkeypatch, capsys, "card", run.path, "--out", tmp_path / "CARD.md")
    assert (code, printed.out) == (0, "")
    assert (tmp_path / "CARD.md").read_text() == model_card(run).markdown()
    code, printed = command(monkeypatch, capsys, "card", run.path, "--out", tmp_path / "CARD.md")
    assert (code, "give --force" in printed.err) == (2, True)
    code, printed = command(monkeypatch, capsys, "card", tmp_path)
    assert (code, "neither a run nor a table" in printed.err) == (2, True)
    code, printed = command(monkeypatch, capsys, "export", run.path, "--to", "hub-folder", "--out", tmp_path / "hub", "--json")
    assert code == 0
    assert CARD in json.loads(printed.out)["files"]
