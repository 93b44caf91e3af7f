import math

import numpy as np
import pytest
from scipy import stats

from darklens.simulate import PRESETS
from darklens.simulate.populations import CommonTest, DeepLenseSim, de_broglie_arcsec
from darklens.simulate.priors import PowerLaw, Quantiles, Uniform


def test_deeplensesim_numbers_as_published():
    population = DeepLenseSim(source_amp=20.0)
    scene = population.draw(300, seed=5)
    assert scene.labels[:4] == ("no_sub", "cdm", "axion", "no_sub")
    assert scene.truth["theta_E"] == pytest.approx(1.28149, abs=2e-5)
    assert (scene.n_perturbers[0::3] == 0).all()
    assert (scene.n_perturbers[1::3] == 25).all()
    assert (scene.n_perturbers[2::3] == 100).all()
    log10_m = scene.truth["log10_m_axion"][2::3]
    assert stats.kstest(log10_m, stats.uniform(-24, 2).cdf).pvalue > 1e-3
    assert scene.truth["vortex_half_length"][2::3] == pytest.approx(0.06 / (2 * 10**log10_m / 1e-22))
    assert np.isnan(scene.truth["log10_m_axion"][:2]).all()
    for name in ("source_x", "source_y"):
        assert stats.kstest(scene.truth[name], stats.uniform(-0.35, 0.7).cdf).pvalue > 1e-3


def test_models_ii_and_iii_rescale_every_deflection():
    population = PRESETS["model-iii"].population
    scene = population.draw(3, seed=0)
    assert scene.truth["theta_E"][0] == pytest.approx(0.81286, abs=1e-5)
    assert scene.truth["gamma1"][0] == pytest.approx(0.05 * 0.63431, abs=1e-6)
    published = DeepLenseSim(source_amp=1.0).draw(3, seed=0)
    ratio = scene.substructure[0].theta_E[1, :25] ** 2 / published.substructure[0].theta_E[1, :25] ** 2
    assert np.allclose(ratio, 0.63431, atol=1e-5)


def test_subhalo_masses_follow_the_power_law():
    law = PowerLaw(-0.9, 1e6, 1e10)
    masses = law.draw(np.random.default_rng(1), 20_000)
    cdf = stats.uniform(0, 1)
    u = (masses**0.1 - 1e6**0.1) / (1e10**0.1 - 1e6**0.1)
    assert stats.kstest(u, cdf.cdf).pvalue > 1e-3
    assert masses.mean() == pytest.approx(law.mean(), rel=0.05)
    assert 25 * law.mean() == pytest.approx(3.8e10, rel=0.02)  # defect 2: not 3.4e8


def test_vortex_is_a_centred_string_of_its_mass():
    scene = DeepLenseSim(source_amp=1.0).draw(30, seed=9)
    (points,) = scene.substructure
    for i in range(2, 30, 3):
        x, y = points.center_x[i].numpy(), points.center_y[i].numpy()
        assert abs(x.mean()) < 1e-12
        assert math.hypot(x[-1] - x[0], y[-1] - y[0]) / 2 == pytest.approx(scene.truth["vortex_half_length"][i])
        total = float((points.theta_E[i] ** 2).sum())
        assert total / 1.281490**2 == pytest.approx(3e10 / 1e12, rel=1e-5)


def test_de_broglie_length():
    assert de_broglie_arcsec(1e-24) == pytest.approx(3.0)
    assert de_broglie_arcsec(1e-22) == pytest.approx(0.03)


def test_common_test_population_as_measured():
    scene = CommonTest().draw(3000, seed=2)
    theta = scene.truth["theta_E"]
    assert stats.kstest(theta, stats.uniform(0.95, 0.68).cdf).pvalue > 1e-3
    gamma = np.hypot(scene.truth["gamma1"], scene.truth["gamma2"])
    assert stats.kstest(gamma, stats.uniform(0, 0.3).cdf).pvalue > 1e-3
    angle = np.degrees(np.arctan2(scene.truth["gamma2"], scene.truth["gamma1"])) / 2
    assert -6.2832 <= angle.min() < angle.max() <= 0
    sphere, vort = scene.substructure[0].theta_E[1::3], scene.substructure[0].theta_E[2::3]
    fraction = (sphere**2).sum(1).numpy() / theta[1::3] ** 2
    assert fraction == pytest.approx(scene.truth["f_sub"][1::3])
    assert (vort**2).sum(1).numpy() == pytest.approx(scene.truth["vortex_theta_v"][2::3] ** 2)


@pytest.mark.parametrize("prior", [Uniform(-1, 2), Quantiles((0, 0.3, 1), (1, 2, 5)), PowerLaw(-1.9, 1, 100)])
def test_priors_draw_the_same_alone_and_together(prior):
    alone, together = np.random.default_rng(3), np.random.default_rng(3)
    assert np.allclose([prior.draw(alone) for _ in range(5)], prior.draw(together, 5))
