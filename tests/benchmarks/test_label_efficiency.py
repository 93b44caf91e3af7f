import json

import numpy as np
import pytest

from benchmarks import label_efficiency
from darklens.errors import InputError
from darklens.recipes import execute, load
from darklens.train.config import Preprocess, TrainConfig


def test_few_labels_are_even_and_lie_in_more_of_them():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    ten, thirty = (label_efficiency.few(labels, count, 3) for count in (10, 30))
    assert set(ten) <= set(thirty)
    assert sorted(np.bincount(labels[ten])) == [3, 3, 4]
    assert set(np.bincount(labels[thirty])) == {10}
    assert not np.array_equal(ten, label_efficiency.few(labels, 10, 4))
    with pytest.raises(InputError, match="101 labels"):
        label_efficiency.few(labels, 101, 0)


def test_differences_are_paired_and_say_whether_they_exclude_zero():
    rng = np.random.default_rng(0)
    kept, rest = {}, ({"name": "encoder", "options": {}}, Preprocess(), TrainConfig())
    every = [label_efficiency.Way("mae", how, *rest, "random mae") for how in ("tuned", "probe")]
    every.append(label_efficiency.Way("random mae", "tuned", *rest))
    for seed in range(3):
        floor = (rng.random(400) < 0.6).astype(float)
        better = np.maximum(floor, (rng.random(400) < 0.1).astype(float))
        kept |= {("random mae tuned", 10, seed): floor, ("mae tuned", 10, seed): better, ("mae probe", 10, seed): floor}
    rows = {row["way"]: row for row in label_efficiency.table(kept, every, numbers=False)}
    assert rows["mae tuned"]["minus_random"]["excludes_zero"]
    assert rows["mae tuned"]["minus_random"]["low"] > 0
    assert "minus_random" not in rows["random mae tuned"]
    assert "minus_random" not in rows["mae probe"]  # nothing frozen and random to compare it with
    assert rows["random mae tuned"]["value"]["low"] < 0.6 < rows["random mae tuned"]["value"]["high"]


@pytest.mark.slow
def test_a_tiny_curve_is_drawn_and_continued(tmp_path, capsys):
    content = {
        "name": "small",
        "data": {"preset": "model-iii-noisy", "train": 48, "validation": 24, "test": 24, "seed": 71},
        "model": {"name": "mae-arc", "options": {"dim": 32, "depth": 1, "decoder_dim": 32, "decoder_depth": 1}},
        "preprocess": {"input": "both", "stretch": "sqrt", "normalise": "standard"},
        "fit": {"preset": "model-iii-noisy"},
        "train": {"task": "masked-autoencoder", "epochs": 1, "batch_size": 16, "precision": "float32"},
    }
    (run,) = execute(load(content), tmp_path / "run", data=tmp_path / "data", device="cpu", log=lambda text: None)
    places = ["--data", tmp_path / "data", "--runs", tmp_path / "kept", "--out", tmp_path / "docs"]
    asked = ["--tiny", "--seeds", "2", "--encoder", f"mae-arc={run.path}", *map(str, places)]
    assert label_efficiency.main(asked) == 0
    written = json.loads((tmp_path / "docs" / "label-efficiency.json").read_text())
    ways = {f"mae-arc {how}" for how in label_efficiency.STYLES}
    ways |= {"random mae-arc tuned", "random mae-arc probe", "arcnet tuned"}
    assert {row["way"] for row in written["rows"]} == ways
    assert all(0 <= row["value"]["low"] <= row["value"]["high"] <= 1 for row in written["rows"])
    assert (tmp_path / "docs" / "label-efficiency.png").stat().st_size > 5000
    capsys.readouterr()
    assert label_efficiency.main(asked) == 0
    assert "seed 0:" not in capsys.readouterr().out  # nothing is done twice
    assert label_efficiency.main([*asked, "--task", "theta_E"]) == 0
    assert (tmp_path / "docs" / "label-efficiency-theta-E.png").is_file()
