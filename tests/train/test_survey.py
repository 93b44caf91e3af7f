"""A survey: every image once, whatever is killed, and the answers of the single-file path."""

import json
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import darklens
from darklens.api import ensemble, score
from darklens.data import TableWriter
from darklens.data.ranking import positions, rank
from darklens.data.scores import part_name, read_bad, read_scores
from darklens.errors import InputError, WorkError
from darklens.models import build
from darklens.runs import Run
from darklens.train.checkpoint import save_weights
from darklens.train.config import Preprocess
from darklens.train.deciding import Deciding
from darklens.train.prediction_file import predict_path

SIZE, N, PART = 16, 600, 50
CLASSES = ("nonlens", "lens")
SCORE = """
import sys, darklens
run, table, out = sys.argv[1:]
darklens.score(run, table, out, images_per_part=300, device="cpu")
"""


def images_of(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 1, SIZE, SIZE)).astype(np.float32)


def begun(path, seed=0):
    """A run with fresh weights: answers that nobody trained are as good as any to lose or to double."""
    run = Run.create(path, {"name": "tiny", "seed": seed})
    about = {"options": {}, "group": {}, "pixel_scale": 1.0, "flux_unit": "counts", "single_logit": False}
    about |= {"name": "cnn", "seed": seed, "classes": list(CLASSES), "shape": [1, SIZE, SIZE]}
    run.write("model", about | {"preprocess": Preprocess(normalise="none").model_dump()})
    save_weights(run.path / "weights.safetensors", build("cnn", classes=2, size=SIZE, seed=seed).state_dict())
    return run.path


def table_at(path, n=N, rows_per_shard=130):
    rng = np.random.default_rng(1)
    truth = {"ra": rng.uniform(0, 360, n), "dec": rng.uniform(-90, 90, n), "theta_E": rng.uniform(0.5, 2, n)}
    with TableWriter(path, shape=(1, SIZE, SIZE), classes=CLASSES, manifest={}, rows_per_shard=rows_per_shard) as writer:
        writer.write_columns([f"g{i:05d}" for i in range(n)], images_of(n), [None] * n, truth)
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run, a table, and its scores from the single-file path."""
    folder = tmp_path_factory.mktemp("survey")
    begun(folder / "run")
    table_at(folder / "table")
    predict_path(ensemble([folder / "run"], device="cpu"), folder / "table", folder / "alone.parquet")
    return folder


def scored(place, out, **options):
    options = {"images_per_part": PART, "device": "cpu"} | options
    return darklens.score(options.pop("run", place / "run"), options.pop("path", place / "table"), out, **options)


def assert_same_as_alone(place, out, ids=None):
    alone, found = read_scores(place / "alone.parquet"), read_scores(out)
    if ids is not None:
        alone = alone.filter(np.isin(alone["id"].to_numpy(zero_copy_only=False), ids))
    assert found["id"].to_pylist() == alone["id"].to_pylist()  # each once, in the order of the input
    assert found["source"].to_pylist() == alone["source"].to_pylist()
    assert found["predicted"].to_pylist() == alone["predicted"].to_pylist()
    for name in CLASSES:
        np.testing.assert_allclose(found[name], alone[name], rtol=0, atol=1.01e-6)  # a file has six digits


def test_the_answers_of_a_single_file_in_parts(place, tmp_path):
    seen = []
    manifest = scored(place, tmp_path / "s", keep=["theta_E"], progress=lambda done, total: seen.append((done, total)))
    assert (manifest["rows"], manifest["bad"], manifest["parts"], manifest["complete"]) == (N, 0, N // PART, True)
    assert seen == [(done, N) for done in range(0, N + 1, PART)]
    assert_same_as_alone(place, tmp_path / "s")
    table, found = darklens.Table.open(place / "table"), read_scores(tmp_path / "s")
    for name in ("ra", "dec", "theta_E"):
        np.testing.assert_array_equal(found[name], table.column(name))
    assert read_bad(tmp_path / "s").num_rows == 0
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "s").glob("part-*")}
    assert scored(place, tmp_path / "s", keep=["theta_E"])["complete"]  # nothing to do, nothing done
    assert before == {p.name: p.stat().st_mtime_ns for p in (tmp_path / "s").glob("part-*")}


def test_only_what_is_missing_is_done_again(place, tmp_path):
    scored(place, tmp_path / "s")
    lost = [part_name(k) for k in (0, 7, 11)]
    for name in lost:
        (tmp_path / "s" / name).unlink()
    (tmp_path / "s" / "part-00007.parquet.01234567.tmp").write_bytes(b"half a part")
    with pytest.raises(InputError, match="incomplete, 9 of 12 parts"):
        read_scores(tmp_path / "s")
    assert read_scores(tmp_path / "s", allow_incomplete=True).num_rows == N - 3 * PART
    kept = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "s").glob("part-*.parquet")}
    scored(place, tmp_path / "s")
    after = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "s").glob("part-*")}
    assert kept.items() <= after.items()
    assert set(after) - set(kept) == set(lost)  # and the half part is swept away
    assert_same_as_alone(place, tmp_path / "s")


@pytest.fixture(scope="module")
def processes():
    """Processes that are born with everything imported, so that a kill comes in the midst of the work."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["darklens.train.survey", "darklens.train.ensemble", "darklens.api.scoring", "pyarrow.parquet"])
    return context


