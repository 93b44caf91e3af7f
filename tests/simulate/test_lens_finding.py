from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy import stats

from darklens.errors import InputError
from darklens.lensing import SersicEllipse
from darklens.simulate import PRESETS, configured, simulate
from darklens.simulate.populations import LensFinding
from darklens.simulate.populations.lens_finding_galaxies import KINDS, WEIGHTS
from darklens.simulate.priors import Fixed
from darklens.simulate.row_draws import RowDraws
from darklens.simulate.sky import Lights, Sky, Stars
from darklens.simulate.survey import blur

PRESET = PRESETS["lens-finding"]
SHAPE = (64, 64)


def lenses(n=40, seed=4, **changes):
    population = replace(PRESET.population, **changes)
    return population.draw(n, seed, labels=("lens",) * n)


def test_images_of_several_bands_name_them():
    for table, names in (
        (simulate(PRESET, 2), ["g", "r", "i"]),
        (simulate("model-iii-noisy", 1, instrument="des-i,des-g"), ["i", "g"]),
    ):
        assert next(table.records()).metadata["bands"] == names
    assert "bands" not in next(simulate("model-iii-noisy", 1).records()).metadata


def test_numbers_of_a_row_are_its_own_and_have_their_distribution():
    together = RowDraws(3, range(400), "scene")
    first, second, third = together.random(), together.uniform(2, 5, 100), together.normal(1.0, 2.0, 100)
    alone = RowDraws(3, [7], "scene")
    assert alone.random()[0] == first[7]
    assert np.array_equal(alone.uniform(2, 5, 100)[0], second[7])
    assert stats.kstest(second.ravel(), stats.uniform(2, 3).cdf).pvalue > 1e-3
    assert stats.kstest(third.ravel(), stats.norm(1, 2).cdf).pvalue > 1e-3
    counts = RowDraws(3, range(20_000), "counts").poisson(2.5, 12)
    assert counts.mean() == pytest.approx(2.5, abs=0.05)
    assert counts.var() == pytest.approx(2.5, abs=0.1)


def test_any_prior_may_be_fixed():
    assert Fixed(0.3).draw(RowDraws(3, [7, 8], "scene")).tolist() == [0.3, 0.3]
    assert Fixed(0.3).draw(RowDraws(3, [7, 8], "scene"), 3).shape == (2, 3)
    fixed = replace(PRESET.population, lens_mag=Fixed(19.0), z_lens_at=Fixed(0.4), source_r=Fixed(0.2), clump=Fixed(0.1))
    assert (fixed.draw(3, 4, labels=("lens",) * 3).truth["lens_mag"] == 19.0).all()
    survey = replace(PRESET.survey, seeing=(Fixed(0.8),) * 3, recording=replace(PRESET.survey.recording, depth=Fixed(1.0)))
    images, truth = survey.images(fixed.draw(2, 4), SHAPE)
    assert images.shape == (2, 3, *SHAPE)
    assert truth["seeing"].tolist() == [0.8, 0.8]


def test_the_lens_bends_as_much_light_as_its_magnification_says():
    """What survey and seeing leave of the arcs is what a fine grid of rays finds, and more than the source has unlensed."""
    scene = lenses(12, source_R=PRESET.population.source_R, clump=replace(PRESET.population.clump, high=-0.1))
    flux = PRESET.survey.flux(scene, SHAPE, np.full((12, 3), 0.6))[1].sum((1, 2))
    step = 0.02
    grid = torch.arange(-6.0, 6.0, step, dtype=torch.float64) + step / 2
    magnified = scene.source[0].intensity(*scene.trace(grid[None, :], grid[:, None])).sum((1, 2)).numpy() * step**2
    assert flux == pytest.approx(magnified, rel=0.02)
    unlensed = 10 ** (-0.4 * (scene.truth["source_mag"] - PRESET.instrument.zero_point))
    assert scene.source[0].total_flux().numpy() == pytest.approx(unlensed)
    assert (magnified / unlensed > 1.5).all()


