import json
import math

import numpy as np
import pytest

from darklens.data import Table, import_path
from darklens.errors import InputError
from darklens.simulate.injection import check_injection, inject, injection

TRUTH = ("theta_E", "source_mag", "lens_mag", "snr", "seeing", "kind", "z_lens", "z_source", "magnification", "flux_r", "group")
EASY = {"min_snr": 30.0, "theta_E": (1.0, 2.0), "mass": "range"}


@pytest.fixture(scope="module")
def chosen(cutouts, settings):
    return injection(cutouts, seed=4, **settings, **EASY)


@pytest.fixture(scope="module")
def table(chosen) -> Table:
    return inject(chosen, 10)


def test_lenses_and_galaxies_as_they_are_take_turns_with_their_truth(table, cutouts):
    assert table.classes == ["nonlens", "lens"]
    lens = table.labels == "lens"
    assert lens.sum() == 5
    assert set(TRUTH) <= set(table.columns)
    assert (table.units("theta_E"), table.units("sigma_v")) == ("arcsec", "km/s")
    assert (table.column("snr")[lens] >= 30).all()
    assert ((table.column("theta_E")[lens] >= 1) & (table.column("theta_E")[lens] <= 2)).all()
    assert (table.column("magnification")[lens] >= 3).all()
    assert (table.column("seeing") == 1.0).all()
    assert np.isnan(table.column("theta_E")[~lens]).all()
    assert np.isnan(table.column("kind")[lens]).all()
    assert table.column("lens_mag") == pytest.approx(19.3, abs=0.1)
    for id_, image in zip(table.ids[~lens], table.images()[~lens], strict=True):
        assert np.array_equal(image, cutouts.images([list(cutouts.ids).index(id_.split("-", 3)[3])])[0])


def test_what_was_painted_is_what_the_truth_says(chosen, table):
    for row in table.rows(label="lens"):
        made = chosen.row(int(row))
        added = table.images([row])[0].astype(float) - made.original
        for band, name in enumerate("gri"):
            flux = table.column(f"flux_{name}")[row]
            assert made.arcs[band].sum() == pytest.approx(flux, rel=1e-6)
            assert added[band].sum() == pytest.approx(flux, abs=4 * math.sqrt(flux / 40) + 0.1)
        source = 10 ** (-0.4 * (table.column("source_mag")[row] - 30.0))
        assert table.column("flux_r")[row] == pytest.approx(source * table.column("magnification")[row], rel=0.01)
        noise = 4.0  # of the cutouts, in r
        assert table.column("snr")[row] == pytest.approx(np.sqrt(((made.arcs[1] / noise) ** 2).sum()), rel=0.15)


def test_arcs_are_blue_with_the_colours_of_star_forming_galaxies(table):
    g, r, i = (table.column(f"flux_{name}")[table.labels == "lens"] for name in "gri")
    g_r, r_i = -2.5 * np.log10(g / r), -2.5 * np.log10(r / i)
    assert g_r / r_i == pytest.approx(0.35 / 0.25, rel=0.02)  # one spectrum, redder or bluer
    assert np.mean(g_r) == pytest.approx(0.35, abs=0.15)
    assert np.std(g_r) > 0.03


def test_the_background_is_left_as_it_was(chosen, table):
    checks = check_injection(table, chosen)
    assert checks["kept"] == 5
    assert (checks["changed_pixels"], checks["changed_rows"], checks["untouched_rows"]) == (0, 0, 5)
    assert checks["free_pixels"] > 5_000
    assert checks["flux_ratio"] == pytest.approx(1.0, abs=5 * checks["flux_error"])
    assert checks["noise_variance"] == pytest.approx(1.0, abs=5 * math.sqrt(2 / checks["noise_pixels"]))
    assert sum(checks["rejected"].values()) > 0


def test_the_checks_find_what_is_wrong(chosen, table):
    def checked(change) -> dict:
        images = table.images().copy()
        change(images)
        columns = {name: table.column(name) for name in table.columns if name not in ("id", "label", "split")}
        return check_injection(Table.from_columns(table.ids, images, table.labels, columns), chosen, rows=4)

    right = checked(lambda images: None)

    def brighter(images):
        images[:, :, 22, 25] *= 1.5

    def noisier(images):
        images += np.random.default_rng(0).normal(0, 0.1, images.shape).astype(np.float32)

    assert right["changed_pixels"] == 0
    assert abs(checked(brighter)["flux_ratio"] - 1) > 5 * right["flux_error"]
    spoiled = checked(noisier)
    assert spoiled["changed_pixels"] > 0.9 * right["free_pixels"]
    assert spoiled["changed_rows"] == right["untouched_rows"] > 0


