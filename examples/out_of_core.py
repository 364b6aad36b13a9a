r"""
Data larger than memory
=======================

Three forms of it: a Parquet file, read by row groups; a Dask array, computed by blocks;
and an array in a file, which ``fit`` takes as it is. The tables here are small, so that
the example takes seconds; the loops are those for large ones. Needs
``pip install "sksoftmax[distributed]"``.
"""

# %%
# Parquet
# -------
# A row group is what a Parquet file is read by. ``partial_fit`` makes one pass over
# each, at a constant learning rate; several passes over all of them are several epochs.
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
# A block is computed when ``partial_fit`` asks for its numbers, and is gone afterwards.
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
# ``fit`` does all that it does with an array in memory, to the same bits: batches from
# anywhere in the table, a schedule, early stopping. Rows are read as they are needed.
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
