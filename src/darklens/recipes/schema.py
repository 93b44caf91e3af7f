"""The recipe: one experiment as data. Unknown keys are refused, with the nearest known one."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

import pydantic
import yaml
from pydantic import BaseModel, Field

from darklens.errors import InputError, nearest, unknown
from darklens.files import read_yaml
from darklens.models import FAMILIES, architecture, task_of
from darklens.recipes.catalogue import FOLDER, names
from darklens.simulate import options_of_split
from darklens.train.config import Preprocess, Strict, TrainConfig
from darklens.train.config_foundation import FoundationConfig
from darklens.train.config_generation import GenerationConfig
from darklens.train.config_inference import InferenceConfig
from darklens.train.config_localisation import LocalisationConfig
from darklens.train.config_super_resolution import SuperResolutionConfig

MAX_BYTES = 1 << 20
SPLITS = ("train", "validation", "test")
TINY_ROWS = {"train": 48, "validation": 24, "test": 24}
TINY_NETWORKS = 3


class Positives(Strict):
    """How many images of each split are of the last class."""

    train: int = Field(ge=1)
    validation: int = Field(ge=1)
    test: int = Field(ge=1)


class DataConfig(Strict):
    """Where the images come from: a preset of the simulator, or a path."""

    preset: str | None = None
    """Simulate this preset; the three splits have seeds `seed`, `seed + 1`, `seed + 2`."""
    path: str | None = None
    """Or read this: a table, a DeepLense tree, anything that darklens imports."""
    test_path: str | None = None
    """A test set of its own, beside `path`."""
    train: int = Field(9000, ge=1)
    validation: int = Field(1500, ge=1)
    test: int = Field(3000, ge=1)
    """Images to simulate."""
    positives: Positives | None = None
    """How many images of each split of a preset with two classes are of the last one (lens), exactly; by default half."""
    difficulty: float | None = Field(None, ge=0, le=1)
    """Of the preset lens-finding: how much what is no lens looks like one, and how faint arcs are; 0 is easy."""
    galaxies: str | None = None
    """Of the preset lens-finding: a folder or table of real cutouts, which stand in for the galaxies of the simulation;
    each split has its own of them, by `fractions`."""
    subset: int | None = Field(None, ge=1)
    """Train on so many of the training images only, drawn by `seed`; smaller subsets lie in larger ones. For learning curves."""
    fresh: bool = False
    """Draw the training images while training, new ones every epoch; `train` is then the length of an epoch."""
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Train, validation, test of a path that has no splits of its own; drawn by content, so that copies stay together."""
    seed: int = Field(1, ge=0)
    test_seed: int | None = Field(None, ge=0)
    """Draw the test images of a preset with this seed instead of `seed + 2`: new ones, where others have been looked at before."""
    group: dict[str, str] = Field(default_factory=dict)
    """Label in the data -> class, to tell fewer classes apart."""
    classes: list[str] | None = None
    """Order of the classes; by default the data's own."""
    leak: bool = False
    """A published mistake, to see what it does: the test images are trained on as well. The figures of such a run mean nothing."""

    def seed_of(self, split: str) -> int:
        """Return the seed that a split of a preset is drawn with; `split` is train, validation or test."""
        if split == "test" and self.test_seed is not None:
            return self.test_seed
        return self.seed + SPLITS.index(split)

    def options_of(self, split: str) -> dict[str, Any]:
        """Return what a split asks of its preset beyond the name, as `darklens.simulate.configured` takes it."""
        return options_of_split(split, self.model_dump())


class ModelConfig(Strict):
    """Which network."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)
    preprocess: Preprocess | None = None
    """What this network sees, where it differs from the recipe's `preprocess`."""

    def tiny(self) -> ModelConfig:
        """Return the network for a few images: a small one of the same form, where the architecture says how (`tiny`)."""
        return self.model_copy(update={"options": {**self.options, **getattr(architecture(self.name), "tiny", {})}})


class FitConfig(Strict):
    """How smooth lenses are fitted, for networks that see residuals; simulated tables need none of this."""

    preset: str | None = None
    instrument: str | None = None
    model: str | None = None
    fixed: dict[str, float] = Field(default_factory=dict)
    pixel_scale: float | None = None
    psf_fwhm: float | None = None


