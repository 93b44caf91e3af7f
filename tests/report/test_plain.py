import pytest

from darklens.report import render_plain, tells_classes
from darklens.report.plain import tables
from darklens.runs import Run


def number(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 12}


METRICS = {
    "n": 12,
    "task": "super-resolution",
    "headline": ["gain_db", "psnr"],
    "psnr": number(41.0),
    "gain_db": number(1.25),
    "coverage": number(0.68),
    "methods": {"bicubic": {"psnr": number(39.75)}, "mine": {"psnr": number(41.0), "extra": number(2.0)}},
    "against": {"recorded": {"mine": {"psnr": number(40.5)}}},
    "curve": [1, 2, 3],
}


def test_numbers_stand_in_the_order_of_the_headline_with_their_baselines_beside():
    own, methods, against = tables(METRICS)
    assert [label for label, _ in own["rows"]] == ["gain over bicubic (dB)", "PSNR (dB)"]
    assert own["rows"][0][1] == [METRICS["gain_db"]]
    assert methods["columns"] == ["PSNR (dB)", "extra"]
    assert methods["rows"][0] == ("bicubic", [METRICS["methods"]["bicubic"]["psnr"], None])
    assert "against recorded" in against["caption"]
    without = {key: value for key, value in METRICS.items() if key in ("n", "psnr", "coverage")}
    assert [label for label, _ in tables(without)[0]["rows"]] == ["PSNR (dB)", "coverage"]


@pytest.fixture
def run(tmp_path):
    made = Run.create(tmp_path / "run", {"name": "x", "summary": "sharper <images>"})
    made.write("metrics", METRICS)
    made.write("model", {"name": "mine", "task": "super-resolution"})
    made.write("provenance", {"parameters": 1234, "seed": 7})
    return made


def test_the_page_says_what_the_run_measured_and_what_is_not_on_record(run, tmp_path):
    assert not tells_classes(run)
    render_plain([run], tmp_path / "page.html", title="Sharper")
    page = (tmp_path / "page.html").read_text()
    assert "<h1>Sharper</h1>" in page
    assert "sharper &lt;images&gt;" in page
    assert "1,234 parameters" in page
    assert "not recorded" in page
    assert page.count("39.75") >= 1
    assert "http" not in page.split("</style>")[1].split("<footer>")[0]
