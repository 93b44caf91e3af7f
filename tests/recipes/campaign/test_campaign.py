import csv
import json
import shutil

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import darklens
import darklens.train.evaluation
from darklens.cli.application import app
from darklens.data import Table
from darklens.errors import InputError
from darklens.recipes import resume
from darklens.train.checkpoint import load_weights

CLASSES = ("nonlens", "lens")
Y, X = np.mgrid[:32, :32] - 15.5
SHAPES = {
    "blob": np.exp(-(X**2 + Y**2) / 18),
    "ring": np.exp(-((np.hypot(X, Y) - 9) ** 2) / 4),
    "bar": np.exp(-(Y**2) / 3) * (abs(X) < 12),
}
POOL = ["blob", "blob", "ring", "bar"] * 15
"""The first network has never seen a bar, which is a lens."""
RECIPE = {
    "name": "shapes",
    "model": {"name": "arcnet", "options": {"widths": [8, 12, 16], "symmetric": False, "dropout": 0.0}},
    "preprocess": {"normalise": "none"},
    "train": {"task": "binary", "epochs": 4, "batch_size": 8, "lr": 4e-3, "augment": [], "ema": None, "precision": "float32"},
}
QUIET = {"device": "cpu", "log": lambda sentence: None}
FAST = QUIET | {"epochs": 3, "lr": 2e-3}


def images(kinds, seed):
    rng = np.random.default_rng(seed)
    rolled = (np.roll(SHAPES[k], rng.integers(-3, 4, 2), (0, 1)) for k in kinds)
    return np.stack([image + 0.3 * rng.normal(size=(32, 32)) for image in rolled]).astype(np.float32)


def tree(path, kinds, seed, *, named=True):
    for i, (image, kind) in enumerate(zip(images(kinds, seed), kinds, strict=True)):
        folder = path / CLASSES[kind != "blob"] if named else path
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{i:03d}.npy", image)
    return path


def ids_of(queue):
    with (queue / "queue.csv").open(newline="") as file:
        return [row["id"] for row in csv.DictReader(file)]


def truth(name):
    return CLASSES[POOL[int(name)] != "blob"]


def decide(path, answers, who=""):
    """Write answers, a mapping or ids that are answered truly, to a file."""
    pairs = answers.items() if isinstance(answers, dict) else [(name, truth(name)) for name in answers]
    path.write_text("id,decision,who,when\n" + "".join(f"{name},{answer},{who},\n" for name, answer in pairs))
    return path


def weights(campaign):
    return load_weights(campaign.run.weights)


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module", autouse=True)
def _no_figures():
    """The pictures of a run are tested with `evaluate`, and take longer than everything here."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("save_classification_figures", "save_training_figures", "save_rare_figures"):
            patch.setattr(darklens.train.evaluation, name, lambda *args, **options: None)
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A campaign that has begun, with a queue of 16."""
    root = tmp_path_factory.mktemp("campaign")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    tree(root / "source", ["blob", "ring"] * 40, 0)
    tree(root / "pool", POOL, 1, named=False)
    tree(root / "measure", ["blob", "blob", "ring", "bar"] * 15, 2)
    begin(root, root / "begun").next(16, "diversity", **QUIET)
    yield root
    torch.set_num_threads(threads)


def begin(root, out, **options):
    recipe = RECIPE | {"data": {"path": str(root / "source"), "classes": list(CLASSES), "fractions": [0.6, 0.2, 0.2]}}
    return darklens.Campaign.start(root / "pool", out, **{"recipe": recipe, "validation": root / "measure"} | QUIET | options)


@pytest.fixture
def campaign(place, tmp_path):
    """A copy of it."""
    shutil.copytree(place / "begun", tmp_path / "campaign")
    return darklens.Campaign(tmp_path / "campaign")


@pytest.fixture
def queue(campaign):
    return campaign.path / "queues" / "001"


def test_a_campaign_learns_what_its_first_network_did_not_know(campaign, queue, tmp_path):
    asked = set(ids_of(queue))
    campaign.learn(decide(tmp_path / "one.csv", asked), **FAST)
    second = campaign.next(16, "uncertainty", **QUIET)
    assert not asked & set(ids_of(second))
    campaign.learn(decide(tmp_path / "two.csv", ids_of(second)), **FAST)
    first, _, last = (row["metrics"]["average_precision"] for row in campaign.history)
    assert last["value"] > first["value"] + 0.03
    assert all(row["metrics"]["average_precision"]["low"] is not None for row in campaign.history)
    assert [row["asked"] for row in campaign.history] == ["", "16 diversity", "16 uncertainty"]
    assert campaign.history[2]["labels"]["lens"] == sum(truth(n) == "lens" for n in asked | set(ids_of(second)))
    assert campaign.run.complete
    assert sum(row["new"] for row in campaign.history) == 32
    with pytest.raises(InputError, match="round of a campaign"):
        resume(campaign.run.path)


