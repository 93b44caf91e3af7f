import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.metrics import roc_auc_score

from darklens.evaluate.two_samples import classifier_test, compare_numbers, frechet_distance, frechet_test, holm


def pair(shift=0.0, n=200, m=150, d=6, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), scale * rng.normal(size=(m, d)) + shift * np.eye(d)[0]


def test_holm_is_what_the_paper_says():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.6, 0.9])).tolist() == [1, 1]


def test_numbers_are_compared_in_standard_errors_and_nan_is_a_value_of_its_own():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 2, 400), rng.normal(1, 3, 300)
    found = compare_numbers(a, b)
    error = np.sqrt(a.var(ddof=1) / 400 + b.var(ddof=1) / 300)
    assert found["in_se"] == pytest.approx((b.mean() - a.mean()) / error)
    assert found["p"] < 1e-4
    missing = np.where(np.arange(400) < 100, np.nan, a)
    assert compare_numbers(a, missing)["ks"] == pytest.approx(0.25, abs=0.01)
    assert compare_numbers(a, missing)["p"] < 1e-6
    nothing = np.full(50, np.nan)
    assert compare_numbers(nothing, nothing)["p"] == 1
    assert compare_numbers(np.zeros(50), np.ones(50))["in_se"] == np.inf


def test_p_values_of_equal_samples_are_spread_evenly():
    """Of 80 pairs of equal samples, p <= 0.1 for 8 +- 2.7; the smallest p is never 0."""
    p = np.array([classifier_test(*pair(seed=s, n=40, m=30, d=3), seed=s, permutations=99)["p"] for s in range(80)])
    assert 0.02 < (p <= 0.1).mean() < 0.2
    assert 0.34 < (p <= 0.5).mean() < 0.66
    assert p.min() >= 0.01


@pytest.mark.parametrize(("shift", "scale"), [(1.0, 1.0), (0.0, 1.6)])
def test_a_classifier_sees_shifts_and_also_what_is_no_shift(shift, scale):
    found = classifier_test(*pair(shift=shift, scale=scale), permutations=199)
    assert found["p"] == pytest.approx(1 / 200)
    assert found["auc"]["low"] > 0.55
    assert len(found["null"]) == 199
    assert abs(found["null"].mean() - 0.5) < 0.03


def test_the_interval_of_the_area_holds_what_a_large_sample_says():
    d = 1.0
    truth = 0.760  # Phi(d / sqrt 2)
    inside = 0
    for seed in range(20):
        a, b = pair(shift=d, n=150, m=150, d=1, seed=seed)
        auc = classifier_test(a, b, permutations=1)["auc"]
        inside += auc["low"] <= truth <= auc["high"]
        direct = roc_auc_score(np.r_[np.zeros(150), np.ones(150)], np.r_[a, b][:, 0])
        assert auc["value"] == pytest.approx(direct, abs=0.06)
    assert inside >= 16


def test_values_that_are_missing_or_constant_do_no_harm():
    a, b = pair(n=60, m=60, d=3)
    a[:, 1], b[:, 1] = np.nan, np.nan
    a[:, 2], b[:, 2] = 4.0, 4.0
    assert classifier_test(a, b, permutations=99)["p"] > 0.02
    b[:40, 0] = np.nan  # missing in one alone: a difference
    assert classifier_test(a, b, permutations=99)["p"] == pytest.approx(0.01)


def test_the_distance_is_that_of_the_formula():
    a, b = pair(shift=1.0, scale=1.5, d=4)
    covariances = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    wanted = (
        ((a.mean(0) - b.mean(0)) ** 2).sum()
        + np.trace(sum(covariances))
        - 2 * np.trace(sqrtm(covariances[0] @ covariances[1])).real
    )
    assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-8)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-8)


def test_the_distance_of_features_stands_beside_its_floor():
    same, other = frechet_test(*pair(d=40), permutations=99), frechet_test(*pair(shift=3.0, d=40), permutations=99)
    assert same["distance"] == pytest.approx(same["floor"], rel=0.15)
    assert same["p"] > 0.02
    assert other["distance"] > 1.1 * other["floor"]
    assert other["p"] == pytest.approx(0.01)
