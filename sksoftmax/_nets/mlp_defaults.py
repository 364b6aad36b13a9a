r"""Every "auto" of the multi-layer perceptron, resolved by pure functions.

The numbers were chosen by cross-validation on Otto, MNIST, Fashion-MNIST and 36 small
tables.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .._training.recipe import Recipe, TrainingLength, net_recipe
from .._utils.estimators import check_sizes
from ..modules._ensemble import AVERAGING_TEMPERATURE
from .constraints import LATEST, version_of

_LENGTH = TrainingLength(
    largest_batch=256, n_steps=200, fewest_epochs=6, most_epochs=100
)

# Names of the parameters that make vectors of bins, and of those of the first layer.
_VECTORS, _FIRST_LAYER = "input_scaling.bin_vectors.weight", "hidden.0.*"


@dataclass(frozen=True)
class MLPDefaults:
    r"""The numbers behind "auto" in one version; the fields' defaults are the latest.

    "Large" is a table from ``many_rows`` rows on, "small" one below ``few_rows`` rows
    and "wide" one with more than ``many_features`` features.
    """

    # Rows: wide layers and bins for all members pay from here on, and restarts that
    # only might help take minutes instead of seconds.
    many_rows: int = 20_000
    # Rows: below, a table is memorized within an epoch unless the learning rate is
    # small and the weight decay is large.
    few_rows: int = 1_500
    # Features: above, of pixels for example, bins would only be a burden, and features
    # repeat one another.
    many_features: int = 256
    # Rows: below, narrow layers predict as well, in less time.
    very_few_rows: int = 750

    # Units of each hidden layer: of very few rows, in general, of a large table, and of
    # a large and wide one.
    units_of_very_few_rows: int = 64
    units: int = 128
    units_of_many_rows: int = 256
    units_of_many_pixels: int = 256
    # Units of sparse rows, whose first matrix is most of the memory of a fit.
    units_of_sparse: int = 64
    # Hidden layers: from here on, gradient descent needs normalized layers.
    deep: int = 5

    # Bins per feature, in general and of a large table.
    bins: int = 8
    bins_of_many_rows: int = 16
    # Elements of the learned vector of a column's bins; 0 leaves the bins as they are.
    embedding_size: int = 4

    # Share of the epochs in which these vectors learn from a large table. Later, at a
    # small rate, they hardly change, and their gradient is a sixth of the time of a
    # step. Small tables are predicted a little worse by it.
    vectors_of_many_rows_learn_until: float = 0.5
    # Share of the epochs in which the first layer learns from a large table, for the
    # same reason. Of nine epochs, it is frozen in the last one.
    first_layer_of_many_rows_learns_until: float = 0.85

    # Learning rate, and the smallest share of it for a small table.
    learning_rate: float = 0.012
    smallest_share: float = 1 / 4
    # Weight decay in general, of a wide table, and of a small one.
    weight_decay: float = 0.01
    weight_decay_of_many_features: float = 0.1
    weight_decay_of_few_rows: float = 0.3
    # Dropout rate of the inputs in general, of a large table, and of a wide one.
    input_dropout: float = 0.1
    input_dropout_of_many_rows: float = 0.2
    input_dropout_of_many_features: float = 0.2

    # Averaged nets learn best in few epochs at a high rate.
    length: TrainingLength = _LENGTH
    # Smallest share of these steps for a small table.
    smallest_share_of_steps: float = 1 / 2
    # Epochs of a large table, and of a large and wide one.
    fewest_epochs_of_many_rows: int = 9
    fewest_epochs_of_many_pixels: int = 32
    # Restarts while the net underfits.
    restarts: int = 2

    # Temperature at which the probabilities of members are averaged.
    averaging_temperature: float = AVERAGING_TEMPERATURE


# The numbers of each version, which the parameter ``defaults`` chooses.
VERSIONS = {
    "0.1": MLPDefaults(
        very_few_rows=0,
        units_of_many_rows=192,
        bins_of_many_rows=8,
        embedding_size=0,
        smallest_share=1 / 8,
        input_dropout_of_many_rows=0.1,
        smallest_share_of_steps=1.0,
        fewest_epochs_of_many_rows=6,
        averaging_temperature=1.0,
        vectors_of_many_rows_learn_until=1.0,
        first_layer_of_many_rows_learns_until=1.0,
    ),
    "0.2": MLPDefaults(),
}


def numbers_of(defaults: str) -> MLPDefaults:
    r"""Return the numbers of a value of the parameter ``defaults``."""
    return VERSIONS[version_of(defaults)]


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
    numbers = numbers_of(parameters.defaults)
    n_rows_is_large = n_rows >= numbers.many_rows and not is_stream
    # The values for small tables are measured with "adamw" alone.
    n_rows_is_small = (
        n_rows < numbers.few_rows and parameters.optimizer == "adamw" and not is_stream
    )
    length, learns_until = numbers.length, {}
    if n_rows_is_large:
        length = _length_of_many_rows(n_features, numbers)
        learns_until = {
            _VECTORS: numbers.vectors_of_many_rows_learn_until,
            _FIRST_LAYER: numbers.first_layer_of_many_rows_learns_until,
        }
    elif n_rows_is_small:
        share = max(n_rows / numbers.few_rows, numbers.smallest_share_of_steps)
        length = replace(length, n_steps=round(share * length.n_steps))
    # Validation rows decide about restarts.
    restarts = parameters.max_epochs == "auto" and bool(parameters.early_stopping)
    return replace(
        net_recipe(parameters, n_rows, length),
        learning_rate=_learning_rate(
            parameters.learning_rate,
            n_rows if n_rows_is_small else numbers.few_rows,
            numbers,
        ),
        weight_decay=_weight_decay(
            parameters.weight_decay,
            n_features,
            numbers,
            n_rows_is_small=n_rows_is_small,
        ),
        n_restarts=numbers.restarts if restarts else 0,
        restart_if_best_is_last=not n_rows_is_large,
        restarts_without_input_dropout=isinstance(parameters.input_dropout, str),
        temperature_scaling=bool(parameters.temperature_scaling),
        learns_until=learns_until,
    )


def _length_of_many_rows(n_features: int, numbers: MLPDefaults) -> TrainingLength:
    r"""Return the length of a training on a large table."""
    fewest = numbers.fewest_epochs_of_many_rows
    if n_features > numbers.many_features:
        fewest = numbers.fewest_epochs_of_many_pixels
    return replace(numbers.length, fewest_epochs=fewest)


def _learning_rate(value: float | str, n_rows: int, numbers: MLPDefaults) -> float:
    r"""Return the learning rate; "auto" is in proportion to few rows."""
    if not isinstance(value, str):
        return value
    share = min(max(n_rows / numbers.few_rows, numbers.smallest_share), 1.0)
    return numbers.learning_rate * share


def _weight_decay(
    value: float | str, n_features: int, numbers: MLPDefaults, *, n_rows_is_small: bool
) -> float:
    r"""Return the weight decay; "auto" is larger for small and for wide tables."""
    if not isinstance(value, str):
        return value
    if n_rows_is_small:
        return numbers.weight_decay_of_few_rows
    if n_features > numbers.many_features:
        return numbers.weight_decay_of_many_features
    return numbers.weight_decay


def hidden_layer_sizes(
    value: Any,
    n_rows: int,
    n_features: int,
    numbers: MLPDefaults = VERSIONS[LATEST],
    *,
    is_stream: bool,
    is_sparse: bool = False,
) -> tuple[int, ...]:
    r"""Return the width of each hidden layer; "auto" is two layers."""
    if not (isinstance(value, str) and value == "auto"):
        return check_sizes("hidden_layer_sizes", value)
    if is_sparse:
        units = numbers.units_of_sparse
    elif n_rows < numbers.very_few_rows and not is_stream:
        units = numbers.units_of_very_few_rows
    elif n_rows < numbers.many_rows:
        units = numbers.units
    elif n_features > numbers.many_features:
        units = numbers.units_of_many_pixels
    else:
        units = numbers.units_of_many_rows
    return (units, units)


def normalization(
    value: str | None, n_layers: int, numbers: MLPDefaults = VERSIONS[LATEST]
) -> str | None:
    r"""Return the normalization of the hidden layers; "auto" is by batch if deep."""
    if value != "auto":
        return value
    return "batch" if n_layers >= numbers.deep else None


def input_dropout(
    value: float | str,
    n_features: int,
    n_rows_is_large: bool,
    numbers: MLPDefaults = VERSIONS[LATEST],
) -> float:
    r"""Return the dropout rate of the inputs; "auto" is higher for a large table."""
    if not isinstance(value, str):
        return value
    if n_features > numbers.many_features:
        return numbers.input_dropout_of_many_features
    if n_rows_is_large:
        return numbers.input_dropout_of_many_rows
    return numbers.input_dropout


def n_bins(
    value: Any, n_rows: int, n_features: int, numbers: MLPDefaults = VERSIONS[LATEST]
) -> int:
    r"""Return the most bins of each feature; "auto" is none for a wide table."""
    if not isinstance(value, str):
        return value or 0
    if n_features > numbers.many_features:
        return 0
    return numbers.bins_of_many_rows if n_rows >= numbers.many_rows else numbers.bins


def embedding_size(
    value: int | str | None, numbers: MLPDefaults = VERSIONS[LATEST]
) -> int:
    r"""Return the elements of the vector of a column's bins; 0 for none."""
    return numbers.embedding_size if isinstance(value, str) else value or 0


