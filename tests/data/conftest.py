from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from darklens.data import Record


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def records(rng) -> list[Record]:
    """Thirty non-square two-band records of two classes and three splits, some of them unknown."""
    return [
        Record(
            id=f"r{i:02d}",
            image=rng.normal(size=(2, 5, 4)).astype(np.float32),
            label=("no_sub", "cdm", None)[i % 3],
            truth={"theta_E": 1.0 + i} if i % 2 else {},
            split=("train", "val", "test", None)[i % 4],
        )
        for i in range(30)
    ]


@pytest.fixture
def save_tree(tmp_path) -> Callable[..., Path]:
    """Save arrays under relative paths and return their root."""

    def save(arrays: dict[str, np.ndarray], root: str = "tree") -> Path:
        for name, array in arrays.items():
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, array, allow_pickle=array.dtype.hasobject)
        return tmp_path / root

    return save


@pytest.fixture
def object_image() -> Callable[..., np.ndarray]:
    """Make the object array `[image, axion_mass]` of the public simulators."""

    def make(image: np.ndarray, mass: object) -> np.ndarray:
        array = np.empty(2, dtype=object)
        array[0], array[1] = image, mass
        return array

    return make
