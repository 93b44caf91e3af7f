"""COOLEST templates: what is written is read by the `coolest` package as the same lens, and what it writes is read here."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from darklens.errors import InputError
from darklens.lensing import EPL, MASSES, SIE, SIS, Cosmology, PointMasses, PointSource, Sersic, SersicEllipse, Shear
from darklens.simulate import GaussianPSF, Instrument, Scene, TabulatedPSF, render
from darklens.simulate.interop import read_setting

SHAPE = (30, 44)


def tensors(*values):
    return [torch.tensor(v, dtype=torch.float64) for v in values]


@pytest.fixture(scope="module")
def scene() -> Scene:
    """Two systems; the position angles lie in all quadrants."""
    return Scene(
        macro=(EPL(*tensors([1.2, 0.9], [2.1, 1.8], [0.1, -0.2], [-0.15, 0.05], [0.03, -0.1], [-0.05, 0.07])),
               Shear(*tensors([0.05, -0.02], [0.01, 0.04]))),
        substructure=(),
        source=(SersicEllipse(*tensors([20.0, 5], [0.25, 0.4], [1.0, 2.5], [-0.1, 0.2], [0.1, 0.1], [0.1, -0.2], [0.05, 0.1])),
                Sersic(*tensors([2.0, 3], [0.1, 0.2], [1.0, 1.5], [0.2, 0.1], [-0.1, 0.1]))),
        labels=("no_sub", "cdm"),
        truth={"theta_E": np.array([1.2, 0.9]), "f_sub": np.array([np.nan, 0.1])},
        seed=7,
        rows=(3, 11),
        lens_light=(SersicEllipse(*tensors([9.0, 7], [0.5, 0.4], [4.0, 2.5], [0.1, -0.05], [0.0, 0.1], [0.0, 0.1], [0.1, 0.0])),),
        z_lens=0.4,
        z_source=1.7,
        cosmology=Cosmology(H0=67.4, Om0=0.315),
    )  # fmt: skip


@pytest.fixture(scope="module")
def with_a_point(scene, tmp_path_factory) -> str:
    """What is written of a system with an unresolved source."""
    point = PointSource(*tensors([3.0, 5.0], [0.3, 0.4], [0.0, 0.0]))
    path = tmp_path_factory.mktemp("point") / "lens.json"
    return dataclasses.replace(scene, point_source=(point,)).to_coolest(path, shape=(90, 90)).read_text()


@pytest.fixture
def instrument() -> Instrument:
    return Instrument("camera", 0.08, GaussianPSF(0.13), 25.9, 22.3, 4.0, 500.0, 3)


def image(scene, instrument) -> np.ndarray:
    return render(scene, instrument, SHAPE, dtype=torch.float64).numpy().reshape(len(scene), *SHAPE)


def change(path, **changes):
    """Change one parameter, or remove an entry, of the template's lens."""
    content = json.loads(path.read_text())
    for name, value in changes.items():
        if name in content:
            content[name] = value
        elif name == "profile":
            content["lensing_entities"][0]["mass_model"][0]["type"] = value
        else:
            content["lensing_entities"][0]["mass_model"][0]["parameters"][name] = value
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("row", [0, 1, -1])
def test_a_system_comes_back(scene, instrument, tmp_path, row):
    path = scene.to_coolest(tmp_path / "a" / "lens.json", row, instrument=instrument, shape=SHAPE)
    back = Scene.from_coolest(path)
    ours, theirs = scene.select([row]).to_lenstronomy()[0], back.to_lenstronomy()[0]
    assert theirs["cosmology"] == ours["cosmology"]
    for key in ("z_lens", "z_source", "lens_model_list", "lens_light_model_list"):
        assert theirs["kwargs_model"][key] == ours["kwargs_model"][key]
    for given, found in zip(
        ours["kwargs_lens"] + ours["kwargs_lens_light"], theirs["kwargs_lens"] + theirs["kwargs_lens_light"], strict=True
    ):
        assert found == pytest.approx(given, abs=1e-14)
    observed, shape = read_setting(path)
    assert (observed.pixel_scale, observed.zero_point, observed.sky_mag_arcsec2, shape) == (0.08, 25.9, 22.3, SHAPE)
    assert observed.total_exposure == 1500
    np.testing.assert_allclose(image(back, observed)[0], image(scene, instrument)[row], rtol=1e-11)


