import numpy as np
import pytest

from darklens.evaluate.completeness import AGAINST, completeness
from darklens.evaluate.rare import rare_metrics
from darklens.evaluate.rare_figures import save_rare_figures
from darklens.files import read_json


def lenses(n=800, seed=0):
    """Lenses that are found the more likely the larger they are, whatever their seeing."""
    rng = np.random.default_rng(seed)
    truth = {"theta_E": rng.uniform(0.5, 2.5, n), "snr": rng.lognormal(3, 1, n), "seeing": rng.uniform(0.8, 1.8, n)}
    return rng.random(n) < (truth["theta_E"] - 0.5) / 2, truth


def test_completeness_follows_what_lenses_are_within_its_intervals():
    found, truth = lenses(4000)
    curves = completeness(found, truth)["curves"]
    for b in curves["theta_E"]:
        expected = (0.5 * (b["from"] + b["to"]) - 0.5) / 2
        assert b["low"] - 0.02 < expected < b["high"] + 0.02
        assert b["n"] == pytest.approx(500, abs=2)
    assert all(b["low"] - 0.03 < 0.5 < b["high"] + 0.03 for b in curves["seeing"])


def test_the_map_holds_every_lens_once():
    found, truth = lenses()
    plane = completeness(found, truth)["map"]
    assert np.sum(plane["n"]) == 800
    rows = [np.average(column, weights=n) for column, n in zip(np.array(plane["value"]).T, np.array(plane["n"]).T, strict=True)]
    assert np.all(np.diff(rows) > 0.1)  # along theta_E
    assert plane["x_edges"][0] == truth["theta_E"].min()
    assert plane["y_edges"][-1] == truth["snr"].max()


def test_unknown_values_count_nowhere_and_unknown_columns_are_left_out():
    found, truth = lenses()
    truth["theta_E"][:300] = np.nan
    truth["source_mag"] = np.full(800, np.nan)
    result = completeness(found, truth)
    assert set(result["curves"]) == {"theta_E", "snr", "seeing"}
    assert sum(b["n"] for b in result["curves"]["theta_E"]) == 500
    assert np.sum(result["map"]["n"]) == 500
    assert completeness(found, {}) == {}
    assert completeness(found, {"theta_E": np.full(800, 1.2)}) == {}  # all alike: nothing to tell


def test_too_few_lenses_of_a_cell_have_no_figure():
    found, truth = lenses(40)
    truth["snr"] = truth["theta_E"] * 10  # off the diagonal there is nothing
    plane = completeness(found, truth)["map"]
    cells = [(v, n) for row, counts in zip(plane["value"], plane["n"], strict=True) for v, n in zip(row, counts, strict=True)]
    assert all((v is None) == (n < 5) for v, n in cells)
    assert any(v is None for v, _ in cells)


def test_figures_are_drawn_and_described_and_taken_away_with_the_truth(tmp_path):
    found, truth = lenses(300)
    positive = np.arange(3000) < 300
    metrics = rare_metrics(np.random.default_rng(0).random(3000) + positive * 0.5, positive, thresholds={"f1": 0.9}, n_boot=20)
    save_rare_figures(tmp_path, metrics, completeness(found, truth) | {"threshold": 0.9, "rule": "f1"})
    listed = {p["file"]: p for p in read_json(tmp_path / "figures.json")["figures"]}
    assert set(listed) == {"purity.png", "completeness.png"}
    assert "1,000" in listed["purity.png"]["title"]
    assert AGAINST["theta_E"] in listed["completeness.png"]["alt"]
    for name in listed:
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    save_rare_figures(tmp_path, metrics, {})
    assert not (tmp_path / "completeness.png").exists()
