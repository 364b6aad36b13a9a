r"""What the nearest training rows of each class say of a row, as features of a net."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from .._data.copies import first_of_each, numbers_of_copies, renumbered
from .._data.features import check_table
from .._data.labels import check_target
from .._utils.compat import Interval, fit_context
from .._utils.estimators import DOCUMENTATION, fitted_state_kept
from .._utils.frames import nan_for_missing
from .._utils.keywords import explain_keywords

# How many neighbours the shares of the classes count for: a row without any near one
# gets about those, and no probability is 0.
_PRIOR_NEIGHBORS = 0.3
# Of the usual distance to the nearest row, what counts as none. Of two rows that are
# nearer than that, it does not matter which is.
_CLOSEST = 1e-3


class NeighborsEncoder(TransformerMixin, BaseEstimator):
    r"""Encode each row by its nearest training rows of each class.

    A net draws smooth boundaries from all rows at once; neighbours tell it what is
    particular to a place. Each class contributes three features: the distance to its
    nearest row, the mean distance to its `n_neighbors` nearest rows, and the logarithm
    of its probability as the neighbours estimate it, weighted by inverse distance.

    :meth:`fit_transform`, which a pipeline calls in ``fit``, leaves each row out of its
    own neighbours. Otherwise rows would be encoded by their own labels, and the net
    would learn to read those. ``fit(X, y).transform(X)`` is therefore something else:
    it takes `X` for new rows.

    Parameters
    ----------
    n_neighbors : int, default=20
        How many of the nearest rows of each class count. Of a class that has fewer,
        all but one, since a row of its own would find no more.
    power : float, default=16.0
        The weight of a neighbour is its inverse distance to this power. Low for a few
        features; high for many, where all distances are much the same.
    n_jobs : int, default=None
        The number of threads that search, as in
        :class:`~sklearn.neighbors.NearestNeighbors`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The sorted labels.
    class_prior_ : ndarray of shape (n_classes,)
        The share of each class.
    neighbors_ : list of NearestNeighbors of length n_classes
        The rows of each class.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if ``X`` had names that are all strings.

    See Also
    --------
    sklearn.neighbors.KNeighborsClassifier : Neighbours by themselves.
    sklearn.preprocessing.TargetEncoder : Encodes categories by their targets, with a
        ``fit_transform`` of the same kind.

    Notes
    -----
    Distances are Euclidean, and the features are taken as they are: scale them before.
    Rows of counts are best compared by their proportions, as in the example. Several
    encoders side by side, each behind a scaling of its own, tell a net more than one.
    Sparse rows stay sparse: the thousands of columns of texts would not fit into memory
    otherwise. Few columns are searched several times faster as a dense array.
    The whole training set is kept, and a search in it is part of each prediction.

    References
    ----------
    Shepard (1968). A two-dimensional interpolation function for irregularly-spaced
    data. https://doi.org/10.1145/800186.810616

    Dudani (1976). The Distance-Weighted k-Nearest-Neighbor Rule.
    https://doi.org/10.1109/TSMC.1976.5408784

    Examples
    --------
    >>> from sksoftmax import NeighborsEncoder
    >>> X = [[0.0], [1.0], [2.0], [5.0], [6.0], [7.0]]
    >>> encoder = NeighborsEncoder().fit(X, ["a", "a", "a", "b", "b", "b"])
    >>> encoder.transform([[2.5]]).round(2).tolist()
    [[0.5, 2.5, 1.0, 3.0, -0.12, -2.16]]

    Beside the features themselves, in front of a net:

    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.pipeline import make_pipeline, make_union
    >>> from sklearn.preprocessing import FunctionTransformer, Normalizer
    >>> from sksoftmax import SoftmaxMLPClassifier
    >>> X_train, X_test, y_train, y_test = train_test_split(
    ...     *load_digits(return_X_y=True), random_state=0
    ... )
    >>> proportions = make_pipeline(FunctionTransformer(np.log1p), Normalizer())
    >>> features = make_union(
    ...     "passthrough", make_pipeline(proportions, NeighborsEncoder())
    ... )
    >>> classifier = make_pipeline(
    ...     features, SoftmaxMLPClassifier(max_epochs=20, random_state=0)
    ... )
    >>> classifier.fit(X_train, y_train).score(X_test, y_test) > 0.95
    True
    """

    __module__ = "sksoftmax"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "power": [Interval(Real, 0, None, closed="neither")],
        "n_jobs": [Integral, None],
    }
    _doc_link_module = "sksoftmax"
    _doc_link_template = DOCUMENTATION

    @explain_keywords
    def __init__(
        self,
        n_neighbors: int = 20,
        *,
        power: float = 16.0,
        n_jobs: int | None = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.power = power
        self.n_jobs = n_jobs

    @explain_keywords
    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> NeighborsEncoder:
        r"""Keep the rows of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The training rows.
        y : array-like of shape (n_samples,), default=None
            Their labels; not optional, in spite of the default.

        Returns
        -------
        self : NeighborsEncoder
            The fitted encoder.

        Raises
        ------
        TypeError
            If `X` is no table of numbers: a dataset, or a DataFrame with dates.
        ValueError
            If `y` is None or continuous, or `X` holds NaN or infinity.
        """
        self.fit_transform(X, y)
        return self

    @fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit_transform(self, X: ArrayLike, y: ArrayLike | None = None) -> NDArray[Any]:
        r"""Keep the rows of each class, and encode each by the other rows.

        Copies of a row, with equal features and labels, count as that row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The training rows.
        y : array-like of shape (n_samples,), default=None
            Their labels; not optional, in spite of the default.

        Returns
        -------
        X_out : ndarray of shape (n_samples, 3 * n_classes)
            The nearest distances, mean distances and log probabilities of the classes.

        Raises
        ------
        TypeError
            If `X` is no table of numbers: a dataset, or a DataFrame with dates.
        ValueError
            If `y` is None or continuous, or `X` holds NaN or infinity.
        """
        with fitted_state_kept(self):
            return self._fit_transform(X, y)

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        r"""Encode new rows by the training rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        X_out : ndarray of shape (n_samples, 3 * n_classes)
            The nearest distances, mean distances and log probabilities of the classes.
        """
        check_is_fitted(self)
        rows = validate_data(
            self,
            self._table(X),
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            reset=False,
        )
        return self._encode(self._distances(rows)).astype(rows.dtype, copy=False)

    def get_feature_names_out(
        self, input_features: ArrayLike | None = None
    ) -> NDArray[np.object_]:
        r"""Return the names of the features that come out.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Not used: the names are made of the classes.

        Returns
        -------
        names : ndarray of str, of shape (3 * n_classes,)
            ``nearest_A``, ..., ``mean_A``, ..., ``log_probability_A``, ... for a class
            ``A``.
        """
        check_is_fitted(self)
        return np.array(
            [
                f"{kind}_{label}"
                for kind in ("nearest", "mean", "log_probability")
                for label in self.classes_
            ],
            dtype=object,
        )

    def _fit_transform(self, X: Any, y: Any) -> NDArray[Any]:
        # One row would have no neighbour.
        rows = validate_data(
            self,
            self._table(X),
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            ensure_min_samples=2,
        )
        self.classes_, labels, counts = np.unique(
            check_target(self, rows, y), return_inverse=True, return_counts=True
        )
        self.class_prior_ = counts / len(labels)
        # A row must not be its own neighbor, and so must its copies not be.
        copies = numbers_of_copies(rows, np.arange(len(labels)))
        place = np.arange(len(labels))
        if copies is not None:
            place = renumbered(copies * len(counts) + labels)
        first = first_of_each(place)
        encoded = self._fit_distinct(rows[first], labels[first])
        return encoded[place].astype(rows.dtype, copy=False)

    def _fit_distinct(self, rows: Any, labels: NDArray[np.int64]) -> NDArray[Any]:
        n_rows = np.bincount(labels)
        self._rows = [rows[labels == label] for label in range(len(n_rows))]
        self.neighbors_ = [
            self._search(rows_of_class, max(1, min(self.n_neighbors, count - 1)))
            for rows_of_class, count in zip(self._rows, n_rows, strict=True)
        ]
        distances = self._distances(rows, labels)
        # Median distance to the nearest neighbor: it carries the unit of X.
        usual = float(np.median(distances[..., 0].min(axis=1)))
        self._closest = max(_CLOSEST * usual, np.finfo(np.float64).tiny)
        return self._encode(distances)

    def _search(self, rows: Any, n_neighbors: int) -> NearestNeighbors:
        return NearestNeighbors(n_neighbors=n_neighbors, n_jobs=self.n_jobs).fit(rows)

    def _table(self, X: Any) -> Any:
        table = check_table(self, X, accepts_sparse=True, accepts_text=False)
        return nan_for_missing(table)

    def _distances(
        self, X: NDArray[Any], labels: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        r"""Return how far the nearest rows of each class are, infinity where none is.

        With ``labels``, ``X`` are the training rows, and none is its own neighbour.
        The result is of shape (n_samples, n_classes, n_neighbors), ascending.
        """
        most = max(search.n_neighbors for search in self.neighbors_)
        distances = np.full((X.shape[0], len(self.classes_), most), np.inf)
        for label, search in enumerate(self.neighbors_):
            of_class = distances[:, label, : search.n_neighbors]
            if labels is None:
                of_class[:] = search.kneighbors(X)[0]
                continue
            own = labels == label
            if not own.all():
                of_class[~own] = search.kneighbors(X[~own])[0]
            if own.sum() > 1:
                of_class[own] = search.kneighbors()[0]
        return distances

    def _encode(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        r"""Return the features; who has no neighbours is as far as the farthest."""
        known = np.isfinite(distances)
        none = ~known[..., 0]
        # (N, C, K) -> (N, C)
        nearest = distances[..., 0]
        n_known = np.maximum(known.sum(axis=2), 1)
        mean = np.where(known, distances, 0.0).sum(axis=2) / n_known
        first = nearest.min(axis=1)[:, None, None]
        # Ratios, so that it does not matter what X is measured in.
        weight = ((first + self._closest) / (distances + self._closest)) ** self.power
        weight = weight.sum(axis=2) + _PRIOR_NEIGHBORS * self.class_prior_
        log_probability = np.log(weight / weight.sum(axis=1, keepdims=True))
        nearest = np.where(none, 0.0, nearest)
        farthest = [
            np.where(none, one.max(axis=1, keepdims=True), one)
            for one in (nearest, mean)
        ]
        return np.hstack([*farthest, log_probability])

    def __getstate__(self) -> dict[str, Any]:
        # Rows only: skops trusts no search tree, whose indices compiled code follows
        # unchecked, and trusts no sparse matrix either.
        state = dict(super().__getstate__())
        if "neighbors_" in state:
            rows_by_class = state.pop("_rows")
            state["neighbors_"] = [
                (search.n_neighbors, _to_arrays(rows))
                for search, rows in zip(self.neighbors_, rows_by_class, strict=True)
            ]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "neighbors_" in state:
            sizes, arrays = zip(*state["neighbors_"], strict=True)
            self._rows = [_from_arrays(parts) for parts in arrays]
            self.neighbors_ = list(map(self._search, self._rows, sizes))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _to_arrays(rows: Any) -> tuple[Any, ...]:
    r"""Return the arrays that rows consist of: one if dense, four if sparse."""
    if issparse(rows):
        return rows.data, rows.indices, rows.indptr, rows.shape
    return (rows,)


def _from_arrays(arrays: tuple[Any, ...]) -> Any:
    r"""Return the rows that such arrays stand for."""
    if len(arrays) == 1:
        return arrays[0]
    data, indices, indptr, shape = arrays
    rows = csr_array((data, indices, indptr), shape=shape)
    # They may come from a file, and indices out of range are never checked again.
    rows.check_format(full_check=True)
    return rows
