# SPDX-License-Identifier: Apache-2.0
"""Backtest and paper trading: the newest test bars are replayed through the paper loop, bar by bar,
with the simulated broker. The policy has to be shown the same bytes, and the account has to live
through the same bars, fill for fill.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mtquant.core import outcome as oc
from mtquant.core.config import GuardConfig
from mtquant.core.paper_config import PaperConfig
from mtquant.features.timeframes import TimeframePipeline, without_ages
from mtquant.market.ledger import Ledger
from mtquant.paper.alerts import Alerts
from mtquant.paper.feeds import Replay
from mtquant.paper.opening import open_loop
from mtquant.paper.reading import market_ledger, reader
from mtquant.paper.seats import Model
from mtquant.paper.sim_broker import SimBroker
from mtquant.paper.terms import Terms
from mtquant.workflows.backtesting import Market
from mtquant.workflows.verify.behaviour import Witness, live
from mtquant.workflows.verify.changes import without_first
from mtquant.workflows.verify.compare import Differences, Numbers, deviations
from mtquant.workflows.verify.draws import Effort
from mtquant.workflows.verify.record import Finding, Record
from mtquant.workflows.verify.subject import Subject

NAME = "paper sees what the backtest saw"
REMEDY = (
    "The policy would not trade on paper as it did in the backtest. Look for features that stream "
    "otherwise, and for state outside of what the policy hands over from bar to bar."
)
MOST_BEFORE = 3_000  # rows of history: every bar goes through the streaming features
# What watches over a real account and may step in is not what is compared.
UNGUARDED = GuardConfig(
    reduce_drawdown_frac=None,
    halt_drawdown_frac=None,
    reduce_daily_loss_frac=None,
    halt_daily_loss_frac=None,
    max_var_exceedances=None,
    max_data_age_bars=None,
)
UNWATCHED = PaperConfig(
    max_jump_frac=1e9,
    max_orders_per_hour=10**9,
    caution_drawdown_frac=None,
    limit_slack=1e9,
    heartbeat_seconds=1e9,
    max_clock_skew_seconds=1e9,
)


def check_paper(subject: Subject, effort: Effort) -> Record:
    """Replays the newest test bars behind a history of some thousand rows."""
    if subject.config.environment.fill_at != "open":
        why = "orders that fill at the close they were decided on do so in a backtest only"
        return Record.not_checked(NAME, why, "Leave environment.fill_at at open.")
    rows = subject.test_rows
    rows = slice(max(rows.start, rows.stop - effort.replayed - 1), rows.stop)
    before = subject.warmup + subject.policy.window_bars + MOST_BEFORE
    begin = max(0, rows.start - before)
    stamps = subject.market.panel.stamps
    market = subject.market_of([without_first(own, int(stamps[begin])) for own in subject.bars])
    lived = slice(rows.start - begin, rows.stop - begin)
    backtest, expected = live(subject, market, market.features_of(subject.policy), lived)
    paper, found = _on_paper(subject, market, lived)
    findings = [*_shown(subject, backtest, paper, rows), *_booked(subject, expected, found, begin)]
    looked = (
        f"observations and targets of {len(backtest.seen):,} decisions, outcomes of as many bars "
        f"and {len(expected.fills):,} fills are the same bytes in the paper loop"
    )
    return Record.of(NAME, findings, looked, REMEDY)


def _on_paper(subject: Subject, market: Market, rows: slice) -> tuple[Witness, Ledger]:
    """The policy in the paper loop, on an account that is opened at the first of the rows."""
    witness, symbols = Witness(subject.policy), market.panel.symbols
    names = without_ages(tuple(subject.policy.feature_names))
    config, instruments = subject.config, subject.instruments
    pipeline = TimeframePipeline.from_config(config, instruments, symbols, names)
    reward = subject.reward(market.tape)
    model = Model(subject.name, subject.name, witness, pipeline, reward)
    terms = Terms(
        subject.name,
        "verify",
        market.rules,
        market.panel.bar_seconds,
        market.tape.bars_per_year,
        UNWATCHED,
        UNGUARDED,
    )
    last = int(market.panel.stamps[rows.stop - 1])
    feed, past = (Replay([own.between(0, last + 1) for own in market.bars]) for _ in range(2))
    with TemporaryDirectory(prefix="mtquant-verify-") as place:
        path = Path(place) / "paper.sqlite"
        loop = open_loop(
            path,
            terms,
            lambda: [past.next(0.0) for _ in range(rows.start + 1)],
            feed,
            lambda tape, _: SimBroker(tape, market.rules),
            lambda _: model,
            subject.name,
            Alerts(Path(place) / "alerts.jsonl", terms.name),
        )
        try:
            loop.run()
        finally:
            loop.recorder.ledger.close()
        with reader(path) as connection:
            return witness, market_ledger(connection)


def _shown(subject: Subject, backtest: Witness, paper: Witness, rows: slice) -> list[Finding]:
    """Observations and targets; the paper loop decides once more, at the last close."""
    expected, found = backtest.rows(), paper.rows()
    seen = backtest.seen[0]
    names = [*seen.names, *(f"target of {symbol}" for symbol in seen.symbols)]
    unit = np.maximum(deviations(expected), 1e-9)
    differences = Differences(subject, names, [""] * len(names), unit)
    same = min(len(expected), len(found))
    differences.add(expected[:same], found[:same], rows.start, rows.stop, "in the paper loop")
    findings = differences.findings()
    if len(found) < len(expected):
        text = f"the paper loop made {len(found)} of {len(expected)} decisions"
        findings.append(Finding("decisions", text))
    return findings


def _booked(subject: Subject, expected: Ledger, found: Ledger, begin: int) -> list[Finding]:
    """Outcomes bar by bar, and fills one by one."""
    findings = []
    parts = (
        ("outcome", oc.OUTCOME_COLUMNS, expected.outcomes, found.outcomes),
        ("fill", oc.FILL_COLUMNS, expected.fills, found.fills),
    )
    for what, names, own, other in parts:
        if own.tobytes() == other.tobytes():
            continue
        k, column = _first_difference(own, other)
        if column < 0:
            text = f"{len(other)} in the paper loop, {len(own)} in the backtest"
            findings.append(Finding(f"{what}s", text))
            continue
        bar = k if what == "outcome" else int(own[k, oc.FILL_ROW] - expected.rows[0])
        row = begin + int(expected.rows[min(max(bar, 0), len(expected) - 1)])
        text = f"was {own[k, column]:.9g}, is {other[k, column]:.9g} in the paper loop"
        stamp = subject.stamp(row)
        size = abs(float(own[k, column] - other[k, column]))
        findings.append(Finding(f"{names[column]} of {what} {k}", text, "", row, stamp, size))
    return findings


def _first_difference(own: Numbers, other: Numbers) -> tuple[int, int]:
    """Row and column; (-1, -1) where one only goes on for longer."""
    same = min(len(own), len(other))
    first, second = own[:same], other[:same]
    differ = (first != second) & ~(np.isnan(first) & np.isnan(second))
    if not differ.any():
        return -1, -1
    k = int(differ.any(axis=1).argmax())
    return k, int(differ[k].argmax())
