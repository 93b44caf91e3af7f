import numpy as np
import pytest
import torch
from torch import nn

from darklens.models import build
from darklens.runs import Run
from darklens.train.novelty import Features, Novelty
from darklens.train.symmetries import Symmetrised, symmetric_views, symmetrised


def features(n, seed, shift=0.0, d=12):
    """Two classes in d dimensions with one covariance that is far from round."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    scales = np.logspace(-2, 1, d)
    return rng.normal(size=(n, d)) * scales + np.where(labels, 3, -3)[:, None] + shift * scales, labels


def learnt(seed=0, chi2=True):
    values, labels = features(2000, seed)
    held_out = features(1500, seed + 1)[0]
    fit = np.random.default_rng(seed).normal(1, 0.01, 1500) if chi2 else None
    return Novelty.learn(values, labels).with_thresholds(held_out, fit)


def test_one_in_a_hundred_of_its_own_kind_is_flagged():
    rates = []
    for seed in range(0, 40, 2):
        novelty = learnt(seed)
        fit = np.random.default_rng(1000 + seed).normal(1, 0.01, 1000)
        rates.append(novelty.judge(features(1000, seed + 500)[0], fit).flags.mean())
    assert 0.006 < np.mean(rates) < 0.0125


def test_distance_is_one_for_its_own_and_grows_in_the_narrow_directions():
    novelty = learnt(chi2=False)
    own = novelty.distance(features(500, 9)[0])
    assert np.mean(own**2) == pytest.approx(1, abs=0.1)
    assert novelty.distance(features(500, 9, shift=2)[0]).mean() > 1.8
    assert novelty.judge(features(500, 9, shift=3)[0], None).flags.mean() > 0.95


def rare(n, seed, part=0.06):
    """A rare class whose features scatter four times as much as those of the frequent one."""
    rng = np.random.default_rng(seed)
    labels = (rng.uniform(size=n) < part).astype(int)
    return rng.normal(size=(n, 12)) * np.where(labels, 4, 1)[:, None] + np.where(labels, 12, -12)[:, None], labels


def test_a_rare_class_is_not_unusual_because_it_is_rare():
    held_out = rare(3000, 1)[0]
    novelty = Novelty.learn(*rare(5000, 0)).with_thresholds(held_out, None)
    values, labels = rare(20000, 2)
    flags = novelty.judge(values, None).flags
    assert 0.004 < flags[labels == 0].mean() < 0.02
    assert 0.004 < flags[labels == 1].mean() < 0.025
    blind = Novelty(novelty.means, novelty.axes, {}).with_thresholds(held_out, None)  # as runs of earlier versions are
    assert blind.judge(values, None).flags[labels == 1].mean() > 0.1
    assert novelty.judge(values + 80, None).flags.mean() > 0.9


def test_a_class_with_few_training_images_has_the_spread_of_all():
    values, labels = rare(400, 0)
    assert 3 <= labels.sum() < 40
    assert Novelty.learn(values, labels).spread[1] == 1


def test_fits_that_are_too_good_or_too_bad_or_no_number_are_flagged_and_the_reason_is_said():
    novelty = learnt()
    centre = np.full((4, 12), 3.0)
    found = novelty.judge(centre, np.array([1.0, 3.1, 0.4, np.nan]))
    assert found.flags.tolist() == [False, True, True, True]
    assert found.because[0] == ""
    assert found.because[1].startswith("fit chi2 3.1 > 1.0")
    assert found.because[2].startswith("fit chi2 0.4 < 0.9")
    assert found.counts["features"] == 0


def test_no_validation_image_is_flagged_where_one_in_a_hundred_is_less_than_one():
    values, labels = features(300, 0)
    held_out = features(40, 1)[0]
    novelty = Novelty.learn(values, labels).with_thresholds(held_out, None)
    assert not novelty.judge(held_out, None).flags.any()
    assert novelty.thresholds["features"] == pytest.approx(novelty.distance(held_out).max())


def test_it_is_saved_and_read_again(tmp_path):
    run = Run.create(tmp_path / "run", {"name": "x"})
    assert Novelty.load(run) is None
    novelty = learnt()
    novelty.save(run, {"rate": 0.01})
    again = Novelty.load(run)
    values = features(50, 3, shift=1)[0]
    assert np.array_equal(again.distance(values), novelty.distance(values))
    assert again.thresholds == novelty.thresholds
    assert np.array_equal(again.spread, novelty.spread)
    old = Novelty(novelty.means, novelty.axes, novelty.thresholds)
    old.save(run, {})
    assert Novelty.load(run).spread is None
    novelty.save(run, {"rate": 0.01})
    assert run.novelty["rate"] == 0.01


@pytest.mark.parametrize("name", ["cnn", "resnet18", "arcnet"])
def test_features_are_what_the_last_layer_sees(name):
    network = build(name, classes=3, size=64, seed=0).eval()
    images = torch.rand(5, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), Features(network, 3) as seen:
        logits = torch.cat([network(images[:3]), network(images[3:])])
    last = [m for m in network.modules() if isinstance(m, nn.Linear)][-1]
    again = last(torch.from_numpy(seen.array()))
    assert torch.allclose(again, logits, atol=1e-5)
    with torch.no_grad(), Features(network, 3) as after:
        network(images)
    assert np.allclose(seen.array(), after.array(), atol=1e-5)
    assert len(seen.parts) == 2  # nothing is collected any more


@pytest.mark.parametrize(("shape", "views"), [((8, 8), 8), ((8, 10), 4)])
def test_symmetric_views_are_a_group_and_the_mean_over_them_does_not_turn(shape, views):
    image = torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(0))
    seen = symmetric_views(image)
    assert len(seen) == views
    assert torch.equal(seen[0], image)
    assert len({view.numpy().tobytes() for view in seen}) == views
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3))
    mean = Symmetrised(network)
    with torch.no_grad():
        answers = torch.cat([mean(view) for view in seen])
        alone = torch.cat([network(view) for view in seen])
    assert torch.allclose(answers, answers[:1].expand_as(answers), atol=1e-6)
    assert torch.allclose(answers[0], alone.mean(0), atol=1e-6)
    assert (alone - alone[:1]).abs().max() > 1e-3


@pytest.mark.parametrize(("name", "symmetric"), [("arcnet", True), ("p4m-resnet", True), ("cnn", False)])
def test_what_is_symmetric_already_is_not_averaged_again(name, symmetric):
    network = build(name, classes=3, size=64, seed=0).eval()
    assert (symmetrised(network) is network) == symmetric
    images = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(symmetrised(network)(images), symmetrised(network)(images.mT.contiguous()), atol=1e-5)


def test_features_of_a_symmetrised_network_are_those_of_the_image_itself():
    network = build("cnn", classes=3, size=64, seed=0).eval()
    images = torch.rand(4, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), Features(network, 3) as plain:
        network(images)
    with torch.no_grad(), Features(network, 3, views=8) as mean:
        for half in images.split(2):
            Symmetrised(network)(half)
    assert np.allclose(plain.array(), mean.array(), atol=1e-5)
