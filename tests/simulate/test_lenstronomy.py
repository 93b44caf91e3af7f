"""Scenes as lenstronomy's keyword arguments: nothing is lost on the way there and back, and both render the same image."""

import json
from dataclasses import fields

import numpy as np
import pytest
import torch

from darklens.errors import InputError
from darklens.lensing import LIGHTS, MASSES, ConvergenceSheet, Cosmology, PointMasses, SersicEllipse, Shear
from darklens.simulate import PRESETS, GaussianPSF, Instrument, Scene, TabulatedPSF, render
from darklens.simulate.interop.lenstronomy import LIGHT_NAMES, MASS_NAMES, POINT_NAMES
from darklens.simulate.interop.systems import MANY

SHAPE = (41, 66)
NO_COUNTERPART = {"Vortex", "UniformLine", "PixelisedPotential", "PixelisedLight", "Spiral", "Ring"}
CENTER = {"center_x": (0.03, -0.1), "center_y": (-0.05, 0.07)}
HALOS = {
    "theta_E": [[0.1, 0.05, 0.02], [0.08, 0, 0]],
    "alpha_Rs": [[0.05, 0.02, 0.01], [0.03, 0, 0]],
    "Rs": [[0.2, 0.1, 0.3], [0.4, 1, 1]],
    "r_core": [[0.02, 0.03, 0.1], [0.04, 0.1, 0.1]],
    "r_trunc": [[0.5, 0.4, 0.2], [1.2, 2, 2]],
    "center_x": [[1, -0.9, 0.1], [0.2, 0, 0]],
    "center_y": [[0.3, 0.7, -0.4], [1, 0, 0]],
}
SHAPES = {"e1": (0.1, -0.2), "e2": (-0.15, 0.05)}

KNOWN = MASSES | LIGHTS | {"ConvergenceSheet": ConvergenceSheet}

MASS_CASES = {
    "SIS": {"theta_E": (1.1, 0.9)} | CENTER,
    "SIE": {"theta_E": (1.2, 0.8)} | SHAPES | CENTER,
    "EPL": {"theta_E": (1.2, 0.8), "gamma": (2.1, 1.8)} | SHAPES | CENTER,
    "Shear": {"gamma1": (0.05, -0.02), "gamma2": (0.01, 0.04)},
    "PointMass": {"theta_E": (1.0, 0.7)} | CENTER,
    "NFW": {"Rs": (3.0, 2.0), "alpha_Rs": (2.0, 1.5)} | CENTER,
    "TNFW": {"Rs": (0.4, 0.2), "alpha_Rs": (0.2, 0.3), "r_trunc": (1.1, 0.7)} | CENTER,
    "CoredTNFW": {"Rs": (0.4, 0.2), "alpha_Rs": (0.2, 0.3), "r_core": (0.1, 0.15), "r_trunc": (1.1, 0.7)} | CENTER,
    "PseudoJaffe": {"sigma0": (1.0, 0.7), "Ra": (0.2, 0.3), "Rs": (1.0, 2.0)} | CENTER,
    "ConvergenceSheet": {"kappa": (0.1, -0.05)} | CENTER,
    "Multipole": {"m": (4.0, 3.0), "a_m": (0.02, -0.03), "phi_m": (0.3, 0.1), "r_E": (1.1, 1.0)} | CENTER,
}
LIGHT_CASES = {
    "Sersic": {"amp": (20.0, 5.0), "R_sersic": (0.25, 0.4), "n_sersic": (1.0, 2.5)} | CENTER,
    "SersicEllipse": {"amp": (20.0, 5.0), "R_sersic": (0.25, 0.4), "n_sersic": (1.0, 2.5)} | SHAPES | CENTER,
    "CoreSersic": {
        "amp": (2.0, 5.0), "R_sersic": (0.6, 0.5), "Rb": (0.2, 0.1), "n_sersic": (2.0, 1.5), "gamma": (0.2, 0.3),
        **SHAPES, **CENTER,
    },
    "Gaussian": {"amp": (20.0, 5.0), "sigma": (0.25, 0.4)} | CENTER,
    "GaussianEllipse": {"amp": (20.0, 5.0), "sigma": (0.25, 0.4)} | SHAPES | CENTER,
}  # fmt: skip


def profile(name, cases):
    values = {k: torch.tensor(v, dtype=torch.float64) if isinstance(v, tuple) else v for k, v in cases[name].items()}
    return KNOWN[name](**values)


SOURCE = (profile("SersicEllipse", LIGHT_CASES),)


