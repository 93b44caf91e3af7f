"""What the terminal shows."""

import pytest

from darklens import console


@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setattr(console.stdout, "width", 60)


def shown(capsys):
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_a_table_that_fits_is_one(narrow, capsys):
    console.table("title", ["", "a", "b"], [["first", "1", "2"], ["second", "3", "4"]])
    assert sum("first" in line for line in shown(capsys)) == 1


def test_a_wide_table_comes_in_parts_and_folds_no_number(narrow, capsys):
    columns = ["", *(f"column of number {k}" for k in range(9))]
    rows = [[f"method-{k}", *(f"{k}.{i}2345678" for i in range(9))] for k in range(3)]
    console.table("title", columns, rows)
    lines = shown(capsys)
    assert max(map(len, lines)) <= 60
    assert sum("title" in line for line in lines) == 1
    assert sum("method-1" in line for line in lines) == 3, "each part names its rows"
    for row in rows:
        assert all(any(number in line for line in lines) for number in row[1:])


def test_a_cell_wider_than_all_is_still_shown(narrow, capsys):
    console.table("title", ["", "path", "n"], [["x", "/" + 90 * "a", "7"]])
    assert "".join(shown(capsys)).count("a") >= 90


def test_a_table_without_rows_has_its_headings(narrow, capsys):
    console.table("title", ["name", "n"], [])
    assert any("name" in line for line in shown(capsys))


def test_a_number_of_a_run_without_classes_stands_in_one_row(narrow, capsys):
    loss = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 24}
    console.metrics_table("test", {"runs/mae": {"loss": loss, "rank": loss, "headline": ["loss", "rank"], "n": 24}})
    lines = shown(capsys)
    assert [line.split()[0] for line in lines if "0.5" in line] == ["loss", "rank"]
