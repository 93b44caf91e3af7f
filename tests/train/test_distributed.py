"""Several processes, accumulated gradients and parts of batches give the training of one process on whole batches."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from darklens.errors import InputError, WorkError
from darklens.runs import Run
from darklens.train import batch_size, checkpoint
from darklens.train.augment import augment
from darklens.train.batch_norm import SynchronisedBatchNorm, normalises, synchronised
from darklens.train.classification import Classification
from darklens.train.config import Preprocess, TrainConfig
from darklens.train.distributed import connect
from darklens.train.fresh import FreshImages
from darklens.train.image_set import ImageSet
from darklens.train.loop import Training

CLASSES = ("left", "right")
TASK = Classification(CLASSES, {})
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "LOCAL_RANK"} | {"OMP_NUM_THREADS": "1"}


def blobs(n=44, seed=0, size=16):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    images = rng.normal(size=(n, 1, size, size)) * 0.1
    images[np.arange(n), 0, size // 2, np.where(labels == 0, size // 4, 3 * size // 4)] += 1
    return ImageSet(images.astype(np.float32), labels, np.arange(n).astype(str).astype(object), CLASSES)


class Normalised(nn.Module):
    """Batch normalisation of maps and of features, a parameter that nothing uses, in float64: only mistakes make a difference."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stages = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.GELU(), nn.Flatten(), nn.Linear(196, 8))
        self.head = nn.Sequential(nn.BatchNorm1d(8, affine=False, momentum=None), nn.Linear(8, 2))
        self.unused = nn.Linear(3, 3)
        self.double()

    def forward(self, images):
        return self.head(self.stages(images.double()))


