"""Candidates: from a folder of scores to tables, pictures and pages, through the public interface and the command line."""

import csv
import json
import re
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table as SkyTable

import darklens
from darklens import cli
from darklens.data import TableWriter
from darklens.errors import InputError

N = 40


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images") / "table"
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:20, :20] - 9.5
    light = np.exp(-(x**2 + y**2) / 18) * rng.lognormal(4, 0.5, (N, 3, 1, 1))
    with TableWriter(folder, shape=(3, 20, 20), classes=["nonlens", "lens"], manifest={}) as writer:
        writer.write_columns(
            [f"c{i:02d}" for i in range(N)], (light + rng.normal(size=light.shape)).astype(np.float32), [None] * N, place()
        )
    return folder


def place():
    rng = np.random.default_rng(1)
    return {"ra": rng.uniform(0, 360, N), "dec": rng.uniform(-80, 80, N)}


@pytest.fixture(scope="module")
def scores(tmp_path_factory, images):
    folder = tmp_path_factory.mktemp("scores") / "scores"
    folder.mkdir()
    p = np.linspace(0.9999, 0.1, N)
    p[9] = p[10]
    columns = {"id": [f"c{i:02d}" for i in range(N)], "source": [str(images)] * N, "predicted": ["lens"] * N, "nonlens": 1 - p}
    because = ["features 9 > 2" if i == 3 else "" for i in range(N)]
    columns |= {"lens": p, "unusual": [int(bool(why)) for why in because], "unusual_because": because}
    table = pa.table(columns | place())
    for k in range(4):
        pq.write_table(table.slice(10 * k, 10), folder / f"part-{k:05d}.parquet")
    (folder / "scores.json").write_text(json.dumps({"parts": 4}))
    return folder


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """Four known objects: two in the list, one whose image is not in it, one that was never seen."""
    path = tmp_path_factory.mktemp("known") / "known.csv"
    spots = place()
    rows = [(f"<K{i}>", spots["ra"][i], spots["dec"][i] + 2 / 3600) for i in (2, 5, 30)] + [("far", 12.3, 89.9)]
    path.write_text("name,RA [deg],DEC [deg]\n" + "".join(f"{name},{a:.9f},{d:.9f}\n" for name, a, d in rows))
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory, scores, known):
    out = tmp_path_factory.mktemp("out") / "candidates"
    return darklens.candidates(scores, 12, out, known=known, bands=[2, 1, 0]), out


def test_the_same_list_stands_in_every_format(made):
    summary, out = made
    assert summary["candidates"] == 12
    read = {suffix: SkyTable.read(out / f"candidates.{suffix}") for suffix in ("vot", "fits")}
    read["csv"] = SkyTable.read(out / "candidates.csv", format="ascii.csv")
    parquet = pq.read_table(out / "candidates.parquet")
    wanted = [f"c{i:02d}" for i in (*range(9), 9, 10, 11)]
    for table in read.values():
        assert [str(name) for name in table["id"]] == wanted
        assert table["rank"].tolist() == list(range(1, 13))
        assert np.allclose(table["lens"], parquet["lens"].to_numpy())
        assert np.allclose(table["ra"], place()["ra"][:12])
    assert read["vot"]["ra"].unit == "deg"
    assert read["fits"]["known_separation"].unit == "arcsec"
    assert parquet.schema.field("dec").metadata == {b"unit": b"deg"}


def test_known_objects_are_marked_and_those_that_were_missed_are_said(made):
    summary, out = made
    told = summary["known"]
    assert (told["catalogue"], told["expected"], told["recovered"], told["candidates_known"]) == (4, 3, 2, 2)
    assert told["completeness"]["value"] == pytest.approx(2 / 3)
    assert told["candidates_known_by_chance"] == 0
    rows = list(csv.DictReader((out / "known.csv").open()))
    assert [(row["name"], row["rank"]) for row in rows] == [("<K2>", "3"), ("<K5>", "6"), ("<K30>", "")]
    table = SkyTable.read(out / "candidates.fits")
    assert table["known_separation"][2] == pytest.approx(2, abs=1e-4)


def test_regions_and_decisions_name_every_candidate(made):
    _, out = made
    regions = [line for line in (out / "candidates.reg").read_text().splitlines() if line.startswith("circle")]
    assert len(regions) == 12
    found = re.fullmatch(r'circle\(([\d.]+),(-?[\d.]+),5"\) # color=green text=\{3 c02\}', regions[2])
    assert float(found[1]) == pytest.approx(place()["ra"][2], abs=1e-6)
    assert float(found[2]) == pytest.approx(place()["dec"][2], abs=1e-6)
    rows = list(csv.reader((out / "decisions.csv").open()))
    assert rows[0] == ["id", "decision", "who", "when"]
    assert rows[1] == ["c00", "", "", ""]
    assert len(rows) == 13


