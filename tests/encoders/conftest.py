r"""Fixtures of the tests of encoders."""

import pytest

from .colors import FRAME, IS_GREEN, mlp
from .image_files import PIXELS, write_files


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("images"), PIXELS)


@pytest.fixture(scope="module")
def of_colors():
    return mlp().fit(FRAME, IS_GREEN)
