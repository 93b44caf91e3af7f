"""Bias, coverage and agreement of populations inferred by two methods, on sets whose answers are made up."""

import json

import numpy as np
import pytest
from benchmarks.population import METHODS, judged, rows
from benchmarks.population_page import verdict, write_page
from benchmarks.task_rows import COLUMNS

from darklens.evaluate.posterior import posterior_metrics
from darklens.runs import Run

PRIOR = (-24.0, -22.0)
LENGTH = 80


def found(value: float, width: float) -> dict:
    ends = {"low": value - width, "high": value + width, "low_95": value - 2 * width, "high_95": value + 2 * width}
    return {"value": value} | ends


def content(bias: float = 0.0, noise: float = 0.05) -> dict:
    """Sets whose posteriors are right, and whose ratios share their errors but for a little noise and a bias."""
    rng, sets = np.random.default_rng(0), []
    for _ in range(LENGTH):
        mu, sigma = rng.uniform(-23.6, -22.4), rng.uniform(0.2, 0.6)
        seen, wide = mu + 0.1 * rng.standard_normal(), sigma * (1 + 0.1 * rng.standard_normal())
        both = {"mu": found(seen, 0.1), "sigma": found(wide, 0.1 * sigma)}
        other = {"mu": found(seen + bias + noise * 0.1 * rng.standard_normal(), 0.1), "sigma": found(wide, 0.1 * sigma)}
        sets.append({"mu": mu, "sigma": sigma, "left_out": 0, "posterior": both, "ratio": other})
    about = {"run": "axion-posterior", "preset": "model-iii-noisy", "lenses": 50, "reference": 4000}
    return judged(sets, PRIOR, "log10_m_axion", 0) | about


@pytest.fixture
def run(tmp_path) -> Run:
    rng = np.random.default_rng(1)
    truth = rng.standard_normal((300, 1))
    samples = (truth + rng.standard_normal((300, 1)))[:, None] / 2 + np.sqrt(0.5) * rng.standard_normal((300, 100, 1))
    run = Run.create(tmp_path / "run", {"name": "axion-posterior"})
    run.write("model", {"task": "inference", "name": "arcnet"})
    run.write("metrics", posterior_metrics(samples, truth, ("log10_m_axion",), n_boot=50) | {"posterior": "flow"})
    return run


def test_right_intervals_hold_and_a_bias_is_seen():
    right = content()
    for method in METHODS:
        mean = right["methods"][method]["mu"]
        assert mean["coverage_68"]["low"] < 0.68 < mean["coverage_68"]["high"]
        assert mean["bias"]["low"] < 0 < mean["bias"]["high"]
    assert right["agreement"]["within_width"]["value"] == 1
    assert right["agreement"]["rank_correlation"] > 0.99
    wrong = content(bias=0.15)
    assert wrong["methods"]["ratio"]["mu"]["bias"]["low"] > 0.1
    assert wrong["methods"]["ratio"]["mu"]["coverage_68"]["high"] < 0.68
    assert wrong["agreement"]["error_ratio_less_posterior"]["excludes_zero"]
    json.dumps(wrong)


def test_the_page_says_what_the_numbers_say(run, tmp_path):
    assert "no bias is seen" in verdict(content())
    assert "neither is nearer to the truth" in verdict(content())
    wrong = verdict(content(bias=0.15))
    assert "Likelihood ratio: 68% intervals of the mean hold it in" in wrong
    assert "too seldom" in wrong
    assert "the posteriors are nearer to the truth" in wrong
    write_page([content()], run, tmp_path)
    page = (tmp_path / "population.md").read_text()
    assert "80 populations" in page
    assert "4,000 lenses of the prior" in page
    assert "{" not in page.replace("{run}", "{")
    assert (tmp_path / "population.png").stat().st_size > 10_000
    metrics = run.metrics
    metrics["parameters"]["slope_sub"] = json.loads(json.dumps(metrics["parameters"]["log10_m_axion"]))
    metrics["parameters"]["slope_sub"]["information"] |= {"value": 0.009, "low": 0.001, "high": 0.015}
    run.write("metrics", metrics)
    two = [content() | {"parameter": name} for name in ("f_sub", "slope_sub")]
    write_page(two, run, tmp_path, "population-subhalos")
    page = (tmp_path / "population-subhalos.md").read_text()
    assert "--parameter f_sub --parameter slope_sub --name population-subhalos" in page
    assert "(population-subhalos-slope_sub.png)" in page
    assert "`slope_sub`: one lens tells 0.0090 [0.0010, 0.0150] nats of it" in page
    assert "{" not in page


def test_a_row_for_mean_and_scatter_by_each_method(run):
    made = rows(content(), run)
    assert len(made) == 4
    assert {row["data"] for row in made} == {f"{what} over 50 lenses, 80 populations" for what in ("mean", "scatter")}
    assert all(set(row["metrics"]) <= set(COLUMNS["inference"]) for row in made)
    assert {row["recipe"] for row in made} == {"axion-posterior"}
