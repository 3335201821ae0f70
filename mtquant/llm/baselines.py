# SPDX-License-Identifier: Apache-2.0
"""Simple rivals: what every report of a language model has to be read beside.

All see the features of the prompts as numbers and are fitted on the training part alone. Chances
are float64 [M, K], in the order of the labels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.llm.tasks.task import Examples

Float = NDArray[np.float64]

REGULARISATION = 1.0  # scikit-learn's C on standardised features
BOOST_SETTINGS = {"max_iter": 100, "learning_rate": 0.05, "max_leaf_nodes": 8}
FEWEST_IN_LEAF = 20


def base_rate(train: Examples, classes: int) -> Float:
    """Shares of the classes in the training part, float64 [K]; each counted once more, so that
    none is impossible (Laplace's rule of succession).
    """
    counts = np.bincount(train.columns["label"], minlength=classes) + 1.0
    shares: Float = counts / counts.sum()
    return shares


def logistic_chances(train: Examples, examples: Examples, classes: int) -> Float:
    """Multinomial logistic regression on standardised features; the base rate without features.

    A feature that is missing counts as its mean in training.
    """
    from sklearn.linear_model import LogisticRegression

    inputs, targets = train.features()[0], train.columns["label"]
    if inputs.shape[1] == 0 or len(np.unique(targets)) < classes:
        return np.tile(base_rate(train, classes), (len(examples), 1))
    mean, scale = np.nanmean(inputs, axis=0), np.nanstd(inputs, axis=0)
    scale = np.where(scale > 0.0, scale, 1.0)
    model = LogisticRegression(C=REGULARISATION, max_iter=500)
    model.fit(np.nan_to_num((inputs - mean) / scale), targets)
    chances: Float = model.predict_proba(np.nan_to_num((examples.features()[0] - mean) / scale))
    return chances


def boosting_chances(train: Examples, examples: Examples, classes: int, seed: int) -> Float:
    """Histogram gradient boosting (Friedman 2001, "Greedy function approximation") with small,
    slow trees; the base rate without features.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    inputs, targets = train.features()[0], train.columns["label"]
    if inputs.shape[1] == 0 or len(np.unique(targets)) < classes:
        return np.tile(base_rate(train, classes), (len(examples), 1))
    model = HistGradientBoostingClassifier(
        **BOOST_SETTINGS,
        min_samples_leaf=min(200, max(FEWEST_IN_LEAF, len(targets) // 50)),
        random_state=seed,
    )
    model.fit(inputs, targets)
    chances: Float = model.predict_proba(examples.features()[0])
    return chances
