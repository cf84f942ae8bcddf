"""A table with numbers and a category: a pipeline, a search, a file, and the same predictions from that file.

Scikit-learn's 442 patients: their sex is a category, all else is numbers, and what is learnt is how far their diabetes
has gone a year later.

    python examples/tabular.py [diabetes.joblib]
"""

from __future__ import annotations

import sys

import joblib
import numpy as np
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.datasets import load_diabetes
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fastgd.sklearn import MLPRegressor

# Among the columns.
SEX = 1


def build_search():
    """Return a search for the best options of a network behind the preparation of the columns."""
    columns = make_column_transformer((OneHotEncoder(drop="if_binary"), [SEX]), remainder=StandardScaler())
    network = MLPRegressor("huber", activation="tanh", learning_rate_init=0.01, early_stopping=True, random_state=0)
    pipeline = make_pipeline(columns, TransformedTargetRegressor(network, transformer=StandardScaler()))
    options = {"alpha": [1.0, 10.0, 30.0], "hidden_layer_sizes": [(), (8,), (32,)]}
    return GridSearchCV(
        pipeline,
        {f"transformedtargetregressor__regressor__{name}": values for name, values in options.items()},
        scoring="neg_mean_absolute_error",
        cv=5,
    )


def main(path="diabetes.joblib"):
    """Search, test, save, load."""
    patients, progression = load_diabetes(return_X_y=True, scaled=False)
    X, X_test, y, y_test = train_test_split(patients, progression, test_size=0.25, random_state=0)
    search = build_search().fit(X, y)
    for name, value in search.best_params_.items():
        print(f"{name.rpartition('__')[2]}: {value}")

    predictions = search.predict(X_test)
    error = mean_absolute_error(y_test, predictions)
    guess = mean_absolute_error(y_test, np.full(len(y_test), np.median(y)))
    print(f"mean absolute error on new patients {error:.1f}; of the median of the others, {guess:.1f}")

    joblib.dump(search.best_estimator_, path)
    if not (joblib.load(path).predict(X_test) == predictions).all():
        sys.exit("the loaded pipeline predicts something else")
    print(f"the pipeline is saved: {path}")
    if error > 0.85 * guess:
        sys.exit("the network learnt too little")


if __name__ == "__main__":
    main(*sys.argv[1:])
