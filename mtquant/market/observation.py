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

from mtquant.core.compiled import kernel
from mtquant.core.lanes import LANES, choose, lanes_of
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

INSTRUMENT_NAMES = ("exposure", "open_return", "held_bars", "cost", "tradable")
INSTRUMENT_EXTRAS = len(INSTRUMENT_NAMES)
MOST_ENTRIES = 1 << 16
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
def write_observation(
    values: Float32, row: int, features: Float32, window: int, seen: Float32, i: int
) -> None:
    """Writes what one account shows at the close of panel row `row` (>= window - 1).

    Args:
        values: float32 [layout.size], written.
        row: The row.
        features: float32 [T, N, F], finite (`observable`).
        window: Bars of features, oldest first.
        seen: What `see_block` wrote, of which lane i is the account's.
        i: The lane.
    """
    # Numbers with a bound: then no index can count from the end of an array, and none is checked.
    n_instruments = min(features.shape[1], MOST_ENTRIES)
    width, bars = min(features.shape[2], MOST_ENTRIES), min(max(window, 1), MOST_ENTRIES)
    size = bars * width + INSTRUMENT_EXTRAS
    for n in range(n_instruments):
        for back in range(bars):
            known = features[row - bars + 1 + back, n]
            for f in range(width):
                values[n * size + back * width + f] = known[f]
        for j in range(INSTRUMENT_EXTRAS):
            values[n * size + bars * width + j] = seen[(n * INSTRUMENT_EXTRAS + j) * LANES + i]
    shown = n_instruments * INSTRUMENT_EXTRAS
    for j in range(min(seen.shape[0] // LANES - shown, MOST_ENTRIES)):
        values[n_instruments * size + j] = seen[(shown + j) * LANES + i]


def new_seen(layout: ObservationLayout) -> Float32:
    """Room for what `see_block` writes, flat."""
    features = len(layout.symbols) * layout.window_bars * len(layout.feature_names)
    return np.zeros((layout.size - features) * LANES, dtype=np.float32)


def observable(features: Float32) -> Float32:
    """Features as observations hold them: 0 in place of what is not yet known, contiguous
    float32.
    """
    return np.ascontiguousarray(np.nan_to_num(features, nan=0.0, posinf=0.0, neginf=0.0))


def specialist_view(
    values: Float32, block_size: int, own: Sequence[int], n_instruments: int
) -> Float32:
    """A specialist's observation out of a portfolio's: the blocks of its instruments in turn, then
    the account block, float32 [len(own) * block_size + account block].
    """
    blocks = [values[n * block_size : (n + 1) * block_size] for n in own]
    return np.concatenate([*blocks, values[n_instruments * block_size :]])
