import numpy as np
import pytest
from astropy.io import fits

from darklens.data import Table, check_disjoint, import_path, load, read, resize_image, split_of, summary
from darklens.data.splits import fractions_of
from darklens.errors import InputError


@pytest.fixture
def tree(save_tree, object_image, rng):
    """Thirty images of three classes in the layout of the public simulators, two of them duplicates of others."""
    arrays = {}
    for i in range(10):
        arrays[f"no_sub/n{i}.npy"] = rng.normal(size=(6, 8))
        arrays[f"cdm/c{i}.npy"] = rng.integers(0, 9, (1, 6, 8))
        arrays[f"axion/a{i}.npy"] = object_image(rng.normal(size=(6, 8)), 10.0 ** rng.uniform(-24, -22))
    arrays["cdm/c9.npy"] = arrays["cdm/c8.npy"]
    arrays["no_sub/n9.npy"] = arrays["cdm/c8.npy"].astype(float)
    arrays["no_sub/odd.npy"] = rng.normal(size=(7, 8))
    arrays["no_sub/nan.npy"] = np.full((6, 8), np.nan)
    root = save_tree(arrays)
    (root / "README.txt").write_text("x")
    return root


def test_the_report_says_everything(tree, tmp_path):
    report = import_path(tree, tmp_path / "T")
    found = report.as_dict()
    assert found["labels"] == {"no_sub": 10, "cdm": 10, "axion": 10}
    assert found["shapes"] == {"1x6x8": 30}
    assert found["dtypes"] == {"float64": 20, "int64": 10}
    assert found["ranges"]["cdm"] == [0, 8]
    assert found["duplicates"] == [["cdm/c9", "cdm/c8"], ["no_sub/n9", "cdm/c8"]]
    assert found["duplicates_across_classes"] == 1
    assert found["truth"]["log10_m_axion"]["n"] == 10
    reasons = {s["path"].rsplit("/", 1)[1]: s["reason"] for s in found["skipped"]}
    assert set(reasons) == {"README.txt", "odd.npy", "nan.npy"}
    assert "shape (1, 7, 8), the table has (1, 6, 8): give --resize" in reasons["odd.npy"]
    assert "48 of 48 pixels that are not finite" in reasons["nan.npy"]
    text = "\n".join(report.lines())
    for word in (
        "no_sub",
        "1x6x8 (30)",
        "float64 (20), int64 (10)",
        "duplicates  2",
        "odd.npy has an image of shape",
        "skipped     3",
    ):
        assert word in text


def test_the_table_holds_what_the_files_hold(tree, tmp_path):
    import_path(tree, tmp_path / "T")
    table = Table.open(tmp_path / "T")
    assert table.classes == ["no_sub", "cdm", "axion"]
    assert (table.units("m_axion"), table.units("log10_m_axion")) == ("eV", "eV")
    found = {r.id: r for r in read(tree, on_skip=lambda path, why: None)}
    for record in table.records():
        assert record.content_hash == found[record.id].content_hash
        assert record.truth == found[record.id].truth
        assert record.label == found[record.id].label
    assert np.isnan(table.column("m_axion")[table.labels == "cdm"]).all()


def test_duplicates_share_a_side_whatever_the_seed(tree, tmp_path):
    for seed in range(8):
        out = tmp_path / f"T{seed}"
        assert import_path(tree, out, split="0.5,0.25,0.25", seed=seed).tally.leaks == 0
        table = Table.open(out)
        sides = dict(zip(table.ids, table.splits, strict=True))
        assert sides["cdm/c8"] == sides["cdm/c9"] == sides["no_sub/n9"]
        parts = [table.select(split=s) for s in set(table.splits)]
        for i, part in enumerate(parts):
            for other in parts[i + 1 :]:
                check_disjoint(part, other)


