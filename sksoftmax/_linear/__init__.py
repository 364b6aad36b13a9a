r"""Softmax regression, its cross-validation and its grid search."""
