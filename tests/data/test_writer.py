import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import darklens
from darklens.data import Record, Table, TableWriter
from darklens.errors import InputError, WorkError

N = 100


def image(row: int) -> np.ndarray:
    return np.random.default_rng(row).normal(size=(1, 6, 6)).astype(np.float32)


def writer(path: Path, *, seed: int = 1, rows: int | None = N, **options) -> TableWriter:
    manifest = {"preset": "test", "seed": seed, "rows": rows, "units": {"theta_E": "arcsec"}}
    return TableWriter(path, shape=(1, 6, 6), classes=["a", "b"], manifest=manifest, **{"rows_per_shard": 8} | options)


def write(table: TableWriter, start: int, stop: int, batch: int = 5) -> None:
    for first in range(start, stop, batch):
        rows = range(first, min(first + batch, stop))
        table.write_columns(
            ids=[f"{row:04d}" for row in rows],
            images=np.stack([image(row) for row in rows]),
            labels=["ab"[row % 2] for row in rows],
            truth={"theta_E": np.array(rows, dtype=float)},
        )


def write_and_stop(path: Path, rows: int) -> None:
    with writer(path) as table:
        write(table, 0, rows)
        raise KeyboardInterrupt


def check_whole(path: Path, n: int = N) -> None:
    table = Table.open(path)
    assert table.ids.tolist() == [f"{row:04d}" for row in range(n)]
    np.testing.assert_array_equal(table.images(), np.stack([image(row) for row in range(n)]))
    np.testing.assert_array_equal(table.column("theta_E"), np.arange(n))
    table.verify()


def test_shards_have_the_same_number_of_rows(tmp_path):
    with writer(tmp_path / "T") as table:
        write(table, 0, N)
    shards = json.loads((tmp_path / "T" / "manifest.json").read_text())["shards"]
    assert [s["rows"] for s in shards] == [8] * 12 + [4]
    check_whole(tmp_path / "T")
    assert sorted(p.name for p in (tmp_path / "T").iterdir()) == ["manifest.json", *(s["file"] for s in shards)]


def test_the_files_do_not_depend_on_the_batches(tmp_path):
    for name, batch in (("A", 3), ("B", 50)):
        with writer(tmp_path / name) as table:
            write(table, 0, N, batch)
    assert Table.open(tmp_path / "A").checksum == Table.open(tmp_path / "B").checksum


def test_row_groups_stay_small(tmp_path):
    shape = (1, 2048, 1024)  # 8 MiB an image: no more than eight in a group
    with TableWriter(tmp_path / "T", shape=shape, classes=[], manifest={}) as table:
        for row in range(10):
            table.write([Record(str(row), np.full(shape, row, np.float32))])
    footer = pq.read_metadata(tmp_path / "T" / "part-00000.parquet")
    assert [footer.row_group(i).num_rows for i in range(footer.num_row_groups)] == [8, 2]
    assert Table.open(tmp_path / "T").images([9, 0])[:, 0, 5, 5].tolist() == [9, 0]


def test_an_error_keeps_the_finished_shards_and_resume_completes(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_and_stop(tmp_path / "T", 43)
    with pytest.raises(InputError, match="incomplete, 40 of 100 rows"):
        Table.open(tmp_path / "T")
    assert "INCOMPLETE" in repr(Table.open(tmp_path / "T", allow_incomplete=True))
    assert not list((tmp_path / "T").glob("*.tmp"))
    with writer(tmp_path / "T") as table:
        assert table.rows_done == 40
        write(table, table.rows_done, N)
    check_whole(tmp_path / "T")


def test_too_few_rows_stay_incomplete(tmp_path):
    with pytest.raises(WorkError, match="43 of 100 rows"), writer(tmp_path / "T") as table:
        write(table, 0, 43)
    with writer(tmp_path / "T") as table:
        write(table, table.rows_done, N)
    check_whole(tmp_path / "T")


def test_a_complete_table_is_left_alone(tmp_path):
    for _ in range(2):
        with writer(tmp_path / "T") as table:
            write(table, table.rows_done, N)
    before = (tmp_path / "T" / "part-00000.parquet").stat().st_mtime_ns
    with writer(tmp_path / "T") as table:
        assert table.rows_done == N
        with pytest.raises(InputError, match="table of 100 rows"):
            write(table, N, N + 1)
    assert (tmp_path / "T" / "part-00000.parquet").stat().st_mtime_ns == before


KILLED = """
import sys
sys.path[:0] = [{tests!r}]
from test_writer import write, writer
from pathlib import Path
table = writer(Path({path!r}), rows=100_000)
write(table, table.rows_done, 100_000)
"""


@pytest.mark.parametrize("shards", [1, 4, 9])
def test_killed_and_resumed_has_each_row_once(tmp_path, shards):
    path = tmp_path / "T"
    code = KILLED.format(tests=str(Path(__file__).parent), path=str(path))
    child = subprocess.Popen([sys.executable, "-c", code], env=_environment())
    deadline = time.monotonic() + 60
    while not (path / f"part-{shards:05d}.parquet").exists():
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    child.wait()
    with writer(path, rows=100_000) as table:
        done = table.rows_done
        assert done >= 8 * shards
        assert done % 8 == 0
        assert not list(path.glob("*.tmp"))
        table._manifest["rows"] = done + 20  # the child had far to go: end it here
        write(table, done, done + 20)
    check_whole(path, done + 20)


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(darklens.__file__).parents[1]), "OMP_NUM_THREADS": "1"}


