"""Numbers beside the images: what a network learns from them, and every way in which they may be missing."""

import numpy as np
import pytest
import torch

import darklens
from darklens.data import Table, TableWriter
from darklens.data.scores import read_bad, read_scores
from darklens.errors import InputError
from darklens.fit import Plan
from darklens.recipes import load
from darklens.report.model_card import model_card
from darklens.runs import Run
from darklens.simulate import preset
from darklens.train import checkpoint
from darklens.train.classification import Classification
from darklens.train.columns import apart, refuse_leaks, scales, stacked, with_planes
from darklens.train.config import Preprocess, TrainConfig
from darklens.train.fitted import network_inputs
from darklens.train.fresh import FreshImages
from darklens.train.image_set import ImageSet
from darklens.train.loop import Training
from darklens.train.prediction_file import predict_path
from darklens.train.predictor import build_model
from darklens.train.preprocess import bands_alone, prepare

CLASSES, N, SIZE = ("nonlens", "lens"), 200, 32
COLUMNS = ("mag", "seeing")
RECIPE = {
    "name": "columns",
    "model": {"name": "arcnet", "options": {"widths": [4, 6, 8], "symmetric": False, "dropout": 0.0}},
    "preprocess": {"normalise": "none", "columns": list(COLUMNS)},
    "train": {"task": "binary", "epochs": 8, "batch_size": 16, "lr": 1e-2, "ema": None, "precision": "float32"},
}


def columns_of(n, seed):
    """Images of noise: only the magnitude says the class, and of every seventh image it is not known."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    mag = 21 + 2 * labels + 0.4 * rng.normal(size=n)
    mag[::7] = np.nan
    return rng.normal(size=(n, 1, SIZE, SIZE)).astype(np.float32), labels, {"mag": mag, "seeing": rng.normal(0.8, 0.1, n)}


def table_at(path, n=N, seed=0, without=(), **more):
    images, labels, columns = columns_of(n, seed)
    columns = {k: v for k, v in (columns | {k: f(labels) for k, f in more.items()}).items() if k not in without}
    with TableWriter(path, shape=(1, SIZE, SIZE), classes=CLASSES, manifest={}) as writer:
        writer.write_columns([f"g{i:04d}" for i in range(n)], images, [CLASSES[k] for k in labels], columns)
    return path


def trained(out, table, **changes):
    recipe = RECIPE | {"data": {"path": str(table), "fractions": [0.6, 0.2, 0.2]}} | changes
    return darklens.train(recipe, out=out, device="cpu", log=lambda s: None)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run that sees two columns, and tables to ask it about."""
    root = tmp_path_factory.mktemp("columns")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    trained(root / "run", table_at(root / "table"))
    table_at(root / "other", 40, seed=1)
    table_at(root / "lacking", 40, seed=1, without=("mag",))
    (root / "files").mkdir()
    images, _, columns = columns_of(6, 1)
    lines = ["path,mag,seeing"]
    for i, image in enumerate(images):
        np.save(root / "files" / f"f{i}.npy", image)
        value = columns["mag"][i]
        lines.append(f"files/f{i}.npy,{'' if np.isnan(value) else value},{columns['seeing'][i]}")
    (root / "listed.csv").write_text("\n".join(lines))
    yield root
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_it_learns_from_a_column_what_no_image_shows(place):
    run = darklens.open_run(place / "run")
    assert run.metrics["accuracy"]["value"] > 0.85
    assert run.model["preprocess"]["columns"] == list(COLUMNS)
    assert run.model["columns"]["mag"]["mean"] == pytest.approx(22, abs=0.3)
    assert run.model["columns"]["seeing"]["std"] == pytest.approx(0.1, abs=0.02)


def test_a_table_a_catalogue_and_arrays_get_the_same_answers(place, tmp_path):
    run = darklens.open_run(place / "run")
    table = Table.open(place / "other")
    columns = {name: table.column(name) for name in reversed(COLUMNS)}
    asked = run.predict(table.images(), columns)
    found = darklens.score(run, place / "other", tmp_path / "scores", device="cpu")
    scores = read_scores(tmp_path / "scores")
    assert (found["rows"], found["bad"]) == (40, 0)
    assert np.allclose(scores["lens"].to_numpy(), asked[:, 1], atol=1e-5)
    assert np.allclose(scores["mag"].to_numpy(), table.column("mag"), equal_nan=True)
    listed = darklens.score(run, place / "listed.csv", tmp_path / "listed", device="cpu")
    images, _, some = columns_of(6, 1)
    assert (listed["rows"], listed["bad"]) == (6, 0)  # of one of them the magnitude is not known
    assert np.allclose(read_scores(tmp_path / "listed")["lens"].to_numpy(), run.predict(images, some)[:, 1], atol=1e-5)
    assert run.evaluate(place / "other", out=tmp_path / "evaluation")["accuracy"]["value"] == pytest.approx(
        np.mean(asked.argmax(1) == [CLASSES.index(name) for name in table.labels])
    )


