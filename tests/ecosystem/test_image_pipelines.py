r"""Pipelines from image files to predictions."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
import skops.io
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline

from sksoftmax import (
    ImageReader,
    SoftmaxGridSearchCV,
    SoftmaxRegression,
)
from sksoftmax._encoders import images as reader_module
from sksoftmax._utils import memmap as mapped
from sksoftmax.datasets import load_image_folder
from sksoftmax.persistence import TRUSTED_TYPES

from ..encoders.image_files import write_files
from ..factories import CNN, for_each_class, same_bits

N = 300
COLORS = np.array([[255, 60, 60], [60, 220, 60], [80, 80, 255]])


@pytest.fixture(scope="module")
def colored():
    r"""Return digits of 8 x 8 x 3 bytes; the class is the digit's color."""
    digits = load_digits().images[:N] / 16
    y = np.arange(N) % 3
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 60, size=(N, 8, 8, 3))
    pixels = digits[..., None] * COLORS[y][:, None, None] * 0.75 + noise
    return pixels.clip(0, 255).astype(np.uint8), np.array(["red", "green", "blue"])[y]


@pytest.fixture(scope="module")
def paths(colored, tmp_path_factory):
    return np.array(write_files(tmp_path_factory.mktemp("colored"), colored[0]))


@pytest.fixture(scope="module")
def rows(colored):
    return colored[0].transpose(0, 3, 1, 2).reshape(N, -1)


@for_each_class
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_predictions_are_those_of_the_array_to_the_last_bit(
    make, n_jobs, paths, rows, colored
):
    y = colored[1]
    classifier = make().fit(rows[:200], y[:200])
    pipeline = make_pipeline(ImageReader(n_jobs=n_jobs), make())
    pipeline.fit(paths[:200], y[:200])
    expected = classifier.predict_proba(rows[200:])
    assert same_bits(pipeline.predict_proba(paths[200:]), expected)
    assert pipeline.score(paths[200:], y[200:]) > 0.9


@pytest.mark.parametrize("image_shape", [None, (3, 8, 8)])
def test_convolutional_net_learns_colors(image_shape, paths, rows, colored):
    y = colored[1]
    make = partial(CNN, image_shape=image_shape)
    expected = make().fit(rows[:200], y[:200]).predict_proba(rows)
    for X in (paths, [str(path) for path in paths], pd.Series(paths)):
        pipeline = make_pipeline(ImageReader(image_shape), make())
        pipeline.fit(X[:200], y[:200])
        assert same_bits(pipeline.predict_proba(X), expected)
        assert pipeline[-1].image_shape_ == pipeline[0].image_shape_ == (3, 8, 8)
        assert pipeline.score(X[200:], y[200:]) > 0.95


def test_a_file_larger_than_memory_gives_the_same_bits(
    paths, rows, colored, monkeypatch, tmp_path
):
    y = colored[1]
    expected = CNN().fit(rows, y).predict_proba(rows)
    # Small files as if they were larger than memory: few rows at a time.
    monkeypatch.setattr(mapped, "SMALL_FILE", 0)
    monkeypatch.setattr(mapped, "MAX_BYTES", 20_000)
    monkeypatch.setattr(reader_module, "_PART_BYTES", 20_000)
    pipeline = make_pipeline(ImageReader(max_nbytes=0, temp_folder=tmp_path), CNN())
    assert same_bits(pipeline.fit(paths, y).predict_proba(paths), expected)
    assert mapped.Pages(pipeline[0].transform(paths)).is_mapped
    assert list(tmp_path.iterdir()) == []


