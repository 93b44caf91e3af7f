import multiprocessing
import random
import time

import numpy as np
import pytest

from benchmarks import reliability
from darklens.data import Table
from darklens.data.writer import TableWriter


@pytest.mark.parametrize(
    ("found", "lost", "doubled"), [(["a", "b", "c"], 0, 0), (["a", "c"], 1, 0), (["a", "b", "b", "c"], 0, 1), (["c", "c"], 2, 1)]
)
def test_rows_that_are_lost_or_doubled_are_counted(found, lost, doubled):
    assert reliability._counted(found, ["a", "b", "c"]) == (lost, doubled)


def table(path, ids, seed):
    images = np.random.default_rng(seed).normal(size=(len(ids), 1, 4, 4)).astype(np.float32)
    with TableWriter(path, shape=(1, 4, 4), classes=["x"], manifest={}) as writer:
        writer.write(Table.from_columns(ids, images, ["x"] * len(ids)).records())
    return path


def test_tables_are_compared_row_by_row(tmp_path):
    right = table(tmp_path / "right", ["a", "b"], 1)
    assert reliability.table_differs(right, right) == {"lost": 0, "doubled": 0, "differ": 0}
    assert reliability.table_differs(table(tmp_path / "short", ["a"], 1), right) == {"lost": 1, "doubled": 0, "differ": 1}
    assert reliability.table_differs(table(tmp_path / "other", ["a", "b"], 2), right) == {"lost": 0, "doubled": 0, "differ": 1}


def forgetful(place, out):
    """Write five lines, beginning anew each time as if nothing were there."""
    out.mkdir(exist_ok=True)
    for line in "abcde":
        with open(out / "lines", "a") as file:
            file.write(line)
        time.sleep(0.05)


def lines_differ(out, undisturbed):
    lost, doubled = reliability._counted((out / "lines").read_text(), (undisturbed / "lines").read_text())
    return {"lost": lost, "doubled": doubled, "differ": 0}


def test_work_that_forgets_what_it_has_done_is_found_out(tmp_path):
    job = reliability.Job(forgetful, lines_differ)
    found = reliability.disturb(job, tmp_path, 4, random.Random(1), multiprocessing.get_context("fork"))
    assert found["kills"] == 4
    assert found["failed"] == 0
    assert found["lost"] == 0
    assert found["doubled"] > 0
