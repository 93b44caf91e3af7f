import csv
import json
import signal
import subprocess
import sys
import time

import pytest

from darklens.errors import InputError
from darklens.recipes import load
from darklens.recipes.tune import space_of, tune, with_settings
from darklens.train.loop import Training

optuna = pytest.importorskip("optuna")

TINY = ["tiny=true", "model.name=cnn", "train.precision=float32", "data.train=24", "data.validation=12", "data.test=12"]
SPACE = [
    "tune={train.lr: {low: 1.0e-4, high: 1.0e-2, log: true}, train.optimizer: [adam, sgd], train.max_shift: {low: 0, high: 4}}"
]


def recipe(*more):
    return load("model-iii-resnet18", [*TINY, *SPACE, *more])


def quick(monkeypatch, loss_of):
    """Replace trainings by a formula for their validation losses: loss_of(config, epoch)."""

    def fit(self):
        for epoch in range(self.state["epoch"], self.config.epochs):
            loss = loss_of(self.config, epoch)
            row = {"epoch": epoch + 1, "val_loss": loss}
            self.state["history"].append(row)
            self.state["epoch"] = epoch + 1
            self.state["best"] = {"val_loss": min(r["val_loss"] for r in self.state["history"])}
            self.run.write_history(self.state["history"])
            if self.after_epoch(row):
                break
        self.state["interrupted"] = False
        return self.state

    monkeypatch.setattr(Training, "fit", fit)


def search(out, trials, chosen=None, **settings):
    return tune(chosen or recipe(), out, trials, device="cpu", log=lambda s: None, **settings)


def rows(out):
    with open(out / "trials.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_the_best_settings_become_a_recipe_that_trains_and_the_test_set_is_left_alone(tmp_path, monkeypatch):
    module = sys.modules["darklens.recipes.experiments.classification"]
    monkeypatch.setattr(module, "evaluate_test", lambda *a: pytest.fail("the test set was looked at"))
    found = search(tmp_path / "study", 2)
    assert len(found["trials"]) == 2
    assert found["validation_loss"] == min(row["validation_loss"] for row in found["trials"])
    assert not list((tmp_path / "study").rglob("metrics.json"))
    assert not list((tmp_path / "study").rglob("predictions.parquet"))
    best = load(found["recipe"])
    assert best.train.lr == found["best"]["train.lr"]
    assert best.train.optimizer == found["best"]["train.optimizer"]
    assert best.tune == {}
    assert best.data == recipe().data
    assert "not tested yet" in best.expects
    assert [row["state"] for row in rows(tmp_path / "study")] == ["complete", "complete"]


def test_a_killed_study_goes_on_where_it_was_and_finishes_the_trial_it_was_at(tmp_path, monkeypatch):
    quick(monkeypatch, lambda config, epoch: abs(config.lr - 3e-3))
    begun = []

    def killed(config, epoch):
        begun.append(config.lr)
        if len(begun) == 4:  # in the second epoch of the second trial
            raise KeyboardInterrupt
        return abs(config.lr - 3e-3)

    quick(monkeypatch, killed)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "study", 4)
    quick(monkeypatch, lambda config, epoch: abs(config.lr - 3e-3))
    found = search(tmp_path / "study", 4)
    states = [row["state"] for row in found["trials"]]
    assert states.count("complete") + states.count("pruned") == 4
    rates = [row["train.lr"] for row in found["trials"] if row["state"] != "fail"]
    assert begun[-1] in rates  # its settings were taken up again
    assert len(set(rates)) == 4  # and none was tried twice
    assert not (tmp_path / "study" / "trials" / "0001").exists()  # its folder went on as that of its successor
    assert search(tmp_path / "study", 4)["trials"] == found["trials"]  # nothing is left to do
    with pytest.raises(InputError, match="study of another recipe"):
        search(tmp_path / "study", 4, recipe("train.batch_size=4"))


def test_hopeless_trials_are_cut_short_and_good_ones_are_not(tmp_path, monkeypatch):
    order = []

    def loss(config, epoch):
        if config.lr not in order:
            order.append(config.lr)
        return 5.0 if len(order) == 6 else 1.0 / len(order) - 0.01 * epoch

    quick(monkeypatch, loss)
    found = search(tmp_path / "study", 7, recipe("tiny=false", "train.epochs=6"))
    states = [row["state"] for row in found["trials"]]
    assert states == ["complete"] * 5 + ["pruned", "complete"]
    assert found["trials"][5]["epochs"] < 6
    assert found["best"]["train.lr"] == order[6]


def test_diverged_trials_count_and_do_not_end_the_study(tmp_path, monkeypatch):
    from darklens.errors import WorkError

    def loss(config, epoch):
        raise WorkError("the loss became nan")

    quick(monkeypatch, loss)
    with pytest.raises(WorkError, match="no trial came to an end; the first: the loss became nan"):
        search(tmp_path / "study", 2)


def test_a_spent_budget_begins_no_trial_but_the_first(tmp_path, monkeypatch):
    quick(monkeypatch, lambda config, epoch: config.lr)
    assert len(search(tmp_path / "study", 5, budget_s=1e-9)["trials"]) == 1


def test_without_a_section_the_settings_that_matter_are_searched_around_the_recipe():
    plain = load("model-iii-resnet18", ["model.name=arcnet"])
    space = space_of(plain)
    assert set(space) == {"train.lr", "train.weight_decay", "model.options.dropout"}
    assert space["train.lr"]["low"] < plain.train.lr < space["train.lr"]["high"]
    assert "model.options.dropout" not in space_of(load("model-iii-resnet18"))  # it has none
    assert with_settings(plain, {"model.options.dropout": 0.3}).model.options == {"dropout": 0.3}


@pytest.mark.parametrize(
    ("section", "match"),
    [
        ("{data.seed: [1, 2]}", "'data.seed' cannot be searched"),
        ("{train.seed: [1, 2]}", "'train.seed' cannot be searched"),
        ("{train.lr: []}", "empty list"),
        ("{train.lr: {low: 1, high: 0.1}}", "low < high"),
        ("{train.lr: {low: 0, high: 0.1, log: true}}", "log needs low above 0"),
        ("{train.lr: {low: 0.1, hihg: 1}}", "give a list, or low and high"),
        ("{train.learning_rate: [0.1]}", "unknown key 'train.learning_rate'"),
        ("{train.lr: [-1]}", "'train.lr' is -1"),
    ],
)
def test_a_space_that_does_not_fit_is_refused_in_one_sentence(section, match):
    with pytest.raises(InputError, match=match) as caught:
        space_of(load("model-iii-resnet18", [f"tune={section}"]))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_command_killed_and_repeated_finishes_the_study(tmp_path):
    out = tmp_path / "study"
    command = [
        sys.executable,
        "-m",
        "darklens",
        "tune",
        "model-iii-resnet18",
        "--trials",
        "3",
        "--out",
        str(out),
        "--device",
        "cpu",
    ]
    command += [part for setting in [*TINY, *SPACE] for part in ("--set", setting)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (out / "trials" / "0001" / "history.csv").is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    states = [row["state"] for row in json.loads(done.stdout)["trials"]]
    assert states.count("complete") + states.count("pruned") == 3
    assert (out / "best.yaml").is_file()
