import shutil

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import darklens
from darklens.api.calibrating import calibrated
from darklens.cli.application import app
from darklens.data import content_hash
from darklens.errors import InputError, WorkError
from darklens.files import read_json
from darklens.recipes import resume
from darklens.train import checkpoint
from darklens.train.adaptation import AdaptConfig, adapt_network, adversarial, match_moments, self_train
from darklens.train.adaptation.images import read_target, sample, source_images
from darklens.train.adaptation.self_training import balanced, confident
from darklens.train.classification import Classification
from darklens.train.config import Preprocess

CLASSES = ("narrow", "wide")
TASK = Classification(CLASSES, {})
RECIPE = {
    "name": "blobs",
    "model": {"name": "arcnet", "options": {"widths": [8, 12, 16], "symmetric": False, "dropout": 0.0}},
    "preprocess": {"normalise": "none"},
    "train": {"epochs": 8, "batch_size": 16, "lr": 4e-3, "augment": [], "ema": None, "precision": "float32"},
}


def blobs(n, seed, *, gain=1.0, offset=0.0, noise=0.2):
    """Images of a narrow or a wide blob, and their labels; the target's camera has another gain and offset."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    y, x = np.mgrid[:32, :32]
    cx, cy = 15.5 + rng.normal(0, 2, (2, n, 1, 1))
    width = np.where(labels == 0, 2.0, 3.0)[:, None, None]
    images = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * width**2)) + noise * rng.normal(size=(n, 32, 32))
    return (gain * images + offset).astype(np.float32), labels


def tree(path, images, labels, names=CLASSES):
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = path if names is None else path / names[label]
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{i:04d}.npy", image)
    return path


CAMERA = {"gain": 2.5, "offset": 1.0}
"""Of the target."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A trained run on one camera, and images of another."""
    root = tmp_path_factory.mktemp("adapt")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    tree(root / "source", *blobs(240, 0))
    tree(root / "target", *blobs(160, 1, **CAMERA))
    recipe = RECIPE | {"data": {"path": str(root / "source"), "fractions": [0.7, 0.15, 0.15]}}
    darklens.train(recipe, out=root / "run", device="cpu", log=lambda s: None)
    adapt(root, "moments")
    yield root
    torch.set_num_threads(threads)


def adapt(place, out, **options):
    target = options.pop("to", place / "target")
    options = {"epochs": 1, "rounds": 1, "batch_size": 32, "device": "cpu", "log": lambda s: None} | options
    return darklens.adapt(place / "run", target, place / out, **options)


def weights(run):
    return checkpoint.load_weights(run.weights)


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.slow
def test_moments_bring_back_what_another_camera_took(place):
    images, labels = blobs(300, 2, **CAMERA)
    accuracy = {name: (darklens.open_run(place / name).predict(images).argmax(1) == labels).mean() for name in ("run", "moments")}
    assert accuracy["run"] < 0.7 < 0.95 < accuracy["moments"]


def test_only_the_moments_change(place):
    old, new = (weights(darklens.open_run(place / name)) for name in ("run", "moments"))
    changed = {k for k in old if not torch.equal(old[k], new[k])}
    assert changed
    assert all(k.endswith(("running_mean", "running_var", "num_batches_tracked")) for k in changed)


def test_moments_are_those_of_the_target(place):
    run = darklens.open_run(place / "run")
    network, kept = run.predictor.model, {k: v.clone() for k, v in run.predictor.model.state_dict().items()}
    inputs = blobs(256, 3, **CAMERA)[0][:, None]
    match_moments(network, inputs, Preprocess(normalise="none"), torch.device("cpu"))
    first = network.stages[0]
    with torch.no_grad():
        maps = first[0](torch.from_numpy(inputs))
    assert torch.allclose(first[1].running_mean, maps.mean((0, 2, 3)), atol=1e-4)
    assert torch.allclose(first[1].running_var, maps.var((0, 2, 3)), rtol=1e-3)
    assert first[1].momentum == 0.1
    network.load_state_dict(kept)