def test_a_leak_between_given_splits_is_reported(save_tree, tmp_path, rng):
    same = rng.normal(size=(6, 8))
    root = save_tree({"train/no/1.npy": same, "test/no/1.npy": same, "test/no/2.npy": same + 1})
    report = import_path(root, tmp_path / "T")
    assert report.tally.leaks == 1
    assert report.tally.splits == {"test": 2, "train": 1}
    table = Table.open(tmp_path / "T")
    with pytest.raises(InputError, match="1 of 1 images are in both tables, the first as test/no/1 and train/no/1"):
        check_disjoint(table.select(split="test"), table.select(split="train"))


def test_split_follows_the_fractions_and_is_stable():
    hashes = [f"{i:064x}" for i in range(4000)]
    fractions = {"train": 0.8, "val": 0.1, "test": 0.1}
    sides = [split_of(h, fractions, 3) for h in hashes]
    assert sides.count("train") == pytest.approx(3200, abs=4 * np.sqrt(4000 * 0.16))
    assert sides.count("test") == pytest.approx(400, abs=4 * np.sqrt(4000 * 0.09))
    assert sides == [split_of(h, fractions, 3) for h in hashes]
    assert sides != [split_of(h, fractions, 4) for h in hashes]
    assert {split_of(h, {"train": 1.0, "val": 0.0, "test": 0.0}, 3) for h in hashes} == {"train"}


@pytest.mark.parametrize("given", ["0.8,0.1", "a,b,c", "0.8,0.1,0.2", (1.2, -0.1, -0.1), {"train": 0.5}])
def test_impossible_fractions_are_refused(given):
    with pytest.raises(InputError, match=r"0\.8,0\.1,0\.1"):
        fractions_of(given)


def test_resize_takes_every_shape_and_keeps_the_flux(tree, tmp_path):
    report = import_path(tree, tmp_path / "T", resize=12)
    assert report.tally.images == 31
    table = Table.open(tmp_path / "T")
    assert table.shape == (1, 12, 12)
    found = {r.id: r for r in read(tree, on_skip=lambda path, why: None)}
    constant = resize_image(np.ones((2, 6, 8), np.float32), (3, 4))
    np.testing.assert_allclose(constant, 4, rtol=1e-6)
    blob = np.zeros((1, 30, 40), np.float32)
    blob[0, 10:20, 15:25] = 1
    assert resize_image(blob, (15, 20)).sum() == pytest.approx(100, rel=1e-3)
    assert resize_image(blob, (30, 40)) is blob
    assert set(table.ids) == set(found)


def test_an_interrupted_import_continues(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "darklens.data.importing.TableWriter.__init__.__kwdefaults__",
        {"rows_per_shard": 8, "resume": True, "force": False},
    )

    def interrupt(done: int, total: int) -> None:
        assert total == 31  # the header of the image with NaN is as good as any
        if done == 21:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_path(tree, tmp_path / "T", progress=interrupt)
    report = import_path(tree, tmp_path / "T")
    assert report.tally.images == 30
    import_path(tree, tmp_path / "whole")
    assert Table.open(tmp_path / "T").checksum == Table.open(tmp_path / "whole").checksum
    assert import_path(tree, tmp_path / "T").as_dict() == report.as_dict()  # complete: read again, written no more


def test_an_import_of_files_that_changed_is_refused(tree, tmp_path):
    import_path(tree, tmp_path / "T")
    np.save(tree / "axion" / "a00.npy", np.zeros((6, 8)))
    with pytest.raises(InputError, match="begun from other files"):
        import_path(tree, tmp_path / "T")
    (tree / "axion" / "a00.npy").rename(tree / "no_sub" / "z.npy")
    with pytest.raises(InputError, match="before there were more files"):
        import_path(tree, tmp_path / "T")
    with pytest.raises(InputError, match="another seed"):
        import_path(tree, tmp_path / "T", seed=1)
    assert import_path(tree, tmp_path / "T", force=True).tally.images == 31


def test_a_table_can_be_imported_anew(tree, tmp_path):
    import_path(tree, tmp_path / "A")
    report = import_path(tmp_path / "A", tmp_path / "B", split=(0.5, 0.5, 0))
    table = Table.open(tmp_path / "B")
    assert report.tally.images == 30
    assert table.classes == ["no_sub", "cdm", "axion"]
    assert set(table.splits) == {"train", "val"}
    assert table.units("m_axion") == "eV"
    np.testing.assert_array_equal(table.images(), Table.open(tmp_path / "A").images())


