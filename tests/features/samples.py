# SPDX-License-Identifier: Apache-2.0
"""Features and ugly bars for the feature tests."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from mtquant.data.bars import NANOSECONDS, Bars
from mtquant.features import kernels
from mtquant.features.catalog import CATALOG, MOST_PARAMETERS, FeatureSpec, parse_feature
from tests.support.builders import bars_from_closes, make_bars

RECURSIVE = ("ewma_volatility", "rsi", "atr", "macd")


def short_name(kind: str, extra: int = 0) -> str:
    """A feature of the kind with its smallest parameters plus `extra`: short warm-ups."""
    return "_".join([kind, *(str(smallest + extra) for smallest in CATALOG[kind].minimum)])


EVERY_KIND = tuple(short_name(kind, extra=1) for kind in CATALOG)
WINDOWED = tuple(short_name(kind, extra=1) for kind in CATALOG if kind not in RECURSIVE)

feature_names = st.builds(short_name, st.sampled_from(tuple(CATALOG)), st.integers(0, 3))
feature_lists = st.lists(feature_names, min_size=1, max_size=6, unique=True)


def bar_tuples(bars: Bars) -> list[tuple[float, ...]]:
    """Bars as the kernels read them."""
    seconds = (bars.stamps // NANOSECONDS).astype(np.float64)
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume, seconds)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def padded(spec: FeatureSpec) -> tuple[float, ...]:
    """A feature's parameters as the kernels read them."""
    return tuple(float(number) for number in spec.params) + (0.0,) * (
        MOST_PARAMETERS - len(spec.params)
    )


def exact_values(name: str, bars: Bars) -> NDArray[np.float64]:
    """Values before they are rounded to float32, float64 [T - warm-up]."""
    spec = parse_feature(name)
    state = np.zeros(spec.state_size - 1)
    code = CATALOG[spec.kind].code
    values = [kernels.update_feature(code, padded(spec), state, bar) for bar in bar_tuples(bars)]
    return np.array(values[spec.warmup_bars :])


def ugly_bars() -> dict[str, Bars]:
    """Bars that passed the check and still divide by zero, or nearly: 120 rows each."""
    n = 120
    rows = np.arange(n)
    return {
        "flat": bars_from_closes(np.full(n, 0.1)),
        "one tick once": bars_from_closes(np.where(rows < 60, 1.1, 1.10001)),
        "one tick to and fro": bars_from_closes(1e5 + 1e-5 * (rows % 2)),
        "huge gaps": bars_from_closes(np.where(rows % 7 < 3, 1e-6, 1e9)),
        "moves, then flat": bars_from_closes(np.where(rows < 10, 1.0 + rows, 10.0)),
        "steady growth": bars_from_closes(1.01**rows),
        "steady fall": bars_from_closes(0.5**rows),
        "walk": make_bars(n=n, gap=0.1, missing_frac=0.5),
    }