def kill_at_random(place, out, kills, processes):
    """Kill the process that scores at random points, then let it finish; return how many parts were there after each kill."""
    rng, there = np.random.default_rng(kills), []
    options = {"images_per_part": 10, "device": "cpu"}

    def begin():
        process = processes.Process(target=score, args=(place / "run", place / "table", out), kwargs=options)
        process.start()
        return process

    for kill in range(kills):
        process, before = begin(), len(list(out.glob("part-*.parquet")))
        while process.is_alive() and len(list(out.glob("part-*.parquet"))) < before + (kill % 3):
            time.sleep(0.001)  # two kills in three come after a new part, one while the work begins
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        process.join()
        there.append(len(list(out.glob("part-*.parquet"))))
    process = begin()
    process.join(300)
    assert process.exitcode == 0
    return there


@pytest.mark.slow
@pytest.mark.parametrize("kills", [3, 20])
def test_killed_at_random_points_no_row_is_lost_and_none_doubled(place, tmp_path, processes, kills):
    there = kill_at_random(place, tmp_path / "s", kills, processes)
    assert there == sorted(there)  # no part is done again
    assert any(0 < parts < N // 10 for parts in there), "no kill came in the midst of the work"
    found = read_scores(tmp_path / "s")
    assert found.num_rows == len(set(found["id"].to_pylist())) == N
    assert_same_as_alone(place, tmp_path / "s")
    assert json.loads((tmp_path / "s" / "scores.json").read_text())["rows"] == N
    assert not list((tmp_path / "s").rglob("*.tmp"))


def test_another_run_input_or_cut_is_refused_in_one_sentence(place, tmp_path):
    scored(place, tmp_path / "s")
    begun(tmp_path / "other-run", seed=1)
    table_at(tmp_path / "other-table", n=N - 1)
    for options, match in (
        ({"run": tmp_path / "other-run"}, "another run .*weights"),
        ({"path": tmp_path / "other-table"}, "another input .*fingerprint"),
        ({"images_per_part": 60}, "another images_per_part"),
        ({"keep": ["theta_E"]}, "another keep"),
    ):
        with pytest.raises(InputError, match=match) as caught:
            scored(place, tmp_path / "s", **options)
        assert "\n" not in str(caught.value)
    assert_same_as_alone(place, tmp_path / "s")
    assert scored(place, tmp_path / "s", run=tmp_path / "other-run", force=True)["complete"]
    assert not np.allclose(read_scores(tmp_path / "s")["lens"], read_scores(place / "alone.parquet")["lens"])


def test_force_leaves_files_of_other_people_alone(place, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "part-two.tex").write_text("years")
    for force in (False, True):
        with pytest.raises(InputError, match="not scores"):
            scored(place, tmp_path / "thesis", force=force)
    scored(place, tmp_path / "s")
    (tmp_path / "s" / "notes.txt").write_text("years")
    scored(place, tmp_path / "s", force=True)
    assert (tmp_path / "s" / "notes.txt").read_text() == "years"


def test_bad_cutouts_go_to_the_side_table_with_the_reason(place, tmp_path):
    """Files: one unreadable, one of another shape, one in three bands; the others get the answers that they get in a table."""
    folder = tmp_path / "cutouts"
    folder.mkdir()
    for i, image in enumerate(images_of(20)):
        np.save(folder / f"g{i:05d}.npy", image)
    (folder / "g00003.npy").write_bytes((folder / "g00003.npy").read_bytes()[:300])
    np.save(folder / "g00004.npy", np.zeros((1, SIZE, SIZE - 1), np.float32))
    np.save(folder / "g00005.npy", np.zeros((3, SIZE, SIZE), np.float32))
    np.save(folder / "g00006.npy", np.full((1, SIZE, SIZE), np.nan, np.float32))
    (folder / "README.md").write_text("not an image")
    manifest = scored(place, tmp_path / "s", path=folder, images_per_part=8)
    assert (manifest["rows"], manifest["bad"], manifest["parts"]) == (16, 4, 3)
    bad = {row["id"]: row for row in read_bad(tmp_path / "s").to_pylist()}
    assert "truncated" in bad["g00003"]["reason"]
    assert "16x15 pixels" in bad["g00004"]["reason"]
    assert "3 bands" in bad["g00005"]["reason"]
    assert "not finite" in bad["g00006"]["reason"]
    assert Path(bad["g00004"]["source"]) == folder / "g00004.npy"
    alone, found = read_scores(place / "alone.parquet"), read_scores(tmp_path / "s")
    same = alone.slice(0, 20).filter(~np.isin(np.arange(20), [3, 4, 5, 6]))
    assert found["id"].to_pylist() == same["id"].to_pylist()
    np.testing.assert_allclose(found["lens"], same["lens"], rtol=0, atol=1.01e-6)
    ((path, why),) = manifest["passed_over"]["first"]
    assert (path, manifest["passed_over"]["files"]) == (str(folder / "README.md"), 1)
    assert "is text" in why
    assert scored(place, tmp_path / "r", path=folder, resize=True)["bad"] == 3  # another size is no longer bad


def test_a_survey_of_which_no_image_can_be_scored_says_so(place, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((1, 3, 3), np.float32))
    assert scored(place, tmp_path / "s", path=tmp_path / "a.npy")["bad"] == 1
    for look in (read_scores, lambda path: rank(path, 5), lambda path: next(positions(path, "lens"))):
        with pytest.raises(InputError, match="no image could be scored"):
            look(tmp_path / "s")


def test_a_part_without_a_score_does_not_hide_the_others(place, tmp_path):
    for i, image in enumerate([np.zeros((1, 3, 3), np.float32), *images_of(3)]):
        np.save(tmp_path / f"g{i:05d}.npy", image)
    scored(place, tmp_path / "s", path=tmp_path, images_per_part=1)
    assert sorted(rank(tmp_path / "s", 5).table["id"].to_pylist()) == ["g00001", "g00002", "g00003"]


def test_a_damaged_shard_costs_its_own_rows_alone(place, tmp_path):
    table = table_at(tmp_path / "t")
    shard = table / "part-00002.parquet"
    shard.write_bytes(shard.read_bytes()[:-100])
    manifest = scored(place, tmp_path / "s", path=table)
    assert manifest["rows"] + manifest["bad"] == N
    assert manifest["bad"] == 130
    bad = read_bad(tmp_path / "s")
    assert bad["id"][0].as_py() == "part-00002.parquet[0]"
    assert len(set(bad["id"].to_pylist())) == 130
    alone = read_scores(place / "alone.parquet")
    rows = [i for i in range(N) if not 260 <= i < 390]
    np.testing.assert_allclose(read_scores(tmp_path / "s")["lens"], alone["lens"].to_numpy()[rows], rtol=0, atol=1.01e-6)


def test_pixels_of_a_table_that_are_not_finite_or_too_large(place, tmp_path):
    table = table_at(tmp_path / "t", n=10)
    shard = table / "part-00000.parquet"
    rows = pq.read_table(shard)
    storage = rows["image"].combine_chunks().storage.flatten().to_numpy(zero_copy_only=False).reshape(10, 1, SIZE, SIZE).copy()
    storage[4, 0, 2, 2] = np.nan
    storage[7] = 1e30
    from darklens.data.schema import image_column

    pq.write_table(rows.set_column(1, rows.schema.field("image"), image_column(storage)), shard)
    assert scored(place, tmp_path / "s", path=table)["bad"] == 2
    bad = read_bad(tmp_path / "s").to_pylist()
    assert [row["id"] for row in bad] == ["g00004", "g00007"]
    assert "1 pixels that are not finite" in bad[0]["reason"]
    assert "values up to 1e+30" in bad[1]["reason"]


def test_urls_and_store_files(place, tmp_path):
    scored(place, (tmp_path / "s").as_uri(), path=(place / "table").as_uri())
    found = read_scores((tmp_path / "s").as_uri(), ["id", "lens"])
    np.testing.assert_allclose(found["lens"], read_scores(place / "alone.parquet")["lens"], rtol=0, atol=1.01e-6)
    (tmp_path / "c" / "deep").mkdir(parents=True)
    for i, image in enumerate(images_of(4)):
        np.save(tmp_path / "c" / "deep" / f"g{i:05d}.npy", image)
    url = (tmp_path / "c").as_uri()
    scored(place, tmp_path / "f", path=url, images_per_part=3)
    found = read_scores(tmp_path / "f")
    assert found["id"].to_pylist() == [f"deep/g{i:05d}" for i in range(4)]
    assert found["source"][3].as_py() == f"{url}/deep/g00003.npy"
    np.testing.assert_allclose(found["lens"], read_scores(place / "alone.parquet")["lens"][:4], rtol=0, atol=1.01e-6)


def test_a_catalogue_of_files_carries_its_columns(place, tmp_path):
    lines = ["file,id,ra,dec,z"]
    for i, image in enumerate(images_of(6)):
        np.save(tmp_path / f"{i}.npy", image)
        lines.append(f"{i}.npy,object-{i},{10 + i},-{i},{0.1 * i:.1f}")
    (tmp_path / "catalogue.csv").write_text("\n".join(lines) + "\n")
    scored(place, tmp_path / "s", path=tmp_path / "catalogue.csv", keep=["z"], images_per_part=4)
    found = read_scores(tmp_path / "s")
    assert found["id"].to_pylist() == [f"object-{i}" for i in range(6)]
    np.testing.assert_allclose(found["ra"], 10 + np.arange(6))
    np.testing.assert_allclose(found["z"], 0.1 * np.arange(6))
    with pytest.raises(InputError, match=r"the first 4 images of .*catalogue\.csv say nothing of 'redshift'"):
        scored(place, tmp_path / "t", path=tmp_path / "catalogue.csv", keep=["z", "redshift"], images_per_part=4)
    assert not (tmp_path / "t").exists()


def test_another_class_ratio_and_a_threshold_go_through_the_same_judge(place, tmp_path):
    judge = ensemble([place / "run"], device="cpu")
    middle = float(np.median(read_scores(place / "alone.parquet")["lens"]))
    scored(place, tmp_path / "s", run=Deciding(judge, threshold=middle))
    found = read_scores(tmp_path / "s")
    assert found["predicted"].to_pylist() == [CLASSES[int(p >= middle)] for p in found["lens"].to_pylist()]
    assert 0 < found["predicted"].to_pylist().count("lens") < N
    with pytest.raises(InputError, match=r"another run .*settings"):
        scored(place, tmp_path / "s", run=Deciding(judge, threshold=middle + 1e-3))


@pytest.mark.slow
def test_several_processes_do_the_same(place, tmp_path):
    scored(place, tmp_path / "s", workers=2)
    assert_same_as_alone(place, tmp_path / "s")


def test_what_cannot_be_done_is_one_sentence(place, tmp_path, monkeypatch):
    for options, match in (
        ({"path": tmp_path / "nothing"}, "nothing"),
        ({"path": "file:///nothing/here"}, "empty or not there"),
        ({"keep": ["redshift"]}, "unknown column of .*'redshift'"),
        ({"workers": 0}, "at least 1"),
        ({"images_per_part": 0}, "at least 1"),
        ({"out": "/proc/nothing/here"}, "cannot be written"),
    ):
        with pytest.raises(InputError, match=match) as caught:
            scored(place, options.pop("out", tmp_path / "s"), **options)
        assert "\n" not in str(caught.value)
    with TableWriter(tmp_path / "wide", shape=(1, SIZE, 20), classes=CLASSES, manifest={}) as writer:
        writer.write_columns(["a"], np.zeros((1, 1, SIZE, 20)), [None], {})
    with pytest.raises(InputError, match="wide is 16x20 pixels"):
        scored(place, tmp_path / "s", path=tmp_path / "wide")
    manifest = json.loads((place / "table" / "manifest.json").read_text())
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "manifest.json").write_text(json.dumps(manifest | {"complete": False}))
    with pytest.raises(InputError, match="incomplete table"):
        scored(place, tmp_path / "s", path=tmp_path / "t")


