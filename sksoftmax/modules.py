r"""The ``nn.Module`` s behind the estimators.

They take a batch of rows and return logits, so they fit a plain PyTorch loop with
:class:`torch.nn.CrossEntropyLoss` or a bare skorch net as well as the estimators.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

__all__ = ["Dropout", "InputScaling", "SoftmaxCNN", "SoftmaxLinear", "SoftmaxMLP"]

_Layer = TypeVar("_Layer", bound=nn.Module)

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "identity": nn.Identity,
}


class InputScaling(nn.Module):
    r"""Centre and scale features with statistics learned from data.

    ``method="standard"`` gives zero mean and unit variance, as
    :class:`~sklearn.preprocessing.StandardScaler` does. ``method="smooth"`` follows
    that with the inverse hyperbolic sine, which is the identity around zero and a
    logarithm far from it: counts and heavy tails lose their outliers, and a value
    never seen in training cannot blow up the first layer.

    Parameters
    ----------
    shape : tuple of int
        Shape of one row's statistics. Axes of length one are averaged over:
        ``(n_features,)`` scales each feature, ``(n_channels, 1, 1)`` each channel.
    method : {"standard", "smooth"}, default="smooth"
        What is done to the values.

    Notes
    -----
    **Shape**

    - input: ``(batch_size, *row)``, any dtype, ``row`` broadcastable with ``shape``
    - output: the same shape, float32

    Before the first :meth:`update` the mean is 0 and the scale 1.

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

    mean: Tensor
    mean_remainder: Tensor
    scale: Tensor
    variance: Tensor
    weight_seen: Tensor

    # Rows that are converted to float64 at a time while the statistics are computed.
    _CHUNK_ROWS = 4096

    def __init__(self, shape: Sequence[int], *, method: str = "smooth") -> None:
        super().__init__()
        self.method = method
        self.register_buffer("mean", torch.zeros(*shape))
        # What float32 cannot hold of the mean; not every device has float64.
        self.register_buffer("mean_remainder", torch.zeros(*shape))
        self.register_buffer("scale", torch.ones(*shape))
        self.register_buffer("variance", torch.zeros(*shape))
        self.register_buffer("weight_seen", torch.zeros(()))

    @torch.no_grad()
    def update(self, X: Tensor, sample_weight: Tensor | None = None) -> None:
        r"""Merge the statistics of more rows into those of the rows seen before.

        Parameters
        ----------
        X : Tensor of shape (n_samples, *row)
            The rows.
        sample_weight : Tensor of shape (n_samples,), default=None
            How often each row counts; once each if None.
        """
        shape = (1, *self.mean.shape)
        seen = self.weight_seen.double().cpu()
        mean = self.mean.double().cpu() + self.mean_remainder.double().cpu()
        mean = mean.reshape(shape)
        variance = self.variance.double().cpu().reshape(shape)
        for start in range(0, len(X), self._CHUNK_ROWS):
            rows = X[start : start + self._CHUNK_ROWS].cpu().double()
            weight = (
                torch.ones(len(rows), dtype=torch.float64)
                if sample_weight is None
                else sample_weight[start : start + self._CHUNK_ROWS].cpu().double()
            )
            if not weight.any():
                continue
            averaged = [0] + [d for d in range(1, rows.ndim) if shape[d] == 1]
            normalized = weight.reshape(-1, *[1] * (rows.ndim - 1))
            normalized = normalized / (
                weight.sum() * math.prod(rows.shape[d] for d in averaged[1:])
            )
            chunk_mean = (rows * normalized).sum(averaged, keepdim=True)
            chunk_variance = ((rows - chunk_mean) ** 2 * normalized).sum(
                averaged, keepdim=True
            )
            # Chan, Golub and LeVeque's pairwise update, stable for large means.
            share = weight.sum() / (seen + weight.sum())
            delta = chunk_mean - mean
            variance = (
                (1 - share) * variance
                + share * chunk_variance
                + share * (1 - share) * delta**2
            )
            mean = mean + share * delta
            seen = seen + weight.sum()
        # What rounding alone makes of a constant is no variance (scikit-learn's rule).
        epsilon = torch.finfo(torch.float64).eps * seen
        constant = variance <= epsilon * variance + (epsilon * mean) ** 2
        scale = torch.where(constant, 1.0, variance.sqrt())
        for buffer, value in (
            (self.mean, mean),
            (self.variance, variance),
            (self.scale, scale),
        ):
            buffer.copy_(value.reshape(buffer.shape))
        rounded = self.mean.double().cpu().reshape(shape)
        self.mean_remainder.copy_((mean - rounded).reshape(self.mean.shape))
        self.weight_seen.copy_(seen)

    def forward(self, x: Tensor) -> Tensor:
        r"""Scale a batch."""
        centred = x - self.mean
        if x.dtype == torch.float64:
            # In float64, a large offset does not drown the differences between rows.
            centred = centred - self.mean_remainder
        z = (centred / self.scale).to(self.mean.dtype)
        return z.asinh() if self.method == "smooth" else z

    def extra_repr(self) -> str:
        r"""Describe the layer in the module's representation."""
        return f"{tuple(self.mean.shape)}, method={self.method!r}"


