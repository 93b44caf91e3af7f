"""What every architecture owes its users, over the whole of MODELS."""

import inspect

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from darklens.errors import InputError
from darklens.models import MODELS, build, count_parameters, first_convolution, models_for

PARAMETERS = {
    "cnn": 509_955,
    "resnet18": 11_171_779,
    "pi-resnet18-published": 11_171_779 + 7 * 7 * 64,
    "pi-resnet18": 11_171_779 + 7 * 7 * 64 + 28_794,
    "pinn": 137_259,
    "pinn-published": 11_171_779 + 3 * (512 + 1) + 3 * 3,
    "arcnet": 105_771,
    "p4m-resnet": 39_611,
    "vit": 13_395_203,
    "cvt": 13_093_869,
    "lensformer": 13_236_421,
    "lensformer-published": 13_236_421,
    "lenspinn-large": 14_563_726 - 942_337,  # less the block that the published code never calls
    "lenspinn-small": 7_173_654 - 942_337,
    "dropout-cnn": 2_488_003,
    "efficientnet-b0": 4_010_815,
    "swin": 6_897_117,
    "convnext": 4_847_283,
    "coatnet": 14_673_363,
    "encoder": 804_739,
}
SILENT = {"lensformer-published": ("network.encoder.",)}  # what no gradient reaches: the defect that was published
SHAPES = [(1, 64, 64), (3, 64, 64), (1, 150, 150), (1, 64, 80)]
HEAVY = {"cvt", "coatnet", "swin", "convnext", "efficientnet-b0", "lenspinn-large", "lenspinn-small", "pi-resnet18-published"}
"""Networks whose costlier tests are left to make test-all."""
CLASSIFIERS = models_for("classification")
every_model = pytest.mark.parametrize("name", CLASSIFIERS)
every_light_model = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in HEAVY else name for name in CLASSIFIERS]
)


