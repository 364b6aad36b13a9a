r"""Parameters of all estimators: which names there are, and which there are not."""

import inspect

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from torch import nn

from sksoftmax import (
    ImageReader,
    NeighborsEncoder,
    SoftmaxCNNClassifier,
    SoftmaxGridSearchCV,
    SoftmaxMLPClassifier,
    SoftmaxNetClassifier,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)
from sksoftmax._utils.keywords import SYNONYMS, synonyms

ESTIMATORS = [
    ImageReader(),
    NeighborsEncoder(),
    SoftmaxCNNClassifier(),
    SoftmaxGridSearchCV(SoftmaxRegression(), {"C": [0.1, 1.0]}),
    SoftmaxMLPClassifier(),
    SoftmaxNetClassifier(nn.Linear),
    SoftmaxRegression(),
    SoftmaxRegressionCV(),
]


def name_of(estimator):
    return type(estimator).__name__


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=name_of)
def test_public_attributes_before_fit_are_parameters(estimator):
    # Other libraries ask `hasattr` what they can set: BaggingClassifier, for example,
    # and tests of scikit-learn do so with `n_estimators` and `random_state`.
    others = {
        name
        for name in set(dir(estimator)) - set(estimator.get_params(deep=False))
        if not name.startswith("_")
        and hasattr(estimator, name)
        and not callable(getattr(estimator, name))
    }
    assert others == set()


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=name_of)
def test_parameters_of_other_estimators_are_neither_there_nor_settable(estimator):
    parameters = estimator.get_params(deep=False)
    others = {name for other in ESTIMATORS for name in other.get_params(deep=False)}
    for name in others - set(parameters):
        assert not hasattr(estimator, name)
        with pytest.raises(ValueError, match="Invalid parameter"):
            clone(estimator).set_params(**{name: 2})


X = np.random.default_rng(0).normal(size=(20, 2))
Y = np.arange(20) % 2

# How each class is called as elsewhere, and what the error says to do instead.
FOREIGN = [
    (SoftmaxMLPClassifier, {"max_iter": 200}, "Use max_epochs instead of max_iter."),
    (SoftmaxMLPClassifier, {"epochs": 5}, "Use max_epochs instead of epochs."),
    (SoftmaxMLPClassifier, {"n_epochs": 5}, "Use max_epochs instead of n_epochs."),
    (SoftmaxMLPClassifier, {"alpha": 1.0}, "Use weight_decay instead of alpha."),
    (SoftmaxMLPClassifier, {"C": 1.0}, "Use weight_decay instead of C."),
    (SoftmaxMLPClassifier, {"lr": 0.1}, "Use learning_rate instead of lr."),
    (SoftmaxMLPClassifier, {"learning_rate_init": 1}, "Use learning_rate instead"),
    (SoftmaxMLPClassifier, {"solver": "adam"}, "Use optimizer instead of solver."),
    (SoftmaxMLPClassifier, {"hidden_units": (8,)}, "Use hidden_layer_sizes instead"),
    (SoftmaxMLPClassifier, {"seed": 0}, "Use random_state instead of seed."),
    (SoftmaxMLPClassifier, {"k": 32}, "Use n_estimators instead of k."),
    (SoftmaxMLPClassifier, {"patience": 3}, r"Use n_iter_no_change \(with early_"),
    (SoftmaxMLPClassifier, {"cat_features": [0]}, "Use categorical_features instead"),
    (SoftmaxMLPClassifier, {"n_jobs": 2}, "torch.set_num_threads"),
    (SoftmaxMLPClassifier, {"eval_set": X}, "Pass X_val and y_val to fit."),
    (SoftmaxMLPClassifier, {"X_val": X}, "Pass X_val to fit."),
    (SoftmaxMLPClassifier, {"hidden_layer_size": 3}, "Did you mean hidden_layer_sizes"),
    (SoftmaxCNNClassifier, {"filters": (8,)}, "Use channels instead of filters."),
    (SoftmaxRegression, {"alpha": 1.0}, r"Use C \(the inverse of the strength"),
    (SoftmaxRegression, {"penalty": "l1"}, "Use l1_ratio instead of penalty."),
    (SoftmaxRegression, {"multi_class": "auto"}, "always a softmax over all classes"),
    (SoftmaxRegression, {"optimizer": "adam"}, "Use solver instead of optimizer."),
    (SoftmaxRegression, {"max_epochs": 9}, "Use max_iter instead of max_epochs."),
    (SoftmaxRegressionCV, {"C": 1.0}, r"Use Cs \(inverses of the strength"),
    (SoftmaxRegressionCV, {"n_folds": 3}, "Use cv instead of n_folds."),
    (NeighborsEncoder, {"k": 3}, "Use n_neighbors instead of k."),
    (ImageReader, {"target_size": (8, 8)}, "Use image_shape instead of target_size."),
    (ImageReader, {"color_mode": "L"}, "Use mode instead of color_mode."),
    (ImageReader, {"interpolation": "box"}, "Use resample instead of interpolation."),
]
FOREIGN_TO_NETS = [
    ({"module__width": 3}, r"Use module_params=\{'width': \.\.\.\}"),
    ({"optimizer__weight_decay": 1.0}, "Use weight_decay instead of optimizer__weight"),
    ({"criterion": nn.CrossEntropyLoss}, "always the cross-entropy"),
]


