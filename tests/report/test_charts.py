"""Curves as drawings: every point in the frame, logarithms where asked for, and what was read is what was given."""

import math

import pytest

from darklens.report.charts import BOTTOM, LEFT, MOST_POINTS, RIGHT, TOP, history_charts, line_chart


def places(line):
    return [tuple(map(float, pair.split(","))) for pair in line["path"].split()]


def test_ends_of_the_curves_are_at_the_ends_of_the_frame():
    chart = line_chart("t", "x", "y", {"a": [(1, 10), (3, 20)], "b": [(2, 15), (5, 12)]})
    assert places(chart["lines"][0])[0] == (LEFT, BOTTOM)
    assert places(chart["lines"][0])[1][1] == TOP
    assert places(chart["lines"][1])[1][0] == RIGHT
    assert places(chart["lines"][0])[1][0] == pytest.approx((LEFT + RIGHT) / 2)
    assert chart["lines"][1]["points"][0] == [2, 15, "2", "15"]


def test_logarithms_leave_out_what_has_none():
    chart = line_chart("t", "x", "y", {"a": [(0, 0.1), (0.01, 0.2), (1, math.nan), (1, 1.0)]}, log_x=True)
    assert [point[0] for point in chart["lines"][0]["points"]] == [-2, 0]
    assert [label for _, label in chart["x_ticks"]] == ["0.01", "0.1", "1"]
    assert line_chart("t", "x", "y", {"a": [(0, 1), (1, 1)]}, log_x=True) is None


def test_long_curves_are_thinned_and_keep_their_ends():
    chart = line_chart("t", "x", "y", {"a": [(i, i * i) for i in range(1000)]})
    points = chart["lines"][0]["points"]
    assert len(points) == MOST_POINTS
    assert points[0][:2] == [0, 0]
    assert points[-1][:2] == [999, 999**2]


def test_histories_show_both_losses_of_one_run_and_validation_of_several():
    rows = [{"epoch": e, "train_loss": 1 / e, "val_loss": 1.5 / e, "val_accuracy": 0.3 * e} for e in (1, 2, 3)]
    one, accuracy = history_charts({"a": rows})
    assert [line["name"] for line in one["lines"]] == ["training", "validation"]
    assert one["mark"] == RIGHT  # the epoch with the smallest loss is the last
    assert accuracy["title"] == "Accuracy on validation"
    several = history_charts({"a": rows, "b": rows})[0]
    assert [line["name"] for line in several["lines"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [(1e-3, 2.0, ["0.001", "0.01", "0.1", "1"]), (0.9, 6.0, ["1", "2", "5"]), (2.8, 4.4, ["3.0", "3.5", "4.0"])],
)
def test_a_logarithmic_axis_has_ticks_however_little_it_spans(low, high, labels):
    chart = line_chart("t", "x", "y", {"a": [(0, low), (1, high)]}, log_y=True)
    assert [label for _, label in chart["y_ticks"]] == labels
    places = [place for place, _ in chart["y_ticks"]]
    assert places == sorted(places, reverse=True)
    spread = (math.log10(float(labels[-1])) - math.log10(float(labels[0]))) / math.log10(high / low)
    ends = [float(pair.split(",")[1]) for pair in chart["lines"][0]["path"].split()]
    assert (places[0] - places[-1]) / (ends[0] - ends[1]) == pytest.approx(spread, abs=0.01)
