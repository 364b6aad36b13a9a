r"""Fixtures of the data sets' tests: no files of the machine, and local servers."""

import socket
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace

import pytest

from sksoftmax.datasets import (
    _otto,
)


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path):
    # No data of the machine replaces a missing file, and no proxy serves 127.0.0.1.
    monkeypatch.delenv("SKSOFTMAX_DATA", raising=False)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "scikit_learn_data"))
    monkeypatch.setattr(_otto, "_KAGGLE_FOLDERS", [])
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(variable, "127.0.0.1")


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    requests = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            requests.append(self.path)

    handler = partial(Handler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = Thread(target=http.serve_forever, args=[0.01], daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{http.server_port}/"
        yield SimpleNamespace(url=url, folder=folder, requests=requests)
        http.shutdown()
        thread.join()


@pytest.fixture
def dead_server():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    # The port is closed now: it refuses connections, as on a machine without network.
    return SimpleNamespace(url=f"http://127.0.0.1:{port}/")
