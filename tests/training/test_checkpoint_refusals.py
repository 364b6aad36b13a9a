r"""Files and settings that a checkpoint refuses."""

import os

import numpy as np
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from skorch.callbacks import LRScheduler

from sksoftmax.distributed import fit_distributed
from sksoftmax.persistence import InvalidFileError, load, save

from .checkpoints import (
    Watch,
    assert_same_bits,
    cnn,
    mlp,
)


def other_parameters(X, y, path):
    return mlp(learning_rate=0.02, checkpoint=path).fit(X, y)


def other_seed(X, y, path):
    return mlp(random_state=1, checkpoint=path).fit(X, y)


def other_features(X, y, path):
    return mlp(checkpoint=path).fit(np.where(np.arange(64) == 20, X + 1, X), y)


def other_labels(X, y, path):
    return mlp(checkpoint=path).fit(X, np.roll(y, 1))


def other_weights(X, y, path):
    weight = np.where(np.arange(len(y)) == 5, 2.0, 1.0)
    return mlp(checkpoint=path).fit(X, y, sample_weight=weight)


def other_validation_rows(X, y, path):
    return mlp(checkpoint=path).fit(X, y, X_val=X[:50], y_val=y[:50])


def other_callbacks(X, y, path):
    return mlp(checkpoint=path, callbacks=[Watch()]).fit(X, y)


def other_estimator(X, y, path):
    return cnn(checkpoint=path).fit(X, y)


@pytest.fixture(scope="module")
def written(digits, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "fit"
    mlp(checkpoint=path).fit(*digits)
    return path.read_bytes()


class TestRefuses:
    @pytest.mark.parametrize(
        ("fit_other", "named"),
        [
            (other_parameters, r"learning_rate: 'auto' then, 0\.02 now"),
            (other_seed, "random_state: 0 then, 1 now"),
            (other_features, "training data"),
            (other_labels, "training data"),
            (other_weights, "training data"),
            (other_validation_rows, "validation data: None then"),
            (other_callbacks, "callbacks: best_epoch then, best_epoch, Watch now"),
            (other_estimator, "estimator: SoftmaxMLPClassifier then"),
        ],
    )
    def test_another_fit(self, fit_other, named, written, digits, tmp_path):
        path = tmp_path / "fit"
        path.write_bytes(written)
        with pytest.raises(
            ValueError, match=rf"another fit: .*{named}.*Delete the file"
        ):
            fit_other(*digits, path)
        assert path.read_bytes() == written

    def test_another_version(self, digits, written, tmp_path, monkeypatch):
        path = tmp_path / "fit"
        path.write_bytes(written)
        monkeypatch.setattr("sksoftmax._classifier.state.__version__", "99")
        with pytest.raises(ValueError, match=r"sksoftmax: .* then, 99 now"):
            mlp(checkpoint=path).fit(*digits)

    def test_damaged_files(self, digits, written, tmp_path):
        path = tmp_path / "fit"
        middle = len(written) // 2
        flipped = bytes([written[middle] ^ 1])
        for contents in (
            b"",
            written[:7],
            written[:middle],
            written[:-1],
            written + b"\0",
            written[:middle] + flipped + written[middle + 1 :],
            written[:100] + b"\xff" + written[101:],
            b"weights, some day",
        ):
            path.write_bytes(contents)
            with pytest.raises(InvalidFileError, match=r"Got checkpoint=.*Delete it"):
                mlp(checkpoint=path).fit(*digits)
            assert path.read_bytes() == contents

    def test_files_that_are_no_checkpoints(self, digits, written, tmp_path):
        save(mlp().fit(*digits), tmp_path / "classifier")
        save_file({"weight": torch.zeros(3)}, tmp_path / "tensors")
        for name in ("classifier", "tensors"):
            contents = (tmp_path / name).read_bytes()
            with pytest.raises(InvalidFileError, match=r"Got checkpoint=.*Delete it"):
                mlp(checkpoint=tmp_path / name).fit(*digits)
            assert (tmp_path / name).read_bytes() == contents
        # From which reading would never return.
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(InvalidFileError, match=r"Got checkpoint=.*Delete it"):
            mlp(checkpoint=tmp_path / "pipe").fit(*digits)
        (tmp_path / "fit").write_bytes(written)
        with pytest.raises(InvalidFileError, match="no file that save wrote"):
            load(tmp_path / "fit")

    def test_paths_that_cannot_be_written_to(self, digits, tmp_path):
        (tmp_path / "file").write_text("")
        for path, error in (
            (tmp_path / "missing" / "fit", FileNotFoundError),
            (tmp_path / "file" / "fit", NotADirectoryError),
        ):
            watch = Watch()
            with pytest.raises(error, match=r"could not be written.*another path"):
                mlp(checkpoint=path, callbacks=[watch]).fit(*digits)
            # Before anything was trained.
            assert watch.n_epochs == 0

    def test_a_full_disk_and_keeps_the_earlier_file(self, digits, tmp_path):
        resource = pytest.importorskip("resource", reason="not on Windows")
        path, limits = tmp_path / "fit", resource.getrlimit(resource.RLIMIT_FSIZE)
        never_stopped = mlp(callbacks=[Watch()]).fit(*digits)
        model = mlp(checkpoint=path)

        def fill_up():
            contents.append(path.read_bytes())
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))

        contents = []
        model.set_params(callbacks=[Watch(3, fill_up)])
        try:
            with pytest.raises(OSError, match=r"could not be written.*earlier.*room"):
                model.fit(*digits)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert path.read_bytes() == contents[-1]
        assert os.listdir(tmp_path) == ["fit"]
        assert not hasattr(model, "module_")
        watch = Watch()
        model.set_params(callbacks=[watch]).fit(*digits)
        assert watch.n_epochs == 3
        assert_same_bits(model, never_stopped, digits[0])

    @pytest.mark.parametrize("random_state", [None, np.random.RandomState(0)])
    def test_random_states_without_a_fixed_seed(self, random_state, digits, tmp_path):
        model = mlp(random_state=random_state, checkpoint=tmp_path / "fit")
        with pytest.raises(ValueError, match=r"random_state=.*Expected an integer"):
            model.fit(*digits)

    def test_callbacks_whose_state_is_more_than_data(self, digits, tmp_path):
        model = mlp(
            callbacks=[LRScheduler("StepLR", step_size=1)],
            lr_schedule="constant",
            checkpoint=tmp_path / "fit",
        )
        with pytest.raises(ValueError, match=r"StepLR.*data only.*checkpoint=None"):
            model.fit(*digits)

    def test_several_processes(self, digits, tmp_path):
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        try:
            with pytest.raises(ValueError, match=r"checkpoint='x'.*expected None"):
                fit_distributed(mlp(checkpoint="x"), *digits)
        finally:
            dist.destroy_process_group()