def test_the_page_stands_alone_and_shows_every_candidate(made):
    _, out = made
    page = (out / "candidates.html").read_text()
    assert len(page) < 15 << 20
    assert page.count("data:image/jpeg;base64,") == 24
    assert not re.findall(r"(?:src|href)=[\"'](?!data:|#)", page)
    assert "<script" not in page
    assert "known: &lt;K2&gt;" in page
    assert "unlike the training images: features 9 &gt; 2" in page
    assert "2 of these are in the list: 66.7%" in page
    assert (out / "contact-sheet.pdf").read_bytes().startswith(b"%PDF")
    assert (out / "gallery-001.png").read_bytes().startswith(b"\x89PNG")


def test_decisions_survive_a_longer_list(tmp_path, scores):
    out = tmp_path / "c"
    darklens.candidates(scores, 31, out)
    assert (out / "gallery-002.png").is_file()
    sheet = (out / "decisions.csv").read_text().replace("c01,,,", "c01,lens,ada,2026-01-01T00:00:00")
    (out / "decisions.csv").write_text(sheet)
    with pytest.raises(InputError, match="exists: choose another folder or give --force"):
        darklens.candidates(scores, 2, out)
    darklens.candidates(scores, 3, out, force=True)
    assert (out / "decisions.csv").read_text().splitlines()[1:] == ["c01,lens,ada,2026-01-01T00:00:00", "c00,,,", "c02,,,"]
    assert not (out / "gallery-002.png").exists()


def test_positions_may_come_from_the_images_and_images_from_elsewhere(tmp_path, images):
    path = tmp_path / "scores.csv"
    path.write_text(
        "id,lens,nonlens\n" + "".join(f"c{i:02d},{0.9 - i / 100},{0.1 + i / 100}\n" for i in range(5)) + "gone,0.5,0.5\n"
    )
    summary = darklens.candidates(path, 10, tmp_path / "out", images=images)
    assert summary["images_missing"] == 1
    assert summary["first_missing"].startswith("gone: ")
    table = SkyTable.read(tmp_path / "out" / "candidates.fits")
    assert np.allclose(table["ra"][:5], place()["ra"][:5])
    assert np.isnan(np.ma.filled(table["ra"], np.nan)[5])
    assert (tmp_path / "out" / "candidates.reg").read_text().count("circle") == 5


def test_without_positions_there_are_no_regions_and_known_objects_cannot_be_found(tmp_path, known):
    path = tmp_path / "scores.csv"
    np.save(tmp_path / "a.npy", np.ones((12, 12)))
    path.write_text(f"id,source,lens\na,{tmp_path / 'a.npy'},0.5\n")
    summary = darklens.candidates(path, 10, tmp_path / "out")
    assert "candidates.reg" not in summary["files"]
    with pytest.raises(InputError, match=r"neither .* nor the images have ra and dec, which --known needs"):
        darklens.candidates(path, 10, tmp_path / "other", known=known)
    assert not (tmp_path / "other").exists()


def test_columns_of_positions_without_a_value_are_no_positions(tmp_path, images):
    columns = {"id": ["c00", "c01"], "source": [str(images)] * 2, "ra": pa.nulls(2, pa.float64()), "dec": [np.nan, np.nan]}
    pq.write_table(pa.table(columns | {"lens": [0.9, 0.8]}), tmp_path / "scores.parquet")
    summary = darklens.candidates(tmp_path / "scores.parquet", 2, tmp_path / "out")
    assert "candidates.reg" in summary["files"]  # the images know where they are
    assert np.allclose(SkyTable.read(tmp_path / "out" / "candidates.fits")["ra"], place()["ra"][:2])


def test_the_command_says_what_it_found_and_fails_in_one_sentence(tmp_path, scores, known, monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["darklens", "candidates", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code, capsys.readouterr()

    code, said = run(scores, "--top", 4, "--out", tmp_path / "c", "--known", known, "--bands", "2,1,0", "--json")
    assert code == 0
    assert json.loads(said.out)["known"]["recovered"] == 1
    code, said = run(scores, "--top", 4, "--out", tmp_path / "c")
    assert code == 2
    assert said.err.startswith("error: --out ")
    code, said = run(scores, "--out", tmp_path / "d", "--bands", "i,r,g")
    assert code == 2
    assert "unknown band 'i'" in said.err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    code, said = run(scores, "--out", tmp_path / "mine", "--force")
    assert code == 2
    assert "choose another folder" in said.err
