import json

import numpy as np
import pytest
import torch

from darklens.errors import InputError
from darklens.infer import Effort, bayes_limit, hypotheses, likelihood_of
from darklens.simulate import preset, render

FEW = Effort(steps=5, chains=2)


class Replay:
    """A generator whose numbers are known beforehand."""

    def __init__(self, numbers):
        self.numbers = list(numbers)

    def random(self, size=None):
        taken = [self.numbers.pop(0) for _ in range(size or 1)]
        return taken[0] if size is None else np.array(taken)

    def uniform(self, low, high, size=None):
        return low + (high - low) * self.random(size)


def drawn_order(label, macro, extra):
    """Order in which the population itself asks for the numbers of the substructure."""
    if label == "sphere":
        each = extra[1:].reshape(-1, 3)
        return [*macro, *each[:, 0], extra[0], *each[:, 1], *each[:, 2]]
    each = extra.reshape(-1, 3).T.ravel() if label == "cdm" else extra
    return [*macro, *each]


@pytest.mark.parametrize("name", ["common-test", "model-ii-noisy"])
def test_the_map_from_the_cube_draws_what_the_population_draws(name, monkeypatch):
    population = preset(name).population
    for k, hypothesis in enumerate(hypotheses(population)):
        u = np.random.default_rng(k).random(hypothesis.size)
        numbers = drawn_order(hypothesis.label, u[: hypothesis.macro], u[hypothesis.macro :])
        replay = Replay(numbers)
        monkeypatch.setattr("darklens.simulate.populations.base.row_generator", lambda *address, replay=replay: replay)
        theirs, ours = population.draw(1, 0, start=k), hypothesis.scene(torch.from_numpy(u)[None])
        assert theirs.labels == ours.labels == (hypothesis.label,)
        assert not replay.numbers
        images = [render(s, preset(name).instrument, (48, 40), dtype=torch.float64) for s in (theirs, ours)]
        torch.testing.assert_close(images[0], images[1], rtol=1e-9, atol=1e-9 * float(images[0].max()))


@pytest.mark.parametrize("name", ["common-test", "model-iii-noisy"])
def test_likelihood_has_the_noise_of_the_images(name):
    chosen = preset(name)
    scene = chosen.population.draw(6, seed=5)
    likelihood = likelihood_of(chosen, scene, side=50)
    assert likelihood.shape == (50, 50)
    deviance = -2 * likelihood(scene, torch.arange(6)) / 50**2
    assert deviance.mean().item() == pytest.approx(1, abs=0.05)  # a little above: counts of ten are not quite Gaussian
    mean = likelihood.flux(scene) * likelihood.gain + likelihood.offset
    pull = (likelihood.counts - mean) / mean.sqrt()
    assert pull.mean().abs() < 0.03
    assert pull.std().item() == pytest.approx(1, abs=0.03)
    wrong = likelihood(scene, torch.arange(6).roll(1))
    assert (wrong < likelihood(scene, torch.arange(6))).all()


def test_counts_are_those_of_the_file():
    chosen = preset("common-test")
    scene = chosen.population.draw(2, seed=8)
    counts = likelihood_of(chosen, scene).counts.numpy()
    images = chosen.images(scene)[0][:, 0]
    low, high = counts.min((1, 2), keepdims=True), counts.max((1, 2), keepdims=True)
    np.testing.assert_allclose((counts - low) / (high - low), images, atol=1e-6)


@pytest.fixture(scope="module")
def estimate(tmp_path_factory):
    path = tmp_path_factory.mktemp("limit") / "partial.json"
    seen = []

    def undecided(images):
        seen.append(images.shape)
        return np.full((len(images), 3), 1 / 3)

    return bayes_limit("model-iii-noisy", n=6, seed=2, effort=FEW, partial=path, reference=undecided), path, seen


