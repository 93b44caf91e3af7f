"""`darklens explain`: a folder with maps, figures and a page, and one sentence for each thing that cannot be explained."""

import json
import sys

import numpy as np
import pytest

from darklens import cli
from darklens.api import explain
from darklens.api.explained import as_seen, see, truth_of
from darklens.models import build
from darklens.runs import Run
from darklens.simulate import preset, render, simulate
from darklens.train.checkpoint import save_weights
from darklens.train.config import Preprocess
from darklens.train.predictor import Predictor

CLASSES = ["no_sub", "cdm", "axion"]


def made(path, **preprocess):
    """A classifier with fresh weights."""
    run = Run.create(path, {"name": "fresh"})
    settings = Preprocess(**preprocess)
    about = {"name": "cnn", "options": {}, "seed": 0, "classes": CLASSES, "group": {}, "single_logit": False, "pixel_scale": 0.08}
    run.write("model", about | {"shape": [1, 64, 64], "flux_unit": "e-/s", "preprocess": settings.model_dump()})
    side = (settings.crop or 64) // settings.bin
    save_weights(run.path / "weights.safetensors", build("cnn", size=side, seed=0).state_dict())
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return made(tmp_path_factory.mktemp("run") / "net", crop=56)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return simulate("model-iii", 6, seed=9, out=tmp_path_factory.mktemp("data") / "table")