@pytest.mark.slow
def test_an_unresolved_source_is_written_by_its_images_and_read_as_their_source(scene, instrument, tmp_path):
    quasar = PointSource(*tensors([3.0, 5.0], [0.04, -0.1], [-0.06, 0.02]))
    with_it = dataclasses.replace(scene, point_source=(quasar,))
    path = with_it.to_coolest(tmp_path / "lens.json", 1, instrument=instrument, shape=SHAPE)
    source = json.loads(path.read_text())["lensing_entities"][-1]
    written = next(model for model in source["light_model"] if model["type"] == "LensedPS")
    assert len(written["parameters"]["ra_list"]["point_estimate"]["value"]) in (2, 4)
    (back,) = Scene.from_coolest(path).point_source
    found = [float(back.amp), float(back.center_x), float(back.center_y)]
    assert found == pytest.approx([5.0, -0.1, 0.02], abs=1e-4)
    near = PointSource(*tensors([1.0], [0.1], [0.0]))
    wide = dataclasses.replace(scene.select([1]), macro=(SIE(*tensors([4.0], [0.1], [0.0], [0.0], [0.0])),), point_source=(near,))
    (far,) = Scene.from_coolest(wide.to_coolest(tmp_path / "wide.json", shape=(200, 200))).point_source
    assert float(far.amp) == pytest.approx(1.0, rel=1e-6)
    with pytest.raises(InputError, match="has no image in the observed field"):
        wide.to_coolest(tmp_path / "narrow.json", shape=(40, 40))


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"amps": {"point_estimate": {"value": [1.0]}}}, "amps of LensedPS must be lists of one length"),
        ({"amps": {"point_estimate": [1.0]}}, "amps of LensedPS must be lists of one length"),
        (["a", "b"], "amps of LensedPS must be lists of one length"),
        ({"ra_list": {"point_estimate": {"value": ["1"] * 2}}}, "ra_list is '1', not a finite number"),
        ({"ra_list": {"point_estimate": {"value": [1e301] * 2}}}, "ra_list is 1e[+]301, not a finite number"),
        ({"ra_list": {"point_estimate": {"value": [10**400] * 2}}}, "an integer of 1329 bits, not a finite number"),
    ],
)
def test_images_of_a_point_that_are_none_are_refused_in_one_sentence(with_a_point, tmp_path, parameters, sentence):
    path, content = tmp_path / "lens.json", json.loads(with_a_point)
    model = content["lensing_entities"][-1]["light_model"][-1]
    two = {"point_estimate": {"value": [1.0, -0.8]}}
    model["parameters"] = {name: two for name in model["parameters"]} | parameters if isinstance(parameters, dict) else parameters
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=sentence) as caught:
        Scene.from_coolest(path)
    assert "\n" not in str(caught.value)


def test_a_neighbour_that_only_shines_is_read_at_its_own_redshift(scene, tmp_path):
    path = scene.to_coolest(tmp_path / "lens.json")
    content = json.loads(path.read_text())
    content["lensing_entities"].insert(0, {"name": "neighbour", "redshift": 0.3, "mass_model": [], "light_model": []})
    path.write_text(json.dumps(content))
    assert Scene.from_coolest(path).z_lens == 0.4
    content["lensing_entities"].insert(0, "a")
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="lensing entities that are no JSON objects"):
        Scene.from_coolest(path)


def test_round_profiles_become_elliptical_ones_of_axis_ratio_one(tmp_path):
    scene = Scene((SIS(*tensors([1.0], [0.1], [0.2])),), (), (Sersic(*tensors([2.0], [0.2], [1.0])),), ("",), {}, 0, (0,))
    back = Scene.from_coolest(scene.to_coolest(tmp_path / "lens.json"))
    assert isinstance(back.macro[0], SIE)
    (written, _) = json.loads((tmp_path / "lens.json").read_text())["lensing_entities"]
    assert written["mass_model"][0]["parameters"]["q"]["point_estimate"]["value"] == 1.0
    camera = Instrument("", 0.08, GaussianPSF(0.13))
    np.testing.assert_allclose(image(back, camera), image(scene, camera), rtol=1e-10)


def test_a_tabulated_psf_lies_beside_the_template(scene, tmp_path):
    kernel = np.random.default_rng(3).uniform(size=(5, 7)).astype(np.float32)
    camera = Instrument("", 0.08, TabulatedPSF(kernel))
    path = scene.to_coolest(tmp_path / "lens.json", instrument=camera, shape=SHAPE)
    assert (tmp_path / "lens-psf.fits").is_file()
    observed, _ = read_setting(path)
    np.testing.assert_allclose(observed.psf.on_pixels(0.08), TabulatedPSF(kernel).kernel, rtol=1e-6)
    change(path, instrument={"pixel_size": 0.08, "psf": {"type": "PixelatedPSF", "pixels": {"fits_file": {"path": "../x.fits"}}}})
    with pytest.raises(InputError, match=r"give the name of a FITS file beside the template"):
        read_setting(path)


