import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from darklens.errors import InputError
from darklens.lensing import EPL, CoredTNFWHalos, Cosmology, PointMasses, TNFWHalos
from darklens.simulate import INSTRUMENTS, PRESETS, preset, render, simulate
from darklens.simulate import halos as h
from darklens.simulate.populations import LineOfSight, Perturber, Subhalos
from darklens.simulate.populations.dark_matter import DarkMatter, halo_profiles
from darklens.simulate.priors import Fixed, PowerLaw, Uniform

COSMOLOGY = Cosmology()
LAW = PowerLaw(-1.9, 3e7, 1e10)


def population(**change):
    return Subhalos(zero_point=25.96, **change)


def total_masses(profile):
    """Masses in M_sun of haloes by the deflection far away, where `alpha r = m / (pi Sigma_cr)`; those of padding are zero."""
    critical = COSMOLOGY.critical_surface_density(0.5, 1.0)
    out = torch.zeros_like(profile.alpha_Rs)
    for n in range(out.shape[1]):
        one = dataclasses.replace(profile, **{f.name: getattr(profile, f.name)[:, n : n + 1] for f in dataclasses.fields(profile)})
        far = 1e4 * one.r_trunc[:, :1, None]
        alpha, _ = one.deflection(one.center_x[:, :1, None] + far, one.center_y[:, :1, None])
        out[:, n] = (alpha * far)[:, 0, 0] * math.pi * critical
    return out.numpy()


def masses_of(scene, rows):
    masses = total_masses(scene.select(np.asarray(rows)).substructure[0])
    return masses[masses > 0]


def test_masses_follow_the_mass_function():
    population_ = population(classes=("cdm",), f_sub=Fixed(0.01))
    scene = population_.draw(16, seed=3)
    mass = masses_of(scene, range(16))
    k = LAW.slope + 1
    u = (mass**k - LAW.low**k) / (LAW.high**k - LAW.low**k)
    assert len(mass) > 800
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    assert mass.sum() == pytest.approx(scene.truth["m_sub"].sum(), rel=1e-3)


def test_each_lens_has_the_slope_that_was_drawn_for_it_and_the_mass_of_its_fraction():
    law, f_sub = PowerLaw(-1.9, 1e8, 1e10), 0.02
    varied = population(classes=("cdm", "no_sub"), m_sub=law, f_sub=Fixed(f_sub), slope_sub=Uniform(-2.3, -1.5), theta_E=Fixed(1.1))
    scene = varied.draw(400, seed=4)
    cold = np.array(scene.labels) == "cdm"
    slope = scene.truth["slope_sub"]
    assert np.isnan(slope[~cold]).all()
    assert -2.3 <= slope[cold].min() < -2.2 < -1.6 < slope[cold].max() <= -1.5
    steep, flat = (np.flatnonzero(cold & near)[:12] for near in (slope < -2.15, slope > -1.65))
    for rows in (steep, flat):
        found, expected = np.log(masses_of(scene, rows)), slope[rows].mean() + 1
        grid = np.linspace(np.log(law.low), np.log(law.high), 4001)
        weight = np.exp(expected * grid)
        assert found.mean() == pytest.approx((grid * weight).sum() / weight.sum(), abs=0.12)
    disc = math.pi * (2 * 1.1) ** 2 * COSMOLOGY.critical_surface_density(0.5, 1.0)
    assert scene.truth["m_sub"][cold].mean() == pytest.approx(f_sub * disc, rel=0.08)  # whatever the slope
    assert scene.truth["m_sub"][cold & (slope < -1.9)].mean() == pytest.approx(f_sub * disc, rel=0.1)


def test_the_mean_of_a_power_law_has_no_hole_at_minus_two():
    means = [PowerLaw(slope, 1e8, 1e10).mean() for slope in (-2 - 1e-6, -2.0, -2 + 1e-6)]
    assert means == pytest.approx([means[1]] * 3, rel=1e-4)
    draws = PowerLaw(-2.0, 1e8, 1e10).draw(np.random.default_rng(0), 400_000)
    assert draws.mean() == pytest.approx(means[1], rel=0.02)


