from itertools import combinations, pairwise

import numpy as np
import pytest
from scipy.stats import chisquare

from darklens.errors import InputError
from darklens.train.active import STRATEGIES, Candidates, pick
from darklens.train.active.strategies import SINGLE, TURNS

CLASSES = ("nonlens", "lens")


def candidates(n=200, d=6, m=50, seed=0, k=2):
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.ones(k), n), rng.dirichlet(np.ones(k), m)
    names = CLASSES if k == 2 else tuple(f"class-{i}" for i in range(k))
    return Candidates(p, rng.normal(size=(n, d)).astype(np.float32), rng.normal(size=(m, d)).astype(np.float32), q, names)


def binary(p):
    p = np.asarray(p, float)
    return np.stack([1 - p, p], axis=1)


def clusters(centres, each, spread, rng):
    return np.concatenate([c + spread * rng.normal(size=(each, len(c))) for c in np.asarray(centres, float)])


def chosen(strategy, n, those, seed=0):
    return [p.index for p in pick(strategy, n, those, np.random.default_rng(seed))]


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_picks_are_distinct_reproducible_and_say_why(strategy, k):
    those = candidates(k=k)
    picks = pick(strategy, 30, those, np.random.default_rng(3))
    assert len({p.index for p in picks}) == 30
    assert all(0 <= p.index < 200 for p in picks)
    assert picks == pick(strategy, 30, those, np.random.default_rng(3))
    assert all(f"P({those.classes[-1]}) = {those.probabilities[p.index, -1]:.3f}" in p.why for p in picks)
    assert all(np.isfinite(p.score) for p in picks)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_pool_smaller_than_the_wish_is_given_whole(strategy):
    assert sorted(chosen(strategy, 50, candidates(n=9))) == list(range(9))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_copies_of_one_image_are_no_reason_to_fail(strategy):
    those = Candidates(
        binary(np.full(6, 0.5)), np.ones((6, 3), np.float32), np.ones((2, 3), np.float32), binary([0.1, 0.9]), CLASSES
    )
    assert sorted(chosen(strategy, 6, those)) == list(range(6))


def test_uncertainty_takes_the_probabilities_nearest_one_half():
    p = np.random.default_rng(1).uniform(size=300)
    those = Candidates(binary(p), np.zeros((300, 2), np.float32), np.zeros((1, 2), np.float32), binary([0.5]), CLASSES)
    assert chosen("uncertainty", 25, those) == np.argsort(np.abs(p - 0.5))[:25].tolist()


def test_uncertainty_of_several_classes_is_the_margin_not_the_best_probability():
    p = np.array([[0.50, 0.49, 0.01], [0.40, 0.30, 0.30], [0.9, 0.05, 0.05]])
    those = Candidates(p, np.zeros((3, 2), np.float32), np.zeros((1, 2), np.float32), p[:1], ("a", "b", "c"))
    assert chosen("uncertainty", 2, those) == [0, 1]


def test_likely_takes_the_most_probable_of_the_last_class():
    p = np.random.default_rng(2).uniform(size=100)
    those = Candidates(binary(p), np.zeros((100, 2), np.float32), np.zeros((1, 2), np.float32), binary([0.5]), CLASSES)
    assert chosen("likely", 10, those) == np.argsort(-p)[:10].tolist()


