"""Files that lie, swell, lead elsewhere or are called by odd names: each is read as it should be, or refused in one sentence."""

import gzip
import io
import json
import os
import random
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from benchmarks.fuzz import Fuzzer
from benchmarks.fuzz_cases import CASES, MUTATIONS, drawn, mutated
from benchmarks.fuzz_guard import Guard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darklens.data import Table, read
from darklens.data.importing import import_path
from darklens.data.npy import INFLATION_AT_MOST, UNPACKED_BYTES_AT_MOST
from darklens.errors import DarklensError, InputError, WorkError
from darklens.files import YAML_NODES_AT_MOST, read_json, read_yaml
from darklens.runs import Run


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory):
    with Guard() as guard:
        yield Fuzzer(tmp_path_factory.mktemp("fuzz"), guard)


@pytest.mark.parametrize("name", sorted(CASES))
def test_every_case_is_read_as_long_as_it_is_whole(fuzzer, name):
    assert fuzzer.whole(name).kind == "read"


@settings(max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(name=st.sampled_from(sorted(CASES)), mutations=MUTATIONS)
def test_mutated_files_are_read_or_refused_in_one_sentence(fuzzer, name, mutations):
    verdict = fuzzer.broken(name, mutations)
    assert verdict.harmless, f"{verdict.kind}: {verdict.text}"


def test_mutations_change_most_files():
    rng = random.Random(0)
    content = CASES["fits"].build()
    assert sum(mutated(content, drawn(rng)) != content for _ in range(200)) > 180


def test_the_guard_finds_what_it_is_there_to_find(tmp_path, monkeypatch):
    from benchmarks import fuzz_guard

    def verdict_of(read):
        events = []
        sys.addaudithook(lambda event, args: events.append(event) if event in fuzz_guard.FORBIDDEN else None)
        return fuzz_guard._examined(read, tmp_path, events).kind

    def refused(path):
        raise InputError("no")

    assert verdict_of(refused) == "refused"
    assert verdict_of(lambda path: {}["absent"]) == "traceback"
    assert verdict_of(lambda path: os.system("true")) == "executed"
    peak = int(fuzz_guard._peak_mib())
    monkeypatch.setattr(fuzz_guard, "MIB_AT_MOST", peak + 50)
    # other tests of this process may have left its peak far above what it holds now, so the peak is what has to be passed
    assert verdict_of(lambda path: np.ones((peak + 100) << 20, np.uint8)) == "memory"
    monkeypatch.setattr(fuzz_guard, "SECONDS_AT_MOST", 0.0)
    assert verdict_of(lambda path: sum(range(10_000))) in ("hang", "memory")


# ---- what swells ----


def swollen_member(path: Path, mebibytes: int) -> None:
    """Write a .npz whose member unpacks to so much, from one compressed mebibyte repeated."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = squeeze.compress(bytes(1 << 20)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    side = (mebibytes << 20) // 4096
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (side, 1024)})
    first = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = first.compress(header.getvalue()) + first.flush(zlib.Z_FULL_FLUSH) + piece * mebibytes + b"\x03\x00"
    info = zipfile.ZipInfo("image.npy")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, b"")
        info.compress_type, info.compress_size, info.file_size = 8, len(body), (mebibytes << 20) + len(header.getvalue())
    raw = path.read_bytes()
    local = info.FileHeader(zip64=False)
    directory = raw[raw.index(b"PK\x01\x02") :]
    directory = directory.replace(directory[:46], _directory_entry(info), 1)
    end = directory.index(b"PK\x05\x06")
    tail = directory[end : end + 16] + (len(local) + len(body)).to_bytes(4, "little") + b"\x00\x00"
    path.write_bytes(local + body + directory[:end] + tail)


def _directory_entry(info: zipfile.ZipInfo) -> bytes:
    import struct

    sizes = (info.CRC, info.compress_size, info.file_size, len(info.filename), 0, 0, 0, 0, 0, 0)
    return struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 3, 20, 0, 0, 8, 0, 33, *sizes)


def test_an_archive_that_swells_is_refused_before_it_is_unpacked(fuzzer, tmp_path):
    swollen_member(tmp_path / "bomb.npz", 1024)
    assert (tmp_path / "bomb.npz").stat().st_size < 3 << 20
    verdict = fuzzer.guard.ask("npz", tmp_path / "bomb.npz", seconds=60)
    assert verdict.kind == "refused"
    assert f"the limit of that size is {INFLATION_AT_MOST} times" in verdict.text
    assert verdict.mib < 1024


def test_an_image_that_packs_well_is_read(tmp_path):
    side = int((UNPACKED_BYTES_AT_MOST // 2 // 4) ** 0.5)
    np.savez_compressed(tmp_path / "x.npz", image=np.zeros((side, side), np.float32))
    (record,) = read(tmp_path / "x.npz")
    assert record.image.shape == (1, side, side)


def header(**cards: object) -> bytes:
    lines = [f"{key:<8}= {value!s:>20}".ljust(80) for key, value in {"SIMPLE": "T", **cards}.items()]
    return "".join([*lines, "END".ljust(80)]).encode().ljust(2880)


@pytest.mark.parametrize("name", ["x.fits", "x.fits.gz"])
@pytest.mark.parametrize("axes", [(8192, 8192), (99999, 99999), (0, 5), (-3, 5), (2**40, 1)])
def test_a_fits_header_that_promises_too_much_is_refused(tmp_path, name, axes):
    content = header(BITPIX=-64, NAXIS=2, NAXIS1=axes[0], NAXIS2=axes[1]) + bytes(2880)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(InputError):
        list(read(tmp_path / name))


@pytest.mark.parametrize("name", ["x.fits", "x.fits.gz"])
def test_a_fits_file_that_would_be_read_in_circles_is_refused(tmp_path, name):
    content = header(BITPIX=-32, NAXIS=2, NAXIS1=-12345678, NAXIS2=100) + header(BITPIX=8, NAXIS=0) * 3
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(InputError):
        list(read(tmp_path / name))


def test_yaml_of_aliases_of_aliases_is_refused(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 12)]
    (tmp_path / "laughs.yaml").write_text("\n".join(lines))
    with pytest.raises(InputError, match=f"more than {YAML_NODES_AT_MOST} values"):
        read_yaml(tmp_path / "laughs.yaml")
    (tmp_path / "circle.yaml").write_text("a: &a [*a]")
    with pytest.raises(InputError, match="more than"):
        read_yaml(tmp_path / "circle.yaml")
    (tmp_path / "plain.yaml").write_text("a: &a [1, 2]\nb: *a\n")
    assert read_yaml(tmp_path / "plain.yaml") == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    "text", ["[" * 20_000, "{" * 5000, "&a " * 50, "\x00", "!!python/object/apply:os.system ['true']", "- !!x y"]
)
def test_yaml_and_json_that_are_none_are_refused(tmp_path, text):
    for reader in (read_yaml, read_json):
        (tmp_path / "x").write_text(text)
        with pytest.raises(InputError, match="is not"):
            reader(tmp_path / "x")


def test_columns_whose_names_are_no_text_or_stand_there_twice_are_refused(tmp_path):
    from darklens.data.catalogue import Catalogue
    from darklens.data.scores import read_scores

    (tmp_path / "s.csv").write_bytes(b"id,\xff\xfe\na,1\n")
    (tmp_path / "twice.csv").write_bytes(b"id,ra,ra\na,1,1\n")
    with pytest.raises(InputError, match=r"s\.csv holds no scores that can be read"):
        read_scores(tmp_path / "s.csv")
    with pytest.raises(InputError, match=r"s\.csv is truncated or no catalogue"):
        Catalogue.open(tmp_path / "s.csv")
    with pytest.raises(InputError, match="two columns 'ra'"):
        Catalogue.open(tmp_path / "twice.csv")


# ---- what leads elsewhere ----


@pytest.fixture
def table(tmp_path):
    images = np.ones((3, 1, 4, 4), np.float32)
    with_ = Table.from_columns(["a", "b", "c"], images, ["x"] * 3)
    from darklens.data.writer import TableWriter

    with TableWriter(tmp_path / "T", shape=(1, 4, 4), classes=["x"], manifest={}) as writer:
        writer.write(with_.records())
    return tmp_path / "T"


@pytest.mark.parametrize(
    "change",
    [
        {"shards": [{"file": "../secret/part-00000.parquet", "rows": 3, "sha256": ""}]},
        {"shards": [{"file": "/etc/passwd", "rows": 3, "sha256": ""}]},
        {"shards": [{"file": 3, "rows": 3, "sha256": ""}]},
        {"shards": "part-00000.parquet"},
        {"shape": [1, -4, 4]},
        {"shape": [1 << 40, 4, 4]},
        {"shape": "1x4x4"},
        {"classes": {"x": 1}},
        {"rows": -1},
        {"schema_version": "1"},
        {"complete": "yes"},
        {"pixel_scale": "small"},
        {"units": [1]},
    ],
    ids=str,
)
def test_a_manifest_that_is_not_one_is_refused(table, change):
    (table.parent / "secret").mkdir()
    os.link(table / "part-00000.parquet", table.parent / "secret" / "part-00000.parquet")
    manifest = json.loads((table / "manifest.json").read_text()) | change
    (table / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=f"manifest.json is damaged \\({next(iter(change))} is"):
        Table.open(table)


def test_links_that_lead_in_circles_or_nowhere_are_named_and_left_out(tmp_path):
    root = tmp_path / "tree"
    (root / "a").mkdir(parents=True)
    np.save(root / "a" / "x.npy", np.ones((4, 4)))
    (root / "a" / "back").symlink_to(root)
    (root / "a" / "gone.npy").symlink_to(tmp_path / "nowhere.npy")
    (root / "a" / "itself.npy").symlink_to(root / "a" / "itself.npy")
    os.mkfifo(root / "a" / "pipe.npy")
    (root / "a" / "zero.npy").symlink_to("/dev/zero")
    skipped = {}
    found = list(read(root, on_skip=lambda path, why: skipped.update({path.name: why})))
    assert [r.id for r in found] == ["a/x"]
    assert set(skipped) == {"back", "gone.npy", "itself.npy", "pipe.npy", "zero.npy"}


ODD = (
    *(
        "a b",
        "ü",
        "日本",
        "🌀",
        "-rf",
        "--help",
        "a'b",
        'a"b',
        "a;b",
        "$(touch x)",
        "`id`",
        "a|b",
        "a*b",
        "a\\b",
        "a%b",
        "{g,r}",
        "[1]",
    ),
    *("=1+1", "<script>", "a\nb", "a\tb", "a\rb", "\x1b[31m", "\u202e", "a" * 200, os.fsdecode(b"\xff\xfe")),
)


def test_names_with_every_odd_character_are_imported_and_kept(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ODD:
        np.save(os.path.join(folder, name) + ".npy", rng.normal(size=(4, 4)))
    report = import_path(folder, tmp_path / "T")
    table = Table.open(tmp_path / "T")
    assert len(table) + len(report.skipped) == len(ODD)
    assert set(table.ids) >= {name for name in ODD if name.isprintable() and name != "{g,r}"}
    assert len(set(table.ids)) == len(table)


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_errors_about_odd_names_are_one_printable_line(tmp_path, name):
    with pytest.raises(DarklensError) as caught:
        list(read(tmp_path / f"{name}.npy"))
    text = str(caught.value)
    text.encode()
    assert "\n" not in text
    assert "\x1b" not in text


# ---- what is written by two at once, and disks that are full ----


HOLDS = """
import sys, time
from pathlib import Path
from darklens.files import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(900)
"""


def test_a_second_writer_of_a_table_or_run_is_refused_in_one_sentence(tmp_path, table):
    from darklens.data.writer import TableWriter

    def again():
        return TableWriter(table, shape=(1, 4, 4), classes=["x"], manifest={})

    run = Run.create(tmp_path / "run", {"name": "x"})
    for folder in (table, run.path):
        child = subprocess.Popen([sys.executable, "-c", HOLDS, str(folder)], stdout=subprocess.PIPE, text=True)
        try:
            assert child.stdout.readline() == "held\n"
            write = again if folder == table else _training(run).fit
            with pytest.raises(InputError, match="is being written by another process: wait for it, or choose another folder"):
                write()
        finally:
            child.kill()
            child.wait()
    with again():
        pass  # the lock ended with the process


def _training(run):
    from darklens.models import build
    from darklens.train.classification import Classification
    from darklens.train.config import Preprocess, TrainConfig
    from darklens.train.image_set import ImageSet
    from darklens.train.loop import Training

    images = ImageSet(np.ones((6, 1, 32, 32), np.float32), np.arange(6) % 3, np.array(list("abcdef"), object), ("a", "b", "c"))
    config = TrainConfig(epochs=1, batch_size=3)
    network, task = build("cnn", classes=3, size=32, seed=0), Classification(("a", "b", "c"), {})
    return Training(run, network, task, images, images, config, Preprocess())


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_keeps_what_is_finished(tmp_path):
    from darklens.api import simulate

    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a disk in memory")
    try:
        with pytest.raises(WorkError, match="no space left on device"):
            simulate("model-iii-noisy", 9000, seed=1, out=disk / "T")
        kept = Table.open(disk / "T", allow_incomplete=True)
        assert 0 < len(kept) < 9000
        assert not list((disk / "T").glob("*.tmp"))
        np.testing.assert_array_equal(kept.images(slice(0, 3)), simulate("model-iii-noisy", 3, seed=1).images())
        subprocess.run(["mount", "-o", "remount,size=400m", str(disk)], check=True)
        assert len(simulate("model-iii-noisy", 9000, seed=1, out=disk / "T")) == 9000
    finally:
        subprocess.run(["umount", str(disk)], check=True)
