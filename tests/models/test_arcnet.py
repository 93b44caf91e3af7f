import pytest
import torch

from darklens.errors import InputError
from darklens.models import build, count_parameters


def trained(size, bands=5, **options):
    """A network whose batch statistics have seen something."""
    model = build("arcnet", bands=bands, size=size, seed=3, **options)
    generator = torch.Generator().manual_seed(0)
    model(torch.randn(8, bands, *(size if isinstance(size, tuple) else (size, size)), generator=generator))
    return model.eval()


def symmetries(maps):
    for k in range(4):
        yield torch.rot90(maps, k, (-2, -1))
        yield torch.rot90(maps, k, (-2, -1)).flip(-1)


@pytest.mark.parametrize("frames", ["mean", "one"])
@pytest.mark.parametrize("size", [32, 52, 61, 81])
def test_answers_are_the_same_under_the_eight_symmetries_of_the_square(size, frames):
    model = trained(size, frames=frames)
    maps = torch.randn(4, 5, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        answer = model(maps)
        answers = torch.stack([model(turned.contiguous()) for turned in symmetries(maps)])
    assert answer.std() > 1e-3
    assert (answers - answer).abs().max() < 1e-5


def test_without_the_mean_the_answers_differ():
    model = build("arcnet", bands=1, size=61, symmetric=False).eval()
    maps = torch.randn(4, 1, 61, 61, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert (model(maps) - model(maps.flip(-1))).abs().max() > 1e-4


def test_one_frame_answers_as_the_network_does_for_a_frame():
    mean, one = trained(61), trained(61, frames="one")
    maps = torch.randn(4, 5, 61, 61, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        mean.symmetric = False
        frames = torch.stack([mean(turned.contiguous()) for turned in symmetries(maps)])
        assert (frames - one(maps)).abs().amax(-1).min(0).values.max() < 1e-5


@pytest.mark.parametrize("frames", ["mean", "one"])
def test_a_rectangle_keeps_its_four_symmetries(frames):
    model = trained((40, 64), frames=frames)
    maps = torch.randn(2, 5, 40, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for axes in ((-1,), (-2,), (-1, -2)):
            assert torch.allclose(model(maps), model(maps.flip(axes)), atol=1e-5)


def test_it_is_small():
    assert count_parameters(build("arcnet", bands=5, classes=3, size=52)) <= 300_000


@pytest.mark.parametrize(
    ("options", "says"),
    [({"widths": (8,)}, "at least two stages"), ({"dropout": 1.0}, "dropout 1.0"), ({"frames": "two"}, "frames 'two'")],
)
def test_wrong_options_are_refused(options, says):
    with pytest.raises(InputError, match=says):
        build("arcnet", **options)
