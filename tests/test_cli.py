"""The command line from outside: what it prints, its exit codes, one sentence for every failure and never a traceback."""

import json
import os
import pickle
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from darklens import __version__, cli
from darklens.api import open_run, train
from darklens.data import Table
from darklens.simulate import simulate

TINY = ["tiny=true", "train.precision=float32", "data.train=60", "data.validation=30", "data.test=30"]


def outside(*arguments, code=0):
    """Run the command in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "2", "COLUMNS": "160"}
    command = [sys.executable, "-m", "darklens", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def darklens(capsys, monkeypatch):
    """Run a command as `outside` does, but in this process: starting Python a hundred times would take minutes."""

    def run(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["darklens", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        assert caught.value.code == code, out + err
        assert "Traceback" not in err
        return SimpleNamespace(stdout=out, stderr=err)

    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [
        train("model-iii-resnet18", set=[*TINY, f"model.name={name}"], out=folder / name, device="cpu", log=lambda s: None)
        for name in ("cnn", "resnet18")
    ]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tree")
    table = simulate("model-iii", 18, seed=77)
    for i, (image, label) in enumerate(zip(table.images(), table.labels, strict=True)):
        (folder / label).mkdir(exist_ok=True)
        np.save(folder / label / f"{i}.npy", image[0])
    return folder


def test_help_is_quick_and_lists_every_command():
    assert outside("--version").stdout == f"darklens {__version__}\n"
    text = outside("--help").stdout
    for command in ("demo", "list", "simulate", "import", "inspect", "train", "evaluate", "predict", "compare", "report", "doctor"):
        assert command in text


def test_list_and_doctor_as_json(darklens):
    content = json.loads(darklens("list", "--json").stdout)
    assert "model-iii" in content["presets"]
    assert "resnet18" in content["models"]
    assert "demo" in content["recipes"]
    assert "cpu" in json.loads(darklens("doctor", "--json").stdout)["devices"]


def test_simulate_inspect_import(darklens, tmp_path, tree):
    content = json.loads(darklens("simulate", "model-iii", "--n", 12, "--seed", 3, "--out", tmp_path / "t", "--json").stdout)
    assert content["images"] == 12
    darklens("simulate", "model-iii", "--n", 12, "--seed", 3, "--out", tmp_path / "t")  # again: nothing to do
    assert "seed" in darklens("simulate", "model-iii", "--n", 12, "--seed", 4, "--out", tmp_path / "t", code=2).stderr
    darklens("inspect", tmp_path / "t", "--figure", tmp_path / "g.png")
    assert (tmp_path / "g.png").stat().st_size > 10_000
    report = json.loads(darklens("import", tree, "--out", tmp_path / "i", "--split", "0.6,0.2,0.2", "--json").stdout)
    assert report["images"] == 18
    assert set(Table.open(tmp_path / "i").splits) <= {"train", "val", "test"}


def test_predict_writes_probabilities_with_names(darklens, tmp_path, runs, tree):
    import pandas

    said = darklens("predict", runs[0].path, tree, "--out", tmp_path / "p.csv").stderr
    table = pandas.read_csv(tmp_path / "p.csv")
    called = table.predicted.value_counts()
    words = ", ".join(f"{called[name]} {name}" for name in ("no_sub", "cdm", "axion") if name in called)
    assert f"18 images (called {words}), 0 skipped" in said
    assert len(table) == 18
    assert table[["no_sub", "cdm", "axion"]].sum(axis=1).to_numpy() == pytest.approx(np.ones(18), abs=1e-5)
    darklens("predict", runs[0].path, tree / "cdm", "--out", tmp_path / "p.parquet")
    assert len(pandas.read_parquet(tmp_path / "p.parquet")) == 6
    assert "exists" in darklens("predict", runs[0].path, tree, "--out", tmp_path / "p.csv", code=2).stderr
    assert darklens("predict", runs[0].path, tree / "cdm" / "1.npy").stdout.count("\n") == 2


def test_predict_agrees_with_the_runs_own_predictions(runs):
    run = open_run(runs[0].path)
    test = Table.open(run.data["splits"]["test"]["path"])
    saved = run.predictions()
    found = run.predict(test.images())
    assert np.allclose(found, np.stack([saved[c] for c in run.classes], 1), atol=1e-6)


def test_evaluate_compare_report(darklens, tmp_path, runs, tree):
    for run in runs:
        done = darklens("evaluate", run.path, "--data", tree, "--name", "tree", "--json")
        metrics = json.loads(done.stdout)
        assert metrics["auc_macro"]["n"] == 18, done.stderr
        assert metrics["auc_macro"]["low"] <= metrics["auc_macro"]["value"] <= metrics["auc_macro"]["high"]
    assert "minus" in darklens("compare", *(r.path for r in runs)).stdout
    content = json.loads(darklens("compare", *(r.path for r in runs), "--json").stdout)
    assert content["pairs"][0]["a"] == "cnn"
    assert json.loads(darklens("compare", *(r.path for r in runs), "--on", "tree", "--json").stdout)["pairs"][0]["n"] == 18
    darklens("report", *(r.path for r in runs), "--out", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "Paired comparison" in page
    assert "http://" not in page
    assert "https://" not in page
    assert page.count("data:image/png") >= 10


def test_a_finished_run_is_not_trained_again(darklens, runs):
    before = (runs[0].path / "weights.safetensors").stat().st_mtime_ns
    assert "finished" in darklens("train", "--resume", runs[0].path).stderr
    assert (runs[0].path / "weights.safetensors").stat().st_mtime_ns == before


class Hostile:
    def __reduce__(self):
        return (os.system, ("touch hacked",))


def wrong_inputs(tmp_path, run, tree):
    np.save(tmp_path / "nan.npy", np.full((64, 64), np.nan))
    np.save(tmp_path / "huge.npy", np.full((64, 64), 1e20))
    np.save(tmp_path / "bands.npy", np.zeros((3, 64, 64)))
    np.save(tmp_path / "small.npy", np.random.default_rng(0).random((50, 50)))
    np.save(tmp_path / "rank.npy", np.zeros(5))
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut.npy").write_bytes((tree / "cdm" / "1.npy").read_bytes()[:3000])
    (tmp_path / "cut.fits").write_bytes(b"SIMPLE  =                    T" + b" " * 100)
    np.save(tmp_path / "hostile.npy", np.array([Hostile(), 1], dtype=object), allow_pickle=True)
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps(Hostile()))
    (tmp_path / "strange" / "vort").mkdir(parents=True)
    np.save(tmp_path / "strange" / "vort" / "1.npy", np.random.default_rng(0).random((64, 64)))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "precious.txt").write_text("mine")
    out = tmp_path / "out.csv"
    return [
        (("simulate", "model-4", "--out", tmp_path / "x"), "did you mean"),
        (("simulate", "model-iii", "--out", tmp_path / "x", "--n", "0"), "outside 1"),
        (("simulate", "model-iii", "--out", tmp_path / "other", "--n", "3"), "--force"),
        (("train", "model-iii-resnet18", "--set", "model.name=resnt18"), "did you mean 'resnet18'"),
        (("train", "model-iii-resnet18", "--out", tmp_path / "other", "--set", "tiny=true"), "--force"),
        (("train",), "either a recipe or --resume"),
        (("predict", run.path, tmp_path / "nan.npy", "--out", out), "finite"),
        (("predict", run.path, tmp_path / "huge.npy", "--out", out), "values up to 1e+20"),
        (("predict", run.path, tmp_path / "bands.npy", "--out", out), "3 bands"),
        (("predict", run.path, tmp_path / "small.npy", "--out", out), "50x50 pixels and the model was trained on 64x64"),
        (("predict", run.path, tmp_path / "rank.npy", "--out", out), "rank.npy"),
        (("predict", run.path, tmp_path / "empty", "--out", out), "no image"),
        (("predict", run.path, tmp_path / "cut.npy", "--out", out), "cut.npy"),
        (("predict", run.path, tmp_path / "cut.fits", "--out", out), "cut.fits"),
        (("predict", run.path, tmp_path / "hostile.npy", "--out", out), "hostile.npy"),
        (("predict", run.path, tmp_path / "pickle.npy", "--out", out), "pickle.npy"),
        (("predict", run.path, tmp_path / "none.npy", "--out", out), "none.npy"),
        (("predict", tmp_path / "empty", tree, "--out", out), "not a run"),
        (("predict", run.path, tree, "--out", tmp_path / "p.txt"), ".csv or .parquet"),
        (("evaluate", run.path, "--data", tmp_path / "strange"), "class 'vort' and this run knows no_sub, cdm, axion"),
        (("compare", run.path), "at least 2"),
        (("import", tmp_path / "empty", "--out", tmp_path / "i"), "no image"),
        (("nonsense",), "nonsense"),
    ]


def test_wrong_input_is_one_sentence_with_exit_code_2(darklens, tmp_path, runs, tree, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments, expected in wrong_inputs(tmp_path, runs[0], tree):
        done = darklens(*arguments, code=2)
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, done.stderr
        assert expected in lines[0], lines[0]
    assert not (tmp_path / "hacked").exists()
    assert (tmp_path / "other" / "precious.txt").read_text() == "mine"
    assert not (tmp_path / "out.csv").exists()


def test_resize_accepts_another_size(darklens, tmp_path, runs):
    np.save(tmp_path / "small.npy", np.random.default_rng(0).random((50, 50)))
    assert darklens("predict", runs[0].path, tmp_path / "small.npy", "--resize").stdout.count("\n") == 2


def test_weights_that_do_not_fit_the_recipe_are_refused(darklens, tmp_path, runs, tree):
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(runs[0].path, broken)
    shutil.copy(runs[1].path / "weights.safetensors", broken / "weights.safetensors")
    assert "does not fit model 'cnn'" in darklens("predict", broken, tree, code=2).stderr


def test_every_third_party_file_is_read_or_refused_in_one_sentence(shared_data, runs):
    from darklens.data import read
    from darklens.errors import DarklensError

    files = [p for p in sorted(shared_data.rglob("*")) if p.is_file()]
    simulated = [p for p in files if "deeplensesim" in p.parts]
    answered, sentences = 0, []
    for path in [p for p in files if p not in set(simulated)] + simulated[::40]:
        try:
            for records, probabilities in runs[0].predictor.predict(read(path), resize=True):
                assert np.isfinite(probabilities).all()
                answered += len(records)
        except DarklensError as error:
            sentences.append(str(error))
    assert answered > 100
    assert not [s for s in sentences if "\n" in s]