def test_magnitudes_reach_the_detector_in_every_band():
    """Lights well inside the frame, a star and a small galaxy: the flux of a band is that of its magnitude there."""
    place = {"center_x": torch.tensor([0.3]), "center_y": torch.tensor([-0.4])}
    radius, index, e1, e2 = torch.tensor([[0.3], [1.0], [0.2], [0.1]])
    profile = SersicEllipse(SersicEllipse.amp_for_flux(1.0, radius, index), radius, index, e1, e2, **place)
    mag = torch.tensor([[21.0, 20.0, 19.0]], dtype=torch.float64)
    row, nothing = torch.zeros(1, dtype=torch.int64), torch.zeros(0)
    none = Stars(nothing, nothing, torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3))
    star = Stars(torch.tensor([0.3]), torch.tensor([-0.4]), row, mag)
    scene = PRESET.population.draw(1, 0)
    for sky in (Sky((Lights(profile, row, mag),), none), Sky((), star)):
        flux = PRESET.survey.flux(replace(scene, sky=sky), SHAPE, np.full((1, 3), 0.6))[0][0]
        expected = [10 ** (-0.4 * (m - i.zero_point)) for m, i in zip((21.0, 20.0, 19.0), PRESET.survey.instruments, strict=True)]
        assert flux.sum((1, 2)) == pytest.approx(expected, rel=0.015)  # pixels are sampled, not integrated


def test_a_star_has_the_seeing_as_its_width():
    image = torch.zeros(1, 1, 90, 90)
    image[0, 0, 45, 45] = 1.0
    seen = blur(image, torch.tensor([[4.0]]), SHAPE)[0, 0].numpy()
    assert seen.sum() == pytest.approx(1.0, abs=1e-3)
    profile = seen[32, 32:] / seen[32, 32]
    assert 2 * np.interp(-0.5, -profile, np.arange(32)) == pytest.approx(4.0, rel=0.03)


def test_counts_are_exact_and_rows_are_the_same_in_any_slice():
    share = configured("lens-finding", positives=Fraction(1730, 30405))
    labels = np.array(share.labels(30405))
    assert (labels == "lens").sum() == 1730
    assert np.array_equal(share.labels(500, 20_000), labels[20_000:20_500])
    assert np.diff(np.flatnonzero(labels == "lens")).max() == 18
    table = simulate(configured("lens-finding", positives=Fraction(7, 60)), 60, seed=2)
    assert (table.labels == "lens").sum() == 7
    assert table.manifest["positives"] == "7/60"
    assert table.manifest["difficulty"] == 0.2


def test_truth_is_there_where_it_applies_and_nowhere_else():
    table = simulate("lens-finding", 60, seed=1)
    lens = table.labels == "lens"
    for name in ("theta_E", "source_mag", "lens_mag", "snr", "z_lens", "z_source", "kind"):
        assert np.array_equal(np.isfinite(table.column(name)), ~lens if name == "kind" else lens), name
    assert np.isfinite(table.column("seeing")).all()
    assert set(table.column("kind")[~lens]) <= set(range(len(KINDS)))
    assert (table.column("z_source")[lens] > table.column("z_lens")[lens]).all()
    images = table.images()
    assert np.array_equal(images.min((2, 3)), np.zeros((60, 3), np.float32))
    assert np.array_equal(images.max((2, 3)), np.ones((60, 3), np.float32))


def test_signal_to_noise_is_that_of_the_arcs():
    """Twice the exposure, and arcs that a background of the same brightness hides: S/N goes as the square root of time."""
    instruments = tuple(replace(i, exposure_time=4 * i.exposure_time) for i in PRESET.survey.instruments)
    deeper, scene = replace(PRESET.survey, instruments=instruments), lenses(10)
    once, four = PRESET.survey.images(scene, SHAPE)[1]["snr"], deeper.images(scene, SHAPE)[1]["snr"]
    assert four == pytest.approx(2 * once, rel=1e-4)
    assert (once > 3).all()


def test_difficulty_moves_what_it_says():
    easy, hard = (replace(PRESET, population=LensFinding(difficulty=d, zero_point=28.61)) for d in (0.0, 1.0))
    first, second = easy.draw(2000, 3), hard.draw(2000, 3)
    assert np.nanmedian(first.truth["theta_E"]) > np.nanmedian(second.truth["theta_E"]) + 0.4
    arcs = [np.nanmedian(s.truth["source_mag"]) for s in (first, second)]
    assert arcs[1] > arcs[0] + 0.8
    for scene, which in ((first, 0), (second, 1)):
        kinds = scene.truth["kind"][~np.isnan(scene.truth["kind"])].astype(int)
        expected = np.array([w[which] for w in WEIGHTS.values()])
        found = np.bincount(kinds, minlength=len(KINDS))
        assert stats.chisquare(found, expected / expected.sum() * len(kinds)).pvalue > 1e-3


