r"""
Image files: from folders to a submission
=========================================

The usual form of a competition with images: a folder of files for each class, a folder
of files without labels, and a table of predictions to hand in. The files here are the
digits of scikit-learn, written into a temporary folder, so that the example needs no
download. Needs ``pip install matplotlib``.
"""

# %%
# The files
# ---------
# ``train`` has a folder for each class, ``test`` has no labels. The images differ in
# size, as those of cameras do.
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from sksoftmax import ImageReader, SoftmaxCNNClassifier, SoftmaxRegression
from sksoftmax.datasets import load_image_folder

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]

digits = load_digits()
answers = np.array(WORDS)[digits.target]
scratch = tempfile.TemporaryDirectory()
folder = Path(scratch.name)
for number, (pixels, answer) in enumerate(zip(digits.images, answers, strict=True)):
    place = folder / "train" / answer if number < 1200 else folder / "test"
    place.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray((pixels * 15).astype(np.uint8))
    side = 12 + number % 9
    image.resize((side, side)).save(place / f"{number:04d}.png")

# %%
# Paths and labels
# ----------------
# No file is opened yet. With ``as_frame=True`` there would be a DataFrame of them.
train = load_image_folder(folder / "train")
print(train.DESCR.replace(str(folder), "..."))

_, axes = plt.subplots(2, 5, figsize=(6, 3), layout="constrained")
shown = [*range(0, len(train.data), 121)]
for ax, row in zip(axes.flat, shown, strict=True):
    ax.imshow(Image.open(train.data[row]), cmap="gray_r")
    ax.set_title(train.target[row], fontsize=9)
    ax.set_axis_off()
plt.show()

# %%
# From paths to predictions
# -------------------------
# ``ImageReader`` is the first step of the pipeline. It turns each file into a row of
# pixels, of one size and one mode. Folds and searches split the paths, and ``predict``
# takes paths. ``n_jobs=2`` would read in two processes, which pays for thousands of
# files or for large ones.
classifier = make_pipeline(
    ImageReader((8, 8), mode="L"),
    SoftmaxCNNClassifier(channels=(16, 32), max_epochs=8, random_state=0),
)
scores = cross_val_score(classifier, train.data, train.target, cv=3)
print(f"accuracy of three folds: {scores.mean():.3f} +- {scores.std():.3f}")

# %%
# The size of the images is a parameter like any other. A linear classifier compares
# several in a moment.
search = GridSearchCV(
    make_pipeline(ImageReader(mode="L"), SoftmaxRegression(C=0.01)),
    {"imagereader__image_shape": [(4, 4), (8, 8), (12, 12)]},
    cv=3,
).fit(train.data, train.target)
results = search.cv_results_
for params, score in zip(results["params"], results["mean_test_score"], strict=True):
    print(f"{params['imagereader__image_shape']}: accuracy {score:.3f}")

# %%
# Broken files
# ------------
# The error names all files that Pillow cannot read, and their rows.
(folder / "test" / "9999.png").write_bytes(b"<html>404 Not Found</html>")
paths = sorted((folder / "test").glob("*.png"))
try:
    ImageReader((8, 8), mode="L").fit_transform(paths)
except ValueError as error:
    print(str(error).replace(str(folder), "..."))
paths[-1].unlink()
paths = paths[:-1]

# %%
# More images than memory
# -----------------------
# Rows of more than ``max_nbytes`` bytes are a file in ``temp_folder``, which ``fit``
# and ``predict`` read in parts. The file is deleted with the array. Here, 0 bytes make
# a file of all.
rows = ImageReader((8, 8), mode="L", max_nbytes=0).fit_transform(train.data)
print(f"{type(rows).__name__} of shape {rows.shape}, {rows.dtype}")

# %%
# Submission
# ----------
# A row for each file without a label, with its name and the predicted class.
classifier.fit(train.data, train.target)
submission = pd.DataFrame(
    {"file": [path.name for path in paths], "class": classifier.predict(paths)}
)
submission.to_csv("submission.csv", index=False)
print(submission.head(3).to_string(index=False))
accuracy = (submission["class"] == answers[1200:]).mean()
print(f"submission.csv: {len(submission)} rows, accuracy {accuracy:.3f}")

del rows
scratch.cleanup()
