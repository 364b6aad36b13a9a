r"""The first layer for tables with missing values and categories."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .._utils.devices import has_float64
from .._utils.robust_scale import RobustScale
from ._piecewise import BinVectors, PiecewiseLinear
from ._scaling import InputScaling

# Categories: up to here a column has one 0/1 input for each, which costs little.
_MAX_SLOTS = 16

# Elements of a learned vector. With more, a column of many categories overfits.
_VECTOR_SIZE = 8


class TableInput(nn.Module):
    r"""Turn the columns of a table, numbers and categories, into inputs of a net.

    Columns of numbers are scaled as by :class:`InputScaling`, and a missing value
    counts as the mean. A column of up to 16 categories becomes as many 0/1 inputs; a
    column of more categories becomes a learned vector of 8 numbers. A missing or
    unknown category is a vector of zeros, and all learned vectors begin as zeros. A
    column with missing values has one more 0/1 input, which is 1 where the value is
    missing; among the learned vectors there is one for missing categories instead.
    Columns of numbers may also be encoded by :class:`PiecewiseLinear`, as bins or as
    learned vectors made of bins.

    Parameters
    ----------
    cardinalities : sequence of (int or None)
        Number of categories of each column; None for columns of numbers.
    missing : sequence of bool
        Whether each column has missing values to learn from.
    method : {"smooth", "standard"} or None, default="smooth"
        Method of the :class:`InputScaling`; None leaves the numbers as they are, with
        0 for a missing value.
    n_bins : sequence of int, default=None
        Number of bins of each column, 0 for columns without bins; no bins at all if
        None. :meth:`learn_bins` sets their edges.
    bin_vector_size : int, default=0
        Elements of the learned vector that each column's bins are mapped to; 0 leaves
        the bins as they are.
    n_members : int, default=1
        Number of members of an ensemble, each with its own learned vectors: vectors in
        common would tell a member the classes of validation rows.
    n_members_with_bins : int, default=None
        Number of members, the first ones, that have learned vectors of bins; all if
        None.

    Attributes
    ----------
    n_outputs : int
        Number of outputs.
    n_binned : int
        Number of outputs that are bins, or vectors made of them: the last ones.

    Notes
    -----
    **Shape**

    - input: ``(batch_size, n_columns)``, any dtype; categories as their index, NaN
      if missing or unknown
    - output: ``(batch_size, n_outputs)``, float32: the scaled numbers, the inputs for
      missing values and for categories, the learned vectors, and the bins; with
      vectors of several members ``(n_members, batch_size, n_outputs)``

    Examples
    --------
    >>> import torch
    >>> from sksoftmax.modules import TableInput
    >>> table = TableInput([None, 2], missing=[True, False], method=None)
    >>> table(torch.tensor([[5.0, 1.0], [torch.nan, 0.0]])).tolist()
    [[5.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]]
    """

    __module__ = "sksoftmax.modules"

    numeric: Tensor
    indicated: Tensor
    slot_column: Tensor
    slot_code: Tensor

    def __init__(
        self,
        cardinalities: Sequence[int | None],
        missing: Sequence[bool],
        *,
        method: str | None = "smooth",
        n_bins: Sequence[int] | None = None,
        bin_vector_size: int = 0,
        n_members: int = 1,
        n_members_with_bins: int | None = None,
    ) -> None:
        super().__init__()
        self.n_members = n_members
        numeric, indicated, slots = [], [], []
        self.embedded: list[int] = []
        embeddings: list[nn.Embedding] = []
        for column, (cardinality, has_missing) in enumerate(
            zip(cardinalities, missing, strict=True)
        ):
            if cardinality is not None and cardinality > _MAX_SLOTS:
                self.embedded.append(column)
                embeddings.append(_embedding(cardinality, n_members))
                continue
            if has_missing:
                indicated.append(column)
            if cardinality is None:
                numeric.append(column)
            else:
                slots += [(column, code) for code in range(cardinality)]
        self.scaling: nn.Module = nn.Identity()
        if method is not None and numeric:
            self.scaling = InputScaling((len(numeric),), method=method)
        bins = [n_bins[column] for column in numeric] if n_bins is not None else []
        self.pieces = PiecewiseLinear(bins, method=method) if any(bins) else None
        self.embeddings = nn.ModuleList(embeddings)
        for name, columns in (
            ("numeric", numeric),
            ("indicated", indicated),
            ("slot_column", [column for column, _ in slots]),
        ):
            self.register_buffer(name, torch.tensor(columns, dtype=torch.int64))
        self.n_binned = sum(bins)
        self.bin_vectors: BinVectors | None = None
        if self.pieces is not None and bin_vector_size:
            n_with_bins = n_members_with_bins or n_members
            self.bin_vectors = BinVectors(bins, bin_vector_size, n_with_bins)
            self.n_binned = self.bin_vectors.n_outputs
        codes = torch.tensor([code for _, code in slots], dtype=torch.float32)
        self.register_buffer("slot_code", codes)
        self.n_outputs = (
            len(numeric)
            + self.n_binned
            + len(indicated)
            + len(slots)
            + _VECTOR_SIZE * len(embeddings)
        )

    def reset(self) -> None:
        r"""Forget the statistics of the columns of numbers."""
        if isinstance(self.scaling, InputScaling):
            self.scaling.reset()

    def robust_scale(self, X: Tensor) -> RobustScale | None:
        r"""Return the center and the width of the bulk of each column of numbers.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_columns)
            Rows from all parts of the table.

        Returns
        -------
        robust : RobustScale or None
            The argument of :meth:`update`; None if no column is scaled.
        """
        if not isinstance(self.scaling, InputScaling):
            return None
        return self.scaling.robust_scale(X[:, self.numeric.to(X.device)])

    def update(
        self,
        X: Tensor,
        sample_weight: Tensor | None = None,
        robust: RobustScale | None = None,
    ) -> None:
        r"""Learn the statistics of the columns of numbers from more rows.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_columns)
            The rows. Missing values and outliers are left out.
        sample_weight : Tensor of shape (n_samples,), default=None
            Weight of each row; 1 if None.
        robust : RobustScale, default=None
            The result of :meth:`robust_scale` for the table that has these rows; for
            these rows alone if None.
        """
        if isinstance(self.scaling, InputScaling):
            X = X[:, self.numeric.to(X.device)]
            self.scaling.update(X, sample_weight, robust)

    @torch.no_grad()
    def learn_bins(self, edges: Sequence[Tensor], X: Tensor) -> None:
        r"""Set the bins of the columns of numbers, after the last :meth:`update`.

        Parameters
        ----------
        edges : sequence of Tensor
            Ascending edges of the bins of each column, one more than bins; empty for a
            column without bins.
        X : Tensor of shape (n_samples, n_columns)
            Training rows, for the scaling of the encoded bins.

        Raises
        ------
        ValueError
            If the table was made without bins.
        """
        if self.pieces is None:
            raise ValueError(
                "Got bins to learn, but the TableInput was made without any. Expected "
                "n_bins with the number of bins of each column."
            )
        columns, device = self.numeric.tolist(), self.numeric.device
        dtype = torch.float64 if has_float64(device) else torch.float32
        # (largest number of edges, D): the edges of a column are the values of rows.
        padded = nn.utils.rnn.pad_sequence([edges[column] for column in columns])
        scaled = self.scaling(padded.to(device, dtype))
        self.pieces.learn(
            [scaled[: len(edges[column]), k] for k, column in enumerate(columns)],
            self.scaling(X.to(device, dtype).index_select(1, self.numeric)),
        )

    def encode(self, x: Tensor) -> Tensor:
        r"""Return all that a row determines before training, for :meth:`decode`.

        Parameters
        ----------
        x : Tensor of shape (batch_size, n_columns)
            The rows, with categories as their index.

        Returns
        -------
        encoded : Tensor of shape (batch_size, n_encoded)
            The outputs without the learned vectors, and last the numbers of the
            vectors: 0 for a missing or unknown category.
        """
        dtype = self.slot_code.dtype
        scaled = self.scaling(x.index_select(1, self.numeric)).to(dtype)
        is_missing = x.index_select(1, self.indicated).isnan()
        # (B, D) -> (B, S): each of S slots is 1 for its own code only, and 0 for NaN
        is_code = x.index_select(1, self.slot_column) == self.slot_code
        parts = [fill_missing(scaled), is_missing.to(dtype), is_code.to(dtype)]
        if self.pieces is not None:
            bins = fill_missing(self.pieces(scaled))
            if self.bin_vectors is not None:
                bins = self.bin_vectors.spread(bins)
            parts.append(bins)
        if self.embedded:
            # Codes up to 2^24 are exact in float32.
            parts.append((x[:, self.embedded] + 1).nan_to_num(0.0).to(dtype))
        return torch.cat(parts, 1)

    def decode(
        self, encoded: Tensor, members: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        r"""Return the outputs of encoded rows in two parts: learned vectors among them.

        Parameters
        ----------
        encoded : Tensor of shape (batch_size, n_encoded)
            The result of :meth:`encode`.
        members : Tensor of int64, default=None
            Numbers of the members whose learned vectors are returned; all if None.

        Returns
        -------
        features : Tensor of shape (batch_size, n_outputs - n_binned)
            The outputs without the bins; of shape (n_members, batch_size, ...) with
            learned vectors of categories.
        bins : Tensor of shape (batch_size, n_binned), or None
            The bins, if there are any; of shape (n_members_with_bins, batch_size, ...)
            if they are learned vectors.
        """
        n_slots = self.n_binned
        if self.bin_vectors is not None:
            n_slots = len(self.bin_vectors.slots)
        sizes = [n_slots, len(self.embedded)]
        sizes = [encoded.shape[1] - sum(sizes), *sizes]
        features, bins, codes = torch.split(encoded, sizes, 1)
        if self.bin_vectors is not None:
            with_bins = None
            if members is not None:
                with_bins = members[members < self.bin_vectors.n_members]
            bins = self.bin_vectors(bins, with_bins)
        if self.embedded:
            vectors = [
                # (B, K * E) -> (B, K, E) -> (K, B, E)
                layer(code.long())
                .view(-1, self.n_members, _VECTOR_SIZE)
                .transpose(0, 1)
                for code, layer in zip(codes.T, self.embeddings, strict=True)
            ]
            features = features.expand(self.n_members, -1, -1)
            features = torch.cat([features, *vectors], 2)
            if members is not None:
                features = features[members]
        return features, bins if n_slots else None

    def join(self, features: Tensor, bins: Tensor | None) -> Tensor:
        r"""Return both parts of the outputs as one tensor.

        Parameters
        ----------
        features : Tensor of shape (batch_size, n_outputs - n_binned)
            The first result of :meth:`decode`.
        bins : Tensor of shape (batch_size, n_binned), or None
            The second result of :meth:`decode`.

        Returns
        -------
        inputs : Tensor of shape (batch_size, n_outputs)
            The result of :meth:`forward`.
        """
        if bins is None:
            return features if self.n_members > 1 or features.ndim == 2 else features[0]
        if features.ndim == bins.ndim == 2:
            return torch.cat([features, bins], 1)
        if bins.ndim == 2:
            bins = bins.expand(self.n_members, -1, -1)
        # Members without bins have zeros.
        n_lacking = self.n_members - bins.shape[0]
        bins = nn.functional.pad(bins, (0, 0, 0, 0, 0, n_lacking))
        features = features.expand(self.n_members, -1, -1)
        joined = torch.cat([features, bins], 2)
        return joined[0] if self.n_members == 1 else joined

    def forward(self, x: Tensor) -> Tensor:
        r"""Return the inputs of the first layer.

        Parameters
        ----------
        x : Tensor of shape (batch_size, n_columns)
            The rows, with categories as their index.

        Returns
        -------
        inputs : Tensor of shape (batch_size, n_outputs)
            The scaled numbers, the inputs for missing values and for categories, the
            learned vectors, and the bins; of shape (n_members, batch_size, n_outputs)
            with learned vectors of several members.
        """
        return self.join(*self.decode(self.encode(x)))

    def extra_repr(self) -> str:
        r"""Describe the layer in the module's representation."""
        return (
            f"{len(self.numeric)} columns of numbers, {len(self.indicated)} inputs for "
            f"missing values, {len(self.slot_code)} for categories"
        )


def fill_missing(scaled: Tensor) -> Tensor:
    r"""Return scaled values, with the mean, 0, in the place of NaN."""
    return scaled.nan_to_num(0.0, torch.inf, -torch.inf)


def _embedding(cardinality: int, n_members: int) -> nn.Embedding:
    r"""Return vectors for "missing or unknown" and for each category.

    The vectors of the members follow one another. They begin as zeros, so that a
    category without rows to train a member counts as unknown to it.
    """
    vectors = torch.zeros(1 + cardinality, n_members * _VECTOR_SIZE)
    layer: nn.Embedding
    layer = nn.Embedding.from_pretrained(vectors, freeze=False)  # type: ignore[no-untyped-call]
    return layer
