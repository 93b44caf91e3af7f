"""What an image shall be, as a vector and back, and every wish that cannot be met."""

import numpy as np
import pytest

from darklens.errors import InputError
from darklens.train.generation import Conditions

TRUTH = {"theta_E": np.array([0.8, 1.0, 1.4]), "f_sub": np.array([0.0, 0.02, np.nan]), "z_lens": np.full(3, 0.5)}
KNOWN = Conditions.measured(("no_sub", "cdm"), TRUTH, ["theta_E", "f_sub", "z_lens", "mass"], {"theta_E": "arcsec"})


def test_only_what_varies_is_told():
    assert [(c.name, c.low, c.high, c.unit) for c in KNOWN.columns] == [
        ("theta_E", 0.8, 1.4, "arcsec"),
        ("f_sub", 0.0, 0.02, ""),
    ]
    assert Conditions.measured(("all",), {}, ["theta_E"], {}).size == 0
    assert Conditions.from_dict(KNOWN.as_dict()) == KNOWN


def test_vectors_say_class_and_numbers_and_what_is_not_known():
    told = KNOWN.encode(["no_sub", "cdm", None], TRUTH)
    expected = [[1, 0, -1, -1], [0, 1, -1 / 3, 1], [np.nan, np.nan, 1, np.nan]]
    assert np.allclose(told, expected, equal_nan=True, atol=1e-6)
    assert told.dtype == np.float32


def test_wishes_are_read():
    assert KNOWN.asked(["theta_E=1.2", " class = cdm ", "f_sub=1e-2"]) == {"theta_E": 1.2, "class": "cdm", "f_sub": 0.01}
    assert KNOWN.asked(["theta_E=1.402"]) == {"theta_E": 1.402}  # a round number just above the largest of some thousands


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ("theta_E", r"'theta_E' is not NAME=VALUE: write for example --set theta_E=1.1"),
        ("theta_E=1.5", r"theta_E = 1.5 is outside what this run was trained on, 0.8 to 1.4 arcsec: ask"),
        ("f_sub=-0.1", r"f_sub = -0.1 is outside what this run was trained on, 0 to 0.02: ask"),
        ("theta_E=wide", "theta_E = 'wide' is not a number"),
        ("theta_E=nan", "theta_E = 'nan' is not a number"),
        ("theta_E=true", "theta_E = 'true' is not a number"),
        ("class=axion", "unknown class 'axion': known: no_sub, cdm"),
        ("theta=1", "unknown condition of this run 'theta': did you mean 'theta_E'"),
        ("z_lens=0.5", "unknown condition of this run 'z_lens'"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused(wish, says):
    with pytest.raises(InputError, match=says):
        KNOWN.asked([wish])


def test_a_run_without_conditions_says_so():
    with pytest.raises(InputError, match="was trained without conditions; leave --set out"):
        Conditions().asked(["theta_E=1"])
