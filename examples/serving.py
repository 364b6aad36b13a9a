r"""
Serving predictions over HTTP
=============================

A web service answers many requests at a time, each with one row, and a net predicts a
hundred rows in hardly more time than a single one. This service collects the rows that
wait and predicts them together. Needs ``pip install fastapi uvicorn httpx`` and takes
ten seconds.
"""

# %%
# A batch of the rows that wait
# -----------------------------
# While a thread predicts a batch, the event loop accepts further requests; their rows are
# the next batch. So nobody waits for a batch to fill up: a single row is predicted at
# once.
import asyncio
import os
import socket
import sys
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import httpx
import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import AfterValidator, BaseModel, FiniteFloat
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sksoftmax import SoftmaxMLPClassifier
from sksoftmax.persistence import load, save

MOST_ROWS = 1024


class Batcher:
    r"""Predictions of single rows, computed for all rows that wait at the time."""

    def __init__(self, classifier):
        self.classifier = classifier
        self.queue = asyncio.Queue()
        self.sizes = []

    async def predict_proba(self, row):
        future = asyncio.get_running_loop().create_future()
        self.queue.put_nowait((row, future))
        return await future

    async def run(self):
        while True:
            waiting = [await self.queue.get()]
            while not self.queue.empty() and len(waiting) < MOST_ROWS:
                waiting.append(self.queue.get_nowait())
            rows, futures = zip(*waiting, strict=True)
            self.sizes.append(len(rows))
            try:
                proba = await asyncio.to_thread(
                    self.classifier.predict_proba, np.array(rows)
                )
            except Exception as error:
                for future in futures:
                    if not future.done():
                        future.set_exception(error)
                continue
            for future, probabilities in zip(futures, proba, strict=True):
                # A client that hung up has cancelled its future.
                if not future.done():
                    future.set_result(probabilities)