def test_an_ensemble_and_a_prevalence_see_columns_too(place):
    run = darklens.open_run(place / "run")
    table = Table.open(place / "other")
    columns = {name: table.column(name) for name in COLUMNS}
    alone = run.predict(table.images(), columns)
    pair = darklens.ensemble([place / "run", place / "run"])
    assert np.allclose(pair.probabilities(table.images(), columns).argmax(1), alone.argmax(1))
    rare = darklens.ensemble([place / "run"], prevalence=0.01).probabilities(table.images(), columns)
    assert (rare[:, 1] < alone[:, 1]).all()


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (None, "sees column 'mag' beside the images: give it"),
        ({"mag": [21.0]}, "sees column 'seeing' beside"),
        ({"mag": [21.0], "seeing": [0.8, 0.9]}, "'seeing' has 2 values for 1 images"),
        ({"mag": [21.0], "seeing": [0.8], "z": [0.5]}, "column of this run 'z'"),
    ],
)
def test_columns_that_arrays_lack_are_named(place, columns, words):
    with pytest.raises(InputError, match=words):
        darklens.open_run(place / "run").predict(np.zeros((1, 1, SIZE, SIZE), np.float32), columns)


def test_columns_are_not_for_runs_that_see_images_alone():
    with pytest.raises(InputError, match="sees images alone and is given column 'mag'"):
        stacked({"mag": [21.0]}, (), 1)


def test_places_without_the_column_are_refused_in_one_sentence(place, tmp_path):
    run = darklens.open_run(place / "run")
    for ask in (
        lambda: run.evaluate(place / "lacking", out=tmp_path / "a"),
        lambda: darklens.score(run, place / "lacking", tmp_path / "b", device="cpu"),
        lambda: predict_path(run.predictor, place / "lacking", tmp_path / "b.csv"),
    ):
        with pytest.raises(InputError, match=r"column.*'mag'"):
            ask()
    with pytest.raises(
        InputError, match=r"f0.npy has no 'mag', which the model sees beside the image: give a table, or a catalogue"
    ):
        predict_path(run.predictor, place / "files" / "f0.npy", tmp_path / "one.csv")
    found = darklens.score(run, place / "files", tmp_path / "c", device="cpu")
    assert (found["rows"], found["bad"]) == (0, 6)
    assert "has no number 'mag'" in str(read_bad(tmp_path / "c"))


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("theta_E", lambda k: np.where(k == 1, 1.0 + np.arange(len(k)), np.nan), "known of 0% of 'nonlens' and 100% of 'lens'"),
        ("redshift", lambda k: np.where((k == 1) | (np.arange(len(k)) % 5 == 0), np.arange(len(k)), np.nan), "to know the class"),
        ("n_sub", lambda k: k * (1.0 + np.arange(len(k))), "is 0 in all 'nonlens' images and in no others"),
        ("airmass", lambda k: np.full(len(k), 1.2), "is 1.2 in all training images"),
        ("nothing", lambda k: np.full(len(k), np.nan), "known of none of"),
        ("magg", None, "did you mean 'mag'"),
        ("label", None, "'label'"),
    ],
)
def test_columns_that_give_the_class_away_are_refused(tmp_path, name, values, words):
    table = table_at(tmp_path / "table", 60, **({} if values is None else {name: values}))
    with pytest.raises(InputError, match=words):
        trained(tmp_path / "run", table, preprocess={"normalise": "none", "columns": [name]})


def test_honest_gaps_are_no_leak():
    labels = np.arange(100) % 2
    gaps = np.where(np.arange(100) % 10 < 3, np.nan, np.arange(100.0))
    few = np.concatenate([[5.0, 5.0], np.arange(98.0)])
    refuse_leaks({"gaps": gaps}, labels, CLASSES)
    refuse_leaks({"few": few}, np.array([1, 1] + [0] * 98), CLASSES)  # two equal values may be chance
    assert scales({"gaps": gaps})["gaps"]["mean"] == pytest.approx(np.nanmean(gaps))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["preprocess.columns=[mag,mag]"], "name each column once"),
        (["preprocess.columns=[mag]", "train.augment=[cutmix]"], "cutmix"),
    ],
)
def test_recipes_that_cannot_be_are_refused(overrides, words):
    with pytest.raises(InputError, match=words):
        load("lens-finding-cnn", overrides)


def images_with_columns(n, seed):
    images, labels, columns = columns_of(n, seed)
    known = {k: v.astype(np.float32) for k, v in columns.items()}
    return ImageSet(images, labels, np.arange(n).astype(str).astype(object), CLASSES, columns=known)


