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
from .._utils.keywords import ExplainedParametersMixin, explain_keywords

# Number of neighbors that the frequencies of the classes count for. A row without near
# neighbors gets about these frequencies, and no probability is 0.
_PRIOR_NEIGHBORS = 0.3
# Distance that is added to all distances, in units of the median nearest-neighbor
# distance. Smaller differences between distances hardly change the weights.
_SMALL_DISTANCE = 1e-3


class NeighborsEncoder(ExplainedParametersMixin, TransformerMixin, BaseEstimator):
    r"""Encode each row by its nearest training rows of each class.

    A net learns smooth boundaries from all rows at once; neighbors describe the
    surroundings of a row. Each class contributes three features: the distance to its
    nearest row, the mean distance to its `n_neighbors` nearest rows, and the logarithm
    of its probability as the neighbors estimate it, weighted by inverse distance.

    :meth:`fit_transform`, which a pipeline calls in ``fit``, excludes each row from its
    neighbors. Otherwise, its own label would be part of its features, and the net would
    learn to copy it. ``fit(X, y).transform(X)`` differs: it treats `X` as new rows.

    Parameters
    ----------
    n_neighbors : int, default=20
        Number of nearest rows of each class. A class with fewer rows contributes all
        but one: no more are left for a row of this class.
    power : float, default=16.0
        The weight of a neighbor is its inverse distance to this power. Lower values
        suit few features; with many features, all distances are similar.
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
    sklearn.neighbors.KNeighborsClassifier : Classifier by the nearest neighbors alone.
    sklearn.preprocessing.TargetEncoder : Encodes categories by their targets, with a
        ``fit_transform`` of the same kind.

    Notes
    -----
    Distances are Euclidean, and the features are taken as they are: scale them before.
    Rows of counts are best compared by their proportions, as in the example. Several
    encoders, each with a different scaling before it, improve a net further.
    Sparse rows stay sparse: the thousands of columns of texts would not fit into memory
    otherwise. A search in few columns is several times faster in a dense array.
    The encoder keeps the training set, and each prediction searches it.

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
    ...     features, SoftmaxMLPClassifier((64,), max_epochs=8, random_state=0)
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
            If `X` is no table of numbers, but a dataset or a DataFrame with dates.
        ValueError
            If `y` is None or continuous, or `X` holds NaN or infinity.
        """
        self.fit_transform(X, y)
        return self

    @fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit_transform(self, X: ArrayLike, y: ArrayLike | None = None) -> NDArray[Any]:
        r"""Keep the rows of each class, and encode each row by the other rows.

        Copies of a row, with equal features and labels, count as one row.

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
            If `X` is no table of numbers, but a dataset or a DataFrame with dates.
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
        rows = self._validated(X, is_fit=False)
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
        rows = self._validated(X, is_fit=True)
        self.classes_, labels, counts = np.unique(
            check_target(self, rows, y), return_inverse=True, return_counts=True
        )
        self.class_prior_ = counts / len(labels)
        # Neither a row nor its copies may be its neighbors.
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
        unit = float(np.median(distances[..., 0].min(axis=1)))
        self._small_distance = max(_SMALL_DISTANCE * unit, np.finfo(np.float64).tiny)
        return self._encode(distances)

    def _search(self, rows: Any, n_neighbors: int) -> NearestNeighbors:
        return NearestNeighbors(n_neighbors=n_neighbors, n_jobs=self.n_jobs).fit(rows)

    def _validated(self, X: Any, *, is_fit: bool) -> Any:
        return validate_data(
            self,
            nan_for_missing(
                check_table(self, X, accepts_sparse=True, accepts_text=False)
            ),
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            # In fit, a single row has no neighbor.
            ensure_min_samples=1 + is_fit,
            reset=is_fit,
        )

    def _distances(
        self, X: NDArray[Any], labels: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        r"""Return the distances to the nearest rows of each class, infinity for none.

        With ``labels``, ``X`` are the training rows, and a row is not its own neighbor.
        The result is of shape (n_samples, n_classes, n_neighbors), ascending.
        """
        n_neighbors = max(search.n_neighbors for search in self.neighbors_)
        distances = np.full((X.shape[0], len(self.classes_), n_neighbors), np.inf)
        for label, search in enumerate(self.neighbors_):
            to_class = distances[:, label, : search.n_neighbors]
            if labels is None:
                to_class[:] = search.kneighbors(X)[0]
                continue
            in_class = labels == label
            if not in_class.all():
                to_class[~in_class] = search.kneighbors(X[~in_class])[0]
            if in_class.sum() > 1:
                to_class[in_class] = search.kneighbors()[0]
        return distances

    def _encode(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        r"""Return the features (N, 3 * C) of the distances (N, C, n_neighbors).

        A class without neighbors gets the distance of the farthest class.
        """
        is_known = np.isfinite(distances)
        has_neighbors = is_known[..., 0]
        # (N, C, n_neighbors) -> (N, C)
        nearest = distances[..., 0]
        n_known = np.maximum(is_known.sum(axis=2), 1)
        mean = np.where(is_known, distances, 0.0).sum(axis=2) / n_known
        first = nearest.min(axis=1)[:, None, None]
        # Ratios of distances do not depend on the unit of X.
        weight = (
            (first + self._small_distance) / (distances + self._small_distance)
        ) ** self.power
        weight = weight.sum(axis=2) + _PRIOR_NEIGHBORS * self.class_prior_
        log_probability = np.log(weight / weight.sum(axis=1, keepdims=True))
        nearest = np.where(has_neighbors, nearest, 0.0)
        nearest, mean = (
            np.where(has_neighbors, values, values.max(axis=1, keepdims=True))
            for values in (nearest, mean)
        )
        return np.hstack([nearest, mean, log_probability])

    def __getstate__(self) -> dict[str, Any]:
        # The state has arrays only. skops trusts neither search trees, whose indices
        # compiled code does not check, nor sparse matrices.
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
    r"""Return rows as arrays: one if dense, three and the shape if sparse."""
    if issparse(rows):
        return rows.data, rows.indices, rows.indptr, rows.shape
    return (rows,)


def _from_arrays(arrays: tuple[Any, ...]) -> Any:
    r"""Return the rows of which :func:`_to_arrays` made the arrays."""
    if len(arrays) == 1:
        return arrays[0]
    data, indices, indptr, shape = arrays
    rows = csr_array((data, indices, indptr), shape=shape)
    # The arrays may come from a file, and nothing else checks the range of indices.
    rows.check_format(full_check=True)
    return rows