@pytest.mark.parametrize(("make", "keywords", "hint"), FOREIGN)
def test_names_of_other_libraries_in_a_constructor(make, keywords, hint):
    with pytest.raises(TypeError, match=hint) as caught:
        make(**keywords)
    assert f"got unexpected keyword argument {next(iter(keywords))!r}" in str(
        caught.value
    )
    for name in make().get_params(deep=False):
        assert name in str(caught.value)


@pytest.mark.parametrize(("keywords", "hint"), FOREIGN_TO_NETS)
def test_names_of_skorch_in_the_constructor_of_a_net(keywords, hint):
    with pytest.raises(TypeError, match=hint):
        SoftmaxNetClassifier(nn.Linear, **keywords)


def test_names_of_other_libraries_in_the_constructor_of_a_search():
    with pytest.raises(TypeError, match="Use param_grid instead of params"):
        SoftmaxGridSearchCV(SoftmaxRegression(), params={"C": [1.0]})


def test_several_unknown_names_are_all_explained():
    with pytest.raises(TypeError, match="arguments 'alpha', 'lr'") as caught:
        SoftmaxMLPClassifier(lr=0.1, alpha=1.0)
    assert "weight_decay" in str(caught.value).split("Expected")[0]
    assert "learning_rate" in str(caught.value).split("Expected")[0]


@pytest.mark.parametrize(
    ("method", "keywords", "hint"),
    [
        ("fit", {"eval_set": [(X, Y)]}, "Use X_val and y_val instead of eval_set."),
        ("fit", {"validation_data": (X, Y)}, "Use X_val and y_val instead"),
        ("fit", {"epochs": 3}, r"Pass max_epochs to SoftmaxMLPClassifier\(\.\.\.\)\."),
        ("fit", {"batch_size": 3}, r"Pass batch_size to SoftmaxMLPClassifier\("),
        ("fit", {"weights": Y}, "Use sample_weight instead of weights."),
        ("partial_fit", {"X_val": X}, "Pass X_val to fit."),
        ("partial_fit", {"class_weights": {}}, r"Pass class_weight to SoftmaxMLPCla"),
    ],
)
def test_names_of_other_libraries_in_methods(method, keywords, hint):
    classifier = SoftmaxMLPClassifier()
    with pytest.raises(TypeError, match=f"{method} got unexpected .*{hint}"):
        getattr(classifier, method)(X, Y, **keywords)


@pytest.mark.parametrize(("make", "keywords", "hint"), FOREIGN)
def test_names_of_other_libraries_in_set_params(make, keywords, hint):
    pipeline = make_pipeline(make())
    for estimator, prefix in ((make(), ""), (pipeline, f"{pipeline.steps[0][0]}__")):
        named = {prefix + name: value for name, value in keywords.items()}
        with pytest.raises(ValueError, match=f"^Invalid .*{hint}"):
            estimator.set_params(**named)


@pytest.mark.parametrize("rival", [MLPClassifier, LogisticRegression])
def test_no_parameter_of_scikit_learns_nets_is_without_an_answer(rival):
    # Those of a linear model that no net has are left out.
    names = set(inspect.signature(rival).parameters) - {"l1_ratio", "fit_intercept"}
    for name in names - set(SoftmaxMLPClassifier().get_params()):
        with pytest.raises(TypeError) as caught:
            SoftmaxMLPClassifier(**{name: 1})
        explained, _, _ = str(caught.value).partition(" Expected names among")
        assert not explained.endswith(f"argument {name!r}."), name


def test_a_search_over_folds_has_no_use_for_validation_rows():
    for call in (
        lambda: SoftmaxRegressionCV(eval_set=[(X, Y)]),
        lambda: SoftmaxRegressionCV().set_params(validation_data=(X, Y)),
        lambda: SoftmaxRegressionCV().fit(X, Y, eval_set=[(X, Y)]),
    ):
        with pytest.raises((TypeError, ValueError), match="The folds of cv"):
            call()
    with pytest.raises(TypeError, match="needs no learning_rate"):
        SoftmaxRegressionCV(learning_rate=0.1)


def test_names_that_a_search_passes_on_are_explained_too():
    search = SoftmaxGridSearchCV(SoftmaxMLPClassifier(), {"max_epochs": [1]})
    with pytest.raises(ValueError, match="Use X_val and y_val instead of eval_set"):
        search.fit(X, Y, eval_set=[(X, Y)])


def test_errors_about_anything_else_stay_as_they_are():
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'X'"):
        SoftmaxRegression().fit()
    with pytest.raises(ValueError, match=r"requires y to be passed, but .* y is None"):
        SoftmaxRegression().fit(X)
    with pytest.raises(TypeError, match=r"positional arguments? but 3 were given"):
        SoftmaxMLPClassifier((8,), "relu")


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=name_of)
def test_signatures_are_readable(estimator):
    # By inspect, and so by pydoc, notebooks and scikit-learn.
    for function in (type(estimator), type(estimator).fit):
        parameters = inspect.signature(function).parameters.values()
        assert not any(value.kind is value.VAR_POSITIONAL for value in parameters)
    names = inspect.signature(type(estimator)).parameters
    assert set(names) == set(estimator.get_params(deep=False))


def test_synonyms_of_an_estimator_are_one_parameter_or_two_that_belong_together():
    together = [{"X_val", "y_val"}]
    for estimator in ESTIMATORS:
        known = {
            name
            for function in (type(estimator), type(estimator).fit)
            for name, value in inspect.signature(function).parameters.items()
            if value.kind is not value.VAR_KEYWORD
        }
        for name in set().union(*SYNONYMS):
            found = synonyms(name, known)
            assert len(found) < 2 or set(found) in together, (name, found)
