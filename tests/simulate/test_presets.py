import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from darklens.data import Table, read
from darklens.errors import InputError
from darklens.simulate import INSTRUMENTS, PRESETS, preset, row_generator, simulate


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_makes_a_table_with_truth_and_units(name):
    chosen = PRESETS[name]
    n = 2 * len(chosen.classes)
    table = simulate(name, n, seed=4)
    assert table.shape == chosen.image_shape
    assert table.labels.tolist() == list(chosen.classes) * 2
    images = table.images()
    assert np.isfinite(images).all()
    assert (images.reshape(n, -1).std(1) > 0).all()
    assert table.units("theta_E") == "arcsec"
    assert np.array_equal(np.isfinite(table.column("theta_E")), table.labels != "nonlens")


@pytest.mark.parametrize("name", ["model-i", "model-iii", "model-iii-noisy", "common-test", "lens-finding"])
def test_a_row_is_a_function_of_seed_and_row_alone(name):
    chosen = PRESETS[name]
    whole, _ = chosen.images(chosen.population.draw(40, seed=6))
    for start, size in ((0, 1), (3, 7), (17, 23), (39, 1)):
        part, _ = chosen.images(chosen.population.draw(size, seed=6, start=start))
        assert np.array_equal(part, whole[start : start + size]), f"rows {start} to {start + size}"
    other, _ = chosen.images(chosen.population.draw(40, seed=7))
    assert not np.array_equal(other, whole)


def test_classes_share_nothing_but_the_prior_and_noise_has_its_own_stream():
    a, b = row_generator(1, 2, "scene").random(4), row_generator(1, 2, "noise").random(4)
    assert not np.allclose(a, b)


def test_the_noise_of_the_noisy_presets_is_the_instruments():
    chosen = PRESETS["model-ii-noisy"]
    scene = chosen.population.draw(60, seed=1)
    images, _ = chosen.images(scene)
    corner = images[:, 0, :6, :6]
    assert corner.std() == pytest.approx(INSTRUMENTS["euclid-vis"].background_sigma, rel=0.03)
    assert abs(corner.mean()) < 4 * corner.std() / corner.size**0.5


def test_model_iii_is_noise_free_and_doubled():
    from darklens.simulate import render

    chosen = PRESETS["model-iii"]
    scene = chosen.population.draw(3, seed=1)
    images, _ = chosen.images(scene)
    assert np.allclose(images[:, 0], 2 * render(scene, chosen.instrument, chosen.shape).numpy(), rtol=1e-6)


def test_another_instrument_sees_the_same_scenes():
    table = simulate("model-iii", 3, seed=2, instrument="euclid-vis")
    assert table.pixel_scale == 0.101
    assert table.column("source_x") == pytest.approx(simulate("model-iii", 3, seed=2).column("source_x"))
    with pytest.raises(InputError, match="uncalibrated"):
        simulate("model-i", 3, instrument="euclid-vis")


def test_unknown_names_get_the_nearest():
    with pytest.raises(InputError, match="did you mean 'model-iii'"):
        preset("modeliii")
    with pytest.raises(InputError, match="euclid-vis"):
        simulate("model-iii", 3, instrument="euclid")
    with pytest.raises(InputError, match="outside 1 to"):
        simulate("model-iii", 0)


@pytest.mark.parametrize(("model", "name"), [("Model_II", "model-ii"), ("Model_III", "model-iii")])
def test_public_no_sub_images_are_reproduced(shared_data, model, name):
    """Public files hold the scenes of our presets: fit the source position, the only free numbers, to 1e-5 of the peak."""
    from dataclasses import replace

    import torch
    from scipy.optimize import least_squares

    from darklens.simulate import render

    chosen = PRESETS[name]
    scene = chosen.population.draw(1, seed=0)  # a no_sub system
    for record in list(read(shared_data / "deeplensesim" / model / "no_sub"))[:2]:
        target = record.image[0].astype(np.float64)

        def residual(position, target=target):
            x, y = torch.tensor(position[:1]), torch.tensor(position[1:])
            moved = replace(scene, source=(replace(scene.source[0], center_x=x, center_y=y),))
            return (
                2 * render(moved, chosen.instrument, chosen.shape, dtype=torch.float64)[0].numpy() - target
            ).ravel() / target.max()

        fits = [least_squares(residual, start) for start in ((0.0, 0.0), (0.2, 0.2), (-0.2, 0.2), (0.2, -0.2), (-0.2, -0.2))]
        assert np.abs(min(fits, key=lambda fit: fit.cost).fun).max() < 1e-5


@pytest.mark.slow
def test_a_killed_simulation_continues_without_losing_or_doubling_a_row(tmp_path):
    out, n = tmp_path / "table", 5000
    code = f"from darklens.simulate import simulate; simulate('model-iii', {n}, seed=3, out={str(out)!r})"
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while not list(Path(out).glob("part-*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with pytest.raises(InputError, match="incomplete"):
        Table.open(out)
    continued = simulate("model-iii", n, seed=3, out=out)
    assert len(continued) == len(set(continued.ids)) == n
    fresh = PRESETS["model-iii"]
    images, _ = fresh.images(fresh.population.draw(50, seed=3, start=n - 50))
    assert np.array_equal(continued.images(np.arange(n - 50, n)), images)


def test_common_test_statistics_agree_with_the_official_aggregates(shared_data):
    from benchmarks.common_test_statistics import compare

    rows = compare(shared_data / "deeplense-samples" / "common-test-no-9995-aggregates.npz", n=2000, seed=0)
    for row in rows:
        assert row["passes"], row


def test_checksum_of_a_table_is_that_of_its_content(tmp_path):
    first = simulate("model-iii", 12, seed=5, out=tmp_path / "a")
    second = simulate("model-iii", 12, seed=5, out=tmp_path / "b")
    assert hashlib.sha256(first.images().tobytes()).digest() == hashlib.sha256(second.images().tobytes()).digest()
