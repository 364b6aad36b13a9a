r"""
Fine-tuning: a pretrained backbone in a grid search
===================================================

A small net of torchvision is pretrained on some digits, and then learns others from
60 images: its layers are frozen at first, and learn later at a lower rate than the new
head. Everything happens inside scikit-learn's ``GridSearchCV``. Nothing is downloaded:
the weights come from a file that the example writes itself. Needs
``pip install matplotlib``.
"""

# %%
# Images as they come
# -------------------
# Gray digits of 8 x 8 pixels become color images of 32 x 32 pixels, channels last, as
# Pillow and matplotlib have them. They go to ``fit`` as they are: the classifier moves
# the channels to the front, where PyTorch has them.
import shutil
import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, train_test_split
from torch import nn
from torchvision.models import ShuffleNetV2

from sksoftmax import SoftmaxNetClassifier
from sksoftmax.inspection import PredictionsDisplay

# Few epochs keep the example short; `fit` would warn that more lower the loss.
warnings.simplefilter("ignore", ConvergenceWarning)

pixels, digits = load_digits(return_X_y=True)
gray = (pixels.reshape(-1, 8, 8) * 15.9).astype(np.uint8)
images = np.stack([gray.repeat(4, axis=1).repeat(4, axis=2)] * 3, axis=-1)
print("images:", images.shape, images.dtype)

# %%
# A backbone and a head
# ---------------------
# The module is any function or class that is called with the number of features and
# the number of classes. Where there is a network, the backbone would be
# ``torchvision.models.resnet18(weights="DEFAULT")``, which knows ImageNet.


class FineTuned(nn.Module):
    def __init__(self, n_features, n_classes, weights=None):
        super().__init__()
        self.backbone = ShuffleNetV2([1, 2, 1], [24, 32, 64, 128, 256])
        self.backbone.fc = nn.Identity()
        if weights is not None:
            self.backbone.load_state_dict(torch.load(weights, weights_only=True))
        self.head = nn.Linear(256, n_classes)

    def forward(self, images):
        return self.head(self.backbone(images / 255))


# %%
# Pretraining
# -----------
# On the digits 0 to 6. The state of the backbone goes into a file.
is_known = digits < 7
pretrained = SoftmaxNetClassifier(
    FineTuned, max_epochs=5, learning_rate=0.01, lr_schedule="one_cycle", random_state=0
).fit(images[is_known], digits[is_known])
folder = tempfile.mkdtemp()
weights = Path(folder) / "backbone.pt"
torch.save(pretrained.module_.backbone.state_dict(), weights)
accuracy = pretrained.score(images[is_known], digits[is_known])
print(f"pretrained on {is_known.sum()} images of 0 to 6, accuracy {accuracy:.3f}")

# %%
# Fine-tuning
# -----------
# The digits 7, 8 and 9, of which there are 20 images each. The backbone is frozen for
# some epochs, with its batch normalizations; afterwards it learns at a tenth of the
# rate of the head. The patterns are those of the names of the parameters, which
# ``module_.named_parameters()`` lists. A search tries when to unfreeze, at which rates.
train, test, y_train, y_test = train_test_split(
    images[~is_known],
    digits[~is_known],
    train_size=60,
    stratify=digits[~is_known],
    random_state=0,
)
tuned = SoftmaxNetClassifier(
    FineTuned,
    module_params={"weights": weights},
    frozen=["backbone.*"],
    unfreeze_after=6,
    learning_rate={"head.*": 3e-3, "*": 3e-4},
    gradient_clipping=1.0,
    max_epochs=12,
    lr_schedule="one_cycle",
    random_state=0,
)
grid = {
    "unfreeze_after": [6, None],
    "learning_rate": [{"head.*": 3e-3, "*": 3e-4}, {"head.*": 1e-2, "*": 1e-3}],
}
search = GridSearchCV(tuned, grid, cv=2, scoring="neg_log_loss").fit(train, y_train)
for params, score in zip(
    search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
):
    print(f"log loss {-score:.3f}  {params}")
best = search.best_estimator_
print(f"fine-tuned: test accuracy {best.score(test, y_test):.3f}")

# %%
# The most confident mistakes among the test images:
PredictionsDisplay.from_estimator(best, test, y_test, n_images=10)
plt.show()

# %%
# From scratch
# ------------
# The same net without the pretrained weights, all of it at one rate.
scratch = SoftmaxNetClassifier(
    FineTuned, max_epochs=12, lr_schedule="one_cycle", random_state=0
).fit(train, y_train)
print(f"from scratch: test accuracy {scratch.score(test, y_test):.3f}")
shutil.rmtree(folder)
