import pytest

from darklens.units import same_unit


@pytest.mark.parametrize(
    "text", ["e-/s", "E-/S", "ELECTRONS/S", "electron / s", "electron s-1", "electron.s**-1", "e/sec", None, "", "UNKNOWN"]
)
def test_electrons_a_second_have_many_names(text):
    assert same_unit(text, "e-/s")
    assert same_unit("e-/s", text)


@pytest.mark.parametrize("text", ["MJy/sr", "counts/s", "electron", "nJy", "mag"])
def test_other_units_are_others(text):
    assert not same_unit(text, "e-/s")
    assert same_unit(text, text.upper())