def test_number_is_poisson_and_total_mass_is_f_sub_of_the_lens():
    f_sub, theta_E, r_max = 0.01, 1.1, 1.5
    fixed = {"f_sub": Fixed(f_sub), "theta_E": Fixed(theta_E), "r_max": r_max}
    scene = population(classes=("cdm",), m_sub=PowerLaw(-1.9, 1e7, 1e9), **fixed).draw(800, seed=1)
    number, mass = scene.truth["n_sub"], scene.truth["m_sub"]
    disc = math.pi * (r_max * theta_E) ** 2 * COSMOLOGY.critical_surface_density(0.5, 1.0)
    mean = f_sub * disc / PowerLaw(-1.9, 1e7, 1e9).mean()
    assert number.mean() == pytest.approx(mean, abs=4 * math.sqrt(mean / 800))
    assert number.var() / number.mean() == pytest.approx(1, abs=5 * math.sqrt(2 / 800))  # index of dispersion
    assert mass.mean() == pytest.approx(f_sub * disc, abs=4 * mass.std() / 800**0.5)
    assert (scene.n_perturbers == number).all()


def test_theta_E_is_that_of_all_mass():
    """The expected mass within the Einstein radius is the same with substructure as without."""
    scene = population(f_sub=Fixed(0.02)).draw(40, seed=8)
    theta = torch.as_tensor(scene.truth["theta_E"])
    cold = np.array(scene.labels) == "cdm"
    assert scene.macro_alone[0].theta_E == pytest.approx(theta)
    assert (scene.macro[0].theta_E / theta)[torch.as_tensor(cold)] == pytest.approx(0.98)
    warm = np.array(scene.labels) == "wdm"
    taken = 1 - (scene.macro[0].theta_E / theta).numpy()[warm]
    edges = np.geomspace(3e7, 1e10, 4001)
    middle = np.sqrt(edges[1:] * edges[:-1])
    weight = np.diff(edges) * middle**-0.9
    for value, log10_m in zip(taken, scene.truth["log10_m_hm"][warm], strict=True):
        assert value == pytest.approx(0.02 * (weight @ h.warm_suppression(middle, 10**log10_m)) / weight.sum(), rel=1e-3)
    epl = population(classes=("cdm",), lens_profile=EPL, gamma=Fixed(2.2), f_sub=Fixed(0.02)).draw(1, seed=8)
    alpha = [
        profile[0].deflection(epl.macro_alone[0].theta_E + epl.macro[0].center_x, epl.macro[0].center_y)[0]
        for profile in (
            tuple(dataclasses.replace(m, e1=torch.zeros(1), e2=torch.zeros(1)) for m in group[:1])
            for group in (epl.macro, epl.macro_alone)
        )
    ]
    assert float(alpha[0] / alpha[1]) == pytest.approx(0.98, rel=1e-6)