def test_a_shard_that_is_not_in_the_manifest_is_written_again(tmp_path):
    with pytest.raises(WorkError), writer(tmp_path / "T") as table:
        write(table, 0, 24)
    (tmp_path / "T" / "part-00003.parquet").write_bytes(b"renamed, then the power failed")
    (tmp_path / "T" / "part-00004.parquet.tmp").write_bytes(b"half")
    with writer(tmp_path / "T") as table:
        write(table, table.rows_done, N)
    check_whole(tmp_path / "T")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"seed": 2}, r"seed \(.* there, 2 here\)"),
        ({"seed": None}, r"seed \(.* there, none here\)"),
        ({"rows": 50}, "rows "),
        ({"rows_per_shard": 9}, "rows_per_shard "),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path, change, word):
    with pytest.raises(WorkError), writer(tmp_path / "T") as table:
        write(table, 0, 10)
    with pytest.raises(InputError, match=f"another {word}"):
        writer(tmp_path / "T", **change)
    with writer(tmp_path / "T") as table:
        write(table, table.rows_done, N)
    check_whole(tmp_path / "T")


def test_a_folder_of_something_else_is_not_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(InputError, match="holds something"):
        writer(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        writer(tmp_path / "thesis.tex")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "draft.tmp").write_text("years")
    with pytest.raises(InputError, match="holds something"):
        writer(tmp_path / "only")
    assert (tmp_path / "only" / "draft.tmp").exists()
    with writer(tmp_path, force=True) as table:
        write(table, 0, N)
    check_whole(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years"


def test_force_starts_anew(tmp_path):
    with writer(tmp_path / "T", seed=2) as table:
        write(table, 0, N)
    with pytest.raises(InputError, match="already holds a table"):
        writer(tmp_path / "T", seed=2, resume=False)
    with writer(tmp_path / "T", rows=10, force=True) as table:
        assert table.rows_done == 0
        write(table, 0, 10)
    check_whole(tmp_path / "T", 10)
    assert len(list((tmp_path / "T").glob("*.parquet"))) == 2


def test_a_table_without_a_finished_shard_is_nothing_to_lose(tmp_path):
    with pytest.raises(WorkError), writer(tmp_path / "T") as table:
        write(table, 0, 7)
    with writer(tmp_path / "T", seed=2) as table:
        write(table, 0, N)
    check_whole(tmp_path / "T")


def test_an_empty_table_opens(tmp_path):
    with writer(tmp_path / "T", rows=0):
        pass
    table = Table.open(tmp_path / "T")
    assert (len(table), table.images().shape, table.ids.tolist()) == (0, (0, 1, 6, 6), [])


def test_the_manifest_takes_numbers_of_numpy(tmp_path):
    about = {"seed": np.int64(3), "cosmology": {"H0": np.float32(70)}, "source": tmp_path, "edges": np.arange(2)}
    for _ in range(2):
        with TableWriter(tmp_path / "T", shape=(1, 6, 6), classes=["a"], manifest=about) as table:
            if not table.complete:
                table.write([Record("x", image(0), "a")])
    manifest = Table.open(tmp_path / "T").manifest
    assert (manifest["seed"], manifest["cosmology"], manifest["edges"]) == (3, {"H0": 70.0}, [0, 1])


def test_two_writers_do_not_share_a_folder(tmp_path):
    pytest.importorskip("fcntl")
    with writer(tmp_path / "T") as table:
        with pytest.raises(InputError, match="being written"):
            writer(tmp_path / "T")
        write(table, 0, N)
    check_whole(tmp_path / "T")


FULL = """
import resource, signal, sys
sys.path[:0] = [{tests!r}]
import numpy as np
from test_writer import writer
from darklens.errors import WorkError
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
path = Path({path!r})
noise = np.random.default_rng(0).normal(size=(2000, 1, 6, 6))
try:
    with writer(path, rows=4000, rows_per_shard=2000) as table:
        for images in (0 * noise, noise):
            table.write_columns([str(i) for i in range(2000)], images, ["a"] * 2000, {{"theta_E": np.zeros(2000)}})
except WorkError as error:
    print(error)
"""


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path):
    pytest.importorskip("resource")
    code = textwrap.dedent(FULL.format(tests=str(Path(__file__).parent), path=str(tmp_path / "T")))
    done = subprocess.run([sys.executable, "-c", code], env=_environment(), capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"cannot write to {tmp_path / 'T'}")
    assert "free some space" in done.stdout
    assert done.stderr == ""
    kept = Table.open(tmp_path / "T", allow_incomplete=True)
    assert len(kept) == 2000
    kept.verify()
    assert not list((tmp_path / "T").glob("*.tmp"))


