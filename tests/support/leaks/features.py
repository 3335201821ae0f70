# SPDX-License-Identifier: Apache-2.0
"""User features that know later bars, each as somebody has written it in good faith."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import butter, filtfilt

from mtquant.data.bars import NANOSECONDS
from mtquant.features.registry import BarWindow, FeatureRegistry, LookbackFeature
from tests.support.leaks.market import closes_by_second

Rows = NDArray[np.float64]
OPEN, CLOSE, SECONDS = 0, 3, 5
HALF = 5


def last(window: BarWindow) -> float:
    """What a stream would make of it: nothing that anybody looks at."""
    return float(np.log(window.close[-1] / window.open[-1]))


@dataclass(frozen=True, kw_only=True)
class Whole(LookbackFeature):
    """A feature that is computed for all rows at once.

    Attributes:
        whole: float64 [6, T] -> [T].
    """

    whole: Callable[[Rows], Rows]

    def batch(self, rows: Rows) -> Rows:
        values = np.nan_to_num(np.asarray(self.whole(rows), dtype=np.float64))
        values[: self.warmup_bars] = np.nan
        return values


def returns(rows: Rows) -> Rows:
    close = rows[CLOSE]
    return np.concatenate(([0.0], np.diff(np.log(close))))


def moments(rows: Rows) -> pd.DatetimeIndex:
    return pd.DatetimeIndex((rows[SECONDS] * NANOSECONDS).astype(np.int64))


def centred_window(rows: Rows) -> Rows:
    return pd.Series(returns(rows)).rolling(2 * HALF + 1, center=True, min_periods=1).mean()


def full_sample_scaling(rows: Rows) -> Rows:
    own = returns(rows)
    return (own - own.mean()) / own.std()


def full_sample_ranks(rows: Rows) -> Rows:
    return returns(rows).argsort().argsort() / rows.shape[1]


def future_fill(rows: Rows) -> Rows:
    own = pd.Series(returns(rows))
    return own.where(np.arange(len(own)) % 4 == 0).bfill()


def interpolated(rows: Rows) -> Rows:
    own = pd.Series(np.log(rows[CLOSE] / rows[CLOSE, 0]))
    return own.where(np.arange(len(own)) % 6 == 0).interpolate() - own


def shifted_back(rows: Rows) -> Rows:
    return pd.Series(returns(rows)).shift(-1)


def smoothed_both_ways(rows: Rows) -> Rows:
    low_pass = butter(2, 0.1)
    return filtfilt(*low_pass, returns(rows))


def target_encoded(rows: Rows) -> Rows:
    later = pd.Series(returns(rows)).shift(-1)
    hours = pd.Series(moments(rows).hour)
    return hours.map(later.groupby(hours).mean())


def fitted_on_everything(rows: Rows) -> Rows:
    own = returns(rows)
    slope, level = np.polyfit(own[:-1], own[1:], 1)
    return slope * own + level


def day_at_its_start(rows: Rows) -> Rows:
    days = pd.Series(moments(rows).floor("D"))
    closes = pd.Series(rows[CLOSE]).groupby(days).transform("last")
    opens = pd.Series(rows[OPEN]).groupby(days).transform("first")
    return np.log(closes / opens)


def labelled_left(rows: Rows) -> Rows:
    close = pd.Series(rows[CLOSE], index=moments(rows))
    four = close.resample("4h", label="left", closed="right").last()
    return np.log(four.reindex(close.index, method="ffill") / close).to_numpy()


def session_close_filled(rows: Rows) -> Rows:
    close = pd.Series(rows[CLOSE])
    return (close.groupby(pd.Series(moments(rows).floor("D"))).transform("last") / close) - 1.0


def adjusted_to_today(rows: Rows) -> Rows:
    return np.log(rows[CLOSE] / rows[CLOSE, -1])


def dropped_by_outcome(rows: Rows) -> Rows:
    own = pd.Series(returns(rows))
    survives = own.shift(-1).abs() < own.abs().quantile(0.9)
    return own.where(survives).ffill()


def looked_up_by_row(rows: Rows) -> Rows:
    """The next bar's return, out of a table that was computed elsewhere, by row number."""
    close = closes_by_second()
    return np.log(close.shift(-1) / close).to_numpy()[: rows.shape[1]]


