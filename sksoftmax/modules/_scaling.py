r"""Scaling of inputs with statistics of the training rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .._utils.robust_scale import (
    UNLIMITED,
    RobustScale,
    extended,
    robust_scale,
    sample_size,
)

# Scale of a feature without variance: other values, which may come in prediction, then
# have no effect, since no row has taught any. Quotients stay normal floats.
_NO_VARIANCE = 1e35

# Ratio to the mean: a standard deviation up to here may be the rounding error of a sum.
_ROUNDING_RATIO = 1e4 * torch.finfo(torch.float64).eps

# Added to a count before the root, whose variance is then most constant (Anscombe).
_ANSCOMBE = 3 / 8

# Mean of the positive values: larger whole numbers may be anything, for example gray
# levels, and the noise of counts would hardly matter.
_LARGE_COUNT = 10.0

# Standard deviations of a count's root that the smooth method changes little.
_LINEAR_COUNTS = 4.0


class InputScaling(nn.Module):
    r"""Center and scale features by statistics of the training rows.

    ``method="standard"`` gives zero mean and unit variance, as
    :class:`~sklearn.preprocessing.StandardScaler` does. ``method="smooth"`` applies the
    inverse hyperbolic sine afterwards, which is the identity around zero and a
    logarithm far from it: outliers of heavy tails come closer, and a value never seen
    in training cannot dominate the first layer. Of counts, it takes the square root
    first, so that the noise of a count does not depend on its size; the sine then bends
    only from about four standard deviations on. Counts are features whose values in the
    first :meth:`update` are whole numbers from 0 on, not only 0 and 1, with a mean of
    the positive ones below 10.

    Outliers change neither method. The statistics are those of the bulk of the values:
    values farther from the median than 30 times its scale are left out, as NaN is.
    Where the distance from the median becomes ten times as large from a value to the
    next one, as for a sentinel such as 999999, the values beyond count as 1.5 times as
    far as the last value before. A feature without variance, or without values, becomes
    0.

    Parameters
    ----------
    shape : tuple of int
        Shape of the statistics: ``(n_features,)`` scales each feature,
        ``(n_channels, 1, 1)`` each channel by statistics of all its pixels.
    method : {"standard", "smooth"}, default="smooth"
        How the values are scaled.

    Notes
    -----
    **Shape**

    - input: ``(batch_size, *row)``, any dtype, ``row`` broadcastable with ``shape``
    - output: the same shape, float32

    Before the first :meth:`update` the mean is 0, the scale is 1, and no value is an
    outlier.

    References
    ----------
    Anscombe (1948). The transformation of Poisson, binomial and negative-binomial
    data. Biometrika 35. https://doi.org/10.1093/biomet/35.3-4.246

    Examples
    --------
    >>> import torch
    >>> from sksoftmax.modules import InputScaling
    >>> scaling = InputScaling((2,), method="standard")
    >>> X = torch.tensor([[0.0, 10.0], [2.0, 30.0]])
    >>> scaling.update(X)
    >>> scaling(X).tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
    """

    __module__ = "sksoftmax.modules"

    mean: Tensor
    mean_remainder: Tensor
    scale: Tensor
    deviation: Tensor
    weight_seen: Tensor
    is_count: Tensor
    reach: Tensor

    def __init__(self, shape: Sequence[int], *, method: str = "smooth") -> None:
        super().__init__()
        self.method = method
        self.register_buffer("mean", torch.zeros(*shape))
        # The mean minus its float32 value; not every device has float64.
        self.register_buffer("mean_remainder", torch.zeros(*shape))
        self.register_buffer("scale", torch.ones(*shape))
        # Not the variance, which float32 may not hold for features that it holds.
        self.register_buffer("deviation", torch.zeros(*shape))
        self.register_buffer("weight_seen", torch.zeros(*shape))
        self.register_buffer("is_count", torch.zeros(*shape, dtype=torch.bool))
        # Largest distance from the mean: values beyond count as if they were there.
        self.register_buffer("reach", torch.full(tuple(shape), UNLIMITED))

    def reset(self) -> None:
        r"""Forget the rows seen before."""
        fresh = type(self)(self.mean.shape, method=self.method)
        self.load_state_dict(fresh.state_dict())

    @torch.no_grad()
    def robust_scale(self, X: Tensor) -> RobustScale:
        r"""Return the center and the width of the bulk of each feature's values.

        The first call also decides which features are counts; their bulk is that of the
        roots. A feature with too few values here has the bulk of earlier rows.

        Parameters
        ----------
        X : Tensor of shape (n_samples, ...)
            Rows from all parts of the table, or the same rows flat.

        Returns
        -------
        robust : RobustScale
            The argument of :meth:`update`.
        """
        values = self._sample(X)
        robust = robust_scale(values)
        if self.method == "smooth":
            if not self.weight_seen.any():
                is_outlier = (values - robust.center).abs() > robust.reach
                is_count = _are_counts(values.masked_fill(is_outlier, torch.nan))
                self.is_count.copy_(is_count.view(self.is_count.shape))
            is_count = self.is_count.cpu().flatten()
            if is_count.any():
                values = torch.where(is_count, _root(values), values)
                robust = robust_scale(values)
        mean, remainder, reach = self._read("mean", "mean_remainder", "reach")
        is_known = robust.reach < UNLIMITED
        before = extended(values, RobustScale(mean + remainder, reach, reach))
        return RobustScale(
            *(torch.where(is_known, *pair) for pair in zip(robust, before, strict=True))
        )

    @torch.no_grad()
    def update(
        self,
        X: Tensor,
        sample_weight: Tensor | None = None,
        robust: RobustScale | None = None,
    ) -> None:
        r"""Merge the statistics of more rows into those of the rows seen before.

        Missing values, NaN, and values beyond the bulk are left out. The rows are
        copied to float64: pass a large table in parts.

        Parameters
        ----------
        X : Tensor of shape (n_samples, ...)
            The rows, or the same rows flat.
        sample_weight : Tensor of shape (n_samples,), default=None
            Weight of each row; 1 if None.
        robust : RobustScale, default=None
            The result of :meth:`robust_scale` for the table that has these rows; for
            these rows alone if None.
        """
        if not len(X):
            return
        if sample_weight is None:
            weight = torch.ones(len(X), dtype=torch.float64)
        else:
            weight = sample_weight.cpu().double()
        if robust is None:
            robust = self.robust_scale(X[weight.to(X.device) > 0])
        rows = self._rows(X)
        if self.method == "smooth":
            is_count = self.is_count.cpu().flatten()[:, None]
            rows = torch.where(is_count, _root(rows), rows)
        is_far = (rows - robust.center[:, None]).abs_() > robust.width[:, None]
        if is_far.any():
            rows = rows.masked_fill(is_far, torch.nan)
        moments = _weighted_moments(rows, weight)
        if moments is not None:
            self._merge(*moments, robust)

    def _read(self, *names: str) -> list[Tensor]:
        r"""Return buffers as they are computed with: float64, (S,), on the CPU."""
        return [getattr(self, name).double().cpu().flatten() for name in names]

    def _write(self, **values: Tensor) -> None:
        r"""Set buffers to values of shape (S,)."""
        for name, value in values.items():
            buffer = getattr(self, name)
            buffer.copy_(value.reshape(buffer.shape))

    def _rows(self, X: Tensor) -> Tensor:
        r"""Return rows as (N, S, P): S features, each of P values in a row."""
        return X.reshape(len(X), self.mean.numel(), -1).cpu().double()

    def _sample(self, X: Tensor) -> Tensor:
        r"""Return a sample of the values of each feature, (number of values, S)."""
        n_values = sample_size(self.mean.numel())
        rows = self._rows(X[:: -(-len(X) // n_values) or 1])
        values = rows.transpose(1, 2).flatten(0, 1)
        if len(values) <= n_values:
            return values
        # A random sample: every n-th value would be the same pixels of each image.
        generator = torch.Generator().manual_seed(0)
        return values[torch.randint(len(values), (n_values,), generator=generator)]

    def _merge(
        self,
        mean_here: Tensor,
        variance_here: Tensor,
        total: Tensor,
        robust: RobustScale,
    ) -> None:
        r"""Merge by Chan, Golub and LeVeque's update, stable for large means."""
        mean, remainder, deviation, seen, reach = self._read(
            "mean", "mean_remainder", "deviation", "weight_seen", "reach"
        )
        mean = mean + remainder
        seen = seen + total
        # 0 for a feature without any values yet, instead of 0 / 0.
        share = torch.where(seen > 0, total / seen, 0.0)
        delta = mean_here - mean
        mean = mean + share * delta
        variance = (
            (1 - share) * deviation**2
            + share * variance_here
            + share * (1 - share) * delta**2
        )
        deviation = variance.sqrt()
        # The variance of a constant is a rounding error, or float32 holds no such
        # divisor.
        is_constant = deviation <= _ROUNDING_RATIO * mean.abs()
        is_constant |= deviation.to(self.scale.dtype) == 0
        # float32 may not hold the sum of the weights, but it is known to be positive.
        limits = torch.finfo(self.weight_seen.dtype)
        self._write(
            mean=mean,
            mean_remainder=mean - mean.float().double(),
            deviation=deviation,
            scale=torch.where(is_constant, _NO_VARIANCE, deviation),
            weight_seen=torch.where(seen > 0, seen.clamp(limits.tiny, limits.max), 0.0),
            reach=_merged_reach(reach, mean, robust),
        )

    @property
    def keeps_zeros(self) -> bool:
        r"""Whether zeros stay zero, because nothing is subtracted."""
        return not bool(self.mean.any() or self.mean_remainder.any())

    @torch.no_grad()
    def set_scale(self, scale: Tensor, weight_seen: Tensor) -> None:
        r"""Divide the features by given numbers, and subtract nothing.

        Parameters
        ----------
        scale : Tensor of shape (n_features,)
            The numbers; a feature with 0 becomes 0.
        weight_seen : Tensor of shape ()
            Sum of the weights of the rows that the numbers come from.
        """
        self.reset()
        self._write(
            scale=torch.where(scale > 0, scale, _NO_VARIANCE),
            weight_seen=weight_seen.expand(scale.shape),
        )

    def forward_stored(self, values: Tensor, columns: Tensor) -> Tensor:
        r"""Scale the stored values of sparse rows.

        Parameters
        ----------
        values : Tensor of shape (n_values,)
            The values.
        columns : Tensor of shape (n_values,), int64
            The feature of each value.

        Returns
        -------
        z : Tensor of shape (n_values,)
            The scaled values, float32.
        """
        return self._scaled(values, *(b[columns] for b in self._statistics()))

    def _statistics(self) -> tuple[Tensor, ...]:
        return self.is_count, self.mean, self.mean_remainder, self.reach, self.scale

    def forward(self, x: Tensor) -> Tensor:
        r"""Scale a batch.

        Parameters
        ----------
        x : Tensor of shape (batch_size, ...)
            The rows.

        Returns
        -------
        z : Tensor of shape (batch_size, ...)
            The scaled rows, float32.
        """
        return self._scaled(x, *self._statistics())

    def _scaled(
        self,
        x: Tensor,
        is_count: Tensor,
        mean: Tensor,
        remainder: Tensor,
        reach: Tensor,
        scale: Tensor,
    ) -> Tensor:
        r"""Scale values by statistics that broadcast with them."""
        if not x.is_floating_point():
            x = x.to(mean.dtype)
        if self.method == "smooth":
            x = torch.where(is_count, _root(x), x)
        centered = x - mean
        if x.dtype == torch.float64:
            # Differences between rows that are small compared to the mean.
            centered = centered - remainder
        centered = centered.clamp(-reach, reach)
        z = (centered / scale).to(mean.dtype)
        if self.method != "smooth":
            return z
        linear = torch.where(is_count, _LINEAR_COUNTS, 1.0)
        return _asinh(z / linear) * linear

    def extra_repr(self) -> str:
        r"""Describe the layer in the module's representation."""
        return f"{tuple(self.mean.shape)}, method={self.method!r}"


