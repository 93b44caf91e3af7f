import json
import sys

import numpy as np
import pytest

from benchmarks import coverage


@pytest.mark.slow
def test_intervals_of_a_few_lenses_are_judged_and_become_rows(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(coverage, "ROWS", tmp_path / "rows")
    monkeypatch.setattr(sys, "argv", ["coverage", "--n", "3", "--samples", "0", "--out", str(tmp_path / "found.json")])
    coverage.main()
    content = json.loads(capsys.readouterr().out)
    assert content["n"] + content["not_converged"] == 3
    rows = json.loads((tmp_path / "rows" / "coverage-gaussian-parametric.json").read_text())
    assert [row["data"].split(",")[0] for row in rows] == list(coverage.JUDGED)
    for name, row in zip(coverage.JUDGED, rows, strict=True):
        assert row["block"] == "inference"
        assert row["metrics"]["coverage_68"] == content["coverage"][name]["68"]
        assert 0 <= row["metrics"]["coverage_95"]["low"] <= row["metrics"]["coverage_95"]["high"] <= 1


def test_light_of_the_lens_comes_on_top_of_the_same_arcs():
    truth = coverage.draw_rich(np.random.default_rng(1))
    arcs, both = (coverage.simulate_rich(truth, np.random.default_rng(2), own) for own in (False, True))
    middle = slice(24, 32), slice(24, 32)
    assert both["image"][middle].mean() > arcs["image"][middle].mean() + 20 * both["noise"][middle].mean()
    assert (both["noise"] > 0).all()
    assert both["image"].shape == arcs["image"].shape


def test_light_of_the_lens_is_refused_before_a_smooth_source(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["coverage", "--lens-light", "--n", "1"])
    with pytest.raises(SystemExit, match="2"):
        coverage.main()
    assert "--lens-light goes with --source pixelised" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("number", [25, 28])
def test_gaussians_of_lens_light_do_not_lead_the_search_astray(number):
    """Two lenses whose arcs the Gaussians took a part of, as long as they did so from the start."""
    row = coverage.judge_rich(number, 0, 0, lens_light=True)
    assert row["converged"]
    assert np.abs([row[name]["pull"] for name in coverage.PIXELISED]).max() < 4
