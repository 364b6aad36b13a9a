r"""Ctrl-C ends a fit by an error; a callback that stops training does not."""

import signal
import threading

import numpy as np
import pytest
from sklearn.base import clone
from skorch.callbacks import Callback, EarlyStopping

from .checkpoints import Watch, assert_same_bits, mlp


class Pressing(Callback):
    r"""Sends the signal of Ctrl-C at the end of an epoch."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 3:
            signal.raise_signal(signal.SIGINT)


class TestControlC:
    @pytest.fixture(autouse=True)
    def _pythons_own_handler(self):
        # pytest's workers ignore the signal.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, before)

    def test_while_an_epoch_ends_is_not_taken_for_early_stopping(
        self, digits, tmp_path
    ):
        X, y = digits
        never_stopped = mlp(callbacks=[Watch()]).fit(X, y)
        model = mlp(callbacks=[Pressing()], checkpoint=tmp_path / "fit")
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, y)
        assert vars(model).keys() == vars(clone(model)).keys()
        # The checkpoint names the class of each callback.
        watch = Watch()
        watch.__class__ = type("Pressing", (Watch,), {})
        model.set_params(callbacks=[watch]).fit(X, y)
        assert watch.n_epochs == 3
        assert_same_bits(model, never_stopped, X)

    def test_keeps_the_earlier_fit(self, digits):
        X, y = digits
        model = mlp(max_epochs=2).fit(X, y)
        before = model.predict_proba(X)
        with pytest.raises(KeyboardInterrupt):
            model.set_params(max_epochs=9, callbacks=[Pressing()]).fit(X, y)
        np.testing.assert_array_equal(model.predict_proba(X), before)
        assert model.n_iter_ == 2

    def test_of_a_handler_that_raises_nothing(self, digits):
        noted = []
        signal.signal(signal.SIGINT, lambda *_: noted.append(True))
        try:
            stopping = EarlyStopping("train_loss", patience=1, threshold=1e6, sink=str)
            model = mlp(callbacks=[Pressing(), stopping], max_epochs=9).fit(*digits)
            assert model.n_iter_ == 2
            assert mlp(callbacks=[Pressing()]).fit(*digits).n_iter_ == 5
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        assert noted == [True]

    def test_early_stopping_ends_a_fit_in_another_thread(self, digits):
        stopping = EarlyStopping("train_loss", patience=1, threshold=1e6, sink=str)
        model = mlp(callbacks=[stopping])
        thread = threading.Thread(target=model.fit, args=digits)
        thread.start()
        thread.join()
        assert model.n_iter_ == 2
