r"""Errors for unknown keyword arguments that name the parameter of the same meaning.

The synonyms come from scikit-learn, skorch, Keras, LightGBM, XGBoost, CatBoost, TabNet
and TabM.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import ParamSpec, TypeVar

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
        "X_val x_val X_valid X_eval",
        "X_val y_val eval_set validation_data valid_sets val_data",
        "y_val y_valid y_eval",
        "categorical_features cat_features categorical_feature cat_idxs cat_cols",
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
        "module model net network model_fn build_fn",
        "n_estimators n_members ensemble_size n_ensemble n_ens num_models k",
        "n_iter_no_change patience early_stopping_rounds early_stopping_patience",
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
        "verbose verbosity silent log_level show_progress",
        "warm_start init_model resume",
        "weight_averaging ema ema_decay use_ema swa",
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
_REASONS = {
    "criterion": _CROSS_ENTROPY,
    "loss": _CROSS_ENTROPY,
    "multi_class": "The model is always a softmax over all classes.",
    "n_jobs": _THREADS,
    "nthread": _THREADS,
    "num_workers": "Batches come from memory, without worker processes.",
    "objective": _CROSS_ENTROPY,
    "shuffle": "The order of the rows is always drawn anew in each epoch.",
    "thread_count": _THREADS,
}


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


def _names_of(method: Callable[..., object]) -> list[str]:
    return [name for name in inspect.signature(method).parameters if name != "self"]


def _message(method: Callable[..., object], cls: type, unknown: list[str]) -> str:
    names = _names_of(method)
    is_init = method.__name__ == "__init__"
    where = cls.__name__ if is_init else f"{cls.__name__}.{method.__name__}"
    elsewhere = {f"{cls.__name__}(...)": _names_of(cls.__init__)}  # type: ignore[misc]
    if hasattr(cls, "fit"):
        elsewhere["fit"] = _names_of(cls.fit)
    hints = [_hint(name, names, elsewhere) for name in unknown]
    return " ".join(
        [
            f"{where} got unexpected keyword argument{'s' * (len(unknown) > 1)} "
            f"{', '.join(map(repr, unknown))}.",
            *filter(None, hints),
            f"Expected names among: {', '.join(names)}.",
        ]
    )


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
