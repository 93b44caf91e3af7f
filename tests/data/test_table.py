import numpy as np
import pytest

from darklens.data import Table, TableWriter
from darklens.errors import InputError


@pytest.fixture(params=["memory", "disk"])
def table(request, records, tmp_path) -> Table:
    if request.param == "memory":
        return Table.from_records(records, pixel_scale=0.05)
    units = {"theta_E": "arcsec"}
    manifest = {"pixel_scale": 0.05, "units": units}
    with TableWriter(tmp_path / "T", shape=(2, 5, 4), classes=["no_sub", "cdm"], manifest=manifest, rows_per_shard=7) as w:
        w.write(records)
    return Table.open(tmp_path / "T")


def test_holds_what_was_put_in(table, records):
    assert len(table) == 30
    assert table.shape == (2, 5, 4)
    assert table.classes == ["no_sub", "cdm"]
    assert table.pixel_scale == 0.05
    assert table.columns == ["id", "label", "split", "theta_E"]
    assert table.units("theta_E") == "arcsec"
    assert table.ids.tolist() == [r.id for r in records]
    assert table.labels.tolist() == [r.label for r in records]
    assert table.splits.tolist() == [r.split for r in records]
    np.testing.assert_array_equal(table.images(), np.stack([r.image for r in records]))
    np.testing.assert_array_equal(table.column("theta_E"), [r.truth.get("theta_E", np.nan) for r in records])


def test_gives_any_rows_in_any_order(table, records):
    rows = [29, 0, 7, 7, 13, -1]
    np.testing.assert_array_equal(table.images(rows), np.stack([records[i].image for i in rows]))
    np.testing.assert_array_equal(table.images(slice(3, 9, 2)), np.stack([records[i].image for i in (3, 5, 7)]))
    mask = table.labels == "cdm"
    np.testing.assert_array_equal(table.images(mask), np.stack([r.image for r in records if r.label == "cdm"]))


def test_batches_follow_the_rows(table, records):
    rows = np.array([5, 20, 1, 17, 8])
    batches = list(table.batches(2, rows))
    assert [len(b["id"]) for b in batches] == [2, 2, 1]
    assert np.concatenate([b["id"] for b in batches]).tolist() == [records[i].id for i in rows]
    np.testing.assert_array_equal(np.concatenate([b["image"] for b in batches]), table.images(rows))


def test_a_part_is_a_table(table, records):
    part = table.select(split="val", label="cdm")
    expected = [r for r in records if r.split == "val" and r.label == "cdm"]
    assert part.ids.tolist() == [r.id for r in expected]
    np.testing.assert_array_equal(part.images(), np.stack([r.image for r in expected]))
    assert part.select(rows=[1]).ids.tolist() == [expected[1].id]
    assert part.checksum != table.checksum
    assert table.select(rows=[3, 1]).ids.tolist() == ["r03", "r01"]


def test_records_come_back(table, records):
    for there, here in zip(records, table.records(), strict=True):
        assert (there.id, there.label, there.truth, there.split) == (here.id, here.label, here.truth, here.split)
        assert there.content_hash == here.content_hash


def test_image_array_is_mapped_beyond_the_limit(table, tmp_path):
    whole = table.images()
    assert not isinstance(table.image_array(), np.memmap)
    for cache in (None, tmp_path / "cache"):
        mapped = table.image_array(limit_bytes=100, cache=cache)
        assert isinstance(mapped, np.memmap)
        np.testing.assert_array_equal(mapped, whole)
    file = next((tmp_path / "cache").iterdir())
    before = file.stat().st_mtime_ns
    np.testing.assert_array_equal(table.image_array(limit_bytes=100, cache=tmp_path / "cache"), whole)
    assert file.stat().st_mtime_ns == before
    part = table.select(split="val")
    np.testing.assert_array_equal(part.image_array(limit_bytes=0, cache=tmp_path / "cache"), part.images())


def test_to_torch_and_pandas(table):
    images, numbers = table.to_torch()
    assert images.shape == (30, 2, 5, 4)
    assert numbers.tolist()[:4] == [0, 1, -1, 0]
    frame = table.to_pandas()
    assert list(frame.columns) == ["id", "label", "split", "theta_E"]
    assert frame["label"].isna().sum() == 10
    assert table.to_pandas(images=True)["image"].iloc[2].shape == (2, 5, 4)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda t: t.images([30]), "0 to 29"),
        (lambda t: t.images([-31]), "0 to 29"),
        (lambda t: t.column("theta_e"), "did you mean 'theta_E'"),
        (lambda t: t.select(split="train", label="axion"), "no row"),
        (lambda t: next(t.batches(0)), "at least 1"),
    ],
)
def test_refuses_what_is_not_there(table, act, words):
    with pytest.raises(InputError, match=words):
        act(table)


def test_checksum_is_of_the_content(records):
    table = Table.from_records(records)
    assert Table.from_records(records).checksum == table.checksum
    changed = [*records[:-1], records[-1].with_(image=records[-1].image + 1)]
    assert Table.from_records(changed).checksum != table.checksum
    assert Table.from_records([*records[:-1], records[-1].with_(label="cdm")]).checksum != table.checksum


def test_mixed_shapes_are_refused(records):
    with pytest.raises(InputError, match=r"r00 is .* and other is|differ in shape"):
        Table.from_records([*records, records[0].with_(id="other", image=np.zeros((1, 2, 2), np.float32))])
    with pytest.raises(InputError, match="no image"):
        Table.from_records([])
