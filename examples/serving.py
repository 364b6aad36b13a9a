r"""
Serving predictions over HTTP
=============================

A web service answers many requests at a time, each with one row, and a net predicts a
hundred rows in hardly more time than one. This service predicts all rows that wait
together. Needs
``pip install fastapi httpx pydantic "uvicorn[standard]"``, and takes ten seconds.
"""

# %%
# FastAPI is the service, uvicorn its server, and httpx a client.
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import httpx
import numpy as np
import torch
from fastapi import Body, FastAPI
from pydantic import Field, FiniteFloat
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sksoftmax import SoftmaxMLPClassifier
from sksoftmax.persistence import load, save

# %%
# Batches of the rows that wait
# -----------------------------
# While a thread predicts a batch, the event loop accepts further requests: their rows
# are the next batch. A row that comes alone is predicted at once, since no batch has to
# fill up, and by the loop itself: a change of thread takes as long as the prediction.
MOST_ROWS = 1024


class Batcher:
    r"""Predictions of rows that come singly."""

    def __init__(self, classifier: Any) -> None:
        self.classifier = classifier
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.largest_batch = 0

    async def predict_proba(self, row: list[float]) -> Any:
        r"""Return the probabilities of a row, once its batch is predicted."""
        answer = asyncio.get_running_loop().create_future()
        self.queue.put_nowait((row, answer))
        return await answer

    async def run(self) -> None:
        r"""Predict batch after batch."""
        while True:
            waiting = [await self.queue.get()]
            while not self.queue.empty() and len(waiting) < MOST_ROWS:
                waiting.append(self.queue.get_nowait())
            self.largest_batch = max(self.largest_batch, len(waiting))
            rows = np.array([row for row, _ in waiting])
            predict = self.classifier.predict_proba
            try:
                if len(rows) == 1:
                    results = predict(rows)
                else:
                    results = await asyncio.to_thread(predict, rows)
            except Exception as error:
                results = [error] * len(waiting)
            for (_, answer), result in zip(waiting, results, strict=True):
                # A client that hung up has canceled its request.
                if answer.done():
                    continue
                if isinstance(result, Exception):
                    answer.set_exception(result)
                else:
                    answer.set_result(result)


# %%
# The service
# -----------
# It reads a file of :func:`sksoftmax.persistence.save`, which can run no code, and
# refuses rows of another length and values that are not finite. It starts by
# ``MODEL=digits.safetensors uvicorn serving:make_app --factory``.


def make_app() -> FastAPI:
    r"""Return the service of the classifier in the file that MODEL names."""
    # The rows of a batch are few: threads would cost more than they save.
    torch.set_num_threads(1)
    classifier = load(os.environ["MODEL"], device="cpu")
    labels = classifier.classes_.tolist()
    n_features = classifier.n_features_in_
    batcher = Batcher(classifier)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        batches = asyncio.create_task(batcher.run())
        yield
        batches.cancel()

    app = FastAPI(lifespan=lifespan)
    length = Field(min_length=n_features, max_length=n_features)

    @app.post("/predict")
    async def predict(
        row: Annotated[list[FiniteFloat], length, Body(embed=True)],
    ) -> dict[str, Any]:
        proba = await batcher.predict_proba(row)
        winner = proba.argmax()
        return {"label": labels[winner], "probability": float(proba[winner])}

    @app.get("/health")
    async def health() -> dict[str, int]:
        return {"largest_batch": batcher.largest_batch}

    return app


# %%
# A real server
# -------------
# The server is a process of its own, as it is in production. 200 clients ask at the
# same time; then one client asks again and again, which shows what HTTP costs. It is
# that of Python's standard library, since httpx itself takes a millisecond.


def start_server(model: Path, port: int) -> subprocess.Popen[bytes]:
    r"""Return the process of a server that answers."""
    options = ["--factory", "--app-dir", str(Path(__file__).parent)]
    options += ["--port", str(port), "--log-level", "warning"]
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "serving:make_app", *options],
        env={**os.environ, "MODEL": str(model)},
    )
    with httpx.Client() as client:
        while server.poll() is None:
            try:
                client.get(f"http://127.0.0.1:{port}/health").raise_for_status()
            except httpx.TransportError:
                time.sleep(0.1)
            else:
                return server
    raise RuntimeError(f"The server ended with the exit status {server.returncode}.")


async def ask_together(url: str, rows: list[list[float]]) -> list[Any]:
    r"""Return the answers to all rows, each asked for by a client of its own."""
    limits = httpx.Limits(max_connections=len(rows))
    async with httpx.AsyncClient(limits=limits, timeout=60) as client:
        requests = [client.post(url, json={"row": row}) for row in rows]
        return await asyncio.gather(*requests, return_exceptions=True)


def ask_for_one(connection: HTTPConnection, row: list[float]) -> Any:
    r"""Return the answer to a row, by a client that takes little time of its own."""
    headers = {"Content-Type": "application/json"}
    connection.request("POST", "/predict", json.dumps({"row": row}), headers)
    response = connection.getresponse()
    answer = json.load(response)
    if response.status != 200:
        raise RuntimeError(f"The server refused a row: {response.status}, {answer}")
    return answer


def median_time(ask: Any, rows: list[list[float]]) -> float:
    r"""Return the median of the milliseconds that a row takes."""
    times = []
    for row in rows:
        start = time.perf_counter()
        ask(row)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def main() -> None:
    r"""Train a classifier, serve it, and ask for predictions."""
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, _ = train_test_split(X, y, random_state=0)
    classifier = SoftmaxMLPClassifier(
        (64,), n_estimators=4, max_epochs=10, random_state=0
    )
    classifier.fit(X_train, y_train)
    rows = X_test[:200].tolist()
    expected = classifier.predict(X_test[:200]).tolist()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/predict"
    with TemporaryDirectory() as folder:
        save(classifier, Path(folder) / "digits.safetensors")
        server = start_server(Path(folder) / "digits.safetensors", port)
    try:
        answers = asyncio.run(ask_together(url, rows))
        n_right = sum(
            getattr(answer, "status_code", None) == 200
            and answer.json()["label"] == label
            for answer, label in zip(answers, expected, strict=True)
        )
        print(f"{len(answers)} requests at a time, {len(answers) - n_right} failed")
        with httpx.Client() as client:
            health = client.get(url.replace("predict", "health")).json()
            print(f"largest batch: {health['largest_batch']} rows")
            refused = client.post(url, json={"row": [0.0, 1.0]})
            print(f"a row of another length: {refused.status_code}")
        with closing(HTTPConnection("127.0.0.1", port)) as connection:
            served = median_time(lambda row: ask_for_one(connection, row), rows)
        bare = median_time(lambda row: classifier.predict_proba([row]), rows)
        print(f"one row: {served:.2f} ms by HTTP, {bare:.2f} ms without")
    finally:
        server.terminate()
        server.wait()


# The server imports this file, and must not start a server of its own.
if __name__ == "__main__":
    main()
