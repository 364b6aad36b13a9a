r"""The standardized features and their layout in memory."""

import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.preprocessing import StandardScaler

from sksoftmax._convex.design_matrix import DenseRows

from .problems import table


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("n_features", [5, 93, 96])
def test_rows_begin_at_cache_lines(n_features, fit_intercept):
    X = torch.from_numpy(table(1000, n_features, 3)[0])
    share = torch.full((1000,), 1e-3, dtype=torch.float64)
    rows = DenseRows(X, share, fit_intercept)
    part = rows.thinned(4)
    [block] = rows.blocks(1, precise=True)
    for Z in (rows.Z, part.Z, block.Z):
        assert Z.shape[1] == n_features + fit_intercept
        # Rows of few columns are not padded.
        line = 64 if n_features > 5 else Z.itemsize
        assert Z.stride(0) * Z.itemsize % line == 0
        assert Z.stride(0) < 1.2 * Z.shape[1]
    assert_allclose(part.Z, rows.Z[::4])
    assert_allclose(block.Z, rows.Z, rtol=1e-6, atol=1e-6)
    if fit_intercept:
        expected = StandardScaler().fit_transform(X)
        assert_allclose(block.Z[:, :-1], expected, atol=1e-10)
        assert (block.Z[:, -1] == 1).all()