def test_planes_pass_preparation_and_augmentation_untouched():
    settings = Preprocess(normalise="min-max", stretch="sqrt", crop=24, bin=4, columns=list(COLUMNS))
    images = images_with_columns(32, 0)
    batch, labels = images.seen_as(settings).batch(np.arange(32))
    assert batch.shape == (32, 3, SIZE, SIZE)
    prepared = prepare(batch, settings)
    assert prepared.shape == (32, 3, 6, 6)
    assert torch.equal(prepared[:, :1], prepare(batch[:, :1], settings.model_copy(update={"columns": []})))
    task = Classification(CLASSES, {}, single_logit=True)
    config = TrainConfig(augment=["dihedral", "rotate", "shift", "colour", "blur", "noise"])
    augment = bands_alone(task.augment, settings)
    changed, _ = augment(prepared, labels, config, torch.Generator().manual_seed(0), (slice(None), 32))
    assert not torch.allclose(changed[:, :1], prepared[:, :1], atol=1e-3)
    for k, name in enumerate(COLUMNS):
        expected = torch.from_numpy(images.columns[name])[:, None, None].expand(-1, 6, 6)
        assert torch.equal(changed[:, 1 + k].nan_to_num(-9), expected.nan_to_num(-9))


def test_sets_carry_their_columns_along():
    images = images_with_columns(10, 0)
    some = images.take(np.array([8, 7]))
    assert np.array_equal(some.columns["mag"], images.columns["mag"][[8, 7]], equal_nan=True)
    assert np.array_equal(some.joined(images).columns["seeing"], [*some.columns["seeing"], *images.columns["seeing"]])
    seen = some.seen_as(Preprocess(columns=["seeing"])).inputs(slice(0, 2))
    assert np.array_equal(seen[:, 1, 3, 5], some.columns["seeing"])
    assert images.seen_as(Preprocess()).inputs(slice(0, 2)).shape[1] == 1


def test_planes_go_around_the_fit_of_smooth_lenses():
    class Residuals(Plan):
        def __init__(self):
            pass

        def fit(self, images):
            assert images.shape[1:] == (1, SIZE, SIZE)
            return type("Fit", (), {"residual": 2 * images[:, 0]})()

    images, _, columns = columns_of(5, 0)
    values = np.stack(list(columns.values()), 1)
    seen, _ = network_inputs(with_planes(images, values), Residuals(), Preprocess(input="both", columns=list(COLUMNS)))
    bands, numbers = apart(seen, 2)
    assert np.allclose(bands, np.concatenate([2 * images, images], 1))
    assert np.array_equal(numbers, values.astype(np.float32), equal_nan=True)


def test_images_drawn_afresh_bring_the_columns_of_their_scene():
    task = Classification(("nonlens", "lens"), {})
    settings = Preprocess(columns=["seeing"])
    images = FreshImages(preset("lens-finding"), 3, 4, task).seen_as(settings)
    stored = darklens.simulate("lens-finding", 4, seed=3)
    drawn = images.inputs(0, 4)[0]
    assert images.shape == stored.shape
    assert np.allclose(drawn[:, -1, 0, 0], stored.column("seeing"))
    assert np.allclose(drawn[:, :-1], stored.images())


def training(path, **settings):
    settings = {"epochs": 3, "batch_size": 16, "precision": "float32", "augment": ["shift"], "task": "binary"} | settings
    sets, preprocess = [images_with_columns(n, seed) for n, seed in ((64, 0), (32, 1))], Preprocess(**RECIPE["preprocess"])
    described = {"name": "arcnet", "options": RECIPE["model"]["options"], "seed": 1, "shape": [1, SIZE, SIZE], "pixel_scale": 1.0}
    described |= {"preprocess": preprocess.model_dump(), "columns": scales(sets[0].columns)}
    seen = [one.seen_as(preprocess) for one in sets]
    task = Classification(CLASSES, {}, single_logit=True)
    run = Run.create(path, {"name": "x"})
    settings = TrainConfig(**settings)
    return Training(run, build_model(described, 1), task, *seen, settings, preprocess, device="cpu", log=lambda s: None)


def test_resumed_is_bitwise_uninterrupted_and_parts_of_a_batch_teach_the_same(tmp_path):
    training(tmp_path / "whole").fit()
    part = training(tmp_path / "part")
    part.after_epoch = lambda row: row["epoch"] == 1
    part.fit()
    resumed = training(tmp_path / "part")
    assert resumed.state["epoch"] == 1
    resumed.fit()
    training(tmp_path / "pieces", micro_batch=4).fit()
    whole, part, pieces = (checkpoint.load_weights(tmp_path / p / "last.safetensors") for p in ("whole", "part", "pieces"))
    assert all(torch.equal(whole[k], part[k]) for k in whole)
    assert all(torch.allclose(whole[k], pieces[k], atol=0.05) for k in whole if "numbers" in k)


def test_what_takes_images_alone_says_so(place, tmp_path):
    run, table = place / "run", place / "table"
    for ask in (
        lambda: darklens.export(run, tmp_path / "x.onnx", to="onnx", data=table),
        lambda: darklens.adapt(run, table, tmp_path / "adapted"),
        lambda: darklens.drift(table, place / "other", run=run),
    ):
        with pytest.raises(InputError, match="this run sees mag, seeing beside them: take a run without columns"):
            ask()


def test_the_card_names_the_columns(place):
    run = darklens.open_run(place / "run")
    text = str(model_card(run).sections)
    for name, scale in run.model["columns"].items():
        assert f"{name} ({scale['mean']:.4g} ± {scale['std']:.2g} in training)" in text
    assert "rests on mag, seeing as well" in text
