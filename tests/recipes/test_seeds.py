import json
import subprocess
import sys

import pytest

from darklens.errors import InputError
from darklens.recipes import load, seeds_of
from darklens.recipes.execution import execute
from darklens.recipes.seeds import execute_seeds, spread, summary
from darklens.runs import Run

TINY = ["tiny=true", "model.name=cnn", "train.precision=float32", "data.train=24", "data.validation=12", "data.test=12"]


@pytest.mark.parametrize(
    ("wanted", "seeds"), [("5", [0, 1, 2, 3, 4]), (2, [0, 1]), ("3,7,11", [3, 7, 11]), ([4, 2], [4, 2]), ([6], [6])]
)
def test_seeds_by_number_or_by_name(wanted, seeds):
    assert seeds_of(wanted) == seeds


@pytest.mark.parametrize(
    ("wanted", "match"),
    [("many", "give their number"), ("-1", "give their number"), ("0", "outside 1 to"), ("3,3", "names a seed twice")],
)
def test_wrong_seeds_are_one_sentence(wanted, match):
    with pytest.raises(InputError, match=match):
        seeds_of(wanted)


def metrics(accuracy, loss):
    return {"accuracy": {"value": accuracy, "n": 50}, "loss": {"value": loss, "n": 50}, "ece": {"value": None, "n": 50}}


def test_the_spread_is_that_of_a_sample_and_the_best_loss_is_the_lowest():
    found = spread({3: metrics(0.8, 0.5), 7: metrics(0.9, 0.7), 11: metrics(0.7, 0.3)})
    assert found["accuracy"]["mean"] == pytest.approx(0.8)
    assert found["accuracy"]["sd"] == pytest.approx(0.1)
    assert (found["accuracy"]["best_seed"], found["accuracy"]["best"]) == (7, 0.9)
    assert (found["loss"]["best_seed"], found["loss"]["min"], found["loss"]["max"]) == (11, 0.3, 0.7)
    assert (found["accuracy"]["n"], found["accuracy"]["images"]) == (3, 50)
    assert found["accuracy"]["values"] == {3: 0.8, 7: 0.9, 11: 0.7}
    assert "ece" not in found  # no number, no mean
    assert spread({3: metrics(0.8, 0.5)})["accuracy"]["sd"] is None


@pytest.mark.slow
def test_several_seeds_are_ordinary_runs_on_the_same_images_and_what_is_finished_is_kept(tmp_path):
    recipe, out = load("model-iii-resnet18", TINY), tmp_path / "many"
    first = execute_seeds(recipe, out, [3], device="cpu", log=lambda s: None)
    written = (first[0].path / "metrics.json").stat().st_mtime_ns
    said = []
    runs = execute_seeds(recipe, out, [3, 5], device="cpu", log=said.append)
    assert [run.path.name for run in runs] == ["seed-3", "seed-5"]
    assert (out / "seed-3" / "metrics.json").stat().st_mtime_ns == written
    assert [Run.open(out / f"seed-{k}").recipe["train"]["seed"] for k in (3, 5)] == [3, 5]
    assert runs[0].provenance["data_checksums"] == runs[1].provenance["data_checksums"]
    assert runs[0].weights.read_bytes() != runs[1].weights.read_bytes()
    content = json.loads((out / "seeds.json").read_text())
    assert content["finished"] == [3, 5]
    values = [run.metrics["loss"]["value"] for run in runs]
    assert content["metrics"]["loss"]["mean"] == pytest.approx(sum(values) / 2)
    assert content == json.loads(json.dumps(summary(recipe, [3, 5], {3: [runs[0]], 5: [runs[1]]})))
    with pytest.raises(InputError, match=r"several seeds \(.*seed-3, .*seed-5\): give one of these runs"):
        Run.open(out)
    with pytest.raises(InputError, match="something that is not a run"):
        execute(recipe, out, device="cpu", log=lambda s: None)
    with pytest.raises(InputError, match="holds a single run"):
        execute_seeds(recipe, out / "seed-3", [1], device="cpu", log=lambda s: None)
    shown = subprocess.run(
        [sys.executable, "-m", "darklens", "train", "model-iii-resnet18", "--seeds", "3,5", "--device", "cpu", "--out", str(out)]
        + [part for setting in TINY for part in ("--set", setting)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "spread (sd)" in shown.stdout
    assert f"{content['metrics']['accuracy']['mean']:.4f}" in shown.stdout


def test_a_run_that_began_before_a_setting_existed_is_continued(tmp_path):
    recipe = load("model-iii-resnet18", TINY)
    old = recipe.model_dump(mode="json")
    del old["tune"], old["train"]["accumulate"]
    old["expects"] = "what an older darklens knew"
    Run.create(tmp_path / "run", old)
    run, said = Run.open(tmp_path / "run"), []
    run.write("metrics", {})
    assert execute(recipe, run.path, device="cpu", log=said.append)[0].complete
    assert "nothing to do" in said[0]
    with pytest.raises(InputError, match="another recipe"):
        execute(load("model-iii-resnet18", [*TINY, "train.lr=0.5"]), run.path, device="cpu", log=said.append)
