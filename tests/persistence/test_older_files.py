r"""Files saved by older versions load and predict as they did (see files/README.md)."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits, load_iris

from sksoftmax import SoftmaxMLPClassifier
from sksoftmax.persistence import load
from sksoftmax.persistence._older_files import upgraded

FILES = Path(__file__).parent / "files"


def iris():
    return load_iris().data[::10]


def table():
    X, y = load_iris(return_X_y=True)
    category = np.array(["a", "b", "c"])[y].astype(object)
    frame = pd.DataFrame({"number": X[:, 2], "category": category})
    frame.loc[::7, "number"] = np.nan
    frame.loc[::5, "category"] = None
    return frame[::10]


def digits():
    return load_digits().data[::100]


@pytest.mark.parametrize(
    ("name", "make_rows"), [("regression", iris), ("mlp", table), ("cnn", digits)]
)
def test_files_of_version_0_1_predict_the_same(name, make_rows):
    classifier = load(FILES / f"{name}.safetensors")
    expected = np.load(FILES / "expected.npz")[name]
    # Bits differ between processors.
    np.testing.assert_allclose(
        classifier.predict_proba(make_rows()), expected, rtol=0, atol=1e-6
    )


def test_saved_regression_has_its_labels_and_parameters():
    classifier = load(FILES / "regression.safetensors")
    assert classifier.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert repr(classifier) == "SoftmaxRegression(device='cpu')"


@pytest.mark.parametrize("share_weights", [False, True])
@pytest.mark.parametrize("n_estimators", [1, 3, 4])
def test_inputs_and_members_of_version_0_1_are_reordered(n_estimators, share_weights):
    # Written out as version 0.1.0 had it: numbers, bins, missing values, categories and
    # learned vectors; members with bins and without in turn.
    frame = pd.DataFrame(
        {
            "number": [0.0, np.nan, 2.0, 3.0] * 10,
            "letter": list("abcdefghijklmnopqrst") * 2,
        }
    )
    classifier = SoftmaxMLPClassifier(
        (6,),
        embedding_size=None,
        n_bins=3,
        n_estimators=n_estimators,
        share_weights=share_weights,
        max_epochs=2,
        random_state=0,
        device="cpu",
    ).fit(frame, np.arange(40) % 2)
    module = classifier.module_
    old = {f"module.{name}": x.clone() for name, x in module.state_dict().items()}
    # (H, D), (D, H) or (K, D, H), with the bins last
    first = old["module.hidden.0.weight"]
    n_bins = len(module.input_scaling.pieces.column)
    if "module.hidden.0.bin_weight" in old:
        bins = old.pop("module.hidden.0.bin_weight")
        bins = torch.nn.functional.pad(bins, (0, 0, 0, 0, 0, n_estimators - len(bins)))
        first = torch.cat([first, bins], 1)
    axis = 1 if n_estimators == 1 else first.ndim - 2
    n_inputs = first.shape[axis]
    back = [0, *range(n_inputs - n_bins, n_inputs), *range(1, n_inputs - n_bins)]
    old["module.hidden.0.weight"] = first.index_select(axis, torch.tensor(back))
    if "module.hidden.0.input_scale" in old:
        scale = old["module.hidden.0.input_scale"][:, :, back]
        old["module.hidden.0.input_scale"] = scale
    n_with_bins = (n_estimators + 1) // 2
    members = [
        member // 2 + n_with_bins * (member % 2) for member in range(n_estimators)
    ]
    for name, tensor in old.items() if n_estimators > 1 else ():
        if name.startswith(("module.hidden", "module.output")) and tensor.ndim == 3:
            old[name] = tensor[members]
        elif "embeddings" in name:
            parts = tensor.unflatten(1, (n_estimators, -1))
            old[name] = parts[:, members].flatten(1)
    document = {
        "attributes": {"_alternate_bins": True},
        "parameters": {"n_estimators": n_estimators},
    }
    document, new = upgraded(document, old)
    assert document["attributes"] == {"_half_with_bins": True}
    assert document["parameters"]["embedding_size"] is None
    for name, tensor in module.state_dict().items():
        expected = tensor.clone()
        if name == "hidden.0.input_scale":
            # Members that lacked the bins ignore them.
            expected[n_with_bins:, :, n_inputs - n_bins :] = 0
        torch.testing.assert_close(new[f"module.{name}"], expected)
