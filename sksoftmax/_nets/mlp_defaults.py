r"""Every "auto" of the multi-layer perceptron, resolved by pure functions.

The numbers were chosen by cross-validation on Otto, MNIST, Fashion-MNIST and 36 small
tables.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .._training.recipe import Recipe, TrainingLength, net_recipe
from .._utils.estimators import check_sizes

# Rows: from here on a table is large. Wide layers and bins for all members pay there,
# and restarts that only might help take minutes instead of seconds.
MANY_ROWS = 20_000

# Rows: below, a table is small. It is memorized within an epoch unless the learning
# rate is small and the weight decay is large.
FEW_ROWS = 1_500

# Features: above, a table is wide, of pixels for example. Bins would only be a burden,
# and its features repeat one another.
MANY_FEATURES = 256

# Rows: below, narrow layers predict as well, in less time.
_VERY_FEW_ROWS = 750

# Units of each hidden layer: of very few rows, in general, and of a large table.
_UNITS_OF_VERY_FEW_ROWS = 64
_UNITS = 128
_UNITS_OF_MANY_ROWS = 256

# Hidden layers: from here on, gradient descent needs normalized layers.
_DEEP = 5

# Bins per feature, in general and of a large table.
_BINS = 8
_BINS_OF_MANY_ROWS = 16

# Elements of the learned vector of a column's bins.
_EMBEDDING_SIZE = 4

# Learning rate, and the smallest share of it for a small table.
_LEARNING_RATE = 0.012
_SMALLEST_SHARE = 1 / 4

# Weight decay in general, of a wide table, and of a small one.
_WEIGHT_DECAY = 0.01
_WEIGHT_DECAY_OF_MANY_FEATURES = 0.1
_WEIGHT_DECAY_OF_FEW_ROWS = 0.3

# Dropout rate of the inputs in general, and of a wide or large table.
_INPUT_DROPOUT = 0.1
_INPUT_DROPOUT_OF_LARGE = 0.2

# Averaged nets learn best in few epochs at a high rate.
_LENGTH = TrainingLength(
    largest_batch=256, n_steps=200, fewest_epochs=6, most_epochs=100
)

# Smallest share of these steps for a small table.
_SMALLEST_SHARE_OF_STEPS = 1 / 2

# Epochs of a large table, and of a large and wide one.
_FEWEST_EPOCHS_OF_MANY_ROWS = 8
_FEWEST_EPOCHS_OF_MANY_PIXELS = 32

# Restarts while the net underfits.
_RESTARTS = 2


def recipe(parameters: Any, n_rows: int, n_features: int, *, is_stream: bool) -> Recipe:
    r"""Return how a perceptron with such parameters is trained on a table.

    Parameters
    ----------
    parameters : SoftmaxMLPClassifier
        Its parameters are read.
    n_rows, n_features : int
        Shape of the table, without copies of rows.
    is_stream : bool
        Whether an unknown number of rows will follow.
    """
    n_rows_is_large = n_rows >= MANY_ROWS and not is_stream
    # The values for small tables are measured with "adamw" alone.
    n_rows_is_small = (
        n_rows < FEW_ROWS and parameters.optimizer == "adamw" and not is_stream
    )
    length = _LENGTH
    if n_rows_is_large:
        is_wide = n_features > MANY_FEATURES
        fewest = (
            _FEWEST_EPOCHS_OF_MANY_PIXELS if is_wide else _FEWEST_EPOCHS_OF_MANY_ROWS
        )
        length = replace(length, fewest_epochs=fewest)
    elif n_rows_is_small:
        share = max(n_rows / FEW_ROWS, _SMALLEST_SHARE_OF_STEPS)
        length = replace(length, n_steps=round(share * length.n_steps))
    # Validation rows decide about restarts.
    restarts = parameters.max_epochs == "auto" and bool(parameters.early_stopping)
    return replace(
        net_recipe(parameters, n_rows, length),
        learning_rate=_learning_rate(
            parameters.learning_rate, n_rows if n_rows_is_small else FEW_ROWS
        ),
        weight_decay=_weight_decay(
            parameters.weight_decay, n_features, n_rows_is_small=n_rows_is_small
        ),
        n_restarts=_RESTARTS if restarts else 0,
        restart_if_best_is_last=not n_rows_is_large,
        restarts_without_input_dropout=isinstance(parameters.input_dropout, str),
        temperature_scaling=bool(parameters.temperature_scaling),
    )


def _learning_rate(value: float | str, n_rows: int) -> float:
    r"""Return the learning rate; "auto" is in proportion to few rows."""
    if not isinstance(value, str):
        return value
    share = min(max(n_rows / FEW_ROWS, _SMALLEST_SHARE), 1.0)
    return _LEARNING_RATE * share


def _weight_decay(
    value: float | str, n_features: int, *, n_rows_is_small: bool
) -> float:
    r"""Return the weight decay; "auto" is larger for small and for wide tables."""
    if not isinstance(value, str):
        return value
    if n_rows_is_small:
        return _WEIGHT_DECAY_OF_FEW_ROWS
    if n_features > MANY_FEATURES:
        return _WEIGHT_DECAY_OF_MANY_FEATURES
    return _WEIGHT_DECAY


def hidden_layer_sizes(value: Any, n_rows: int, *, is_stream: bool) -> tuple[int, ...]:
    r"""Return the width of each hidden layer; "auto" is two layers."""
    if not isinstance(value, str):
        return check_sizes("hidden_layer_sizes", value)
    if n_rows < _VERY_FEW_ROWS and not is_stream:
        return (_UNITS_OF_VERY_FEW_ROWS, _UNITS_OF_VERY_FEW_ROWS)
    if n_rows < MANY_ROWS:
        return (_UNITS, _UNITS)
    return (_UNITS_OF_MANY_ROWS, _UNITS_OF_MANY_ROWS)


def normalization(value: str | None, n_layers: int) -> str | None:
    r"""Return the normalization of the hidden layers; "auto" is by batch if deep."""
    if value != "auto":
        return value
    return "batch" if n_layers >= _DEEP else None


def input_dropout(value: float | str, n_features: int, n_rows_is_large: bool) -> float:
    r"""Return the dropout rate of the inputs; "auto" is higher for a large table."""
    if not isinstance(value, str):
        return value
    if n_features > MANY_FEATURES or n_rows_is_large:
        return _INPUT_DROPOUT_OF_LARGE
    return _INPUT_DROPOUT


def n_bins(value: Any, n_rows: int, n_features: int) -> int:
    r"""Return the most bins of each feature; "auto" is none for a wide table."""
    if not isinstance(value, str):
        return value or 0
    if n_features > MANY_FEATURES:
        return 0
    return _BINS_OF_MANY_ROWS if n_rows >= MANY_ROWS else _BINS


def embedding_size(value: int | str | None) -> int:
    r"""Return the elements of the vector of a column's bins; 0 for none."""
    return _EMBEDDING_SIZE if isinstance(value, str) else value or 0


def half_with_bins(n_rows: int) -> bool:
    r"""Return whether only half of the members have the bins.

    With bins, a table that is not large is soon memorized.
    """
    return n_rows < MANY_ROWS