def test_search_over_the_parameters_of_the_reader(paths, colored):
    y = colored[1]
    pipeline = make_pipeline(ImageReader(), SoftmaxRegression(max_iter=50))
    grid = {
        "imagereader__image_shape": [(4, 4), (8, 8)],
        "imagereader__mode": ["L", "RGB"],
        "imagereader__resample": ["box", "bilinear"],
    }
    for search in (
        GridSearchCV(pipeline, grid, cv=2, error_score="raise"),
        SoftmaxGridSearchCV(
            pipeline, grid | {"softmaxregression__C": [0.1, 1.0]}, cv=2
        ),
    ):
        search.fit(paths, y)
        assert search.best_params_["imagereader__mode"] == "RGB"
        assert search.score(paths, y) > 0.95
        gray = [
            score
            for score, candidate in zip(
                search.cv_results_["mean_test_score"],
                search.cv_results_["params"],
                strict=True,
            )
            if candidate["imagereader__mode"] == "L"
        ]
        # The brightness hardly tells the colors apart.
        assert max(gray) < search.best_score_ - 0.2


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_cross_validation_in_processes(n_jobs, paths, colored):
    pipeline = make_pipeline(ImageReader(n_jobs=2), SoftmaxRegression())
    # joblib lets a reader in a worker read by itself.
    scores = cross_val_score(pipeline, paths, colored[1], cv=2, n_jobs=n_jobs)
    assert scores.min() > 0.95


def test_the_reader_before_a_meta_estimator(paths, colored):
    pipeline = make_pipeline(
        ImageReader(), BaggingClassifier(SoftmaxRegression(), 2, random_state=0)
    )
    X_train, X_test, y_train, y_test = train_test_split(
        paths, colored[1], random_state=0
    )
    assert pipeline.fit(X_train, y_train).score(X_test, y_test) > 0.95


@pytest.mark.parametrize("image_shape", [None, (6, 6)])
def test_fitted_pipelines_in_files(image_shape, paths, colored):
    y = colored[1]
    pipeline = make_pipeline(ImageReader(image_shape), SoftmaxRegression())
    pipeline.fit(paths, y)
    expected = pipeline.predict_proba(paths)
    for copied in (
        pickle.loads(pickle.dumps(pipeline)),
        skops.io.loads(skops.io.dumps(pipeline), trusted=TRUSTED_TYPES),
    ):
        assert same_bits(copied.predict_proba(paths), expected)


def test_from_a_folder_to_predictions(colored, tmp_path):
    pixels, y = colored
    for name in ("red", "green", "blue"):
        write_files(tmp_path / "train" / name, pixels[:200][y[:200] == name])
    unlabeled = write_files(tmp_path / "test", pixels[200:])
    X, labels = load_image_folder(tmp_path / "train", return_X_y=True)
    pipeline = make_pipeline(ImageReader(), SoftmaxRegression()).fit(X, labels)
    assert pipeline.classes_.tolist() == ["blue", "green", "red"]
    assert (pipeline.predict(unlabeled) == y[200:]).mean() > 0.95


def test_four_channels_need_image_shape_in_the_classifier(colored, tmp_path):
    pixels, y = colored
    alpha = np.full((N, 8, 8, 1), 255, dtype=np.uint8)
    images = np.concatenate([pixels, alpha], axis=3)
    paths = write_files(tmp_path, images)
    pipeline = make_pipeline(
        ImageReader(mode="RGBA"), CNN(image_shape=(4, 8, 8), max_epochs=20)
    )
    pipeline.fit(paths[:200], y[:200])
    assert pipeline[-1].image_shape_ == pipeline[0].image_shape_
    assert pipeline.score(paths[200:], y[200:]) > 0.9


def test_images_of_several_sizes(colored, tmp_path):
    pixels, y = colored
    paths = []
    for number, image in enumerate(pixels):
        side = 8 + number % 5
        path = tmp_path / f"{number:03d}.png"
        Image.fromarray(image).resize((side, side)).save(path)
        paths.append(path)
    pipeline = make_pipeline(ImageReader((8, 8)), SoftmaxRegression())
    with pytest.raises(ValueError, match="set image_shape"):
        clone(pipeline).set_params(imagereader__image_shape=None).fit(paths, y)
    assert pipeline.fit(paths[:200], y[:200]).score(paths[200:], y[200:]) > 0.95
