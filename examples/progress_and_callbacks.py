r"""
Progress and callbacks
======================

There are three ways to follow a fit: ``verbose=1`` prints its progress, scikit-learn's
callbacks (from version 1.9 on) work through pipelines and searches, and skorch's
callbacks are called in every batch. Watching a fit changes no bit of the result. Needs
``pip install matplotlib``.
"""

# %%
# A progress bar
# --------------
# In a terminal, ``verbose=1`` draws a bar with the losses (``pip install rich``);
# in a log, it prints one line. The workers of joblib print nothing, since their lines
# would mix.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from skorch.callbacks import LRScheduler

from sksoftmax import SoftmaxMLPClassifier, SoftmaxRegression

# Six epochs are too few and raise a ConvergenceWarning, but are short to print.
warnings.filterwarnings("ignore", message="Maximum number of epochs")
X, y = load_digits(return_X_y=True)
X_train, X_val, y_train, y_val = train_test_split(
    X, y, test_size=0.2, stratify=y, random_state=0
)


def make_mlp(**options):
    return SoftmaxMLPClassifier(
        hidden_layer_sizes=(64,),
        n_estimators=1,
        max_epochs=6,
        random_state=0,
        **options,
    )


mlp = make_mlp(verbose=1).fit(X_train, y_train, X_val=X_val, y_val=y_val)

# %%
# Every epoch of every fold
# -------------------------
# A ``ScoringMonitor`` scores the training rows at the end of each epoch, with a copy of
# the classifier at that time: before the best epoch is restored, and before temperature
# scaling. It is set on the classifier, the ``ProgressBar`` on the search; both are
# passed on to the folds and workers.
monitor = ScoringMonitor(scoring="neg_log_loss")
pipeline = make_pipeline(MinMaxScaler(), make_mlp().set_callbacks(monitor))
grid = {"softmaxmlpclassifier__learning_rate": [0.001, 0.01]}
search = GridSearchCV(pipeline, grid, cv=3, n_jobs=2, scoring="neg_log_loss")
search.set_callbacks(ProgressBar(max_propagation_depth=0)).fit(X_train, y_train)

log = monitor.get_logs().data_as_pandas
epochs = log[log["task_name"] == "epoch"]
print(f"{len(epochs)} epochs in {epochs['parent_task_id_path'].nunique()} fits")
curve = epochs[epochs["parent_task_id_path"] == (0, 1, 1)]["neg_log_loss"]
print("log loss of the best, by epoch:", *(f"{-score:.3f}" for score in curve))

_, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for _, fit in epochs.groupby("parent_task_id_path"):
    ax.plot(range(1, 7), -fit["neg_log_loss"], color="tab:blue", alpha=0.5)
ax.set(xlabel="epoch", ylabel="log loss of the training rows", title="Seven fits")
plt.show()

# %%
# A callback that stops training
# ------------------------------
# A callback has four methods. It stops the fit by returning True at the end of a task.
# If its method has a parameter ``fitted_estimator``, it gets one that can predict. The
# tasks of an exact solver are its steps.


class StopAt:
    def __init__(self, accuracy):
        self.accuracy = accuracy

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        return (
            context.task_name in ("epoch", "step")
            and fitted_estimator.score(X_val, y_val) > self.accuracy
        )

    def teardown(self, estimator, context):
        pass


stopped = make_mlp().set_callbacks(StopAt(0.95)).fit(X_train, y_train)
print(f"perceptron: {stopped.n_iter_} of 6 epochs, {stopped.score(X_val, y_val):.3f}")
regression = SoftmaxRegression().set_callbacks(StopAt(0.95)).fit(X_train, y_train)
print(f"regression: {regression.n_iter_[0]} Newton steps")

# %%
# skorch's callbacks
# ------------------
# Schedules of the learning rate, checkpoints, TensorBoard and other callbacks for
# skorch are passed as a parameter. They may change the training.
scheduler = LRScheduler("StepLR", step_size=2, gamma=0.1)
scheduled = make_mlp(lr_schedule="constant", callbacks=[scheduler])
scheduled.fit(X_train, y_train)
rates = scheduled.net_.history[:, "event_lr"]
print("learning rates:", *(f"{rate:.0e}" for rate in rates))

# %%
# A fit without ``verbose=1`` gives the same bits.
alone = make_mlp().fit(X_train, y_train, X_val=X_val, y_val=y_val)
assert np.array_equal(alone.predict_proba(X_val), mlp.predict_proba(X_val))
