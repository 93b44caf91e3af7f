import json
import shutil

import numpy as np
import pytest
import torch

import darklens
from darklens.errors import InputError
from darklens.evaluate.detections import detection_metrics, half_mass, match
from darklens.models import build
from darklens.recipes import load
from darklens.runs import Run
from darklens.simulate import clumps_of, preset, simulate
from darklens.train.clump_set import ClumpSet, drawn_clumps
from darklens.train.config import TrainConfig
from darklens.train.config_localisation import LocalisationConfig
from darklens.train.localisation import MIDDLE, Localisation
from darklens.train.localiser import Localiser

SCALE = 0.16
TASK = Localisation(LocalisationConfig(), SCALE)


def of_places(*places):
    return torch.tensor([[place] for place in places], dtype=torch.float32)


def test_clumps_are_drawn_again_as_the_table_has_them():
    table = simulate("perturber", 6, seed=3)
    clumps = drawn_clumps(table, 7.0, 3)
    there = table.column("n_sub") > 0
    assert np.isfinite(clumps[:, 0, 2]).tolist() == there.tolist()
    assert clumps[there, 0, 0] == pytest.approx(table.column("x_sub")[there], abs=1e-5)
    assert 10 ** clumps[there, 0, 2].astype(float) == pytest.approx(table.column("m_sub")[there], rel=1e-4)
    assert not np.isfinite(clumps[:, 1:]).any()


def test_the_heaviest_of_many_clumps_come_first():
    scene = preset("subhalos").draw(2, 1)
    every = clumps_of(scene)[1]
    assert 10 ** every[:, 2] == pytest.approx(10 ** np.sort(every[:, 2])[np.argsort(np.argsort(every[:, 2]))])
    assert (10 ** every[:, 2]).sum() == pytest.approx(scene.truth["m_sub"][1], rel=1e-6)
    table = simulate("subhalos", 2, seed=1)
    kept = drawn_clumps(table, 8.0, 4)[1, :, 2]
    assert kept == pytest.approx(np.sort(every[:, 2])[::-1][:4], abs=1e-5)


def test_clumps_that_have_no_halo_are_refused():
    scene = preset("model-iii-noisy").draw(3, 1)
    with pytest.raises(InputError, match="take preset perturber"):
        clumps_of(scene)


