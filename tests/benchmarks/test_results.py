import json
import re

import numpy as np
import pytest
from benchmarks.published import BEST, SYSTEMS, compared, interval
from benchmarks.result_page import page
from benchmarks.result_rows import limit_rows, merge

from benchmarks import results
from darklens.evaluate import classification_metrics, rare_metrics
from darklens.models import MODELS
from darklens.recipes import load, names
from darklens.runs import Run

CLASSES = ["no_sub", "cdm", "axion"]


def made_run(folder, model="resnet18", skill=1.0, *, recipe="model-iii-zoo", seed=0, checksum="c", date="2026-01-01", **card):
    """A finished run whose classifier is as good as `skill`."""
    labels = np.arange(300) % 3
    logits = np.random.default_rng(seed).normal(size=(300, 3))
    logits[np.arange(300), labels] += skill
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    usual = {"epochs": load(recipe).train.epochs if recipe in names() else 4}
    run = Run.create(folder, {"name": recipe, "data": {"preset": "model-iii"}, "train": usual} | card.pop("recipe_keys", {}))
    splits = {"train": {"rows": 1234}, "test": {"checksum": checksum, "rows": 300}}
    run.write("model", {"name": model, "single_logit": False})
    run.write("data", {"preset": "model-iii", "splits": splits} | card)
    about = {"parameters": 11_171_779, "training_seconds": 90, "epochs": 3, "seed": seed, "predict_images_per_s": 500.0}
    run.write("provenance", about | {"date": date, "command": f"darklens train {recipe}", "commit": "f" * 40 + "+changes"})
    run.write_history([{"epoch": 1, "images_per_s": 100.0}, {"epoch": 2, "images_per_s": 120.0}])
    names_of = np.array(CLASSES, dtype=object)
    columns = {name: probabilities[:, k] for k, name in enumerate(CLASSES)}
    run.write_predictions({"id": [str(i) for i in range(300)], "label": names_of[labels]} | columns)
    run.write("metrics", classification_metrics(probabilities, labels, CLASSES, n_boot=100))
    return run


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """No runs, rows or bounds but those of the test."""
    monkeypatch.setattr(results, "RUNS", tmp_path)
    monkeypatch.setattr(results, "shipped", lambda task: [])
    return tmp_path


def own(rows, model, variant=""):
    return next(r for r in rows if r["model"] == model and r["variant"] == variant and r["data"] == "own test split")


def test_rows_say_what_the_run_says_and_are_compared_with_resnet18_and_with_the_best(alone):
    runs = [made_run(alone / "a"), made_run(alone / "b", "vit", 0.2, seed=1), made_run(alone / "c", "arcnet", 3.0, seed=2)]
    rows = results.collect(runs, [])
    first = own(rows, "resnet18")
    assert first["metrics"]["accuracy"] == runs[0].metrics["accuracy"]
    assert first["images_per_s"] == {"train": 110.0, "predict": 500.0}
    assert (first["training_images"], first["epochs"], first["minutes"]) == (
        1234,
        {"run": 3, "asked": load("model-iii-zoo").train.epochs},
        1.5,
    )
    assert "reference" not in first["paired"]
    assert own(rows, "vit")["paired"]["reference"]["accuracy"]["value"] < 0
    assert own(rows, "vit")["paired"]["best"]["to"] == "model-iii-zoo, arcnet"
    assert own(rows, "arcnet")["paired"]["reference"]["auc_macro"]["excludes_zero"]
    text = page(rows)
    assert "First is **model-iii-zoo, arcnet**" in text
    assert "beats 2 of 2 others" in text
    assert f"{runs[2].metrics['accuracy']['value']:.4f}" in text
    assert "11.17 M" in text
    assert "commit ffffffffff+changes" in text


def test_other_images_are_not_compared(alone):
    runs = [made_run(alone / "a"), made_run(alone / "b", "vit", checksum="other")]
    assert own(results.collect(runs, []), "vit")["paired"] == {}


def test_a_leaked_run_is_marked_never_first_and_never_compared(alone):
    runs = [made_run(alone / "a"), made_run(alone / "b", skill=30.0, leaked=300)]
    rows = results.collect(runs, [])
    assert own(rows, "resnet18", "leaked")["paired"] is None
    text = page(rows)
    assert "First is **model-iii-zoo, resnet18**" in text
    assert "**LEAKED** model-iii-zoo, resnet18 (leaked)" in text
    assert "With its test images in training, model-iii-zoo scores a macro AUC of 1.0000" in text


