# SPDX-License-Identifier: Apache-2.0
"""Opening a paper account, and opening it again: starting up is recovering.

    loop = open_loop(path, terms, history, feed, broker, models, "models/phase3", alerts)
    loop.run()

A new ledger takes in the history (bars up to the one at whose close the account is opened), seats
the first model and decides. An old one is locked, checked, and its loop rebuilt from what it holds:
account, orders, feature streams, memories, guard. Then every order of unknown fate is asked about
before anything else happens.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from mtquant.core.errors import DataError, RunError
from mtquant.data.bars import NANOSECONDS
from mtquant.market.live_tape import LiveTape
from mtquant.market.rules import Rules
from mtquant.paper.alerts import Alerts
from mtquant.paper.broker import Broker
from mtquant.paper.control import last_beat
from mtquant.paper.desk_book import Pending
from mtquant.paper.feeds import Delivery, Feed, RawBar
from mtquant.paper.ledger import PaperLedger
from mtquant.paper.loop import PaperLoop
from mtquant.paper.orders import ENDED, INTENDED, Order
from mtquant.paper.recorder import Recorder
from mtquant.paper.seats import Models
from mtquant.paper.sim_broker import without_limits
from mtquant.paper.terms import Terms

MakeBroker = Callable[[LiveTape, bytes | None], Broker]


def open_loop(
    path: Path,
    terms: Terms,
    history: Callable[[], Sequence[Delivery]],
    feed: Feed,
    broker: MakeBroker,
    models: Models,
    first_model: str,
    alerts: Alerts,
    max_age_bars: float = math.inf,
    commit_answers: bool = False,
) -> PaperLoop:
    """A loop that is ready to run.

    Args:
        path: The ledger; made where there is none.
        terms: What the account is; an old ledger must be of the same.
        history: Gives the bars up to the opening, for a new ledger.
        feed: Bars; told to go on behind the last one of the ledger.
        broker: Makes the broker from a tape with the bars so far, and what a venue in this process
            remembered.
        models: Loads models.
        first_model: Who trades in a new ledger.
        alerts: Whom to tell.
        max_age_bars: Age beyond which a bar is too old to decide on.
        commit_answers: Write what brokers answer at once.

    Raises:
        RunError: The ledger is in use, damaged, of another account, or the clock is behind it.
        DataError: The history is too short for the model's features.
    """
    if path.exists():
        ledger = PaperLedger.open(path)
    else:
        ledger = PaperLedger.create(path, _meta(terms))
    try:
        _name(ledger, terms)
        _check_terms(ledger, terms)
        _check_clock(ledger, terms)
        parts = (terms, Recorder(ledger), feed, models, alerts, max_age_bars, commit_answers)
        if ledger.ask("SELECT 1 FROM states WHERE name = 'loop'"):
            return _recover(broker, *parts)
        return _begin(broker, history(), first_model, *parts)
    except BaseException:
        ledger.close()
        raise


def _begin(
    make_broker: MakeBroker,
    history: Sequence[Delivery],
    first_model: str,
    terms: Terms,
    recorder: Recorder,
    feed: Feed,
    models: Models,
    alerts: Alerts,
    max_age_bars: float,
    commit_answers: bool,
) -> PaperLoop:
    """A new account: history, first model, first decision, all in one transaction."""
    if not history:
        remedy = "Give the feed bars before the opening."
        raise DataError("history", "must hold at least one bar", 0, remedy)
    tapes = _tapes(terms)
    rows = [_believed(delivery, terms) for delivery in history]
    for stamp_ns, bars in rows:
        for tape in tapes:
            tape.push(stamp_ns, {n: own[2:6] for n, own in bars.items()})
    broker = make_broker(tapes[1], None)
    loop = PaperLoop(
        terms, recorder, feed, broker, models, alerts, tapes[0], max_age_bars, commit_answers
    )
    for bar, (stamp_ns, bars) in enumerate(rows):
        recorder.bars(bar, stamp_ns, bars)
        loop.raw_last(bars)
    loop.intake.last_ns = rows[-1][0]
    feed.skip_to(rows[-1][0])
    digest = models(first_model).digest
    loop.roster.change("promote", first_model, digest, 1.0, "opening", loop.bar)
    loop.roster.rollout.peak = loop.equity
    seat = loop.roster.seats[first_model]  # the ledger holds no bars yet that it could have seen
    for stamp_ns, bars in rows:
        seat.eyes.take(stamp_ns, {n: (*own[2:6], own.volume) for n, own in bars.items()})
    if not seat.eyes.known:
        raise DataError(
            f"features of {first_model}",
            "must be known where trading begins",
            f"{len(rows)} bars of history",
            "Give a longer history.",
        )
    if loop.dealer.meet_broker():
        loop.decider.decide()
    else:  # with the first bar its positions are adopted
        loop.decider.decide_nothing("the broker holds positions, or does not answer")
    kept = {**loop.states(), f"eyes/{seat.model.digest}": seat.eyes.state()}
    recorder.commit(loop.bar, kept)
    loop.send()
    return loop


def _recover(
    make_broker: MakeBroker,
    terms: Terms,
    recorder: Recorder,
    feed: Feed,
    models: Models,
    alerts: Alerts,
    max_age_bars: float,
    commit_answers: bool,
) -> PaperLoop:
    """An account as its ledger left it."""
    ledger = recorder.ledger
    states = dict(ledger.ask("SELECT name, content FROM states WHERE name IN ('loop', 'venue')"))
    tapes = _tapes(terms)
    broker = make_broker(tapes[1], states.get("venue"))
    loop = PaperLoop(
        terms, recorder, feed, broker, models, alerts, tapes[0], max_age_bars, commit_answers
    )
    for verb, path, digest, capital, bar in ledger.ask(
        "SELECT verb, path, digest, capital, bar FROM models ORDER BY id"
    ):
        loop.roster.rollout.apply(verb, path, digest, capital, bar)
    loop.roster.sit()
    loop.dealer.orders.pending = {own.order.client_id: own for own in _pending(ledger, terms)}
    loop.restore(states["loop"])
    loop.raw_last(_last_bars(ledger, terms))
    feed.skip_to(loop.tape.stamp_ns)
    under_way = len(loop.dealer.orders.pending)
    loop.remark("restart", "", f"after bar {loop.bar}, {under_way} orders under way", "info")
    if math.isfinite(max_age_bars):  # on bars of the past nobody is late
        loop.doubt_silence(last_beat(ledger.path))
    loop.obey()
    loop.dealer.resolve()
    loop.watch_mode("guard")
    loop.flush()
    return loop


def _tapes(terms: Terms) -> list[LiveTape]:
    """The loop's tape, and one for a venue in this process."""
    own = (terms.rules, without_limits(terms.rules))
    return [LiveTape(rules, terms.bar_seconds, terms.bars_per_year) for rules in own]