def test_the_network_moves_its_map_with_the_image():
    model = build("peaknet", bands=5, size=40, seed=1).eval()
    images = torch.zeros(1, 5, 40, 40)
    images[..., 18:21, 17:20] = torch.randn(5, 3, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        here, there = model(images), model(images.roll((3, -2), (-2, -1)))
    inner = (slice(None), slice(None), slice(14, 26), slice(14, 26))
    assert torch.allclose(here.roll((3, -2), (-2, -1))[inner], there[inner], atol=1e-5)


def test_mirrored_and_turned_images_take_their_clumps_along():
    """A spot in the image stays on the place that the targets name."""
    height = 9
    images = torch.zeros(64, 1, height, height)
    images[:, 0, 2, 7] = 1.0
    x, y = (7 - 4) * SCALE, (2 - 4) * SCALE
    targets = of_places(*[(x, y, 9.0)] * 64)
    config, share = TrainConfig(task="localisation", augment=["dihedral"]), (slice(None), 64)
    moved, where = TASK.augment(images, targets, config, torch.Generator().manual_seed(0), share)
    row, column = (where[:, 0, k] / SCALE + 4 for k in (1, 0))
    found = moved[torch.arange(64), 0, row.round().long(), column.round().long()]
    assert found.tolist() == [1.0] * 64
    assert len({tuple(place) for place in where[:, 0, :2].tolist()}) == 8
    assert where[..., 2].tolist() == targets[..., 2].tolist()


def perfect(targets, size=16, sigma=0.1):
    """Return the answers of a network that knows: maps with a spot, offsets and masses as they are."""
    answers = torch.zeros(len(targets), 6, size, size)
    answers[:, 0] = -12.0
    rows, columns = torch.meshgrid(*[torch.arange(size, dtype=torch.float32)] * 2, indexing="ij")
    for k, (x, y, mass) in enumerate(targets[:, 0]):
        at = float(x) / SCALE + (size - 1) / 2, float(y) / SCALE + (size - 1) / 2
        answers[k, 0] = torch.logit(torch.exp(-0.5 * ((columns - at[0]) ** 2 + (rows - at[1]) ** 2)).clamp(1e-5, 1 - 1e-3))
        answers[k, 1], answers[k, 2] = at[0] - columns, at[1] - rows
        answers[k, 4] = mass - MIDDLE
    answers[:, 3] = answers[:, 5] = np.log(sigma)
    return answers


class Fixed(torch.nn.Module):
    def __init__(self, answers):
        super().__init__()
        self.answers = answers

    def forward(self, inputs):
        return self.answers


def test_the_loss_is_least_for_the_truth():
    targets = of_places((0.5, -0.4, 9.4), (-0.2, 0.3, 8.3))
    inputs, answers = torch.zeros(2, 5, 16, 16), perfect(targets)
    best, more = TASK.losses(Fixed(answers), inputs, targets)
    wrong = {1: 0.5, 2: -0.5, 4: 0.3}
    for channel, by in wrong.items():
        changed = answers.clone()
        changed[:, channel] += by
        assert TASK.losses(Fixed(changed), inputs, targets)[1] > more + 0.05
    assert TASK.losses(Fixed(answers.roll(3, -1)), inputs, targets)[0] > best + 1
    _, free = TASK.losses(Fixed(answers), inputs, torch.full_like(targets, float("nan")))
    assert free == 0  # an image without clump says nothing about places


def test_peaks_are_where_the_map_says_with_the_errors_that_it_says():
    targets = of_places((0.55, -0.41, 9.4), (-0.2, 0.3, 8.3))
    localiser = object.__new__(Localiser)
    localiser.scale = SCALE
    found = localiser.peaks(perfect(targets, sigma=0.25).numpy(), 0.5)
    assert found.image.tolist() == [0, 1]
    assert found.x == pytest.approx([0.55, -0.2], abs=1e-5)
    assert found.y == pytest.approx([-0.41, 0.3], abs=1e-5)
    assert found.log10_m == pytest.approx([9.4, 8.3], abs=1e-5)
    assert found.place_error == pytest.approx(0.25 * SCALE)
    assert found.mass_error == pytest.approx(0.25)
    assert len(found.above(2.0).x) == 0


def test_the_threshold_has_the_rate_of_false_positives_that_was_asked_for():
    localiser = object.__new__(Localiser)
    localiser.scale, localiser.settings = SCALE, {"false_positives": 0.05}
    heights = np.linspace(-6, 2, 40).astype(np.float32)
    maps = np.full((40, 6, 9, 9), -9.0, np.float32)
    maps[:, 0, 4, 4] = heights
    localiser.maps = lambda inputs: maps
    images = ClumpSet(np.zeros((40, 5, 9, 9), np.float32), np.full((40, 1, 3), np.nan, np.float32), [str(i) for i in range(40)])
    threshold = localiser.calibrated(images)["threshold"]
    assert len(localiser.peaks(maps).above(threshold).x) == 2  # 5% of 40
    with pytest.raises(InputError, match="no validation image is without a clump"):
        localiser.calibrated(ClumpSet(images.images, np.zeros((40, 1, 3), np.float32), images.ids))


def test_a_clump_is_found_once_and_what_is_far_is_false():
    truth = np.array([[0.0, 0.0], [1.0, 0.0]])
    found = np.array([[0.1, 0.0], [0.0, 0.1], [1.5, 0.0], [0.9, 0.1]])
    assert match(found, truth, 0.3).tolist() == [0, -1, -1, 1]
    assert match(found, np.zeros((0, 2)), 0.3).tolist() == [-1] * 4


def test_completeness_rises_with_the_mass_as_it_was_made_to():
    rng = np.random.default_rng(0)
    mass = rng.uniform(8, 10, 4000)
    hit = rng.random(4000) < 1 / (1 + np.exp(-6 * (mass - 8.9)))
    half = half_mass(mass, hit)
    assert half["value"] == pytest.approx(8.9, abs=0.04)
    assert half["low"] < 8.9 < half["high"]
    metrics = detection_metrics(mass, hit, np.where(hit, 0.05, 0.4), np.array([0, 1, 0, 0] * 50), np.zeros(10))
    assert metrics["false_positives"]["value"] == pytest.approx(0.25)
    assert [row["value"] for row in metrics["completeness"]["on_arcs"]] == [1.0] * 8
    assert metrics["log10_m_50_on_arcs"] is None  # all are found
    assert metrics["false_all"]["high"] == pytest.approx(0.3)  # none in ten


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        (["train.augment=[dihedral, shift]"], "leave only dihedral"),
        (["preprocess.input=image"], "sees evidence"),
        (["data.fresh=true"], "stored simulations"),
        (["data.preset=model-iii-noisy"], "take preset perturber"),
        (["model.name=arcnet"], "localisation"),
    ],
)
def test_settings_that_mean_nothing_are_refused(tmp_path, changes, word):
    from darklens.recipes.execution import execute

    few = ["tiny=true", "data.train=4", "data.validation=4", "data.test=4"]
    with pytest.raises(InputError, match=word):
        execute(load("localise-subhalos", [*few, *changes]), tmp_path / "run", device="cpu", log=lambda sentence: None)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from darklens.recipes.execution import execute

    folder = tmp_path_factory.mktemp("localise")
    few = ["tiny=true", "data.train=16", "data.validation=12", "data.test=12", "train.precision=float32", "train.epochs=1"]
    return execute(load("localise-subhalos", few), folder / "run", device="cpu", log=lambda sentence: None)[0]


def test_a_tiny_training_leaves_a_run_that_localises(run, tmp_path):
    assert run.complete
    assert run.metrics["task"] == "localisation"
    assert {"completeness", "false_positives", "threshold"} <= set(run.metrics)
    assert len(run.predictions()["id"]) == 6
    assert {f["file"] for f in run.figures} == {"examples.png", "completeness.png", "history.png"}
    simulate("perturber", 2, seed=9, out=tmp_path / "table")
    content = darklens.localise(run.path, tmp_path / "table", tmp_path / "out", device="cpu")
    assert content["images"] == 2
    assert json.loads((tmp_path / "out" / "localisation.json").read_text())["method"] == content["method"]
    assert (tmp_path / "out" / f"{content['found'][0]['id']}.fits").is_file()
    with pytest.raises(InputError, match="a run knows its instrument"):
        darklens.localise(run.path, tmp_path / "table", tmp_path / "other", preset="perturber")
    with pytest.raises(InputError, match="a run of localisation"):
        Localiser(Run.open("arcnet:common-test"))
    np.save(tmp_path / "small.npy", np.zeros((20, 20), np.float32))
    with pytest.raises(InputError, match="20"):
        darklens.localise(run.path, tmp_path / "small.npy", tmp_path / "third", device="cpu")
    shutil.copytree(run.path, tmp_path / "unfinished")
    (tmp_path / "unfinished" / "calibration.json").unlink()
    with pytest.raises(InputError, match="not finished"):
        darklens.localise(tmp_path / "unfinished", tmp_path / "table", tmp_path / "fourth", device="cpu")