def test_seeds_are_one_row_with_mean_and_spread(alone):
    folder = alone / "model-iii-resnet18"
    runs = [made_run(folder / f"seed-{k}", skill=0.5 + k, seed=k, recipe="model-iii-resnet18") for k in (0, 1)]
    accuracy = [run.metrics["accuracy"]["value"] for run in runs]
    number = {"mean": np.mean(accuracy), "sd": np.std(accuracy, ddof=1), "min": min(accuracy), "max": max(accuracy), "n": 2}
    content = {"model": "resnet18", "finished": [0, 1], "metrics": {"accuracy": number}, "also": {}}
    (folder / "seeds.json").write_text(json.dumps(content))
    (row,) = results.collect(runs[::-1], [])
    assert row["seeds"] == 2
    assert row["seed"] == 0
    assert row["metrics"]["accuracy"]["value"] == accuracy[0]  # not the better one
    assert f"2: {np.mean(accuracy):.4f} ± {np.std(accuracy, ddof=1):.4f}" in page([row])


def test_rows_of_vanished_runs_are_kept_and_newer_ones_replace_older(alone):
    old = results.collect([made_run(alone / "a"), made_run(alone / "b", "vit")], [])
    new = results.collect([made_run(alone / "c", skill=2.0, date="2026-02-01")], old)
    assert own(new, "vit") == own(old, "vit")
    assert own(new, "resnet18")["date"] == "2026-02-01"
    assert merge(new, old) == new  # whatever the order
    several = [old[0] | {"seeds": 3}]
    assert merge(several, new[:1]) == several  # one seed does not take the place of three


def test_as_published_is_a_row_of_its_own(alone):
    runs = [made_run(alone / "a"), made_run(alone / "b", recipe_keys={"as_published": True})]
    assert {row["variant"] for row in results.collect(runs, [])} == {"", "as published"}


def test_other_epochs_than_the_recipes_are_a_row_of_their_own(alone):
    usual = load("model-iii-zoo").train.epochs
    runs = [made_run(alone / "a"), made_run(alone / "b", recipe_keys={"train": {"epochs": usual + 14}})]
    rows = results.collect(runs, [])
    assert {row["variant"] for row in rows} == {"", f"{usual + 14} epochs instead of {usual}"}
    assert f"model-iii-zoo, resnet18 ({usual + 14} epochs instead of {usual})" in page(rows)


def test_bounds_and_rows_of_other_scripts_are_collected(alone):
    number = {"value": 0.9876, "low": 0.97, "high": 0.99, "n": 500}
    (alone / "limits").mkdir()
    bound = {"preset": "model-iii", "accuracy": number, "method": "importance sampling", "command": "darklens limit model-iii"}
    (alone / "limits" / "model-iii.json").write_text(json.dumps(bound))
    (alone / "rows").mkdir()
    cell = {"block": "robustness", "model": "arcnet", "recipe": "x-arcnet", "data": "noise x 2", "condition": {"kind": "noise"}}
    worse = {"value": -0.1, "low": -0.2, "high": -0.05, "excludes_zero": True}
    cell |= {"metrics": {"accuracy": number}, "difference": {"accuracy": worse}}
    (alone / "rows" / "robustness.json").write_text(json.dumps([cell]))
    text = page(results.collect([made_run(alone / "a")], []))
    assert "| *the best that anybody could do* | – | – | simulations | 500 | 0.9876 [0.9700, 0.9900]" in text
    assert re.search(r"Nobody could do better than accuracy 0\.9876 .*importance sampling.*left to gain", text)
    assert "| noise x 2 | 0.988 [0.970, 0.990] ↓ |" in text
    assert limit_rows(alone / "limits")[0]["metrics"] == {"accuracy": number}


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.95, 0.97, "agrees"), (0.9, 0.92, "ours lower"), (0.98, 0.99, "ours higher"), (0.98, 1, "ours higher")],
)
def test_published_figures_agree_where_the_intervals_meet(low, high, verdict):
    published = {"accuracy": 0.96, "by": "someone", "n": 1000, "classes": 3}
    (entry,) = compared({"accuracy": {"value": (low + high) / 2, "low": low, "high": high}}, published)
    assert entry["verdict"] == verdict


