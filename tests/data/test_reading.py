import os
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from darklens.data import Table, load, pairs, read
from darklens.data.folders import class_order, place
from darklens.errors import InputError


def one(value: float = 0, shape: tuple[int, ...] = (4, 5)) -> np.ndarray:
    return np.full(shape, value, dtype=np.float64)


def skips():
    found = []
    return found, lambda path, why: found.append((path.name, why))


@pytest.mark.parametrize(
    ("parts", "root", "expected"),
    [
        ("no_sub", "Model_I", ("no_sub", None)),
        ("Model_I/no_sub", "all", ("no_sub", None)),
        ("train/no", "common", ("no", "train")),
        ("val/vort", "common", ("vort", "val")),
        ("validation/vort", "common", ("vort", "val")),
        ("test/a/b", "x", ("b", "test")),
        ("vort/Test", "x", ("vort", "test")),
        ("train_lenses", "finding", ("lens", "train")),
        ("test_nonlenses", "finding", ("nonlens", "test")),
        ("train/HR", "sr", (None, "train")),
        ("images", "x", (None, None)),
        ("", "cutouts", (None, None)),
        ("", "axion", ("axion", None)),
        ("", "train_lenses", ("lens", "train")),
        ("no", "test", ("no", "test")),
    ],
)
def test_folders_tell_class_and_split(parts, root, expected):
    assert place(tuple(filter(None, parts.split("/"))), root) == expected


def test_classes_come_in_the_order_of_the_field():
    assert class_order(["axion", "no_sub", "cdm"]) == ["no_sub", "cdm", "axion"]
    assert class_order(["vort", "no", "no"]) == ["no", "vort"]
    assert class_order(["lens", "nonlens"]) == ["nonlens", "lens"]
    assert class_order(["b", "a", "no"]) == ["a", "b", "no"]
    assert class_order([]) == []


def test_a_tree_is_read_in_sorted_order_with_unique_ids(save_tree):
    names = ["train/vort/2.npy", "train/vort/10.npy", "train/no/1.npy", "test/no/1.npy", "test/no/a.b.npy"]
    root = save_tree({name: one(i) for i, name in enumerate(names)})
    fits.PrimaryHDU(one(9)).writeto(root / "test" / "no" / "1.fits.gz")
    for workers in (1, 3):
        found = list(read(root, workers=workers))
        assert [(r.id, r.label, r.split) for r in found] == [
            ("test/no/1.fits.gz", "no", "test"),
            ("test/no/1.npy", "no", "test"),
            ("test/no/a.b", "no", "test"),
            ("train/no/1", "no", "train"),
            ("train/vort/10", "vort", "train"),
            ("train/vort/2", "vort", "train"),
        ]
        assert [r.image[0, 0, 0] for r in found] == [9, 3, 4, 2, 1, 0]
        assert all(Path(r.source).is_file() for r in found)


def test_a_label_can_be_given(save_tree):
    assert {r.label for r in read(save_tree({"a/1.npy": one(), "b/2.npy": one()}), label="cdm")} == {"cdm"}


def test_pairs(save_tree):
    root = save_tree(
        {f"{part}/{side}/{i}.npy": one(i, size) for part in ("train", "val") for i in range(2)
         for side, size in (("HR", (1, 8, 8)), ("LR", (1, 4, 4)))}
        | {"train/HR/alone.npy": one(7, (1, 8, 8)), "val/LR/orphan.npy": one(7, (1, 4, 4))}
    )  # fmt: skip
    skipped, on_skip = skips()
    found = list(pairs(root, on_skip=on_skip))
    assert [(low.image.shape, high.image.shape) for low, high in found] == [((1, 4, 4), (1, 8, 8))] * 4
    assert all(low.image[0, 0, 0] == high.image[0, 0, 0] for low, high in found)
    assert [high.id for _, high in found] == ["train/HR/0", "train/HR/1", "val/HR/0", "val/HR/1"]
    assert sorted(name for name, _ in skipped) == ["alone.npy", "orphan.npy"]
    high = next(read(root))
    assert high.metadata["low_resolution"] == str(root / "train" / "LR" / "0.npy")
    assert (high.label, high.split) == (None, "train")
    assert load(root).shape == (1, 8, 8)
    with pytest.raises(InputError, match="holds no pairs"):
        next(pairs(save_tree({"HR/1.npy": one()}, root="half")))


