r"""
Otto: a Kaggle challenge from the table to the submission
=========================================================

Kaggle's `Otto Group Product Classification Challenge
<https://www.kaggle.com/c/otto-group-product-classification-challenge>`_ asks for the
category of a product, one of nine, given 93 counts of which nothing is known but the
numbers. Submissions are ranked by log loss, so the probabilities count, not only the
predicted classes. Put Kaggle's ``train.csv`` and ``test.csv`` in a folder and point the
environment variable ``SKSOFTMAX_DATA`` at it. On two processor cores the example takes
a few minutes.
"""

# %%
# Two traps
# ---------
# The rows are sorted by category. Folds of consecutive rows are useless: the last fifth
# of the table, for example, has all rows of Class_9, and training would have none.
# Folds have to be shuffled and stratified.
import numpy as np
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    cross_val_score,
    train_test_split,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from sksoftmax import SoftmaxMLPClassifier, SoftmaxRegression
from sksoftmax.datasets import load_otto, otto_submission

train = load_otto()
X, y = train.data, train.target
print(
    f"{X.shape[0]:,} rows, {X.shape[1]} features, {(X == 0).mean(axis=None):.0%} zeros"
)
print("classes of the last fifth:", *y[-len(y) // 5 :].unique())

# %%
# The second trap follows from the first. ``id`` counts the sorted rows, so it
# determines the class: a decision tree on the id alone is perfect in cross-validation,
# and worthless on Kaggle's test rows. Therefore ``load_otto`` returns ``ids`` apart
# from ``data``.
folds = StratifiedKFold(n_splits=5, shuffle=True, random_state=0)
leak = cross_val_score(DecisionTreeClassifier(), train.ids.to_frame(), y, cv=folds)
print(f"accuracy from the id alone: {leak.mean():.3f}")

# %%
# Cross-validation
# ----------------
# Counts with a long tail and many zeros do not suit a linear model as they are; their
# logarithms, standardized, do. The multi-layer perceptron takes the raw counts: its
# ``input_scaling`` does about the same. (A convolutional net would take the rows as
# strips of 93 pixels, but the order of these features has no meaning.) Two nets are
# trained here, to keep the example short. The twelve of the default have a log loss of
# 0.436.
models = {
    "softmax regression": make_pipeline(
        FunctionTransformer(np.log1p), StandardScaler(), SoftmaxRegression()
    ),
    "multi-layer perceptron": SoftmaxMLPClassifier(n_estimators=2, random_state=0),
}
shares = y.value_counts(normalize=True)
print(f"\n{'model':<24}log loss")
print(f"{'class frequencies':<24}{-(shares * np.log(shares)).sum():.4f}")
for name, model in models.items():
    losses = -cross_val_score(model, X, y, cv=folds, scoring="neg_log_loss")
    print(f"{name:<24}{losses.mean():.4f} +- {losses.std():.4f}")

# %%
# Grid search
# -----------
# A fifth of the rows and short training are enough to compare settings, but not to
# estimate their log loss on the whole table.
X_part, _, y_part, _ = train_test_split(
    X, y, train_size=0.2, stratify=y, random_state=0
)
search = GridSearchCV(
    SoftmaxMLPClassifier(n_estimators=2, max_epochs=20, random_state=0),
    {"input_scaling": ["standard", "smooth"], "dropout": [0.0, 0.2]},
    scoring="neg_log_loss",
    cv=StratifiedKFold(n_splits=3, shuffle=True, random_state=0),
    refit=False,
).fit(X_part, y_part)

print(f"\n{'input_scaling':<15}{'dropout':<9}log loss")
results = search.cv_results_
for params, score in zip(results["params"], results["mean_test_score"], strict=True):
    print(f"{params['input_scaling']:<15}{params['dropout']:<9}{-score:.4f}")

# %%
# Submission
# ----------
# The best setting is trained on all rows. ``otto_submission`` puts the columns into
# Kaggle's order and clips the probabilities as Kaggle does.
test = load_otto(subset="test")
best = SoftmaxMLPClassifier(n_estimators=2, random_state=0, **search.best_params_)
best.fit(X, y)
submission = otto_submission(best, test.data, test.ids)
submission.to_csv("submission.csv", index=False)
print(f"\nsubmission.csv: {submission.shape[0]:,} rows for {search.best_params_}")
print(submission.head(3).round(3).to_string(index=False))