def test_diversity_takes_one_of_every_cluster_that_nobody_knows():
    rng = np.random.default_rng(0)
    centres = 40 * np.eye(6)
    features = clusters(centres, 30, 0.1, rng)
    known = clusters(centres[:2], 10, 0.1, rng)
    those = Candidates(
        binary(rng.uniform(size=180)), features.astype(np.float32), known.astype(np.float32), binary([0.5] * 20), CLASSES
    )
    found = [i // 30 for i in chosen("diversity", 4, those)]
    assert sorted(found) == [2, 3, 4, 5]


def test_diversity_covers_the_pool_within_twice_the_best_radius():
    """The guarantee of the greedy algorithm (Gonzalez 1985), against every choice of three."""
    those = candidates(n=14, d=2, m=1, seed=5)
    points, anchor = those.scaled, those.anchors

    def radius(rows):
        centres = np.concatenate([anchor, points[list(rows)]])
        return np.sqrt(((points[:, None] - centres) ** 2).sum(-1)).min(1).max()

    best = min(radius(rows) for rows in combinations(range(14), 3))
    assert radius(chosen("diversity", 3, those)) <= 2 * best


def test_expected_gain_is_what_the_labels_take_off_the_volume_of_the_weights():
    those = candidates(n=60, d=5, m=40, seed=7)
    picks = pick("expected-gain", 12, those, np.random.default_rng(0))

    def design(points, p):
        points = np.concatenate([points * np.sqrt(5), np.ones((len(points), 1))], axis=1)
        return np.einsum("n,ni,nj->ij", p[:, 0] * p[:, 1], points, points)

    before = np.eye(6) + design(those.anchors, those.anchor_probabilities)
    rows = [p.index for p in picks]
    after = before + design(those.scaled[rows], those.probabilities[rows])
    assert sum(p.score for p in picks) == pytest.approx(
        0.5 * (np.linalg.slogdet(after)[1] - np.linalg.slogdet(before)[1]), rel=1e-5
    )
    assert all(a.score >= b.score - 1e-12 for a, b in pairwise(picks))


def test_expected_gain_does_not_ask_the_same_twice():
    """Two far groups, each of many like images: the second question goes to the other group, not to the next of the first."""
    rng = np.random.default_rng(0)
    features = clusters([[30.0, 0.0], [0.0, 25.0]], 20, 0.01, rng).astype(np.float32)
    known = rng.normal(size=(50, 2)).astype(np.float32)
    those = Candidates(binary([0.5] * 40), features, known, binary([0.5] * 50), CLASSES)
    assert [i // 20 for i in chosen("expected-gain", 2, those)] == [0, 1]


def test_expected_gain_is_nothing_where_the_answer_is_certain():
    those = Candidates(
        binary([1.0, 0.5]), np.array([[9.0, 9.0], [0.1, 0.1]], np.float32), np.eye(2, dtype=np.float32), binary([0.5, 0.5]), CLASSES
    )
    picks = pick("expected-gain", 2, those, np.random.default_rng(0))
    assert [p.index for p in picks] == [1, 0]
    assert picks[1].score == 0


def test_badge_spreads_over_groups_and_asks_once_at_most_where_it_is_certain():
    """To k-means++ all certain images are one point, the gradient zero."""
    rng = np.random.default_rng(0)
    features = clusters(50 * np.eye(4), 25, 2.0, rng).astype(np.float32)
    p = np.where(np.arange(100) < 75, 0.5, 1 - 1e-9)
    known = clusters(50 * np.eye(4), 5, 2.0, rng).astype(np.float32)
    those = Candidates(binary(p), features, known, binary([0.5] * 20), CLASSES)
    groups = [[i // 25 for i in chosen("badge", 12, those, seed)] for seed in range(20)]
    assert all(len(set(of_one[:3])) == 3 for of_one in groups)
    assert all(of_one[0] != 3 and of_one.count(3) <= 1 for of_one in groups)


def test_random_is_uniform():
    those = candidates(n=20)
    counts = np.bincount([i for seed in range(400) for i in chosen("random", 3, those, seed)], minlength=20)
    assert chisquare(counts).pvalue > 1e-3


def test_mixed_takes_turns_without_repeating():
    those = candidates()
    picks = pick("mixed", 12, those, np.random.default_rng(0))
    assert tuple(p.why.partition(":")[0] for p in picks[:4]) == TURNS
    best = {name: chosen(name, 1, those)[0] for name in ("likely", "uncertainty")}
    assert [p.index for p in picks[:2]] == list(best.values())


@pytest.mark.parametrize(("strategy", "n", "words"), [("uncertanty", 5, "uncertainty"), ("random", 0, "--n")])
def test_what_cannot_be_asked_is_refused_in_one_sentence(strategy, n, words):
    with pytest.raises(InputError, match=words):
        pick(strategy, n, candidates(), np.random.default_rng(0))


def test_candidates_that_do_not_belong_together_are_refused():
    with pytest.raises(InputError, match="no image is left"):
        Candidates(np.zeros((0, 2)), np.zeros((0, 3)), np.zeros((1, 3)), np.zeros((1, 2)), CLASSES)
    with pytest.raises(InputError, match="do not belong together"):
        Candidates(np.ones((2, 2)), np.zeros((3, 3)), np.zeros((1, 3)), np.zeros((1, 2)), CLASSES)


def test_every_strategy_has_its_line():
    assert set(STRATEGIES) == {*SINGLE, "mixed"}
    assert set(TURNS) < set(SINGLE)
