"""A recipe that splits by content keeps the rows of one galaxy together."""

import numpy as np

from darklens.recipes import load, prepare
from darklens.simulate.injection import inject, injection


def test_a_recipe_splits_an_injected_table_by_galaxy(cutouts, settings, tmp_path):
    easy = {"min_snr": 0.0, "mass": "range", "theta_E": (1.0, 2.0)}
    chosen = injection(cutouts, split=None, **settings, **easy)
    table = inject(chosen, 24, out=tmp_path / "T")
    recipe = load("demo", ["tiny=true", "data.preset=null", f"data.path={tmp_path / 'T'}", "data.fractions=[0.4,0.3,0.3]"])
    splits = prepare(recipe, tmp_path, lambda line: None, lambda *_: None)
    galaxy = dict(zip(table.ids, table.column("group"), strict=True))
    sides = [{galaxy[i] for i in images.ids} for images in (splits.train, splits.validation, splits.test)]
    assert sum(len(images) for images in (splits.train, splits.validation, splits.test)) == 24
    assert np.sum([len(side) for side in sides]) == len(set.union(*sides)) == 12
    assert all(sides)
