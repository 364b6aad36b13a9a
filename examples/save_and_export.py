r"""
Save and export
===============

A fitted classifier is stored in one of three forms: a file of this package, a pipeline
of scikit-learn in a file of skops, and a graph for runtimes without Python. None of
them is a pickle, which executes code when it is loaded. Needs
``pip install onnx onnxruntime skl2onnx skops``, and takes a few seconds.
"""

# %%
# A table of passengers
# ---------------------
# The table is generated. As real tables, it has a column of text, missing values, and
# words as labels.
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from skops.card import Card

from sksoftmax import SoftmaxMLPClassifier
from sksoftmax.persistence import (
    TRUSTED_TYPES,
    InvalidFileError,
    load,
    save,
    to_onnx,
)

rng = np.random.default_rng(0)
n_rows = 1000
table = pd.DataFrame(
    {
        "age": rng.integers(1, 80, n_rows).astype(float),
        "fare": rng.gamma(2.0, 15.0, n_rows),
        "port": rng.choice(["Cherbourg", "Queenstown", "Southampton"], n_rows),
    }
)
is_dear = table["fare"] + 20 * (table["port"] == "Cherbourg") > 40
y = np.where(is_dear, "first", np.where(table["age"] < 30, "third", "second"))
table.loc[::9, "age"] = np.nan

classifier = SoftmaxMLPClassifier(n_estimators=4, random_state=0)
classifier.fit(table, y)
probabilities = classifier.predict_proba(table)
print(f"accuracy {classifier.score(table, y):.3f}")

scratch = tempfile.TemporaryDirectory()
folder = Path(scratch.name)

# %%
# One file, no pickle
# -------------------
# The file has the parameters as safetensors and everything else as JSON. The loaded
# classifier predicts the same bits, and can be trained further.
save(classifier, folder / "passengers.safetensors")
loaded = load(folder / "passengers.safetensors")
is_same = (loaded.predict_proba(table) == probabilities).all()
size = (folder / "passengers.safetensors").stat().st_size
print(f"{size / 1e3:.0f} kB, the same to the last bit: {is_same}")

# %%
# A damaged file raises an error, and so does any other file.
contents = bytearray((folder / "passengers.safetensors").read_bytes())
contents[-1] ^= 1
(folder / "damaged.safetensors").write_bytes(contents)
try:
    load(folder / "damaged.safetensors")
except InvalidFileError as error:
    print(f"refused: {'checksum' in str(error)}")

# %%
# A whole pipeline
# ----------------
# skops stores scikit-learn's own types without pickle. Other types that may be loaded
# are listed in ``trusted``.
columns = ColumnTransformer(
    [("numbers", StandardScaler(), ["fare"]), ("text", OneHotEncoder(), ["port"])],
    sparse_threshold=0,
)
pipeline = make_pipeline(
    columns, SoftmaxMLPClassifier(n_estimators=4, random_state=0)
).fit(table, y)
skops.io.dump(pipeline, folder / "pipeline.skops")
again = skops.io.load(folder / "pipeline.skops", trusted=TRUSTED_TYPES)
is_same = (again.predict_proba(table) == pipeline.predict_proba(table)).all()
print(f"pipeline, the same to the last bit: {is_same}")

# %%
# A model card
# ------------
# A card says what a model is for, how it was trained and how good it is. skops writes
# the parameters, the diagram of the pipeline and the scores.
card = Card(pipeline)
card.add(**{"Model description": "Classes of passengers, from their fares and ports."})
card.add_metrics(accuracy=round(pipeline.score(table, y), 3))
card.save(folder / "README.md")
text = (folder / "README.md").read_text(encoding="utf-8")
n_parameters = text.count("softmaxmlpclassifier__")
print(f"card with {n_parameters} parameters of the classifier")

# %%
# A graph for other runtimes
# --------------------------
# The graph has an input for each column. Numbers may be missing, text may not.
for name, model in [("classifier", classifier), ("pipeline", pipeline)]:
    to_onnx(model, table[:5], folder / f"{name}.onnx")
    session = onnxruntime.InferenceSession(folder / f"{name}.onnx")
    inputs = {one.name: table[[one.name]].to_numpy() for one in session.get_inputs()}
    label, proba = session.run(["label", "probabilities"], inputs)
    difference = np.abs(proba - model.predict_proba(table)).max()
    print(
        f"{name} in onnxruntime: labels equal {(label == model.predict(table)).all()}, "
        f"probabilities differ by {difference:.0e}"
    )

scratch.cleanup()
