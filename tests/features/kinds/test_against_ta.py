# SPDX-License-Identifier: Apache-2.0
"""Every indicator that `ta` 0.11.0 has, to 1e-9; the table is also what the benchmark runs."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.features.catalog import parse_feature
from tests.features.samples import exact_values
from tests.support.builders import make_bars
from tests.support.ta_features import TA_FEATURES


@pytest.mark.parametrize("name", TA_FEATURES)
@pytest.mark.parametrize("start_price", [1.1, 30_000.0])
def test_values_are_those_of_ta(name: str, start_price: float) -> None:
    bars = make_bars(n=700, seed=11, gap=0.001, start_price=start_price)
    warmup_bars = parse_feature(name).warmup_bars
    expected = TA_FEATURES[name](bars.to_frame()).to_numpy()[warmup_bars:]
    found = exact_values(name, bars)
    if name in ("plus_di_14", "minus_di_14", "adx_14"):
        # ta leaves its last row unfinished: its loop ends one before it.
        found, expected = found[:-1], expected[:-1]
    # 1e-9 is what we promise; it is also the weight of the start, where ta begins otherwise.
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
