r"""MNIST, Fashion-MNIST and Kaggle's Otto table."""

from ._otto import fetch_fashion_mnist, fetch_mnist, load_otto, otto_submission

__all__ = ["fetch_fashion_mnist", "fetch_mnist", "load_otto", "otto_submission"]
