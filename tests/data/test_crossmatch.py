import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

from darklens.data.crossmatch import Catalogue, chance, read_catalogue, scored
from darklens.errors import InputError


def sky(n, seed):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))


def catalogue(ra, dec):
    return Catalogue(np.array([f"k{i}" for i in range(len(ra))], dtype=object), np.asarray(ra, float), np.asarray(dec, float))


def test_the_nearest_is_that_of_astropy():
    ra, dec = sky(3000, 0)
    known = catalogue(*sky(2000, 1))
    index, separation = known.nearest(ra, dec, 7200)
    there = SkyCoord(ra * u.deg, dec * u.deg)
    wanted, distance, _ = there.match_to_catalog_sky(SkyCoord(known.ra * u.deg, known.dec * u.deg))
    near = distance.arcsec <= 7200
    assert near.sum() > 500
    assert np.array_equal(index >= 0, near)
    assert np.array_equal(index[near], wanted[near])
    assert np.allclose(separation[near], distance.arcsec[near], rtol=1e-9)


def test_the_meridian_and_the_poles_are_no_special_places():
    known = catalogue([359.9999, 10.0, 200.0], [0.0, 89.9999, -89.9999])
    index, separation = known.nearest(np.array([0.0001, 190.0, 20.0, np.nan]), np.array([0.0, 89.9999, -89.9999, 0.0]), 1.0)
    assert index.tolist() == [0, 1, 2, -1]
    assert separation[:2] == pytest.approx([0.72, 0.72], rel=1e-6)
    assert np.isnan(separation[3])


def test_the_radius_is_sharp():
    known = catalogue([150.0], [0.0])
    index, _ = known.nearest(np.array([150.0, 150.0]), np.array([4.999 / 3600, 5.001 / 3600]), 5.0)
    assert index.tolist() == [0, -1]


def test_of_several_images_of_a_known_object_the_most_probable_counts_and_twins_in_the_catalogue_both_do():
    known = catalogue([10.0, 10.0001, 50.0], [0.0, 0.0, 0.0])
    near = (np.array(["a", "b"], dtype=object), np.array([10.0, 10.0]), np.array([0.0, 0.0]), np.array([0.2, 0.9]))
    later = (np.array(["c", "d"], dtype=object), np.array([10.0, 11.0]), np.array([0.0, np.nan]), np.array([np.nan, 0.99]))
    found = scored(known, [near, later], 2.0)
    assert found.ids.tolist() == ["b", "b", ""]
    assert found.seen.tolist() == [True, True, False]
    assert found.probability[:2].tolist() == [0.9, 0.9]


def test_matches_by_chance_are_those_of_the_density():
    rng = np.random.default_rng(0)
    known = catalogue(rng.uniform(100, 102, 20000), rng.uniform(-1, 1, 20000))
    ra, dec = rng.uniform(100.2, 101.8, 4000), rng.uniform(-0.8, 0.8, 4000)
    wanted = 4000 * (1 - np.exp(-20000 / (4 * 3600**2) * np.pi * 10**2))
    assert chance(known, ra, dec, 10.0) == pytest.approx(wanted, rel=0.1)
    assert chance(known, known.ra[:500], known.dec[:500], 10.0) < 100  # all of them are known, few by chance


@pytest.mark.parametrize("suffix", [".csv", ".fits", ".vot", ".ecsv", ".parquet"])
def test_catalogues_of_every_format_and_naming(tmp_path, suffix):
    columns = {"name": ["a", "b"], "RAJ2000": [10.5, 20.5], "DEJ2000": [-3.0, 4.0]}
    path = tmp_path / f"known{suffix}"
    if suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table(columns), path)
    else:
        layout = {".csv": "ascii.csv", ".vot": "votable", ".ecsv": "ascii.ecsv"}.get(suffix, "fits")
        Table(columns).write(path, format=layout)
    found = read_catalogue(path)
    assert found.names.tolist() == ["a", "b"]
    assert found.ra.tolist() == [10.5, 20.5]
    assert found.dec.tolist() == [-3.0, 4.0]


def test_units_in_names_are_understood_and_rows_without_a_position_counted(tmp_path):
    (tmp_path / "k.csv").write_text("name,RA [deg],DEC [deg],zlens\na,-10,1,-\nb,,2,0.5\nc,20,-95,-\nd,30,4,-\n")
    found = read_catalogue(tmp_path / "k.csv")
    assert found.names.tolist() == ["a", "d"]
    assert found.ra.tolist() == [350.0, 30.0]
    assert found.dropped == 2


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "name,x,y\na,1,2\n", "no column ra, only name, x, y"),
        ("b.csv", "ra,dec\n12:30:00,+01:02:03\n", "not in degrees"),
        ("c.csv", "ra,dec\n,\n", "no row with a position"),
        ("d.txt", "ra,dec\n1,2\n", "ends in '.txt'"),
        ("e.fits", "no fits", "e.fits"),
    ],
)
def test_catalogues_that_cannot_be_used(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=words):
        read_catalogue(tmp_path / name)
    with pytest.raises(InputError, match="cannot be read"):
        read_catalogue(tmp_path / "nowhere.csv")


def test_a_folder_with_one_catalogue_is_that_catalogue(tmp_path):
    (tmp_path / "README.md").write_text("whose it is")
    (tmp_path / "k.csv").write_text("name,ra,dec\na,1,2\n")
    assert read_catalogue(tmp_path).names.tolist() == ["a"]
    (tmp_path / "l.csv").write_text("name,ra,dec\nb,1,2\n")
    with pytest.raises(InputError, match="is a folder with 2 catalogues: give the file of one"):
        read_catalogue(tmp_path)
