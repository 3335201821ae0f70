# SPDX-License-Identifier: Apache-2.0
"""A specialist's world with features of longer bars."""

from __future__ import annotations

import numpy as np

from mtquant.data.resample import resample
from mtquant.features.pipeline import FeaturePipeline
from mtquant.features.timeframes import TimeframePipeline
from tests.support.markets import walk_world


def test_weekly_features_of_daily_bars() -> None:
    world = walk_world("features.catalog=[log_return_1, log_return_30@1w]")
    names = ("log_return_1", "log_return_30@1w", "age_bars", "age_bars@1w")
    manifest = world.manifest()
    assert manifest["feature_names"] == names
    # Training begins when the 31st week has closed: files of days that are no sessions are days of
    # UTC, and so are their weeks.
    bars = world.bars["EURUSD"]
    weeks = resample(bars, "1w")
    assert world.rows["train"].start == np.searchsorted(bars.stamps, weeks.stamps[30])
    values = FeaturePipeline(["log_return_30"]).compute(weeks)[:, 0]
    last = np.searchsorted(weeks.stamps, bars.stamps, side="right") - 1
    rows = world.features[world.rows["train"].start :, 0, 1]
    assert rows.tobytes() == values[last[world.rows["train"].start :]].tobytes()
    pipeline = TimeframePipeline(names[:2], {"EURUSD": None})
    assert manifest["features_hash"] == pipeline.hash()
