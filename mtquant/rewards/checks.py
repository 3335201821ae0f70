# SPDX-License-Identifier: Apache-2.0
"""`check_reward`: proves that a reward term cannot be farmed and means the same everywhere.

    check_reward(Term("calm", calm, kind="penalty"))  # raises RewardError naming the broken rule

The term is run on made-up episodes, calm and wild, and on rows at the edge of what a ledger can
hold. Each rule below is one function; the error holds the rule and the values that broke it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.errors import RewardError
from mtquant.core.seeding import SeedTree
from mtquant.rewards import terms
from mtquant.rewards.catalog import Term
from mtquant.rewards.compose import Reward

Float = NDArray[np.float64]

BARS = 60
INITIAL_EQUITY = 100_000.0
LEAST_GROWTH = float(np.log(1e-6))  # a ruined account counts as 1e-6 of its deposit
TOLERANCE = 1e-9
GUARD = 4  # cells around a state that a term must leave alone

MONEY = [oc.EQUITY_BEFORE, oc.EQUITY, oc.FEE, oc.SLIPPAGE, oc.FINANCING]
RETURNS = [
    oc.GROWTH,
    oc.SIMPLE_RETURN,
    oc.BENCHMARK,
    oc.COST,
    oc.TURNOVER,
    oc.DRAWDOWN,
    oc.TAIL_LOSS,
]
# More of these with the same return is activity or harm, and must not be paid.
NEVER_PAID = [
    oc.FEE,
    oc.SLIPPAGE,
    oc.FINANCING,
    oc.COST,
    oc.TURNOVER,
    oc.DRAWDOWN,
    oc.TAIL_LOSS,
    oc.GROSS,
    oc.MARGIN_USE,
    oc.BINDING,
]


def check_reward(term: Term, parameters: Float | None = None, seed: int = 0) -> None:
    """Checks a term against every rule of this module.

    Args:
        term: What the term is and claims.
        parameters: float64 [PARAMETERS]; those of a reward with ``scale=0.01`` when None.
        seed: Root of the draws.

    Raises:
        RewardError: The first rule that is broken, with the values.
    """
    if parameters is None:
        parameters = Reward({}, scale=0.01).parameter_vector()
    case = _Case(term, parameters, SeedTree(seed).child("check_reward").generator())
    for rule in RULES:
        rule(case)


def ledger_rows(simple_returns: Float, generator: np.random.Generator) -> Float:
    """Ledger rows of an account that earns these simple returns (> -1) and trades a little.

    Args:
        simple_returns: float64 [T].
        generator: Draws benchmark, turnover, costs and exposures, always as many.

    Returns:
        float64 [T, len(OUTCOME_COLUMNS)].
    """
    bars = len(simple_returns)
    rows = np.zeros((bars, len(oc.OUTCOME_COLUMNS)))
    equity = INITIAL_EQUITY * np.cumprod(1.0 + simple_returns, dtype=np.float64)
    rows[:, oc.EQUITY_BEFORE] = np.concatenate([[INITIAL_EQUITY], equity[:-1]])
    rows[:, oc.EQUITY] = equity
    rows[:, oc.SIMPLE_RETURN], rows[:, oc.GROWTH] = simple_returns, np.log1p(simple_returns)
    rows[:, oc.BENCHMARK] = generator.normal(0.0, 0.01, bars)
    rows[:, oc.TURNOVER] = generator.exponential(0.1, bars)
    rows[:, oc.COST] = 1e-4 * rows[:, oc.TURNOVER]
    rows[:, oc.FEE] = 0.25 * rows[:, oc.COST] * rows[:, oc.EQUITY_BEFORE]
    rows[:, oc.SLIPPAGE] = 3.0 * rows[:, oc.FEE]
    rows[:, oc.DRAWDOWN] = 1.0 - equity / np.maximum(INITIAL_EQUITY, np.maximum.accumulate(equity))
    rows[:, oc.TAIL_LOSS] = np.maximum(0.0, -simple_returns - 0.01645)  # 1 % a bar, 95 %
    rows[:, oc.GROSS] = generator.uniform(0.0, 1.0, bars)
    rows[:, oc.NET] = rows[:, oc.GROSS] * generator.uniform(-1.0, 1.0, bars)
    rows[:, oc.MARGIN_USE] = 0.1 * rows[:, oc.GROSS]
    rows[:, oc.DIVERSIFICATION] = generator.uniform(0.0, 0.8, bars)
    return rows


@dataclass(frozen=True)
class _Case:
    """A term, its parameters and the draws of one check."""

    term: Term
    parameters: Float
    generator: np.random.Generator

    def values(self, rows: Float, parameters: Float | None = None) -> Float:
        """What the term pays for each row of one episode, float64 [T]."""
        state = np.array(self.term.start, dtype=np.float64)
        numbers = self.parameters if parameters is None else parameters
        return np.array([self.term.function(state, row, numbers) for row in rows])

    def episodes(self) -> Iterator[Float]:
        """Episodes of rising, falling, calm and wild accounts."""
        for drift, volatility in ((0.001, 0.01), (-0.002, 0.01), (0.0, 1e-5), (0.0, 0.1)):
            draws = self.generator.normal(drift, volatility, BARS)
            yield ledger_rows(np.clip(draws, -0.5, 1.0), self.generator)

    def fail(self, rule: str, found: object, remedy: str) -> None:
        """Refuses the term."""
        raise RewardError(f"reward term {self.term.name}", rule, found, remedy)


def _is_finite(case: _Case) -> None:
    """Finite value and state at the edges of what a ledger can hold, also after many such bars."""
    idle = np.zeros(len(oc.OUTCOME_COLUMNS))
    idle[[oc.EQUITY_BEFORE, oc.EQUITY]] = INITIAL_EQUITY
    ruin, riches = idle.copy(), idle.copy()
    ruin[RETURNS] = (LEAST_GROWTH, -2.0, 0.5, 0.1, 50.0, 3.0, 2.0)
    ruin[oc.EQUITY], ruin[oc.STATUS] = -INITIAL_EQUITY, oc.STATUS_BANKRUPT
    riches[RETURNS] = (np.log(1e3), 1e3, -1.0, 0.0, 1e3, 0.0, 0.0)
    riches[[oc.EQUITY, oc.GROSS, oc.NET]] = (1e3 * INITIAL_EQUITY, 100.0, -100.0)
    for order in ((idle, ruin, riches), (riches, ruin, idle), (ruin, ruin, riches)):
        state = np.array(case.term.start, dtype=np.float64)
        for row in [each for each in order for _ in range(BARS)]:
            value = case.term.function(state, row, case.parameters)
            if not isinstance(value, int | float | np.number):
                case.fail("must return a number", value, "Return one float per bar.")
            if not (np.isfinite(value) and np.isfinite(state).all()):
                found = {"value": value, "state": state.tolist(), "return": row[oc.SIMPLE_RETURN]}
                case.fail("must stay finite", found, "Bound what it divides by.")


def _is_its_state(case: _Case) -> None:
    """The state is all it remembers, and all it changes."""
    first, second = list(case.episodes())[:2]
    alone = case.values(first.copy())
    room = np.full((2, len(case.term.start) + 2 * GUARD), np.pi)
    states = room[:, GUARD : room.shape[1] - GUARD]
    states[:] = case.term.start
    numbers = case.parameters.copy()
    for t, (row, other) in enumerate(zip(first.copy(), second.copy(), strict=True)):
        kept = row.copy()
        value = case.term.function(states[0], row, numbers)
        case.term.function(states[1], other, numbers)  # another account, in between
        if value != alone[t]:
            found = {"alone": float(alone[t]), "between another account's bars": float(value)}
            remedy = "Keep everything it remembers in the state."
            case.fail("must remember nothing outside its state", found, remedy)
        if row.tobytes() != kept.tobytes() or numbers.tobytes() != case.parameters.tobytes():
            case.fail("must not change outcome or parameters", t, "Copy what you need.")
    if (room[:, :GUARD] != np.pi).any() or (room[:, room.shape[1] - GUARD :] != np.pi).any():
        wrote = room[0].tolist()
        case.fail("must not write beyond its state", wrote, "Declare as many numbers in `start`.")


def _is_the_same_everywhere(case: _Case) -> None:
    """Simulator, backtest and paper hold their rows differently in memory; the value is the same,
    and a kernel's is that of its plain Python.
    """
    plain = getattr(case.term.function, "py_func", None)
    for rows in case.episodes():
        values = case.values(rows)
        strided = case.values(np.asfortranarray(rows))
        if strided.tobytes() != values.tobytes():
            t = int(np.flatnonzero(strided != values)[0])
            found = {"packed row": float(values[t]), "column of a block": float(strided[t])}
            case.fail("must not depend on memory layout", found, "Read columns by index.")
        if plain is not None:
            state = np.array(case.term.start, dtype=np.float64)
            python = np.array([plain(state, row, case.parameters) for row in rows])
            if not np.allclose(values, python, rtol=TOLERANCE, atol=TOLERANCE):
                t = int(np.argmax(np.abs(values - python)))
                found = {"compiled": float(values[t]), "plain Python": float(python[t])}
                remedy = "Look for division by zero, and for numbers captured at compilation."
                case.fail("must be what its plain Python says", found, remedy)


def _has_no_unit(case: _Case) -> None:
    """Another currency changes nothing, nor do returns and scale that are both larger."""
    for rows in case.episodes():
        values = case.values(rows)
        money = rows.copy()
        money[:, MONEY] *= 150.0
        returns, numbers = rows.copy(), case.parameters.copy()
        returns[:, RETURNS] *= 4.0
        numbers[terms.P_UNIT] /= 4.0
        numbers[[terms.P_RISK_FREE, terms.P_DRAWDOWN_TARGET]] *= 4.0
        for what, twin in (
            ("money 150 times as large", case.values(money)),
            ("returns and scale 4 times as large", case.values(returns, numbers)),
        ):
            if not np.allclose(values, twin, rtol=1e-6, atol=TOLERANCE):
                t = int(np.argmax(np.abs(values - twin)))
                found = {"value": float(values[t]), f"with {what}": float(twin[t])}
                remedy = "Divide money by equity_before, and multiply returns by P_UNIT."
                case.fail("must have no unit", found, remedy)


def _has_its_sign(case: _Case) -> None:
    """A penalty is never positive, a bonus never negative; a gain grows with the mean return."""
    for rows in case.episodes():
        values = case.values(rows)
        if case.term.kind == "penalty" and (values > 0.0).any():
            case.fail("is a penalty and must never be positive", float(values.max()), "See `kind`.")
        if case.term.kind == "bonus" and (values < 0.0).any():
            case.fail("is a bonus and must never be negative", float(values.min()), "See `kind`.")
    if case.term.kind != "gain":
        return
    for volatility in (0.002, 0.01, 0.03):
        draws = np.clip(case.generator.normal(0.0, volatility, BARS), -0.5, 1.0)
        same = SeedTree(int(case.generator.integers(1 << 30)))  # but for the return
        less, more = (
            float(case.values(ledger_rows(draws + drift, same.generator())).sum())
            for drift in (0.0, 0.3 * volatility)
        )
        if not more >= less:
            found = {"reward": less, "with a higher return at the same risk": more}
            case.fail("must not fall when the mean return rises", found, "Check its sign.")


def _pays_no_idler(case: _Case) -> None:
    """An account without a position earns nothing, unless the term says so."""
    rows = ledger_rows(np.zeros(BARS), case.generator)
    idle = [oc.TURNOVER, oc.COST, oc.FEE, oc.SLIPPAGE, oc.GROSS, oc.NET, oc.MARGIN_USE]
    rows[:, [*idle, oc.DIVERSIFICATION]] = 0.0
    paid = case.values(rows)
    if not case.term.pays_idle and (paid > TOLERANCE).any():
        remedy = "Make it 0 for a flat account, or declare pays_idle if that is meant."
        case.fail("must not pay for doing nothing", float(paid.max()), remedy)


def _pays_no_activity(case: _Case) -> None:
    """Trading, holding, binding limits or losing more does not pay at the same return."""
    for rows in case.episodes():
        before = case.values(rows)
        for column in NEVER_PAID:
            busy = rows.copy()
            busy[BARS // 2, column] += 1.0
            gain = float((case.values(busy) - before).sum())
            if gain > TOLERANCE * (1.0 + float(np.abs(before).sum())):
                found = {f"reward for 1 more of {oc.OUTCOME_COLUMNS[column]}": gain}
                remedy = "A policy would do it for the reward alone: pay for returns instead."
                case.fail("must not pay for activity or harm", found, remedy)


def _pays_no_circle(case: _Case) -> None:
    """An account that only wins and loses in turn, and ends lower, is not paid for going on."""
    if case.term.kind != "gain":
        return
    for size in (0.001, 0.01, 0.1):
        turns = size * np.where(np.arange(20 * BARS) % 2 == 0, 1.0, -1.0)
        rows = ledger_rows(turns, case.generator)
        rows[:, oc.BENCHMARK] = 0.0
        paid = case.values(rows)
        excess = float(paid.sum())
        # One bar's gain may be open at any time; a term that can be farmed pays hundreds.
        if excess > 2.0 * size * case.parameters[terms.P_UNIT] + TOLERANCE:
            found = {
                "bars": len(turns),
                "reward": excess,
                "growth": float(rows[:, oc.GROWTH].sum()),
            }
            remedy = "Let losses take back what gains paid."
            case.fail("must not pay for going up and down", found, remedy)


def _sums_up(case: _Case) -> None:
    """The values of an episode add up to the closed form that the term declares."""
    if case.term.sums_to is None:
        return
    for rows in case.episodes():
        values = case.values(rows)
        found, expected = float(values.sum()), case.term.sums_to(rows, case.parameters)
        if abs(found - expected) > TOLERANCE * (1.0 + float(np.abs(values).sum())):
            numbers = {"sum of the values": found, "closed form": expected}
            case.fail("must add up to its closed form", numbers, "Correct the term or `sums_to`.")


RULES: tuple[Callable[[_Case], None], ...] = (
    _is_finite,
    _is_its_state,
    _is_the_same_everywhere,
    _has_no_unit,
    _has_its_sign,
    _pays_no_idler,
    _pays_no_activity,
    _pays_no_circle,
    _sums_up,
)
