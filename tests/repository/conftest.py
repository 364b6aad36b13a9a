r"""Where the examples run, and the figures that they show."""

import pytest


@pytest.fixture
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
