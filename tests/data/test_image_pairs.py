import numpy as np
import pytest
from astropy.io import fits

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


def test_headers_of_files_say_scale_and_unit(folder):
    for k in range(3):
        (folder / "LR" / f"sample{k}.npy").unlink()
        header = fits.Header({"PIXSCALE": 0.1, "BUNIT": "nJy"} | ({} if k else {"OBJECT": "a lens"}))
        fits.PrimaryHDU(np.zeros((6, 6), np.float32), header).writeto(folder / "LR" / f"sample{k}.fits.gz")
    assert read_pairs(folder).about == {"pixel_scale": 0.1, "flux_unit": "nJy"}
    fits.PrimaryHDU(np.zeros((6, 6), np.float32), fits.Header({"PIXSCALE": 0.2})).writeto(
        folder / "LR" / "sample1.fits.gz", overwrite=True
    )
    assert read_pairs(folder).about == {}


def test_one_image_a_file_and_one_file_a_name(folder):
    fits.PrimaryHDU(np.zeros((12, 12), np.float32)).writeto(folder / "HR" / "sample1.fits")
    with pytest.raises(InputError, match=r"HR holds two images called sample1, one is sample1.npy: leave one out"):
        read_pairs(folder)
    (folder / "HR" / "sample1.fits").unlink()
    np.save(folder / "HR" / "sample2.npy", np.zeros((5, 1, 12, 12)))
    with pytest.raises(InputError, match=r"HR/sample2.npy holds more than one image: give each pair files of its own"):
        read_pairs(folder)
    np.save(folder / "HR" / "sample2.npy", np.zeros((3, 12, 12)))
    with pytest.raises(InputError, match=r"HR/sample2 has 3 bands where LR of the first pair has 1"):
        read_pairs(folder)
