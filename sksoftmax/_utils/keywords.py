r"""Unknown keyword arguments: the name here that means the same as one from elsewhere.

People come from scikit-learn, skorch, Keras, LightGBM, XGBoost, CatBoost, TabNet and
TabM, and bring the names of parameters along.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

# For a name of ours, names elsewhere that mean the same. Names of ours are among them
# where two estimators have different ones.
_SYNONYMS = {
    "C": "Cs weight_decay alpha l2 reg_lambda lambda_l2 l2_leaf_reg",
    "Cs": "C weight_decay alpha alphas lambdas n_lambdas",
    "X_val": "eval_set validation_data valid_sets val_data X_valid X_eval x_val",
    "activation": "activation_function activation_fn activations act nonlinearity",
    "batch_size": "minibatch_size mini_batch_size train_batch_size max_batch_size",
    "callbacks": "callback",
    "categorical_features": "cat_features categorical_feature cat_idxs cat_cols",
    "channels": "filters n_filters num_filters out_channels hidden_channels",
    "checkpoint": "model_dir checkpoint_path ckpt_path snapshot save_path",
    "class_weight": "class_weights is_unbalance auto_class_weights",
    "cv": "folds n_folds nfold n_splits kfold",
    "device": "use_gpu gpu gpu_id use_cuda cuda task_type accelerator device_type",
    "dropout": "dropout_rate dropout_prob drop_rate p_dropout",
    "early_stopping": "use_best_model early_stop",
    "estimator": "classifier model clf base_estimator",
    "fit_intercept": "bias use_bias intercept",
    "hidden_layer_sizes": (
        "hidden_units hidden_layers hidden_sizes hidden_dims hidden_size hidden_dim "
        "layers layer_sizes units n_units d_block n_blocks width depth"
    ),
    "image_shape": "image_size img_size input_shape",
    "input_scaling": "scaling scaler standardize normalize",
    "l1_ratio": "l1_ratios penalty l1 lambda_l1 reg_alpha",
    "l1_ratios": "l1_ratio penalty",
    "label_smoothing": "ls_eps smoothing",
    "learning_rate": "lr learning_rate_init eta eta0 step_size base_lr max_lr",
    "lr_schedule": "lr_scheduler scheduler schedule learning_rate_schedule",
    "max_epochs": (
        "max_iter epochs n_epochs num_epochs nb_epoch n_iter iterations num_iterations "
        "num_boost_round n_steps max_steps"
    ),
    "max_iter": "max_epochs epochs n_epochs num_epochs n_iter iterations max_steps",
    "module": "model net network model_fn build_fn",
    "module_params": "module_args module_kwargs model_params",
    "n_bins": "num_bins max_bins max_bin bins",
    "n_estimators": "n_members ensemble_size n_ensemble n_ens num_models k",
    "n_iter_no_change": "patience early_stopping_rounds early_stopping_patience",
    "n_neighbors": "k n_neighbours num_neighbors",
    "normalization": "norm norm_layer batch_norm batchnorm use_bn",
    "optimizer": "solver optim optimizer_name algorithm",
    "param_grid": "params param_distributions grid search_spaces",
    "power": "p",
    "precision": "dtype amp use_amp mixed_precision",
    "random_state": "seed random_seed rng manual_seed",
    "sample_weight": "weight weights sample_weights",
    "sample_weight_val": "eval_sample_weight sample_weight_eval_set",
    "scoring": "eval_metric metric metrics monitor",
    "solver": "optimizer optim algorithm",
    "tol": "tolerance min_delta threshold",
    "validation_fraction": "validation_split val_size valid_size test_size train_split",
    "verbose": "verbosity silent log_level show_progress",
    "warm_start": "init_model resume",
    "weight_decay": "C Cs alpha l2 penalty reg_lambda lambda_l2 l2_leaf_reg",
    "y_val": "eval_set validation_data valid_sets val_data y_valid y_eval",
}

# In addition, how a name of ours differs from those.
_REMARKS = {
    "C": "the inverse of the strength of the penalty",
    "Cs": "inverses of the strength of the penalty",
    "n_iter_no_change": "with early_stopping=True",
    "validation_fraction": "with early_stopping=True",
}

# Names that no parameter stands for, and why.
_FIXED = {
    "criterion": "The loss is always the cross-entropy.",
    "loss": "The loss is always the cross-entropy.",
    "multi_class": "The model is always a softmax over all classes.",
    "n_jobs": "Set the number of threads with torch.set_num_threads.",
    "nthread": "Set the number of threads with torch.set_num_threads.",
    "num_workers": "Batches come from memory, without worker processes.",
    "objective": "The loss is always the cross-entropy.",
    "shuffle": "The order of the rows is always drawn anew in each epoch.",
    "thread_count": "Set the number of threads with torch.set_num_threads.",
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
            unknown = kwargs.keys() - _names_of(method)
            if not unknown or _takes_any_keyword(method):
                raise
            # Python's message, which this replaces, names one of them alone.
            message = _message(method, args[0], sorted(unknown))
        raise TypeError(message)

    return explained


def _names_of(method: Callable[..., object]) -> list[str]:
    return [name for name in inspect.signature(method).parameters if name != "self"]


def _takes_any_keyword(method: Callable[..., object]) -> bool:
    parameters = inspect.signature(method).parameters.values()
    return any(value.kind is value.VAR_KEYWORD for value in parameters)


def _message(
    method: Callable[..., object], estimator: object, unknown: list[str]
) -> str:
    cls, names = type(estimator), _names_of(method)
    is_init = method.__name__ == "__init__"
    where = cls.__name__ if is_init else f"{cls.__name__}.{method.__name__}"
    elsewhere = {f"{cls.__name__}(...)": _names_of(cls.__init__)}
    if hasattr(cls, "fit"):
        elsewhere["fit"] = _names_of(cls.fit)
    plural = "s" if len(unknown) > 1 else ""
    hints = [_hint(name, names, elsewhere) for name in unknown]
    return " ".join(
        [
            f"{where} got unexpected keyword argument{plural} "
            f"{', '.join(map(repr, unknown))}.",
            *filter(None, hints),
            f"Expected names among: {', '.join(names)}.",
        ]
    )


def _hint(name: str, names: list[str], elsewhere: dict[str, list[str]]) -> str:
    r"""Return what to pass for an unknown name; nothing if there is no guess."""
    if name.startswith("module__") and "module_params" in names:
        return f"Use module_params={{{name.removeprefix('module__')!r}: ...}}."
    if name in _FIXED:
        return _FIXED[name]
    # skorch has optimizer__weight_decay, for example.
    last = name.rpartition("__")[2]
    same = [last, *(ours for ours, all_ in _SYNONYMS.items() if last in all_.split())]
    if found := [ours for ours in same if ours in names]:
        return f"Use {_listed(found)} instead of {name}."
    for place, others in elsewhere.items():
        if found := [ours for ours in same if ours in others]:
            return f"Pass {_listed(found)} to {place}."
    close = get_close_matches(name, names)
    return f"Did you mean {_listed(close)}?" if close else ""


def _listed(names: Iterable[str]) -> str:
    remarks = ((name, _REMARKS.get(name)) for name in names)
    return " and ".join(
        name if remark is None else f"{name} ({remark})" for name, remark in remarks
    )
