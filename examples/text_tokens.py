r"""
Texts: a bag of word vectors on token ids
=========================================

A text becomes a row of token ids, and a module of your own averages the vectors of its
words. Whole numbers reach a module that needs them as they are: no reshaping, no float
in between. The texts are short descriptions made up of phrases, since nothing is
downloaded. Needs ``pip install matplotlib``.
"""

# %%
# Texts
# -----
# Reports about three kinds of machines. Each names one or two typical symptoms among
# phrases that tell nothing.
import re

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from torch import nn

from sksoftmax import SoftmaxNetClassifier, SoftmaxRegression

SYMPTOMS = {
    "pump": ["leaks oil", "loses pressure", "runs dry", "seal is worn", "hums loudly"],
    "printer": ["jams paper", "prints stripes", "toner is low", "smears the ink"],
    "router": ["drops packets", "loses signal", "needs a reboot", "port is dead"],
}
PHRASES = [
    "since monday it",
    "the operator says it",
    "after the last service it",
    "please send someone, it",
    "again it",
    "in the north hall it",
    "as last week it",
]
rng = np.random.default_rng(0)
labels = rng.choice(list(SYMPTOMS), 900)
texts = [
    " and ".join(
        f"{rng.choice(PHRASES)} {rng.choice(SYMPTOMS[label])}"
        for _ in range(rng.integers(1, 3))
    )
    for label in labels
]
# One report in ten is filed under the wrong machine.
is_wrong = rng.random(len(labels)) < 0.1
labels[is_wrong] = rng.choice(list(SYMPTOMS), is_wrong.sum())
print(texts[0], "->", labels[0])

# %%
# Token ids
# ---------
# A transformer of a few lines: the known words are numbered from 2 on, 1 is an unknown
# word, and 0 fills up short texts. It returns integers of shape ``(n_texts, length)``.


class Tokens(TransformerMixin, BaseEstimator):
    def __init__(self, n_words=200, length=24):
        self.n_words = n_words
        self.length = length

    def fit(self, X, y=None):
        words, counts = np.unique(
            np.concatenate([self._words(text) for text in X]), return_counts=True
        )
        frequent = words[np.argsort(-counts, kind="stable")[: self.n_words - 2]]
        self.index_ = {word: index for index, word in enumerate(frequent, start=2)}
        return self

    def transform(self, X):
        tokens = np.zeros((len(X), self.length), dtype=np.int64)
        for row, text in zip(tokens, X, strict=True):
            found = [self.index_.get(word, 1) for word in self._words(text)]
            row[: len(found)] = found[: self.length]
        return tokens

    @staticmethod
    def _words(text):
        return re.findall(r"\w+", text.lower())


# %%
# A module on token ids
# ---------------------
# ``EmbeddingBag`` takes int64. The classifier sees that the module refuses float32 and
# that the rows are whole numbers, and passes them unchanged.


class BagOfWords(nn.Module):
    def __init__(self, n_features, n_classes, n_words=200, size=16):
        super().__init__()
        self.words = nn.EmbeddingBag(n_words, size, padding_idx=0)
        self.output = nn.Linear(size, n_classes)

    def forward(self, tokens):
        return self.output(self.words(tokens))


pipeline = make_pipeline(
    Tokens(),
    SoftmaxNetClassifier(
        BagOfWords,
        learning_rate=0.01,
        early_stopping=True,
        n_iter_no_change=3,
        random_state=0,
    ),
)
train, test, y_train, y_test = train_test_split(texts, labels, random_state=0)
pipeline.fit(train, y_train)
print(f"bag of words: test accuracy {pipeline.score(test, y_test):.3f}")

# %%
# A search reaches the arguments of the module, the optimizer's and those of the steps
# before it.
search = GridSearchCV(
    pipeline,
    {
        "softmaxnetclassifier__module__size": [4, 16],
        "softmaxnetclassifier__weight_averaging": [None, 0.95],
    },
    scoring="neg_log_loss",
    cv=3,
).fit(train, y_train)
print("best:", search.best_params_)
accuracy = (search.predict(test) == y_test).mean()
print(f"searched: test accuracy {accuracy:.3f}")

# %%
# The linear baseline is as good on such texts: only their words count.
baseline = make_pipeline(TfidfVectorizer(), SoftmaxRegression()).fit(train, y_train)
print(f"tf-idf and softmax regression: {baseline.score(test, y_test):.3f}")

# %%
# Vectors of words
# ----------------
# Words that belong to a machine lie far from the middle, in the direction of their
# machine. Words that tell nothing lie around zero. The picture shows the two principal
# components of the vectors, and the words that occur in the symptoms of one machine
# alone.
index = search.best_estimator_[0].index_
vectors = search.best_estimator_[1].module_.words.weight.detach().numpy()
points = PCA(n_components=2).fit_transform(vectors[list(index.values())])
words_of = {
    machine: set(Tokens._words(" ".join(symptoms)))
    for machine, symptoms in SYMPTOMS.items()
}
_, ax = plt.subplots(figsize=(6, 4), layout="constrained")
ax.scatter(*points.T, color="lightgray", label="other words")
for machine in words_of:
    of_others = set().union(*(words_of[name] for name in words_of if name != machine))
    own = np.isin(list(index), list(words_of[machine] - of_others))
    ax.scatter(*points[own].T, label=machine)
    for word, point in zip(np.array(list(index))[own], points[own], strict=True):
        ax.annotate(word, point, fontsize=7)
    length = np.linalg.norm(points, axis=1)
    print(
        f"{machine}: words at {length[own].mean() / length.mean():.1f} mean distances"
    )
ax.legend()
plt.show()
