import dataclasses

import numpy as np
import pytest
from scipy import stats

from darklens import native
from darklens.errors import InputError
from darklens.simulate import INSTRUMENTS
from darklens.simulate.noise import DeepLenseSimCounts, Exposure, NoiseFree, SkyCountsMinMax
from darklens.simulate.rng import draw_normals, draw_poisson, philox, poisson_inverse, row_keys

RECORDINGS = [Exposure(), NoiseFree(2.0), DeepLenseSimCounts(), SkyCountsMinMax()]
CAMERA = INSTRUMENTS["hst-wfc3-f160w"]


@pytest.fixture(params=["compiled", "numpy"])
def path(request, monkeypatch):
    if request.param == "numpy":
        monkeypatch.setattr(native, "library", lambda source: None)
    elif native.compiler() is None:
        pytest.skip("no C++ compiler on this machine")


def test_philox_gives_the_published_numbers():
    zero = philox(np.zeros(1, np.uint64), np.zeros(1, np.uint64))  # known answers of Random123
    assert [int(w[0]) for w in zero] == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


@pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler on this machine")
@pytest.mark.parametrize("pixels", [1, 7, 256, 1001])
def test_compiled_and_numpy_draw_the_same(monkeypatch, pixels):
    mean = np.random.default_rng(0).uniform(-1, 1, (5, pixels)) * np.array([[0.1], [3], [40], [1e3], [1e6]])
    keys = row_keys(3, range(5), "noise")
    compiled = draw_poisson(keys, mean, lane=2), draw_normals(keys, (pixels,))
    monkeypatch.setattr(native, "library", lambda source: None)
    plain = draw_poisson(keys, mean, lane=2), draw_normals(keys, (pixels,))
    assert np.mean(compiled[0][0] != plain[0][0]) < 1e-3  # a quantile may lie on the edge of a count
    assert np.abs(compiled[0][0] - plain[0][0]).max() <= 1
    for a, b in ((compiled[0][1], plain[0][1]), *zip(*(c for c in (compiled[1], plain[1])), strict=True)):
        assert np.mean(np.abs(a - b)) < 1e-6  # single against double precision
        assert np.abs(a - b).max() < 1e-3  # a radius near zero is the root of a small difference


@pytest.mark.parametrize("mean", [0.01, 0.3, 5.0, 9.99, 10.0, 14.0, 60.0, 1e3, 1e6])
def test_poisson_quantiles_against_scipy(mean):
    p = np.linspace(1e-6, 1 - 1e-6, 20_001)
    ours = poisson_inverse(np.full(p.shape, mean), stats.norm.ppf(p))
    assert (stats.poisson.cdf(ours, mean) >= p - 5e-6).all()
    assert (stats.poisson.cdf(ours - 1, mean) <= p + 5e-6).all()


@pytest.mark.parametrize("mean", [0.01, 0.7, 5.0, 9.9, 10.0, 33.0, 200.0, 1e4, 1e6])
def test_poisson_counts_are_poisson(path, mean):
    counts, normal = draw_poisson(row_keys(11, range(64), "test"), np.full((64, 4096), mean))
    counts, normal, n = counts.ravel(), normal.ravel(), counts.size
    assert abs(counts.mean() - mean) < 4.5 * np.sqrt(mean / n)
    assert abs(counts.var() / mean - 1) < 4.5 * np.sqrt((2 + 1 / mean) / n)
    edges = np.unique(stats.poisson.ppf(np.linspace(0, 1, 41)[1:-1], mean))
    expected = np.diff(np.concatenate([[0], stats.poisson.cdf(edges, mean), [1]])) * n
    found = np.bincount(np.searchsorted(edges, counts), minlength=len(expected))
    kept = expected > 5
    assert stats.chisquare(found[kept], expected[kept] * found[kept].sum() / expected[kept].sum()).pvalue > 1e-4
    assert stats.kstest(normal, "norm").pvalue > 1e-4
    assert abs(np.corrcoef(counts, normal)[0, 1]) < 4.5 / np.sqrt(n)


@pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler on this machine")
@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda r: type(r).__name__)
def test_compiled_and_numpy_record_the_same(monkeypatch, recording):
    flux = np.random.default_rng(1).uniform(-0.01, 0.1, (4, 33, 35)).astype(np.float32)
    flux *= np.array([0.01, 0.3, 1.0, 100.0], np.float32)[:, None, None]
    compiled = recording.record(flux, CAMERA, 7, range(4))[0]
    monkeypatch.setattr(native, "library", lambda source: None)
    plain = recording.record(flux, CAMERA, 7, range(4))[0]
    assert np.mean(~np.isclose(compiled, plain, rtol=1e-5, atol=1e-5)) < 2e-3


def test_normal_numbers_are_normal_and_independent(path):
    a, b = draw_normals(row_keys(5, range(32), "test"), (64, 64))
    lane = draw_normals(row_keys(5, range(32), "test"), (64, 64), lane=1)[0]
    assert stats.kstest(a.ravel(), "norm").pvalue > 1e-4
    for first, second in ((a, b), (a, lane), (a[:-1], a[1:]), (a[..., 1:], a[..., :-1]), (a[:, :32], a[:, 32:])):
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 4.5 / np.sqrt(first.size)


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda r: type(r).__name__)
def test_a_row_is_its_own_whatever_the_batch(path, recording):
    flux = np.random.default_rng(1).uniform(0, 3, (6, 9, 11))
    images, truth = recording.record(flux, CAMERA, 7, range(10, 16))
    assert images.shape == flux.shape
    assert set(truth) == set(recording.truth_columns)
    alone, one = recording.record(flux[2:3], CAMERA, 7, [12])
    np.testing.assert_array_equal(alone[0], images[2])
    assert all(one[k][0] == truth[k][2] for k in truth)
    if not isinstance(recording, NoiseFree):
        assert not np.array_equal(recording.record(flux, CAMERA, 8, range(10, 16))[0], images)
        assert not np.array_equal(recording.record(flux, CAMERA, 7, range(10, 16), "noise 1")[0], images)


def test_an_exposure_has_the_noise_of_its_instrument(path):
    flux = np.full((16, 64, 64), 0.4)
    images, _ = Exposure().record(flux, CAMERA, 2, range(16))
    variance = 0.4 / CAMERA.total_exposure + CAMERA.background_sigma**2
    assert abs(images.mean() - 0.4) < 4.5 * np.sqrt(variance / images.size)
    assert images.var() == pytest.approx(variance, rel=4.5 * np.sqrt(2 / images.size))


def test_counts_of_model_i_are_poisson_twice(path):
    t = 1000.0
    images, truth = DeepLenseSimCounts(log10_exposure=(3.0, 3.0)).record(np.full((16, 64, 64), 1.0), CAMERA, 2, range(16))
    assert (truth["exposure"] == t).all()
    assert np.array_equal(images, np.round(images))
    assert images.mean() == pytest.approx(t, rel=1e-3)
    assert images.var() == pytest.approx(2 * t + (0.01 * t) ** 2, rel=0.03)


def test_what_is_wrong_is_said():
    flux = np.zeros((1, 4, 4))
    with pytest.raises(InputError, match="without contrast"):
        SkyCountsMinMax(sky=0.0).record(flux, CAMERA, 1, [0])
    with pytest.raises(InputError, match="not finite"):
        Exposure().record(flux * np.nan, CAMERA, 1, [0])
    with pytest.raises(InputError, match="seed -1"):
        Exposure().record(flux, dataclasses.replace(CAMERA, name="other"), -1, [0])
