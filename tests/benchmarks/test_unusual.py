import json

import numpy as np
import pytest
from benchmarks.result_page import page

from benchmarks import unusual
from darklens.errors import InputError
from darklens.runs import Run


def test_every_condition_has_images_on_the_pixels_of_the_preset(tmp_path):
    (tmp_path / "galaxies").mkdir()
    for k in range(3):
        np.save(tmp_path / "galaxies" / f"{k}.npy", np.random.default_rng(k).normal(size=(2, 90, 96)).astype(np.float32))
    run = Run.open("arcnet:model-iii-noisy")
    found = {name: images for name, _, images in unusual.pictures(run, 4, tmp_path / "galaxies", 1)}
    assert {"undisturbed", "psf x 1.2", "on common-test", "real galaxies"} <= set(found)
    assert all(images.shape[1:] == (1, 64, 64) and np.isfinite(images).all() for images in found.values())
    assert len(found["real galaxies"]) == 3


def test_the_rate_is_what_the_flag_says_and_the_page_shows_it(monkeypatch, capsys):
    rows = [row for row in [*_rows(monkeypatch)] if row["data"] in ("undisturbed", "noise")]
    assert [row["metrics"]["flagged"]["value"] for row in rows] == [0.0, 1.0]
    written = page(json.loads(json.dumps(rows)))
    assert "Fraction flagged as unusual" in written
    assert "Macro AUC" not in written


def _rows(monkeypatch):
    rng = np.random.default_rng(0)
    own = next(unusual.pictures(Run.open("arcnet:model-iii-noisy"), 3, None, 0))
    noise = ("noise", "no lens at all", rng.normal(0, 30, size=(3, 1, 64, 64)).astype(np.float32))
    monkeypatch.setattr(unusual, "pictures", lambda *_: iter([own, noise]))
    return unusual.rows_of(Run.open("arcnet:model-iii-noisy"), 3, None, 0, "cpu")


def test_no_preset_is_one_sentence(tmp_path):
    run = Run.create(tmp_path / "run", {"name": "x", "data": {"path": "here"}})
    with pytest.raises(InputError, match="was not trained on a preset"):
        next(unusual.pictures(run, 3, None, 0))