@pytest.mark.parametrize(("units", "kept"), [(("e-/s", "e-/s"), "e-/s"), (("e-/s", "nJy"), None), (("e-/s", ""), None)])
def test_unit_and_scale_of_the_headers_are_kept_where_they_agree(tmp_path, rng, units, kept):
    (tmp_path / "files").mkdir()
    for i, unit in enumerate(units):
        header = fits.Header({"PIXSCALE": 0.1} | ({"BUNIT": unit} if unit else {}))
        fits.PrimaryHDU(rng.normal(size=(6, 8)), header).writeto(tmp_path / "files" / f"{i}.fits")
    import_path(tmp_path / "files", tmp_path / "T")
    import_path(tmp_path / "T", tmp_path / "U")
    for name in ("T", "U"):
        assert (Table.open(tmp_path / name).manifest["flux_unit"], Table.open(tmp_path / name).pixel_scale) == (kept, 0.1)


def test_cards_without_a_value_say_nothing(tmp_path, rng):
    (tmp_path / "files").mkdir()
    fits.PrimaryHDU(rng.normal(size=(6, 8)), fits.Header({"BUNIT": None, "FILTER": None})).writeto(tmp_path / "files" / "a.fits")
    assert not {"bunit", "filter"} & next(read(tmp_path / "files")).metadata.keys()
    import_path(tmp_path / "files", tmp_path / "T")
    assert Table.open(tmp_path / "T").manifest["flux_unit"] is None


def test_nothing_to_import_says_why_and_leaves_nothing(save_tree, tmp_path):
    root = save_tree({"1.npy": np.ones(5)})
    for path, words in ((root, "1.npy has 1 axes"), (root / "1.npy", "1 axes"), (tmp_path / "nowhere", "no such file")):
        with pytest.raises(InputError, match=words):
            import_path(path, tmp_path / "T")
    assert not (tmp_path / "T").exists()


def test_a_table_is_not_imported_into_itself(tree, tmp_path):
    import_path(tree, tmp_path / "T")
    with pytest.raises(InputError, match="into itself"):
        import_path(tmp_path / "T", tmp_path / "T", force=True)
    assert len(Table.open(tmp_path / "T")) == 30


def test_summary_is_the_same_for_files_and_table(tree, tmp_path):
    import_path(tree, tmp_path / "T")
    (tree / "no_sub" / "odd.npy").unlink()
    files, table = summary(tree), summary(tmp_path / "T")
    for key in ("images", "shapes", "labels", "ranges", "duplicates", "truth"):
        assert files[key] == table[key]
    assert files["mean"] == pytest.approx(table["mean"])
    assert table["table"]["checksum"] == Table.open(tmp_path / "T").checksum
    assert table["table"]["units"] == {"m_axion": "eV", "log10_m_axion": "eV"}
    assert len(files["skipped"]) == 2
    pixels = Table.open(tmp_path / "T").images().astype(float)
    assert table["std"] == pytest.approx(pixels.std())
    assert summary(load(tree / "cdm"))["labels"] == {"cdm": 10}


def test_no_pixels_are_refused_by_name(tree, tmp_path):
    with pytest.raises(InputError, match="--resize 0 leaves no pixel: give at least 1"):
        import_path(tree, tmp_path / "T", resize=0)
    assert not (tmp_path / "T").exists()


def test_resampling_a_mapped_file_is_silent(save_tree, recwarn):
    folder = save_tree({"x.npy": np.ones((9, 9), np.float32)})
    (record,) = read(folder / "x.npy", size=(3, 3))
    assert record.image.sum() == pytest.approx(81)
    assert not [warning for warning in recwarn if "writable" in str(warning.message)]


def test_one_image_is_not_images(save_tree, tmp_path):
    report = import_path(save_tree({"x.npy": np.array([np.ones((4, 4)), np.zeros((4, 4))])[None]}), tmp_path / "T")
    assert "note        band 1 is all zero (1 image)" in report.lines()
