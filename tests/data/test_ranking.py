import json
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from darklens.data.ranking import positions, rank
from darklens.errors import InputError


@pytest.fixture
def survey(tmp_path):
    """Scores of 1,000 images in seven parts, many probabilities shared, some missing; returns a function that writes rows."""

    def write(columns, parts=7, name="scores"):
        folder = tmp_path / name
        folder.mkdir()
        table = pa.table(columns)
        edges = np.linspace(0, len(table), parts + 1).astype(int)
        for k, (a, b) in enumerate(pairwise(edges)):
            pq.write_table(table.slice(a, b - a), folder / f"part-{k:05d}.parquet")
        (folder / "scores.json").write_text(json.dumps({"parts": parts}))
        return folder

    return write


def rows(n=1000, seed=0):
    rng = np.random.default_rng(seed)
    values = np.round(rng.beta(0.4, 2, n), 2)
    values[::97] = np.nan
    ids = [f"i{k:04d}" for k in rng.permutation(n)]
    return {"id": ids, "source": [f"file-{k}.fits" for k in range(n)], "predicted": ["lens"] * n, "lens": values, "more": values}


def best(columns, top):
    pairs = [(p, name) for p, name in zip(columns["lens"], columns["id"], strict=True) if p == p]
    return [name for p, name in sorted(pairs, key=lambda pair: (-pair[0], pair[1]))[:top]]


@pytest.mark.parametrize("top", [1, 10, 137, 5000])
def test_the_best_are_those_of_a_sort_of_everything_with_ties_by_id(survey, top):
    columns = rows()
    found = rank(survey(columns), top)
    assert found.table["id"].to_pylist() == best(columns, top)
    assert found.table.column_names == ["id", "source", "predicted", "lens"]
    assert (found.rows, found.without) == (1000, int(np.isnan(columns["lens"]).sum()))
    assert found.at_threshold == (columns["lens"] == found.table["lens"][-1].as_py()).sum()


def test_the_list_does_not_depend_on_parts_or_file_format(survey, tmp_path):
    columns = rows()
    whole = pa.table(columns)
    pq.write_table(whole, tmp_path / "scores.parquet", row_group_size=64)
    whole.to_pandas().to_csv(tmp_path / "scores.csv", index=False)
    wanted = best(columns, 50)
    for path in (
        survey(columns, parts=1, name="one"),
        survey(columns, parts=50),
        tmp_path / "scores.parquet",
        tmp_path / "scores.csv",
    ):
        assert rank(path, 50).table["id"].to_pylist() == wanted


def test_names_are_read_only_of_parts_that_reach_the_list(survey):
    columns = rows() | {"lens": np.arange(1000) / 1000}
    folder = survey(columns, parts=10)
    damaged = pq.read_table(folder / "part-00003.parquet").drop_columns(["id"])
    pq.write_table(damaged, folder / "part-00003.parquet")
    assert rank(folder, 20).table["id"].to_pylist() == best(columns, 20)


def test_a_smallest_probability_shortens_the_list(survey):
    columns = rows()
    found = rank(survey(columns), 1000, least=0.5)
    assert len(found.table) == np.nansum(columns["lens"] >= 0.5)
    assert min(found.table["lens"].to_pylist()) >= 0.5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"top": 0}, "--top 0"),
        ({"top": 5, "least": 1.5}, "--min-probability 1.5"),
        ({"top": 5, "column": "axion"}, "unknown class 'axion'.*known: lens, more"),
        ({"top": 5, "least": 1.0}, "no candidate: none of its 1,000 rows reaches 1"),
    ],
)
def test_what_cannot_be_ranked_is_said_in_one_sentence(survey, options, words):
    with pytest.raises(InputError, match=words):
        rank(survey(rows()), **options)


def test_a_file_that_is_no_scores_table(tmp_path):
    (tmp_path / "scores.parquet").write_bytes(b"no")
    with pytest.raises(InputError, match="holds no scores"):
        rank(tmp_path / "scores.parquet", 5)
    pq.write_table(pa.table({"name": ["a"], "lens": [0.5]}), tmp_path / "other.parquet")
    with pytest.raises(InputError, match="no column 'id'"):
        rank(tmp_path / "other.parquet", 5)


def test_positions_come_part_by_part(survey):
    columns = rows() | {"ra": np.linspace(0, 359, 1000), "dec": np.linspace(-90, 90, 1000)}
    parts = list(positions(survey(columns), "lens"))
    assert len(parts) == 7
    assert np.array_equal(np.concatenate([p[1] for p in parts]), columns["ra"])
    with pytest.raises(InputError, match="no columns ra and dec"):
        next(positions(survey(rows(), name="without"), "lens"))
