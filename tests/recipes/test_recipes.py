import pytest

from darklens.errors import InputError
from darklens.recipes import load, names, validate


@pytest.mark.parametrize("name", names())
def test_every_recipe_loads_says_what_to_expect_and_has_a_tiny_mode(name):
    recipe = load(name)
    assert recipe.name == name
    assert recipe.summary
    assert "to be measured" not in recipe.expects
    assert len(recipe.expects) > 20
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
