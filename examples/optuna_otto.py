r"""
Search with Optuna, and by successive halving
=============================================

Three ways to find good parameters for Kaggle's Otto table without trying all of them:
Optuna's `OptunaSearchCV` in place of ``GridSearchCV``, an Optuna study that stops bad
trials after the first epochs, and scikit-learn's successive halving with the number of
epochs as its resource. Where ``SKSOFTMAX_DATA`` does not point to Otto's files,
scikit-learn's digits are used. Needs ``pip install matplotlib
optuna "optuna-integration[sklearn,skorch]"``; takes a few minutes on Otto, and less
than one on the digits.
"""

# %%
# The table
# ---------
# A tenth of the rows is enough to compare settings.
import matplotlib.pyplot as plt
import numpy as np
import optuna
from optuna.distributions import FloatDistribution
from optuna_integration import OptunaSearchCV, SkorchPruningCallback
from sklearn.datasets import load_digits
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.metrics import log_loss
from sklearn.model_selection import (
    HalvingGridSearchCV,
    StratifiedKFold,
    train_test_split,
)

from sksoftmax import SoftmaxMLPClassifier
from sksoftmax.datasets import load_otto

try:
    X, y = load_otto(return_X_y=True)
    X, _, y, _ = train_test_split(X, y, train_size=0.1, stratify=y, random_state=0)
    name = "Otto"
except OSError:
    X, y = load_digits(return_X_y=True)
    name = "digits"
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.25, stratify=y, random_state=0
)
print(f"{name}: {len(X_train):,} rows to search on, {len(X_test):,} set aside")

classifier = SoftmaxMLPClassifier(
    hidden_layer_sizes=(64,), n_estimators=2, max_epochs=10, random_state=0
)
folds = StratifiedKFold(n_splits=3, shuffle=True, random_state=0)
optuna.logging.set_verbosity(optuna.logging.ERROR)

# %%
# In place of GridSearchCV
# ------------------------
# The search takes distributions instead of lists, and chooses each trial by the results
# of those before.
search = OptunaSearchCV(
    classifier,
    {
        "learning_rate": FloatDistribution(1e-3, 0.1, log=True),
        "dropout": FloatDistribution(0.0, 0.5),
    },
    cv=folds,
    n_trials=8,
    scoring="neg_log_loss",
    study=optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=0)
    ),
).fit(X_train, y_train)
loss = log_loss(y_test, search.predict_proba(X_test), labels=search.classes_)
print(f"\nOptunaSearchCV: {len(search.trials_)} trials, log loss {loss:.4f}")
print({name: round(value, 4) for name, value in search.best_params_.items()})

# %%
# Pruned by epoch
# ---------------
# In a study, a trial need not train to the end: the callback of optuna-integration for
# skorch reports the validation loss after each epoch, and raises ``TrialPruned`` if the
# median of the earlier trials was lower in that epoch. The exception passes through
# ``fit``.
X_fit, X_val, y_fit, y_val = train_test_split(
    X_train, y_train, test_size=0.25, stratify=y_train, random_state=0
)


def objective(trial):
    r"""Return the validation loss after the last epoch."""
    trained = SoftmaxMLPClassifier(
        hidden_layer_sizes=(trial.suggest_int("width", 16, 128, log=True),),
        learning_rate=trial.suggest_float("learning_rate", 1e-4, 0.3, log=True),
        n_estimators=1,
        max_epochs=10,
        lr_schedule="constant",
        random_state=0,
        callbacks=[SkorchPruningCallback(trial, "valid_loss")],
    ).fit(X_fit, y_fit, X_val=X_val, y_val=y_val)
    return -trained.validation_scores_[-1]


study = optuna.create_study(
    sampler=optuna.samplers.TPESampler(seed=0),
    pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=1),
)
study.optimize(objective, n_trials=15)
epochs = [len(trial.intermediate_values) for trial in study.trials]
is_pruned = [trial.state == optuna.trial.TrialState.PRUNED for trial in study.trials]
print(f"\nstudy: validation loss {study.best_value:.4f}")
print(
    f"{sum(is_pruned)} of {len(epochs)} trials pruned, "
    f"{sum(epochs)} epochs in place of {10 * len(epochs)}"
)

_, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for trial, stops_early in zip(study.trials, is_pruned, strict=True):
    ax.plot(
        list(trial.intermediate_values),
        list(trial.intermediate_values.values()),
        color="tab:orange" if stops_early else "tab:blue",
        marker=".",
    )
ax.set(xlabel="epoch", ylabel="validation loss", yscale="log")
ax.set_title("Trials: pruned (orange) and complete (blue)")
plt.show()

# %%
# Successive halving
# ------------------
# All candidates are trained for two epochs, the best third of them for six, the best
# third of those for eighteen. The schedule of the learning rate is complete in each
# round, since its length is the number of epochs.
halving = HalvingGridSearchCV(
    classifier,
    {"learning_rate": [0.001, 0.003, 0.01, 0.03], "dropout": [0.0, 0.2, 0.4]},
    resource="max_epochs",
    min_resources=2,
    max_resources=18,
    factor=3,
    cv=folds,
    scoring="neg_log_loss",
    random_state=0,
).fit(X_train, y_train)
loss = log_loss(y_test, halving.predict_proba(X_test), labels=halving.classes_)
print(f"\nHalvingGridSearchCV: log loss {loss:.4f} with {halving.best_params_}")
results = halving.cv_results_
for n_candidates, n_epochs in zip(
    halving.n_candidates_, halving.n_resources_, strict=True
):
    scores = results["mean_test_score"][results["n_resources"] == n_epochs]
    print(
        f"{n_candidates:>3} candidates, {n_epochs:>2} epochs: "
        f"log loss {-np.max(scores):.4f} to {-np.min(scores):.4f}"
    )
