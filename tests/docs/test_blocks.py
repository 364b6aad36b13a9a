r"""Every block of Python in the README and in the pages of the documentation runs."""

import signal
import sys

import pytest
import sklearn

from .pages import GUIDE, PAGES, name_of, python_blocks, run

BLOCKS = [
    pytest.param(page, line, code, id=f"{name_of(page)}:{line}")
    for page in PAGES
    for line, code in python_blocks(page)
    # The loops of this page need a cluster or a file, and have scripts in examples/.
    if page.name != "scaling_out.md"
]
NEEDED = {
    "fastapi",
    "ipywidgets",
    "matplotlib",
    "onnxruntime",
    "optuna",
    "polars",
    "pyarrow",
    "skops",
    "skrub",
}


@pytest.fixture
def _as_a_script(monkeypatch, tmp_path):
    r"""Files go into an empty folder, settings and figures are those of before."""
    monkeypatch.chdir(tmp_path)
    # pytest's workers ignore Ctrl-C.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    with sklearn.config_context():
        yield
    signal.signal(signal.SIGINT, handler)
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.mark.usefixtures("_as_a_script")
@pytest.mark.parametrize(("page", "line", "code"), BLOCKS)
def test_block_runs_without_a_warning(page, line, code):
    for name in NEEDED:
        if f"import {name}" in code or f"from {name}" in code:
            pytest.importorskip(name)
    run(page, line, code)


@pytest.mark.parametrize("page", GUIDE, ids=name_of)
def test_chapter_has_code(page):
    assert python_blocks(page) or page.name == "index.md"