def scene_of(masses, source=SOURCE, **more) -> Scene:
    truth = {"theta_E": np.array([1.2, 0.8]), "f_sub": np.array([np.nan, 0.1])}
    given = {"substructure": (), "labels": ("no_sub", "cdm"), "truth": truth, "seed": 7, "rows": (3, 11)} | more
    return Scene(macro=tuple(masses), source=tuple(source), **given)


def perturbers() -> PointMasses:
    return PointMasses(*(torch.tensor(HALOS[name], dtype=torch.float64) for name in ("theta_E", "center_x", "center_y")))


def drawn_by_lenstronomy(system, instrument) -> np.ndarray:
    """Render with lenstronomy: a square frame around ours, whose border it dims, cut to ours."""
    from lenstronomy.Data.pixel_grid import PixelGrid
    from lenstronomy.Data.psf import PSF
    from lenstronomy.ImSim.image_model import ImageModel
    from lenstronomy.Util.class_creator import create_class_instances

    model = dict(system["kwargs_model"])
    if model.get("multi_plane"):
        model["cosmo"] = Cosmology(**system["cosmology"]).astropy
    lens, source, light, points, *_ = create_class_instances(**model)
    scale, margin, wide = instrument.pixel_scale, instrument.psf.margin(instrument.pixel_scale), max(SHAPE)
    n = wide + 2 * margin
    top, left = ((n - size) // 2 for size in SHAPE)
    if isinstance(instrument.psf, GaussianPSF):
        psf = PSF(psf_type="GAUSSIAN", fwhm=instrument.psf.fwhm, pixel_size=scale, truncation=instrument.psf.truncation)
    else:
        psf = PSF(psf_type="PIXEL", kernel_point_source=instrument.psf.kernel)
    x, y = (-((size - 1) / 2 + before) * scale for size, before in ((SHAPE[1], left), (SHAPE[0], top)))
    grid = PixelGrid(nx=n, ny=n, transform_pix2angle=np.eye(2) * scale, ra_at_xy_0=x, dec_at_xy_0=y)
    image = ImageModel(grid, psf, lens, source, light, points, kwargs_numerics={"supersampling_factor": 1})
    parts = {name: system[name] for name in ("kwargs_lens", "kwargs_source", "kwargs_lens_light", "kwargs_ps")}
    whole = image.image(**parts)
    return whole[top : top + SHAPE[0], left : left + SHAPE[1]]


def assert_same_image(scene, fwhm=0.13, psf=None, **options):
    instrument = Instrument("test", 0.08, psf or GaussianPSF(fwhm))
    ours = render(scene, instrument, SHAPE, dtype=torch.float64).numpy()
    for image, system in zip(ours.reshape(len(scene), *SHAPE), scene.to_lenstronomy(**options), strict=True):
        theirs = drawn_by_lenstronomy(system, instrument)
        assert np.abs(image - theirs).max() < 1e-4 * theirs.max()
        assert theirs.max() > 0


def assert_same_scene(scene, back):
    def plain(item):
        masses = [*item.macro, *item.substructure, *(m for _, plane in item.planes for m in plane)]
        profiles = [*masses, *item.source, *item.lens_light, *item.point_source]
        return [(type(p).__name__, {k: torch.as_tensor(v).tolist() for k, v in vars(p).items()}) for p in profiles]

    assert plain(back) == plain(scene)
    assert [z for z, _ in back.planes] == [z for z, _ in scene.planes]
    for name in ("labels", "seed", "rows", "z_lens", "z_source", "cosmology"):
        assert getattr(back, name) == getattr(scene, name)
    assert list(back.truth) == list(scene.truth)
    for name, column in scene.truth.items():
        np.testing.assert_array_equal(back.truth[name], column)


def test_no_profile_is_forgotten():
    known = set(MASS_NAMES) | set(LIGHT_NAMES) | set(POINT_NAMES) | {many.__name__ for many in MANY} | NO_COUNTERPART
    assert set(MASSES) | set(LIGHTS) <= known
    assert set(MASSES) & set(MASS_NAMES) <= set(MASS_CASES)
    assert set(LIGHTS) & set(LIGHT_NAMES) <= set(LIGHT_CASES)


@pytest.mark.parametrize("name", [name for name in MASS_CASES if name in KNOWN])
def test_every_mass_comes_back_and_renders_the_same(name):
    main = [] if name in ("SIS", "SIE", "EPL", "NFW", "PointMass") else [profile("SIE", MASS_CASES)]
    scene = scene_of([*main, profile(name, MASS_CASES)])
    assert_same_image(scene)
    back = Scene.from_lenstronomy(scene.to_lenstronomy())
    if name in MANY.values() and main:  # a mass of a kind that comes in large numbers comes back among them
        assert [type(m) for m in back.substructure] == [many for many, single in MANY.items() if single == name]
        np.testing.assert_equal(back.to_lenstronomy(), scene.to_lenstronomy())
    else:
        assert_same_scene(scene, back)


@pytest.mark.parametrize("many", MANY, ids=lambda profile: profile.__name__)
def test_every_kind_of_substructure_comes_back_and_renders_the_same(many):
    values = {name: torch.tensor(v, dtype=torch.float64) for name, v in HALOS.items() if name in {f.name for f in fields(many)}}
    scene = scene_of([profile("SIE", MASS_CASES)], substructure=(many(**values),))
    assert_same_image(scene)
    back = Scene.from_lenstronomy(scene.to_lenstronomy())
    assert (back.n_perturbers == [3, 1]).all()
    np.testing.assert_equal(back.to_lenstronomy(), scene.to_lenstronomy())


@pytest.mark.parametrize("name", [name for name in LIGHT_CASES if name in KNOWN])
def test_every_light_comes_back_and_renders_the_same(name):
    light = profile(name, LIGHT_CASES)
    scene = scene_of([profile("SIE", MASS_CASES)], [light, *SOURCE], lens_light=(light,))
    assert_same_image(scene)
    assert_same_scene(scene, Scene.from_lenstronomy(scene.to_lenstronomy()))


def test_substructure_and_a_tabulated_psf():
    kernel = np.random.default_rng(3).uniform(size=(5, 5))  # asymmetric: a kernel turned round would show
    scene = scene_of([profile("EPL", MASS_CASES), profile("Shear", MASS_CASES)], substructure=(perturbers(),))
    systems = scene.to_lenstronomy()
    assert systems[0]["kwargs_model"]["lens_model_list"] == ["EPL", "SHEAR", *["POINT_MASS"] * 3]
    assert systems[1]["kwargs_model"]["lens_model_list"] == ["EPL", "SHEAR", "POINT_MASS"]
    assert_same_image(scene, psf=TabulatedPSF(kernel))
    back = Scene.from_lenstronomy(systems)
    assert (back.n_perturbers == [3, 1]).all()
    assert back.to_lenstronomy()[1]["kwargs_lens"] == systems[1]["kwargs_lens"]


@pytest.mark.filterwarnings("ignore:Cosmology is provided")
@pytest.mark.parametrize("name", PRESETS)
def test_a_population_comes_back(name):
    scene = PRESETS[name].population.draw(6, 5, 0)
    systems = scene.to_lenstronomy(vortex_points=50)
    back = Scene.from_lenstronomy(systems)
    np.testing.assert_equal(back.to_lenstronomy(), systems)
    assert (back.labels, back.rows, back.seed) == (scene.labels, scene.rows, scene.seed)
    assert_same_image(back.select(np.array([1])))


@pytest.mark.filterwarnings("ignore:Cosmology is provided")
def test_several_planes():
    planes = (
        (0.3, (perturbers(),)),
        (0.7, (profile("SIS", {"SIS": {"theta_E": (0.1, 0.05), "center_x": (1, 0.5), "center_y": (0.5, -1)}}),)),
    )
    scene = scene_of([profile("SIE", MASS_CASES)], planes=planes, z_lens=0.45, z_source=1.5, cosmology=Cosmology(H0=67.0, Om0=0.31))
    (first, _) = scene.to_lenstronomy()
    assert first["kwargs_model"]["lens_redshift_list"] == [0.45, 0.3, 0.3, 0.3, 0.7]
    assert_same_image(scene)
    back = Scene.from_lenstronomy(scene.to_lenstronomy())
    assert (back.z_lens, back.z_source, back.cosmology) == (0.45, 1.5, scene.cosmology)
    np.testing.assert_equal(back.to_lenstronomy(), scene.to_lenstronomy())


def test_a_vortex_is_written_as_points_where_that_is_asked_for():
    vortex = MASSES["Vortex"](
        *(torch.tensor(v, dtype=torch.float64) for v in ((0.3, 0.4), (0.6, 0.5), (0.4, 2.0), (0.1, 0.0), (0.0, 0.1)))
    )
    scene = scene_of([profile("SIE", MASS_CASES), vortex])
    with pytest.raises(InputError, match="no counterpart of Vortex: leave it out; give vortex_points"):
        scene.to_lenstronomy()
    system = scene.to_lenstronomy(vortex_points=4)[1]
    points = system["kwargs_lens"][1:]
    assert sum(p["theta_E"] ** 2 for p in points) == pytest.approx(0.4**2)
    assert np.mean([p["center_y"] for p in points]) == pytest.approx(0.1)
    far = torch.tensor([[5.0]], dtype=torch.float64), torch.tensor([[-7.0]], dtype=torch.float64)
    many = Scene.from_lenstronomy(scene.to_lenstronomy(vortex_points=400))
    for ours, theirs in zip(scene.trace(*far), many.trace(*far), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=0)
    with pytest.raises(InputError, match="0 point masses"):
        scene.to_lenstronomy(vortex_points=0)


def test_what_is_written_is_plain_data():
    scene = scene_of([profile("SIE", MASS_CASES)], substructure=(perturbers(),), lens_light=SOURCE)
    written = scene.to_lenstronomy()
    np.testing.assert_equal(json.loads(json.dumps(written)), written)


def system_of(model="SIE", **changed):
    kwargs = {"theta_E": 1.0, "e1": 0.1, "e2": 0.0, "center_x": 0.0, "center_y": 0.0} | changed
    source = {"amp": 1, "R_sersic": 0.2, "n_sersic": 1, "center_x": 0.1, "center_y": 0}
    return {
        "kwargs_model": {"lens_model_list": [model], "source_light_model_list": ["SERSIC"]},
        "kwargs_lens": [{k: v for k, v in kwargs.items() if v is not None}],
        "kwargs_source": [source],
    }


def test_what_lenstronomy_users_have_is_read():
    system = system_of(center_x=None)
    system["kwargs_model"]["lens_model_list"].append("SHEAR")
    system["kwargs_lens"].append({"gamma1": 0.05, "gamma2": 0.0, "ra_0": 0, "dec_0": 0})
    scene = Scene.from_lenstronomy(system)
    assert [type(m).__name__ for m in scene.macro] == ["SIE", "Shear"]
    assert isinstance(scene.macro[1], Shear)
    assert not isinstance(scene.source[0], SersicEllipse)
    assert (scene.labels, scene.rows, scene.truth) == (("",), (0,), {})
    flat = {"lens_model_list": ["EPL_NUMBA"], "kwargs_lens": [{"theta_E": np.float32(1.5), "gamma": np.array(2), "e1": 0, "e2": 0}]}
    (lens,) = Scene.from_lenstronomy(flat).macro
    assert (type(lens).__name__, lens.theta_E.tolist(), lens.gamma.tolist()) == ("EPL", [1.5], [2.0])


@pytest.mark.parametrize(
    ("system", "sentence"),
    [
        (system_of("SIEE"), "unknown lenstronomy profile 'SIEE': did you mean 'SIE'?"),
        (system_of("__import__('os')"), "unknown lenstronomy profile"),
        (system_of(gamma=2.0), r"kwargs_lens\[0\]: SIE has no parameter 'gamma': its parameters are theta_E, e1"),
        (system_of(theta_E=None), r"kwargs_lens\[0\]: SIE lacks theta_E: give a number"),
        (system_of(theta_E="os.system('true')"), "theta_E = .* is no number"),
        (system_of(theta_E=float("nan")), "theta_E = nan is not finite"),
        (system_of() | {"kwargs_lens": []}, "kwargs_lens has 0 entries for 1 profiles"),
        ({"kwargs_lens": []}, "system 0 has no lens_model_list: give it in kwargs_model, or beside kwargs_lens"),
        (system_of(theta_E=[1.0, 2.0]), r"theta_E = \[1.0, 2.0\] is no number"),
        (system_of() | {"kwargs_lens": [None]}, r"kwargs_lens\[0\] is None: give the dictionary"),
        (system_of(["SIE"]), "unknown lenstronomy profile"),
        (system_of() | {"cosmology": {"w0": -0.9}}, "cosmology has no parameter 'w0': give some of H0, Om0, Ob0"),
        ([], "there is no lens system"),
        (
            [
                system_of(),
                system_of("SHEAR", **dict.fromkeys(("theta_E", "e1", "e2", "center_x", "center_y")), gamma1=0.1, gamma2=0),
            ],
            "has 0",
        ),
        (
            system_of("SHEAR", **dict.fromkeys(("theta_E", "e1", "e2", "center_x", "center_y")), gamma1=0.1, gamma2=0, ra_0=1),
            "about ra_0 = 1",
        ),
        ([system_of(), system_of() | {"cosmology": {"H0": 60.0}}], "the systems differ in cosmology"),
        (
            [system_of(), {**system_of(), "kwargs_model": system_of()["kwargs_model"] | {"z_lens": -1}}],
            "z_lens = -1 is no redshift",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(system, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        Scene.from_lenstronomy(system)
    assert "\n" not in str(caught.value)
