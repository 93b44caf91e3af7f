import pytest

from darklens.errors import InputError
from darklens.runs import Run


def test_a_run_is_continued_only_with_its_own_recipe(tmp_path):
    Run.create(tmp_path / "run", {"name": "a", "train": {"epochs": 3}})
    Run.create(tmp_path / "run", {"name": "a", "train": {"epochs": 3}})
    with pytest.raises(InputError, match=r"train.epochs is 3 there and 4 here"):
        Run.create(tmp_path / "run", {"name": "a", "train": {"epochs": 4}})


def test_force_removes_the_run_and_nothing_else(tmp_path):
    run = Run.create(tmp_path / "run", {"name": "a"})
    run.write("metrics", {"accuracy": 1})
    (run.path / "notes.txt").write_text("mine")
    Run.create(tmp_path / "run", {"name": "b"}, force=True)
    assert run.metrics is None
    assert (run.path / "notes.txt").read_text() == "mine"


def test_folders_that_are_something_else_are_left_alone(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="not a run"):
        Run.create(tmp_path / "home", {"name": "a"})
    with pytest.raises(InputError, match="not a run"):
        Run.open(tmp_path / "home")


def test_damaged_files_are_named(tmp_path):
    run = Run.create(tmp_path / "run", {"name": "a"})
    (run.path / "metrics.json").write_text("{")
    with pytest.raises(InputError, match=r"metrics.json is not JSON"):
        _ = run.metrics
    with pytest.raises(InputError, match=r"no weights.safetensors"):
        _ = run.weights


def test_numbers_that_json_lacks_become_null(tmp_path):
    run = Run.create(tmp_path / "run", {"name": "a"})
    run.write("metrics", {"a": float("nan"), "b": [1.5, float("inf")]})
    assert run.metrics == {"a": None, "b": [1.5, None]}


def test_evaluation_names_stay_inside_the_run(tmp_path):
    run = Run.create(tmp_path / "run", {"name": "a"})
    assert run.evaluation("../../etc/passwd").path.parent == run.path / "evaluations"