class Dropout(nn.Module):
    r"""Dropout that can be seeded on its own.

    Does what :class:`torch.nn.Dropout` does, but draws from :attr:`generator`, so
    that training neither depends on PyTorch's global generator nor disturbs it.

    Parameters
    ----------
    p : float, default=0.5
        Probability of an element to be zeroed; the others are divided by ``1 - p``.

    Attributes
    ----------
    generator : torch.Generator or None
        Where the random numbers come from; PyTorch's global generator if None.

    Notes
    -----
    **Shape**

    - input: any
    - output: the same

    References
    ----------
    Srivastava et al. (2014). Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting. Journal of Machine Learning Research 15.
    https://jmlr.org/papers/v15/srivastava14a.html

    Examples
    --------
    >>> import torch
    >>> from sksoftmax.modules import Dropout
    >>> dropout = Dropout(0.5)
    >>> dropout.generator = torch.Generator().manual_seed(0)
    >>> sorted(set(dropout(torch.ones(1000)).tolist()))
    [0.0, 2.0]
    >>> bool((dropout.eval()(torch.ones(1000)) == 1).all())
    True
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"Got p={p!r}, but expected a number in [0, 1).")
        self.p = p
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        r"""Zero elements at random in training, do nothing in evaluation."""
        if not self.training or self.p == 0:
            return x
        keep = 1 - self.p
        mask = torch.empty_like(x).bernoulli_(keep, generator=self.generator)
        return x * mask.div_(keep)

    def extra_repr(self) -> str:
        r"""Describe the layer in the module's representation."""
        return f"p={self.p}"


def set_generator(module: nn.Module, generator: torch.Generator) -> None:
    r"""Let every :class:`Dropout` of a module draw from one generator."""
    for layer in module.modules():
        if isinstance(layer, Dropout):
            layer.generator = generator


