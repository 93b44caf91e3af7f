import numpy as np
import pytest

from darklens.errors import InputError
from darklens.evaluate.vectors import effective_rank, flat_map, linear_probe, nearest, neighbour_vote, ridge


def clouds(n, classes=3, dimension=8, apart=4.0, seed=0):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(classes, dimension)) * apart
    labels = np.arange(n) % classes
    return (centres[labels] + rng.normal(size=(n, dimension))).astype(np.float32), labels


def test_the_nearest_are_the_image_itself_and_its_class():
    vectors, labels = clouds(90)
    order, likeness = nearest(vectors[4], vectors, 10)
    assert order[0] == 4
    assert likeness[0] == pytest.approx(1, abs=1e-5)
    assert (labels[order] == labels[4]).all()
    assert (np.diff(likeness) <= 0).all()


def test_a_loud_component_does_not_decide_what_is_near():
    vectors, labels = clouds(90)
    noise = np.random.default_rng(1).normal(size=(90, 1)).astype(np.float32)
    loud = np.concatenate([vectors, 1e4 * noise], 1)
    order, _ = nearest(loud[4], loud, 10)
    assert (labels[order] == labels[4]).mean() >= 0.9


@pytest.mark.parametrize("judge", [linear_probe, neighbour_vote])
def test_probes_tell_clouds_apart_and_noise_not(judge):
    train, labels = clouds(60)
    test, wanted = clouds(300, seed=2)
    found = judge(train, labels, test, 3)
    assert np.allclose(found.sum(1), 1)
    assert (found.argmax(1) == wanted).mean() > 0.97
    assert found.max(1).mean() > 0.9
    blind = judge(train, np.arange(60) // 3 % 3, test, 3)  # each cloud has all labels equally often
    assert blind.max(1).mean() < 0.65


def test_a_probe_works_with_one_label_a_class_and_says_when_there_is_one_class():
    train, labels = clouds(3)
    test, wanted = clouds(90, seed=2)
    assert (linear_probe(train, labels, test, 3).argmax(1) == wanted).mean() > 0.8
    assert (neighbour_vote(train, labels, test, 3).argmax(1) == wanted).mean() > 0.8
    with pytest.raises(InputError, match="at least 2 classes"):
        linear_probe(train, np.zeros(3, int), test, 3)


def test_a_class_without_labels_is_never_found():
    train, labels = clouds(60)
    some = labels < 2
    found = linear_probe(train[some], labels[some], train, 3)
    assert (found[:, 2] == 0).all()
    assert np.allclose(found.sum(1), 1)


def test_a_line_is_found_through_noise():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(200, 12))
    values = vectors @ rng.normal(size=12) + 0.1 * rng.normal(size=200)
    found = ridge(vectors[:150], values[:150], vectors[150:])
    assert np.corrcoef(found, values[150:])[0, 1] > 0.98


def test_effective_rank_counts_directions():
    rng = np.random.default_rng(0)
    line = rng.normal(size=(500, 1)) * np.ones((1, 16))
    assert effective_rank(line) == pytest.approx(1, abs=0.01)
    assert effective_rank(rng.normal(size=(5000, 16))) == pytest.approx(16, abs=0.2)
    assert effective_rank(np.ones((10, 4))) == 1.0


def test_a_map_keeps_groups_together():
    vectors, labels = clouds(120)
    places = flat_map(vectors)
    assert places.shape == (120, 2)
    distance = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(120)
    assert (labels[distance.argmin(1)] == labels).mean() > 0.95
    assert np.array_equal(places, flat_map(vectors))
    with pytest.raises(InputError, match="4 vectors"):
        flat_map(vectors[:4])
