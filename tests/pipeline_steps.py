r"""Steps of scikit-learn that stand before a classifier, each with rows for it."""

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.feature_extraction.text import (
    CountVectorizer,
    HashingVectorizer,
    TfidfVectorizer,
)
from sklearn.feature_selection import (
    SelectKBest,
    SelectPercentile,
    VarianceThreshold,
    chi2,
    mutual_info_classif,
)
from sklearn.impute import IterativeImputer, KNNImputer, MissingIndicator, SimpleImputer
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)

from sksoftmax import ImageReader, NeighborsEncoder

N_ROWS = 60
_rng = np.random.default_rng(0)

LABELS = np.arange(N_ROWS) % 3
NUMBERS = _rng.normal(size=(N_ROWS, 4)) + 0.5 * LABELS[:, None]
COUNTS = _rng.poisson(3.0, size=(N_ROWS, 4)).astype(float)
WITH_HOLES = np.where(_rng.random(NUMBERS.shape) < 0.2, np.nan, NUMBERS)
COLORS = np.array(["red", "green", "blue"])[_rng.integers(0, 3, (N_ROWS, 2))]
TEXTS = [f"the {color} house is number {label}" for color, label in
         zip(COLORS[:, 0], LABELS, strict=True)]  # fmt: skip
IMAGES = [
    Image.fromarray(pixels)
    for pixels in _rng.integers(0, 4, size=(N_ROWS, 5, 6), dtype=np.uint8)
]
TABLE = pd.DataFrame(
    {"width": WITH_HOLES[:, 0], "height": NUMBERS[:, 1], "color": COLORS[:, 0]}
)

_KBINS = {"n_bins": 3, "quantile_method": "averaged_inverted_cdf"}
_NUMERIC = make_column_selector(dtype_include="number")
_OTHER = make_column_selector(dtype_exclude="number")

STEPS = {
    "SimpleImputer": (SimpleImputer(), WITH_HOLES),
    "SimpleImputer float32": (SimpleImputer(), WITH_HOLES.astype(np.float32)),
    "SimpleImputer median": (
        SimpleImputer(strategy="median", add_indicator=True),
        WITH_HOLES,
    ),
    "SimpleImputer text": (
        make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder()),
        COLORS.astype(object),
    ),
    "KNNImputer": (KNNImputer(), WITH_HOLES),
    "IterativeImputer": (IterativeImputer(max_iter=2, tol=1.0), WITH_HOLES),
    "SimpleImputer of a frame": (
        make_column_transformer((SimpleImputer(), ["width", "height"])),
        TABLE,
    ),
    "MissingIndicator": (make_union(MissingIndicator(), SimpleImputer()), WITH_HOLES),
    "StandardScaler": (StandardScaler(), NUMBERS),
    "MinMaxScaler": (MinMaxScaler(), NUMBERS),
    "MaxAbsScaler": (MaxAbsScaler(), NUMBERS),
    "RobustScaler": (RobustScaler(), NUMBERS),
    "QuantileTransformer": (QuantileTransformer(n_quantiles=10), NUMBERS),
    "PowerTransformer": (PowerTransformer(), NUMBERS),
    "Normalizer": (Normalizer(), NUMBERS),
    "Binarizer": (Binarizer(), NUMBERS),
    "PolynomialFeatures": (PolynomialFeatures(), NUMBERS),
    "SplineTransformer": (SplineTransformer(), NUMBERS),
    "KBinsDiscretizer": (KBinsDiscretizer(**_KBINS), NUMBERS),
    "KBinsDiscretizer ordinal": (
        KBinsDiscretizer(encode="ordinal", **_KBINS),
        NUMBERS,
    ),
    "FunctionTransformer": (FunctionTransformer(), NUMBERS),
    "FunctionTransformer log1p": (FunctionTransformer(np.log1p), COUNTS),
    "OneHotEncoder": (OneHotEncoder(handle_unknown="ignore"), COLORS),
    "OneHotEncoder objects": (OneHotEncoder(), COLORS.astype(object)),
    "OneHotEncoder integers": (OneHotEncoder(), COUNTS.astype(int)),
    "OneHotEncoder rare": (
        OneHotEncoder(min_frequency=18, handle_unknown="infrequent_if_exist"),
        COLORS,
    ),
    "OrdinalEncoder": (OrdinalEncoder(), COLORS),
    "OrdinalEncoder unknown": (
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        TABLE[["color"]],
    ),
    "TargetEncoder": (TargetEncoder(), COLORS),
    "TargetEncoder of categories": (
        TargetEncoder(smooth=2.0),
        TABLE[["color"]].astype("category"),
    ),
    "PCA": (PCA(2), NUMBERS),
    "TruncatedSVD": (TruncatedSVD(2), NUMBERS),
    "VarianceThreshold": (VarianceThreshold(), NUMBERS),
    "SelectKBest": (SelectKBest(k=2), NUMBERS),
    "SelectKBest chi2": (SelectKBest(chi2, k=2), COUNTS),
    "SelectPercentile": (SelectPercentile(mutual_info_classif), NUMBERS),
    "NeighborsEncoder": (NeighborsEncoder(n_neighbors=3), NUMBERS),
    "ImageReader": (ImageReader((4, 4)), IMAGES),
    "CountVectorizer": (CountVectorizer(), TEXTS),
    "CountVectorizer characters": (
        CountVectorizer(analyzer="char_wb", ngram_range=(1, 2)),
        TEXTS,
    ),
    "TfidfVectorizer": (TfidfVectorizer(), TEXTS),
    "TfidfVectorizer of an array": (TfidfVectorizer(), np.array(TEXTS)),
    "TfidfVectorizer of objects": (TfidfVectorizer(), np.array(TEXTS, dtype=object)),
    "TfidfVectorizer of a series": (TfidfVectorizer(), pd.Series(TEXTS)),
    "TfidfVectorizer TruncatedSVD": (
        make_pipeline(TfidfVectorizer(), TruncatedSVD(2)),
        TEXTS,
    ),
    "HashingVectorizer": (HashingVectorizer(n_features=32), TEXTS),
    "ColumnTransformer": (
        make_column_transformer(
            (make_pipeline(SimpleImputer(), StandardScaler()), ["width", "height"]),
            (OneHotEncoder(), ["color"]),
        ),
        TABLE,
    ),
    "ColumnTransformer selectors": (
        make_column_transformer((SimpleImputer(), _NUMERIC), (OneHotEncoder(), _OTHER)),
        TABLE,
    ),
    "ColumnTransformer remainder": (
        make_column_transformer(
            (OneHotEncoder(), ["color"]), remainder=SimpleImputer()
        ),
        TABLE,
    ),
    "ColumnTransformer texts": (
        make_column_transformer(
            (TfidfVectorizer(), "text"), ("passthrough", ["height"])
        ),
        TABLE.assign(text=TEXTS),
    ),
    "FeatureUnion": (make_union(PCA(1), StandardScaler()), NUMBERS),
}
