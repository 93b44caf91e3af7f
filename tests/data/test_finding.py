import numpy as np
import pytest

from darklens.data import Table, TableWriter
from darklens.data.finding import find_images
from darklens.errors import InputError


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(6, 3, 8, 8)).astype(np.float32)


def test_images_of_a_table_are_found_by_id_through_its_name_or_the_source(tmp_path, images):
    ids = [f"row {i}" for i in range(6)]
    with TableWriter(tmp_path / "table", shape=(3, 8, 8), classes=["lens"], manifest={}) as writer:
        writer.write_columns(ids, images, ["lens"] * 6, {"ra": np.arange(6.0)})
    for given in ({"sources": None, "images": tmp_path / "table"}, {"sources": [str(tmp_path / "table")] * 2}):
        found = find_images(["row 4", "row 1"], given.pop("sources"), **given)
        assert np.array_equal(found["row 4"].image, images[4])
        assert found["row 1"].truth["ra"] == 1
    assert Table.open(tmp_path / "table").shape == (3, 8, 8)


def test_images_of_files_are_found_by_their_source_whatever_folder_the_id_begins_with(tmp_path, images):
    (tmp_path / "night").mkdir()
    for i in range(3):
        np.save(tmp_path / "night" / f"{i}.npy", images[i])
    np.save(tmp_path / "stack.npy", images)
    sources = [str(tmp_path / "night" / "2.npy"), str(tmp_path / "stack.npy") + "#3"]
    found = find_images(["night/2", "anything"], sources)
    assert np.array_equal(found["night/2"].image, images[2])
    assert np.array_equal(found["anything"].image, images[3])
    by_folder = find_images(["night/0"], None, tmp_path)
    assert np.array_equal(by_folder["night/0"].image, images[0])


def test_images_of_a_stack_are_told_apart_by_the_end_of_their_ids(tmp_path, images):
    from darklens.data import read

    np.save(tmp_path / "stack.npy", images)
    ids = [record.id for record in read(tmp_path)]
    assert len(set(ids)) == 6
    found = find_images([f"survey/{ids[5]}", f"survey/{ids[0]}"], [str(tmp_path / "stack.npy")] * 2)
    assert np.array_equal(found[f"survey/{ids[5]}"].image, images[5])
    assert np.array_equal(found[f"survey/{ids[0]}"].image, images[0])


def test_what_is_not_found_is_reported_and_the_rest_comes(tmp_path, images):
    np.save(tmp_path / "a.npy", images[0])
    why = {}
    found = find_images(["a", "b", "c"], [str(tmp_path / "a.npy"), str(tmp_path / "gone.npy"), ""], on_missing=why.__setitem__)
    assert list(found) == ["a"]
    assert "gone.npy" in why["b"]
    assert "--images" in why["c"]
    find_images(["a", "z"], None, tmp_path, on_missing=why.__setitem__)
    assert "holds no image of that id" in why["z"]
    with pytest.raises(InputError, match="nowhere"):
        find_images(["a"], None, tmp_path / "nowhere")
