import pytest
import torch

from darklens.errors import InputError
from darklens.models import count_parameters
from darklens.models.mobilenet_v3 import MobileNetV3Small


@pytest.mark.parametrize(("width", "parameters"), [(1.0, 2_542_856), (0.5, 1_593_224)])
def test_parameters_are_those_of_the_standard_networks(width, parameters):
    assert count_parameters(MobileNetV3Small(bands=3, classes=1000, size=224, width=width)) == parameters


def test_map_is_a_thirty_second_of_the_image():
    model = MobileNetV3Small(size=(64, 96)).eval()
    assert model.blocks(model.stem(torch.rand(2, 1, 64, 96))).shape == (2, 48, 2, 3)
    assert model(torch.rand(2, 1, 64, 96)).shape == (2, 3)


def test_a_network_without_width_is_refused():
    with pytest.raises(InputError, match="width of 0"):
        MobileNetV3Small(width=0)