def test_bounds_are_in_order(estimate):
    found, _, seen = estimate
    assert set(seen) == {(6, 1, 64, 64)}
    for name in ("accuracy", "auc_macro"):
        values = [found[block][name]["value"] for block in ("achieved", "optimistic", "oracle")]
        assert values == sorted(values)
        assert found[name]["low"] <= found[name]["high"]
    assert found["oracle"]["accuracy"]["value"] == 1
    assert found["reference"]["auc_macro"]["value"] == 0.5
    assert found["achieved"]["accuracy"]["value"] > 0.5, "even five steps tell a smooth lens"
    assert found["estimate_error"]["log_evidence"]["cdm"] > found["estimate_error"]["log_evidence"]["no_sub"]
    assert set(found["auc"]) == set(found["effective_samples"]) == {"no_sub", "cdm", "axion"}


def test_what_is_done_is_kept(estimate, monkeypatch):
    found, path, _ = estimate
    monkeypatch.setattr("darklens.infer.limit.anneal", None)
    again = bayes_limit("model-iii-noisy", n=6, seed=2, effort=FEW, partial=path)
    assert again == found
    assert set(json.loads(path.read_text())["rows"]) == set("012345")
    kept = path.read_text()
    with pytest.raises(
        InputError, match="keeps 6 images of seed 2 in place of 3: choose another --out, or forget them with --force"
    ):
        bayes_limit("model-iii-noisy", n=6, seed=3, effort=FEW, partial=path)
    assert path.read_text() == kept


@pytest.mark.parametrize("nothing", [None, float("nan"), float("-inf")])
def test_a_class_whose_chains_found_nothing_is_excluded(estimate, monkeypatch, tmp_path, nothing):
    content = json.loads(estimate[1].read_text())
    content["rows"]["0"] |= {"lower": [-1000.0, nothing, nothing], "effective": [4.0, nothing, nothing]}
    content["rows"]["1"] |= {"lower": [nothing] * 3}
    monkeypatch.setattr("darklens.infer.limit.anneal", None)
    monkeypatch.setattr("darklens.infer.limit.read_json", lambda path: content)
    (tmp_path / "partial.json").touch()
    found = bayes_limit("model-iii-noisy", n=6, seed=2, effort=FEW, partial=tmp_path / "partial.json")
    assert np.isfinite([found["achieved"][name]["value"] for name in ("accuracy", "auc_macro")]).all()
    assert np.isfinite(list(found["effective_samples"].values())).all()


def test_a_budget_ends_after_a_batch(monkeypatch):
    monkeypatch.setattr("darklens.infer.limit.BATCH", 3)
    found = bayes_limit("subhalos", n=12, budget=0.0)
    assert found["accuracy"]["n"] == 3


def test_only_a_bracket_where_haloes_vary_in_number():
    def knows(images):
        return np.eye(4)[np.arange(len(images)) % 4] * 0.6 + 0.1

    alone, beside = (bayes_limit("subhalos", n=8, seed=1, reference=judge) for judge in (None, knows))
    assert alone["accuracy"]["value"] is None
    assert alone["accuracy"]["low"] is None
    assert alone["accuracy"]["high"] == alone["oracle"]["accuracy"]["high"] > 0.5
    assert beside["reference"]["accuracy"]["value"] > 0.2
    assert beside["accuracy"]["low"] == beside["reference"]["accuracy"]["low"]
    assert "bracket only" in beside["method"]


def test_images_without_noise_set_no_limit():
    found = bayes_limit("model-iii", n=9)
    assert found["accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0, "n": 9}
    assert "without noise" in found["method"]


def test_wrong_input():
    with pytest.raises(InputError, match="no closed form"):
        bayes_limit("model-i", n=3)
    with pytest.raises(InputError, match="2 images for 3 classes"):
        bayes_limit("common-test", n=2)
    with pytest.raises(InputError, match="did you mean"):
        bayes_limit("comon-test")
    with pytest.raises(InputError, match="varies"):
        hypotheses(preset("subhalos").population)