def _believed(delivery: Delivery, terms: Terms) -> tuple[int, dict[int, RawBar]]:
    """A row of history, which comes checked (`check_bars`)."""
    symbols = terms.rules.symbols
    return delivery.stamp_ns, {symbols.index(own.symbol): own for own in delivery.bars}


def _pending(ledger: PaperLedger, terms: Terms) -> list[Pending]:
    """Orders that have not ended, as far as the ledger knows."""
    last = dict(
        ledger.ask(
            "SELECT client_id, status FROM events WHERE id IN "
            "(SELECT max(id) FROM events GROUP BY client_id)"
        )
    )
    found = []
    for name, bar, n, quantity, stamp_ns, good_until_ns in ledger.ask(
        "SELECT client_id, bar, instrument, quantity, stamp_ns, good_until_ns FROM orders"
        " ORDER BY rowid"
    ):
        status = last.get(name, INTENDED)
        if status in ENDED:
            continue
        item = terms.rules.instruments[n]
        stops = item.stop_loss_frac, item.take_profit_frac
        order = Order(name, item.symbol, quantity, stamp_ns, *stops)
        found.append(Pending(order, n, bar, good_until_ns, status))
    return found


def _last_bars(ledger: PaperLedger, terms: Terms) -> dict[int, RawBar]:
    rows = ledger.ask(
        "SELECT b.instrument, r.stamp_ns, b.open, b.high, b.low, b.close, b.volume FROM bars b "
        "JOIN rows r ON r.bar = b.bar WHERE b.bar = "
        "(SELECT max(bar) FROM bars WHERE instrument = b.instrument)"
    )
    return {n: RawBar(terms.rules.symbols[n], *values) for n, *values in rows}


def _meta(terms: Terms) -> dict[str, str]:
    return {
        "name": terms.name,
        "account": terms.account,
        "symbols": json.dumps(terms.rules.symbols),
        "rules": json.dumps(asdict(terms.rules)),
        "rules_hash": terms.rules.hash(),
        "world_hash": terms.rules.without_stops().hash(),
        "bar_seconds": str(terms.bar_seconds),
        "bars_per_year": terms.bars_per_year.hex(),
        "initial_equity": terms.rules.initial_equity.hex(),
        "broker": terms.broker,
        "feed": terms.feed,
    }


def _name(ledger: PaperLedger, terms: Terms) -> None:
    """Says what a ledger is of, where its maker was killed before it could."""
    if ledger.ask("SELECT 1 FROM meta LIMIT 1"):
        return
    with ledger.transaction():
        for name, value in _meta(terms).items():
            ledger.add("meta", name=name, value=value)


def _check_terms(ledger: PaperLedger, terms: Terms) -> None:
    """Refuses to go on as another account, and names what differs."""
    # A rule that came later did for that account what it does by default.
    later = {f"rules.{own.name}": own.default for own in fields(Rules)}
    stored = later | _flat(dict(ledger.ask("SELECT name, value FROM meta")))
    for name, value in _flat(_meta(terms)).items():
        if name in stored and stored[name] != value:
            raise RunError(
                f"{name} of {ledger.path}",
                f"must be {stored[name]!r}, as when the account was opened",
                value,
                "Use the configuration of the account, or open another ledger.",
            )


def _flat(about: Mapping[str, str]) -> dict[str, Any]:
    """What is compared, by name: every rule by itself; hashes follow from the rules."""
    found: dict[str, Any] = {name: text for name, text in about.items() if "hash" not in name}
    rules = json.loads(found.pop("rules", "{}"))
    for item in rules.pop("instruments", ()):
        found |= {f"{item['symbol']}.{name}": value for name, value in item.items()}
    return found | {f"rules.{name}": value for name, value in rules.items()}


def _check_clock(ledger: PaperLedger, terms: Terms) -> None:
    last = ledger.ask("SELECT max(wall_ns) FROM rows")[0][0]
    if last is None:
        return
    ahead = (last - time.time_ns()) / NANOSECONDS
    if ahead > terms.paper.max_clock_skew_seconds:
        raise RunError(
            str(ledger.path),
            "must not hold rows from the future of this machine's clock",
            f"the clock is {ahead:.0f} s behind the last row",
            "Set the clock right, then start again.",
        )