def test_nothing_is_asked_twice_until_the_pool_is_used_up(campaign):
    seen = set(ids_of(campaign.path / "queues" / "001"))
    for strategy, n in (("mixed", 20), ("random", 20), ("expected-gain", 20)):
        new = ids_of(campaign.next(n, strategy, **QUIET))
        assert not seen & set(new)
        seen |= set(new)
    assert len(new) == 4
    assert len(seen) == len(POOL)
    with pytest.raises(InputError, match="all 60 images of the pool were asked for"):
        campaign.next(1, **QUIET)


def test_a_queue_can_be_labelled_from_and_does_not_tell_what_the_model_thinks(queue):
    assert {p.name for p in queue.iterdir()} == {"queue.csv", "decisions.csv", "sheet.png", "label.html"}
    with (queue / "queue.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "source", "why", "score"]
    assert all(row["why"].startswith("diversity: ") and row["source"].endswith(f"{row['id']}.npy") for row in rows)
    assert (queue / "sheet.png").read_bytes().startswith(b"\x89PNG")
    page = (queue / "label.html").read_text()
    assert all(f'data-id="{row["id"]}"' in page for row in rows)
    assert page.count('data-answer="lens"') == len(rows)
    assert "P(lens)" not in page
    assert (queue / "decisions.csv").read_text().splitlines()[:2] == ["id,decision,who,when", f"{rows[0]['id']},,,"]


@pytest.mark.parametrize("when", ["epoch 1/3", "epoch 3/3", "round 1 took"])
def test_learning_that_is_killed_is_continued_to_the_same_network(campaign, queue, tmp_path, when):
    whole = tmp_path / "whole"
    shutil.copytree(campaign.path, whole)
    decisions = decide(tmp_path / "d.csv", ids_of(queue))

    class Killed(Exception):
        pass

    def log(sentence):
        if sentence.startswith(when):
            raise Killed

    with pytest.raises(Killed):
        campaign.learn(decisions, **FAST | {"log": log})
    assert len(campaign.history) == 1
    with pytest.raises(InputError, match="begun with other decisions"):
        campaign.learn(decide(tmp_path / "other.csv", ids_of(queue)[:5]), **FAST)
    again = darklens.Campaign(campaign.path)
    again.learn(*([decisions] if when == "epoch 1/3" else []), **QUIET)
    uninterrupted = darklens.Campaign(whole)
    uninterrupted.learn(decisions, **FAST)
    assert equal(weights(again), weights(uninterrupted))
    assert [row | {"date": ""} for row in again.history] == [row | {"date": ""} for row in uninterrupted.history]
    with pytest.raises(InputError, match="nothing new"):
        again.learn(decisions, **FAST)


def test_a_begin_that_is_killed_is_continued(place, tmp_path):
    def log(sentence):
        if "to replay" in sentence:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begin(place, tmp_path / "c", log=log)
    with pytest.raises(InputError, match="begun and not finished"):
        darklens.Campaign(tmp_path / "c")
    with pytest.raises(InputError, match="another seed"):
        begin(place, tmp_path / "c", seed=5)
    begun = begin(place, tmp_path / "c")
    assert equal(weights(begun), weights(darklens.Campaign(place / "begun")))
    before = (begun.path / "history.json").read_bytes()
    assert begin(place, tmp_path / "c").history == begun.history
    assert (begun.path / "history.json").read_bytes() == before


def test_several_people_maybe_and_skip(campaign, queue, tmp_path):
    ids = ids_of(queue)
    lens, other = next(n for n in ids if truth(n) == "lens"), next(n for n in ids if truth(n) == "nonlens")
    rest = [n for n in ids if n not in (lens, other)]
    told = []
    answers = {n: truth(n) for n in rest[2:]} | {rest[0]: "maybe", rest[1]: "skip", lens: "lens", other: "lens"}
    path = decide(tmp_path / "d.csv", answers, "Ann")
    path.write_text(path.read_text() + f"{other},nonlens,Bo,\n{lens},lens,Bo,\n{lens},nonlens,Cy,\n")
    row = campaign.learn(path, **FAST | {"log": told.append})
    assert any(s.startswith(f"conflict: {other} has") for s in told)
    assert (campaign.run.path / "conflicts.csv").read_text().count(other) == 2
    assert {k: row["labels"][k] for k in ("maybe", "skip", "conflicts")} == {"maybe": 1, "skip": 1, "conflicts": 1}
    taught = Table.open(campaign.run.path / "labelled")
    assert set(taught.ids) == {*rest[2:], lens}
    assert dict(zip(taught.ids, taught.labels, strict=True))[lens] == "lens"
    left = set(ids_of(campaign.next(60, "random", **QUIET)))
    assert not left & set(ids)  # nobody is asked again, whatever they said
    settled = decide(tmp_path / "more.csv", {other: "nonlens"}, "Dee")
    assert campaign.learn(settled, **FAST)["labels"]["conflicts"] == 0
    assert campaign.history[-1]["new"] == 1


def test_decisions_without_a_lens_are_refused_with_the_count(campaign, queue, tmp_path):
    others = [n for n in ids_of(queue) if truth(n) == "nonlens"]
    path = decide(tmp_path / "d.csv", others)
    with pytest.raises(InputError, match=f"hold {len(others)} nonlens, 0 lens: nothing is learned without lens"):
        campaign.learn(path, **FAST)
    assert campaign.path.joinpath("rounds", "001").exists() is False
    assert campaign.learn(path, one_class=True, **FAST)["labels"]["lens"] == 0


def test_labels_of_the_pool_are_not_looked_at_and_copies_are_not_asked_for(place, tmp_path):
    named = tree(tmp_path / "named", POOL[:20], 1)
    shutil.copy(named / "lens" / "002.npy", named / "nonlens" / "copy.npy")
    shutil.copy(place / "measure" / "lens" / "002.npy", named / "lens" / "measured.npy")
    told = []
    first = darklens.Campaign(place / "begun").run
    begun = darklens.Campaign.start(
        named, tmp_path / "c", run=first, validation=place / "measure", replay=0, **QUIET | {"log": told.append}
    )
    assert "1 copies and 1 images of training or validation" in " ".join(told)
    pool = json.loads((begun.path / "campaign.json").read_text())["pool"]
    assert pool["rows"] == 20
    queue = begun.next(30, **QUIET)
    assert len(ids_of(queue)) == 20
    assert "lens/measured" not in ids_of(queue)


def test_a_changed_pool_is_noticed(campaign, queue, place, tmp_path):
    moved = tree(tmp_path / "pool", POOL, 1, named=False)
    about = json.loads((campaign.path / "campaign.json").read_text())
    about["pool"]["path"] = str(moved)
    (campaign.path / "campaign.json").write_text(json.dumps(about))
    name = ids_of(queue)[0]
    np.save(moved / f"{name}.npy", images(["blob"], 99)[0])
    with pytest.raises(InputError, match=f"image '{name}' of .* has changed"):
        darklens.Campaign(campaign.path).learn(decide(tmp_path / "d.csv", ids_of(queue)), **FAST)
    (moved / f"{name}.npy").unlink()
    with pytest.raises(InputError, match=f"no longer has image '{name}'"):
        darklens.Campaign(campaign.path).learn(decide(tmp_path / "d.csv", ids_of(queue)), **FAST)


def test_what_a_campaign_cannot_begin_with_is_refused_in_one_sentence(place, tmp_path):
    first = darklens.Campaign(place / "begun").run
    (tmp_path / "empty").mkdir()
    tree(tmp_path / "few", ["blob"] * 12, 3)
    options = {"run": first, "validation": place / "measure", "replay": 0} | QUIET
    refused = [
        (tmp_path / "empty", {}, "no image"),
        (place / "pool", {"run": None}, "give one of --run and --recipe"),
        (place / "pool", {"validation": tmp_path / "few"}, "0 lens to tune"),
        (place / "measure", {}, "no image to ask about .*60 held out"),
        (tmp_path / "none", {}, "cannot be read"),
    ]
    for i, (pool, changes, words) in enumerate(refused):
        with pytest.raises(InputError, match=words) as error:
            darklens.Campaign.start(pool, tmp_path / f"c{i}", **options | changes)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="not a campaign"):
        darklens.Campaign(place / "pool")
    with pytest.raises(InputError, match="holds something that is not a campaign"):
        darklens.Campaign.start(place / "pool", place / "measure", **options)


def test_the_command_line(campaign, queue, tmp_path):
    def call(*arguments):
        return CliRunner().invoke(app, ["active", *map(str, arguments)], catch_exceptions=False)

    decisions = decide(tmp_path / "d.csv", ids_of(queue))
    learned = call("learn", campaign.path, decisions, "--epochs", 1, "--device", "cpu", "--json")
    assert json.loads(learned.stdout)["rounds"][1]["new"] == 16
    chosen = json.loads(call("next", campaign.path, "--n", 3, "--strategy", "likely", "--device", "cpu", "--json").stdout)
    assert chosen["queue"].endswith("queues/002/queue.csv")
    shown = call("status", campaign.path).stdout
    assert "16 diversity" in shown
    assert "measured on 40 images" in shown
