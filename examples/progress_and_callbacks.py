r"""
Progress and callbacks
======================

Who wants to know how a fit goes has three ways: ``verbose=1`` for a look at it,
scikit-learn's callbacks (from version 1.9 on), which work through pipelines and
searches, and skorch's, which see every batch. None of them changes a bit of the result.
"""

# %%
# A progress bar
# --------------
# In a terminal, ``verbose=1`` draws a bar with the losses (``pip install
# "sksoftmax[progress]"``); here, and in any log, it is one line. The workers of joblib
# say nothing, or they would all talk at once.
import warnings

import numpy as np
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from skorch.callbacks import LRScheduler

from sksoftmax import SoftmaxMLPClassifier, SoftmaxRegression

# Six epochs are too few, as a ConvergenceWarning would say, but short to print.
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
# the classifier as it is then (what follows the last epoch, such as going back to the
# best one or learning a temperature, is not part of it). It is set on the classifier,
# the ``ProgressBar`` on the search, and both go into its folds and workers.
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

# %%
# A callback that stops training
# ------------------------------
# Four methods make a callback. The end of a task is where it may say that this is
# enough; ``fitted_estimator``, if it asks for one, can predict. An exact solver is told
# of by its steps.


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
# Learning rate schedules, checkpoints, TensorBoard and whatever else was written for
# skorch is passed as a parameter, and changes what it is made to change.
scheduler = LRScheduler("StepLR", step_size=2, gamma=0.1)
scheduled = make_mlp(lr_schedule="constant", callbacks=[scheduler])
scheduled.fit(X_train, y_train)
rates = scheduled.net_.history[:, "event_lr"]
print("learning rates:", *(f"{rate:.0e}" for rate in rates))

# %%
# Looking on changes nothing.
alone = make_mlp().fit(X_train, y_train, X_val=X_val, y_val=y_val)
assert np.array_equal(alone.predict_proba(X_val), mlp.predict_proba(X_val))
