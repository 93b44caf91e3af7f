"""Tables made on a Ray cluster: the bytes of one machine, whatever dies on the way."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import darklens
from darklens.cluster import simulate as module
from darklens.cluster import simulate_on_cluster
from darklens.data import Table
from darklens.errors import InputError, WorkError
from darklens.simulate import preset, simulate, write

ray = pytest.importorskip("ray", reason="ray is not installed (extra [cluster])")
PRESET = replace(preset("model-iii-noisy"), shape=(24, 24))
N, SEED, SHARD = 60, 5, 12


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    for place in (write, module):
        monkeypatch.setattr(place, "rows_per_shard", lambda n: SHARD)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "rows_per_shard", lambda n: SHARD)
        return simulate(PRESET, N, seed=SEED, out=tmp_path_factory.mktemp("alone") / "t")


def on_cluster(out, **options):
    return simulate_on_cluster(PRESET, N, **({"seed": SEED, "out": str(out), "address": "auto"} | options))


def assert_same(path, alone):
    table = Table.open(path)
    assert {k: v for k, v in table.manifest.items() if k != "created_by"} == {
        k: v for k, v in alone.manifest.items() if k != "created_by"
    }
    assert table.verify() == alone.checksum  # the very bytes of every shard
    assert {p.name for p in path.iterdir()} == {p.name for p in alone.path.iterdir()}


def test_the_bytes_of_one_machine(cluster, alone, tmp_path):
    seen = []
    on_cluster(tmp_path / "t", progress=seen.append)
    assert_same(tmp_path / "t", alone)
    assert sum(seen) == N
    assert on_cluster(tmp_path / "t")["complete"]  # nothing to do


def test_a_file_system_url(cluster, alone, tmp_path):
    on_cluster((tmp_path / "t").as_uri())
    assert_same(tmp_path / "t", alone)


def test_a_driver_that_died_is_continued(cluster, alone, tmp_path, monkeypatch):
    entered = []
    enter = module._State.enter

    def dies(self, index, shard):
        entered.append(index)
        if len(entered) == 3:
            raise KeyboardInterrupt
        enter(self, index, shard)

    with monkeypatch.context() as patch:
        patch.setattr(module._State, "enter", dies)
        with pytest.raises(KeyboardInterrupt):
            on_cluster(tmp_path / "t")
    with pytest.raises(InputError, match="incomplete"):
        Table.open(tmp_path / "t")
    time.sleep(0.5)
    fresh = []
    on_cluster(tmp_path / "t", progress=fresh.append)
    assert fresh[0] >= 2 * SHARD  # what was done is kept
    assert_same(tmp_path / "t", alone)


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced(cluster, alone, tmp_path):
    killed = []

    def kill(rows):
        if killed:
            return
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            try:
                name = Path(f"/proc/{pid}/cmdline").read_text()
            except OSError:
                continue
            if name.startswith("ray::_make_shard"):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
                return

    watcher_ended = threading.Event()

    def watch():
        while not killed and not watcher_ended.is_set():
            kill(0)
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        on_cluster(tmp_path / "t")
    finally:
        watcher_ended.set()
        thread.join()
    assert killed
    assert_same(tmp_path / "t", alone)


@pytest.mark.slow
def test_a_node_removed_in_mid_run(cluster, alone, tmp_path):
    removed = []

    def remove(rows):
        if rows == SHARD and not removed:
            removed.append(cluster.remove_node(cluster.extra, allow_graceful=False))

    on_cluster(tmp_path / "t", progress=remove)
    assert removed
    assert_same(tmp_path / "t", alone)


def test_another_table_is_not_continued(cluster, alone, tmp_path):
    on_cluster(tmp_path / "t")
    with pytest.raises(InputError, match="another seed"):
        on_cluster(tmp_path / "t", seed=6)
    on_cluster(tmp_path / "t", seed=6, force=True)
    assert not np.array_equal(Table.open(tmp_path / "t").images(), alone.images())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="not a table"):
        on_cluster(tmp_path / "other")


def test_files_of_other_people_are_left_alone(cluster, alone, tmp_path):
    theirs = {"draft.tmp", "part-two-of-thesis.tex", "notes.done"}
    for name in theirs:
        (tmp_path / name).write_text("years")
    with pytest.raises(InputError, match="not a table"):
        on_cluster(tmp_path)
    for options in ({"force": True}, {}, {"force": True, "seed": 6}):
        on_cluster(tmp_path, **options)
        assert {name for name in theirs if (tmp_path / name).read_text() == "years"} == theirs


def test_shards_that_the_driver_does_not_see_are_not_called_done(cluster):
    with pytest.raises(WorkError, match="as this machine sees it"):
        on_cluster("memory://no/one/shares")  # every process has its own


def test_one_machine_continues_what_a_cluster_began(cluster, alone, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(module._State, "finish", lambda self: None)
        on_cluster(tmp_path / "t")
    (tmp_path / "t" / "part-00001.parquet.0123abcd.tmp").write_bytes(b"half")
    simulate(PRESET, N, seed=SEED, out=tmp_path / "t")
    assert_same(tmp_path / "t", alone)


def test_a_cluster_without_a_core_is_not_waited_for(tmp_path, cluster, monkeypatch):
    monkeypatch.setattr(ray, "cluster_resources", dict)
    monkeypatch.setattr(module, "PATIENCE", -1)
    with pytest.raises(WorkError, match="no CPU"):
        on_cluster(tmp_path / "t")


@pytest.mark.slow
def test_a_local_cluster_listens_on_this_machine_only(tmp_path):
    code = """
