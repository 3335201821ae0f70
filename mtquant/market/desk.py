# SPDX-License-Identifier: Apache-2.0
"""The desk: plan, fill and book for one bar, the same everywhere (docs/execution.md).

`desk_bar` is the compiled order of events for one account and one bar. `Desk` drives it for a
single account with the ledger on: the backtest and the paper loop use it; training runs `desk_bar`
for many accounts (`simulator.py`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.compiled import kernel
from mtquant.core.errors import PolicyError
from mtquant.market.account import (
    A_BINDING,
    A_CASH,
    A_EQUITY,
    A_INITIAL,
    A_PEAK,
    A_USED_MARGIN,
    A_VARIANCE,
    B_AVERAGE,
    B_FINANCING,
    B_HELD_BARS,
    B_MARK,
    B_POSITION,
    B_RATE,
    B_TARGET,
    BAR_FEE,
    BAR_FILLS,
    BAR_SLIPPAGE,
    BAR_STOPS,
    BAR_TRADED,
    new_accounts,
    open_account,
)
from mtquant.market.execution import charge_financing, fill_orders, liquidate, trigger_stops
from mtquant.market.ledger import Ledger
from mtquant.market.planning import plan_account
from mtquant.market.rules import R_MARGIN, R_MULTIPLIER, S_BANKRUPTCY, S_FILL_AT_CLOSE, Rules
from mtquant.market.tape import (
    C_BENCHMARK,
    C_ELAPSED,
    T_CLOSE,
    T_OPEN,
    T_RATE_CLOSE,
    T_RATE_OPEN,
    T_TRADABLE,
    Tape,
)

Float = NDArray[np.float64]
EQUITY_FLOOR_FRAC = 1e-6  # of the deposit: what a ruined account counts as in the logarithm
VARIANCE_DECAY = 0.94  # RiskMetrics Technical Document, 4th ed. 1996, daily decay factor
TAIL_SIGMAS = 1.645  # 95 % quantile of the normal distribution


@kernel
def _start_bar(account: Float) -> None:
    account[0, BAR_FEE] = 0.0
    account[0, BAR_SLIPPAGE] = 0.0
    account[0, BAR_TRADED] = 0.0
    account[0, BAR_STOPS] = 0.0
    account[0, BAR_FILLS] = 0.0


@kernel
def _mark_open(account: Float, bar: Float) -> None:
    for n in range(bar.shape[0]):
        if bar[n, T_TRADABLE] > 0.0:
            account[n + 1, B_MARK] = bar[n, T_OPEN]
        account[n + 1, B_RATE] = bar[n, T_RATE_OPEN]


@kernel
def _mark_close(account: Float, bar: Float, rules: Float) -> tuple[float, float, float]:
    """Marks the account at the close; returns the value held, gross and net, and the financing of
    the bar.
    """
    equity, margin = account[0, A_CASH], 0.0
    gross, net, financing = 0.0, 0.0, 0.0
    for n in range(bar.shape[0]):
        tradable = bar[n, T_TRADABLE] > 0.0
        if tradable:
            account[n + 1, B_MARK] = bar[n, T_CLOSE]
        rate = bar[n, T_RATE_CLOSE]
        account[n + 1, B_RATE] = rate
        financing += account[n + 1, B_FINANCING]
        q = account[n + 1, B_POSITION]
        if q != 0.0:
            mark, m = account[n + 1, B_MARK], rules[n, R_MULTIPLIER]
            account[n + 1, B_HELD_BARS] += 1.0 if tradable else 0.0
            equity += q * m * (mark - account[n + 1, B_AVERAGE]) * rate
            value = q * m * mark * rate
            net += value
            gross += abs(value)
            margin += abs(value) * rules[n, R_MARGIN]
    account[0, A_EQUITY] = equity
    account[0, A_PEAK] = max(account[0, A_PEAK], equity)
    account[0, A_USED_MARGIN] = margin
    return gross, net, financing


@kernel
def _write_outcome(
    account: Float,
    before: float,
    benchmark: float,
    held: tuple[float, float, float],
    settings: Float,
    outcome: Float,
) -> None:
    """One Outcome row from the marked account; then the EWMA variance takes in this bar's
    return.
    """
    gross, net, financing = held
    equity = account[0, A_EQUITY]
    ruined = equity <= settings[S_BANKRUPTCY] * account[0, A_INITIAL]
    floored = max(equity, EQUITY_FLOOR_FRAC * account[0, A_INITIAL])
    per_before, per_equity = 1.0 / before, 1.0 / floored
    simple = (equity - before) * per_before
    variance = account[0, A_VARIANCE]

    outcome[oc.EQUITY_BEFORE] = before
    outcome[oc.EQUITY] = equity
    outcome[oc.GROWTH] = math.log(floored * per_before)
    outcome[oc.SIMPLE_RETURN] = simple
    outcome[oc.BENCHMARK] = benchmark
    outcome[oc.FEE] = account[0, BAR_FEE]
    outcome[oc.SLIPPAGE] = account[0, BAR_SLIPPAGE]
    outcome[oc.FINANCING] = financing
    outcome[oc.COST] = (account[0, BAR_FEE] + account[0, BAR_SLIPPAGE]) * per_before
    outcome[oc.TURNOVER] = account[0, BAR_TRADED] * per_before
    outcome[oc.DRAWDOWN] = 1.0 - equity / account[0, A_PEAK]
    outcome[oc.TAIL_LOSS] = max(0.0, -simple - TAIL_SIGMAS * math.sqrt(variance))
    outcome[oc.GROSS] = gross * per_equity
    outcome[oc.NET] = net * per_equity
    outcome[oc.MARGIN_USE] = account[0, A_USED_MARGIN] * per_equity
    outcome[oc.BINDING] = account[0, A_BINDING]
    outcome[oc.STATUS] = oc.STATUS_BANKRUPT if ruined else oc.STATUS_ACTIVE
    account[0, A_VARIANCE] = VARIANCE_DECAY * variance + (1.0 - VARIANCE_DECAY) * simple * simple


@kernel
def desk_bar(
    account: Float,
    row: int,
    tape: Float,
    clock: Float,
    rules: Float,
    settings: Float,
    outcome: Float,
    fills: Float,
) -> None:
    """Lives an account through bar `row` (>= 1): events 0 to 5 of docs/execution.md.

    Args:
        account: float64 [1 + N, COLUMNS]; its queued orders were planned at the close of bar
        ``row - 1``. tape: float64 [T, N, TAPE_COLUMNS].
        clock: float64 [T, CLOCK_COLUMNS].
        rules: float64 [N, RULE_COLUMNS].
        settings: float64 [SETTING_COLUMNS].
        outcome: float64 [len(OUTCOME_COLUMNS)]; written.
        fills: float64 [M, len(FILL_COLUMNS)]; receives fills and refusals of this bar while it has
            room (M = 0: none).
    """
    before = account[0, A_EQUITY]
    bar = tape[row]
    _start_bar(account)
    at_close = settings[S_FILL_AT_CLOSE] > 0.0
    if at_close:
        fill_orders(account, tape[row - 1], row - 1, rules, fills)
    charge_financing(account, rules, clock[row, C_ELAPSED])
    _mark_open(account, bar)
    if not at_close:
        fill_orders(account, bar, row, rules, fills)
    trigger_stops(account, bar, row, rules, fills)
    liquidate(account, bar, row, rules, settings, fills)
    held = _mark_close(account, bar, rules)
    _write_outcome(account, before, clock[row, C_BENCHMARK], held, settings, outcome)


class Desk:
    """One account on a tape, bar by bar, with the ledger on.

    Args:
        tape: The bars.
        rules: The rules; must name the tape's instruments.
        name: Who trades, kept in the ledger.
        start_row: Panel row at whose close the account is opened; the first bar lived through is
        the next. initial_equity: Deposit; the rules' own when None.
        cost_scale: Multiplies spread, slippage and commission (training draws it; 1 elsewhere).
    """

    def __init__(
        self,
        tape: Tape,
        rules: Rules,
        name: str,
        start_row: int = 0,
        initial_equity: float | None = None,
        cost_scale: float = 1.0,
    ) -> None:
        self.tape, self.rules, self.name = tape, rules, name
        self.row = start_row
        self.initial_equity = rules.initial_equity if initial_equity is None else initial_equity
        self.rules_matrix = rules.matrix(tape.own_rate)
        self.caps = rules.caps()
        self.settings = rules.settings()
        n = len(tape.symbols)
        self.account = new_accounts(1, n)[0]
        self.outcome = np.zeros(len(oc.OUTCOME_COLUMNS))
        self._wanted = np.zeros(n)
        # Each instrument can fill its order and then be stopped or liquidated in the same bar.
        self._buffer = np.zeros((2 * n, len(oc.FILL_COLUMNS)))
        self._rows: list[tuple[Float, ...]] = []
        self._fills: list[Float] = []
        self._first_row = start_row + 1
        open_account(self.account, self.initial_equity, cost_scale, tape.prices[start_row])

    def block(self, column: int) -> Float:
        """One account column of every instrument, float64 [N] (a view)."""
        return self.account[1:, column]

    @property
    def bankrupt(self) -> bool:
        """Whether the last bar ended the account."""
        return bool(self.outcome[oc.STATUS] == oc.STATUS_BANKRUPT)

    def plan(self, targets: Float) -> None:
        """Queues the orders that lead to `targets` (exposures float64 [N]; NaN leaves a position
        alone).

        Raises:
            PolicyError: The shape is wrong. Values are the limits' business, not an error.
        """
        shape = self._wanted.shape
        if np.shape(targets) != shape:
            raise PolicyError(
                "targets",
                f"must have shape {shape}",
                np.shape(targets),
                "Give one exposure per instrument.",
            )
        self.block(B_TARGET)[:] = targets
        plan_account(self.account, self.rules_matrix, self.caps, self.settings, self._wanted)

    def advance(self) -> Float:
        """Lives through the next bar and returns its Outcome, float64 [len(OUTCOME_COLUMNS)]."""
        self.row += 1
        targets = self.block(B_TARGET).copy()
        desk_bar(
            self.account,
            self.row,
            self.tape.prices,
            self.tape.clock,
            self.rules_matrix,
            self.settings,
            self.outcome,
            self._buffer,
        )
        count = int(self.account[0, BAR_FILLS])
        if count:
            self._fills.append(self._buffer[:count].copy())
        kept = (B_POSITION, B_MARK, B_RATE, B_FINANCING)
        self._rows.append((self.outcome.copy(), *(self.block(c).copy() for c in kept), targets))
        return self.outcome

    def ledger(self) -> Ledger:
        """Everything since the start, as an immutable ledger."""
        n = len(self.tape.symbols)
        widths = (len(oc.OUTCOME_COLUMNS), n, n, n, n, n)
        columns = [
            np.array([row[k] for row in self._rows]).reshape(len(self._rows), size)
            for k, size in enumerate(widths)
        ]
        rows = np.arange(self._first_row, self._first_row + len(self._rows))
        empty = np.zeros((0, len(oc.FILL_COLUMNS)))
        return Ledger(
            name=self.name,
            symbols=self.tape.symbols,
            multipliers=tuple(item.multiplier for item in self.rules.instruments),
            account_currency=self.rules.account_currency,
            rules_hash=self.rules.hash(),
            world_hash=self.rules.without_stops().hash(),
            fill_at=self.rules.fill_at,
            initial_equity=self.initial_equity,
            rows=rows,
            stamps=self.tape.stamps[rows],
            outcomes=columns[0],
            positions=columns[1],
            prices=columns[2],
            rates=columns[3],
            financing=columns[4],
            targets=columns[5],
            fills=np.concatenate(self._fills) if self._fills else empty,
            notes=self.tape.notes,
        )
