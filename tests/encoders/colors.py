r"""A table of colors and sizes, some of them missing."""

import numpy as np
import pandas as pd

from sksoftmax import SoftmaxMLPClassifier

N_ROWS = 240
RANDOM = np.random.default_rng(0)
COLORS = RANDOM.choice(["red", "green", "blue"], N_ROWS)
SIZES = RANDOM.normal(5, 2, N_ROWS)
NOISE = RANDOM.normal(0, 1, N_ROWS)
IS_GREEN = np.where(COLORS == "green", "yes", "no")
IS_MISSING = RANDOM.random(N_ROWS) < 0.4

FRAME = pd.DataFrame({"size": SIZES, "color": COLORS, "noise": NOISE})
# The same colors as numbers.
INTEGERS = np.column_stack([SIZES, np.searchsorted(["blue", "green", "red"], COLORS)])


def mlp(**params):
    params = {
        "hidden_layer_sizes": (32,),
        "n_estimators": 1,
        "max_epochs": 30,
        "learning_rate": 0.01,
        "input_dropout": 0.0,
        "n_bins": None,
        "random_state": 0,
        **params,
    }
    return SoftmaxMLPClassifier(**params)


def probabilities_are_equal(model, X, other, Y):
    return model.predict_proba(X).tobytes() == other.predict_proba(Y).tobytes()
