r"""Fixtures of the tests of linear classifiers."""

import pytest

from sksoftmax._linear import grid_search_fits


@pytest.fixture
def group_sizes(monkeypatch):
    r"""Sizes of the groups that were fitted together, in order."""
    sizes = []

    def counted(classifiers, *args):
        sizes.append(len(classifiers))
        return fit(classifiers, *args)

    fit = grid_search_fits.fit_together
    monkeypatch.setattr(grid_search_fits, "fit_together", counted)
    return sizes