def rings(batch: int, bands: int = 1, height: int = 64, width: int = 64, seed: int = 0) -> torch.Tensor:
    """Noisy ring-like images in [0, 1], no two bands or images alike."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.linspace(-2, 2, height), torch.linspace(-2, 2, width), indexing="ij")
    dx, dy, radius = torch.rand(3, batch, bands, 1, 1, generator=generator)
    ring = torch.exp(-((torch.hypot(x - 0.3 * dx, y - 0.3 * dy) - 0.7 - 0.4 * radius) ** 2) / 0.05)
    noisy = ring + 0.02 * torch.rand(ring.shape, generator=generator)
    low, high = noisy.amin((2, 3), keepdim=True), noisy.amax((2, 3), keepdim=True)
    return (noisy - low) / (high - low)


def loss_of(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(model(images).float(), torch.arange(len(images)) % 3)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        pytest.param(name, shape, marks=pytest.mark.slow) if name in HEAVY and shape not in SHAPES[::3] else (name, shape)
        for name in CLASSIFIERS
        for shape in SHAPES
    ],
    ids=str,
)
def test_logits_have_the_shape_of_the_classes(name, shape):
    bands, *size = shape
    model = build(name, bands=bands, classes=4, size=tuple(size)).eval()
    with torch.no_grad():
        logits = model(rings(2, *shape))
    assert logits.shape == (2, 4)
    assert logits.isfinite().all()
    assert not torch.equal(logits[0], logits[1])


@every_model
def test_parameter_count_is_the_published_one(name):
    assert count_parameters(build(name, bands=1, classes=3, size=64)) == PARAMETERS[name]


@every_model
def test_every_parameter_gets_a_gradient(name):
    model = build(name)
    loss_of(model, rings(6)).backward()
    silent = [key for key, value in model.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0]
    assert silent == [key for key, _ in model.named_parameters() if key.startswith(SILENT.get(name, ("nothing",)))]


@every_light_model
def test_one_step_along_the_gradient_lowers_the_loss(name):
    options = inspect.signature(MODELS[name]).parameters
    model = build(name, **{option: 0.0 for option in ("dropout", "drop_path") if option in options})
    images = rings(6)
    before = loss_of(model, images)
    before.backward()
    taught = [value for value in model.parameters() if value.grad is not None]
    step = 1e-3 / torch.nn.utils.get_total_norm([value.grad for value in taught])
    with torch.no_grad():
        for value in taught:
            value -= step * value.grad
    assert loss_of(model, images) < before


@every_light_model
@pytest.mark.parametrize("bands", [1, 3])
def test_saved_weights_give_identical_logits(name, bands, tmp_path):
    images = rings(4, bands)
    model = build(name, bands=bands, seed=1)
    model(images)  # moves the running statistics of batch norm, which have to be saved too
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    other = build(name, bands=bands, seed=2)
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    with torch.no_grad():
        assert torch.equal(other.eval()(images), model.eval()(images))


@every_light_model
def test_an_image_is_judged_alone(name):
    images = rings(5)
    model = build(name)
    model(images)
    model.eval()
    with torch.no_grad():
        together, alone = model(images), torch.cat([model(image[None]) for image in images])
    assert torch.allclose(together, alone, atol=1e-5, rtol=1e-4)


@every_light_model
def test_bfloat16_autocast_agrees_with_float32(name):
    images = rings(6)
    model = build(name)
    model(images)
    model.eval()
    with torch.no_grad():
        exact = model(images)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model(images)
    assert rounded.dtype == torch.bfloat16
    assert torch.allclose(rounded.float(), exact, atol=0.05 * exact.abs().max().item())


@every_light_model
def test_gradient_is_finite_under_autocast_and_channels_last(name):
    model = build(name).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(model, rings(6).to(memory_format=torch.channels_last))
    loss.backward()
    assert all(value.grad.isfinite().all() for value in model.parameters() if value.grad is not None)


@every_light_model
def test_weights_follow_the_seed_and_leave_the_global_state(name):
    state = torch.random.get_rng_state()
    weights = [build(name, seed=seed).state_dict() for seed in (7, 7, 8)]
    drawn = [build(name, seed=torch.Generator().manual_seed(3)).state_dict() for _ in range(2)]
    assert torch.equal(torch.random.get_rng_state(), state)
    for one, two in (weights[:2], drawn):
        assert all(torch.equal(one[key], two[key]) for key in one)
    assert any(not torch.equal(weights[0][key], weights[2][key]) for key in weights[0])


@every_light_model
def test_training_step_is_repeatable_bitwise(name):
    gradients = []
    for _ in range(2):
        model = build(name).eval()
        loss_of(model, rings(4)).backward()
        gradients.append([value.grad for value in model.parameters() if value.grad is not None])
    assert all(torch.equal(one, two) for one, two in zip(*gradients, strict=True))


@every_model
def test_summary_is_one_line(name):
    assert 0 < len(MODELS[name].summary) < 120
    assert "\n" not in MODELS[name].summary


@every_model
def test_first_convolution_sees_the_bands(name):
    convolution = first_convolution(build(name, bands=3))
    assert isinstance(convolution, nn.Conv2d)
    shifted = 5 if name.startswith("lensformer") else 1  # each band and its four shifts
    maps = {"p4m-resnet": 9}.get(name, 3 * shifted)  # what it makes of three bands itself
    assert convolution.in_channels == maps + (name.startswith("pi-") or name == "pinn")


@every_model
def test_images_of_another_shape_are_refused(name):
    model = build(name, size=64)
    for wrong in (torch.rand(2, 1, 64, 48), torch.rand(2, 2, 64, 64), torch.rand(64, 64)):
        with pytest.raises(InputError, match=r"64, 64.*resize"):
            model(wrong)


@every_model
def test_an_image_too_small_is_refused(name):
    with pytest.raises(InputError, match="8x64 pixels are too small"):
        build(name, size=(8, 64))


def test_unknown_model_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'resnet18'"):
        build("resnt18")


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("resnet18", {"stm": "fine"}, "did you mean 'stem'"),
        ("resnet18", {"stem": "fin"}, "did you mean 'fine'"),
        ("cnn", {"stem": "fine"}, "unknown option of cnn 'stem'"),
        ("cnn", {"dropout": 1.5}, "dropout 1.5"),
        ("cnn", {"bands": 0}, "0 bands"),
        ("cnn", {"classes": 0}, "0 classes"),
        ("pi-resnet18", {"pixel_scale": 0.0}, "pixel scale of 0.0"),
        ("pi-resnet18", {"pixel_scale": 0.01}, "half-width 0.32 arcsec is too small"),
        ("pi-resnet18", {"auxiliary_weight": 1.0}, "unknown option of pi-resnet18 'auxiliary_weight'"),
    ],
)
def test_wrong_arguments_are_refused(name, options, says):
    with pytest.raises(InputError, match=says):
        build(name, **options)


def test_fine_stem_keeps_the_resolution():
    model = build("resnet18", size=32, stem="fine")
    assert model.stem(torch.rand(1, 1, 32, 32)).shape == (1, 64, 32, 32)