def test_what_is_no_image_is_passed_over_with_its_reason(save_tree):
    root = save_tree({"1.npy": one(), ".hidden.npy": one()})
    for name in (
        "notes.txt",
        "truth.csv",
        "scores.json",
        "cutout.h5",
        "weights.pt",
        "picture.png",
        "unknown.xyz",
        "bare",
    ):
        (root / name).write_text("x")
    os.symlink(root / "nowhere.npy", root / "broken.npy")
    os.mkfifo(root / "pipe.npy")
    skipped, on_skip = skips()
    assert [r.id for r in read(root, on_skip=on_skip)] == ["1"]
    assert [r.id for r in read(root)] == ["1"]
    reasons = dict(skipped)
    for name, word in [
        (".hidden.npy", "hidden"), ("notes.txt", "text"), ("truth.csv", "text"), ("scores.json", "text"),
        ("cutout.h5", "HDF5"), ("weights.pt", "pickle"), ("picture.png", "picture"), ("unknown.xyz", "no format"),
        ("bare", "no format"),
        ("broken.npy", "broken link"), ("pipe.npy", "not a regular file"),
    ]:  # fmt: skip
        assert word in reasons.pop(name)
    assert not reasons


def test_a_damaged_file_raises_unless_skips_are_wanted(save_tree):
    root = save_tree({"1.npy": one(), "2.npy": one(np.nan), "3.npy": one(), "4.npy": one()})
    (root / "3.npy").write_bytes(b"\x93NUM")
    with pytest.raises(InputError, match=r"2.npy has 20 of 20 pixels that are not finite"):
        list(read(root))
    skipped, on_skip = skips()
    assert [r.id for r in read(root, on_skip=on_skip)] == ["1", "4"]
    assert [(name, why.split(":")[0]) for name, why in skipped] == [
        ("2.npy", "has 20 of 20 pixels that are not finite"),
        ("3.npy", "is empty, truncated, or no .npy file"),
    ]


def test_a_stack_that_breaks_off_keeps_what_came_before(tmp_path):
    stack = np.ones((20, 4, 5))
    stack[12, 1:] = np.nan
    np.save(tmp_path / "a.npy", stack)
    np.save(tmp_path / "b.npy", one())
    skipped, on_skip = skips()
    assert [r.id for r in read(tmp_path, on_skip=on_skip)] == [*(f"a[{i:02d}]" for i in range(12)), "b"]
    assert "[12] has 15 of 20 pixels" in skipped[0][1]