def test_arcs_scale_with_the_zero_point(cutouts, settings):
    """The same sky in other units: cutouts ten times as large, at a zero point 2.5 mag fainter."""
    dim = injection(cutouts, seed=4, **settings)
    images = cutouts.images() * 10
    bright = injection(
        Table.from_columns(cutouts.ids, images, cutouts.labels), seed=4, **settings | {"zero_point": 32.5, "gain": 4.0}
    )
    first = next(row for row in range(20) if dim.is_lens(row))
    a, b = dim.row(first), bright.row(first)
    assert b.arcs == pytest.approx(10 * a.arcs, rel=1e-4, abs=1e-6)
    assert b.truth["source_mag"] == a.truth["source_mag"]
    assert b.truth["theta_E"] == pytest.approx(a.truth["theta_E"], rel=1e-6)


def test_a_row_depends_on_seed_and_number_alone_and_a_killed_injection_goes_on(chosen, table, tmp_path, cutouts, settings):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        inject(chosen, 10, out=tmp_path / "T", progress=lambda done, total: stop(done, total) if done else None)
    whole = inject(chosen, 10, out=tmp_path / "T")
    assert np.array_equal(whole.images(), table.images())
    assert list(whole.ids) == list(table.ids)
    assert np.array_equal(whole.column("theta_E"), table.column("theta_E"), equal_nan=True)
    other = injection(cutouts, seed=5, **settings, **EASY)
    assert not np.array_equal(other.row(1).image, table.images([1])[0])
    with pytest.raises(InputError, match="holds a table with another injection"):
        inject(injection(cutouts, seed=4, **settings, **EASY | {"min_snr": 40.0}), 10, out=tmp_path / "T")
    manifest = json.loads((tmp_path / "T" / "manifest.json").read_text())
    assert manifest["complete"]
    assert manifest["band_names"] == ["g", "r", "i"]
    assert manifest["injection"]["camera"]["zero_points"] == [30.0] * 3


def test_a_galaxy_stands_in_one_split_whatever_is_painted_on_it(cutouts, settings, tmp_path):
    """Every galaxy twice with arcs and once without; the split of the table, and that of an import with another seed."""
    few = cutouts.select(rows=slice(0, 8))
    made = injection(few, seed=4, fraction=2 / 3, split="0.5,0.25,0.25", **settings, **EASY | {"min_snr": 0.0})
    table = inject(made, 24, out=tmp_path / "T")
    import_path(tmp_path / "T", tmp_path / "again", split="0.5,0.25,0.25", seed=9)
    for one in (table, Table.open(tmp_path / "again")):
        sides = {}
        for group, split in zip(one.column("group"), one.splits, strict=True):
            sides.setdefault(group, set()).add(split)
        assert len(sides) == 8
        assert all(len(found) == 1 for found in sides.values())
        assert len(set.union(*sides.values())) > 1
    given = Table.from_columns(cutouts.ids, cutouts.images(), cutouts.labels, splits=["test"] * 12)
    assert injection(given, seed=4, **settings, **EASY).row(1).split == "test"
    assert injection(cutouts, seed=4, split=None, **settings, **EASY).row(1).split is None


def test_cutouts_that_are_lenses_are_left_out(cutouts, settings):
    labels = ["lens"] * 6 + ["nonlens"] * 6
    marked = Table.from_columns(cutouts.ids, cutouts.images(), labels)
    made = injection(marked, seed=1, **settings, **EASY)
    assert {made.row(row).id.rpartition("-")[2] for row in range(12)} <= {str(i) for i in range(6, 12)}
    with pytest.raises(InputError, match="all 12 cutouts are labelled lens"):
        injection(Table.from_columns(cutouts.ids, cutouts.images(), ["lens"] * 12), **settings)


def test_where_nothing_is_calibrated_brightness_is_drawn_by_its_noise(cutouts, settings):
    bare = {k: v for k, v in settings.items() if k not in ("zero_point", "gain")}
    made = [injection(cutouts, seed=2, **bare, theta_E=(1.0, 2.0)).row(row) for row in range(1, 6, 2)]
    assert all(20 <= row.truth["snr"] <= 200 for row in made)
    assert all(math.isnan(row.truth["source_mag"]) and math.isnan(row.truth["lens_mag"]) for row in made)
    assert np.array_equal(made[0].image, (made[0].original + made[0].arcs.astype(np.float32)))


