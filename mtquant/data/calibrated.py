# SPDX-License-Identifier: Apache-2.0
"""Scenarios as wild as given bars, on their own calendar and from their own prices.

    made = calibrated("garch", train, Dials.at(0.5), SeedTree(7))

What is measured in the given bars: every instrument's volatility, the mean correlation, and for
``garch``, ``bootstrap`` and ``mixed`` what `synthetic.py` takes from real bars. Give training rows
only, and validation and test stay unseen. Made-up bars have the given bars' close stamps, so
sessions, financing and calendar features are what they are, and start at their price, so a lot
costs what it costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mtquant.core.seeding import SeedTree
from mtquant.data.bars import NANOSECONDS, PRICE_COLUMNS, YEAR_SECONDS, Bars, check_bars
from mtquant.data.moves import FIRST_PRICE, moves_from_bars, neighbours, shared_stamps
from mtquant.data.synthetic import Dials, generate

Float = NDArray[np.float64]
HIGHEST_CORRELATION = 0.94  # of calm bars: stress has 0.95


def calibrated(
    scenario: str,
    real: Mapping[str, Bars],
    dials: Dials,
    seeds: SeedTree,
    bars: int | None = None,
    mean_block_bars: float = 20.0,
) -> dict[str, Bars]:
    """Makes up bars that behave like given ones where nothing happens.

    Args:
        scenario: One of `synthetic.SCENARIOS`.
        real: Symbol -> bars to measure.
        dials: How hard. Volatility counts multiples of each instrument's own; correlation is
            replaced by the one measured.
        seeds: Node of the seed tree.
        bars: At most; as many as the given bars share stamps without missing bars between them,
            less one, where those are fewer, or when None.
        mean_block_bars: Mean length of the blocks that real bars come in.

    Returns:
        Bars of the same instruments on their last shared stamps; where bars are missing, on those
        of the longest stretch without a gap.

    Raises:
        DataError: They share too few stamps, the scenario is unknown, or a price left what float64
            can hold.
    """
    stretches = _stretches(list(real.values()))
    stamps = max(reversed(stretches), key=len)
    yearly = _yearly(stretches)
    returns = moves_from_bars(real).returns
    count = len(stamps) - 1 if bars is None else min(bars, len(stamps) - 1)
    made = generate(
        scenario,
        list(real),
        [series.quote for series in real.values()],
        count,
        round(YEAR_SECONDS / yearly),  # so that "a year" counts the bars that a year really has
        replace(dials, correlation=mean_correlation(returns)),
        seeds,
        real,
        mean_block_bars,
        list(returns.std(axis=0) * np.sqrt(yearly)),
    )
    stamps = stamps[-count - 1 :]
    return {symbol: _on_calendar(made[symbol], own, stamps) for symbol, own in real.items()}


def _stretches(series: Sequence[Bars]) -> list[NDArray[np.int64]]:
    """Shared close stamps, cut where bars are missing; two or more each."""
    shared = shared_stamps(series)
    cuts = np.flatnonzero(~neighbours(shared, series[0].bar_seconds)) + 1
    return [own for own in np.split(shared, cuts) if len(own) > 1]


def _yearly(stretches: Sequence[NDArray[np.int64]]) -> float:
    """Bars in a year, gaps apart: steps over the time they took."""
    steps = sum(len(own) - 1 for own in stretches)
    elapsed = float(sum(own[-1] - own[0] for own in stretches))
    return steps / (elapsed / NANOSECONDS / YEAR_SECONDS)


def mean_correlation(returns: Float) -> float:
    """Mean over all pairs of instruments, in the range that `Dials` takes; 0 for one alone.

    Args:
        returns: float64 [T, N].
    """
    moving = returns[:, returns.std(axis=0) > 0.0]
    if moving.shape[1] < 2:
        return 0.0
    matrix: Float = np.atleast_2d(np.corrcoef(moving.T))
    mean = matrix[np.triu_indices(len(matrix), 1)].mean()
    return float(np.clip(mean, 0.0, HIGHEST_CORRELATION))


def _on_calendar(made: Bars, real: Bars, stamps: NDArray[np.int64]) -> Bars:
    """Made-up bars on the real close stamps [T + 1] but the first, from the real price there."""
    start = real.close[np.searchsorted(real.stamps, stamps[0])]
    factor = start / FIRST_PRICE
    prices = {name: getattr(made, name) * factor for name in PRICE_COLUMNS}
    bars = replace(made, stamps=stamps[1:], bar_seconds=real.bar_seconds, **prices)
    check_bars(bars)
    return bars