class SoftmaxLinear(nn.Linear):
    r"""The linear map of softmax regression.

    Parameters
    ----------
    n_features : int
        Number of input features.
    n_classes : int
        Number of classes.
    bias : bool, default=True
        Whether there is an intercept.
    init_scale : float, default=0.0
        Standard deviation of the normal initial weights. The intercept starts at 0.
    generator : torch.Generator, default=None
        Draws the initial weights; PyTorch's global generator if None.

    Notes
    -----
    **Shape**

    - input: ``(batch_size, n_features)``, any dtype
    - output: ``(batch_size, n_classes)``, logits

    Examples
    --------
    >>> import torch
    >>> from sksoftmax.modules import SoftmaxLinear
    >>> SoftmaxLinear(4, 3)(torch.randn(8, 4)).shape
    torch.Size([8, 3])
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        bias: bool = True,
        init_scale: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        # Linear's own initialisation would draw from the global generator.
        self.init_scale = init_scale
        self.init_generator = generator
        super().__init__(n_features, n_classes, bias=bias)
        del self.init_generator

    def reset_parameters(self) -> None:
        r"""Draw the initial weights."""
        with torch.no_grad():
            if self.init_scale:
                self.weight.normal_(0, self.init_scale, generator=self.init_generator)
            else:
                self.weight.zero_()
            if self.bias is not None:
                self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        r"""Return the logits."""
        return super().forward(x.to(self.weight.dtype))


class SoftmaxMLP(nn.Module):
    r"""Feed-forward net: hidden layers, then a linear map to the logits.

    A hidden layer is linear -> normalisation -> activation -> dropout. Weights start
    with He's normal initialisation, so that the signal keeps its size at any depth.

    Parameters
    ----------
    n_features : int
        Number of input features.
    n_classes : int
        Number of classes.
    hidden_layer_sizes : sequence of int, default=(512, 512, 512)
        Width of each hidden layer.
    activation : {"relu", "gelu", "silu", "tanh", "identity"}, default="relu"
        Activation function of the hidden layers.
    normalization : {"batch", "layer"} or None, default=None
        Normalisation of each hidden layer.
    dropout : float, default=0.0
        Dropout rate after each hidden layer.
    input_dropout : float, default=0.0
        Dropout rate of the (scaled) inputs.
    input_scaling : {"smooth", "standard"} or None, default=None
        Method of the :class:`InputScaling` in front.
    generator : torch.Generator, default=None
        Draws the initial weights; PyTorch's global generator if None.

    Notes
    -----
    **Shape**

    - input: ``(batch_size, n_features)``, any dtype
    - output: ``(batch_size, n_classes)``, logits

    References
    ----------
    He et al. (2015). Delving Deep into Rectifiers. https://arxiv.org/abs/1502.01852

    Examples
    --------
    >>> import torch
    >>> from sksoftmax.modules import SoftmaxMLP
    >>> module = SoftmaxMLP(93, 9, hidden_layer_sizes=(128, 64))
    >>> module(torch.randn(8, 93)).shape
    torch.Size([8, 9])
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        hidden_layer_sizes: Sequence[int] = (512, 512, 512),
        activation: str = "relu",
        normalization: str | None = None,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        input_scaling: str | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if input_scaling is not None:
            self.input_scaling = InputScaling((n_features,), method=input_scaling)
        layers: list[nn.Module] = [Dropout(input_dropout)] if input_dropout else []
        layers += _hidden_layers(
            [n_features, *hidden_layer_sizes], activation, normalization, dropout
        )
        self.hidden = nn.Sequential(*layers)
        last_size = hidden_layer_sizes[-1] if len(hidden_layer_sizes) else n_features
        self.output = _empty(nn.Linear, last_size, n_classes)
        _initialize(self, activation, generator)

    def update_input_scaling(
        self, X: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        r"""Let the input scaling, if there is one, learn from more rows."""
        if hasattr(self, "input_scaling"):
            self.input_scaling.update(X, sample_weight)

    def forward(self, x: Tensor) -> Tensor:
        r"""Return the logits."""
        if hasattr(self, "input_scaling"):
            x = self.input_scaling(x)
        logits: Tensor = self.output(self.hidden(x.to(self.output.weight.dtype)))
        return logits


class SoftmaxCNN(nn.Module):
    r"""Convolutional net: convolutions and pooling, hidden layers, logits.

    A block is convolution -> normalisation -> activation -> max pooling. The last
    block pools over the whole image, unless ``global_pooling`` is None.

    Parameters
    ----------
    image_shape : tuple of int, (n_channels, height, width)
        Shape of one image.
    n_classes : int
        Number of classes.
    channels : sequence of int, default=(32, 64, 128)
        Number of output channels of each convolution.
    kernel_size : int or sequence of int, default=(5, 3, 3)
        Side of each convolution's kernel.
    padding : {"same", "valid"}, default="same"
        Whether convolutions keep the size of the image or shrink it.
    pool_size : int, default=2
        Side of the pooling window; an image that has become smaller is not pooled.
    global_pooling : {"max", "average"} or None, default="max"
        How the last block pools over the whole image.
    hidden_layer_sizes : sequence of int, default=()
        Widths of hidden layers between the last block and the logits.
    activation : {"relu", "gelu", "silu", "tanh", "identity"}, default="relu"
        Activation function.
    normalization : {"batch"} or None, default="batch"
        Normalisation in each block and hidden layer.
    dropout : float, default=0.0
        Dropout rate before each linear layer.
    input_scaling : {"standard"} or None, default=None
        Whether an :class:`InputScaling` in front scales each channel.
    generator : torch.Generator, default=None
        Draws the initial weights; PyTorch's global generator if None.

    Notes
    -----
    **Shape**

    - input: ``(batch_size, n_channels * height * width)`` or
      ``(batch_size, n_channels, height, width)``, any dtype
    - output: ``(batch_size, n_classes)``, logits

    Examples
    --------
    >>> import torch
    >>> from sksoftmax.modules import SoftmaxCNN
    >>> module = SoftmaxCNN((1, 28, 28), 10, channels=(8, 16), kernel_size=3)
    >>> module(torch.zeros(4, 784, dtype=torch.uint8)).shape
    torch.Size([4, 10])
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        n_classes: int,
        *,
        channels: Sequence[int] = (32, 64, 128),
        kernel_size: int | Sequence[int] = (5, 3, 3),
        padding: str = "same",
        pool_size: int = 2,
        global_pooling: str | None = "max",
        hidden_layer_sizes: Sequence[int] = (),
        activation: str = "relu",
        normalization: str | None = "batch",
        dropout: float = 0.0,
        input_scaling: str | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.image_shape = tuple(image_shape)
        kernel_sizes = expand_kernel_size(kernel_size, len(channels))
        if input_scaling is not None:
            scaled_axes = (image_shape[0], 1, 1)
            self.input_scaling = InputScaling(scaled_axes, method=input_scaling)
        blocks: list[nn.Module] = []
        n_channels, *size = self.image_shape
        for out_channels, side in zip(channels, kernel_sizes, strict=True):
            if padding == "valid":
                size = [length - side + 1 for length in size]
            if min(size) < 1:
                raise ValueError(
                    f"Got image_shape={self.image_shape}, which is too small for "
                    f"kernel_size={tuple(kernel_sizes)} with padding={padding!r}: "
                    f"nothing is left in block {len(blocks) + 1}. Expected a larger "
                    "image, smaller kernels, fewer channels or padding='same'."
                )
            is_global = global_pooling is not None and len(blocks) + 1 == len(channels)
            window = size if is_global else [min(pool_size, length) for length in size]
            average = is_global and global_pooling == "average"
            pooling = nn.AvgPool2d if average else nn.MaxPool2d
            blocks.append(
                nn.Sequential(
                    *_convolution(
                        n_channels, out_channels, side, padding, normalization
                    ),
                    ACTIVATIONS[activation](),
                    pooling((window[0], window[1])),
                )
            )
            size = [length // step for length, step in zip(size, window, strict=True)]
            n_channels = out_channels
        self.blocks = nn.Sequential(*blocks)
        sizes = [n_channels * math.prod(size), *hidden_layer_sizes]
        head: list[nn.Module] = [Dropout(dropout)] if dropout else []
        head += _hidden_layers(sizes, activation, normalization, dropout)
        self.hidden = nn.Sequential(*head)
        self.output = _empty(nn.Linear, sizes[-1], n_classes)
        _initialize(self, activation, generator)

    def update_input_scaling(
        self, X: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        r"""Let the input scaling, if there is one, learn from more rows."""
        if hasattr(self, "input_scaling"):
            self.input_scaling.update(X.reshape(-1, *self.image_shape), sample_weight)

    def forward(self, x: Tensor) -> Tensor:
        r"""Return the logits."""
        # (N, C * H * W) -> (N, C, H, W)
        x = x.reshape(-1, *self.image_shape)
        if hasattr(self, "input_scaling"):
            x = self.input_scaling(x)
        # (N, C, H, W) -> (N, C' * H' * W')
        x = self.blocks(x.to(self.output.weight.dtype)).flatten(1)
        logits: Tensor = self.output(self.hidden(x))
        return logits


def expand_kernel_size(kernel_size: int | Sequence[int], n_blocks: int) -> list[int]:
    r"""Return one kernel side per block."""
    if not isinstance(kernel_size, Sequence):
        return [kernel_size] * n_blocks
    if len(kernel_size) != n_blocks:
        raise ValueError(
            f"Got kernel_size={kernel_size!r} of length {len(kernel_size)}, but "
            f"channels has length {n_blocks}. Expected one integer for all blocks or "
            "one for each."
        )
    return list(kernel_size)


def _empty(layer: Callable[..., _Layer], *args: Any, **kwargs: Any) -> _Layer:
    r"""Return a layer whose parameters are left for `_initialize` to draw."""
    made: _Layer = nn.utils.skip_init(layer, *args, **kwargs)  # type: ignore[no-untyped-call]
    return made


def _hidden_layers(
    sizes: Sequence[int], activation: str, normalization: str | None, dropout: float
) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for size_in, size_out in pairwise(sizes):
        # A shift follows every normalisation, so the linear map needs none.
        has_bias = normalization is None
        layers.append(_empty(nn.Linear, size_in, size_out, bias=has_bias))
        if normalization == "batch":
            layers.append(nn.BatchNorm1d(size_out))
        elif normalization == "layer":
            layers.append(nn.LayerNorm(size_out))
        layers.append(ACTIVATIONS[activation]())
        if dropout:
            layers.append(Dropout(dropout))
    return layers


def _convolution(
    channels_in: int,
    channels_out: int,
    side: int,
    padding: str,
    normalization: str | None,
) -> list[nn.Module]:
    has_bias = normalization is None
    layers: list[nn.Module] = [
        _empty(
            nn.Conv2d, channels_in, channels_out, side, padding=padding, bias=has_bias
        )
    ]
    if normalization == "batch":
        layers.append(nn.BatchNorm2d(channels_out))
    return layers


def _initialize(
    module: nn.Module, activation: str, generator: torch.Generator | None
) -> None:
    r"""He's initialisation for hidden weights, a gain of 1 for the logits' weights."""
    gain = math.sqrt(2.0) if activation in ("relu", "gelu", "silu") else 1.0
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                fan_in = math.prod(layer.weight.shape[1:])
                is_output = layer is getattr(module, "output", None)
                std = (1.0 if is_output else gain) / math.sqrt(fan_in)
                layer.weight.normal_(0, std, generator=generator)
                if layer.bias is not None:
                    layer.bias.zero_()
