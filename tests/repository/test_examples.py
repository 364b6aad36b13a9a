r"""Every example runs without a warning and shows what its prose says."""

import ast
import os
import re
import runpy
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from .example_data import check_submission, write_images, write_otto

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
RECORDED = ROOT / "docs" / "recorded"
pytestmark = pytest.mark.usefixtures("folder")

with_and_without_matplotlib = pytest.mark.parametrize(
    "matplotlib", [True, False], ids=["matplotlib", "no matplotlib"]
)


def run(name, capsys):
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    output = capsys.readouterr().out
    check_recorded(name, output)
    return output


def form(text):
    r"""Return the first word of each line that is printed, without its digits."""
    lines = [line.split()[0] for line in text.splitlines() if line.strip(" %")]
    return [re.sub(r"[\d.,]+", "0", word) for word in lines]


def check_recorded(name, output):
    r"""Check that the output of the documentation has the lines that are printed."""
    recorded = RECORDED / name.replace(".py", ".txt")
    if recorded.is_file():
        assert form(recorded.read_text(encoding="utf-8")) == form(output)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda p: p.name)
def test_scripts_have_the_form_of_a_gallery(path):
    source = path.read_text(encoding="utf-8")
    title, underline, blank, *_ = ast.get_docstring(ast.parse(source)).splitlines()
    assert underline == "=" * len(title)
    assert not blank
    assert source.count("# %%") >= 3


def test_quickstart_runs_on_the_core_dependencies(capfd, monkeypatch):
    # A new user has no matplotlib. A new process: `test_packaging.py`.
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with warnings.catch_warnings(action="error"):
        runpy.run_path(str(EXAMPLES / "quickstart.py"), run_name="__main__")
    output, errors = capfd.readouterr()
    assert errors == ""
    check_recorded("quickstart.py", output)
    rows = re.findall(
        r"^(Softmax\w+) +(\S+) \+- (\S+) +(\S+) +(\S+)$", output, re.MULTILINE
    )
    accuracy = {name: float(values[0]) for name, *values in rows}
    log_loss = {name: float(values[2]) for name, *values in rows}
    regression, mlp, cnn = (
        f"Softmax{name}" for name in ("Regression", "MLPClassifier", "CNNClassifier")
    )
    assert list(accuracy) == [regression, mlp, cnn]
    assert min(accuracy.values()) > 0.95
    # The prose says: both nets are better, C=1 is too strong a penalty, ...
    assert min(accuracy[mlp], accuracy[cnn]) > accuracy[regression] + 0.005
    assert max(log_loss[mlp], log_loss[cnn]) < log_loss[regression] - 0.05
    assert re.search(r"^ +10\.0 +\S+  <- best$", output, re.MULTILINE)
    # ... and the mistakes are among the predictions of the lowest probabilities.
    test_accuracy, mistakes, uncertain = re.search(
        r"test accuracy (\S+): (\d+) mistakes, (\d+) of them", output
    ).groups()
    assert float(test_accuracy) > 0.97
    assert int(uncertain) >= int(mistakes) - 1


def test_softmax_from_scratch(capsys, figures):
    output = run("softmax_from_scratch.py", capsys)
    assert figures == [1]
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
    assert int(re.search(r"card with (\d+) parameters", output)[1]) > 20
    differences = re.findall(r"labels equal True, .*differ by (\S+)", output)
    assert len(differences) == 2
    assert max(map(float, differences)) < 1e-5


def test_serving(capfd):
    # The server is a process of its own, which imports the example.
    runpy.run_path(str(EXAMPLES / "serving.py"), run_name="__main__")
    output, errors = capfd.readouterr()
    assert errors == ""
    check_recorded("serving.py", output)
    assert "200 requests at a time, 0 failed" in output
    # Rows that wait are predicted together.
    assert int(re.search(r"largest batch: (\d+) rows", output)[1]) > 10
    assert "a row of another length: 422" in output
    assert re.search(r"one row: \S+ ms by HTTP, \S+ ms without", output)


def test_inspection(capsys, figures):
    output = run("inspection.py", capsys)
    best, n_epochs = re.search(r"best epoch: (\d+) of (\d+)", output).groups()
    assert int(best) < int(n_epochs)
    assert "class_0: proline" in output
    errors = [float(error) for error in re.findall(r"ECE (\S+)", output)]
    # The probabilities of the regression are too low.
    assert errors[0] < 0.1 < errors[1]
    # Axes: the curve; ten digits, their frame and their color bar; three wines and
    # their frame; ten images and their frame; the diagram and its histogram.
    assert figures == [1, 12, 4, 11, 2]


def test_progress_and_callbacks(capsys, figures):
    pytest.importorskip("sklearn.callback", reason="scikit-learn before 1.9")
    output = run("progress_and_callbacks.py", capsys)
    assert re.search(r"^SoftmaxMLPClassifier: 6 epochs in .*accuracy", output, re.M)
    assert "GridSearchCV - fit" in output
    assert "42 epochs in 7 fits" in output
    assert figures == [1]
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
    # The perceptron with its own encoding of categories is best.
    assert losses[2] == min(losses)
    # Only softmax regression takes no missing values and has an imputer before it.
    assert output.count("SimpleImputer") == 1
    assert output.endswith("polars\n")


