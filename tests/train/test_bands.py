"""A run that knows the names of its bands takes them in that order and in no other."""

import numpy as np
import pytest
from astropy.io import fits

import darklens
from darklens.api import ensemble, score
from darklens.data import TableWriter
from darklens.data.scores import read_bad, read_scores
from darklens.errors import InputError
from darklens.models import build
from darklens.runs import Run
from darklens.train.checkpoint import save_weights
from darklens.train.config import Preprocess
from darklens.train.prediction_file import predict_path

CLASSES, SIZE, N = ("nonlens", "lens"), 16, 8
WORDS = "has bands r,g and the model was trained on g,r: put them in that order with --bands g,r"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Fresh weights that know the order of their bands."""
    run = Run.create(tmp_path_factory.mktemp("bands") / "run", {"name": "tiny", "seed": 0})
    about = {"options": {}, "group": {}, "pixel_scale": 1.0, "flux_unit": "counts", "single_logit": False, "name": "cnn", "seed": 0}
    about |= {"classes": list(CLASSES), "shape": [2, SIZE, SIZE], "band_names": ["g", "r"]}
    run.write("model", about | {"preprocess": Preprocess(normalise="none").model_dump()})
    save_weights(run.path / "weights.safetensors", build("cnn", bands=2, classes=2, size=SIZE).state_dict())
    return run.path


def table_at(path, order, names):
    """The same images in this order of the bands."""
    pixels = np.random.default_rng(0).normal(size=(N, 2, SIZE, SIZE)).astype(np.float32)[:, order]
    manifest = {"band_names": names} if names else {}
    with TableWriter(path, shape=(2, SIZE, SIZE), classes=CLASSES, manifest=manifest) as writer:
        writer.write_columns([f"g{i}" for i in range(N)], pixels, ["lens", "nonlens"] * (N // 2), {})
    return path


def test_another_order_is_refused_and_mended_by_the_remedy(run, tmp_path):
    right, wrong = table_at(tmp_path / "right", [0, 1], ["g", "r"]), table_at(tmp_path / "wrong", [1, 0], ["r", "g"])
    judge = ensemble([run], device="cpu")
    wanted = predict_path(judge, right, None, collect=True)["predictions"]
    with pytest.raises(InputError, match=WORDS):
        predict_path(judge, wrong, None, collect=True)
    with pytest.raises(InputError, match=WORDS):
        score(run, wrong, tmp_path / "s", device="cpu")
    skipped = []
    with pytest.raises(InputError, match="no labelled image that fits"):
        darklens.evaluate(run, wrong, device="cpu", on_skip=lambda name, why: skipped.append(why))
    assert WORDS in skipped[0]
    mended = predict_path(judge, wrong, None, bands="g,r", collect=True)["predictions"]
    assert [row["lens"] for row in mended] == [row["lens"] for row in wanted]
    score(run, wrong, tmp_path / "s", bands="g,r", device="cpu")
    np.testing.assert_allclose(read_scores(tmp_path / "s")["lens"], [row["lens"] for row in wanted], rtol=0, atol=1e-6)


@pytest.mark.parametrize("names", [None, ["g", "r"], ["VIS", "Y"]])
def test_bands_without_names_and_of_another_survey_are_taken_as_they_are(run, tmp_path, names):
    table = table_at(tmp_path / "t", [0, 1], names)
    assert predict_path(ensemble([run], device="cpu"), table, None, collect=True)["images"] == N
    assert score(run, table, tmp_path / "s", device="cpu")["rows"] == N


def test_a_band_that_a_table_lacks_is_named(run, tmp_path):
    table = table_at(tmp_path / "t", [0, 1], ["g", "r"])
    with pytest.raises(InputError, match=r"unknown band of .* 'z'.*known: g, r"):
        score(run, table, tmp_path / "s", bands="g,z", device="cpu")


def test_files_in_another_order_go_to_the_side_table(run, tmp_path):
    for name, band in enumerate("rg"):
        (tmp_path / "cut").mkdir(exist_ok=True)
        fits.PrimaryHDU(np.full((SIZE, SIZE), name, np.float32)).writeto(tmp_path / "cut" / f"o_{band}.fits")
    assert score(run, tmp_path / "cut", tmp_path / "s", bands="r,g", device="cpu")["bad"] == 1
    assert WORDS in read_bad(tmp_path / "s")["reason"][0].as_py()
    assert score(run, tmp_path / "cut", tmp_path / "t", device="cpu")["rows"] == 1  # blue to red by themselves
