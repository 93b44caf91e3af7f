import numpy as np
import pytest
import torch
from astropy.io import fits

from darklens.errors import InputError
from darklens.lensing import Cosmology
from darklens.simulate import pixel_grid
from darklens.simulate.injection import PictureSources, SersicSources
from darklens.simulate.injection.source import cleaned


def seen(source, scale: float = 0.02, side: int = 401) -> np.ndarray:
    """The unlensed source on a fine grid."""
    x, y = pixel_grid((side, side), scale)
    return sum(light.intensity(x, y) for light in source.lights)[0].numpy() * scale**2


def disc(side: int = 61, radius: float = 6.0, at: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
    return np.exp(-np.hypot(rows - at[0], columns - at[1]) / radius * 1.678)


@pytest.mark.parametrize("seed", range(4))
def test_a_disc_with_knots_has_flux_one(seed):
    source = SersicSources().draw(24.0, 2.0, (0.3, -0.2), np.random.default_rng(seed))
    assert float(sum(light.total_flux() for light in source.lights)) == pytest.approx(1.0, rel=1e-9)
    assert seen(source).sum() == pytest.approx(1.0, abs=0.02)


def test_bright_sources_are_larger():
    radii = [SersicSources().draw(m, 2.0, (0, 0), np.random.default_rng(1)).radius for m in (22.0, 24.0)]
    assert radii[0] / radii[1] == pytest.approx(10 ** (0.25 * 0.4 * 2.0))


def test_a_picture_loses_sky_noise_and_neighbours():
    rng = np.random.default_rng(0)
    image = 100 * disc(radius=3.0, at=(2, -3)) + 5.0 + rng.normal(0, 0.5, (61, 61))
    image[50:55, 5:10] += 60.0
    picture = cleaned(image, "one")
    assert picture.image.sum() == pytest.approx(1.0)
    assert np.abs(picture.image[[0, -1]]).max() < 2e-6  # noise alone would be ten times that
    assert np.abs(picture.image[48:57, 8:13]).max() < 1e-5 < picture.image.max() / 100  # where the neighbour came to lie
    rows, columns = np.mgrid[:61, :61] - 30.0
    assert [(picture.image * axis).sum() for axis in (rows, columns)] == pytest.approx([0, 0], abs=0.1)
    assert picture.radius == pytest.approx(3.0, rel=0.1)
    assert cleaned(rng.normal(0, 1, (41, 41)) - 50 * disc(41), "hole") is None


def test_a_real_galaxy_keeps_its_size_in_kpc():
    picture = cleaned(100 * disc() + np.random.default_rng(0).normal(0, 0.1, (61, 61)), "one", 0.03, 0.5)
    source = PictureSources([picture]).draw(23.0, 2.0, (0.1, 0.2), np.random.default_rng(0))
    cosmology = Cosmology()
    expected = picture.radius * 0.03 * cosmology.distance(0.5) / cosmology.distance(2.0)
    assert source.radius == pytest.approx(expected, rel=1e-3)
    assert source.truth == {"R_sersic": source.radius, "source_row": 0.0}
    image = seen(source)
    assert image.sum() == pytest.approx(1.0, abs=0.01)
    x, y = pixel_grid((401, 401), 0.02)
    assert [float((torch.as_tensor(image) * axis).sum()) for axis in (x, y)] == pytest.approx([0.1, 0.2], abs=0.01)


def test_images_of_no_known_scale_have_the_sizes_of_discs(tmp_path):
    for k in range(2):
        np.save(tmp_path / f"{k}.npy", 100 * disc() + np.random.default_rng(k).normal(0, 0.1, (61, 61)))
    sources = PictureSources.from_folder(tmp_path)
    assert [p.name for p in sources.pictures] == ["0", "1"]
    radii = [sources.draw(24.0, 2.0, (0, 0), np.random.default_rng(k)).radius for k in range(60)]
    assert np.median(radii) == pytest.approx(0.25, abs=0.08)


def test_a_catalogue_without_its_images_is_refused(tmp_path):
    columns = [("GAL_FILENAME", "20A", ["gone.fits"]), ("GAL_HDU", "J", [0]), ("PIXEL_SCALE", "D", [0.03]), ("IDENT", "J", [1])]
    table = fits.BinTableHDU.from_columns([fits.Column(name, form, array=np.array(values)) for name, form, values in columns])
    table.writeto(tmp_path / "real_galaxy_catalog.fits")
    with pytest.raises(InputError, match=r"gone.fits is named in the catalogue and not there: download"):
        PictureSources.from_folder(tmp_path)


def test_cosmos_galaxies_are_read_with_their_redshifts(shared_data):
    sources = PictureSources.from_folder(shared_data / "galaxies" / "cosmos-paltas")
    assert len(sources.pictures) >= 8
    assert all(p.name.startswith("COSMOS ") and p.pixel_scale == pytest.approx(0.03) for p in sources.pictures)
    first = sources.pictures[0]
    assert first.redshift == pytest.approx(0.195)
    assert first.radius * 0.03 == pytest.approx(0.70, rel=0.25)  # the catalogue's half-light radius
