import numpy as np
import pytest
import torch

from darklens.data import ImagePairs
from darklens.errors import InputError
from darklens.evaluate.image_quality import psnr
from darklens.models import build, upsampled
from darklens.simulate import PAIRS
from darklens.train.config_super_resolution import SuperResolutionConfig
from darklens.train.pair_set import PairSet
from darklens.train.smooth_pairs import SmoothPairs
from darklens.train.super_resolution import SuperResolution


@pytest.mark.parametrize(("name", "gained"), [("sr-pairs", 12), ("sr-pairs-64", 6), ("sr-hsc-hst", 3)])
def test_a_lens_fitted_to_coarse_pixels_is_right_on_fine_ones(name, gained):
    preset = PAIRS[name]
    scene = preset.draw(24, 7)
    smooth = np.isin(scene.labels, ("no", "no_sub"))
    low, truth = (preset.images(scene, side)[smooth] for side in ("LR", "TRUTH"))
    plans = SmoothPairs.of({"preset": name})
    fit = plans.fit(low)
    again, fine = SmoothPairs.from_dict(plans.as_dict()).render(fit.parameters, low.shape[-2:])
    assert np.median(fit.chi2) == pytest.approx(1, abs=0.1)
    assert again.shape == low.shape
    bicubic = upsampled(torch.from_numpy(low), preset.scale, gain=1 / preset.scale**2).numpy()
    assert np.median(psnr(fine, truth) - psnr(bicubic, truth)) > gained
    assert np.median(fine.sum((1, 2, 3)) / again.sum((1, 2, 3))) == pytest.approx(1, abs=0.01)  # no light is lost


def test_pairs_that_do_not_say_their_cameras_are_refused():
    with pytest.raises(InputError, match="do not say what cameras took them: set it to false, or simulate pairs"):
        SmoothPairs.of({})


def test_an_untrained_network_answers_the_smooth_lens_and_learns_what_it_leaves_over():
    rng = np.random.default_rng(0)
    low, high = (rng.normal(size=(4, 1, n, n)).astype(np.float32) for n in (16, 32))
    smooth = (low + 1, high - 2)
    pairs = ImagePairs(np.arange(4).astype(object), low, high, None, {})
    inputs, targets = PairSet(pairs, smooth=smooth).take(np.array([1, 3])).batch(np.array([1]))
    assert torch.equal(inputs, torch.from_numpy(np.concatenate([low[3:], low[3:] + 1], 1)))
    assert torch.equal(targets, torch.from_numpy(np.concatenate([high[3:], high[3:] - 2], 1)))
    model = build("srresnet-arc", smooth_lens=True)
    assert not model.eval()(inputs)[:, :1].any()
    task = SuperResolution(SuperResolutionConfig(smooth_lens=True, unit="images", loss="l1"), 2, 1.0, 4.0)
    assert float(task.losses(model, inputs, targets)[0].detach()) == pytest.approx(2 / 4)  # an error of 2 in units of 4


@pytest.mark.parametrize("shape", [(24, 24), (20, 28)])
def test_a_network_with_a_smooth_lens_turns_with_the_image(shape):
    model = build("srresnet-arc", seed=3, smooth_lens=True).eval()
    torch.nn.init.normal_(model.answer.weight, std=0.05, generator=torch.Generator().manual_seed(0))
    images = 30 * torch.randn(2, 2, *shape, generator=torch.Generator().manual_seed(1))
    out = model(images)
    for turn in (lambda a: a.flip(-1), lambda a: torch.rot90(a, 1 if shape[0] == shape[1] else 2, (-2, -1))):
        assert torch.allclose(model(turn(images)), turn(out), atol=1e-3)
