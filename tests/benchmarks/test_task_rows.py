"""Blocks of the results whose networks do not tell classes apart."""

import json

import pytest
from benchmarks.result_page import page
from benchmarks.task_rows import BASELINE, COLUMNS, script_row

from benchmarks import results
from darklens.recipes import load, names
from darklens.runs import Run


def number(value, n=50, **more):
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": n} | more


def gain(value):
    return number(value, excludes_zero=abs(value) > 0.1)


def made_run(folder, task, metrics, name, **model):
    usual = load(name).train.epochs if name in names() else 2
    run = Run.create(
        folder,
        {
            "name": name,
            "data": {"preset": "sr-pairs"},
            "train": {"task": task, "epochs": usual},
        },
    )
    run.write("model", {"task": task, "name": name} | model)
    run.write("data", {"preset": "sr-pairs", "splits": {"train": {"rows": 10}, "test": {"checksum": "c", "rows": 50}}})
    run.write("provenance", {"parameters": 1000, "training_seconds": 60, "epochs": 2, "seed": 0, "date": "2026-01-01"})
    run.write_history([{"epoch": 1, "images_per_s": 10.0}])
    run.write_predictions({"id": ["0"]})
    run.write("metrics", metrics)
    return run


def sharpened(folder, name, target, against, gains):
    methods = {what: {"bicubic": {"gain_db": gain(0.0)}, name: {"gain_db": gain(value)}} for what, value in gains.items()}
    metrics = {"network": name, "target": target, "methods": methods[target], "against": {against: methods[against]}}
    return made_run(folder, "super-resolution", metrics, name)


@pytest.fixture
def alone(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RUNS", tmp_path)
    monkeypatch.setattr(results, "shipped", lambda task: [])
    return tmp_path


def test_networks_taught_against_truth_and_against_recordings_stand_in_the_same_columns(alone):
    runs = [
        sharpened(alone / "a", "srresnet-arc", "truth", "recorded", {"truth": 9.0, "recorded": 1.5}),
        sharpened(alone / "b", "srresnet", "recorded", "truth", {"truth": 2.0, "recorded": 0.25}),
    ]
    rows = results.collect(runs, [])
    assert {row["block"] for row in rows} == {"super-resolution"}
    figures = {row["model"]: {key: row["metrics"][key]["value"] for key in row["metrics"]} for row in rows}
    assert figures["srresnet-arc"] == {"truth.gain_db": 9.0, "recorded.gain_db": 1.5}
    assert figures["srresnet"] == {"truth.gain_db": 2.0, "recorded.gain_db": 0.25}
    assert [row["recipe"] for row in rows].count(BASELINE) == 1  # the same pairs: one row for both
    text = page(rows)
    assert text.index("| srresnet-arc |") < text.index("| srresnet |") < text.index("| *bicubic* |")
    assert "First is **srresnet-arc**" in text
    assert "0.22 dB above bicubic" in text  # what is published of the other


def test_the_truth_stands_beside_what_is_judged_against_recordings(alone):
    run = sharpened(alone / "a", "srresnet-arc", "truth", "recorded", {"truth": 9.0, "recorded": 1.5})
    metrics = run.metrics
    metrics["against"]["recorded"]["truth"] = {"gain_db": gain(1.7)}
    run.write("metrics", metrics)
    best = next(row for row in results.collect([run], []) if row["model"] == "truth")
    assert best["recipe"] == BASELINE
    assert best["metrics"] == {"recorded.gain_db": gain(1.7)}


def test_a_generator_stands_beside_its_floor(alone):
    metrics = {"frechet": number(8.0), "frechet_floor": number(2.0), "frechet_ratio": number(4.0), "n": 50}
    rows = results.collect([made_run(alone / "g", "generation", metrics, "lens-diffusion")], [])
    floor = next(row for row in rows if row["recipe"] == BASELINE)
    assert floor["metrics"] == {"frechet": metrics["frechet_floor"]}
    assert "frechet_ratio" in next(row for row in rows if row["recipe"] != BASELINE)["metrics"]


def test_the_smallest_distance_is_first(alone):
    runs = [
        made_run(alone / name, "generation", {"frechet_ratio": number(ratio)}, name)
        for name, ratio in (("ddpm", 30.0), ("lens-diffusion", 3.0))
    ]
    assert "First is **lens-diffusion**" in page(results.collect(runs, []))


def test_rows_of_scripts_are_collected_in_the_order_of_their_numbers(alone):
    made = {"machine": {"processor": "P", "cores": 2}, "command": "python -m x", "commit": "c", "date": "2026-01-01"}
    rows = [script_row("few-labels", "probe", f"{n} labels", {"value": number(n / 2000)}, made) for n in (1000, 30, 100)]
    (alone / "rows").mkdir()
    (alone / "rows" / "few.json").write_text(json.dumps(rows))
    text = page(results.collect([], []))
    assert text.index("| 30 labels |") < text.index("| 100 labels |") < text.index("| 1000 labels |")


def test_every_block_has_a_title():
    from benchmarks.result_rows import TITLES

    assert set(COLUMNS) <= set(TITLES)
