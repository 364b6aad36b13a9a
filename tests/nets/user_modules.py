r"""Classifiers for the tests of modules of the user."""

from sksoftmax import SoftmaxNetClassifier


def net(module, **options):
    options = {"max_epochs": 3, "learning_rate": 0.01, "random_state": 0, **options}
    return SoftmaxNetClassifier(module, **options)