def test_intervals_of_published_figures_are_those_of_the_anchors():
    low, high = interval("accuracy", 0.9712, 7500, 3)
    assert (high - low) / 2 == pytest.approx(0.0038, abs=5e-5)
    low, high = interval("auc_macro", 0.9973, 7500, 3)
    assert (high - low) / 2 == pytest.approx(0.0014, abs=2e-4)
    assert interval("accuracy", 14999 / 15000, 15000, 3)[1] <= 1
    assert interval("loss", 0.1, 15000, 3) is None
    assert interval("auc_macro", 0.5, None, 3) is None


def test_published_systems_name_models_and_recipes_that_exist():
    assert {model for system in SYSTEMS for model in system.models} <= set(MODELS)
    assert {recipe for system in SYSTEMS for recipe in system.recipes} <= set(names())
    assert set(BEST) <= {step.block for step in BEST.values()}


def test_what_is_finished_is_not_trained_again(alone, monkeypatch, capsys):
    monkeypatch.setattr(results, "ROOT", alone)
    asked = []
    monkeypatch.setattr(
        results.subprocess, "run", lambda command, **_: asked.append(command) or type("Done", (), {"returncode": 0})
    )
    made_run(alone / "model-iii-resnet18", recipe="model-iii-resnet18")
    steps = [results.Step("model-iii-resnet18"), results.Step("binary-leak", ("data.leak=false",), "off")]
    assert results.run_missing(steps, "5m")
    assert [command[3:] for command in asked] == [
        ["train", "binary-leak", "--set", "data.leak=false", "--out", "off", "--budget", "5m"]
    ]
    assert "model-iii-resnet18 is finished" in capsys.readouterr().out


def test_the_plan_loads_and_published_lengths_are_asked_for_by_name():
    every = results.steps_of(list(results.PLAN))
    assert len({step.out for step in every}) == len(every)
    for step in every:
        assert not step.finished or step.out.is_dir()
    assert not set(results.PLAN["published-lengths"]) & set(results.steps_of([]))
    with pytest.raises(SystemExit):
        results.main(["--run", "no-such-block"])


def searching_run(folder, model, skill, seed):
    """A finished run of two very unequal classes."""
    run = made_run(
        folder, model, recipe="lens-finding", recipe_keys={"data": {"preset": "lens-finding", "fresh": True}}, preset="lens-finding"
    )
    run.write("model", {"name": model, "single_logit": True})
    positive = np.arange(2000) < 40
    lens = 1 / (1 + np.exp(-(np.random.default_rng(seed).normal(size=2000) + skill * positive - 3)))
    labels = np.where(positive, "lens", "nonlens").astype(object)
    run.write_predictions({"id": [str(i) for i in range(2000)], "label": labels, "nonlens": 1 - lens, "lens": lens})
    metrics = classification_metrics(np.stack([1 - lens, lens], 1), positive.astype(int), ["nonlens", "lens"], n_boot=100)
    run.write("metrics", metrics | {"search": rare_metrics(lens, positive, thresholds={"f1": 0.5}, n_boot=100)})
    return run


def test_a_search_has_its_own_table_with_paired_differences(alone):
    runs = [searching_run(alone / "a", "resnet18", 2.0, 1), searching_run(alone / "b", "p4m-resnet", 5.0, 2)]
    rows = results.collect(runs, [])
    ours = own(rows, "p4m-resnet")
    assert ours["block"] == "lens-finding"
    assert ours["search"]["average_precision"] == runs[1].metrics["search"]["average_precision"]
    assert "purity" not in ours["search"]  # the curve would make the file long
    difference = ours["paired"]["reference"]["search"]["average_precision"]
    assert difference["value"] > 0.2
    assert difference["excludes_zero"]
    text = page(rows)
    assert "As a search, first is **lens-finding, p4m-resnet**" in text
    assert "resnet18 is at −" in text.replace("-0.", "−0.")
    assert "both intervals exclude zero" in text
    assert "| 40 of 2,000 |" in text
    assert "| 1,234, new ones in every epoch |" in text


def test_the_interval_of_a_published_search_is_that_of_its_few_positives():
    few, many = interval("auc_macro", 0.9862, 19_650, 2, 195), interval("auc_macro", 0.9862, 19_650, 2)
    assert few[1] - few[0] > 4 * (many[1] - many[0])
