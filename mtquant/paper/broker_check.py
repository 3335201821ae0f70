# SPDX-License-Identifier: Apache-2.0
"""`check_broker`: what every adapter has to hold before the loop may trust it.

    report = check_broker(lambda: MyBroker(...), trade)
    report.passed, str(report)

Use a practice account without positions. The suite places a few orders of the smallest size and
closes them again; `trade` lets time pass until an order has been dealt with.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from mtquant.paper.broker import Broker, BrokerError, BrokerTimeout
from mtquant.paper.orders import ENDED, SENT, Execution, Order

MakeBroker = Callable[[], Broker]


@dataclass
class BrokerReport:
    """What was found.

    Attributes:
        checked: Names of the rules that were tried.
        findings: Those that are broken: name and what was seen.
    """

    checked: list[str] = field(default_factory=list)
    findings: list[tuple[str, str]] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether no rule is broken."""
        return not self.findings

    def __str__(self) -> str:
        broken = dict(self.findings)
        lines = [
            f"{'FAIL' if name in broken else 'ok':4} {name} {broken.get(name, '')}".rstrip()
            for name in self.checked
        ]
        return "\n".join(lines)

    def rule(self, name: str, holds: bool, seen: object) -> None:
        """Notes one rule."""
        self.checked.append(name)
        if not holds:
            self.findings.append((name, f"saw {seen}"))


def check_broker(
    make: MakeBroker,
    symbol: str,
    lot: float,
    trade: Callable[[], None],
    prefix: str = "check",
) -> BrokerReport:
    """Tries an adapter out.

    Args:
        make: Makes an adapter for the same account; called twice, as a restarted loop does.
        symbol: An instrument whose market is open.
        lot: Smallest quantity of it.
        trade: Lets orders be filled: waits a moment, or tells a simulated venue of a bar.
        prefix: Of the client ids; one that this account has never seen.
    """
    report, broker = BrokerReport(), make()
    first = Order(f"{prefix}-1", symbol, 2.0 * lot, 1)
    _check_nothing_known(report, broker, prefix)
    before = broker.holdings().positions.get(symbol, 0.0)
    cursor = _last_cursor(broker)
    answer = broker.submit(first)
    report.rule(
        "an order is answered under its own id", answer.client_id == first.client_id, answer
    )
    again = broker.submit(first)
    report.rule("the same id again is the same order", again.client_id == first.client_id, again)
    trade()
    done = [own for _, own in broker.executions(cursor) if own.client_id == first.client_id]
    total = sum(own.quantity for own in done)
    report.rule("one order is filled once", math.isclose(total, first.quantity), total)
    _check_executions(report, done)
    status = broker.order(first.client_id)
    ended = status is not None and status.status in ENDED
    report.rule("a filled order has ended", ended, status)
    after = broker.holdings().positions.get(symbol, 0.0)
    report.rule(
        "holdings follow fills", math.isclose(after - before, total, abs_tol=lot / 2), after
    )
    _check_restart(report, make(), cursor, done, first)
    _check_closing(report, broker, replace(first, client_id=f"{prefix}-2", quantity=-total), trade)
    _check_unknown_symbol(report, broker, prefix)
    return report


def _last_cursor(broker: Broker) -> str:
    done = broker.executions("")
    return done[-1][0] if done else ""


def _check_nothing_known(report: BrokerReport, broker: Broker, prefix: str) -> None:
    found = broker.order(f"{prefix}-never")
    report.rule("an id that was never sent is None, not flat or filled", found is None, found)


def _check_executions(report: BrokerReport, done: list[Execution]) -> None:
    names = [own.trade_id for own in done]
    report.rule("trade ids are unique and not empty", len(set(names)) == len(names) > 0, names)
    sane = all(math.isfinite(own.price) and own.price > 0.0 for own in done if own.quantity)
    report.rule("fills have prices", sane, done)
    fees = [own.fee for own in done]
    report.rule("fees are known numbers", all(math.isfinite(fee) for fee in fees), fees)


def _check_restart(
    report: BrokerReport, broker: Broker, cursor: str, done: list[Execution], first: Order
) -> None:
    """A new adapter knows what the old one did."""
    again = [own for _, own in broker.executions(cursor) if own.client_id == first.client_id]
    same = [own.trade_id for own in again] == [own.trade_id for own in done]
    report.rule("a restart is told the same executions", same, again)
    cursors = [name for name, _ in broker.executions(cursor)]
    rest = list(broker.executions(cursors[-1])) if cursors else ["no cursor"]
    report.rule("a cursor leaves out what lies before it", rest == [], rest)
    answer = broker.submit(first)
    held = broker.holdings()
    report.rule("an id of an earlier process is not traded again", answer.status != SENT, answer)
    report.rule("cash is a number or NaN", isinstance(held.cash, float), held.cash)


def _check_closing(
    report: BrokerReport, broker: Broker, closing: Order, trade: Callable[[], None]
) -> None:
    cursor = _last_cursor(broker)
    broker.submit(closing)
    trade()
    done = [own for _, own in broker.executions(cursor) if own.client_id == closing.client_id]
    total = sum(own.quantity for own in done)
    report.rule("a closing order is filled", math.isclose(total, closing.quantity), total)
    left = broker.holdings().positions.get(closing.symbol, 0.0)
    report.rule("a closed position is left out or 0", left == 0.0, left)


def _check_unknown_symbol(report: BrokerReport, broker: Broker, prefix: str) -> None:
    order = Order(f"{prefix}-3", "NOSUCH", 1.0, 1)
    try:
        answer = broker.submit(order)
        refused: object = answer.status
    except BrokerTimeout as error:
        refused = f"time-out: {error}"
    except BrokerError:
        refused = "rejected"
    report.rule("an unknown symbol is refused", refused == "rejected", refused)