def test_links_are_followed_but_not_in_circles(save_tree, tmp_path):
    outside = save_tree({"far.npy": one(5)}, root="outside")
    root = save_tree({"a/1.npy": one(1)})
    os.symlink(root, root / "a" / "loop")
    os.symlink(root / "a", root / "a" / "self")
    os.symlink(outside / "far.npy", root / "a" / "link.npy")
    os.symlink(outside, root / "b")
    os.link(root / "a" / "1.npy", root / "a" / "hard.npy")
    skipped, on_skip = skips()
    assert [r.id for r in read(root, on_skip=on_skip)] == ["a/1", "a/hard", "a/link", "b/far"]
    assert sorted(skipped) == [
        ("loop", "is a link back to a folder above it"),
        ("self", "is a link back to a folder above it"),
    ]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p / "nowhere", "nowhere cannot be read .no such file or directory.: check the path"),
        (lambda p: p, r"holds no image that can be read \(it is empty\)"),
        (lambda p: (p / "a.csv").write_text("x") and p, r"passed over 1 files, first a.csv is text, not an image"),
        (lambda p: (p / "a.csv").write_text("x") and p / "a.csv", "a.csv is text"),
        (lambda p: (p / "a.h5").write_bytes(b"\x89HDF\r\n") and p / "a.h5", "a.h5 is HDF5"),
        (lambda p: (p / "bare").write_bytes(b"\x89HDF\r\n") and p / "bare", "bare is HDF5"),
        (lambda p: (p / "part-00000.parquet").write_text("PAR1") and p / "part-00000.parquet", "part of a table"),
        (lambda p: (p / "bare").write_bytes(b"\0\0") and p / "bare", "no format"),
        (lambda p: os.mkfifo(p / "pipe.npy") or p / "pipe.npy", "not a regular file"),
    ],
)
def test_nothing_to_read_is_one_sentence(tmp_path, make, words):
    with pytest.raises(InputError, match=words) as caught:
        load(make(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_file_without_suffix_is_known_by_its_first_bytes(tmp_path):
    np.save(tmp_path / "x.npy", one(3))
    fits.PrimaryHDU(one(3)).writeto(tmp_path / "y.fits")
    for name in ("x.npy", "y.fits"):
        (tmp_path / name).rename(tmp_path / "bare")
        assert next(read(tmp_path / "bare")).image[0, 0, 0] == 3


@pytest.fixture
def as_nobody():
    """Drop the rights to read other people's files, where the tests have them."""
    if not hasattr(os, "geteuid"):
        pytest.skip("no such permissions on this system")
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder), lambda: os.seteuid(65534) if root else None
        if root:
            os.seteuid(0)
        for path in Path(folder).iterdir():
            os.chmod(path, 0o755)


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.fits", "folder", "bare"])
def test_without_permission_it_is_one_sentence(as_nobody, name):
    folder, drop = as_nobody
    path = folder / name
    if name == "folder":
        path.mkdir()
        np.save(path / "x.npy", one())
    else:
        path.write_bytes(b"\x93NUMPY")
    os.chmod(path, 0)
    drop()
    with pytest.raises(InputError, match="permission denied"):
        load(path)


def test_tables_are_read_like_anything_else(save_tree, tmp_path, records):
    table = load(save_tree({"no/1.npy": one(1), "sphere/2.npy": one(2)}))
    assert (table.classes, table.labels.tolist(), table.path) == (["no", "sphere"], ["no", "sphere"], None)
    assert Table.from_records(table.records()).ids.tolist() == table.ids.tolist()


def test_load_refuses_what_does_not_fit_into_memory(save_tree, monkeypatch):
    monkeypatch.setattr("darklens.data.reading.MEMORY_BYTES_AT_MOST", 100)
    with pytest.raises(InputError, match="import it into a table"):
        load(save_tree({f"{i}.npy": one() for i in range(9)}))


def most_pixels_held(root: Path, workers: int) -> int:
    """Return the most bytes of numpy arrays that were alive at any record looked at."""
    arrays = [tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)]
    most = 0
    tracemalloc.start()
    for i, _ in enumerate(read(root, workers=workers)):
        if i % 20 == 0:
            held = tracemalloc.take_snapshot().filter_traces(arrays).statistics("filename")
            most = max(most, sum(statistic.size for statistic in held))
    tracemalloc.stop()
    assert i == len(os.listdir(root)) - 1
    return most


@pytest.mark.parametrize("workers", [1, 2])
def test_memory_does_not_grow_with_the_number_of_files(tmp_path, workers):
    image = np.ones((64, 64))
    for i in range(300):
        np.save(tmp_path / f"{i}.npy", image)
    as_read = image.size * 4
    window = 4 * workers + 2  # those ahead, the one in hand, the one before
    assert as_read <= most_pixels_held(tmp_path, workers) <= 1.5 * window * as_read
