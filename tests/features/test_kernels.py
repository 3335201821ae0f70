# SPDX-License-Identifier: Apache-2.0
"""The switch over kinds and its loops."""

from __future__ import annotations

import numpy as np

from mtquant.features import kernels
from mtquant.features.catalog import CATALOG
from mtquant.features.pipeline import FeaturePipeline
from tests.features.samples import EVERY_KIND, bar_tuples
from tests.support.builders import make_bars


def test_a_code_outside_the_catalogue_is_nan() -> None:
    bar = bar_tuples(make_bars(n=2))[0]
    assert np.isnan(kernels.update_feature(len(CATALOG), (0.0, 0.0, 0.0), np.zeros(1), bar))


def test_any_list_of_features_runs_on_one_compilation() -> None:
    bars = make_bars(n=50)
    for names in (EVERY_KIND, ["hour_sin"], ["rsi_14", "stochastic_5"]):
        pipeline = FeaturePipeline(names)
        pipeline.compute(bars)
        pipeline.stream().update(1.0, 1.0, 1.0, 1.0, 0.0, 0)
    assert len(kernels.batch.signatures) == 1
    assert len(kernels.stream_row.signatures) == 1
    assert len(kernels.update_feature.signatures) == 1
