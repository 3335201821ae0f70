# SPDX-License-Identifier: Apache-2.0
"""The observation: one flat float32 vector, written by one function for training, backtest and
paper.

One block per instrument, then one block for the account:

    instrument block
      features          window_bars x F, oldest bar first; raw (the policy holds the scaler); 0
      where not yet known exposure          q m p r / equity
      open_return       sign(q) (p / average - 1); 0 when flat
      held_bars         h / (h + 24), h the bars the position has been held
      cost              half spread + slippage + commission of one trade, in units of 10 bps (so
      that it is of order 0.1 to 1) tradable          1 where the instrument had a bar of its own
    account block
      drawdown          1 - equity / peak
      gross, net        exposure sums
      margin_use        used margin / equity
      volatility        EWMA volatility of the account's returns, per bar, in per cent
      reward state      as in `rewards/compose.py`

An instrument's block has the same layout whatever stands beside it, so a specialist trained alone
on one instrument or several reads its part of a portfolio's observation (`specialist_view`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.core.aligned import aligned, aligned_copy
from mtquant.core.compiled import cold_kernel, kernel
from mtquant.core.lanes import LANES, choose, lanes_of
from mtquant.core.moves import SIDE, move, natural, turn
from mtquant.market.account import (
    A_COST_SCALE,
    A_EQUITY,
    A_VARIANCE,
    B_AVERAGE,
    B_HELD_BARS,
    B_MARK,
    B_POSITION,
    O_DRAWDOWN,
    O_GROSS,
    O_MARGIN_USE,
    O_NET,
    at,
    value_of,
)
from mtquant.market.rules import R_COMMISSION, R_HALF_COST, R_MULTIPLIER, Rule, count_of, rule_of
from mtquant.market.tape import T_TRADABLE, sheet_at

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Rows = NDArray[np.int64]

INSTRUMENT_NAMES = ("exposure", "open_return", "held_bars", "cost", "tradable")
INSTRUMENT_EXTRAS = len(INSTRUMENT_NAMES)
MOST_ENTRIES = 1 << 16
WIDE = 16  # numbers moved at once: a cache line
HELD_HALF_BARS = 24.0
ACCOUNT_NAMES = ("drawdown", "gross", "net", "margin_use", "volatility")
ACCOUNT_EXTRAS = len(ACCOUNT_NAMES)


@dataclass(frozen=True)
class ObservationLayout:
    """Where everything is in the flat vector.

    Attributes:
        symbols: N instruments.
        feature_names: F features per bar.
        window_bars: Bars of features per observation.
        reward_state_names: Names of the reward's state.
    """

    symbols: tuple[str, ...]
    feature_names: tuple[str, ...]
    window_bars: int
    reward_state_names: tuple[str, ...]

    @property
    def block_size(self) -> int:
        """Entries of one instrument's block."""
        return self.window_bars * len(self.feature_names) + INSTRUMENT_EXTRAS

    @property
    def size(self) -> int:
        """Entries of the whole vector."""
        account = ACCOUNT_EXTRAS + len(self.reward_state_names)
        return len(self.symbols) * self.block_size + account

    def names(self) -> tuple[str, ...]:
        """One name per entry, for example ``"EURUSD.rsi_14"`` or ``"EURUSD.rsi_14[-1]"`` for the
        bar before.
        """
        names: list[str] = []
        for symbol in self.symbols:
            for back in range(self.window_bars - 1, -1, -1):
                suffix = f"[-{back}]" if back else ""
                names += [f"{symbol}.{feature}{suffix}" for feature in self.feature_names]
            names += [f"{symbol}.{name}" for name in INSTRUMENT_NAMES]
        return (*names, *ACCOUNT_NAMES, *self.reward_state_names)


@kernel
def _see_position(block: Float, i: int, n: int, rule: Rule) -> tuple[float, float, float, float]:
    """What an account shows of its position in instrument n: the first of INSTRUMENT_NAMES."""
    q, held = block[at(n, B_POSITION) + i], block[at(n, B_HELD_BARS) + i]
    side = choose(q > 0.0, 1.0, -1.0)
    exposure = value_of(block, i, n, rule[R_MULTIPLIER]) / block[A_EQUITY + i]
    gained = side * (block[at(n, B_MARK) + i] / block[at(n, B_AVERAGE) + i] - 1.0)
    patience = held / (held + HELD_HALF_BARS)
    cost = (rule[R_HALF_COST] + rule[R_COMMISSION]) * block[A_COST_SCALE + i]
    return (
        choose(q != 0.0, exposure, 0.0),
        choose(q != 0.0, gained, 0.0),
        choose(q != 0.0, patience, 0.0),
        1_000.0 * cost,
    )


