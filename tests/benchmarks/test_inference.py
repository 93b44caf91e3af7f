"""Rows of the block inference, from the metrics of a run."""

import json

import numpy as np
import pytest
from benchmarks.inference import BLOCK, inference_rows
from benchmarks.task_rows import COLUMNS

from darklens.errors import InputError
from darklens.evaluate.posterior import posterior_metrics
from darklens.runs import Run


def finished(folder, **changes) -> Run:
    """A run folder with the metrics of exact posteriors of two parameters."""
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((300, 2))
    samples = (truth + rng.standard_normal((300, 2)))[:, None] / 2 + np.sqrt(0.5) * rng.standard_normal((300, 200, 2))
    metrics = posterior_metrics(samples, truth, ("log10_m_axion", "source_x"), n_boot=50)
    one = {key: metrics["parameters"]["source_x"][key] for key in ("bias", "coverage_68", "coverage_95")}
    run = Run.create(folder, {"name": "axion-mass-iii", "train": {"epochs": 3}})
    described = {"task": "inference", "name": "arcnet", "preset": "model-iii"}
    run.write("model", described)
    run.write("data", {"splits": {"train": {"rows": 100}}})
    run.write("provenance", {"machine": {}, "training_seconds": 60, "parameters": 7, "seed": 0})
    about = {"task": "inference", "posterior": "flow", "population": {"source_x": one | {"width": 0.1, "lenses": 50, "sets": 200}}}
    run.write("metrics", metrics | about | changes)
    return run


def test_a_row_for_each_parameter_and_population_beside_what_was_published(tmp_path):
    rows = inference_rows(finished(tmp_path / "run"))
    assert [(row["variant"], row["block"]) for row in rows] == [("log10_m_axion", BLOCK), ("source_x", BLOCK), ("source_x", BLOCK)]
    assert rows[0]["published"] == {"mae": 0.1262}
    assert rows[1]["published"] is None
    assert rows[0]["metrics"]["mae"]["low"] < rows[0]["metrics"]["mae"]["value"] < rows[0]["metrics"]["mae"]["high"]
    assert rows[0]["minutes"] == 1
    assert "50 test lenses" in rows[2]["data"]
    assert all(set(row["metrics"]) <= set(COLUMNS[BLOCK]) for row in rows)
    json.dumps(rows)


def test_other_runs_are_refused(tmp_path):
    with pytest.raises(InputError, match="no finished run of inference"):
        inference_rows(finished(tmp_path / "run", task="generation"))