class Plain(nn.Module):
    """No batch statistics; `room` images fit into the memory."""

    def __init__(self, room=1000):
        super().__init__()
        torch.manual_seed(0)
        self.layers, self.room = (
            nn.Sequential(nn.Flatten(), nn.Linear(256, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 2)),
            room,
        )

    def forward(self, images):
        if self.training and len(images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.layers(images)


def training(path, model, team=None, **settings):
    said = []
    defaults = {"epochs": 2, "batch_size": 11, "precision": "float32", "lr": 3e-3, "augment": ["dihedral", "shift"]}
    config = TrainConfig(**(defaults | settings))
    run = team.in_turn(lambda: Run.create(path, {"name": "x"})) if team else Run.create(path, {"name": "x"})
    made = Training(run, model, TASK, blobs(), blobs(17, 1), config, Preprocess(), device="cpu", team=team, log=said.append)
    made.said = said
    return made


def losses(state):
    return [[row["train_loss"], row["val_loss"]] for row in state["history"]]


def process(folder, rank, size, port, **settings):
    """Train as one of several processes; the first writes its loss curve. Runs in a process of its own."""
    os.environ.update(LOCAL_RANK=str(rank), NODE_RANK="0", WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    made = training(Path(folder), Normalised(), connect("cpu", size), **settings)
    state = made.fit()
    if rank == 0:
        print(json.dumps({"losses": losses(state), "world": made.team.size, "idle": len(made.idle)}), flush=True)


STARTER = """
import importlib.util, os, sys
spec = importlib.util.spec_from_file_location("distributed_case", {file!r})
case = importlib.util.module_from_spec(spec); spec.loader.exec_module(case)
import socket
with socket.socket() as s:
    s.bind(("127.0.0.1", 0)); port = s.getsockname()[1]
child = os.fork()  # before any thread is started: one import for two processes
case.process({folder!r}, 0 if child else 1, 2, port, **{settings!r})
if child:
    os.waitpid(child, 0)
"""


def two_processes(folder, **settings):
    script = STARTER.format(file=__file__, folder=str(folder), settings=settings)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=ENVIRONMENT, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_two_processes_train_as_one_with_batch_statistics_uneven_shares_and_a_resume_by_one(tmp_path):
    whole = training(tmp_path / "one", Normalised(), epochs=4, schedule="constant").fit()
    two = two_processes(tmp_path / "two", epochs=2, schedule="constant")
    assert two["world"] == 2
    assert two["idle"] == 2
    assert np.allclose(two["losses"], losses(whole)[:2], rtol=0, atol=1e-6)
    resumed = training(tmp_path / "two", Normalised(), epochs=4, schedule="constant").fit()  # one process takes over from two
    assert np.allclose(losses(resumed), losses(whole), rtol=0, atol=1e-6)
    a, b = (checkpoint.load_weights(tmp_path / x / "last.safetensors") for x in ("one", "two"))
    assert all(torch.allclose(a[k], b[k], atol=1e-5) for k in a if "unused" not in k)
    assert a["stages.1.running_var"].std() > 0


@pytest.mark.slow
def test_the_command_line_with_two_processes_gives_the_loss_curve_of_one(tmp_path):
    settings = ["tiny=true", "model={name: arcnet, options: {dropout: 0}}", "preprocess={}", "train.precision=float32"]
    settings += ["data.validation=12", "data.test=12", "data.train=48", "train.lr=1e-3", "train.batch_size=15"]
    settings += ["train.optimizer=sgd"]  # the first steps of Adam are the signs of gradients, rounding errors of zero among them
    command = [str(Path(sys.executable).with_name("darklens")), "train", "model-iii-resnet18", "--device", "cpu"]
    command += [part for setting in settings for part in ("--set", setting)]
    curves = []
    for number in ("1", "2"):
        out = tmp_path / number / "run"
        done = subprocess.run(
            [*command, "--devices", number, "--out", str(out), "--json"],
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            check=True,
        )
        assert json.loads(done.stdout)["accuracy"]["n"] == 12  # one process answers
        assert done.stderr.count("training arcnet") == 1
        assert json.loads((out / "provenance.json").read_text())["processes"] == int(number)
        with open(out / "history.csv", newline="") as file:
            curves.append([[float(row["train_loss"]), float(row["val_loss"])] for row in csv.DictReader(file)])
    assert len(curves[0]) == 2
    assert np.allclose(*curves, rtol=0, atol=1e-4)


@pytest.mark.parametrize("settings", [{"accumulate": 4}, {"micro_batch": 3}])
def test_accumulated_gradients_are_those_of_the_whole_batch(tmp_path, settings):
    a = training(tmp_path / "whole", Plain())
    b = training(tmp_path / "parts", Plain(), **settings)
    assert np.allclose(losses(a.fit()), losses(b.fit()), rtol=0, atol=1e-5)
    a, b = (checkpoint.load_weights(tmp_path / x / "last.safetensors") for x in ("whole", "parts"))
    assert all(torch.allclose(a[k], b[k], atol=1e-4) for k in a)


def test_short_memory_halves_what_is_computed_at_once_and_goes_on_with_the_same_numbers(tmp_path):
    whole, short = training(tmp_path / "whole", Plain()), training(tmp_path / "short", Plain(room=3))
    assert np.allclose(losses(whole.fit()), losses(short.fit()), rtol=0, atol=1e-5)
    assert [s for s in short.said if "memory" in s] == [
        f"the memory does not hold that many images at once: going on with {n} at a time" for n in (8, 4, 2)
    ]
    assert short.state["micro_batch"] == 2
    assert training(tmp_path / "short", Plain(), epochs=3).micro_batch == 2  # a resumed training begins with what fits
    with pytest.raises(WorkError, match="does not hold a training step on one image"):
        training(tmp_path / "none", Plain(room=0)).fit()


def test_parts_cover_a_share_evenly():
    assert batch_size.parts(10, None) == [slice(0, 10)]
    assert [p.stop - p.start for p in batch_size.parts(10, 4)] == [3, 3, 4]
    assert [p.stop - p.start for p in batch_size.parts(10, 4, accumulate=5)] == [2] * 5
    assert len(batch_size.parts(3, None, accumulate=8)) == 3
    assert [batch_size.smaller(n) for n in (64, 65, 3, 2)] == [32, 64, 2, 1]


def test_what_fits_and_what_is_fastest_is_found_by_trying():
    def attempt(n):
        if n > 20:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 1.0

    assert batch_size.largest_that_fits(attempt, 100)[0] == 16
    assert batch_size.largest_that_fits(attempt, 19)[0] == 19
    with pytest.raises(RuntimeError, match="shapes"):
        batch_size.largest_that_fits(lambda n: (_ for _ in ()).throw(RuntimeError("shapes differ")), 8)
    assert batch_size.fastest(lambda n: n * (2.0 if n > 32 else 1.0), 128)[0] in (16, 32)
    assert batch_size.fastest(lambda n: n * 1.0, 128)[0] == 128  # no gain: the share stays whole


def test_automatic_parts_are_measured_once_and_kept(tmp_path):
    first = training(tmp_path / "run", Plain(), batch_size=40, micro_batch="auto")
    first.fit()
    assert any("measured training images/s" in s for s in first.said)
    again = training(tmp_path / "run", Plain(), batch_size=40, micro_batch="auto", epochs=3)
    assert again.micro_batch == first.micro_batch
    assert not any("measured" in s for s in again.said)


def test_augmentation_of_a_share_is_the_share_of_the_augmented_batch():
    images, kinds = torch.rand(10, 1, 8, 8), ["dihedral", "shift"]
    whole = augment(images, kinds, torch.Generator().manual_seed(5))
    parts = [
        augment(images[part], kinds, torch.Generator().manual_seed(5), share=(part, 10)) for part in (slice(0, 3), slice(3, 10))
    ]
    assert torch.equal(torch.cat(parts), whole)


def test_fresh_images_of_the_shares_are_those_of_the_batch():
    from darklens.simulate import preset

    task = Classification(("axion", "cdm", "no_sub"), {})
    fresh, order = FreshImages(preset("model-i"), 3, 8, task), np.arange(8)
    whole = [images for images, _ in fresh.epoch(1, order, 4)]
    shares = [[images for images, _ in fresh.epoch(1, order, 4, part=part)] for part in (slice(0, 1), slice(1, 4))]
    for step, images in enumerate(whole):
        assert torch.equal(torch.cat([share[step] for share in shares]), images)


def test_synchronised_normalisation_keeps_parameters_statistics_and_names():
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Sequential(nn.BatchNorm2d(3)), nn.BatchNorm2d(3, affine=False, momentum=None))
    wanted, parameters = model.state_dict(), list(model.parameters())
    found = synchronised(model)
    assert [type(m) for m in (found[1][0], found[2])] == [SynchronisedBatchNorm] * 2
    assert list(found.state_dict()) == list(wanted)
    assert all(a is b for a, b in zip(found.parameters(), parameters, strict=True))
    assert normalises(found)
    assert not normalises(Plain())


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("cpu", "two"), "--devices 'two' is no number"),
        (("cpu", 0), "--devices 0 is no number"),
        (("cpu", 1, 0), "--nodes 0 is no number"),
        pytest.param(
            ("cuda", 2), "cannot be used", marks=pytest.mark.skipif(torch.cuda.device_count() > 1, reason="there are two devices")
        ),
    ],
)
def test_devices_that_do_not_exist_are_one_sentence(arguments, match):
    with pytest.raises(InputError, match=match) as caught:
        connect(*arguments)
    assert "\n" not in str(caught.value)


def test_a_batch_smaller_than_the_team_is_refused():
    team = connect("cpu")
    team.size = 4
    with pytest.raises(InputError, match="a batch of 3 images cannot be shared by 4 processes"):
        team.share(3)
    shares = []
    for team.rank in range(4):
        shares.append(team.share(10))
    assert [s.stop - s.start for s in shares] == [2, 3, 2, 3]
    assert [shares[0].start, shares[-1].stop] == [0, 10]
