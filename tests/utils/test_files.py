r"""Values of parameters in files."""

import json

import numpy as np
import pytest

from sksoftmax._utils.files import decode, encode

from ..persistence.classifiers import (
    same,
)


@pytest.mark.parametrize(
    "value",
    [
        [1, 2**70, -0.0, 0.1, np.inf, -np.inf],
        (
            {"a": (1,), 2: None, None: [True]},
            np.float32(0.1),
            np.str_("x"),
            np.bool_(1),
        ),
        np.array([[1, 2], [3, 4]], dtype=">i2"),
        np.array(0.5),
        np.array([], dtype="U3"),
        np.array([1, "a", None, (1, 2), np.int8(3)], dtype=object),
    ],
    ids=str,
)
def test_encoded_values_are_decoded_exactly(value):
    tensors = {}
    encoded = json.loads(json.dumps(encode(value, tensors), allow_nan=False))
    decoded = decode(encoded, tensors)
    if isinstance(value, np.ndarray):
        # The byte order is that of the machine.
        value = value.astype(value.dtype.newbyteorder("="))
    assert same(value, decoded)
    assert repr(decoded) == repr(value)