@pytest.mark.parametrize("method", ["adda", "self-training"])
def test_methods_adapt_beyond_the_undisturbed_run_and_keep_it(place, method):
    kept = weights(darklens.open_run(place / "run"))
    run = adapt(place, method, method=method, epochs=2, test_fraction=0.0)
    images, labels = blobs(300, 2, **CAMERA)
    assert (run.predict(images).argmax(1) == labels).mean() > 0.95
    assert run.history
    assert equal(kept, weights(darklens.open_run(place / "run")))
    assert not equal(kept, weights(run))


def test_the_result_is_an_ordinary_run(place):
    run = darklens.open_run(place / "moments")
    assert run.complete
    assert run.metrics["accuracy"]["n"] == run.data["splits"]["test"]["rows"] == len(run.predictions()["id"])
    assert run.metrics["accuracy"]["value"] > 0.9
    about = run.provenance["adapted_from"]
    assert about["method"] == "moments"
    assert about["run"] == str(place / "run")
    assert len(about["target_checksum"]) == 64
    assert darklens.evaluate(run, place / "target", name="again", device="cpu")["accuracy"]["n"] == 160
    assert run.predictor.answers(run.predictor.checked(blobs(50, 7, **CAMERA)[0])).unusual.flags.mean() < 0.3
    darklens.report([run], place / "page.html")


@pytest.mark.parametrize("method", ["moments", "adda", "self-training"])
def test_target_labels_are_never_read(place, method):
    images, labels = blobs(80, 1, **CAMERA)
    rng = np.random.default_rng(5)
    found = []
    for name, names in (("right", CLASSES), ("wrong", CLASSES), ("none", None)):
        given = rng.permutation(labels) if name == "wrong" else labels
        target = tree(place / f"labels-{method}-{name}", images, given, names)
        found.append(adapt(place, f"{method}-{name}", to=target, method=method, source_images=64, test_fraction=0.0))
    assert equal(weights(found[0]), weights(found[1]))
    assert equal(weights(found[0]), weights(found[2]))
    assert found[0].metrics is found[2].metrics is None


def test_other_names_of_the_classes_are_kept(place):
    target = tree(place / "renamed", *blobs(40, 8, **CAMERA), ("thin", "thick"))
    with pytest.raises(InputError, match="--group"):
        adapt(place, "grouped", to=target)
    run = adapt(place, "grouped", to=target, group={"thin": "narrow", "thick": "wide"})
    assert run.metrics["accuracy"]["n"] == run.data["splits"]["test"]["rows"]
    assert run.predictor.task.encode(np.array(["thick", "thin"], dtype=object)).tolist() == [1, 0]


def test_an_adapted_run_is_not_trained_further(place):
    with pytest.raises(InputError, match="was adapted, not trained"):
        resume(place / "moments")


def test_sides_are_disjoint_by_content(place):
    task, shape = darklens.open_run(place / "run").predictor.task, (1, 32, 32)
    records = list(darklens.load(place / "target").records())
    twice = [*records, *(r.with_(id=f"copy of {r.id}") for r in records)]

    def divide(records, seed=0):
        return read_target(records, shape, task, test_fraction=0.4, seed=seed, on_skip=lambda what, why: pytest.fail(why))

    once, double = divide(records), divide(twice)
    learned, tested = ({content_hash(i) for i in part} for part in (double.images, double.test.images))
    assert not learned & tested
    assert len(learned) + len(tested) == len(records) == once.rows
    assert len(double.test) == 2 * len(once.test)
    assert np.array_equal(once.images, divide(records[::-1]).images)
    assert once.checksum == divide(records[::-1]).checksum != double.checksum
    assert not np.array_equal(once.images[:10], divide(records, seed=1).images[:10])


