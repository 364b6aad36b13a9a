r"""Base of the estimators that are trained by epochs: fit and partial_fit."""

from __future__ import annotations

from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.metrics import get_scorer_names

from .._data.labels import as_labels
from .._data.training_rows import (
    check_number_of_classes,
    check_same_problem,
    check_training_rows,
    check_validation_rows,
)
from .._training.optimizers import OPTIMIZERS
from .._training.schedules import SCHEDULES
from .._training.scores import MONITORS
from .._utils.compat import (
    Interval,
    StrOptions,
    check_partial_fit_first_call,
    fit_context,
)
from .._utils.devices import modes_of_training
from .._utils.estimators import fitted_state_kept
from .._utils.keywords import explain_keywords
from .._utils.progress import reported
from .stream import StreamedClassifier


class BaseSoftmaxClassifier(StreamedClassifier):
    r"""Base of the softmax classifiers that are trained by epochs.

    ``fit`` checks the rows, holds out validation rows, makes a plan by ``_plan`` and a
    module by ``_build_module``, builds a net around the module, trains it and learns a
    temperature. A subclass lists its parameters in ``__init__`` and defines these two
    methods; a solver without epochs defines ``_fit_rows`` too, and views of test time
    are defined by ``_views``. The scikit-learn tags say what data is accepted.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "optimizer": [StrOptions(set(OPTIMIZERS))],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "lr_schedule": [StrOptions(set(SCHEDULES))],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "max_epochs": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "weight_averaging": [Interval(Real, 0, 1, closed="neither"), None],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "scoring": [StrOptions({*MONITORS, *get_scorer_names()}), callable],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "on_interrupt": [StrOptions({"raise", "keep"})],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "warm_start": ["boolean"],
        "checkpoint": [str, PathLike, None],
        "random_state": ["random_state"],
        "device": [str],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "callbacks": [list, tuple, None],
        "verbose": ["verbose"],
    }

    best_epoch_: int | None
    n_iter_: int | NDArray[np.int32]

    # A meta-estimator that gets groups, a cross-validation for example, passes them on.
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}

    @explain_keywords
    @fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        r"""Fit the classifier to rows and their labels.

        Copies, rows of equal features and labels, count as one row with the sum of
        their weights, so that no validation row is a copy of a training row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows: an array, a tensor, a DataFrame of pandas or polars, a table
            of pyarrow, a lazy table of polars or duckdb, or a sequence of rows. float32
            and integers are converted batch by batch. :class:`SoftmaxMLPClassifier`
            alone takes missing values (NaN, None, NA, masked entries), categories,
            dates, durations and sparse matrices. :class:`SoftmaxCNNClassifier`
            takes images with their axes, too, and :class:`SoftmaxNetClassifier` rows of
            any shape, (n_samples, ...).
        y : array-like of shape (n_samples,), default=None
            Labels: strings, integers, booleans or pandas categoricals. They are
            required; without them the error says how to take them out of a dataset.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the loss; all equal if None. A row of weight zero is
            the same as no row: a label that only such rows have is no class. If the
            other rows have a single label, all labels are classes, and the probability
            of that one is about 1.
        X_val : array-like of shape (n_validation_samples, n_features), default=None
            Validation rows. With ``early_stopping=True`` they take the place of the
            ``validation_fraction``.
        y_val : array-like of shape (n_validation_samples,), default=None
            Labels of ``X_val``.
        sample_weight_val : array-like of shape (n_validation_samples,), default=None
            Weights of ``X_val`` in the validation score.
        groups : array-like of shape (n_samples,), default=None
            Groups of rows that belong together, of a patient or a session for example:
            rows with equal entries are trained on or held out together. Without
            validation rows it has no effect. With
            ``sklearn.set_config(enable_metadata_routing=True)``, a ``Pipeline`` and a
            cross-validation pass their groups on.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        TypeError
            If ``X`` or ``y`` is no table or column, a dataset or a generator for
            example, or if a column of ``X`` holds intervals, lists or other objects, or
            dates that the classifier does not take. The message names the column and
            the remedy.
        ValueError
            If ``X`` has infinite values, or missing values or text that the classifier
            does not take; if there is one class only; if lengths differ; if weights are
            negative or all zero; if ``y_val`` has labels that ``y`` lacks; if there are
            too few rows for ``validation_fraction``. The former fit stays as it was.
        """
        with (
            reported(self, X, y, sample_weight) as report,
            modes_of_training(),
            fitted_state_kept(self),
        ):
            self._begin_on_device()
            fitted = vars(self).copy() if self.warm_start else {}
            data, self.classes_ = check_training_rows(
                self, X, y, sample_weight, groups=groups
            )
            check_number_of_classes(self, data)
            if "module_" in fitted:
                check_same_problem(self, fitted)
            validation = check_validation_rows(self, X_val, y_val, sample_weight_val)
            self._fit_rows(data, validation, fitted.get("module_"), report)
            self._follow(X)
        return self

    @explain_keywords
    @fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        r"""Train for one epoch on more rows, without a schedule.

        The learning rate is ``learning_rate``. After a ``fit`` of n rows it is 0.01 of
        it, and grows with the cube of the number of rows seen, to 0.3 of it after 3.1 n
        rows: a larger rate would undo the last epochs of the fit. A batch of fewer than
        ``batch_size`` rows takes the same share of a step, so that it hardly matters
        where a stream is cut, and rows may come singly. Early in a stream, fewer rows
        make a whole step: a 256th of the rows seen, or a sixteenth after a ``fit``. If
        a stream begins with fewer than 1,000 rows, its first 1,000 rows are kept for a
        while, and the scaling of the inputs is learned from them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, in any form that :meth:`fit` takes.
        y : array-like of shape (n_samples,), default=None
            Labels; not optional, as in :meth:`fit`.
        classes : array-like of shape (n_classes,), default=None
            All classes of the stream. Required in the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the loss; all equal if None.

        Returns
        -------
        self : object
            The classifier.

        Raises
        ------
        TypeError
            For what :meth:`fit` refuses.
        ValueError
            If the first call has no ``classes``, if ``y`` holds a label that is not
            among them, or for what :meth:`fit` refuses.
        """
        self._check_stream_parameters()
        with (
            reported(self, X, y, sample_weight, "partial-fit") as report,
            modes_of_training(),
            fitted_state_kept(self),
        ):
            self._begin_on_device()
            if classes is not None and not isinstance(classes, list):
                classes = as_labels(classes, "classes")
            is_first_call = check_partial_fit_first_call(self, classes)
            if len(self.classes_) < 2:
                raise ValueError(
                    f"Got classes={self.classes_.tolist()}, but expected at least 2 "
                    "classes: all classes of the stream."
                )
            data, _ = check_training_rows(
                self, X, y, sample_weight, classes=self.classes_, reset=is_first_call
            )
            if issparse(data.X) and self._most_dense_columns is None:
                raise ValueError(
                    f"{type(self).__name__} trains by mini-batches here, which does "
                    "not take sparse X. Pass X.toarray() (X.sparse.to_dense() of a "
                    "DataFrame, X.to_dense() of a tensor), or fit with "
                    "solver='newton-cg'."
                )
            self._learn_piece(data, report, is_first_call=is_first_call)
            self._follow(X)
        return self

    def _check_stream_parameters(self) -> None:
        r"""Raise an error for parameters that need all rows at once."""
        if self.early_stopping not in (False, "auto"):
            raise ValueError(
                "partial_fit does not support early_stopping=True: a single epoch has "
                "nothing to stop. Set early_stopping=False."
            )
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' is not supported for partial_fit, which does "
                "not see all rows at once. Pass the weights that "
                "sklearn.utils.class_weight.compute_class_weight('balanced', "
                "classes=classes, y=y) gives as a dict."
            )