from darklens.cluster.session import session
with session("local") as ray:
    address = ray.get_runtime_context().gcs_address
    print(address)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("127.0.0.1:"), done.stderr


def test_a_gpu_and_a_cluster_are_not_asked_for_together(tmp_path):
    with pytest.raises(InputError, match="leave one of the two out"):
        darklens.simulate("model-iii", 3, out=tmp_path / "t", ray="local", device="cuda")


def test_a_shard_that_cannot_be_made_says_why_and_keeps_the_others(cluster, alone, tmp_path):
    class Broken(type(PRESET.population)):
        def draw_system(self, label, rng):
            raise InputError("no light today")

    broken = replace(
        PRESET, population=Broken(**{f: getattr(PRESET.population, f) for f in PRESET.population.__dataclass_fields__})
    )
    with pytest.raises((WorkError, InputError), match="no light today"):
        simulate_on_cluster(broken, N, seed=SEED, out=str(tmp_path / "t"), address="auto")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"address": "127.0.0.1:1"}, "no Ray cluster answers at '127.0.0.1:1'"),
        ({"address": "nowhere"}, "is no address"),
        ({"out": "/proc/nothing/here"}, "cannot be written"),
        ({"out": "carrier-pigeon://coop/table"}, "no driver for 'carrier-pigeon'"),
    ],
)
def test_what_is_not_there_is_one_sentence(options, match, tmp_path, monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(InputError, match=match) as caught:
        on_cluster(options.get("out", tmp_path / "t"), **{k: v for k, v in options.items() if k != "out"})
    assert "\n" not in str(caught.value)


def test_without_ray_it_says_what_is_missing(tmp_path):
    code = "import sys; sys.modules['ray'] = None; from darklens.cli import main; main()"
    command = [sys.executable, "-c", code, "simulate", "model-iii", "--n", "3", "--out", str(tmp_path / "t"), "--ray", "local"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "darklens[cluster]" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_urls_need_a_cluster(tmp_path):
    with pytest.raises(InputError, match="--ray local"):
        simulate("model-iii", 3, out="s3://bucket/table")


def test_large_tables_have_larger_shards(monkeypatch):
    monkeypatch.undo()
    assert [write.rows_per_shard(n) for n in (1, 10**5, 2 * 10**7, 10**8, 10**9)] == [1024, 1024, 1024, 8192, 65536]
    assert json.dumps(write.rows_per_shard(10**8))