def test_source_images_are_those_of_the_training(place):
    run = darklens.open_run(place / "run")
    found = source_images(run, run.predictor.task, run.predictor.shape, 40)
    known = {content_hash(i[None]) for i in blobs(240, 0)[0]}
    assert len(found) == 40
    assert {content_hash(i) for i in found.images} <= known
    assert min(found.counts.values()) > 10
    shutil.copytree(place / "run", place / "moved")
    card = read_json(place / "moved" / "data.json")
    card["splits"]["train"]["path"] = "gone"
    darklens.open_run(place / "moved").write("data", card)
    with pytest.raises(InputError, match="give labelled ones with --source"):
        source_images(darklens.open_run(place / "moved"), run.predictor.task, run.predictor.shape, 40)
    given = source_images(darklens.open_run(place / "moved"), run.predictor.task, run.predictor.shape, 40, place / "source")
    assert given.counts == {"narrow": 20, "wide": 20}


def test_source_images_of_a_preset_are_drawn_again(place):
    table = darklens.simulate("model-iii", n=12, seed=4)
    run = darklens.open_run(place / "run")
    shutil.copytree(place / "run", place / "preset")
    darklens.open_run(place / "preset").write(
        "data", {"preset": "model-iii", "splits": {"train": {"seed": 4, "rows": 12, "path": None}}}
    )
    task = run.predictor.task.with_group({"no_sub": "narrow", "cdm": "wide", "axion": "wide"})
    found = source_images(darklens.open_run(place / "preset"), task, (1, 64, 64), 9)
    assert np.array_equal(found.images, table.images()[:9])
    assert found.counts == {"narrow": 3, "wide": 6}


@pytest.mark.slow
def test_the_bands_of_the_target_are_chosen(place, tmp_path):
    images, labels = blobs(40, 9, **CAMERA)
    pairs = np.stack([np.zeros_like(images), images], 1)
    tree(tmp_path / "pairs", pairs, labels)
    alone = adapt(place, tmp_path / "alone", to=tree(tmp_path / "target", images, labels))
    chosen = adapt(place, tmp_path / "chosen", to=tmp_path / "pairs", bands="1")
    assert equal(weights(alone), weights(chosen))
    with pytest.raises(InputError, match="2 bands and the model was trained on 1"):
        adapt(place, tmp_path / "refused", to=tmp_path / "pairs")


def test_the_bands_that_are_measured_are_chosen(place, tmp_path):
    images, labels = blobs(6, 9)
    tree(tmp_path / "pairs", np.stack([np.zeros_like(images), images], 1), labels)
    judge = darklens.open_run(place / "run").predictor
    kept = []
    judge.calibrated_on = lambda found, log: kept.append(found)
    calibrated(judge, tmp_path / "pairs", bands="1")
    assert sorted(content_hash(image) for image in kept[0]) == sorted(content_hash(image[None]) for image in images)


def test_a_death_while_writing_leaves_no_run(place, monkeypatch):
    def die(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("darklens.train.adaptation.adapted_run.judge", die)
    with pytest.raises(KeyboardInterrupt):
        adapt(place, "killed")
    assert not [p for p in place.iterdir() if "killed" in p.name]


def test_a_place_that_is_taken(place):
    with pytest.raises(InputError, match="give --force"):
        adapt(place, "moments")
    with pytest.raises(InputError, match="the run that is adapted"):
        adapt(place, "run", force=True)
    with pytest.raises(InputError, match="not a run"):
        adapt(place, "source", force=True)
    replaced = adapt(place, "nothing-yet", test_fraction=0.0)
    assert adapt(place, "nothing-yet", test_fraction=0.0, seed=3, force=True).provenance["seed"] == 3
    assert replaced.metrics is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "adada"}, "did you mean 'adda'"),
        ({"epochs": 0}, "epochs 0 is outside"),
        ({"confidence": 1.5}, "confidence 1.5 is outside"),
        ({"test_fraction": 1.0}, "test fraction 1.0 is outside"),
        ({"test_fraction": 0.9, "to": "few"}, "images to adapt to: give at least 16"),
        ({"calibrate": True}, "fits no lenses"),
    ],
)
def test_wrong_input_is_one_sentence(place, options, said):
    if options.get("to") == "few":
        options = options | {"to": tree(place / "few", *blobs(30, 4))}
    with pytest.raises(InputError, match=said):
        adapt(place, "wrong-input", **options)
    assert not (place / "wrong-input").exists()