@pytest.fixture(scope="module")
def explained(run, table, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "explained"
    names = ["grad-cam", "integrated-gradients"]
    return out, explain(run, table.path, out, methods=names, n=3, features=6, projections=["pca"], device="cpu")


@pytest.fixture
def darklens(capsys, monkeypatch):
    def run(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["darklens", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        assert caught.value.code == code, out + err
        assert "Traceback" not in err
        return out, err

    return run


def test_the_folder_holds_figures_maps_pictures_and_a_page(explained):
    out, content = explained
    written = json.loads((out / "explanation.json").read_text())
    assert list(written["methods"]) == ["grad-cam", "integrated-gradients"]
    assert set(written["references"]) == {"brightness", "random", "chance"}
    for numbers in written["methods"].values():
        assert {"deletion", "insertion", "stability", "randomised_weights", "on_arcs", "pointing_subhalo"} <= set(numbers)
        assert all(m["low"] <= m["value"] <= m["high"] for m in numbers.values())
        whole = sum(numbers[f"share_{k}"]["value"] for k in ("perturbation", "arcs", "elsewhere"))
        assert 0 < whole < 1 + 1e-6  # of a map that is zero everywhere no part lies anywhere
    assert written["truth"]["known"]
    assert written["scored"] == 2
    assert sorted(image["label"] for image in written["images"]) == sorted(CLASSES)  # classes take turns
    maps = np.load(out / "maps.npz")
    assert maps["grad-cam"].shape == maps["difference"].shape == (3, 56, 56)
    assert [image["id"] for image in content["images"]] == maps["id"].tolist()
    names = {picture["file"] for picture in json.loads((out / "figures" / "figures.json").read_text())["figures"]}
    assert names == {"attributions.png", "curves.png", "features.png", "planes.png"}
    page = (out / "explanation.html").read_text()
    assert "http" not in page.split("<body>")[1]
    assert page.count("<dialog") == 3
    assert all(image["id"] in page for image in content["images"])


def test_the_truth_is_that_of_the_simulator(explained):
    out, content = explained
    maps, chosen = np.load(out / "maps.npz"), preset("model-iii")
    for i, image in enumerate(content["images"]):
        scene = chosen.draw(1, 9, int(image["id"].rsplit("-", 1)[1]))
        both = [render(s, chosen.instrument, chosen.shape)[0, 4:60, 4:60].double().numpy() for s in (scene, scene.smooth())]
        whole = render(scene.smooth(), chosen.instrument, chosen.shape).max()
        assert np.allclose(maps["difference"][i], (both[0] - both[1]) / (0.01 * float(whole)), atol=1e-6)
        assert (np.abs(maps["difference"][i]).max() > 0) == (image["label"] != "no_sub") == image["disturbed"]


def test_places_are_on_the_pixels_of_what_the_network_sees(table, tmp_path):
    predictor = Predictor(made(tmp_path / "net", crop=48, bin=2), "cpu")
    records = list(table.records([1]))
    truth = truth_of(predictor, see(predictor, records, predictor.checked(table.images([1]))))
    scene = preset("model-iii").draw(1, 9, 1)
    heavy = scene.substructure[0].theta_E.argmax()
    x, y = (float(getattr(scene.substructure[0], c).flatten()[heavy]) for c in ("center_x", "center_y"))
    row, column = min(truth.positions[0].tolist(), key=lambda p: np.hypot((p[1] - 11.5) * 0.16 - x, (p[0] - 11.5) * 0.16 - y))
    assert (column - 11.5) * 0.16 == pytest.approx(x, abs=1e-6)
    assert (row - 11.5) * 0.16 == pytest.approx(y, abs=1e-6)
    light = as_seen(predictor, table.images([1])[:, 0])
    assert light.shape == (1, 24, 24)
    assert light.sum() * 4 == pytest.approx(table.images([1])[0, 0, 8:56, 8:56].sum(), rel=1e-5)


def test_images_that_no_preset_draws_have_no_truth(run, table, tmp_path, darklens):
    from darklens.data import Table

    images = table.images()
    images[:, 0, 30, 30] += 0.1 * images.max()
    predictor = Predictor(run, "cpu")
    changed = Table.from_columns(list(table.ids), images, list(table.labels))
    assert "is not what its preset draws" in truth_of(predictor, see(predictor, list(changed.records()), predictor.checked(images)))
    np.save(tmp_path / "own.npy", images[0, 0])
    out, err = darklens(
        "explain", run.path, tmp_path / "own.npy", "--out", tmp_path / "own", "--method", "grad-cam", "--features", 0
    )
    assert "the truth is not known: the images are not rows of a simulation" in out + err
    content = json.loads((tmp_path / "own" / "explanation.json").read_text())
    assert set(content["methods"]["grad-cam"]) == {"deletion", "insertion", "stability", "randomised_weights"}


def test_what_was_mended_and_what_the_network_does_not_know_is_told(table, tmp_path, darklens):
    image = np.zeros_like(table.images()[0, 0])
    image[3, 3] = np.nan
    np.save(tmp_path / "own.npy", np.kron(image, np.ones((3, 3)))[:150, :150].astype(np.float32))
    arguments = ("explain", "arcnet:common-test", tmp_path / "own.npy", "--out", tmp_path / "own", "--features", 0)
    out, err = darklens(*arguments, "--method", "grad-cam")
    told = json.loads((tmp_path / "own" / "explanation.json").read_text())["noticed"]
    assert [sentence.split(",")[0].split(" look")[0] for sentence in told] == [
        "9 pixels that were not finite or masked",
        "all pixels are zero (1 image)",
        "1 of 1 images explained",
    ]
    assert all(sentence in out + err for sentence in told)
    assert "9 pixels that were not finite" in (tmp_path / "own" / "explanation.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--method", "gradcam"], "unknown method 'gradcam': did you mean 'grad-cam'"),
        (["--method", "attention-rollout"], "CNN has no attention that could be followed"),
        (["--target", "wdm"], "unknown class 'wdm'"),
        (["--n", "0"], "--n 0 images is outside 1 to 500"),
        (["--projections", "pca,mds"], "unknown projection 'mds'"),
        (["--features", "-1"], "--features -1 is below 0"),
    ],
)
def test_what_cannot_be_asked_gets_one_sentence(run, table, tmp_path, darklens, arguments, sentence):
    _, err = darklens("explain", run.path, table.path, "--out", tmp_path / "x", *arguments, code=2)
    assert sentence in err.splitlines()[-1]
    assert err.count("error:") == 1
    assert not (tmp_path / "x").exists()


def test_what_cannot_be_explained_gets_one_sentence(run, explained, tmp_path, darklens):
    np.save(tmp_path / "small.npy", np.random.default_rng(0).random((32, 32), np.float32))
    _, err = darklens("explain", run.path, tmp_path / "small.npy", "--out", tmp_path / "x", code=2)
    assert "small.npy is 32x32 pixels and the model was trained on 64x64" in err.splitlines()[-1]
    assert err.count("32x32") == 1, "said once"
    _, err = darklens("explain", "srresnet-arc:sr-pairs", tmp_path / "small.npy", "--out", tmp_path / "x", code=2)
    assert "tells no classes apart" in err
    _, err = darklens("explain", run.path, tmp_path / "small.npy", "--out", explained[0], code=2)
    assert "exists: choose another folder or give --force" in err
    _, err = darklens("explain", run.path, tmp_path / "small.npy", "--out", tmp_path, code=2)
    assert "holds something that is no explanation" in err
