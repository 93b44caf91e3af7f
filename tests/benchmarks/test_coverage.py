import json
import sys

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