def test_a_file_that_cannot_be_written_is_found_before_anything_is_classified(place, tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("a file, not a folder")
    judge = ensemble([place / "run"], device="cpu")
    monkeypatch.setattr(judge, "answer", lambda *_, **__: pytest.fail("classified"))
    with pytest.raises(InputError, match=r"--out .*p.csv cannot be written \(.*\): choose another folder"):
        predict_path(judge, place / "table", tmp_path / "taken" / "p.csv")


def test_rows_that_do_not_add_up_are_noticed(place, tmp_path):
    scored(place, tmp_path / "s")
    part = tmp_path / "s" / part_name(2)
    pq.write_table(pq.read_table(part).slice(1), part)
    with pytest.raises(WorkError, match="599 scores and 0 refusals for 600 rows"):
        scored(place, tmp_path / "s")


@pytest.mark.slow
def test_the_command(place, tmp_path):
    def darklens_(*words):
        command = [sys.executable, "-m", "darklens", "predict", place / "run", place / "table", "--device", "cpu", *words]
        return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300)

    done = darklens_("--out", tmp_path / "s", "--images-per-part", "100", "--keep", "theta_E")
    assert done.returncode == 0, done.stderr
    assert "600 images in 6 parts, 0 could not be scored" in done.stderr
    assert_same_as_alone(place, tmp_path / "s")
    refused = darklens_("--out", tmp_path / "s.csv", "--workers", "2")
    assert refused.returncode == 2
    assert "--workers is for a survey" in refused.stderr


@pytest.mark.slow
def test_a_survey_needs_no_ray(place, tmp_path):
    code = "import sys; sys.modules['ray'] = None\n" + SCORE
    command = [sys.executable, "-c", code, place / "run", place / "table", tmp_path / "s"]
    assert subprocess.run([str(word) for word in command], timeout=300).returncode == 0
    assert_same_as_alone(place, tmp_path / "s")