def test_fine_tuning(capsys, figures):
    # It ignores the warnings of fits of few epochs.
    with warnings.catch_warnings():
        output = run("fine_tuning.py", capsys)
    losses = re.findall(r"^log loss (\S+)  {", output, re.MULTILINE)
    assert len(losses) == 4
    # The ten images and their frame.
    assert figures == [11]
    assert min(map(float, losses)) < 0.8
    tuned = float(re.search(r"fine-tuned: test accuracy (\S+)", output)[1])
    scratch = float(re.search(r"from scratch: test accuracy (\S+)", output)[1])
    assert tuned > max(0.7, scratch + 0.1)


def test_text_tokens(capsys, figures):
    output = run("text_tokens.py", capsys)
    assert figures == [1]
    plain = float(re.search(r"bag of words: test accuracy (\S+)", output)[1])
    searched = float(re.search(r"searched: test accuracy (\S+)", output)[1])
    baseline = float(re.search(r"softmax regression: (\S+)", output)[1])
    # A few percent of the labels are wrong.
    assert min(plain, searched) > 0.9
    # The prose says: the linear baseline is as good, words of a machine lie far out.
    assert abs(baseline - searched) < 0.03
    distances = re.findall(r"words at (\S+) mean distances", output)
    assert len(distances) == 3
    assert min(map(float, distances)) > 1


# Warnings of MLflow's dependencies and of its type hints.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning")
def test_mlflow_tracking(capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    # The example sets the tracking URI for the whole process.
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    import mlflow

    try:
        output = run("mlflow_tracking.py", capsys)
    finally:
        mlflow.set_tracking_uri(None)
    losses = re.search(r"by epoch: (.*)", output)[1].split()
    assert len(losses) == 10
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


def test_image_folder(capsys, folder, figures):
    output = run("image_folder.py", capsys)
    assert figures == [10]
    assert "1200 images in .../train" in output
    accuracies = re.findall(r"accuracy(?: of three folds:)? (\S+)", output)
    assert len(accuracies) == 5
    assert min(map(float, accuracies)) > 0.8
    assert float(accuracies[0]) > 0.9
    assert float(accuracies[-1]) > 0.9
    # The prose says: the broken file is named, and a large result is in a file.
    assert re.search(r"'\.\.\./test/9999\.png' in row 597 \(", output)
    assert "memmap of shape (1200, 64), uint8" in output
    submission = pd.read_csv(folder / "submission.csv")
    assert list(submission) == ["file", "class"]
    assert submission["file"].tolist() == [f"{n}.png" for n in range(1200, 1797)]


# Each worker of Dask writes its number of threads of PyTorch when a task has ended. It
# reads a copy of this script in a folder of its own.
WORKER_REPORT = """
import os
from pathlib import Path
from distributed import WorkerPlugin

class Report(WorkerPlugin):
    def transition(self, key, start, finish, **kwargs):
        if start == "executing":
            import torch

            path = Path(os.environ["REPORTS"]) / f"worker{os.getpid()}.txt"
            path.write_text(str(torch.get_num_threads()))

async def dask_setup(worker):
    await worker.plugin_add(Report())
"""


def test_distributed_search(folder):
    (folder / "worker_report.py").write_text(WORKER_REPORT)
    # In a new process, since the workers import the script.
    process = subprocess.run(
        [sys.executable, str(EXAMPLES / "distributed_search.py")],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "DASK_DISTRIBUTED__WORKER__PRELOAD": str(folder / "worker_report.py"),
            "REPORTS": str(folder),
        },
    )
    assert process.returncode == 0, process.stderr
    # Once on Dask, once on Ray.
    check_recorded("distributed_search.py", process.stdout)
    assert process.stdout.count("equal: True") == 2
    assert re.search(r"^ray: log loss", process.stdout, re.MULTILINE)
    # Both workers of Dask ran tasks, each with one thread of PyTorch.
    threads = [path.read_text() for path in folder.glob("worker*.txt")]
    assert threads == ["1", "1"]


def test_readme_pictures(capsys, folder, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["readme_pictures.py", str(folder)])
    output = run("readme_pictures.py", capsys)
    names = set(output.split())
    shown = re.findall(r"docs/pictures/(\w+\.png)", (ROOT / "README.md").read_text())
    assert names == set(shown)
    for name in names:
        assert (folder / name).stat().st_size > 5000
        assert (ROOT / "docs" / "pictures" / name).is_file()


# OptunaSearchCV warns that it is experimental, and imports a deprecated module.
@pytest.mark.filterwarnings("ignore:OptunaSearchCV is experimental")
@pytest.mark.filterwarnings("ignore:`optuna.terminator` module:FutureWarning")
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_optuna_otto(capsys, folder, figures):
    write_otto(folder, rows_per_class=100)
    output = run("optuna_otto.py", capsys)
    losses = re.findall(r"log loss (\d\.\d+)(?: with|$)", output, re.MULTILINE)
    assert max(map(float, losses)) < np.log(9)
    n_pruned, n_trials, spent, total = map(
        int,
        re.search(r"(\d+) of (\d+) trials .* (\d+) epochs .* (\d+)", output).groups(),
    )
    assert 0 < n_pruned < n_trials == 15
    assert figures == [1]
    assert spent < total == 150
    rounds = re.findall(r"^ +(\d+) candidates, +(\d+) epochs", output, re.MULTILINE)
    assert rounds == [("12", "2"), ("4", "6"), ("2", "18")]


@with_and_without_matplotlib
def test_mnist(matplotlib, capsys, folder, figures, monkeypatch):
    write_images(folder / "MNIST", n_train=150, n_test=300)
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
    # Fewer rows would take longer: nets restart several times on less than 500 rows.
    write_otto(folder, rows_per_class=80)
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