def half_with_bins(n_rows: int, numbers: MLPDefaults = VERSIONS[LATEST]) -> bool:
    r"""Return whether only half of the members have the bins.

    With bins, a table that is not large is soon memorized.
    """
    return n_rows < numbers.many_rows


def module_settings(classifier: Any) -> dict[str, Any]:
    r"""Return what a perceptron is built with for the parameters that may be "auto"."""
    numbers = numbers_of(classifier.defaults)
    return {
        "normalization": normalization(
            classifier.normalization, len(classifier.hidden_layer_sizes_), numbers
        ),
        "input_dropout": input_dropout(
            classifier.input_dropout,
            classifier._n_inputs,
            not classifier._half_with_bins,
            numbers,
        ),
        "embedding_size": embedding_size(classifier.embedding_size, numbers),
    }


def settings(classifier: Any, recipe: Recipe) -> dict[str, Any]:
    r"""Return what each "auto" of a perceptron alone became in ``fit``."""
    is_categorical = classifier.is_categorical_
    return {
        "hidden_layer_sizes": classifier.hidden_layer_sizes_,
        "n_bins": int(classifier.n_bins_.max(initial=0)),
        **module_settings(classifier),
        "learning_rate": recipe.learning_rate,
        "weight_decay": recipe.weight_decay,
        "categorical_features": None
        if is_categorical is None
        else is_categorical.nonzero()[0].tolist(),
        "defaults": version_of(classifier.defaults),
    }
