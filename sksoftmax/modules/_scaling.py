r"""Scaling of inputs with statistics of the training rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .._utils.bulk import UNLIMITED, Bulk, extended, find_bulk, sample_size

# Scale of a feature without variance: other values, which may come in prediction, have
# no effect, since no row has taught any. Small enough that quotients are normal floats.
_NO_VARIANCE = 1e35


# Relative to its mean, a standard deviation that summing up many rows can leave.
_ROUNDING = 1e4 * torch.finfo(torch.float64).eps
# What is added to a count before the root, which then varies most evenly.
_ANSCOMBE = 3 / 8
# From about this mean on, whole numbers may be anything, grey levels for example, and
# the noise of a count would matter little.
_LARGE_COUNT = 10.0
# So many standard deviations of a count's root are changed little by the smooth method.
_STRAIGHT_COUNTS = 4.0


class InputScaling(nn.Module):
    r"""Centre and scale features with statistics learned from data.

    ``method="standard"`` gives zero mean and unit variance, as
    :class:`~sklearn.preprocessing.StandardScaler` does. ``method="smooth"`` follows
    that with the inverse hyperbolic sine, which is the identity around zero and a
    logarithm far from it: heavy tails lose their outliers, and a value never seen in
    training cannot blow up the first layer. Of counts it takes the square root first,
    which makes their noise as large for large ones as for small ones; then the sine
    begins to bend only at some four standard deviations. Counts are features whose
    values in the first :meth:`update` are whole numbers from 0 on, not only 0 and 1,
    with a mean of the positive ones below 10.

    Outliers change neither. The statistics are those of the bulk: values that are
    farther from the median than 30 times its scale are left out of them, as NaN is. And
    where from some distance on the next one is ten times as large, a sentinel such as
    999999 for example, values count as if they were 1.5 times as far as the last one
    before, by either method. A feature without variance, or without values, becomes 0.

    Parameters
    ----------
    shape : tuple of int
        Shape of one row's statistics: ``(n_features,)`` scales each feature,
        ``(n_channels, 1, 1)`` each channel, whose pixels are averaged over.
    method : {"standard", "smooth"}, default="smooth"
        What is done to the values.

    Notes
    -----
    **Shape**

    - input: ``(batch_size, *row)``, any dtype, ``row`` broadcastable with ``shape``
    - output: the same shape, float32

    Before the first :meth:`update` the mean is 0, the scale 1, and no value an outlier.

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
        # What float32 cannot hold of the mean; not every device has float64.
        self.register_buffer("mean_remainder", torch.zeros(*shape))
        self.register_buffer("scale", torch.ones(*shape))
        # Unlike its square, it fits into float32 for all features that do.
        self.register_buffer("deviation", torch.zeros(*shape))
        self.register_buffer("weight_seen", torch.zeros(*shape))
        self.register_buffer("is_count", torch.zeros(*shape, dtype=torch.bool))
        # How far from the mean a value counts at most.
        self.register_buffer("reach", torch.full(tuple(shape), UNLIMITED))

    def reset(self) -> None:
        r"""Forget the rows seen before."""
        fresh = type(self)(self.mean.shape, method=self.method)
        self.load_state_dict(fresh.state_dict())

    @torch.no_grad()
    def find_bulk(self, X: Tensor) -> Bulk:
        r"""Return where the bulk of each statistic's values lies.

        The first call also decides which features are counts, of which it is the bulk
        of the roots. A feature of which these rows are too few to tell has the bulk of
        those before.

        Parameters
        ----------
        X : Tensor of shape (n_samples, ...)
            Rows from all over the table, or the same rows flat.

        Returns
        -------
        bulk : Bulk
            What to pass to :meth:`update`.
        """
        values = self._sample(X)
        bulk = find_bulk(values)
        if self.method == "smooth":
            if not self.weight_seen.any():
                is_outlier = (values - bulk.middle).abs() > bulk.reach
                is_count = _are_counts(values.masked_fill(is_outlier, torch.nan))
                self.is_count.copy_(is_count.view(self.is_count.shape))
            is_count = self.is_count.cpu().flatten()
            if is_count.any():
                values = torch.where(is_count, _root(values), values)
                bulk = find_bulk(values)
        mean, remainder, reach = (
            buffer.double().cpu().flatten()
            for buffer in (self.mean, self.mean_remainder, self.reach)
        )
        is_known = bulk.reach < UNLIMITED
        before = extended(values, Bulk(mean + remainder, reach, reach))
        return Bulk(
            *(torch.where(is_known, *pair) for pair in zip(bulk, before, strict=True))
        )

    @torch.no_grad()
    def update(
        self,
        X: Tensor,
        sample_weight: Tensor | None = None,
        bulk: Bulk | None = None,
    ) -> None:
        r"""Merge the statistics of more rows into those of the rows seen before.

        Missing values, NaN, are left out of them, and so are values beyond the bulk.
        Computed in float64, of which a copy of the rows is made: pass a large table in
        parts.

        Parameters
        ----------
        X : Tensor of shape (n_samples, ...)
            The rows, or the same rows flat.
        sample_weight : Tensor of shape (n_samples,), default=None
            How often each row counts; once each if None.
        bulk : Bulk, default=None
            What :meth:`find_bulk` returned for the table that these rows are a part of;
            that of these rows if None.
        """
        if not len(X):
            return
        if sample_weight is None:
            weight = torch.ones(len(X), dtype=torch.float64)
        else:
            weight = sample_weight.cpu().double()
        if bulk is None:
            bulk = self.find_bulk(X[weight.to(X.device) > 0])
        rows = self._rows(X)
        if self.method == "smooth":
            is_count = self.is_count.cpu().flatten()[:, None]
            rows = torch.where(is_count, _root(rows), rows)
        is_far = (rows - bulk.middle[:, None]).abs_() > bulk.width[:, None]
        if is_far.any():
            rows = rows.masked_fill(is_far, torch.nan)
        if rows.isnan().any():
            self._merge(*_moments_without_missing(rows, weight), bulk)
            return
        total = weight.sum()
        if not total:
            return
        share = weight / total
        # (N) @ (N, S * P) -> (S, P) -> (S)
        mean = (share @ rows.flatten(1)).reshape(rows.shape[1:]).mean(1)
        squares = (rows - mean[:, None]).square_()
        variance = (share @ squares.flatten(1)).reshape(rows.shape[1:]).mean(1)
        self._merge(mean, variance, total, bulk)

    def _rows(self, X: Tensor) -> Tensor:
        r"""Return rows as ``(N, S, P)``: S statistics, each of P values in a row."""
        return X.reshape(len(X), self.mean.numel(), -1).cpu().double()

    def _sample(self, X: Tensor) -> Tensor:
        r"""Return values of each statistic, at most so many, as ``(N * P, S)``."""
        n_values = sample_size(self.mean.numel())
        rows = self._rows(X[:: -(-len(X) // n_values) or 1])
        values = rows.transpose(1, 2).flatten(0, 1)
        if len(values) <= n_values:
            return values
        # At random, since a step would meet the same pixels of each image.
        generator = torch.Generator().manual_seed(0)
        return values[torch.randint(len(values), (n_values,), generator=generator)]

    def _merge(
        self, mean_here: Tensor, variance_here: Tensor, total: Tensor, bulk: Bulk
    ) -> None:
        r"""Merge by Chan, Golub and LeVeque's update, stable for large means."""
        mean, remainder, deviation, seen = (
            buffer.double().cpu().flatten()
            for buffer in (
                self.mean,
                self.mean_remainder,
                self.deviation,
                self.weight_seen,
            )
        )
        mean = mean + remainder
        seen = seen + total
        # A column of which nothing was seen yet has no share to divide up.
        share = torch.where(seen > 0, total / seen, 0.0)
        delta = mean_here - mean
        mean = mean + share * delta
        variance = (
            (1 - share) * deviation**2
            + share * variance_here
            + share * (1 - share) * delta**2
        )
        # Values of earlier rows stay within reach, too.
        before = self.reach.double().cpu().flatten()
        reach = (bulk.reach + (bulk.middle - mean).abs()).clamp(max=UNLIMITED)
        reach = torch.where(before < UNLIMITED, torch.maximum(reach, before), reach)
        # What rounding alone makes of a constant is no variance.
        deviation = variance.sqrt()
        constant = deviation <= _ROUNDING * mean.abs()
        # Nor is there a number to divide by where float32 has none so small.
        constant |= deviation.to(self.scale.dtype) == 0
        scale = torch.where(constant, _NO_VARIANCE, deviation)
        # Of weights beyond float32's range is known whether there were any.
        limits = torch.finfo(self.weight_seen.dtype)
        seen = torch.where(seen > 0, seen.clamp(limits.tiny, limits.max), 0.0)
        for buffer, value in (
            (self.mean, mean),
            (self.mean_remainder, mean - mean.float().double()),
            (self.deviation, deviation),
            (self.scale, scale),
            (self.weight_seen, seen),
            (self.reach, reach),
        ):
            buffer.copy_(value.reshape(buffer.shape))

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
        if not x.is_floating_point():
            x = x.to(self.mean.dtype)
        if self.method == "smooth":
            x = torch.where(self.is_count, _root(x), x)
        centred = x - self.mean
        if x.dtype == torch.float64:
            # In float64, a large offset does not drown the differences between rows.
            centred = centred - self.mean_remainder
        centred = centred.clamp(-self.reach, self.reach)
        z = (centred / self.scale).to(self.mean.dtype)
        if self.method != "smooth":
            return z
        # asinh(z / s) * s, whose own kernel takes five times as long.
        straight = torch.where(self.is_count, _STRAIGHT_COUNTS, 1.0)
        # What is larger would be infinite on the way, and its logarithm hardly differs;
        # to PyTorch 2.6, log1p is infinite from 1e38 on.
        most = torch.finfo(z.dtype).max / 8
        z = (z / straight).clamp_(-most, most)
        magnitude = z.abs()
        root = torch.hypot(z, z.new_ones(()))
        curved = (magnitude + magnitude * (magnitude / (1 + root))).log1p()
        return curved.copysign(z) * straight

    def extra_repr(self) -> str:
        r"""Describe the layer in the module's representation."""
        return f"{tuple(self.mean.shape)}, method={self.method!r}"


def _root(x: Tensor) -> Tensor:
    r"""Return Anscombe's root, without its value at 0 and odd below."""
    return ((x.abs() + _ANSCOMBE).sqrt() - math.sqrt(_ANSCOMBE)).copysign(x)


def _are_counts(values: Tensor) -> Tensor:
    r"""Return which statistics are of small whole numbers, ``(N, S) -> (S,)``."""
    known = values.nan_to_num(0.0)
    positive = known.clamp(min=0).sum(0) / (known > 0).sum(0).clamp(min=1)
    whole = ((known == known.floor()) & (known >= 0)).all(0)
    # Two values are scaled to the same ones whatever was done to them before.
    return whole & (positive < _LARGE_COUNT) & (known > 1).any(0)


def _moments_without_missing(
    rows: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Return mean, variance and total weight of each statistic's own values."""
    # (N) * (N, S, P) -> (N, S, P)
    share = weight[:, None, None] * ~rows.isnan()
    total = share.sum((0, 2))
    share = share / torch.where(total > 0, total, 1.0)[:, None]
    rows = rows.nan_to_num(0.0)
    mean = (share * rows).sum((0, 2))
    variance = (share * (rows - mean[:, None]).square_()).sum((0, 2))
    return mean, variance, total / rows.shape[2]
