import numpy as np
import pytest

from darklens.errors import InputError
from darklens.simulate import INSTRUMENTS, CorrelatedNoise, CosmicRays, configured, preset, simulate
from darklens.units import UNITS

CAMERA = INSTRUMENTS["hst-wfc3-f160w"]


@pytest.mark.parametrize(("size", "neighbour"), [(1.5, 4 / 9), (2.0, 2 / 3), (3.0, 2 / 3)])
def test_correlated_noise_keeps_the_variance_and_correlates_neighbours(size, neighbour):
    white = np.random.default_rng(0).standard_normal((20, 64, 96))
    flux = np.full_like(white, 5.0)
    images, truth = CorrelatedNoise(size).apply(white + flux, flux, CAMERA, 0, range(20))
    noise = images - flux
    assert noise.std() == pytest.approx(1, abs=0.02)
    assert noise[:, [0, -1]].std() == pytest.approx(1, abs=0.08)  # at the borders too
    for axis in (1, 2):
        assert (noise * np.roll(noise, 1, axis)).mean() == pytest.approx(neighbour, abs=0.03)
    assert truth == {}


def test_correlated_noise_leaves_the_flux_alone():
    flux = np.random.default_rng(0).random((2, 16, 16))
    images, _ = CorrelatedNoise().apply(flux.copy(), flux, CAMERA, 0, range(2))
    assert np.array_equal(images, flux)


def test_cosmic_rays_by_number_energy_and_length():
    rays = CosmicRays(per_image=3.0, length=5.0, electrons=2000.0, spread=0.5)
    drawn = [rays.deposits((256, 256), 7, row) for row in range(400)]
    number = np.array([n for _, n in drawn])
    assert number.mean() == pytest.approx(3, abs=4 * np.sqrt(3 / 400))
    assert number.var() == pytest.approx(3, abs=1.0)  # Poisson
    electrons = np.array([d.sum() for d, _ in drawn])
    assert electrons.sum() / number.sum() == pytest.approx(2000 * np.exp(0.125), rel=0.1)  # less what leaves the frame
    single = [(d > 0).sum() for d, n in drawn if n == 1]
    assert 4 < np.mean(single) < 9  # a track of 5 pixels at an angle crosses some 4/pi more, and one at its ends


def test_cosmic_rays_add_electrons_and_tell_the_mask():
    rays = CosmicRays(per_image=5.0)
    images, truth = rays.apply(np.zeros((4, 32, 40)), np.zeros((4, 32, 40)), CAMERA, 3, range(10, 14))
    for i, row in enumerate(range(10, 14)):
        electrons, n = rays.deposits((32, 40), 3, row)
        assert np.allclose(images[i] * CAMERA.total_exposure, electrons)
        assert truth["n_cosmic_rays"][i] == n
        assert truth["n_cosmic_ray_pixels"][i] == (images[i] > 0).sum()
    assert set(truth) == set(rays.truth_columns) <= set(UNITS)


def test_the_expected_number_from_a_rate():
    # 1.2 per cm^2 and s on 64x64 pixels of 15 micrometres for 5400 s
    expected = CosmicRays.expected(1.2, CAMERA, (64, 64), pixel_size=15.0, rejected=0.9)
    assert expected == pytest.approx(1.2 * 64 * 64 * 2.25e-6 * 5400 * 0.1)


def test_artefacts_change_neither_scene_nor_noise_and_not_with_the_batch():
    plain = configured("model-iii-noisy")
    spoilt = configured("model-iii-noisy", cosmic_rays=4.0)
    scene = plain.population.draw(9, seed=5)
    clean, _ = plain.images(scene)
    dirty, truth = spoilt.images(scene)
    changed = (dirty != clean).sum((1, 2, 3))
    assert np.array_equal(changed, truth["n_cosmic_ray_pixels"])
    both = configured("model-iii-noisy", cosmic_rays=4.0, correlated_noise=2.0)
    whole, _ = both.images(scene)
    alone, _ = both.images(scene.select(np.array([7])))
    assert np.array_equal(whole[7], alone[0])


def test_the_table_says_what_was_added():
    table = simulate(configured("model-ii-noisy", cosmic_rays=2.0, correlated_noise=1.5), 6, seed=1)
    assert [a["kind"] for a in table.manifest["artefacts"]] == ["CorrelatedNoise", "CosmicRays"]
    assert "n_cosmic_rays" in table.manifest["units"]


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: CorrelatedNoise(1.0), "width must be above 1"),
        (lambda: CosmicRays(-1.0), "outside 0 to 10,000"),
        (lambda: CosmicRays(length=0.0), "must be positive"),
        (lambda: preset("model-iii").with_artefacts(CosmicRays()), "NoiseFree"),
        (lambda: configured("common-test", correlated_noise=2.0), "SkyCountsMinMax"),
        (lambda: configured("model-iii", supersampling=0), "supersampling 0"),
        (lambda: configured("model-iii", supersampling="fine"), "adaptive"),
        (lambda: configured("model-iii-noisy", instrument="des-g,hsc"), "did you mean"),
    ],
)
def test_bad_input_is_one_sentence(ask, says):
    with pytest.raises(InputError, match=says) as caught:
        ask()
    assert "\n" not in str(caught.value)


def test_correlated_noise_on_an_image_smaller_than_its_kernel():
    with pytest.raises(InputError, match="smaller than the noise kernel"):
        CorrelatedNoise(9.0).apply(np.zeros((1, 5, 5)), np.zeros((1, 5, 5)), CAMERA, 0, range(1))