def test_methods_that_need_what_is_not_there(place):
    predictor = darklens.open_run(place / "run").predictor
    images = predictor.checked(blobs(20, 3)[0])
    with pytest.raises(InputError, match="needs labelled images of the source"):
        adapt_network(predictor, images, "adda", AdaptConfig())
    plain = predictor.with_network(torch.nn.Linear(2, 2))
    with pytest.raises(InputError, match="needs batch normalisation"):
        adapt_network(plain, images, "moments", AdaptConfig())


def two_clouds(n, seed, shift=(0.0, 0.0)):
    """Two classes in a plane, as images of two pixels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    points = rng.normal(0, 0.35, (n, 2)) * [1, 2] + np.stack([2.0 * labels - 1, np.zeros(n)], 1)
    return (points + shift).astype(np.float32)[:, None, None], labels


def plane_classifier():
    """A network without normalisation, trained to tell the clouds apart."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    points, labels = two_clouds(400, 0)
    for _ in range(150):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(torch.from_numpy(points)), torch.from_numpy(labels)).backward()
        optimizer.step()
    return network


def right(network, points, labels):
    return float((network(torch.from_numpy(points)).argmax(1).numpy() == labels).mean())


PLAIN = Preprocess(normalise="none")


def test_adda_finds_a_shift_of_the_features():
    network, target = plane_classifier(), two_clouds(400, 1, shift=(1.1, 0.5))
    head = network[-1].weight.clone()
    before = right(network, *target)
    config = AdaptConfig(epochs=40, lr=1e-3, batch_size=50)
    adversarial(network, 2, target[0], two_clouds(400, 0)[0], PLAIN, config, torch.device("cpu"))
    assert before < 0.7
    assert right(network, *target) > before + 0.1
    assert torch.equal(network[-1].weight, head)
    assert all(p.requires_grad for p in network.parameters())


def test_self_training_follows_a_shifted_target():
    network, target = plane_classifier(), two_clouds(400, 1, shift=(0.8, 3.0))
    before = right(network, *target)
    config = AdaptConfig(epochs=5, rounds=4, lr=5e-3, batch_size=50, confidence=0.9)
    self_train(network, TASK, target[0], two_clouds(400, 0), PLAIN, config, torch.device("cpu"))
    assert before < 0.85
    assert right(network, *target) > before + 0.05


def test_self_training_needs_a_confident_answer():
    network, (points, labels) = plane_classifier(), two_clouds(40, 1)
    torch.nn.init.zeros_(network[-1].weight)
    with pytest.raises(WorkError, match="lower --confidence"):
        self_train(network, TASK, points, (points, labels), PLAIN, AdaptConfig(confidence=0.9), torch.device("cpu"))


def test_confident_answers_are_drawn_class_by_class():
    logits = np.array([[9.0, 0.0]] * 30 + [[0.0, 9.0]] * 2 + [[0.1, 0.0]] * 8)
    chosen, labels = confident(logits, 0.9)
    assert chosen.tolist() == list(range(32))
    drawn = next(balanced(labels, 4000, torch.Generator().manual_seed(0)))
    assert abs((labels[drawn] == 1).mean() - 0.5) < 0.03


@pytest.mark.parametrize("size", [3, 10, 17, 400])
def test_a_stream_is_sampled_evenly(size):
    found = sample(iter(range(size)), 10)
    assert len(found) == min(size, 10)
    assert found[0] == 0
    assert found[-1] >= 0.9 * (size - 1)
    assert max(np.diff(found)) <= 3 * max(1, size / 10)


def test_command(place):
    arguments = ["adapt", str(place / "run"), "--to", str(place / "target"), "--out", str(place / "by-command"), "--device", "cpu"]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    assert '"accuracy"' in result.output
    assert equal(weights(darklens.open_run(place / "by-command")), weights(darklens.open_run(place / "moments")))
