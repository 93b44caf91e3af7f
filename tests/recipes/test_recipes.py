import pytest

from darklens.errors import InputError
from darklens.recipes import load, names, validate

OFFICIAL = [
    name for name in names() if name.startswith(("binary-sub", "dropout", "common-test-pi", "model-iii-vit", "model-iii-lens"))
]
"""Published systems, that somebody with the official files will want to train."""


@pytest.mark.parametrize("name", names())
def test_every_recipe_loads_says_what_to_expect_and_has_a_tiny_mode(name):
    recipe = load(name)
    assert recipe.name == name
    assert recipe.summary
    assert "to be measured" not in recipe.expects
    assert len(recipe.expects) > 20
    assert recipe.official or name not in OFFICIAL
    tiny = load(name, ["tiny=true"]).effective()
    assert tiny.data.train <= 96
    assert tiny.train.epochs <= 2
    assert validate(recipe.model_dump(mode="json")) == recipe  # a run can be repeated from its own copy


def test_overrides():
    recipe = load("model-iii-resnet18", ["train.epochs=3", "model.name=cnn", "data.group={cdm: sub}", "train.augment=[dihedral]"])
    assert recipe.train.epochs == 3
    assert recipe.model.name == "cnn"
    assert recipe.data.group == {"cdm": "sub"}
    assert recipe.train.augment == ["dihedral"]


@pytest.mark.parametrize(
    ("override", "match"),
    [
        ("train.epoch=3", "unknown key 'train.epoch'.*did you mean 'epochs'"),
        ("trian.epochs=3", "unknown key 'trian'.*did you mean 'train'"),
        ("train.epochs=many", "'train.epochs' is 'many'"),
        ("train.epochs=0", "'train.epochs' is 0"),
        ("model.name=resnt18", "did you mean 'resnet18'"),
        ("train.schedule=onecylce", "'onecycle'"),
        ("epochs", "not key=value"),
        ("data.path=somewhere", "not both"),
    ],
)
def test_wrong_overrides_are_one_sentence(override, match):
    with pytest.raises(InputError, match=match) as caught:
        load("demo", [override])
    assert "\n" not in str(caught.value)


def test_wrong_recipes_are_one_sentence(tmp_path):
    with pytest.raises(InputError, match="did you mean 'demo'"):
        load("dmeo")
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: [")
    with pytest.raises(InputError, match="is not YAML"):
        load(bad)
    bad.write_text("just text")
    with pytest.raises(InputError, match="no mapping"):
        load(bad)
    with pytest.raises(InputError, match="does not exist"):
        load(tmp_path / "none.yaml")


@pytest.mark.parametrize("name", [name for name in names() if load(name).published])
def test_as_published_differs_in_what_the_recipe_says_and_in_nothing_else(name):
    recipe, plain = load(name, ["as_published=true"]), load(name).effective()
    as_published = recipe.effective().model_dump(mode="json")
    assert load(name, ["as_published=true", "tiny=true"]).effective().data.train <= 96
    expected = plain.model_dump(mode="json") | {"published": {}}
    for key, value in recipe.published.items():
        *parents, last = key.split(".")
        section = expected
        for parent in parents:
            section = section[parent]
        assert section.get(last) != value, f"{key} changes nothing"
        section[last] = value
    assert as_published == expected
    assert validate(recipe.model_dump(mode="json")) == recipe  # a run can be repeated from its own copy


def test_settings_of_the_six_architectures_are_the_published_ones():
    rates = {"cnn": 1e-4, "resnet18-published": 1e-5, "efficientnet-b0": 1e-5, "vit": 1e-5, "cvt": 1e-6, "lensformer": 1e-5}
    for name, rate in rates.items():
        recipe = load(f"model-iii-{name}")
        assert (recipe.data.train, recipe.data.validation, recipe.data.test) == (80457, 8939, 15000)
        assert (recipe.train.lr, recipe.train.batch_size, recipe.train.epochs) == (rate, 100, 100)
        assert (recipe.train.optimizer, recipe.train.schedule, recipe.train.gamma) == ("adam", "exponential", 0.8)
        assert (recipe.preprocess.normalise, recipe.train.augment, recipe.train.ema) == ("min-max", [], None)
        assert load(f"model-iii-{name}", ["as_published=true"]).effective().train.schedule == "constant"


@pytest.mark.parametrize(
    ("override", "match"),
    [
        ("published={train.epoch: 3}", "unknown key 'train.epoch'.*did you mean 'epochs'"),
        ("published={train.lr.x: 3}", "'lr' has no keys of its own"),
        ("published={train.epochs: 0}", "'train.epochs' is 0"),
        ("published={train.epochs: 3}", "several networks"),
        ("as_published=true", "no published settings"),
        ("data={preset: model-iii, fresh: true, leak: true}", "data.leak adds test images"),
    ],
)
def test_wrong_published_settings_are_one_sentence(override, match):
    name = "demo" if match in ("several networks", "no published settings") else "model-iii-resnet18"
    with pytest.raises(InputError, match=match) as caught:
        load(name, [override])
    assert "\n" not in str(caught.value)


def test_the_tiny_mode_of_a_recipe_for_few_labels_has_no_more_labels_than_images():
    data = load("few-labels", ["tiny=true"]).effective().data
    assert data.subset == data.train < 300
    assert load("few-labels").data.subset == 300
