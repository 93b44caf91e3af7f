import numpy as np
import pytest

from darklens.errors import InputError
from darklens.evaluate.drift import Sample, compare_samples

Y, X = np.mgrid[:24, :24] - 11.5


def blobs(n, seed, *, psf=1.4, noise=1.0, scale=1.0, sky=0.0, flux=1.0, bands=2):
    """Galaxies of many sizes and brightnesses, seen through a PSF, with noise: `(bands, 24, 24)` each."""
    rng = np.random.default_rng(seed)
    light = flux * rng.lognormal(6, 0.3, (n, bands, 1, 1))
    square = (rng.uniform(1.2, 2, n) ** 2 + psf**2)[:, None, None, None]
    place = rng.normal(0, 1, (2, n, 1, 1, 1))
    image = light * np.exp(-((X - place[0]) ** 2 + (Y - place[1]) ** 2) / 2 / square) / (2 * np.pi * square)
    return list((scale * (image + rng.normal(0, noise, image.shape)) + sky).astype(np.float32))


def compared(n=150, seed=1, permutations=99, a=None, **changed):
    known = Sample("a", blobs(n, 10 * seed, **(a or {})))
    return compare_samples(known, Sample("b", blobs(n, 10 * seed + 1, **changed)), bands=["g", "r"], permutations=permutations)


def test_false_alarms_are_no_more_than_is_said():
    """With a rate of 0.2, 40 pairs of equal samples give 8 alarms on average at most; 17 would come by chance once in 1,000."""
    found = [
        compare_samples(Sample("a", blobs(30, 2 * s)), Sample("b", blobs(50, 2 * s + 1)), rate=0.2, permutations=19)
        for s in range(40)
    ]
    alarms = sum(drift.found for drift in found)
    assert alarms <= 16
    assert sum(drift.classifier["p"] <= 0.1 for drift in found) <= 11
    assert all(drift.verdict.startswith("drift" if drift.found else "no drift seen") for drift in found)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"psf": 2.2}, "PSF or shapes broader"),
        ({"noise": 1.2}, "noise x1."),
        ({"scale": 1.2}, "flux scale (zero point, gain or unit) x1."),
        ({"sky": 0.5}, "background +0."),
        ({"flux": 1.5}, "brightness of the objects"),
    ],
)
def test_a_change_is_seen_and_called_by_its_name(changed, words):
    drift = compared(n=200, permutations=9, **changed)
    assert drift.found
    assert drift.verdict.startswith("drift: ")
    assert words in drift.verdict, drift.verdict
    others = {"PSF", "noise x", "flux scale", "background", "brightness"} - {w for w in ("PSF", "noise x") if words.startswith(w)}
    wrong = [o for o in others if o in drift.verdict and not words.startswith(o)]
    assert not wrong, drift.verdict


def test_a_sharper_psf_is_told_from_a_broader_one():
    assert "sharper" in compared(n=200, permutations=9, a={"psf": 2.2}).verdict


def test_broken_pixels_are_named():
    images = blobs(60, 3)
    broken = [image.copy() for image in blobs(60, 4)]
    for image in broken:
        image[:, :, 5] = 0
        image[1, 10:13, 10:13] = 1e4
    drift = compare_samples(Sample("a", images), Sample("b", broken), bands=["g", "r"], permutations=19)
    assert "zero pixels +4.17% in g" in drift.changes
    assert any(change.startswith("saturated pixels") and change.endswith("in r") for change in drift.changes)


def test_what_a_network_says_is_compared():
    rng = np.random.default_rng(0)

    def sample(name, seed, shift, flags, lens):
        images = blobs(100, seed)
        p = np.clip(rng.normal(lens, 0.05, 100), 0, 1)
        return Sample(name, images, rng.normal(shift, 1, (100, 20)), np.stack([1 - p, p], 1), np.arange(100) < flags)

    known, same, other = sample("a", 0, 0, 1, 0.1), sample("b", 1, 0, 2, 0.1), sample("c", 2, 1, 40, 0.4)
    options = {"classes": ("nonlens", "lens"), "permutations": 999}
    assert not compare_samples(known, same, **options).found
    drift = compare_samples(known, other, **options)
    assert drift.network["unusual"]["b"]["value"] == 0.4
    assert any(c.startswith("features of the network") for c in drift.changes)
    assert "images unlike the training: 1.0% becomes 40.0%" in drift.changes
    assert any(c.startswith("answers lens: 0.1") for c in drift.changes)


def test_another_size_is_a_change_and_needs_no_other_one():
    small = [image[:, 2:-2, 2:-2] for image in blobs(60, 1)]
    drift = compare_samples(Sample("a", blobs(60, 0)), Sample("b", small), permutations=19)
    assert drift.changes[0] == "images of 20x20 pixels instead of 24x24"


@pytest.mark.parametrize(
    ("a", "b", "rate", "words"),
    [
        (blobs(5, 0), blobs(50, 0), 0.01, "a has 5 images and a comparison needs 10"),
        (blobs(30, 0), blobs(30, 0, bands=3), 0.01, "different bands, a has 2 and b has 3"),
        (blobs(30, 0), blobs(30, 0), 1.5, "--rate 1.5 is no rate"),
    ],
)
def test_what_cannot_be_compared(a, b, rate, words):
    with pytest.raises(InputError, match=words):
        compare_samples(Sample("a", a), Sample("b", b), rate=rate)