def test_the_middle_galaxy_of_lenses_and_of_their_mimics_is_the_same():
    """No leak: magnitudes, sizes and places of the red galaxy, and of neighbours, have one distribution for both classes."""
    scene = PRESET.population.draw(3000, 8)
    is_lens = np.array(scene.labels) == "lens"
    light = scene.lens_light[0]
    mimics = np.isin(scene.truth["kind"], [KINDS.index(k) for k in ("elliptical", "satellites", "tidal", "ring", "merger")])
    for value in (light.total_flux(), light.R_sersic, light.center_x, light.center_y, torch.hypot(light.e1, light.e2)):
        assert stats.ks_2samp(value.numpy()[is_lens], value.numpy()[mimics]).pvalue > 1e-3
    neighbours = np.bincount(scene.sky.stars.row.numpy(), minlength=3000)
    assert neighbours[is_lens].mean() == pytest.approx(neighbours[~is_lens & (scene.truth["kind"] != 7)].mean(), abs=0.06)


def test_noise_is_nearly_white_and_as_deep_as_the_exposure():
    scene = PRESET.population.draw(30, 2)
    empty = np.zeros((30, *SHAPE), np.float32)
    empty[:, 0, 0] = 1e3  # fixes the scale
    instrument = PRESET.survey.instruments[2]
    images, sigma = PRESET.recording.scaled(empty, instrument, 2, scene.rows, 2)
    noise = images[:, 4:, :]
    relative = noise.std((1, 2)) * (1e3 / sigma[:, 10, 10])  # the range is 1e3 and a few sigma
    assert relative == pytest.approx(np.ones(30), rel=0.05)
    centred = noise - noise.mean((1, 2), keepdims=True)
    assert (centred[:, 1:] * centred[:, :-1]).mean() / (centred**2).mean() == pytest.approx(0.131, abs=0.01)


@pytest.fixture
def cutouts(tmp_path):
    images = np.random.default_rng(0).normal(10.0, 2.0, (12, 3, 70, 68)).astype(np.float32)
    images[:, :, 30:40, 30:40] += 30.0
    (tmp_path / "galaxies").mkdir()
    for i, image in enumerate(images):
        np.save(tmp_path / "galaxies" / f"{i}.npy", image)
    return tmp_path / "galaxies"


def test_real_galaxies_take_the_place_of_simulated_ones(cutouts):
    preset = configured("lens-finding", galaxies=cutouts)
    scene = preset.draw(20, 5)
    images, truth = preset.images(scene)
    is_lens = np.array(scene.labels) == "lens"
    assert np.isnan(truth["lens_mag"]).all()
    assert np.array_equal(np.isfinite(truth["snr"]), is_lens)
    noise = np.diff(images[:, 2, :12], axis=-1).std((1, 2))
    high = images[~is_lens][:, 2, 30:34, 30:34].mean((1, 2)) - np.median(images[~is_lens][:, 2], (1, 2))
    assert high / noise[~is_lens] * 2**0.5 == pytest.approx(15.0, rel=0.1)  # 30 / 2, whatever the scale
    part, _ = preset.images(preset.draw(3, 5, 7))
    assert np.array_equal(part, images[7:10])
    shares = {"train": 0.6, "validation": 0.2, "test": 0.2}
    origins = {name: configured("lens-finding", galaxies=cutouts, galaxies_part=(name, shares)).survey.galaxies for name in shares}
    assert sum(len(g.images) for g in origins.values()) == 12
    assert len({image.tobytes() for g in origins.values() for image in g.images}) == 12


def test_what_cannot_be_asked_is_refused(cutouts):
    with pytest.raises(InputError, match="difficulty 2 is outside 0 to 1"):
        configured("lens-finding", difficulty=2.0)
    with pytest.raises(InputError, match="no difficulty"):
        configured("model-iii", difficulty=0.5)
    with pytest.raises(InputError, match="two classes"):
        configured("model-iii", positives=Fraction(1, 3))
    with pytest.raises(InputError, match="no galaxies to replace"):
        configured("model-iii", galaxies=cutouts)
    with pytest.raises(InputError, match="seeing of its own"):
        PRESET.with_psf(PRESET.instrument.psf)
    with pytest.raises(InputError, match="bands of its survey"):
        configured("lens-finding", instrument="hsc-i")
    with pytest.raises(InputError, match="samples light in its own way"):
        configured("lens-finding", supersampling=2)
