r"""
MLflow: runs, curves and models
===============================

MLflow stores each run: parameters, the curve of every epoch, the model itself. skorch
has a callback that logs epochs. MLflow stores a scikit-learn pipeline with skops,
without pickle, given the list of trusted types. Needs ``pip install mlflow skops``, and
takes some ten seconds, most of them for MLflow's database.
"""

# %%
# A run
# -----
# Here the database is in a temporary folder; without these lines it is ``mlflow.db``.
import tempfile
from pathlib import Path

import mlflow
import numpy as np
from mlflow.tracking import MlflowClient
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import MlflowLogger

from sksoftmax import SoftmaxMLPClassifier
from sksoftmax.persistence import TRUSTED_TYPES

scratch = tempfile.TemporaryDirectory()
mlflow.set_tracking_uri(f"sqlite:///{scratch.name}/mlflow.db")
mlflow.create_experiment("wine", Path(scratch.name, "artifacts").as_uri())
mlflow.set_experiment("wine")

wine = load_wine(as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(
    wine.data, wine.target_names[wine.target], stratify=wine.target, random_state=0
)

# %%
# ``set_output`` lets the names of the columns pass through the scaler.
with mlflow.start_run() as run:
    classifier = SoftmaxMLPClassifier(
        (32,),
        n_estimators=2,
        max_epochs=10,
        early_stopping=False,
        random_state=0,
        callbacks=[MlflowLogger(run, MlflowClient(), terminate_after_train=False)],
    )
    pipeline = make_pipeline(
        StandardScaler().set_output(transform="pandas"), classifier
    ).fit(X_train, y_train)
    # The logger belongs to this run, not to the model.
    classifier.set_params(callbacks=None)
    mlflow.log_params({"learning_rate": classifier.learning_rate})
    mlflow.log_metric("accuracy", pipeline.score(X_test, y_test))
    model = mlflow.sklearn.log_model(
        pipeline,
        name="model",
        skops_trusted_types=TRUSTED_TYPES,
        # MLflow would need a while to infer the requirements.
        pip_requirements=["sksoftmax"],
    )

# %%
# Stored results
# --------------
history = MlflowClient().get_metric_history(run.info.run_id, "train_loss")
print("training loss by epoch:", *(f"{metric.value:.3f}" for metric in history))

loaded = mlflow.sklearn.load_model(model.model_uri)
is_same = np.array_equal(loaded.predict_proba(X_test), pipeline.predict_proba(X_test))
print(f"accuracy {loaded.score(X_test, y_test):.3f}")
print(f"the same to the last bit: {is_same}")
print(f"columns: {', '.join(loaded[-1].feature_names_in_[:3])}, ...")
scratch.cleanup()
