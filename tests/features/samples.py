# SPDX-License-Identifier: Apache-2.0
"""Features, the peer they compare with, and ugly bars for the feature tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from mtquant.data.bars import Bars
from mtquant.data.instruments import Session
from mtquant.features import kernels
from mtquant.features.catalog import CATALOG, FAMILY_OF, parse_feature
from mtquant.features.past import BLOCK_ROWS, PEERS, empty_past, take_in
from mtquant.features.pipeline import FeaturePipeline
from mtquant.features.stream import FeatureStream
from tests.support.builders import bars_from_closes, make_bars

Values = NDArray[np.float64]
Rows = NDArray[np.float32]

PEER = "SPX500"
SESSIONS = {
    "EURUSD": Session(timezone="America/New_York", close="17:00", week_opens="sunday"),
    "US30": Session(timezone="America/New_York", close="16:00", week_opens="monday"),
}


def short_name(kind: str, extra: int = 0) -> str:
    """A feature of the kind with its smallest parameters plus `extra`: short warm-ups."""
    steps = {"hurst": (16,), "autocorrelation": (2, 1)}.get(kind, (1, 1, 1))
    numbers = [
        str(least + extra * step) for least, step in zip(CATALOG[kind].minimum, steps, strict=False)
    ]
    peer = f":{PEER}" if CATALOG[kind].needs == "peer" else ""
    return "_".join([kind, *numbers]) + peer


EVERY_KIND = tuple(short_name(kind, extra=1) for kind in CATALOG)
WINDOWED = tuple(short_name(kind, extra=1) for kind in CATALOG if CATALOG[kind].state_size == 0)
RECURSIVE = tuple(kind for kind in CATALOG if CATALOG[kind].state_size > 0)

feature_names = st.builds(short_name, st.sampled_from(tuple(CATALOG)), st.integers(0, 3))
feature_lists = st.lists(feature_names, min_size=1, max_size=6, unique=True)


def pipeline_of(names: Sequence[str]) -> FeaturePipeline:
    """A pipeline that knows the sessions."""
    return FeaturePipeline(names, sessions=SESSIONS)


def companion(bars: Bars, missing: int = 3) -> Bars:
    """Bars of the peer: a walk of its own, every third bar not traded."""
    generator = np.random.Generator(np.random.PCG64(len(bars)))
    closes = np.exp(np.cumsum(generator.normal(0.0, 0.003, len(bars))))
    whole = bars_from_closes(closes, symbol=PEER, bar_seconds=bars.bar_seconds)
    traded = np.arange(len(bars)) % missing != missing - 1
    return Bars(
        symbol=PEER,
        stamps=bars.stamps[traded],
        open=whole.open[traded],
        high=whole.high[traded],
        low=whole.low[traded],
        close=whole.close[traded],
        volume=whole.volume[traded],
        quote="USD",
        bar_seconds=bars.bar_seconds,
    )


def features_of(pipeline: FeaturePipeline, bars: Bars, peer: Bars | None = None) -> Rows:
    """`compute` beside the peer."""
    return pipeline.compute(bars, [companion(bars) if peer is None else peer])


def known_close(peer: Bars, stamp: int) -> float:
    """The peer's last close at or before a stamp, by search from the left."""
    known = [close for when, close in zip(peer.stamps, peer.close, strict=True) if when <= stamp]
    return known[-1] if known else np.nan


def feed(stream: FeatureStream, bars: Bars, rows: range, peer: Bars | None = None) -> Rows:
    """The rows of a stream, float32 [len(rows), F]."""
    peer = companion(bars) if peer is None else peer
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume, bars.stamps)
    return np.array(
        [
            stream.update(
                *(column[t] for column in columns),
                peers={PEER: known_close(peer, bars.stamps[t])},
            )
            for t in rows
        ]
    )


def exact_values(name: str, bars: Bars, peer: Bars | None = None) -> Values:
    """Values before they are rounded to float32, float64 [T - warm-up]."""
    spec = parse_feature(name)
    kind = CATALOG[spec.kind]
    matrix = pipeline_of([name])._matrix(bars, [companion(bars) if peer is None else peer])
    past = empty_past(len(bars) + spec.warmup_bars, 1)
    first = past.shape[1] - BLOCK_ROWS
    past = np.concatenate((past, np.zeros((len(past), len(bars)))), axis=1)
    take_in(past, first, matrix, 0, len(bars))
    given = (*kind.numbers(*spec.params), 0.0, 0.0, 0.0, 0.0)[:4]
    state = np.zeros(kind.state_size + 1)
    begin = 0 if kind.state_size else spec.warmup_bars
    values = [
        kernels.update_feature(
            FAMILY_OF[spec.kind], kind.code, given, PEERS, past, first + t, state
        )[kind.output]
        for t in range(begin, len(bars))
    ]
    return np.array(values[spec.warmup_bars - begin :])


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
