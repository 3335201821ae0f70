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

A one-instrument observation and instrument i's block of a portfolio observation have the same
layout, so a specialist trained alone reads its part of a portfolio's observation
(`specialist_view`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.compiled import kernel
from mtquant.market.account import (
    A_COST_SCALE,
    A_EQUITY,
    A_VARIANCE,
    B_AVERAGE,
    B_HELD_BARS,
    B_MARK,
    B_POSITION,
    B_RATE,
)
from mtquant.market.rules import R_COMMISSION, R_HALF_COST, R_MULTIPLIER
from mtquant.market.tape import T_TRADABLE

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

INSTRUMENT_NAMES = ("exposure", "open_return", "held_bars", "cost", "tradable")
INSTRUMENT_EXTRAS = len(INSTRUMENT_NAMES)
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
def write_observation(
    values: Float32,
    account: Float,
    row: int,
    features: Float32,
    window: int,
    tape: Float,
    rules: Float,
    outcome: Float,
    reward_state: Float,
) -> None:
    """Writes what one account shows at the close of panel row `row` (>= window - 1).

    Args:
        values: float32 [layout.size], written.
        account: float64 [1 + N, COLUMNS].
        features: float32 [T, N, F], finite (`observable`).
        tape: float64 [T, N, TAPE_COLUMNS].
        outcome: float64 [len(OUTCOME_COLUMNS)], of the last bar (zeros at the start).
        reward_state: float64 [STATES].
    """
    per_equity = 1.0 / account[0, A_EQUITY]
    scale = account[0, A_COST_SCALE]
    n_features = features.shape[2]
    k = 0
    for n in range(rules.shape[0]):
        for back in range(row - window + 1, row + 1):
            block = values[k : k + n_features]
            known = features[back, n]
            for f in range(n_features):
                block[f] = known[f]
            k += n_features
        q = account[n + 1, B_POSITION]
        held = account[n + 1, B_HELD_BARS]
        mark = account[n + 1, B_MARK]
        if q != 0.0:
            side = 1.0 if q > 0.0 else -1.0
            value = q * rules[n, R_MULTIPLIER] * mark * account[n + 1, B_RATE]
            values[k] = value * per_equity
            values[k + 1] = side * (mark / account[n + 1, B_AVERAGE] - 1.0)
            values[k + 2] = held / (held + HELD_HALF_BARS)
        else:
            values[k] = 0.0
            values[k + 1] = 0.0
            values[k + 2] = 0.0
        values[k + 3] = (rules[n, R_HALF_COST] + rules[n, R_COMMISSION]) * scale * 1_000.0
        values[k + 4] = tape[row, n, T_TRADABLE]
        k += INSTRUMENT_EXTRAS
    values[k] = outcome[oc.DRAWDOWN]
    values[k + 1] = outcome[oc.GROSS]
    values[k + 2] = outcome[oc.NET]
    values[k + 3] = outcome[oc.MARGIN_USE]
    values[k + 4] = 100.0 * math.sqrt(account[0, A_VARIANCE])
    for s in range(reward_state.shape[0]):
        values[k + ACCOUNT_EXTRAS + s] = reward_state[s]


def observable(features: Float32) -> Float32:
    """Features as observations hold them: 0 in place of what is not yet known, contiguous
    float32.
    """
    return np.ascontiguousarray(np.nan_to_num(features, nan=0.0, posinf=0.0, neginf=0.0))


def specialist_view(values: Float32, block_size: int, n: int, n_instruments: int) -> Float32:
    """Instrument n's own observation out of a portfolio's, float32 [block_size + account block]."""
    start = n * block_size
    return np.concatenate(
        [values[start : start + block_size], values[n_instruments * block_size :]]
    )
