# SPDX-License-Identifier: Apache-2.0
"""Bars with a plant in them: simple returns made into series without gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mtquant.data.bars import NANOSECONDS, Bars, check_bars
from mtquant.data.instruments import Instrument, Session

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

BAR_SECONDS = 900  # four million of them fit into int64 nanoseconds; hours would not
FIRST_NS = 946_684_800 * NANOSECONDS  # 2000-01-01
FIRST_PRICE = 100.0


@dataclass(frozen=True, eq=False)
class PlantedMarket:
    """Bars with the features that were planted in them.

    Attributes:
        bars: One series per instrument, all with the same stamps, without gaps.
        features: float32 [T, N, F], known at the bar's close; never NaN.
        feature_names: F names.
        instruments: What each instrument is, by symbol; without costs of its own.
        expected: float64 [T, N], mean of each bar's simple return given all before it.
    """

    bars: tuple[Bars, ...]
    features: Float32
    feature_names: tuple[str, ...]
    instruments: Mapping[str, Instrument]
    expected: Float

    def surprises(self) -> Float:
        """What each bar's simple return was beyond its mean, float64 [T, N]."""
        came = np.stack([bars.close / bars.open - 1.0 for bars in self.bars], axis=1)
        return np.asarray(came - self.expected, dtype=np.float64)


def market_of(
    changes: Float, expected: Float, features: Float32, names: tuple[str, ...]
) -> PlantedMarket:
    """Bars of simple returns [T, N] with these means, each opening at the close before it."""
    bars, instruments = [], {}
    stamps = FIRST_NS + BAR_SECONDS * NANOSECONDS * np.arange(len(changes), dtype=np.int64)
    for n in range(changes.shape[1]):
        symbol = f"PLANTED{n}"
        closes = np.asarray(FIRST_PRICE * np.cumprod(1.0 + changes[:, n]), dtype=np.float64)
        opens = np.concatenate(([FIRST_PRICE], closes[:-1]))
        series = Bars(
            symbol=symbol,
            stamps=stamps,
            open=opens,
            high=np.maximum(opens, closes),
            low=np.minimum(opens, closes),
            close=closes,
            volume=np.ones(len(closes)),
            quote="USD",
            bar_seconds=BAR_SECONDS,
            notes=("planted market, not a real one",),
        )
        check_bars(series)
        bars.append(series)
        instruments[symbol] = _instrument(symbol)
    return PlantedMarket(tuple(bars), features, names, instruments, expected)


def side_by_side(markets: Sequence[PlantedMarket]) -> PlantedMarket:
    """One market of the instruments of several with the same stamps and features, named anew."""
    bars: list[Bars] = []
    instruments = {}
    for own in (series for market in markets for series in market.bars):
        symbol = f"PLANTED{len(bars)}"
        bars.append(replace(own, symbol=symbol))
        instruments[symbol] = _instrument(symbol)
    features = np.concatenate([market.features for market in markets], axis=1)
    expected = np.concatenate([market.expected for market in markets], axis=1)
    return PlantedMarket(tuple(bars), features, markets[0].feature_names, instruments, expected)


def _instrument(symbol: str) -> Instrument:
    """A thing that trades round the clock in the smallest pieces and asks for little margin."""
    return Instrument(
        symbol=symbol,
        name="planted market",
        sector="equity",
        quote="USD",
        yahoo=symbol,
        tick=1e-9,
        lot=1e-9,
        multiplier=1.0,
        margin_frac=0.01,
        spread_bps=0.0,
        commission_bps=0.0,
        slippage_bps=0.0,
        financing_long_bps=0.0,
        financing_short_bps=0.0,
        session=Session(timezone="UTC", close="23:59", week_opens="monday"),
        source="planted",
    )
