r"""Errors for unknown keyword arguments that name the parameter of the same meaning.

The synonyms come from scikit-learn, skorch, Keras, LightGBM, XGBoost, CatBoost, TabNet
and TabM.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, ParamSpec, Self, TypeVar

from sklearn.base import BaseEstimator

from .compat import raise_for_params

P = ParamSpec("P")
R = TypeVar("R")

# Names of one meaning, in each line: those of our estimators and those elsewhere. Names
# of similar spelling, such as dropout_rate, are found by `difflib`.
SYNONYMS = [
    set(names.split())
    for names in (
        "C Cs weight_decay alpha alphas lambdas n_lambdas l2 reg_lambda lambda_l2 "
        "l2_leaf_reg",
        "l1_ratio l1_ratios l1 lambda_l1 reg_alpha",
        "l1_ratio l1_ratios penalty",
        "weight_decay penalty",
        "X_val x_val X_valid X_eval eval_X",
        "X_val y_val eval_set eval_sets evals validation_data valid_sets val_data",
        "sample_weight_val eval_sample_weight sample_weight_eval_set",
        "y_val y_valid y_eval eval_y",
        "categorical_features cat_features categorical_feature cat_idxs cat_cols "
        "enable_categorical",
        "channels filters n_filters num_filters out_channels hidden_channels",
        "checkpoint model_dir checkpoint_path ckpt_path snapshot save_path",
        "class_weight class_weights is_unbalance auto_class_weights",
        "cv folds n_folds nfold n_splits kfold",
        "device use_gpu gpu gpu_id use_cuda cuda task_type accelerator device_type",
        "estimator classifier model clf base_estimator",
        "fit_intercept bias use_bias intercept",
        "frozen freeze frozen_layers freeze_layers",
        "gradient_clipping grad_clip clip_grad grad_clip_norm max_grad_norm "
        "gradient_clip_val clipnorm",
        "hidden_layer_sizes hidden_units hidden_layers hidden_sizes hidden_dims "
        "hidden_size hidden_dim layers layer_sizes units n_units d_block n_blocks "
        "width depth",
        "image_shape image_size img_size input_shape target_size",
        "input_scaling scaling scaler standardize normalize",
        "learning_rate lr learning_rate_init eta eta0 step_size base_lr max_lr",
        "max_epochs max_iter epochs n_epochs num_epochs nb_epoch n_iter iterations "
        "num_iterations num_boost_round n_steps max_steps",
        "mode color_mode pil_mode",
        "module model net network model_fn build_fn build_model",
        "lr_schedule power_t scheduler lr_scheduler learning_rate_schedule",
        "n_estimators n_members ensemble_size n_ensemble n_ens num_models k",
        "n_iter_no_change patience early_stopping_rounds early_stopping_patience "
        "od_wait",
        "n_neighbors k n_neighbours num_neighbors",
        "normalization norm norm_layer batch_norm batchnorm use_bn",
        "optimizer solver optim optimizer_name algorithm",
        "optimizer_params optimizer_kwargs optimizer_args optim_params",
        "param_grid params param_distributions grid search_spaces",
        "precision dtype amp use_amp mixed_precision",
        "random_state seed random_seed rng manual_seed",
        "resample interpolation",
        "sample_weight weight weights sample_weights",
        "scoring eval_metric metric metrics monitor",
        "tol tolerance min_delta threshold",
        "validation_fraction validation_split val_size valid_size test_size "
        "train_split",
        "time_limit time_budget timeout max_time train_time max_runtime_secs",
        "verbose verbosity verbose_eval silent log_level logging_level show_progress",
        "warm_start init_model xgb_model resume",
        "weight_averaging ema ema_decay use_ema swa average",
    )
]

# How parameters of ours differ from their synonyms.
_REMARKS = {
    "C": "the inverse of the strength of the penalty",
    "Cs": "inverses of the strength of the penalty",
    "n_iter_no_change": "with early_stopping=True",
    "validation_fraction": "with early_stopping=True",
}

# Names without a parameter of the same meaning, and the reason.
_CROSS_ENTROPY = "The loss is always the cross-entropy."
_THREADS = "Set the number of threads with torch.set_num_threads."
_TREES = "It is a parameter of trees, and a net has none."
_MOMENTS = (
    "Other settings of an optimizer than these are optimizer_params of a "
    "SoftmaxNetClassifier."
)
_BATCHES = "Batches come from memory, without worker processes."
_REASONS = {
    name: reason
    for names, reason in (
        ("criterion loss objective loss_function", _CROSS_ENTROPY),
        ("multi_class", "The model is always a softmax over all classes."),
        ("n_jobs nthread num_threads thread_count", _THREADS),
        ("beta_1 beta_2 betas epsilon eps nesterovs_momentum nesterov", _MOMENTS),
        ("num_workers iterator_train iterator_valid dataset pin_memory", _BATCHES),
        (
            "num_leaves max_depth max_leaves min_child_samples min_child_weight "
            "min_data_in_leaf min_samples_leaf min_split_gain gamma subsample bagging "
            "bagging_fraction bagging_freq colsample_bytree feature_fraction "
            "boosting_type boosting booster grow_policy tree_method max_bin "
            "subsample_for_bin subsample_freq num_parallel_tree sampling_method "
            "monotone_constraints interaction_constraints importance_type",
            _TREES,
        ),
        (
            "max_fun dual intercept_scaling",
            "It belongs to a solver of scikit-learn that is not used here.",
        ),
        ("shuffle", "The order of the rows is always drawn anew in each epoch."),
        (
            "predict_nonlinearity",
            "predict_proba is always the softmax of the logits.",
        ),
    )
    for name in names.split()
}

# Names of the rows of validation, which a search over folds has no use for.
_VALIDATION = ("X_val", "y_val", "sample_weight_val")
_FOLDS = "The folds of cv are the validation rows."
_EXACT = "The exact solver goes to the optimum and needs no {name}."


def explain_keywords(method: Callable[P, R]) -> Callable[P, R]:
    r"""Make a method explain keyword arguments that it does not have.

    Its signature stays the same, for `inspect`, type checkers and scikit-learn.
    """

    @functools.wraps(method)
    def explained(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except TypeError:
            parameters = inspect.signature(method).parameters
            unknown = sorted(kwargs.keys() - parameters.keys())
            takes_any = any(x.kind is x.VAR_KEYWORD for x in parameters.values())
            if not unknown or takes_any:
                raise
        # Python's message would name the first unknown argument only.
        raise TypeError(_message(method, type(args[0]), unknown))

    return explained


class ExplainedParametersMixin(BaseEstimator):
    r"""Makes ``set_params`` explain names that an estimator does not have.

    It stands before the class of scikit-learn whose ``set_params`` it calls.
    """

    def set_params(self, **params: Any) -> Self:
        r"""Set the parameters.

        Parameters
        ----------
        **params : dict
            Parameters and their values.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            If there is no such parameter. The message names the parameter of the same
            meaning.
        """
        try:
            super().set_params(**params)
        except ValueError as error:
            known = self.get_params(deep=True)
            # A nested name is explained by the estimator that it leads to.
            unknown = [x for x in params if x.partition("__")[0] not in known]
            hints = _hints(type(self).__init__, type(self), unknown)
            if not hints:
                raise
            what, valid, names = str(error).partition(" Valid parameters are: ")
            raise ValueError(f"{what} {' '.join(hints)}{valid}{names}") from None
        return self


def check_metadata(params: Mapping[str, Any], estimator: Any, method: str) -> None:
    r"""Raise scikit-learn's error for metadata without routing, with an explanation.

    Parameters
    ----------
    params : mapping
        Keyword arguments of the method that its signature does not name.
    estimator : object
        The estimator.
    method : str
        Name of the method.
    """
    try:
        raise_for_params(params, estimator, method)
    except ValueError as error:
        cls = type(estimator)
        hints = _hints(getattr(cls, method), cls, sorted(params))
        raise ValueError(" ".join([str(error), *hints])) from None


def _names_of(method: Callable[..., object]) -> list[str]:
    parameters = inspect.signature(method).parameters.values()
    return [x.name for x in parameters if x.name != "self" and x.kind != x.VAR_KEYWORD]


def _message(method: Callable[..., object], cls: type, unknown: list[str]) -> str:
    is_init = method.__name__ == "__init__"
    where = cls.__name__ if is_init else f"{cls.__name__}.{method.__name__}"
    return " ".join(
        [
            f"{where} got unexpected keyword argument{'s' * (len(unknown) > 1)} "
            f"{', '.join(map(repr, unknown))}.",
            *_hints(method, cls, unknown),
            f"Expected names among: {', '.join(_names_of(method))}.",
        ]
    )


def _hints(
    method: Callable[..., object], cls: type, unknown: Iterable[str]
) -> list[str]:
    r"""Return a sentence for each unknown name that has a counterpart or a reason."""
    elsewhere = {f"{cls.__name__}(...)": _names_of(cls.__init__)}  # type: ignore[misc]
    if hasattr(cls, "fit"):
        elsewhere["fit"] = _names_of(cls.fit)
    names = _names_of(method)
    return list(filter(None, (_hint(name, names, elsewhere) for name in unknown)))


def _hint(name: str, names: list[str], elsewhere: Mapping[str, list[str]]) -> str:
    r"""Return what to pass instead of an unknown name, or an empty text."""
    if name.startswith("module__") and "module_params" in names:
        return f"Use module_params={{{name.removeprefix('module__')!r}: ...}}."
    if name in _REASONS:
        return _REASONS[name]
    # skorch has names such as optimizer__weight_decay.
    last = name.rpartition("__")[2]
    if found := synonyms(last, names):
        return f"Use {_with_remarks(found)} instead of {name}."
    for place, others in elsewhere.items():
        if found := synonyms(last, others):
            return f"Pass {_with_remarks(found)} to {place}."
    parameters = next(iter(elsewhere.values()))
    if "cv" in parameters and synonyms(last, _VALIDATION):
        return _FOLDS
    if "Cs" in parameters and any(last in group for group in SYNONYMS):
        return _EXACT.format(name=last)
    close = get_close_matches(name, names)
    return f"Did you mean {' or '.join(close)}?" if close else ""


def synonyms(name: str, names: Iterable[str]) -> list[str]:
    r"""Return the names of the same meaning; the name alone if it is among them."""
    if name in names:
        return [name]
    same = set().union(*(group for group in SYNONYMS if name in group))
    return [other for other in names if other in same]


def _with_remarks(names: Iterable[str]) -> str:
    return " and ".join(
        f"{name} ({_REMARKS[name]})" if name in _REMARKS else name for name in names
    )
