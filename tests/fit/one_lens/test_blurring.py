"""The kernel against SciPy's products."""

import numpy as np
import pytest
from scipy import sparse

from darklens import native
from darklens.fit.one_lens.blurring import back_to_sky, onto_pixels


@pytest.fixture(params=["kernel", "SciPy"])
def way(request, monkeypatch):
    if request.param == "kernel" and native.compiler() is None:
        pytest.skip("no C++ compiler on this machine")
    monkeypatch.setenv("DARKLENS_NATIVE", "1" if request.param == "kernel" else "0")
    native.library.cache_clear()
    yield request.param
    native.library.cache_clear()


@pytest.fixture(params=[np.int32, np.int64])
def matrices(request):
    """Return a blur `(40, 60)` and what 60 pixels of the sky see of 25 nodes, some of them nothing; indices of either kind."""
    rng = np.random.default_rng(3)
    found = []
    for shape in ((40, 60), (60, 25)):
        dense = rng.standard_normal(shape) * (rng.random(shape) < 0.2)
        dense[::7] = 0
        matrix = sparse.csr_array(dense)
        matrix.indptr, matrix.indices = matrix.indptr.astype(request.param), matrix.indices.astype(request.param)
        found.append(matrix)
    return found


def test_columns_are_those_of_dense_matrices(way, matrices):
    blur, seen = matrices
    assert onto_pixels(blur, seen) == pytest.approx(blur.toarray() @ seen.toarray(), abs=1e-12)


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_way_back_is_that_of_dense_matrices_where_nodes_are_seen(way, matrices, order):
    blur, seen = matrices
    dense = np.asarray(np.random.default_rng(4).standard_normal((40, 25)), order=order)
    there = seen.toarray() != 0
    assert back_to_sky(blur, dense, seen)[there] == pytest.approx((blur.toarray().T @ dense)[there], abs=1e-12)
