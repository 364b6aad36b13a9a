r"""The notebook of Otto runs, has outputs, and builds the benchmark's ensemble."""

import re
import runpy
import warnings
from pathlib import Path

import nbformat
import numpy as np
import pytest
from sklearn.metrics import log_loss

from .example_data import check_submission, write_otto

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NOTEBOOK = EXAMPLES / "otto_kaggle.ipynb"
pytestmark = pytest.mark.usefixtures("folder")


def test_otto_notebook_has_outputs_of_one_run_without_errors():
    assert NOTEBOOK.stat().st_size < 60_000
    notebook = nbformat.read(NOTEBOOK, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert max(len(cell.source.splitlines()) for cell in notebook.cells) <= 22
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    outputs = [output for cell in code for output in cell.outputs]
    assert {output.output_type for output in outputs} == {"stream", "execute_result"}
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}
    assert not re.search("Traceback|Error|Warning|/tmp|/home", str(outputs))
    # The last line of these cells is a value, or they print.
    shown = {cell.id for cell in code if cell.outputs}
    assert shown == {"load", "look", "look-counts", "cv", "check", "fit"}
    losses = re.findall(r"(default|ensemble): (\d\.\d+)", str(outputs))
    assert float(dict(losses)["ensemble"]) < float(dict(losses)["default"]) < 0.7


def test_otto_notebook_runs(capfd, folder, monkeypatch):
    # The notebook takes a tenth of them. On less than 500 rows, nets restart often.
    write_otto(folder, rows_per_class=800)
    monkeypatch.setenv("OTTO_FAST", "1")
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    namespace = {"__name__": "__main__"}
    # The cells are plain Python. A warning would be an output of a kernel.
    with warnings.catch_warnings(action="error"):
        for cell in cells:
            if cell.cell_type == "code":
                exec(compile(cell.source, cell.id, "exec"), namespace)
    text, errors = capfd.readouterr()
    assert errors == ""
    losses = re.findall(r"^(?:default|ensemble): (\d\.\d+)$", text, re.MULTILINE)
    assert len(losses) == 2
    assert max(map(float, losses)) < np.log(9)
    check_submission(folder)


def plain_parameters(estimator):
    r"""Return the parameters of all parts, except the parts themselves."""
    return {
        name: value
        for name, value in estimator.get_params().items()
        if isinstance(value, bool | int | float | str | list | slice | None)
        and name.split("__")[-1] not in ("estimators", "steps", "transformers")
    }


def test_otto_notebook_and_benchmark_make_the_same_ensemble(folder, monkeypatch):
    monkeypatch.delenv("OTTO_FAST", raising=False)
    write_otto(folder, rows_per_class=30)
    notebook = {"__name__": "notebook"}
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        if cell.id in ("imports", "load", "senses", "neighbors", "nets", "ensemble"):
            exec(compile(cell.source, cell.id, "exec"), notebook)
    X, y, expected = notebook["X"], notebook["y"], notebook["ensemble"]
    benchmark = runpy.run_path(str(EXAMPLES / "benchmarks" / "otto_ensembles.py"))
    make_ensemble = benchmark["make_large_ensemble"]
    ensemble = make_ensemble(seed=0)
    np.testing.assert_array_equal(
        ensemble[0].fit_transform(X, y), expected[0].fit_transform(X, y)
    )
    assert plain_parameters(ensemble[1]) == plain_parameters(expected[1])
    # Ensembles of a few nets are better than a guess.
    for ensemble in (
        make_ensemble(seed=0, n_informed=2, n_plain=2, n_trees=2, n_jobs=1),
        benchmark["make_ensemble"](seed=0, n_informed=2, n_sure=2, n_jobs=1),
    ):
        ensemble.fit(X[::2], y[::2])
        assert log_loss(y[1::2], ensemble.predict_proba(X[1::2])) < np.log(9)
