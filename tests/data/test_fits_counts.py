"""Headers that would keep a parser busy for minutes are refused at once."""

import gzip

import numpy as np
import pytest
from astropy.io import fits

from darklens.data.catalogue import Catalogue
from darklens.data.fits import read_fits
from darklens.data.mosaic import Mosaic
from darklens.data.options import Options
from darklens.errors import InputError


@pytest.fixture
def hostile(tmp_path):
    """An image whose header says that it has 200,000,000 axes."""
    path = tmp_path / "image.fits"
    fits.writeto(path, np.zeros((8, 8), np.float32))
    card = b"NAXIS   =            200000000"
    content = path.read_bytes()
    start = content.index(b"NAXIS   =")
    path.write_bytes(content[:start] + card + content[start + len(card) :])
    return path


def test_a_header_with_absurd_counts_is_one_sentence(hostile):
    with pytest.raises(InputError, match="declares 200000000 axes or columns, FITS has at most 999"):
        list(read_fits(hostile, Options()))
    with pytest.raises(InputError, match="declares 200000000"):
        Mosaic.open(hostile)
    with pytest.raises(InputError, match="declares 200000000"):
        Catalogue.open(hostile)


def test_packing_it_hides_nothing(hostile):
    packed = hostile.with_suffix(".fits.gz")
    packed.write_bytes(gzip.compress(hostile.read_bytes()))
    with pytest.raises(InputError, match="declares 200000000"):
        list(read_fits(packed, Options()))
