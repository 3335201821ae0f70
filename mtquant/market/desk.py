# SPDX-License-Identifier: Apache-2.0
"""The desk: plan, fill and book for one bar, the same everywhere (docs/execution.md).

`desk_bar` is the compiled order of events for a block of accounts and one bar of each. There is one
kernel for all drivers: `Desk` runs it for a single account with the ledger on (backtest and paper
loop), `envs/fused.py` for blocks of many (training). Every event is a loop over instruments around
a loop over accounts without branches, which the compiler turns into vector instructions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.compiled import kernel
from mtquant.core.errors import PolicyError
from mtquant.core.lanes import LANES, choose, lanes_of, single_block
from mtquant.core.logarithm import log
from mtquant.core.moves import natural
from mtquant.market.account import (
    A_CASH,
    A_EQUITY,
    A_INITIAL,
    A_PEAK,
    A_VARIANCE,
    ACCOUNT,
    B_HELD_BARS,
    B_MARK,
    B_POSITION,
    B_RATE,
    BAR_BINDING,
    BAR_FEE,
    BAR_FILLS,
    BAR_SLIPPAGE,
    BAR_STOPS,
    BAR_TRADED,
    FIRST_POSITION,
    O_BENCHMARK,
    O_BINDING,
    O_COST,
    O_DRAWDOWN,
    O_EQUITY,
    O_EQUITY_BEFORE,
    O_FEE,
    O_FINANCING,
    O_GROSS,
    O_GROWTH,
    O_MARGIN_USE,
    O_NET,
    O_SIMPLE_RETURN,
    O_SLIPPAGE,
    O_STATUS,
    O_TAIL_LOSS,
    O_TURNOVER,
    OUTCOME,
    POSITION_SIZE,
    W_BEFORE,
    W_BENCHMARK,
    W_ELAPSED,
    W_MARGIN,
    W_RATIO,
    account_of,
    at,
    block_size,
    book_trade,
    gain_of,
    margin_of,
    open_account,
    value_of,
)
from mtquant.market.diversification import write_diversification
from mtquant.market.execution import charge_financing, fill_orders, liquidate, trigger_stops
from mtquant.market.ledger import Ledger
from mtquant.market.planning import limit_arrays, plan_block
from mtquant.market.rules import (
    R_MULTIPLIER,
    S_BANKRUPTCY,
    S_FILL_AT_CLOSE,
    Rules,
    count_of,
    rule_of,
)
from mtquant.market.tape import (
    C_BENCHMARK,
    C_ELAPSED,
    S_FINANCING,
    S_TARGET,
    SHEET_SIZE,
    T_CLOSE,
    T_OPEN,
    T_RATE_CLOSE,
    T_RATE_OPEN,
    T_TRADABLE,
    Tape,
    load_bars,
    sheet_at,
)

Float = NDArray[np.float64]
Rows = NDArray[np.int64]
EQUITY_FLOOR_FRAC = 1e-6  # of the deposit: what a ruined account counts as in the logarithm
VARIANCE_DECAY = 0.94  # RiskMetrics Technical Document, 4th ed. 1996, daily decay factor
TAIL_SIGMAS = 1.645  # 95 % quantile of the normal distribution


@kernel
def _start_bar(block: Float, clock: Float, rows: Rows, live: int) -> None:
    for i in range(live):
        now = clock[natural(rows[i])]
        block[W_ELAPSED + i] = now[C_ELAPSED]
        block[W_BENCHMARK + i] = now[C_BENCHMARK]
    for i in range(lanes_of(block)):
        block[W_BEFORE + i] = block[A_EQUITY + i]
        block[BAR_FEE + i] = 0.0
        block[BAR_SLIPPAGE + i] = 0.0
        block[BAR_TRADED + i] = 0.0
        block[BAR_STOPS + i] = 0.0
        block[BAR_FILLS + i] = 0.0


@kernel
def _mark_open(block: Float, sheet: Float, n_instruments: int) -> None:
    # Where a market was closed, its bar holds its last known close.
    for n in range(n_instruments):
        for i in range(lanes_of(block)):
            block[at(n, B_MARK) + i] = sheet[sheet_at(n, T_OPEN) + i]
            block[at(n, B_RATE) + i] = sheet[sheet_at(n, T_RATE_OPEN) + i]


@kernel
def _mark_close(block: Float, sheet: Float, rules: Float) -> None:
    """Marks the accounts at the close; what they hold, gross and net, and the financing of the bar
    go into the outcome (still in money).
    """
    for i in range(lanes_of(block)):
        block[A_EQUITY + i] = block[A_CASH + i]
        block[W_MARGIN + i] = 0.0
        block[O_GROSS + i] = 0.0
        block[O_NET + i] = 0.0
        block[O_FINANCING + i] = 0.0
    for n in range(count_of(rules)):
        rule = rule_of(rules, n)
        for i in range(lanes_of(block)):
            _mark_position(block, i, n, sheet)
        for i in range(lanes_of(block)):
            block[A_EQUITY + i] += gain_of(block, i, n, rule[R_MULTIPLIER])
            block[W_MARGIN + i] += margin_of(block, i, n, rule)
            value = value_of(block, i, n, rule[R_MULTIPLIER])
            value = choose(block[at(n, B_POSITION) + i] != 0.0, value, 0.0)
            block[O_NET + i] += value
            block[O_GROSS + i] += abs(value)
            block[O_FINANCING + i] += sheet[sheet_at(n, S_FINANCING) + i]


@kernel
def _mark_position(block: Float, i: int, n: int, sheet: Float) -> None:
    """One position at the close: mark, rate, bars held.

    In a loop of its own: together with what is added up behind it, it is more than the compiler
    turns into vector instructions.
    """
    tradable = sheet[sheet_at(n, T_TRADABLE) + i] > 0.0
    block[at(n, B_MARK) + i] = sheet[sheet_at(n, T_CLOSE) + i]
    block[at(n, B_RATE) + i] = sheet[sheet_at(n, T_RATE_CLOSE) + i]
    block[at(n, B_HELD_BARS) + i] += choose(
        tradable & (block[at(n, B_POSITION) + i] != 0.0), 1.0, 0.0
    )


@kernel
def _write_outcome(block: Float, i: int, bankruptcy_frac: float) -> None:
    """One Outcome row from the marked account, but for its growth; then the EWMA variance takes in
    this bar's return.
    """
    before, equity, initial = block[W_BEFORE + i], block[A_EQUITY + i], block[A_INITIAL + i]
    peak = max(block[A_PEAK + i], equity)
    block[A_PEAK + i] = peak
    ruined = equity <= bankruptcy_frac * initial
    floored = max(equity, EQUITY_FLOOR_FRAC * initial)
    per_before, per_equity = 1.0 / before, 1.0 / floored
    simple = (equity - before) * per_before
    variance = block[A_VARIANCE + i]
    fee, slippage = block[BAR_FEE + i], block[BAR_SLIPPAGE + i]
    block[W_RATIO + i] = floored * per_before
    block[O_EQUITY_BEFORE + i] = before
    block[O_EQUITY + i] = equity
    block[O_SIMPLE_RETURN + i] = simple
    block[O_BENCHMARK + i] = block[W_BENCHMARK + i]
    block[O_FEE + i] = fee
    block[O_SLIPPAGE + i] = slippage
    block[O_COST + i] = (fee + slippage) * per_before
    block[O_TURNOVER + i] = block[BAR_TRADED + i] * per_before
    block[O_DRAWDOWN + i] = 1.0 - equity / peak
    block[O_TAIL_LOSS + i] = max(0.0, -simple - TAIL_SIGMAS * math.sqrt(variance))
    block[O_GROSS + i] *= per_equity
    block[O_NET + i] *= per_equity
    block[O_MARGIN_USE + i] = block[W_MARGIN + i] * per_equity
    block[O_BINDING + i] = block[BAR_BINDING + i]
    block[O_STATUS + i] = choose(ruined, float(oc.STATUS_BANKRUPT), float(oc.STATUS_ACTIVE))
    block[A_VARIANCE + i] = VARIANCE_DECAY * variance + (1.0 - VARIANCE_DECAY) * simple * simple


@kernel
def open_bar(
    block: Float,
    rows: Rows,
    tape: Float,
    clock: Float,
    rules: Float,
    settings: Float,
    fills: Float | None,
    sheet: Float,
    live: int,
) -> None:
    """Financing, the open, and the queued orders: events 0 to 2. Arguments as in `desk_bar`."""
    at_close = settings[S_FILL_AT_CLOSE] > 0.0
    _start_bar(block, clock, rows, live)
    if at_close:
        load_bars(tape, rows, 1, sheet, live)
        # Fills are dated to the bar whose close it is.
        for i in range(live):
            rows[i] -= 1
        fill_orders(block, sheet, rows, rules, fills, live)
        for i in range(live):
            rows[i] += 1
    load_bars(tape, rows, 0, sheet, live)
    charge_financing(block, sheet, rules)
    _mark_open(block, sheet, count_of(rules))
    if not at_close:
        fill_orders(block, sheet, rows, rules, fills, live)


@kernel
def close_bar(block: Float, sheet: Float, rules: Float, settings: Float) -> None:
    """The mark at the close and the ledger row: events 4 and 5. Arguments as in `desk_bar`."""
    _mark_close(block, sheet, rules)
    bankruptcy_frac = settings[S_BANKRUPTCY]
    for i in range(lanes_of(block)):
        _write_outcome(block, i, bankruptcy_frac)
    for i in range(lanes_of(block)):
        block[O_GROWTH + i] = log(block[W_RATIO + i])


@kernel
def desk_bar(
    block: Float,
    rows: Rows,
    tape: Float,
    clock: Float,
    rules: Float,
    settings: Float,
    fills: Float | None,
    sheet: Float,
    live: int,
) -> None:
    """Lives a block of accounts through one bar each: events 0 to 5 of docs/execution.md.

    Args:
        block: float64, flat (`account.py`).
        rows: int64 [LANES], the bars, >= 1.
        tape: float64 [T, N, TAPE_COLUMNS].
        clock: float64 [T, CLOCK_COLUMNS].
        rules: float64 [N, RULE_COLUMNS].
        settings: float64 [SETTING_COLUMNS].
        fills: float64 [M, len(FILL_COLUMNS)]; receives fills and refusals of this bar while it has
            room. None in training, and wherever a block holds several accounts.
        sheet: float64, flat (`tape.py`), with the orders planned at the close of the bars before.
        live: Lanes in use, the first ones; what the others hold is of no account.
    """
    open_bar(block, rows, tape, clock, rules, settings, fills, sheet, live)
    trigger_stops(block, sheet, rows, rules, fills)
    liquidate(block, sheet, rows, rules, settings, fills, live)
    close_bar(block, sheet, rules, settings)


@kernel
def broker_bar(
    block: Float,
    rows: Rows,
    tape: Float,
    clock: Float,
    rules: Float,
    executions: Float,
    settings: Float,
    fills: Float,
    sheet: Float,
) -> None:
    """Lives one account (lane 0) through a bar whose fills a broker made: `desk_bar` with its steps
    2 and 3 replaced by booking what was done, in the broker's order.

    Args:
        executions: float64 [M, len(FILL_COLUMNS)], fills and refusals; `row` is not read.
        fills: float64 [M or more, len(FILL_COLUMNS)]; receives what was booked.
        block, rows, tape, clock, rules, settings, sheet: As in `desk_bar`; no orders are queued.
    """
    _start_bar(block, clock, rows, 1)
    load_bars(tape, rows, 0, sheet, 1)
    charge_financing(block, sheet, rules)
    _mark_open(block, sheet, count_of(rules))
    for k in range(executions.shape[0]):
        n = int(executions[k, oc.FILL_INSTRUMENT])
        book_trade(
            block,
            0,
            n,
            executions[k, oc.FILL_QUANTITY],
            executions[k, oc.FILL_REFERENCE],
            executions[k, oc.FILL_RATE],
            executions[k, oc.FILL_PRICE],
            executions[k, oc.FILL_FEE],
            executions[k, oc.FILL_SLIPPAGE],
            rule_of(rules, n),
            fills,
            rows[0],
            int(executions[k, oc.FILL_ORIGIN]),
            executions[k, oc.FILL_WANTED],
            int(executions[k, oc.FILL_REASON]),
        )
    close_bar(block, sheet, rules, settings)


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
        self.limits = limit_arrays(rules, tape)
        self.settings = rules.settings()
        self._exact_settings = replace(rules, rebalance_band=0.0).settings()
        n = len(tape.symbols)
        self.block = single_block(block_size(n, rules.latency_bars > 0))
        self.account = account_of(self.block, 0)
        self.outcome = self.account[OUTCOME // LANES : ACCOUNT // LANES]
        self.sheet = np.zeros(n * SHEET_SIZE)
        self._rows = np.full(LANES, start_row)
        # Each instrument can fill its order and then be stopped or liquidated in the same bar.
        self._buffer = np.zeros((2 * n, len(oc.FILL_COLUMNS)))
        self._lived: list[tuple[Float, ...]] = []
        self._stretches: list[tuple[Float, ...]] = []  # what was lived, [bars, columns] each
        self._fills: list[Float] = []
        self._first_row = start_row + 1
        open_account(self.block, 0, self.initial_equity, cost_scale, tape.prices[start_row])
        load_bars(tape.prices, self._rows, 0, self.sheet, 1)

    def column(self, column: int) -> Float:
        """One column (B_*) of every position, float64 [N] (a view)."""
        end = FIRST_POSITION + len(self.tape.symbols) * POSITION_SIZE
        return self.block[FIRST_POSITION + column : end : POSITION_SIZE]

    def noted(self, column: int) -> Float:
        """One column (S_*) of the sheet, for every instrument, float64 [N] (a view)."""
        return self.sheet[column * LANES :: SHEET_SIZE]

    @property
    def bankrupt(self) -> bool:
        """Whether the last bar ended the account."""
        return bool(self.outcome[oc.STATUS] == oc.STATUS_BANKRUPT)

    def plan(self, targets: Float, exact: bool = False) -> None:
        """Queues the orders that lead to `targets`.

        Args:
            targets: Exposures, float64 [N]; NaN leaves a position alone.
            exact: Targets within the `rebalance_band` count as well: somebody insists.

        Raises:
            PolicyError: The shape is wrong. Values are the limits' business, not an error.
        """
        shape = (len(self.tape.symbols),)
        if np.shape(targets) != shape:
            raise PolicyError(
                "targets",
                f"must have shape {shape}",
                np.shape(targets),
                "Give one exposure per instrument.",
            )
        self.noted(S_TARGET)[:] = targets
        self._rows[0] = self.row
        plan_block(
            self.block,
            self.sheet,
            self._rows,
            self.rules_matrix,
            self._exact_settings if exact else self.settings,
            self.limits,
            1,
        )

    def advance(self) -> Float:
        """Lives through the next bar and returns its Outcome, float64 [len(OUTCOME_COLUMNS)]."""
        self.row += 1
        targets = self.noted(S_TARGET).copy()
        fills = self.live()
        if len(fills):
            self._fills.append(fills)
        self._lived.append(
            (
                self.outcome.copy(),
                self.column(B_POSITION).copy(),
                self.column(B_MARK).copy(),
                self.column(B_RATE).copy(),
                self.noted(S_FINANCING).copy(),
                targets,
            )
        )
        return self.outcome

    def live(self) -> Float:
        """Lives through the bar at `row` and returns its fills and refusals, float64 [M,
        len(FILL_COLUMNS)]; nothing is recorded.
        """
        self._rows[0] = self.row
        desk_bar(
            self.block,
            self._rows,
            self.tape.prices,
            self.tape.clock,
            self.rules_matrix,
            self.settings,
            self._buffer,
            self.sheet,
            1,
        )
        self.see_diversification()
        return self._buffer[: int(self.block[BAR_FILLS])].copy()

    def see_diversification(self) -> None:
        """Adds to the outcome how spread the risk of the book is, where a limit measures risks."""
        if self.rules.measures_risk():
            risk = self.tape.risk(self.rules.var_method).rows
            write_diversification(self.block, 0, self.rules_matrix, risk[self.row - 1])

    def record(self, bars: int, lived: tuple[Float, ...], fills: Sequence[Float]) -> None:
        """Takes note of bars that were lived through elsewhere (`passage.py`).

        Args:
            bars: How many.
            lived: Float64 [bars, columns]: outcomes, positions, mids, rates, financing, targets.
            fills: Float64 [M, len(FILL_COLUMNS)], in order.
        """
        self._gather()
        self.row += bars
        self._stretches.append(lived)
        self._fills.extend(fills)

    def _gather(self) -> None:
        """Makes one stretch of the bars lived one by one."""
        if self._stretches and not self._lived:
            return
        n = len(self.tape.symbols)
        widths = (len(oc.OUTCOME_COLUMNS), n, n, n, n, n)
        self._stretches.append(
            tuple(
                np.array([row[k] for row in self._lived]).reshape(len(self._lived), size)
                for k, size in enumerate(widths)
            )
        )
        self._lived = []

    def ledger(self) -> Ledger:
        """Everything since the start, as an immutable ledger."""
        self._gather()
        parts = [stretch for stretch in self._stretches if len(stretch[0])] or self._stretches[:1]
        columns = [np.concatenate(p) if len(p) > 1 else p[0] for p in zip(*parts, strict=True)]
        rows = np.arange(self._first_row, self._first_row + len(columns[0]))
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
            fills=np.concatenate(self._fills) if len(self._fills) > 1 else [*self._fills, empty][0],
            notes=self.tape.notes,
        )
