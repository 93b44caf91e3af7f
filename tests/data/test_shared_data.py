"""Every file of the third-party collection is read, or refused in one sentence."""

import numpy as np
import pytest

from darklens.data import Table, import_path, read
from darklens.errors import InputError

READ = (".npy", ".npz", ".fits")


def look(path) -> tuple[list[np.ndarray], str]:
    try:
        return [record.image for record in read(path)], ""
    except InputError as error:
        return [], str(error)


def test_every_file_is_read_or_refused_in_one_sentence(shared_data):
    refused = set()
    for path in sorted(p for p in shared_data.rglob("*") if p.is_file()):
        images, sentence = look(path)
        assert bool(images) != bool(sentence)
        assert all(image.ndim == 3 and np.isfinite(image).all() for image in images)
        if sentence:
            refused.add(path.relative_to(shared_data).as_posix())
            assert str(path) in sentence
            assert "\n" not in sentence
    assert {name for name in refused if name.endswith(READ)} == {
        "deeplense-samples/common-test-no-9995-aggregates.npz",
        "galaxies/cosmos-paltas/real_galaxy_catalog_23.5.fits",
        "galaxies/cosmos-paltas/real_galaxy_catalog_23.5_fits.fits",
    }


@pytest.mark.parametrize(
    ("model", "shape", "count", "dtype"),
    [("I", (1, 150, 150), 40, "int64"), ("II", (1, 64, 64), 120, "float64"), ("III", (1, 64, 64), 120, "float64")],
)
def test_the_public_simulations_are_imported_whole(shared_data, tmp_path, model, shape, count, dtype):
    report = import_path(shared_data / "deeplensesim" / f"Model_{model}", tmp_path / "T")
    table = Table.open(tmp_path / "T")
    assert report.tally.labels == {"no_sub": count, "cdm": count, "axion": count}
    assert report.skipped == []
    assert report.tally.dtypes == {dtype: 3 * count}
    assert (table.shape, table.classes) == (shape, ["no_sub", "cdm", "axion"])
    mass = table.column("log10_m_axion")
    assert np.isnan(mass[table.labels != "axion"]).all()
    assert (mass[table.labels == "axion"] >= -24).all()
    assert (mass[table.labels == "axion"] <= -22).all()


def test_lens_finding(shared_data):
    found = list(read(shared_data / "deeplense-samples" / "lens-finding"))
    assert {(r.label, r.split) for r in found} == {(c, s) for c in ("lens", "nonlens") for s in ("train", "test")}
    assert {r.image.shape for r in found} == {(3, 64, 64)}


def test_euclid_bands(shared_data):
    (path,) = (shared_data / "lenses" / "euclid-q1").glob("*.fits")
    (record,) = read(path, hdu="VIS_BGSUB,NIR_Y_BGSUB,NIR_J_BGSUB,NIR_H_BGSUB")
    assert record.image.shape == (4, 100, 100)
    assert record.metadata["pixel_scale"] == pytest.approx(0.1)