@pytest.mark.parametrize("radial", ["uniform", "nfw"])
def test_radial_profile(radial):
    fixed = {"theta_E": Fixed(1.2), "lens_x": Fixed(0.0), "lens_y": Fixed(0.0), "f_sub": Fixed(0.02), "host_scale": 20.0}
    many = population(classes=("cdm",), radial=radial, **fixed)
    scene = many.draw(12, seed=2)
    sub = scene.substructure[0]
    there = sub.alpha_Rs != 0
    r, angle = torch.hypot(sub.center_x, sub.center_y)[there].numpy(), torch.atan2(sub.center_y, sub.center_x)[there].numpy()
    assert stats.kstest(angle, stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > 1e-3
    assert r.max() <= 2.4
    if radial == "uniform":
        assert stats.kstest((r / 2.4) ** 2, "uniform").pvalue > 1e-3
        return
    scale = 20.0 / h.kpc_per_arcsec(0.5, COSMOLOGY)

    def surface(x):  # the density of the NFW profile, integrated along the line of sight
        return 2 * integrate.quad(lambda z: 1 / (math.hypot(x, z) * (1 + math.hypot(x, z)) ** 2), 0, np.inf)[0]

    grid = np.linspace(1e-3, 2.4 / scale, 120)
    cdf = np.concatenate([[0], integrate.cumulative_simpson(grid * np.array([surface(x) for x in grid]), x=grid)])
    assert stats.kstest(r / scale, lambda x: np.interp(x, grid, cdf / cdf[-1])).pvalue > 1e-3
    inside = (r < 1.2).sum() / len(scene) / LAW.mean() ** -1
    expected = 0.02 * math.pi * 1.2**2 * COSMOLOGY.critical_surface_density(0.5, 1.0)
    assert inside == pytest.approx(expected, rel=5 / math.sqrt((r < 1.2).sum()))


def test_warm_dark_matter_is_thinned_out_as_the_half_mode_mass_says():
    fixed = {"theta_E": Fixed(1.2), "f_sub": Fixed(0.02), "log10_m_hm": Fixed(8.5)}
    scene = population(classes=("cdm", "wdm"), **fixed).draw(24, seed=4)
    cold, warm = masses_of(scene, range(0, 24, 2)), masses_of(scene, range(1, 24, 2))
    for low, high in ((3e7, 1e8), (1e8, 3e8), (3e8, 3e9)):
        n_cold, n_warm = ((m > low) & (m < high) for m in (cold, warm))
        middle = np.geomspace(low, high, 400)
        weight = middle**-0.9
        expected = weight @ h.warm_suppression(middle, 10**8.5) / weight.sum()
        error = math.sqrt(expected * (1 + expected) / n_cold.sum())
        assert n_warm.sum() / n_cold.sum() == pytest.approx(expected, abs=4 * error)


def test_cores_of_self_interacting_haloes_grow_with_the_cross_section():
    mass, c = np.array([1e8]), np.array([15.0])
    core = [float(h.core_radius(mass, c, 0.5, s, COSMOLOGY)[0]) for s in (0.1, 1.0, 10.0)]
    assert core == sorted(core)
    # rho(r) sigma/m <v> t = 1 in cgs, for 1 cm^2/g
    rho_s = 200 / 3 * 233 * 15**3 / (math.log(16) - 15 / 16) * 6.77e-32  # g/cm^3
    v_max = 7.36 * math.sqrt(0.216 * 15 / (math.log(16) - 15 / 16))  # V_200 = 7.36 km/s
    scatterings = rho_s / (core[1] * (1 + core[1]) ** 2) * 4 / math.sqrt(3 * math.pi) * v_max * 1e5 * 5e9 * 3.156e7
    assert scatterings == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("matter", [DarkMatter(), DarkMatter(m_half_mode=1e9), DarkMatter(cross_section=5.0)])
def test_a_halo_bends_light_with_its_mass(matter):
    rng = np.random.default_rng(5)
    mass = np.geomspace(1e7, 1e10, 6)
    r_trunc = h.tidal_radius(mass, np.full(6, 100.0)) / h.kpc_per_arcsec(0.5, COSMOLOGY)
    ((profile, values),) = halo_profiles(mass, r_trunc, *np.zeros((2, 6)), 0.5, 1.0, matter, 0.11, rng).items()
    halos = profile(**{k: torch.from_numpy(v)[:, None] for k, v in values.items()})
    assert profile is (CoredTNFWHalos if matter.cross_section else TNFWHalos)
    assert total_masses(halos)[:, 0] == pytest.approx(mass, rel=2e-3)


def test_numbers_of_the_literature():
    assert float(h.concentration(np.array([1e12 / 0.7]), 0.0, COSMOLOGY)[0]) == pytest.approx(10**0.905)
    assert float(h.virial_radius(np.array([1e12]), 0.0, COSMOLOGY)[0]) == pytest.approx(206, abs=1)
    assert h.half_mode_mass(3.0) == pytest.approx(5e8)
    assert float(h.tidal_radius(np.array([1e7]), np.array([50.0]))[0]) == pytest.approx(1.4)
    assert h.warm_suppression(np.array([4.2e8]), 1e8)[0] == pytest.approx(2**-0.2)


def test_agrees_with_pyhalo():
    pytest.importorskip("pyHalo")
    from pyHalo.Halos.lens_cosmo import LensCosmo
    from pyHalo.Halos.tidal_truncation import TruncationRoche
    from pyHalo.mass_function_models import preset_mass_function_models

    mass = np.geomspace(1e7, 1e10, 7)
    model, warm = preset_mass_function_models("SHMF_LOVELL2020")
    theirs = (1 + warm["a_wdm"] * (1e8 / mass) ** warm["b_wdm"]) ** warm["c_wdm"]
    drawn = model(7.0, 10.0, -1.9, draw_poisson=True, normalization=2e10, log_mc=8.0, **warm).draw()
    ours = PowerLaw(-1.9, 1e7, 1e10).draw(np.random.default_rng(1), 20_000)
    ours = ours[np.random.default_rng(2).random(len(ours)) < h.warm_suppression(ours, 1e8)]
    assert min(len(drawn), len(ours)) > 1000
    assert stats.ks_2samp(drawn, ours).pvalue > 1e-3
    assert h.warm_suppression(mass, 1e8) == pytest.approx(theirs, rel=1e-4)
    for m in mass:
        assert float(h.tidal_radius(m, 80.0)) == pytest.approx(TruncationRoche().truncation_radius(m, 80.0), abs=1e-3)
    assert h.half_mode_mass(4.0) == pytest.approx(float(LensCosmo(0.5, 1.0).mthermal_to_halfmode(4.0)[0]), rel=0.15)  # another fit


def test_mass_function_of_haloes_agrees_with_colossus():
    cosmology = pytest.importorskip("colossus.cosmology.cosmology")
    from colossus.lss import mass_function

    from darklens.simulate.halo_mass_function import sheth_tormen

    parameters = {"flat": True, "H0": 70.0, "Om0": 0.3, "Ob0": 0.048, "sigma8": 0.81, "ns": 0.965}
    cosmology.setCosmology("darklens", persistence="", **parameters)
    mass = np.geomspace(1e8, 1e14, 7)
    for z in (0.0, 0.5, 1.5):
        theirs = mass_function.massFunction(mass * 0.7, z, mdef="fof", model="sheth99", q_out="dndlnM") * 0.7**3
        assert mass * sheth_tormen(mass, z, COSMOLOGY) == pytest.approx(theirs, rel=0.05)


def test_line_of_sight_numbers_and_narrowing():
    los = LineOfSight(n_planes=6)
    scene = population(classes=("no_sub", "cdm"), line_of_sight=los, theta_E=Fixed(1.0)).draw(60, seed=6)
    redshifts = [z for z, _ in scene.planes]
    assert redshifts == sorted(redshifts)
    assert 0 < redshifts[0] < redshifts[-1] < 1.0
    assert (scene.truth["n_los"][0::2] == 0).all()
    number = scene.truth["n_los"][1::2]
    assert number.var() / number.mean() == pytest.approx(1, abs=5 * math.sqrt(2 / 30))
    assert (scene.n_perturbers == scene.truth["n_los"] + scene.truth["n_sub"]).all()
    for z, (sheet, haloes, *_) in scene.planes:
        r = torch.hypot(haloes.center_x, haloes.center_y)[haloes.alpha_Rs != 0]
        assert float(r.max()) <= 2.0 * (
            1.0
            if z < 0.5
            else 1 - COSMOLOGY.distance(z, 0.5) / COSMOLOGY.distance(z) / (COSMOLOGY.distance(1.0, 0.5) / COSMOLOGY.distance(1.0))
            if z < 0.7
            else 1.0
        )
        assert (sheet.kappa[1::2] < 0).all()
        assert (sheet.kappa[0::2] == 0).all()


def test_the_sheet_takes_out_what_the_haloes_of_a_plane_add():
    scene = population(classes=("cdm",), line_of_sight=LineOfSight(m_high=1e8), theta_E=Fixed(1.2)).draw(80, seed=7)
    for z, (sheet, haloes, *_) in scene.planes[:3]:  # before the lens the cone is 2 theta_E wide
        scale = h.sigma_critical(z, 1.0, COSMOLOGY) / COSMOLOGY.critical_surface_density(0.5, 1.0)
        mass = total_masses(haloes) * scale
        kappa = mass.sum(1).mean() / (math.pi * 2.4**2 * h.sigma_critical(z, 1.0, COSMOLOGY))
        spread = mass.sum(1).std() / mass.sum(1).mean() / math.sqrt(80)
        assert float(-sheet.kappa[0]) == pytest.approx(kappa, rel=4 * spread)


@pytest.mark.parametrize("name", ["subhalos", "subhalos-axion", "subhalos-los", "perturber"])
def test_rows_do_not_depend_on_the_batch(name):
    chosen = dataclasses.replace(preset(name), shape=(24, 24))
    whole, truth = chosen.images(chosen.population.draw(9, seed=5))
    for start, size in ((0, 1), (2, 7), (8, 1)):
        part, columns = chosen.images(chosen.population.draw(size, seed=5, start=start))
        assert np.array_equal(part, whole[start : start + size]), f"rows {start} to {start + size}"
        for column, values in truth.items():
            assert np.array_equal(columns[column], values[start : start + size], equal_nan=True), column


def test_a_table_is_the_same_in_batches_of_seven(monkeypatch):
    from darklens.simulate import write

    chosen = dataclasses.replace(preset("subhalos"), shape=(16, 16))
    whole = simulate(chosen, 16, seed=5)
    monkeypatch.setattr(write, "ROWS_AT_ONCE", 7)
    parts = simulate(chosen, 16, seed=5)
    assert list(whole.ids) == list(parts.ids)
    assert np.array_equal(whole.images(), parts.images())
    assert np.array_equal(whole.column("m_sub"), parts.column("m_sub"))


@pytest.mark.parametrize(("row", "group"), [(1, 0), (3, 1)])
def test_padding_never_changes_an_image(row, group):
    from darklens.simulate.populations.base import stacked

    scene = preset("subhalos").population.draw(4, seed=2).select(np.array([row]))
    halos = scene.substructure[group]
    names = [f.name for f in dataclasses.fields(halos)]
    one = {name: getattr(halos, name)[0].numpy() for name in names}
    two = {name: np.tile(values, 2) for name, values in one.items()}
    padded = stacked(type(halos), [one, two])  # the first row is half padding now
    first = dataclasses.replace(padded, **{name: getattr(padded, name)[:1] for name in names})
    wider = dataclasses.replace(scene, substructure=(first,))
    x, y = torch.linspace(-2, 2, 30, dtype=torch.float64)[None], torch.linspace(-2, 2, 30, dtype=torch.float64)[:, None]
    for mine, theirs in zip(scene.trace(x, y), wider.trace(x, y), strict=True):
        assert torch.equal(mine, theirs)
    assert (wider.n_perturbers == scene.n_perturbers).all()


def test_classes_differ_in_substructure_alone_and_rings_are_within_the_frame():
    chosen = preset("subhalos")
    scene = chosen.population.draw(60, seed=3)
    flux = render(scene.smooth(), chosen.instrument, chosen.shape).numpy()
    total = flux.sum((1, 2))
    border = total - flux[:, 4:-4, 4:-4].sum((1, 2))
    assert np.median(border / total) < 0.02
    noise = np.sqrt(np.maximum(flux, 0) / chosen.instrument.total_exposure + chosen.instrument.background_sigma**2)
    signal = np.sqrt(((flux / noise) ** 2).sum((1, 2)))
    assert 150 < np.median(signal) < 1500  # HST lenses of SLACS and BELLS


def test_single_perturber_stands_where_truth_says():
    scene = Perturber(zero_point=25.96).draw(200, seed=1)
    (halo,) = scene.substructure
    rows = slice(1, None, 2)
    assert halo.center_x[rows, 0].numpy() == pytest.approx(scene.truth["x_sub"][rows])
    assert halo.center_y[rows, 0].numpy() == pytest.approx(scene.truth["y_sub"][rows])
    assert np.isnan(scene.truth["x_sub"][0::2]).all()
    assert stats.kstest(np.log10(scene.truth["m_sub"][rows]), stats.uniform(8, 2).cdf).pvalue > 1e-3
    assert total_masses(halo)[rows, 0] == pytest.approx(scene.truth["m_sub"][rows], rel=2e-3)
    r = np.hypot(scene.truth["x_sub"] - scene.truth["center_x"], scene.truth["y_sub"] - scene.truth["center_y"])[rows]
    assert stats.kstest(r / scene.truth["theta_E"][rows], stats.uniform(0.6, 0.8).cdf).pvalue > 1e-3


def test_axion_vortex_has_its_mass_and_length():
    scene = population(classes=("axion",)).draw(20, seed=2)
    string = scene.substructure[2]
    assert isinstance(string, PointMasses)
    theta_v = string.theta_E.square().sum(1).sqrt().numpy()
    assert theta_v == pytest.approx(COSMOLOGY.einstein_radius_point_mass(3e10, 0.5, 1.0), rel=1e-6)
    length = torch.hypot(string.center_x[:, -1] - string.center_x[:, 0], string.center_y[:, -1] - string.center_y[:, 0]) / 2
    assert length.numpy() == pytest.approx(scene.truth["vortex_half_length"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"theta_E": Uniform(0.0, 1.0)}, "theta_E must be above 0"),
        ({"theta_E": Fixed(-1.0)}, "theta_E must be above 0"),
        ({"f_sub": Fixed(-0.1)}, "f_sub must be from 0 to 1"),
        ({"f_sub": Uniform(0.5, 1.2)}, "f_sub must be from 0 to 1"),
        ({"f_sub": Fixed(0.5), "m_sub": PowerLaw(-1.9, 1e5, 1e10)}, "100,000 is the limit"),
        ({"f_sub": Fixed(math.nan)}, "must be finite"),
        ({"classes": ("no_sub", "cmd")}, "did you mean 'cdm'"),
        ({"radial": "NFW"}, "did you mean 'nfw'"),
        ({"z_lens": 1.2}, "lens must stand between"),
        ({"host_scale": 0.0}, "must be above 0"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(change, message):
    with pytest.raises(InputError, match=message) as error:
        population(**change)
    assert "\n" not in str(error.value)


def test_limits_out_of_order_are_refused():
    with pytest.raises(InputError, match="power law between"):
        PowerLaw(-1.9, 1e10, 1e7)
    with pytest.raises(InputError, match="uniform between"):
        Uniform(2.0, 1.0)
    with pytest.raises(InputError, match="haloes from"):
        LineOfSight(m_low=1e9, m_high=1e8)


def test_another_instrument_sees_the_same_haloes():
    chosen = preset("subhalos")
    seen = chosen.observed_by(INSTRUMENTS["euclid-vis"])
    mine, theirs = (p.population.draw(4, seed=3) for p in (chosen, seen))
    assert torch.equal(mine.substructure[0].alpha_Rs, theirs.substructure[0].alpha_Rs)
    ratio = theirs.source[0].amp / mine.source[0].amp
    assert ratio.numpy() == pytest.approx(10 ** (0.4 * (25.72 - 25.96)))
    assert PRESETS["subhalos"].classes == ("no_sub", "cdm", "wdm", "sidm")
