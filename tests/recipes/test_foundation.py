"""Learning without labels, from recipe to vectors: one small training, and what is done with it."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

import darklens
from darklens.cli import app
from darklens.data import Table
from darklens.errors import InputError
from darklens.evaluate.vectors import linear_probe
from darklens.models import build
from darklens.recipes import execute, load
from darklens.runs import Run
from darklens.train.answers import softmax
from darklens.train.embedder import Embedder

OPTIONS = {"dim": 32, "depth": 1}
SMALL = {
    "name": "small",
    "data": {"preset": "model-iii-noisy", "train": 48, "validation": 12, "test": 24, "seed": 5},
    "model": {"name": "mae-arc", "options": {**OPTIONS, "decoder_dim": 32, "decoder_depth": 1}},
    "preprocess": {"stretch": "sqrt", "normalise": "standard"},
    "train": {"task": "masked-autoencoder", "epochs": 2, "batch_size": 16, "precision": "float32"},
}
JOINT = {"model": {"name": "joint-embedding", "options": {**OPTIONS, "projection": 16}}}


def train(out, tables, content=None, settings=(), **options):
    (run,) = execute(load(content or SMALL, list(settings)), out, data=tables, device="cpu", log=lambda text: None, **options)
    return run


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="module")
def run(tmp_path_factory, tables):
    return train(tmp_path_factory.mktemp("runs") / "mae-arc", tables)


def weights(run):
    return run.weights.read_bytes()


def test_a_run_says_how_well_hidden_pixels_are_guessed_and_what_vectors_are_good_for(run):
    assert run.model["task"] == "masked-autoencoder"
    assert "classes" not in run.model
    metrics = run.metrics
    for key in ("loss", "unexplained_image", "probe_accuracy", "probe_auc_macro", "neighbours_accuracy"):
        assert metrics[key]["low"] <= metrics[key]["value"] <= metrics[key]["high"], key
        assert metrics[key]["n"] == 24
    assert {picture["file"] for picture in run.figures} == {"history.png", "reconstructions.png", "map.png"}
    assert all((run.path / "figures" / picture["file"]).stat().st_size > 5000 for picture in run.figures)
    assert run.history[-1]["val_unexplained"] == pytest.approx(run.history[-1]["val_unexplained"])
    assert len(run.predictions()["error_image"]) == 24


def test_a_training_that_was_interrupted_and_knew_other_labels_ends_in_the_same_weights(run, tables, tmp_path):
    content = SMALL | {"data": SMALL["data"] | {"group": {"cdm": "sub", "axion": "sub"}}}

    class Stop(Exception):
        pass

    def stop(phase, done, total):
        if phase.startswith("epoch 2") and done == 2:
            raise Stop

    with pytest.raises(Stop):
        train(tmp_path / "stopped", tables, content, progress=stop)
    assert len(Run.open(tmp_path / "stopped").history) == 1
    assert weights(train(tmp_path / "stopped", tables, content)) == weights(run)


def test_images_without_labels_are_enough(run, tables, tmp_path):
    images = Table.open(tables / "model-iii-noisy-n48-seed5").image_array()
    (tmp_path / "sky").mkdir()
    for k, image in enumerate(images):
        np.save(tmp_path / "sky" / f"{k:02d}.npy", image)
    content = SMALL | {"data": {"path": str(tmp_path / "sky"), "seed": 1}}
    found = train(tmp_path / "run", tmp_path / "tables", content, ["train.batch_size=8", "train.epochs=1"])
    assert "probe_accuracy" not in found.metrics
    assert found.metrics["loss"]["value"] > 0
    assert found.data["splits"]["train"]["counts"]["unlabelled"] > 20


def test_embed_writes_a_vector_an_image_and_similar_finds_the_image_itself(run, tables, tmp_path):
    table = tables / "model-iii-noisy-n24-seed7"
    out, picture = tmp_path / "vectors.parquet", tmp_path / "map.png"
    found = darklens.embed(run, table, out, map=picture)
    assert (found["images"], found["dimension"]) == (24, 64)
    content = pq.read_table(out)
    assert content.column_names == ["id", "source", "label", "vector"]
    vectors = np.array(content["vector"].to_pylist(), dtype=np.float32)
    embedder, images = Embedder(run, "cpu"), Table.open(table).image_array()
    assert np.allclose(vectors, embedder.vectors(images), atol=1e-5)
    assert picture.stat().st_size > 5000
    np.save(tmp_path / "image.npy", images[5])
    gallery = tmp_path / "gallery.png"
    direct = darklens.similar(run, tmp_path / "image.npy", table, top=4, out=gallery)
    stored = darklens.similar(run, tmp_path / "image.npy", out, top=4)
    assert [row["id"] for row in direct["neighbours"]] == [row["id"] for row in stored["neighbours"]]
    assert direct["neighbours"][0]["id"] == content["id"][5].as_py()
    assert direct["neighbours"][0]["similarity"] == pytest.approx(1, abs=1e-3)
    assert len(direct["neighbours"]) == 4
    assert gallery.stat().st_size > 5000
    assert direct["noticed"] == []
    images[5, 0, 3, 4] = np.nan
    np.save(tmp_path / "holed.npy", images[5])
    assert darklens.similar(run, tmp_path / "holed.npy", out)["noticed"][0].startswith("1 pixels that were not finite or masked")


def test_commands_say_what_they_did(run, tables, tmp_path):
    table, out = str(tables / "model-iii-noisy-n24-seed7"), str(tmp_path / "v.parquet")
    runner = CliRunner()
    result = runner.invoke(app, ["embed", str(run.path), table, "--out", out, "--json"], catch_exceptions=False)
    assert json.loads(result.stdout)["images"] == 24
    image = tmp_path / "image.npy"
    np.save(image, Table.open(table).image_array()[0])
    result = runner.invoke(app, ["similar", str(run.path), str(image), out, "--top", "3", "--json"], catch_exceptions=False)
    assert len(json.loads(result.stdout)["neighbours"]) == 3


def test_pixels_that_were_mended_are_told(run, tables, tmp_path):
    table = tables / "model-iii-noisy-n24-seed7"
    image = Table.open(table).image_array()[0, 0].copy()
    image[3, 4:7] = np.nan
    np.save(tmp_path / "holes.npy", image)
    said = "3 pixels that were not finite or masked, in 1 image, took the level of their band's frame"
    assert darklens.embed(run, tmp_path / "holes.npy", tmp_path / "v.parquet")["noticed"] == [said]
    assert darklens.similar(run, tmp_path / "holes.npy", table)["noticed"] == [said]


@pytest.mark.parametrize(
    ("work", "says"),
    [
        (lambda run, table, tmp: darklens.embed(run, table, tmp / "v.csv"), "--out .*v.csv ends in '.csv'"),
        (lambda run, table, tmp: darklens.embed(run, table, tmp / "there.parquet"), "exists: choose another file or give --force"),
        (lambda run, table, tmp: darklens.embed(run, table, tmp / "v.parquet", map=tmp / "m.jpg"), "--map .*m.jpg ends in '.jpg'"),
        (lambda run, table, tmp: darklens.embed(run, tmp / "small.npy", tmp / "v.parquet"), "32x32 pixels .* trained on 64x64"),
        (lambda run, table, tmp: darklens.similar(run, tmp / "small.npy", table), "32x32 pixels .* trained on 64x64"),
        (lambda run, table, tmp: darklens.similar(run, tmp / "image.npy", table, top=0), "--top 0"),
        (lambda run, table, tmp: darklens.similar(run, tmp / "image.npy", tmp / "image.npy"), "holds 1 images .* give at least 5"),
        (
            lambda run, table, tmp: darklens.open_run(run.path).predict(np.zeros((64, 64))),
            "masked-autoencoder and tells no classes apart",
        ),
    ],
)
def test_wrong_input_is_refused_in_one_sentence(run, tables, tmp_path, work, says):
    (tmp_path / "there.parquet").write_bytes(b"")
    np.save(tmp_path / "small.npy", np.zeros((32, 32), np.float32))
    np.save(tmp_path / "image.npy", np.zeros((64, 64), np.float32))
    with pytest.raises(InputError, match=says):
        work(run, tables / "model-iii-noisy-n24-seed7", tmp_path)


def test_vectors_of_other_weights_are_refused(run, tables, tmp_path):
    other = train(tmp_path / "joint", tables, SMALL | JOINT, ["train.task=joint-embedding", "train.epochs=1"])
    assert other.metrics["rank"]["value"] > 1
    table = tables / "model-iii-noisy-n24-seed7"
    darklens.embed(other, table, tmp_path / "vectors.parquet")
    np.save(tmp_path / "image.npy", Table.open(table).image_array()[0])
    with pytest.raises(InputError, match="vectors of other weights"):
        darklens.similar(run, tmp_path / "image.npy", tmp_path / "vectors.parquet")


@pytest.mark.slow
def test_a_classifier_starts_where_the_encoder_ended(run, tables, tmp_path):
    content = SMALL | {"model": {"name": "encoder", "options": {"run": str(run.path), "frozen": True}}}
    settings = ["train.task=classification", "train.epochs=1"]
    tuned = train(tmp_path / "tuned", tables, content, settings)
    assert tuned.model["options"]["encoder"] == "mae-arc"
    images = Table.open(tables / "model-iii-noisy-n24-seed7").image_array()
    assert np.allclose(Embedder(run, "cpu").vectors(images), _encoded(tuned, images), atol=1e-5)
    assert Embedder(tuned, "cpu").vectors(images).shape == (24, 64)


@pytest.mark.slow
def test_a_classifier_begins_with_a_probe_and_is_tuned_from_there(run, tables, tmp_path):
    content = SMALL | {"model": {"name": "encoder", "options": {"run": str(run.path), "probe": True}}}
    begun = train(tmp_path / "begun", tables, content, ["train.task=classification", "train.epochs=1", "train.lr=1e-9"])
    seen, images = (Table.open(tables / f"model-iii-noisy-{which}").image_array() for which in ("n48-seed5", "n24-seed7"))
    labels = Table.open(tables / "model-iii-noisy-n48-seed5").labels
    vectors = Embedder(run, "cpu").vectors
    expected = linear_probe(vectors(seen), np.array([begun.model["classes"].index(k) for k in labels]), vectors(images), 3)
    logits = darklens.open_run(begun.path).predictor.logits(images)
    assert np.allclose(softmax(logits), expected, atol=1e-4)
    with pytest.raises(InputError, match=r"data\.fresh stores none"):
        train(tmp_path / "fresh", tables, content, ["train.task=classification", "data.fresh=true"])


def _encoded(run, images):
    predictor = darklens.open_run(run.path).predictor
    from darklens.train.preprocess import prepare

    with torch.no_grad():
        return predictor.model.encoder(prepare(torch.from_numpy(images), predictor.preprocess)).numpy()


def test_an_encoder_for_other_images_is_refused(run):
    with pytest.raises(InputError, match=r"does not fit .* the same preprocess"):
        build("encoder", bands=2, size=64, run=str(run.path))
    with pytest.raises(InputError, match=r"unknown encoder 'mae-ark'.*did you mean 'mae-arc'"):
        build("encoder", encoder="mae-ark")
    with pytest.raises(InputError, match="has no encoder"):
        build("encoder", run="arcnet:model-iii-noisy")
    with pytest.raises(InputError, match=r"is for masked-autoencoder and the recipe's train.task is classification"):
        load(SMALL, ["train.task=classification"])


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("train.augment=[dihedral, cutmix]", "'cutmix', which masked-autoencoder does not do: use dihedral"),
        ("train.label_smoothing=0.1", "train.label_smoothing is about labels"),
        ("preprocess.columns=[theta_E]", "preprocess.columns are for classifiers, and train.task is masked-autoencoder"),
    ],
)
def test_settings_that_mean_nothing_here_are_refused(setting, says, tables, tmp_path):
    with pytest.raises(InputError, match=says):
        train(tmp_path / "run", tables, settings=[setting])
