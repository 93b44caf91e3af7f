"""What a survey costs is arithmetic on measured rates, and its table of cutouts is a function of their numbers."""

import json

import numpy as np
import pytest
from benchmarks.score_cost import BEGIN, END, N, cost, write_page

from benchmarks import score_table
from darklens.data import Table

RATE = {"model": "cnn", "device": "cpu", "accelerator": None, "threads": 1, "bytes_in": 40_000.0, "bytes_out": 30.0}
RATE |= {"images_s": {"darklens": 500.0}, "ratio_to_the_faster_dataloader": 1.1, "commit": "abc", "date": "2026-01-01"}
RATE |= {"machine": {"processor": "a processor"}}
SURVEY = {"rows": 10**6, "model": "cnn", "shape": [3, 32, 32], "kills": 3, "lost": 0, "doubled": 0, "seconds": 1200.0}
SURVEY |= {"images_s": 833.3, "rss_mib_max": 700.0, "bytes_in": 4e9, "bytes_out": 3e7}


def test_cost_is_arithmetic():
    found = cost(RATE)
    assert found["hours"] == pytest.approx(N / 500 / 3600)
    assert found["bytes_in"] == 4e13
    assert found["bytes_in_s"] == 2e7
    assert found["parts"] <= 20_000


def test_the_page_has_the_figures_of_the_results_between_its_marks(tmp_path):
    (tmp_path / "score.json").write_text(json.dumps({"rates": [RATE], "surveys": [SURVEY]}))
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_page(tmp_path / "score.json", page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| cnn | 1 thread of a processor, abc, 2026-01-01 | 500 | 1.10x | 556 | 4.3 | 40.0 | 30 |" in text
    assert "| 1,000,000 | cnn | 3 x 32 x 32 | 3 | 0 | 0 | 20.0 | 833 | 700 | 4.00 | 0.030 |" in text


def test_a_table_that_was_begun_is_continued_with_the_same_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(score_table, "_base", lambda size: np.random.default_rng(0).random((4, 3, size, size), dtype=np.float32))
    monkeypatch.setattr(score_table, "AT_ONCE", 1024)
    whole = Table.open(score_table.write_table(tmp_path / "whole", 2500, 8))
    images = whole.images()
    assert images.shape == (2500, 3, 8, 8)
    assert (images.min((2, 3)) == 0).all()
    assert len(np.unique(images, axis=0)) == 2500  # the noise of each is its own
    cutouts = score_table._cutouts

    def dies(base, rows, rng):
        if rows[0] >= 2048:
            raise KeyboardInterrupt
        return cutouts(base, rows, rng)

    with monkeypatch.context() as patch:
        patch.setattr(score_table, "_cutouts", dies)
        with pytest.raises(KeyboardInterrupt):
            score_table.write_table(tmp_path / "begun", 2500, 8)
    assert Table.open(score_table.write_table(tmp_path / "begun", 2500, 8)).checksum == whole.checksum
