r"""Loaders for MNIST, Fashion-MNIST, Kaggle's Otto Group challenge and image folders.

The files of the data sets are looked for in ``data_home``, else in the folder that the
environment variable ``SKSOFTMAX_DATA`` names, else in ``sksoftmax`` under
scikit-learn's own data folder (see :func:`sklearn.datasets.get_data_home`).
"""

from ._image_folder import load_image_folder
from ._images import fetch_fashion_mnist, fetch_mnist
from ._otto import load_otto, otto_submission

__all__ = [
    "fetch_fashion_mnist",
    "fetch_mnist",
    "load_image_folder",
    "load_otto",
    "otto_submission",
]