def _root(x: Tensor) -> Tensor:
    r"""Return Anscombe's root, shifted to be 0 at 0; odd for negative values."""
    return ((x.abs() + _ANSCOMBE).sqrt() - math.sqrt(_ANSCOMBE)).copysign(x)


def _asinh(z: Tensor) -> Tensor:
    r"""Return asinh(z) in a fifth of the time of PyTorch's kernel; changes ``z``.

    With a = |z|, it is log1p(a + a^2 / (1 + sqrt(1 + a^2))) with the sign of z.
    """
    # Larger values would overflow, and their logarithm hardly differs. log1p of PyTorch
    # 2.6 is infinite from 1e38 on.
    largest = torch.finfo(z.dtype).max / 8
    z = z.clamp_(-largest, largest)
    magnitude = z.abs()
    root = torch.hypot(z, z.new_ones(()))
    return (magnitude + magnitude * (magnitude / (1 + root))).log1p().copysign(z)


def _are_counts(values: Tensor) -> Tensor:
    r"""Return the features of small whole numbers, ``(N, S) -> (S,)``."""
    known = values.nan_to_num(0.0)
    mean_positive = known.clamp(min=0).sum(0) / (known > 0).sum(0).clamp(min=1)
    is_whole = ((known == known.floor()) & (known >= 0)).all(0)
    # Two values become the same two values with or without a root.
    return is_whole & (mean_positive < _LARGE_COUNT) & (known > 1).any(0)


