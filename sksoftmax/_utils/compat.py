r"""Versions, and the private names of dependencies: no other file imports any."""

from __future__ import annotations

import sklearn
import torch

__version__ = "0.1.0"


def versions() -> dict[str, str]:
    r"""Return the versions that a saved file names, for the message of an error."""
    return {
        "sksoftmax": __version__,
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
    }
