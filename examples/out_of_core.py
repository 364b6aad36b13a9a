r"""
Data larger than memory
=======================

Three kinds of tables: a Parquet file, read by row groups; a Dask array, computed by
blocks; and an array in a file, which ``fit`` reads in parts. The tables here are small,
so that the example takes seconds; the loops are the same for large tables. Needs
``pip install "dask[array]" pyarrow``.
"""

# %%
# Parquet
# -------
# A Parquet file is read by row groups. ``partial_fit`` makes one pass over each, at a
# constant learning rate; several passes over all of them are several epochs.
import tempfile
from pathlib import Path

import dask.array as da
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.datasets import load_digits

from sksoftmax import SoftmaxMLPClassifier

table = load_digits(as_frame=True).frame.sample(frac=1, random_state=0)
X, y = table.drop(columns="target").to_numpy(np.float32), table["target"].to_numpy()
scratch = tempfile.TemporaryDirectory()
folder = Path(scratch.name)
pq.write_table(
    pa.Table.from_pandas(table), folder / "digits.parquet", row_group_size=300
)

file = pq.ParquetFile(folder / "digits.parquet")
classifier = SoftmaxMLPClassifier(
    (64,), n_estimators=2, learning_rate=0.003, batch_size=64, random_state=0
)
for _ in range(10):
    for group in range(file.num_row_groups):
        rows = file.read_row_group(group).to_pandas()
        classifier.partial_fit(
            rows.drop(columns="target"), rows["target"], classes=np.arange(10)
        )
accuracy = classifier.score(table.drop(columns="target"), table["target"])
print(f"Parquet: {file.num_row_groups} row groups, accuracy {accuracy:.3f}")

# %%
# Dask
# ----
# A block is computed within ``partial_fit``, and is freed afterwards.
rows, labels = da.from_array(X, chunks=(300, 64)), da.from_array(y, chunks=300)
classifier = SoftmaxMLPClassifier(
    (64,), n_estimators=2, learning_rate=0.003, batch_size=64, random_state=0
)
for _ in range(10):
    for block in range(rows.numblocks[0]):
        classifier.partial_fit(
            rows.blocks[block], labels.blocks[block], classes=np.arange(10)
        )
print(f"Dask: {rows.numblocks[0]} blocks, accuracy {classifier.score(X, y):.3f}")

# %%
# An array in a file
# ------------------
# ``fit`` works as with an array in memory, to the same bits: batches from the whole
# table, a schedule, early stopping. The rows of a batch are read when they are used.
np.save(folder / "digits.npy", X)
mapped = np.load(folder / "digits.npy", mmap_mode="r")
in_memory, on_disk = (
    SoftmaxMLPClassifier((64,), n_estimators=2, max_epochs=10, random_state=0)
    .fit(data, y)
    .predict_proba(X)
    for data in (X, mapped)
)
print(f"file: the same to the last bit: {np.array_equal(in_memory, on_disk)}")

del mapped
file.close()
scratch.cleanup()
