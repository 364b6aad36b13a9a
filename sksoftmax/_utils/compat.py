r"""Versions, and the private names of dependencies: no other file uses any.

Each comment says which public name could replace the private ones, if there is one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import sklearn
import torch
from sklearn import base
from sklearn.metrics import _scorer
from sklearn.model_selection import _validation
from sklearn.utils import (
    _array_api,
    _param_validation,
    metadata_routing,
    metaestimators,
    multiclass,
    validation,
)
from torch import nn

__version__ = "0.1.0"

# Parameters of estimators and functions. No public substitutes; third-party estimators
# use these names, too.
HasMethods = _param_validation.HasMethods
Interval = _param_validation.Interval
StrOptions = _param_validation.StrOptions
fit_context = base._fit_context
validate_params = _param_validation.validate_params

# Arguments of fit, partial_fit and score. No public substitutes.
check_method_params = validation._check_method_params
check_partial_fit_first_call = multiclass._check_partial_fit_first_call
check_sample_weight = validation._check_sample_weight
num_samples = validation._num_samples
raise_for_params = metadata_routing._raise_for_params

# The array API. No public substitutes.
array_device = _array_api.device
array_namespace = _array_api.get_namespace
array_to_numpy = _array_api._convert_to_numpy

# Parts of a grid search. The public `cross_validate` fits every candidate by itself.
fit_and_score = _validation._fit_and_score
insert_error_scores = _validation._insert_error_scores
safe_split = metaestimators._safe_split
score_estimator = _validation._score
warn_or_raise_about_fit_failures = _validation._warn_or_raise_about_fit_failures

# PyTorch documents these as "Foreach operations", in beta, with the underscore. The
# public functions of `torch.optim` group the tensors by device and dtype in each call.
foreach_add = torch._foreach_add
foreach_add_ = torch._foreach_add_
foreach_addcdiv_ = torch._foreach_addcdiv_
foreach_addcmul_ = torch._foreach_addcmul_
foreach_div_ = torch._foreach_div_
foreach_lerp_ = torch._foreach_lerp_
foreach_mul_ = torch._foreach_mul_
foreach_sqrt = torch._foreach_sqrt
fused_adam_ = torch._fused_adam_
fused_adamw_ = torch._fused_adamw_
fused_sgd_ = torch._fused_sgd_

# The public subclasses of `torch.nn.modules.batchnorm._BatchNorm` and `_NormBase`.
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
NORMS_WITH_STATISTICS = (
    *BATCH_NORMS,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
)


def versions() -> dict[str, str]:
    r"""Return the versions that a saved file names, for the message of an error."""
    return {
        "sksoftmax": __version__,
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
    }


def check_parameters(estimator: Any) -> None:
    r"""Raise scikit-learn's error for an invalid parameter of an estimator.

    No public substitute outside of `fit`.
    """
    estimator._validate_params()


def scorers_by_name(scorers: Any) -> Any:
    r"""Return the dict in a multimetric scorer; a single scorer as it is.

    `check_scoring` returns a `_MultimetricScorer`, which has no public attributes.
    """
    is_multimetric = isinstance(scorers, _scorer._MultimetricScorer)
    return scorers._scorers if is_multimetric else scorers


def score_function(scorer: Any) -> Callable[..., float] | None:
    r"""Return the metric of a scorer made by `make_scorer`; None for other callables.

    No public substitute.
    """
    return getattr(scorer, "_score_func", None)


def scores_predictions(scorer: Any) -> bool:
    r"""Return whether a scorer made by `make_scorer` looks at predicted labels only.

    No public substitute.
    """
    return getattr(scorer, "_response_method", None) == "predict"


def with_options(scorer: Any, options: Mapping[str, Any]) -> Any:
    r"""Return a copy of a scorer whose metric gets further keyword arguments.

    Those that the scorer has already are kept. No public substitute: `make_scorer`
    needs `response_method`, which a scorer has as a private attribute only.
    """
    extended = copy.copy(scorer)
    extended._kwargs = {**options, **scorer._kwargs}
    return extended


def has_callbacks(estimator: Any) -> bool:
    r"""Return whether scikit-learn's callbacks were set, which 1.9 introduced.

    `CallbackSupportMixin` has `set_callbacks`, but nothing public that reads them.
    """
    return hasattr(estimator, "_skl_callbacks")


def callback_context(estimator: Any, task_name: str) -> Any | None:
    r"""Return the context that callbacks of an estimator are called in, if any.

    They are the estimator's or those of a meta-estimator around it. scikit-learn
    documents `_init_callback_context` for developers of estimators, in 1.9.
    """
    if has_callbacks(estimator) or hasattr(estimator, "_parent_callback_ctx"):
        return estimator._init_callback_context(task_name=task_name)
    return None


def is_missing_in_history(error: Exception, names: Iterable[str]) -> bool:
    r"""Return whether a lookup in skorch's history failed for one of the names.

    skorch has the name in the text of its errors alone: a `KeyError`, or what its
    `Checkpoint` makes of one. A callback may look up any name at any time, so that
    nothing can be checked before.
    """
    return any(name in str(error) for name in names)


def mps_generator() -> torch.Generator:
    r"""Return PyTorch's generator for Apple's GPUs.

    `torch.mps` has public functions for its seed and state, but none to draw from it.
    """
    generator: torch.Generator = torch.mps._get_default_mps_generator()
    return generator


def cpu_multiplies_bfloat16() -> bool:
    r"""Return whether this processor has matrix units for bfloat16."""
    if hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        return bool(found.get("amx_tile") or found.get("avx512_bf16"))
    # Before `get_capabilities`, which PyTorch 2.6 does not have yet.
    tests = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, test, bool)() for test in tests)


def remove_forward_pre_hooks(module: nn.Module) -> None:
    r"""Remove the hooks of a module that is a copy, whose handles nothing holds.

    With the handles, `handle.remove()` does it.
    """
    module._forward_pre_hooks.clear()


def has_forward_hooks(module: nn.Module) -> bool:
    r"""Return whether a call of a module does more than its `forward`.

    PyTorch has functions that register hooks, but none that list them.
    """
    return any(
        layer._forward_pre_hooks or layer._forward_hooks for layer in module.modules()
    )
