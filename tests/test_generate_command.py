"""From a recipe to a table of new images: the tiny training, `darklens generate` and `darklens walk`, and wishes refused."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import darklens
from benchmarks import generation as benchmark
from darklens import cli
from darklens.data import Table
from darklens.errors import InputError
from darklens.fit import Plan
from darklens.recipes import execute, load
from darklens.recipes.splits import tables
from darklens.train.generation import Generator
from darklens.train.generation.measuring import Ruler

SMALL = ["tiny=true", "model.options={widths: [8, 16], embedding: 16}", "train.batch_size=24", "generation.judged=16"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generation")
    (found,) = execute(load("lens-diffusion", SMALL), folder / "lens", device="cpu", log=lambda sentence: None)
    return found


@pytest.fixture
def command(capsys, monkeypatch):
    def call(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["darklens", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        assert caught.value.code == code, out + err
        return SimpleNamespace(stdout=out, stderr=err)

    return call


def test_the_run_is_complete_with_a_floor_beside_each_figure(run):
    metrics = run.metrics
    for name in ("frechet", "precision", "recall", "density", "coverage", "two_sample_auc", "spectrum_deviation", "chi2"):
        for number in (metrics[name], metrics[f"{name}_floor"]):
            assert number["low"] <= number["value"] <= number["high"]
    assert metrics["headline"][:2] == ["frechet", "frechet_floor"]
    assert metrics["features"] == "arcnet:model-iii-noisy"
    assert metrics["theta_E_scatter_floor"]["value"] < 0.05  # the fit finds the theta_E of real images
    assert 0.9 < metrics["chi2_floor"]["value"] < 1.3
    assert metrics["memorised"]["value"] == 0
    assert run.history[-1]["val_loss"] > 0
    assert {f["file"] for f in run.figures} == {f"{n}.png" for n in ("samples", "statistics", "fits", "neighbours", "history")}
    assert len(run.predictions()["id"]) == metrics["n"] == 16
    assert run.model["intensity"]["kind"] == "asinh"  # of what the smooth lens leaves over, in units of the noise
    assert run.model["backdrop"]["intensity"]["kind"] == "root"
    assert [c["name"] for c in run.model["conditions"]["columns"]] == ["theta_E", "f_sub"]


def test_generate_writes_a_table_that_says_what_it_is(command, run, tmp_path):
    asked = ("--set", "theta_E=1.2", "--set", "class=cdm", "--seed", "3")
    said = json.loads(command("generate", run.path, "--n", "3", "--out", tmp_path / "T", *asked, "--json").stdout)
    table = Table.open(tmp_path / "T")
    assert table.labels.tolist() == ["cdm"] * 3
    assert np.allclose(table.column("theta_E"), 1.2)
    assert (table.column("f_sub") > 0).all()  # as cdm has it
    assert table.manifest["synthetic"]
    assert table.manifest["flux_unit"] == "e-/s"
    assert said["generator"]["asked"] == {"theta_E": 1.2, "class": "cdm"}
    assert np.isfinite(table.images()).all()


def test_a_network_that_has_hardly_learned_makes_lenses_all_the_same(run, tmp_path):
    """The smooth lens is rendered: its Einstein radius is what was asked for, whatever the network adds."""
    made = darklens.generate(run, 6, out=tmp_path / "T", set=["theta_E=1.3", "class=no_sub"], steps=4)
    fit = Plan.from_dict(run.model["fit"]).fit(made.image_array())
    assert fit["theta_E"] == pytest.approx(1.3, rel=0.02)
    assert np.abs(np.diff(fit["source_x"])).min() > 1e-3  # each is another


@pytest.mark.slow
def test_without_a_smooth_lens_the_network_makes_the_whole_image(tmp_path):
    (found,) = execute(
        load("lens-diffusion", [*SMALL, "generation.smooth_lens=false"]), tmp_path / "lens", device="cpu", log=lambda sentence: None
    )
    assert "backdrop" not in found.model
    assert found.model["intensity"]["kind"] == "root"
    assert found.metrics["theta_E_scatter"]["value"] > 0.05  # two epochs make no lenses
    assert np.isfinite(darklens.generate(found, 2, out=tmp_path / "T", steps=2).images()).all()


def test_images_depend_on_seed_and_number_alone(run, tmp_path):
    many = darklens.generate(run, 4, out=tmp_path / "A", steps=2).images()
    few = darklens.generate(run, 2, out=tmp_path / "B", steps=2).images()
    other = darklens.generate(run, 2, out=tmp_path / "C", steps=2, seed=1).images()
    assert np.allclose(many[:2], few, atol=1e-5)
    assert not np.allclose(few, other, atol=1e-3)


def test_noise_on_the_way_belongs_to_an_image_too(run, tmp_path):
    many = darklens.generate(run, 4, out=tmp_path / "A", sampler="ancestral", steps=4).images()
    few = darklens.generate(run, 2, out=tmp_path / "B", sampler="ancestral", steps=4).images()
    assert np.allclose(many[:2], few, atol=1e-5)


@pytest.mark.slow
def test_made_up_images_are_called_so_wherever_they_are_used(command, run, tmp_path):
    darklens.generate(run, 40, out=tmp_path / "T", steps=1)
    assert (
        "made up by a network (generated by"
        in command("evaluate", "arcnet:model-iii-noisy", "--data", tmp_path / "T", "--out", tmp_path / "E").stderr
    )
    assert json.loads(command("inspect", tmp_path / "T", "--figure", tmp_path / "T.png", "--json").stdout)["table"]["synthetic"]
    said = []
    own = ["data.preset=null", f"data.path={tmp_path / 'T'}", "data.fractions=[0.4, 0.3, 0.3]"]
    tables(load("model-iii-resnet18", own), tmp_path, said.append, lambda *a: None)
    assert "holds images that a network made up (generated by lens)" in said[0]


def test_a_table_that_was_cut_short_is_continued(run, tmp_path):
    whole = darklens.generate(run, 3, out=tmp_path / "T", steps=1)
    again = darklens.generate(run, 3, out=tmp_path / "T", steps=1)
    assert np.array_equal(whole.images(), again.images())
    with pytest.raises(InputError, match="--force"):
        darklens.generate(run, 4, out=tmp_path / "T", steps=1)
    with pytest.raises(InputError, match=r"with another generator\.steps \(1 there, 2 here\)"):
        darklens.generate(run, 3, out=tmp_path / "T", steps=2)


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        (["--set", "theta_E=9"], "theta_E = 9 is outside what this run was trained on"),
        (["--set", "class=wdm"], "unknown class 'wdm'"),
        (["--set", "class=no_sub", "--set", "f_sub=0.01"], "no image of class no_sub that this run was trained on had f_sub"),
        (["--steps", "0"], "0 steps make no image"),
        (["--sampler", "euler"], "unknown sampler 'euler'"),
        (["--guidance", "-1"], "guidance -1 is negative"),
        (["--guidance", "nan"], "guidance nan is not between 0 and 20"),
        (["--guidance", "1e9"], "guidance 1e+09 is not between 0 and 20"),
        (["--steps", "100000"], "100000 steps are more than 4000"),
        (["--set", "theta_E=1.2", "--set", "theta_E=1.3"], "theta_E is asked for twice, 1.2 and 1.3: give it once"),
    ],
)
def test_wishes_that_cannot_be_met(command, run, tmp_path, wish, says):
    assert says in command("generate", run.path, "--n", "2", "--out", tmp_path / "T", *wish, code=2).stderr
    assert not (tmp_path / "T").exists()


def test_other_runs_make_no_images(command, tmp_path):
    assert "makes no images" in command("generate", "arcnet:model-iii", "--n", "2", "--out", tmp_path / "T", code=2).stderr


def test_walk_draws_the_way(command, run, tmp_path):
    told = ("--set", "class=no_sub", "--set", "theta_E=0.9", "--to", "theta_E=1.4")
    content = json.loads(
        command("walk", run.path, "--out", tmp_path / "w.gif", "--frames", "5", "--steps", "2", *told, "--json").stdout
    )
    on_the_way = [float(caption.split()[-1]) for caption in content["captions"]]
    assert on_the_way == pytest.approx([0.9, 1.025, 1.15, 1.275, 1.4], abs=6e-3)
    with Image.open(tmp_path / "w.gif") as picture:
        assert picture.n_frames == 8  # there and back
    with Image.open(tmp_path / "w.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10
    assert "is there already" in command("walk", run.path, "--out", tmp_path / "w.gif", code=2).stderr
    assert "does not end in .gif" in command("walk", run.path, "--out", tmp_path / "w.mp4", code=2).stderr
    assert "leads nowhere" in command("walk", run.path, "--out", tmp_path / "v.gif", "--frames", "1", code=2).stderr


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("preprocess.normalise=min-max", "a generator sees images in physical units"),
        ("train.augment=[shift]", "train.augment shift changes what a generator learns to make"),
        ("data.fresh=true", "leave it out"),
        ("model.name=ddpm", "cannot be told what an image shall be"),
        ("data.preset=model-ii", "needs noise that is the same for all images, and this is Floor"),
        ("data.preset=lens-finding", "fits a smooth lens to whole images of one band"),
    ],
)
def test_settings_that_would_change_what_is_learned(tmp_path, setting, says):
    recipe = load("lens-diffusion", ["tiny=true", setting])
    with pytest.raises(InputError, match=says):
        execute(recipe, tmp_path / "run", device="cpu", log=lambda sentence: None)


@pytest.mark.slow
def test_the_benchmark_of_a_run(run):
    generator = Generator(run, "cpu")
    ruler = Ruler(generator.shape, Plan.from_dict(generator.described["fit"]), "subhalos-axion")
    found = benchmark.steps(generator, ruler, "ddim:1,dpm-solver++:2", 12)
    assert list(found) == ["ddim:1", "dpm-solver++:2"]
    for numbers in found.values():
        assert numbers["frechet_ratio"]["value"] > 1  # two epochs make no noise
        assert numbers["frechet_floor"] == found["ddim:1"]["frechet_floor"]
    lessons = benchmark.lessons(generator, ruler, 24, 24)
    assert {name: lessons[name]["accuracy"]["n"] for name in ("real", "generated")} == {"real": 24, "generated": 24}
