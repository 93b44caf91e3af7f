"""Scores made on a Ray cluster: those of one machine, whatever dies on the way."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import darklens
from darklens.cluster import score as module
from darklens.data.scores import part_name, read_bad, read_scores
from darklens.errors import InputError, WorkError

ray = pytest.importorskip("ray", reason="ray is not installed (extra [cluster])")
CHECKOUT = Path(__file__).parents[2]
N, PART = 300, 25


@pytest.fixture(scope="module")
def survey_tests():
    """The fresh run and the table of the tests of one machine."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("survey_tests", CHECKOUT / "tests" / "train" / "test_survey.py")
    found = module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory, survey_tests):
    folder = tmp_path_factory.mktemp("survey")
    survey_tests.begun(folder / "run")
    survey_tests.table_at(folder / "table", n=N)
    darklens.score(folder / "run", folder / "table", folder / "alone", images_per_part=PART, device="cpu")
    return folder


def on_cluster(place, out, **options):
    return darklens.score(place / "run", place / "table", out, **({"images_per_part": PART, "ray": "auto"} | options))


def assert_same(place, out):
    assert read_scores(out).equals(read_scores(place / "alone"))
    assert read_bad(out).num_rows == 0


@pytest.mark.slow
def test_the_scores_of_one_machine_though_an_actor_is_killed(cluster, place, tmp_path):
    killed, seen = [], []

    def kill():
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            try:
                name = Path(f"/proc/{pid}/cmdline").read_text()
            except OSError:
                continue
            if name.startswith("ray::MapWorker"):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
                return

    def progress(done, total):
        seen.append(done)
        if done and not killed:
            kill()

    manifest = on_cluster(place, tmp_path / "s", progress=progress)
    assert killed
    assert (manifest["rows"], manifest["bad"], manifest["complete"]) == (N, 0, True)
    assert_same(place, tmp_path / "s")
    assert seen[-1] == N


@pytest.mark.slow
def test_one_machine_continues_what_a_cluster_began_and_the_reverse(cluster, place, tmp_path):
    on_cluster(place, tmp_path / "s")
    for lost in (part_name(3), part_name(5)):
        (tmp_path / "s" / lost).unlink()
    darklens.score(place / "run", place / "table", tmp_path / "s", images_per_part=PART, device="cpu")
    assert_same(place, tmp_path / "s")
    (tmp_path / "s" / part_name(0)).unlink()
    on_cluster(place, tmp_path / "s")
    assert_same(place, tmp_path / "s")


@pytest.mark.slow
def test_what_goes_wrong_on_a_worker_is_one_sentence_and_the_rest_is_kept(cluster, place, tmp_path):
    """A folder in the memory of each process: no worker's parts are where the driver looks; and a GPU that no node has."""
    with pytest.raises(WorkError, match="as this machine sees it"):
        on_cluster(place, "memory://no/one/shares")
    with pytest.raises(InputError, match="no GPU"):
        on_cluster(place, tmp_path / "s", device="cuda")


@pytest.mark.slow
def test_a_cluster_that_goes_away_is_one_sentence_and_what_is_done_stays(place, tmp_path):
    """The head is stopped in the midst of the work; the same command on one machine finishes it."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    code = f"""
import sys
from darklens.cli import main
sys.argv = ["darklens", "predict", {str(place / "run")!r}, {str(place / "table")!r}, "--out", {str(tmp_path / "s")!r},
            "--images-per-part", "1", "--ray", {made.address!r}]
main()
"""
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 300
        while not list((tmp_path / "s").glob("part-*.parquet")) and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
        made.shutdown()
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    there = len(list((tmp_path / "s").glob("part-*.parquet")))
    assert 0 < there < N
    assert process.returncode == 1
    assert [line for line in said.strip().splitlines() if line.startswith("error:") and "went away" in line], said
    darklens.score(place / "run", place / "table", tmp_path / "s", images_per_part=1, device="cpu")
    alone, found = read_scores(place / "alone"), read_scores(tmp_path / "s")
    assert found["id"].to_pylist() == alone["id"].to_pylist()
    np.testing.assert_allclose(found["lens"], alone["lens"], rtol=0, atol=1e-6)  # batches of one differ in the last bits


def test_the_head_of_a_cluster_is_watched(monkeypatch):
    """Without a cluster: work that gives nothing any more, while nothing answers at the head's address."""
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LOOKS", 0.01)
    stuck = threading.Event()

    def work():
        yield 3
        yield 4
        stuck.wait(60)

    watched = module._watched(work, "127.0.0.1:1")
    found: list[int] = []
    with pytest.raises(WorkError, match=r"the Ray cluster at 127\.0\.0\.1:1 went away") as caught:
        found.extend(watched)
    stuck.set()
    assert found == [3, 4]
    assert "\n" not in str(caught.value)


def test_a_head_that_answers_is_waited_for(monkeypatch):
    import socket

    monkeypatch.setattr(module, "SECONDS_BETWEEN_LOOKS", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def work():
            yield 3
            time.sleep(0.3)  # thirty looks
            yield 4

        assert list(module._watched(work, f"127.0.0.1:{server.getsockname()[1]}")) == [3, 4]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"ray": "127.0.0.1:1"}, "no Ray cluster answers at '127.0.0.1:1'"),
        ({"ray": "nowhere"}, "is no address"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_sentence(place, tmp_path, monkeypatch, options, match):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(InputError, match=match) as caught:
        on_cluster(place, tmp_path / "s", **options)
    assert "\n" not in str(caught.value)


def test_without_ray_it_says_what_is_missing(place, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match="darklens\\[cluster\\]"):
        on_cluster(place, tmp_path / "s", ray="local")