def test_what_does_not_fit_is_refused(tmp_path):
    table = writer(tmp_path / "T")
    good = {"ids": ["x"], "images": image(0)[None], "labels": ["a"], "truth": {"theta_E": np.ones(1)}}
    nan = image(0)[None].copy()
    nan[0, 0, 1, 2:4] = np.nan
    for change, words in [
        ({"images": np.zeros((1, 1, 6, 5))}, "is due"),
        ({"images": nan}, "image x has 2 pixels that are not finite"),
        ({"labels": ["c"]}, "unknown class 'c'"),
        ({"labels": ["a", "b"]}, "'label' has 2 rows"),
        ({"truth": {"theta_E": np.ones(2)}}, "'theta_E' has 2 rows"),
        ({"truth": {"m_sub": np.ones(1)}}, "m_sub"),
    ]:
        with pytest.raises(InputError, match=words):
            table.write_columns(**good | change)
    table.abandon()


def test_the_caller_may_reuse_its_buffer(tmp_path):
    buffer = np.zeros((4, 1, 6, 6), np.float32)
    with writer(tmp_path / "T", rows=12) as table:
        for first in range(0, 12, 4):
            buffer[:] = first
            table.write_columns([str(first + i) for i in range(4)], buffer, ["a"] * 4, {"theta_E": np.zeros(4)})
    assert Table.open(tmp_path / "T").images()[:, 0, 0, 0].tolist() == [0] * 4 + [4] * 4 + [8] * 4


@pytest.fixture
def whole(tmp_path) -> Path:
    with writer(tmp_path / "T") as table:
        write(table, 0, N)
    return tmp_path / "T"


@pytest.mark.parametrize("keep", [0, 3, 300, -1])
def test_a_truncated_shard_is_named(whole, keep):
    shard = whole / "part-00002.parquet"
    shard.write_bytes(shard.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"part-00002.parquet is truncated or damaged"):
        Table.open(whole)


def test_a_damaged_shard_is_found_by_its_checksum(whole):
    shard = whole / "part-00002.parquet"
    content = bytearray(shard.read_bytes())
    content[40] ^= 1
    shard.write_bytes(content)
    with pytest.raises(InputError, match=r"part-00002.parquet is truncated or damaged"):
        Table.open(whole).verify()


@pytest.mark.parametrize(
    ("content", "words"),
    [("{", "not JSON"), ("[]", "JSON list"), ('{"a": 1}', "lacks"), (None, "not a table")],
)
def test_a_damaged_manifest_is_one_sentence(whole, content, words):
    manifest = whole / "manifest.json"
    manifest.unlink() if content is None else manifest.write_text(content)
    with pytest.raises(InputError, match=words):
        Table.open(whole)


def test_missing_and_swapped_shards_are_named(whole):
    (whole / "part-00001.parquet").rename(whole / "part-99999.parquet")
    with pytest.raises(InputError, match=r"part-00001.parquet cannot be read"):
        Table.open(whole)
    (whole / "part-99999.parquet").rename(whole / "part-00001.parquet")
    manifest = json.loads((whole / "manifest.json").read_text())
    (whole / "manifest.json").write_text(json.dumps(manifest | {"shape": [1, 6, 7]}))
    with pytest.raises(InputError, match="another size"):
        Table.open(whole).images()
    (whole / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 99}))
    with pytest.raises(InputError, match="update darklens"):
        Table.open(whole)
