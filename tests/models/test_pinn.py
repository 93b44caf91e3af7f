"""The physics-guided networks: a lens that explains the image, a curriculum, and the published one with its blank source."""

import numpy as np
import pytest
import torch

from darklens.errors import InputError
from darklens.fit import plan_for
from darklens.models import build
from darklens.models.curriculum import Curriculum
from darklens.models.pinn import LENS
from darklens.models.pinn_published import blank_source_loss
from darklens.models.relensing import Relensing, outside_critical_curve, pixel_grid
from darklens.simulate import preset
from darklens.train.config import Preprocess
from darklens.train.fitted import network_inputs
from darklens.train.preprocess import network_shape, prepare

SETTINGS = Preprocess(input="lens", crop=56, normalise="none")


@pytest.fixture(scope="module")
def lenses():
    """What the network sees of six images of Model III with noise, and their truth."""
    chosen = preset("model-iii-noisy")
    images, truth = chosen.images(chosen.draw(6, 3))
    inputs, _ = network_inputs(images, plan_for(chosen), SETTINGS)
    return prepare(torch.from_numpy(inputs), SETTINGS), truth


def fresh(**options):
    bands, *size = network_shape((1, 64, 64), SETTINGS)
    return build("pinn", bands=bands, classes=3, size=tuple(size), pixel_scale=0.08, fitted=True, **options)


def test_it_begins_with_the_fitted_lens_which_explains_smooth_images_to_the_noise(lenses):
    inputs, truth = lenses
    model = fresh().eval()
    with torch.no_grad():
        model.correction.weight.zero_()
        found = model.physics(inputs)
    smooth = [0, 3]  # no_sub
    assert found["theta_E"][smooth].numpy() == pytest.approx(truth["theta_E"][smooth], rel=0.01)
    assert found["e1"][smooth].numpy() == pytest.approx(truth["e1"][smooth], abs=0.01)
    for i in smooth:
        lit = found["relensed"][i] > 0.1 * found["relensed"][i].max()
        assert float(torch.corrcoef(torch.stack([found["relensed"][i][lit], inputs[i, 1][lit]]))[0, 1]) > 0.98
        assert float(found["residual"][i].square().mean()) < 2
    assert set(LENS) | {"source", "relensed", "residual"} == set(found)


def test_a_wrong_lens_explains_less(lenses):
    inputs, _ = lenses
    wrong = inputs.clone()
    wrong[:, -len(LENS)] *= 1.15
    model = fresh().eval()
    with torch.no_grad():
        model.correction.weight.zero_()
        right, other = (model.physics(seen)["residual"].square().log1p().mean() for seen in (inputs, wrong))
    assert other > 1.3 * right


def test_the_loss_of_the_lens_moves_the_lens_and_the_curriculum_raises_it(lenses):
    inputs, _ = lenses
    model = fresh(ramp=2).train()
    weights = []
    for _ in range(4):
        _, loss = model.forward_with_auxiliary(inputs)
        weights.append(float(loss.detach()))
    assert weights[0] == 0
    assert 0 < weights[1] < weights[2]
    loss.backward()
    assert model.correction.weight.grad.abs().sum() > 0


def test_without_its_residual_it_is_its_own_backbone(lenses):
    inputs, _ = lenses
    blind = fresh(relensing=False).eval()
    moved = inputs.clone()
    moved[:, -len(LENS)] *= 1.1  # the lens alone
    with torch.no_grad():
        assert torch.equal(blind(inputs), blind(moved))
        seeing = fresh().eval()
        assert not torch.equal(seeing(inputs), seeing(moved))


def test_an_sie_has_the_parity_of_its_own_jacobian():
    size = (61, 61)
    x, y = pixel_grid(size, 0.05)
    numbers = dict(zip(LENS, ([1.0], [0.2], [-0.1], [0.03], [0.02], [0.05], [-0.04]), strict=True))
    lens = {name: torch.tensor(value, dtype=torch.float64) for name, value in numbers.items()}
    x, y = x.double().requires_grad_(), y.double().requires_grad_()
    from darklens.lensing import SIE, Shear, trace

    masses = [SIE(*(lens[n] for n in ("theta_E", "e1", "e2", "center_x", "center_y"))), Shear(lens["gamma1"], lens["gamma2"])]
    bx, by = trace(masses, x, y)
    (bxx, bxy), (byx, byy) = (torch.autograd.grad(b.sum(), (x, y), retain_graph=True) for b in (bx, by))
    determinant = bxx * byy - bxy * byx
    found = outside_critical_curve(lens, x.detach(), y.detach())[0]
    sure = determinant.abs() > 0.02
    assert torch.equal(found[sure], determinant[sure] > 0)


def test_a_round_sie_relenses_like_an_sis():
    lens = {
        name: torch.tensor([value]) for name, value in (("theta_E", 1.0), ("center_x", 0.0), ("center_y", 0.0), ("gamma1", 0.03))
    }
    lens["gamma2"] = torch.zeros(1)
    y, x = np.mgrid[-1.6:1.6:64j, -1.6:1.6:64j]
    image = torch.from_numpy(np.exp(-((np.hypot(x, y) - 1) ** 2) / 0.05)).float()[None]
    relensing = Relensing((64, 64), 0.05)
    round_one = lens | {"e1": torch.zeros(1), "e2": torch.zeros(1)}
    for a, b in zip(relensing(image, lens), relensing(image, round_one), strict=True):
        assert torch.allclose(a, b, atol=1e-3)


def test_the_published_loss_is_least_for_a_blank_source():
    source = torch.rand(2, 20, 20)
    assert float(blank_source_loss(torch.zeros(2, 20, 20))) == 0
    assert float(blank_source_loss(0.5 * source)) < float(blank_source_loss(source))


def test_the_published_network_keeps_its_lens_in_range_and_starts_without_physics():
    model = build("pinn-published", size=64, pixel_scale=0.08, ramp=10).train()
    images = torch.rand(4, 1, 64, 64)
    found = model.physics(images)
    assert (found["theta_E"] > 0).all()
    assert (found["theta_E"] < 2.56).all()
    assert (found["center_x"].abs() <= 0.2).all()
    assert float(model.forward_with_auxiliary(images)[1].detach()) == 0
    assert float(model.forward_with_auxiliary(images)[1].detach()) > 0


def test_wrong_settings_are_one_sentence():
    with pytest.raises(InputError, match=r"preprocess\.input=lens"):
        build("pinn", bands=1, fitted=True)
    with pytest.raises(InputError, match="trunk of pinn"):
        build("pinn", trunk="vit")
    with pytest.raises(InputError, match="training steps"):
        Curriculum(0)
    with pytest.raises(InputError, match="sky_counts"):
        build("pinn", sky_counts=0)
