r"""
Quick start
===========

Three softmax classifiers on scikit-learn's own digits: 1,797 images of 8 x 8 pixels.
They hold PyTorch modules, but are used like any estimator of scikit-learn: in
cross-validation, in a search, for probabilities. The example takes less than half a
minute on two processor cores.
"""

# %%
# Three families
# --------------
# Each classifier takes flat rows. The multi-layer perceptron and the convolutional net
# scale their input themselves; softmax regression comes after a scaler. To keep this
# example short, both nets train for fewer epochs than by default, and the convolutional
# net is smaller.
from sklearn.datasets import load_digits
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    cross_validate,
    train_test_split,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from sksoftmax import SoftmaxCNNClassifier, SoftmaxMLPClassifier, SoftmaxRegression

regression = make_pipeline(MinMaxScaler(), SoftmaxRegression())
mlp = SoftmaxMLPClassifier(max_epochs=12, random_state=0)
cnn = SoftmaxCNNClassifier(
    image_shape=(8, 8),
    channels=(32, 64),
    kernel_size=3,
    global_pooling=None,
    dropout=0.3,
    max_epochs=8,
    random_state=0,
)

# %%
# Cross-validation
# ----------------
# A quarter of the images is the test set. On the rest, the accuracy is the share of
# images whose most probable digit is the right one. The log loss is the mean of
# :math:`-\log \hat p_y` and measures the probabilities: lower is better.
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.25, stratify=y, random_state=0
)
folds = StratifiedKFold(n_splits=3, shuffle=True, random_state=0)

print(f"{'estimator':<22}{'accuracy':>16}{'log loss':>10}{'fit seconds':>13}")
for name, classifier in [
    ("SoftmaxRegression", regression),
    ("SoftmaxMLPClassifier", mlp),
    ("SoftmaxCNNClassifier", cnn),
]:
    scores = cross_validate(
        classifier, X_train, y_train, cv=folds, scoring=["accuracy", "neg_log_loss"]
    )
    accuracy, log_loss = scores["test_accuracy"], -scores["test_neg_log_loss"].mean()
    print(
        f"{name:<22}{accuracy.mean():>8.3f} +- {accuracy.std():.3f}{log_loss:>10.3f}"
        f"{scores['fit_time'].mean():>13.2f}"
    )

# %%
# Softmax regression makes about 1.5 times as many mistakes as the nets. Its penalty is
# one reason, as the next section shows.

# %%
# Grid search
# -----------
# The search sets the parameter of a step of the pipeline. For pixels between 0 and 1,
# the default penalty, ``C=1``, is too strong: with a weaker one, the log loss of
# softmax regression is much closer to that of the nets.
search = GridSearchCV(
    regression,
    {"softmaxregression__C": [0.1, 1, 10, 100]},
    scoring="neg_log_loss",
    cv=folds,
).fit(X_train, y_train)

print(f"\n{'C':>5}{'log loss':>10}")
for C, score in zip(
    search.cv_results_["param_softmaxregression__C"],
    search.cv_results_["mean_test_score"],
    strict=True,
):
    print(f"{C:>5}{-score:>10.3f}{'  <- best' if score == search.best_score_ else ''}")

# %%
# Probabilities
# -------------
# On the test images, the probabilities of the convolutional net show which predictions
# to trust: its mistakes are among the tenth of the predictions with the lowest
# probability.
cnn.fit(X_train, y_train)
is_right = cnn.predict(X_test) == y_test
certainty = cnn.predict_proba(X_test).max(axis=1)
least = certainty.argsort()[: len(y_test) // 10]

print(
    f"\nConvolutional net, test accuracy {is_right.mean():.3f}: "
    f"{(~is_right).sum()} mistakes, {(~is_right[least]).sum()} of them among the "
    f"{len(least)} least certain of {len(y_test)} answers"
)
