import numpy as np
import pytest

from darklens.data import is_pairs, read_pairs
from darklens.errors import InputError


@pytest.fixture
def folder(tmp_path):
    """Three pairs as official files lie: (1, y, x) and the same names."""
    rng = np.random.default_rng(0)
    for side, size in (("HR", 12), ("LR", 6)):
        (tmp_path / side).mkdir()
        for k in range(3):
            np.save(tmp_path / side / f"sample{k}.npy", rng.normal(size=(1, size, size)))
    return tmp_path


def test_files_of_one_name_are_a_pair(folder):
    pairs = read_pairs(folder)
    assert pairs.ids.tolist() == ["sample0", "sample1", "sample2"]
    assert pairs.low.shape == (3, 1, 6, 6)
    assert pairs.high.dtype == np.float32
    assert np.allclose(pairs.high[1], np.load(folder / "HR" / "sample1.npy"))
    assert (pairs.scale, pairs.truth, pairs.about) == (2, None, {})
    assert pairs.take(np.array([2])).ids.tolist() == ["sample2"]
    assert len(read_pairs(folder, rows=2)) == 2


def test_no_folder_of_pairs(tmp_path):
    assert not is_pairs(tmp_path)
    with pytest.raises(InputError, match="holds no pairs: give a folder with HR/ and LR/"):
        read_pairs(tmp_path)


def test_what_has_no_partner_is_named(folder):
    (folder / "LR" / "sample1.npy").unlink()
    with pytest.raises(InputError, match=r"HR/sample1 has no partner in LR \(1 of 3 images have none\)"):
        read_pairs(folder)


@pytest.mark.parametrize(
    ("side", "name", "image", "sentence"),
    [
        ("HR", "sample0", np.zeros((1, 13, 12)), r"HR/sample0 is 13x12 pixels and its partner 6x6: the scale factor"),
        ("HR", "sample2", np.zeros((1, 18, 18)), r"HR/sample2 is 18x18 pixels where the first pair has 12x12 \(scale factor 2\)"),
        ("LR", "sample1", np.zeros((1, 5, 6)), r"LR/sample1 is 5x6 pixels where the first pair has 6x6"),
        ("LR", "sample2", np.full((1, 6, 6), np.nan), r"sample2.npy.* not finite"),
    ],
)
def test_what_does_not_fit_is_named(folder, side, name, image, sentence):
    np.save(folder / side / f"{name}.npy", image)
    with pytest.raises(InputError, match=sentence):
        read_pairs(folder)
