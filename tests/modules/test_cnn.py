r"""Blocks of SoftmaxCNN: shapes, order of channels, sizes that are refused."""

import numpy as np
import pytest
import torch
from torch import nn

from sksoftmax.modules import SoftmaxCNN


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("image_shape", "options", "flat"),
    [
        (
            (1, 28, 28),
            {
                "channels": (10, 20),
                "kernel_size": 5,
                "padding": "valid",
                "convolutions_per_block": 1,
            },
            320,
        ),
        ((3, 32, 32), {"channels": (4, 4, 4), "kernel_size": 3}, 64),
        ((1, 1, 7), {"channels": (4, 6), "kernel_size": (5, 3)}, 6),
        ((1, 5, 9), {"channels": (4,), "kernel_size": 3, "pool_size": 3}, 12),
        ((1, 5, 9), {"channels": (4,), "kernel_size": np.int64(3)}, 4 * 2 * 4),
        ((1, 28, 32), {"channels": (4, 6), "padding": "valid"}, 6 * 2 * 3),
    ],
)
def test_flattened_size_of_the_last_block(image_shape, options, flat):
    module = SoftmaxCNN(
        image_shape, 2, global_pooling=None, generator=generator(), **options
    )
    assert module.output.in_features == flat
    assert module(torch.zeros(2, *image_shape)).shape == (2, 2)


@pytest.mark.parametrize(
    ("n_convolutions", "global_pooling", "kernels", "windows"),
    [
        (1, "max", [5, 3], [2, 7]),
        (2, "max", [5, 3, 3, 3], [2, 2, 3]),
        (3, None, [5, 3, 3, 3, 3, 3], [2, 2]),
    ],
)
def test_blocks_pool_after_their_first_convolution(
    n_convolutions, global_pooling, kernels, windows
):
    module = SoftmaxCNN(
        (1, 14, 14),
        10,
        channels=(4, 6),
        convolutions_per_block=n_convolutions,
        global_pooling=global_pooling,
        generator=generator(),
    )
    convolutions = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    assert [layer.kernel_size[0] for layer in convolutions] == kernels
    assert [layer.out_channels for layer in convolutions] == (
        [4] * n_convolutions + [6] * n_convolutions
    )
    pools = [m for m in module.modules() if isinstance(m, nn.MaxPool2d)]
    assert [pool.kernel_size[0] for pool in pools] == windows
    names = [type(layer).__name__ for layer in module.blocks[0]]
    first = ["Conv2d", "MaxPool2d", "BatchNorm2d", "ReLU"]
    more = ["Conv2d", "BatchNorm2d", "ReLU"] * (n_convolutions - 1)
    assert names == first + more


def test_largest_product_of_a_cnn():
    # 14 x 14 pixels before the pooling, 7 x 7 after it.
    one, two = (
        SoftmaxCNN(
            (1, 14, 14),
            2,
            channels=(8, 8),
            convolutions_per_block=n,
            kernel_size=(5, 3),
            generator=generator(),
        )
        for n in (1, 2)
    )
    assert one.largest_product == 1 * 8 * 25 * 196
    assert two.largest_product == 8 * 8 * 25 * 49


def test_cnn_reads_rows_channel_after_channel():
    images = torch.randn(4, 3, 6, 5, generator=generator())
    module = SoftmaxCNN(
        (3, 6, 5), 2, channels=(4,), kernel_size=3, generator=generator()
    ).eval()
    with torch.no_grad():
        assert torch.equal(module(images), module(images.reshape(4, -1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": (3, 3)}, "of length 2, but channels has length 3"),
        (
            {"kernel_size": 3, "padding": "valid", "pool_size": 2},
            "nothing is left in block 2",
        ),
    ],
)
def test_impossible_cnn(options, message):
    with pytest.raises(ValueError, match=message):
        SoftmaxCNN((1, 8, 8), 10, **options)