def _weighted_moments(
    rows: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor] | None:
    r"""Return the mean, the variance and the total weight of each feature.

    Parameters
    ----------
    rows : Tensor of shape (n_samples, S, P), float64
        P values of each of S features. NaN is left out.
    weight : Tensor of shape (n_samples,), float64
        Weight of each row.

    Returns
    -------
    moments : tuple of Tensor of shape (S,), or None
        None if no row has a weight. The total weight is one number, of shape (), if no
        values are missing.
    """
    if rows.isnan().any():
        # (N) * (N, S, P) -> (N, S, P)
        share = weight[:, None, None] * ~rows.isnan()
        total = share.sum((0, 2))
        share = share / torch.where(total > 0, total, 1.0)[:, None]
        rows = rows.nan_to_num(0.0)
        mean = (share * rows).sum((0, 2))
        variance = (share * (rows - mean[:, None]).square_()).sum((0, 2))
        return mean, variance, total / rows.shape[2]
    total = weight.sum()
    if not total:
        return None
    share = weight / total
    # (N) @ (N, S * P) -> (S, P) -> (S): faster than the sums above
    mean = (share @ rows.flatten(1)).reshape(rows.shape[1:]).mean(1)
    squares = (rows - mean[:, None]).square_()
    variance = (share @ squares.flatten(1)).reshape(rows.shape[1:]).mean(1)
    return mean, variance, total


def _merged_reach(before: Tensor, mean: Tensor, robust: RobustScale) -> Tensor:
    r"""Return the largest distances from the mean, which contain those before."""
    reach = (robust.reach + (robust.center - mean).abs()).clamp(max=UNLIMITED)
    return torch.where(before < UNLIMITED, torch.maximum(reach, before), reach)