@kernel
def see_block(
    block: Float, sheet: Float, rules: Float, reward_states: Float, seen: Float32
) -> None:
    """What the accounts of a block show but for the features, side by side.

    Args:
        block: float64, flat (`account.py`).
        sheet: float64, flat (`tape.py`), the accounts' own bars.
        rules: float64 [N, RULE_COLUMNS].
        reward_states: float64 [states * LANES], flat.
        seen: float32, flat (`new_seen`); written.
    """
    n_instruments = count_of(rules)
    for n in range(n_instruments):
        rule = rule_of(rules, n)
        k = n * INSTRUMENT_EXTRAS * LANES
        for i in range(lanes_of(block)):
            shown = _see_position(block, i, n, rule)
            seen[k + i] = shown[0]
            seen[k + LANES + i] = shown[1]
            seen[k + 2 * LANES + i] = shown[2]
            seen[k + 3 * LANES + i] = shown[3]
        for i in range(lanes_of(block)):
            seen[k + 4 * LANES + i] = min(sheet[sheet_at(n, T_TRADABLE) + i], 1.0)
    k = n_instruments * INSTRUMENT_EXTRAS * LANES
    for i in range(lanes_of(block)):
        seen[k + i] = block[O_DRAWDOWN + i]
        seen[k + LANES + i] = block[O_GROSS + i]
        seen[k + 2 * LANES + i] = block[O_NET + i]
        seen[k + 3 * LANES + i] = block[O_MARGIN_USE + i]
        seen[k + 4 * LANES + i] = 100.0 * math.sqrt(block[A_VARIANCE + i])
    k += ACCOUNT_EXTRAS * LANES
    for s in range(reward_states.shape[0]):
        seen[k + s] = reward_states[s]


@kernel
def _write_row(values: Float32, at: int, known: Float32) -> None:
    """Copies `known` into entries `at` and on: WIDE numbers at a time, the last ones twice where
    they are no multiple of it.
    """
    count = min(known.shape[0], MOST_ENTRIES)
    if count < WIDE:
        for f in range(count):
            move(values, at + f, known, f, 1)
        return
    for f in range(0, count - WIDE, WIDE):
        move(values, at + f, known, f, WIDE)
    move(values, at + count - WIDE, known, count - WIDE, WIDE)


@kernel
def _write_seen(
    values: Float32, first: int, live: int, at: int, seen: Float32, k: int, count: int
) -> None:
    """Writes columns `k` and on of `seen` into entries `at` and on."""
    size = values.shape[1]
    turned = count - count % SIDE if live % SIDE == 0 else 0
    for j in range(0, turned, SIDE):
        for i in range(0, live, SIDE):
            to, of = (first + i) * size + at + j, (k + j) * LANES + i
            rows = (to, to + size, to + 2 * size, to + 3 * size)
            turn(values, rows, seen, (of, of + LANES, of + 2 * LANES, of + 3 * LANES))
    for j in range(turned, count):
        for i in range(live):
            move(values[natural(first + i)], at + j, seen, (k + j) * LANES + i, 1)


@cold_kernel
def write_observations(
    values: Float32,
    first: int,
    live: int,
    rows: Rows,
    features: Float32,
    window: int,
    seen: Float32,
) -> None:
    """Writes what the accounts of a block show at the close of their panel rows.

    Args:
        values: float32 [E, layout.size], of which the rows `first` to `first` + `live` are written.
        first: The block's first account.
        live: Lanes in use, the first ones.
        rows: int64 [live or more], the panel rows (>= window - 1).
        features: float32 [T, N, F], finite (`observable`).
        window: Bars of features, oldest first.
        seen: What `see_block` wrote.
    """
    # Numbers with a bound: then no index can count from the end of an array, and none is checked.
    n_instruments = min(features.shape[1], MOST_ENTRIES)
    width, bars = min(features.shape[2], MOST_ENTRIES), min(max(window, 1), MOST_ENTRIES)
    size = bars * width + INSTRUMENT_EXTRAS
    for i in range(live):
        own = values[natural(first + i)]
        for n in range(n_instruments):
            for back in range(bars):
                known = features[natural(rows[i] - bars + 1 + back), n]
                _write_row(own, n * size + back * width, known)
    for n in range(n_instruments):
        at, k = n * size + bars * width, n * INSTRUMENT_EXTRAS
        _write_seen(values, first, live, at, seen, k, INSTRUMENT_EXTRAS)
    shown = n_instruments * INSTRUMENT_EXTRAS
    rest = min(seen.shape[0] // LANES - shown, MOST_ENTRIES)
    _write_seen(values, first, live, n_instruments * size, seen, shown, rest)


def write_observation(
    values: Float32, row: int, features: Float32, window: int, seen: Float32
) -> None:
    """`write_observations` for one account, in lane 0: float32 [layout.size], written."""
    write_observations(values[None], 0, 1, np.array([row]), features, window, seen)


def new_seen(layout: ObservationLayout) -> Float32:
    """Room for what `see_block` writes, flat."""
    features = len(layout.symbols) * layout.window_bars * len(layout.feature_names)
    return aligned((layout.size - features) * LANES, np.float32)


def observable(features: Float32) -> Float32:
    """Features as observations hold them: 0 in place of what is not yet known, contiguous
    float32.
    """
    return aligned_copy(np.nan_to_num(features, nan=0.0, posinf=0.0, neginf=0.0))


def specialist_view(
    values: Float32, block_size: int, own: Sequence[int], n_instruments: int
) -> Float32:
    """A specialist's observation out of a portfolio's: the blocks of its instruments in turn, then
    the account block, float32 [len(own) * block_size + account block].
    """
    blocks = [values[n * block_size : (n + 1) * block_size] for n in own]
    return np.concatenate([*blocks, values[n_instruments * block_size :]])
