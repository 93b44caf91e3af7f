"""Trees of the Bologna lens-finding challenges, generated in their layout: FITS by number, the key as CSV."""

import csv
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from darklens.data import Table, import_path, read
from darklens.errors import InputError

GROUND = {"Band1": "SDSS_R", "Band2": "SDSS_I", "Band3": "SDSS_G", "Band4": "SDSS_U"}
COLUMNS = ("ID", "is_lens", "Einstein_area", "numb_pix_lensed_image", "flux_lensed_image_in_sigma")


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(np.asarray(image, np.float32)).writeto(path)


def save_key(path: Path, ids) -> Path:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([id_, id_ % 2, 1.5e-11 * (id_ % 2), 40 * (id_ % 2), 300 * (id_ % 2)] for id_ in ids)
    return path


@pytest.fixture
def ground(tmp_path, rng):
    """Six images of four bands around 1e-11, a corner of one of them masked with 100."""
    root, images = tmp_path / "GroundBasedTraining", {}
    for id_ in range(100000, 100006):
        images[id_] = rng.normal(0, 1e-11, (4, 20, 20)).astype(np.float32)
        for k, (folder, band) in enumerate(GROUND.items()):
            plane = images[id_][k].copy()
            if id_ == 100003:
                plane[:5, :5] = 100
            save(root / "Public" / folder / f"image{band}-{id_}.fits", plane)
        save(root / "Private" / "Band1" / "NoSourceImage" / f"imageSDSS_R-{id_}.fits", images[id_][0])
    save_key(root / "classifications.csv", range(100000, 100005))
    return root, images


def test_a_ground_based_tree(ground, tmp_path):
    root, images = ground
    skipped = []
    found = {r.id.rsplit("/", 1)[1]: r for r in read(root, on_skip=lambda path, why: skipped.append((path.name, why)))}
    assert [r.label for r in found.values()] == ["nonlens", "lens", "nonlens", "lens", "nonlens", None]
    assert found["100001"].metadata["bands"] == ["R", "I", "G", "U"]
    np.testing.assert_array_equal(found["100001"].image, images[100001])
    assert found["100001"].truth == {
        "einstein_area": 1.5e-11,
        "numb_pix_lensed_image": 40,
        "flux_lensed_image_in_sigma": 300,
    }
    assert found["100005"].truth == {}
    assert skipped == [("Private", "is the private part of a challenge, the pieces that its images were made of")]
    table = Table.open(import_path(root, tmp_path / "T").out)
    assert (table.classes, table.shape, len(table)) == (["nonlens", "lens"], (4, 20, 20), 6)
    assert table.column("numb_pix_lensed_image")[:5].tolist() == [0, 40, 0, 40, 0]
    assert [r.image.shape for r in read(root, bands="G,R,I")] == [(3, 20, 20)] * 6


def test_masked_pixels_are_filled_and_counted(ground, tmp_path):
    root, images = ground
    (masked,) = (r for r in read(root) if r.metadata.get("filled"))
    assert (masked.id, masked.metadata["filled"]) == ("Public/100003", 100)
    assert np.abs(masked.image).max() < 1e-9
    np.testing.assert_array_equal(masked.image[:, 5:, 5:], images[100003][:, 5:, 5:])
    report = import_path(root, tmp_path / "T")
    assert (report.tally.noticed.filled, report.tally.noticed.images) == (100, 1)
    assert report.tally.noticed.notes == {"pixels of value 100 are the challenge's mask": 1}
    with pytest.raises(InputError, match="25 of 400 pixels that are not finite or masked"):
        list(read(root, fill="refuse"))


@pytest.mark.parametrize("folder", ["Public/Band1", "files", ""])
@pytest.mark.parametrize("name", ["imageEUC_VIS", "imageSVIS"])
def test_space_based_trees(tmp_path, folder, name):
    root = tmp_path / "space"
    for id_ in range(3):
        save(root / folder / f"{name}-{id_}.fits", np.full((9, 9), 1 + id_))
    save(root / folder / f"{name}-7.fits", np.full((9, 9), 100.0))  # no mask here: space-based pixels may have any value
    save_key(root / "classifications.csv", range(3))
    found = list(read(root))
    assert [r.id.rsplit("/", 1)[-1] for r in found] == ["0", "1", "2", "7"]
    assert [r.label for r in found] == ["nonlens", "lens", "nonlens", None]
    assert [r.image[0, 0, 0] for r in found] == [1, 2, 3, 100]
    assert found[0].metadata["bands"] == ["VIS"]


def test_a_tree_of_challenge_2_with_bands_of_two_grids(tmp_path):
    root = tmp_path / "datapack2.0train"
    for id_ in (200000, 200001, 200002):
        for band, size in (("VIS", 60), ("J", 20), ("Y", 20), ("H", 20)):
            save(root / "Public" / f"EUC_{band}" / f"imageEUC_{band}-{id_}.fits", np.ones((size, size)))
    (root / "image_catalog2.0train.csv").write_text(
        "# a lens has a source image of over 20 pixels\n# magnified over 1.6 times\n"
        ",ID,z_lens,n_source_im,mag_eff,n_pix_source\n"
        "0,200000,0.5,1,5.0,100\n1,200001,0.6,0,5.0,100\n2,200002,0.7,1,1.6,100\n"
    )
    with pytest.raises(InputError, match=r"different pixel grids .VIS 60x60, Y 20x20, J 20x20, H 20x20.*--bands VIS"):
        list(read(root))
    found = list(read(root, size=(30, 30)))
    assert [(r.label, r.image.shape) for r in found] == [("lens", (4, 30, 30)), ("nonlens", (4, 30, 30)), ("nonlens", (4, 30, 30))]
    assert found[0].truth["z_lens"] == 0.5
    assert [r.image.shape for r in read(root, bands="VIS")] == [(1, 60, 60)] * 3


def test_without_a_key_folders_tell_the_class(tmp_path):
    for k, kind in enumerate(("lens", "nolens", "mixed")):
        save(tmp_path / kind / "Band1" / f"imageSDSS_R-{k}.fits", np.ones((9, 9)))
    assert {r.id: r.label for r in read(tmp_path)} == {"lens/0": "lens", "nolens/1": "nonlens", "mixed/2": None}


def test_a_csv_that_is_no_key_is_passed_over(tmp_path):
    save(tmp_path / "imageSVIS-1.fits", np.ones((9, 9)))
    (tmp_path / "notes.csv").write_text("ID,remark\n1,bright\n")
    skipped = []
    assert [r.label for r in read(tmp_path, on_skip=lambda path, why: skipped.append(path.name))] == [None]
    assert skipped == ["notes.csv"]
