r"""Small files in the formats of MNIST and Otto, for the examples."""

import struct

import numpy as np
import pandas as pd

CLASSES = [f"Class_{number}" for number in range(1, 10)]


def write_idx(path, array):
    # Magic number: two zeros, 8 for bytes, the number of axes; then their lengths.
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def write_images(folder, n_train=30, n_test=100):
    r"""Write images in MNIST's format: a blurred template of each class, and noise."""
    rng = np.random.default_rng(0)
    templates = np.kron(rng.integers(256, size=(10, 7, 7)), np.ones((4, 4)))
    raw = folder / "raw"
    raw.mkdir(parents=True)
    for prefix, n_rows in [("train", n_train), ("t10k", n_test)]:
        labels = np.arange(n_rows) % 10
        noise = rng.normal(scale=80, size=(n_rows, 28, 28))
        images = (templates[labels] + noise).clip(0, 255)
        write_idx(raw / f"{prefix}-images-idx3-ubyte", images)
        write_idx(raw / f"{prefix}-labels-idx1-ubyte", labels)


def write_otto(folder, rows_per_class, n_test=60):
    r"""Write tables with Kaggle's columns: counts, each class with rates of its own."""
    rng = np.random.default_rng(0)
    rates = rng.gamma(0.3, 2.0, size=(9, 93))
    for name, labels in [
        ("train", np.arange(9).repeat(rows_per_class)),
        ("test", rng.integers(9, size=n_test)),
    ]:
        columns = [f"feat_{number}" for number in range(1, 94)]
        table = pd.DataFrame(rng.poisson(rates[labels]), columns=columns)
        table.insert(0, "id", np.arange(1, len(labels) + 1))
        if name == "train":
            table["target"] = np.array(CLASSES)[labels]
        table.to_csv(folder / f"{name}.csv", index=False)


def check_submission(folder, n_test=60):
    submission = pd.read_csv(folder / "submission.csv")
    assert list(submission) == ["id", *CLASSES]
    assert submission["id"].tolist() == list(range(1, n_test + 1))
    np.testing.assert_allclose(submission[CLASSES].sum(axis=1), 1.0, atol=1e-9)
    assert (submission[CLASSES] > 0).all(axis=None)