@cache
def next_move() -> dict[float, float]:
    """The next bar's return by stamp, computed elsewhere."""
    close = closes_by_second()
    return np.log(close.shift(-1) / close).fillna(0.0).to_dict()


@cache
def event_moves() -> dict[float, float]:
    """Events dated by when they happened: what they did to prices was known five bars later."""
    close = closes_by_second()
    moved = np.log(close.shift(-5) / close).fillna(0.0)
    return moved.where(np.arange(len(moved)) % 5 == 0).ffill().to_dict()


@cache
def revised() -> dict[float, float]:
    """A figure as it stands today, dated by its first print: a part of it is the revision."""
    close = closes_by_second()
    later = np.log(close.shift(-20) / close).fillna(0.0)
    first_print = np.random.default_rng(5).normal(0.0, 2.0 * later.std(), len(later))
    return (later + first_print).to_dict()


@cache
def dull() -> dict[float, float]:
    """A table that knows nothing of any bar."""
    seconds = closes_by_second().index
    return dict(zip(seconds, np.random.default_rng(6).normal(size=len(seconds)), strict=True))


def table(name: str, values: Callable[[], dict[float, float]]) -> LookbackFeature:
    """A feature that looks the newest stamp up, in a stream as well."""
    return LookbackFeature(
        name=name,
        compute=lambda window: values().get(float(window.seconds[-1]), 0.0),
        lookback_bars=1,
    )


_CACHE: dict[float, float] = {}


def cached(rows: Rows) -> Rows:
    """A centred mean that is worked out once per stamp and remembered by the module."""
    fresh = np.nan_to_num(centred_window(rows).to_numpy())
    for second, value in zip(rows[SECONDS].tolist(), fresh.tolist(), strict=True):
        _CACHE.setdefault(second, value)
    return np.array([_CACHE[second] for second in rows[SECONDS].tolist()])


def since_the_beginning(rows: Rows) -> Rows:
    """No look-ahead: a mean over all of history, though its warm-up says 20 bars."""
    return pd.Series(np.abs(returns(rows))).expanding().mean()


WHOLE = {
    "centred_window": centred_window,
    "full_sample_scaling": full_sample_scaling,
    "full_sample_ranks": full_sample_ranks,
    "future_fill": future_fill,
    "interpolated": interpolated,
    "shifted_back": shifted_back,
    "smoothed_both_ways": smoothed_both_ways,
    "target_encoded": target_encoded,
    "fitted_on_everything": fitted_on_everything,
    "day_at_its_start": day_at_its_start,
    "labelled_left": labelled_left,
    "session_close_filled": session_close_filled,
    "adjusted_to_today": adjusted_to_today,
    "dropped_by_outcome": dropped_by_outcome,
    "looked_up_by_row": looked_up_by_row,
    "cached": cached,
    "since_the_beginning": since_the_beginning,
}
WARMUP = 20
PRICE_LEVEL = LookbackFeature(
    name="price_level", compute=lambda window: float(np.log(window.close[-1])), lookback_bars=1
)
HONEST_LEVEL = LookbackFeature(
    name="honest_level",
    compute=lambda window: float(np.log(window.close[-1])),
    lookback_bars=1,
    scale_free=False,
)
STREAMED_OTHERWISE = Whole(
    name="streamed_otherwise",
    compute=lambda window: float(window.close[-1] / window.close[0] - 1.0),
    lookback_bars=3,
    whole=lambda rows: pd.Series(rows[CLOSE]).pct_change(3).to_numpy(),
)
REGISTRY = FeatureRegistry(
    [
        *(
            Whole(name=name, compute=last, lookback_bars=WARMUP, whole=whole)
            for name, whole in WHOLE.items()
        ),
        table("looked_up", next_move),
        table("dull_table", dull),
        table("dated_too_early", event_moves),
        table("revised_later", revised),
        PRICE_LEVEL,
        HONEST_LEVEL,
        STREAMED_OTHERWISE,
    ]
)