class Recipe(Strict):
    """One experiment."""

    name: str
    summary: str = ""
    expects: str = ""
    """Run time and score, as measured."""
    official: str = ""
    """The folder of official files that `--data` takes: its layout and its labels."""
    data: DataConfig
    model: ModelConfig
    also: list[ModelConfig] = Field(default_factory=list)
    """Further networks to train on the same images, for a paired comparison."""
    preprocess: Preprocess = Preprocess()
    fit: FitConfig = FitConfig()
    train: TrainConfig = TrainConfig()
    super_resolution: SuperResolutionConfig | None = None
    localisation: LocalisationConfig | None = None
    generation: GenerationConfig | None = None
    foundation: FoundationConfig | None = None
    inference: InferenceConfig | None = None
    tune: dict[str, dict[str, Any] | list[Any]] = Field(default_factory=dict)
    """Dotted key -> values to search, for `darklens tune`: {low, high, log, step}, or a list."""
    published: dict[str, Any] = Field(default_factory=dict)
    """Dotted key -> value: how the published code differs from this recipe, its defects above all."""
    as_published: bool = False
    """Apply `published`, defects included."""
    tiny: bool = False
    """A few images, one or two epochs, three networks at most: to see that everything works."""

    def model_post_init(self, context: object) -> None:
        """Check what the types cannot say."""
        for model in (self.model, *self.also):
            architecture(model.name)  # refuses unknown ones
            if (task := task_of(model.name)) != FAMILIES[self.train.task]:
                raise InputError(
                    f"model {model.name!r} is for {task} and the recipe's train.task is {self.train.task}: "
                    "darklens list models says what each is for"
                )
        if (self.data.preset is None) == (self.data.path is None):
            raise InputError("recipe data needs either a preset or a path, not both: set one of data.preset and data.path")

        if self.data.fresh and self.data.preset is None:
            raise InputError("data.fresh draws from a preset, and the recipe has a path: set data.preset, or leave data.fresh out")

        if self.data.test_seed in (self.data.seed, self.data.seed + 1):
            raise InputError(f"data.test_seed {self.data.test_seed} draws the training or validation images again: choose another")
        for name in SPLITS if self.data.positives else ():
            if (k := getattr(self.data.positives, name)) >= (n := getattr(self.data, name)):
                raise InputError(
                    f"data.positives.{name} is {k} of {n} images, which leaves no other class: lower it, or raise data.{name}"
                )
        if self.data.subset and self.data.fresh:
            raise InputError("data.subset takes some of stored training images, and data.fresh stores none: set data.train instead")
        if FAMILIES[self.train.task] != "classification" and any(one.preprocess.columns for one in self.single()):
            raise InputError(f"preprocess.columns are for classifiers, and train.task is {self.train.task}: leave them out")
        if self.data.leak and self.data.fresh:
            raise InputError("data.leak adds test images to stored training images, and data.fresh stores none: leave one out")
        if "cutmix" in self.train.augment and any(one.preprocess.columns for one in self.single()):
            raise InputError(
                "cutmix pastes one image into another, whose columns then belong to neither: leave it out of train.augment"
            )
        lens_seen = any(one.preprocess.input == "lens" for one in self.single())
        if lens_seen and (bad := next((word for word in self.train.augment if word not in ("colour", "blur", "noise")), None)):
            raise InputError(
                f"train.augment has {bad!r}, and a network that is told the fitted lens (preprocess.input=lens) needs the image "
                "where it is: leave it out"
            )
        if self.as_published and not self.published:
            raise InputError(f"recipe {self.name!r} has no published settings that differ from its own: leave as_published out")
        if self.published:
            self._with_published()  # refuses keys and values that do not exist

    def effective(self) -> Recipe:
        """Return the recipe that is really run: itself, as published, or the tiny one of either."""
        recipe = self._with_published() if self.as_published else self
        return recipe._with_few_images() if self.tiny else recipe

    def _with_published(self) -> Recipe:
        if self.also:
            raise InputError(f"recipe {self.name!r} has several networks and published settings: give each network its own recipe")
        content = self.model_dump(mode="json", exclude={"published", "as_published"})
        for key, value in self.published.items():
            _enter(content, key, value, f"published key {key!r}")
        return validate(content)

    def _with_few_images(self) -> Recipe:
        rows = {k: min(v, getattr(self.data, k)) for k, v in TINY_ROWS.items()}
        subset = self.data.subset and min(self.data.subset, rows["train"])
        data = self.data.model_copy(update=rows | {"subset": subset})
        if data.positives:  # a few of each class, whatever the ratio
            rare = {k: min(v, max(1, getattr(data, k) // 4)) for k, v in data.positives.model_dump().items()}
            data = data.model_copy(update={"positives": Positives(**rare)})
        few: dict[str, Any] = {"epochs": min(2, self.train.epochs), "batch_size": min(16, self.train.batch_size)}
        if self.train.precision == "auto":  # to measure which is faster would take longer than the training
            few["precision"] = "float32"
        sections = {name: section.tiny() for name in type(self).model_fields if hasattr(section := getattr(self, name), "tiny")}
        return self.model_copy(update={"data": data, "train": self.train.model_copy(update=few)} | sections)

    @property
    def needs_fit(self) -> bool:
        """Whether a network of this recipe sees residuals."""
        return any((m.preprocess or self.preprocess).input != "image" for m in (self.model, *self.also))

    def single(self) -> list[Recipe]:
        """Return one recipe per network."""
        networks = (self.model, *self.also)[: TINY_NETWORKS if self.tiny else None]
        return [self.model_copy(update={"model": m, "also": [], "preprocess": m.preprocess or self.preprocess}) for m in networks]


def load(source: str | Path | dict, overrides: list[str] | None = None) -> Recipe:
    """Read a recipe by name, from a YAML file, or from a dict.

    Args:
        source: a name, a path, or plain data.
        overrides: `key=value` with dotted keys, values in YAML.

    Raises:
        InputError: no such recipe, not YAML, an unknown key or a value out of its limits.
    """
    content = deepcopy(source) if isinstance(source, dict) else _read(source)  # overrides change no dict of the caller's
    for override in overrides or []:
        _set(content, override)
    return validate(content)


def validate(content: dict) -> Recipe:
    """Turn plain data into a recipe.

    Raises:
        InputError: one sentence on the first thing that is wrong.
    """
    try:
        return Recipe.model_validate(content)
    except pydantic.ValidationError as error:
        raise InputError(_sentence(error, content)) from error


def _read(source: str | Path) -> dict:
    path = Path(source)
    if path.suffix not in (".yaml", ".yml"):
        if str(source) not in names():
            raise unknown("recipe", str(source), names())
        path = FOLDER / f"{source}.yaml"
    if not path.is_file():
        raise InputError(f"{path} does not exist: give a recipe's name ({', '.join(names())}) or a YAML file")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path} has {path.stat().st_size} bytes and a recipe at most {MAX_BYTES}: is it the right file?")
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no mapping: a recipe has the keys {', '.join(Recipe.model_fields)}")
    return content


def _set(content: dict, override: str) -> None:
    key, sign, value = override.partition("=")
    if not sign or not key:
        raise InputError(f"--set {override!r} is not key=value: write for example --set train.epochs=5")
    try:
        _enter(content, key, yaml.safe_load(value), f"--set {override!r}")
    except yaml.YAMLError as error:
        raise InputError(f"--set {override!r}: the value is not YAML; quote it") from error


def _enter(content: dict, key: str, value: Any, where: str) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        content = content.setdefault(parent, {})
        if not isinstance(content, dict):
            raise InputError(f"{where}: {parent!r} has no keys of its own; set it whole")
    content[last] = value


def _sentence(error: pydantic.ValidationError, content: dict) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _keys_at(first["loc"][:-1])
        close = nearest(str(first["loc"][-1]), known)
        hint = f"did you mean {close!r}? " if close else ""
        return f"unknown key {where!r} in the recipe: {hint}known here: {', '.join(known)}"
    if first["type"] == "missing":
        return f"the recipe lacks {where!r}: add it"
    return f"recipe key {where!r} is {first['input']!r}: {first['msg'][0].lower() + first['msg'][1:]}"


def _keys_at(location: tuple) -> list[str]:
    model: type[BaseModel] = Recipe
    for part in location:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        candidates = [annotation, *get_args(annotation)]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), model)
    return list(model.model_fields)