def test_a_known_redshift_is_taken(cutouts, settings):
    known = Table.from_columns(cutouts.ids, cutouts.images(), cutouts.labels, {"redshift": np.full(12, 0.33)})
    truth = injection(known, seed=2, **settings, **EASY).row(1).truth
    assert truth["z_lens"] == 0.33
    assert truth["z_source"] > 0.33


def test_a_population_brings_its_own_lenses_and_sources(cutouts, settings):
    made = injection(cutouts, population="subhalos", seed=2, **settings).row(1)
    assert 0.8 <= made.truth["theta_E"] <= 1.5
    source = 10 ** (-0.4 * (made.truth["source_mag"] - 30.0))
    assert made.truth["flux_r"] == pytest.approx(source * made.truth["magnification"], rel=0.01)
    assert made.truth["lens_mag"] == pytest.approx(19.3, abs=0.1)  # the real galaxy's
    with pytest.raises(InputError, match=r"preset 'common-test' has no zero point, so its sources have no magnitudes"):
        injection(cutouts, population="common-test", **settings)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"fraction": 0.0}, "a fraction of 0 lenses is outside 0 to 1"),
        ({"min_snr": -1.0}, "a least S/N of -1 is impossible"),
        ({"theta_E": (2.0, 1.0)}, 'Einstein radii from 2" to 1" are impossible'),
        ({"source_mag": (25.0, 21.0)}, "source magnitudes from 25 to 21 are not in order"),
        ({"mass": "heavy"}, "mass 'heavy' is neither of luminosity and range"),
        ({"split": "1,2,3"}, "adds up to 6"),
        ({"population": "subhalo"}, "unknown preset 'subhalo': did you mean 'subhalos'"),
    ],
)
def test_impossible_settings_are_refused_in_one_sentence(cutouts, settings, options, sentence):
    with pytest.raises(InputError, match=sentence):
        injection(cutouts, **settings, **options)


@pytest.mark.parametrize(("fraction", "rows"), [(0.1, 13), (0.5, 24), (2 / 3, 36), (1.0, 12)])
def test_the_fraction_is_kept_by_every_run_of_rows(cutouts, settings, fraction, rows):
    made = injection(cutouts, fraction=fraction, **settings)
    assert made.rows_by_default() == rows
    period = round(1 / fraction) if fraction < 0.6 else 3
    for first in (0, 3 * 10**9):
        lenses = [made.is_lens(row) for row in range(first, first + 2 * period)]
        assert sum(lenses) == round(2 * period * fraction)
        assert lenses[:period] == lenses[period:]


def test_more_untouched_rows_than_cutouts_and_lenses_that_cannot_be_are_refused(chosen, cutouts, settings):
    assert chosen.rows_by_default() == 24
    with pytest.raises(InputError, match=r"26 rows with a fraction of 0.5 lenses need 13 untouched cutouts and there are 12"):
        inject(chosen, 26)
    with pytest.raises(InputError, match=r"row 1 found no lens in 480 draws .* most of them with no Einstein radius in the range"):
        injection(cutouts, theta_E=(30.0, 40.0), **settings).row(1)


def test_real_galaxies_of_des_with_real_sources(shared_data):
    """Flux, background and noise on survey images; the galaxies are red and of the redshifts of DES lenses."""
    made = injection(
        shared_data / "galaxies" / "des", instrument="des-g,des-r,des-i", zero_point=30.0,
        sources=shared_data / "galaxies" / "cosmos-paltas", seed=1,
    )  # fmt: skip
    table = inject(made, 8)
    lens = table.labels == "lens"
    checks = check_injection(table, made)
    assert (checks["changed_pixels"], checks["changed_rows"]) == (0, 0)
    assert checks["flux_ratio"] == pytest.approx(1.0, abs=5 * checks["flux_error"])
    assert checks["noise_variance"] == pytest.approx(1.0, abs=5 * math.sqrt(2 / checks["noise_pixels"]) + 0.02)
    assert np.median(table.column("z_lens")[lens]) == pytest.approx(0.45, abs=0.15)
    assert (np.abs(table.column("center_x")[lens]) < 1.3).all()
    assert set(table.column("source_row")[lens]) <= set(range(10))
