import pytest

from darklens.evaluate import format_difference, format_interval, verdict, winner


def test_a_number_stands_with_its_interval():
    assert format_interval({"value": 0.99532, "low": 0.99409, "high": 0.99641}) == "0.9953 [0.9941, 0.9964]"
    assert format_interval({"value": 42.126, "low": 42.0, "high": 42.3}, digits=2) == "42.13 [42.00, 42.30]"
    assert format_interval({"value": 0.5, "low": None, "high": None}) == "0.5000"


@pytest.mark.parametrize("nothing", [None, {}, {"value": None, "low": None, "high": None}])
def test_no_number_is_a_dash(nothing):
    assert format_interval(nothing) == format_difference(nothing) == "–"


def test_nearly_one_does_not_read_as_one():
    assert format_interval({"value": 0.99996, "low": 0.9999, "high": 1.0}) == "0.99996 [0.99990, 1.00000]"
    assert format_interval({"value": 1.0, "low": 1.0, "high": 1.0}) == "1.0000 [1.0000, 1.0000]"


def test_a_difference_is_signed():
    assert format_difference({"value": 0.0021, "low": -0.0004, "high": 0.0046}) == "+0.0021 [-0.0004, +0.0046]"


@pytest.mark.parametrize(
    ("key", "value", "excludes_zero", "better"),
    [
        ("auc_macro", 0.01, True, "pi"),
        ("auc_macro", -0.01, True, "plain"),
        ("loss", 0.01, True, "plain"),
        ("brier", -0.01, True, "pi"),
        ("accuracy", 0.01, False, None),
        ("accuracy", None, False, None),
    ],
)
def test_the_winner_is_named_only_where_zero_is_excluded(key, value, excludes_zero, better):
    row = {"a": "pi", "b": "plain", key: {"value": value, "excludes_zero": excludes_zero}}
    assert winner(row, key) == better
    assert verdict(row, key) == (f"{better} is better" if better else "indistinguishable")
