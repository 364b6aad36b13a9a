r"""The HTML representation of an estimator in a notebook."""

from functools import partial

import pytest
import sklearn
from sklearn.utils.fixes import parse_version

from sksoftmax import (
    SoftmaxGridSearchCV,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)

from ..factories import EXACT, NETS


@pytest.mark.parametrize(
    "make",
    [
        *EXACT,
        *NETS,
        pytest.param(partial(SoftmaxRegressionCV, Cs=2, cv=2), id="cv"),
        pytest.param(
            partial(SoftmaxGridSearchCV, SoftmaxRegression(), {"C": [1, 2]}),
            id="search",
        ),
    ],
)
def test_representation_shows_parameters_fitted_attributes_and_documentation(
    make, named_iris
):
    model = make()
    name = type(model).__name__
    page = f"https://sksoftmax.readthedocs.io/en/stable/generated/sksoftmax.{name}.html"
    fresh = model._repr_html_()
    assert f'href="{page}"' in fresh
    for parameter in model.get_params(deep=False):
        assert parameter in fresh
    fitted = model.fit(*named_iris)._repr_html_()
    shown = {key for key in vars(model) if key.endswith("_")}
    assert len(shown) > 5
    # scikit-learn shows fitted attributes since version 1.9.
    if parse_version(sklearn.__version__) < parse_version("1.9"):
        return
    for attribute in shown:
        assert f"--doc-link-{attribute};" in fitted
    if "device_" in shown:
        kind = model.device_.type
        assert f"device(type=&#x27;{kind}&#x27;" in fitted