def test_the_coolest_package_reads_what_we_write(scene, instrument, tmp_path):
    pytest.importorskip("coolest", reason="the coolest package is not installed")
    from coolest.api.composable_models import ComposableLightModel, ComposableMassModel
    from coolest.template.json import JSONSerializer

    path = scene.to_coolest(tmp_path / "lens.json", 1, instrument=instrument, shape=SHAPE)
    read = JSONSerializer(str(path.with_suffix("")), check_external_files=False).load(skip_jsonpickle=True, verbose=False)
    x, y = np.meshgrid(np.linspace(-1.5, 1.4, 9), np.linspace(-1, 1.1, 7))
    mass = ComposableMassModel(read, str(tmp_path), entity_selection=[0, 1])
    light = {i: ComposableLightModel(read, str(tmp_path), entity_selection=[i]) for i in (0, 2)}
    one = scene.select([1])
    at = torch.from_numpy(x), torch.from_numpy(y)
    beta = [b[0].numpy() for b in one.trace(*at)]
    np.testing.assert_allclose(np.array([x, y]) - mass.evaluate_deflection(x, y), beta, rtol=0, atol=1e-9)
    area = 0.08**2  # it returns the flux of a pixel
    ours = area * sum(p.intensity(*at)[0].numpy() for p in one.source)
    np.testing.assert_allclose(light[2].evaluate_surface_brightness(x, y), ours, rtol=1e-10)
    np.testing.assert_allclose(
        light[0].evaluate_surface_brightness(x, y), area * one.lens_light[0].intensity(*at)[0].numpy(), rtol=1e-10
    )
    assert (read.instrument.pixel_size, read.observation.pixels.num_pix_x) == (0.08, SHAPE[1])


def test_we_read_what_the_coolest_package_writes(scene, instrument, tmp_path):
    pytest.importorskip("coolest", reason="the coolest package is not installed")
    from coolest.template.json import JSONSerializer

    path = scene.to_coolest(tmp_path / "lens.json", instrument=instrument, shape=SHAPE)
    read = JSONSerializer(str(path.with_suffix("")), check_external_files=False).load(skip_jsonpickle=True, verbose=False)
    JSONSerializer(str(tmp_path / "again"), read, check_external_files=False).dump_simple()
    back = Scene.from_coolest(tmp_path / "again.json")
    assert back.to_lenstronomy()[0]["kwargs_lens"] == Scene.from_coolest(path).to_lenstronomy()[0]["kwargs_lens"]
    np.testing.assert_allclose(image(back, read_setting(tmp_path / "again.json")[0])[0], image(scene, instrument)[0], rtol=1e-11)


def test_a_known_angle_points_where_the_standard_says(tmp_path, scene):
    """A lens with phi = 0 is long along +y, with phi = 90 along x."""
    path = scene.to_coolest(tmp_path / "lens.json")
    for phi, sign in ((0, -1), (90, 1), (-90, 1)):
        (e1, e2) = (getattr(Scene.from_coolest(change(path, q=point(0.5), phi=point(phi))).macro[0], k) for k in ("e1", "e2"))
        assert (float(e1), float(e2)) == pytest.approx((sign / 3, 0))


def point(value):
    return {"point_estimate": {"value": value}}


def test_a_posterior_without_point_estimate_is_read_by_its_median(tmp_path, scene):
    path = scene.to_coolest(tmp_path / "lens.json")
    change(path, theta_E=point(None) | {"posterior_stats": {"median": 1.5, "mean": 1.4}})
    assert Scene.from_coolest(path).macro[0].theta_E.item() == 1.5
    with pytest.raises(InputError, match="lens: theta_E of PEMD is None, not a finite number: give it a value"):
        Scene.from_coolest(change(path, theta_E=point(None)))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"profile": "SPEMDD"}, "unknown COOLEST profile 'SPEMDD': did you mean 'PEMD'"),
        ({"theta_E": point("1")}, "theta_E of PEMD is '1', not a finite number"),
        ({"standard": "WARM"}, "is no COOLEST template with lensing entities"),
        ({"lensing_entities": []}, "is no COOLEST template with lensing entities"),
        ({"lensing_entities": [{"name": "x", "redshift": 1.0}]}, r"has mass at redshifts \[\] before the source at 1.0"),
        ({"lensing_entities": [{"name": "x"}]}, "redshift of x is None, not a finite number"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(scene, tmp_path, changes, sentence):
    path = scene.to_coolest(tmp_path / "lens.json")
    with pytest.raises(InputError, match=sentence) as caught:
        Scene.from_coolest(change(path, **changes))
    assert "\n" not in str(caught.value)


def test_what_coolest_does_not_have_is_refused(scene, tmp_path):
    many = PointMasses(*tensors([[0.1], [0.1]], [[1.0], [1.0]], [[0.2], [0.1]]))
    vortex = MASSES["Vortex"](*tensors([0.1, 0.1], [0.5, 0.5]))
    for with_more in (Scene(**vars(scene) | {"substructure": (many,)}), Scene(**vars(scene) | {"macro": (*scene.macro, vortex)})):
        with pytest.raises(InputError, match="COOLEST has no counterpart of"):
            with_more.to_coolest(tmp_path / "lens.json")
    with pytest.raises(InputError, match=r"several lens planes: write scene\.smooth"):
        Scene(**vars(scene) | {"planes": ((0.2, (many,)),)}).to_coolest(tmp_path / "lens.json")
    with pytest.raises(InputError, match="row 2 is outside the scene's 2 systems"):
        scene.to_coolest(tmp_path / "lens.json", 2)
    assert not (tmp_path / "lens.json").exists()
