"""What a network with a lens believes about lenses, beside the truth."""

import json

import pytest
import torch

import darklens

pytestmark = pytest.mark.slow  # one training for all of them


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the folder of a run whose network hardly learnt, so that its lens is the fit that it begins with."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("runs") / "pinn"
    small = "data.train=60", "data.validation=30", "data.test=60", "train.epochs=1", "train.batch_size=30", "train.lr=1e-7"
    begun = "train.auxiliary=0", "model.options.relensing=false"
    darklens.train("pinn", out=out, set=[*small, *begun], device="cpu", log=lambda s: None)
    torch.set_num_threads(threads)
    return out


def test_einstein_radii_are_judged_class_by_class(trained):
    found = json.loads((trained / "metrics.json").read_text())["physics"]["theta_E"]
    classes = "no", "sphere", "vort"
    assert set(found) == {"error", "scatter", *(f"{what}_{name}" for what in ("bias", "error") for name in classes)}
    assert found["error"]["n"] == 60
    assert found["error"]["value"] == pytest.approx(sum(found[f"error_{name}"]["value"] for name in classes) / 3)
    for name in classes:
        bias, error = found[f"bias_{name}"], found[f"error_{name}"]
        assert abs(bias["value"]) <= error["value"]
        assert error["n"] == 20
        assert error["low"] <= error["value"] <= error["high"]


def test_a_fit_is_right_where_there_is_nothing_but_a_smooth_lens(trained):
    found = json.loads((trained / "metrics.json").read_text())["physics"]["theta_E"]
    assert found["error_no"]["value"] < 0.01
    assert found["bias_vort"]["value"] > found["bias_no"]["value"]  # a vortex weighs something


def test_figures_show_what_the_network_believes(trained):
    assert {"physics.png", "theta-E.png"} <= {path.name for path in (trained / "figures").iterdir()}
