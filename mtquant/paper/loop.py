# SPDX-License-Identifier: Apache-2.0
"""The paper loop: the third driver of the desk, on a clock (docs/paper.md).

For every bar: financing, the broker's fills, mark, outcome; the guard; observe, decide, plan; write
the intentions; and only then tell the broker. `opening.py` makes a loop, new or recovered.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from mtquant.core.states import Arrays, below, part
from mtquant.data.bars import NANOSECONDS
from mtquant.market.account import A_CASH, A_EQUITY, B_POSITION
from mtquant.market.live_desk import LiveDesk
from mtquant.market.live_tape import LiveTape
from mtquant.paper.alerts import Alerts
from mtquant.paper.broker import Broker, SimulatedVenue
from mtquant.paper.commands import Obeyed, obey
from mtquant.paper.control import beat, halt_reason
from mtquant.paper.dealing import UNCONFIRMED, Dealer
from mtquant.paper.deciding import Decider
from mtquant.paper.desk_book import executions_matrix
from mtquant.paper.exposure import Exposure
from mtquant.paper.feeds import Delivery, Feed, FeedEnd, FeedTimeout, RawBar
from mtquant.paper.guardian import Guardian
from mtquant.paper.intake import Intake, Taken
from mtquant.paper.memory import pack_arrays, unpack_arrays
from mtquant.paper.orders import UNKNOWN, Execution
from mtquant.paper.recorder import Recorder
from mtquant.paper.roster import Roster
from mtquant.paper.seats import Models, packed
from mtquant.paper.terms import Terms
from mtquant.risk.guard import GUARD_ACTIVE, GUARD_REDUCING, GUARD_TEXTS

Float = NDArray[np.float64]
BEAT_SECONDS = 1.0
TURN_SECONDS = 1.0  # a feed without a bar is asked again, and people are listened to
DISK_BARS = 50  # bars between two looks at the disk
UNKNOWN_ORDER = "an order of unknown fate"
OLD_DATA = "no bar for too long"
MISSED_BEAT = "the loop was silent for too long"


class PaperLoop:
    """One account at work; `opening.py` makes it.

    Args:
        terms: What the account is.
        recorder: Its ledger.
        feed: Its bars.
        broker: Its venue.
        models: Loads a model by its path.
        alerts: Whom to tell.
        tape: Its own, at the last row lived through.
        max_age_bars: Age beyond which a bar is too old to decide on.
        commit_answers: Write what brokers answer at once, and not with the next bar.
        sleep: Waits that many seconds.
    """

    def __init__(
        self,
        terms: Terms,
        recorder: Recorder,
        feed: Feed,
        broker: Broker,
        models: Models,
        alerts: Alerts,
        tape: LiveTape,
        max_age_bars: float = math.inf,
        commit_answers: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.terms, self.recorder, self.feed, self.broker = terms, recorder, feed, broker
        self.alerts, self.tape = alerts, tape
        self.symbols = terms.rules.symbols
        self.desk = LiveDesk(tape, terms.rules, terms.name)
        self.guardian = Guardian(
            terms.guard, terms.paper, float(self.equity), max(0, tape.stamp_ns)
        )
        self.intake = Intake(self.symbols, terms.bar_seconds, terms.paper, max_age_bars)
        self.dealer = Dealer(
            terms, recorder, feed, broker, self.guardian, self.desk, tape, self.remark, sleep
        )
        self.roster = Roster(terms, recorder, models)
        self.last_command = 0
        self.exposure = Exposure(terms.rules, tape)
        self.decider = Decider(self.dealer, self.roster, self.exposure)
        self._commit_answers = commit_answers
        self._turned = time.monotonic()
        self._wall_ns = time.time_ns()
        self._beaten = 0.0

    # Facts

    @property
    def bar(self) -> int:
        """Number of the last row."""
        return self.tape.count - 1

    @property
    def equity(self) -> float:
        """Equity at the last close."""
        return float(self.desk.block[A_EQUITY])

    @property
    def positions(self) -> Float:
        """Signed units, float64 [N] (a view)."""
        return self.desk.column(B_POSITION)

    def holding(self) -> dict[str, float]:
        """Symbol -> signed units of the open positions."""
        return {
            symbol: float(units)
            for symbol, units in zip(self.symbols, self.positions, strict=True)
            if units != 0.0
        }

    # Turns

    def run(self, most_bars: int | None = None) -> int:
        """Trades until the feed ends, and returns how many bars were lived through.

        Args:
            most_bars: End after so many.

        Raises:
            RunError: The ledger cannot be written; nothing was sent that it does not hold.
        """
        lived = 0
        while not self.desk.bankrupt and (most_bars is None or lived < most_bars):
            self.look_around()
            try:
                delivery = self.feed.next(TURN_SECONDS)
            except FeedTimeout:
                self.wait()
                continue
            except FeedEnd:
                break
            lived += self.live(delivery)
        if self.desk.bankrupt:
            self.guardian.halt("the account is bankrupt", "guard")
            self.watch_mode("guard")
        self.flush()
        return lived

    def look_around(self) -> None:
        """The clock, the heartbeat, the halt file and commands of people."""
        now = time.monotonic()
        silent, self._turned = now - self._turned, now
        if silent > self.terms.paper.heartbeat_seconds:
            self.guardian.doubt(MISSED_BEAT, True)
            self.remark("heartbeat", "", f"silent for {silent:.0f} s", "warning")
        wall_ns = time.time_ns()
        back = (self._wall_ns - wall_ns) / NANOSECONDS
        if back > self.terms.paper.max_clock_skew_seconds:
            self.guardian.halt("the clock went backwards", "guard")
            self.remark("clock", "", f"{back:.1f} s backwards", "critical")
        self._wall_ns = wall_ns
        if now - self._beaten > BEAT_SECONDS:
            beat(self.recorder.ledger.path, self.bar, self.tape.stamp_ns)
            self._beaten = now
        self.watch_mode("guard")
        self.obey()
        self.watch_mode("person")

    def obey(self) -> None:
        """Follows what people asked for since the last turn."""
        reason = halt_reason(self.recorder.ledger.path)
        if reason is not None:
            self.guardian.halt(f"halted: {reason}", "person")
        found = self.recorder.ledger.ask(
            "SELECT id, verb, arguments, wall_ns FROM commands WHERE id > ? ORDER BY id",
            self.last_command,
        )
        for number, verb, arguments, wall_ns in found:
            answer = obey(self, verb, {**json.loads(arguments), "wall_ns": wall_ns})
            self.answer(number, answer)

    def answer(self, number: int, answer: Obeyed) -> None:
        """Notes what became of a command."""
        self.last_command = number
        self.recorder.add("answers", command=number, wall_ns=time.time_ns(), text=answer.text)
        self.alerts.send("info", answer.text)
        self.watch_mode("person")
        self.flush()

    def wait(self) -> None:
        """No bar came: what is due all the same."""
        age = (self.feed.now_ns() - self.tape.stamp_ns) / (self.terms.bar_seconds * NANOSECONDS)
        limit = self.terms.guard.max_data_age_bars
        self.guardian.doubt(OLD_DATA, limit is not None and age > limit)
        self.watch_mode("guard")
        self.flush()

    def flush(self) -> None:
        """Writes what waits, without a bar."""
        self.recorder.events(self.dealer.orders.events)
        if self.recorder.waiting:
            self.recorder.commit(self.bar, self.states())

    # A bar

    def live(self, delivery: Delivery) -> int:
        """Lives through a delivery and returns how many bars that were: 0 where none could be
        believed.
        """
        taken = self.intake.judge(delivery, self.feed.now_ns())
        for kind, subject, detail in taken.remarks:
            self.remark(kind, subject, detail, "info" if kind == "gap" else "warning")
        self.dealer.begin_bar()
        if taken.halting:
            self.guardian.halt(taken.halting, "guard")
        if not taken.bars:
            self.watch_mode("guard")
            self.flush()
            return 0
        self.dealer.resolve()
        self.exposure.expect(self.desk)  # before the bar tells of itself
        executions = self.meet_market(taken)
        self.intake.take(taken)
        confirmed = self.book(taken, executions)
        self.judge_facts(taken)
        if taken.stale or not confirmed:
            why = "stale" if taken.stale else UNCONFIRMED
            self.decider.decide_nothing(why)
        else:
            self.decider.decide()
        self.watch_mode("guard")
        self.recorder.events(self.dealer.orders.events)
        self.recorder.commit(self.bar, self.states())
        self.send()
        return 1

    def meet_market(self, taken: Taken) -> list[Execution]:
        """Tells a venue without a market of the bar, and asks what was done; the tape moves on."""
        bars = {n: (own.open, own.high, own.low, own.close) for n, own in taken.bars.items()}
        if isinstance(self.broker, SimulatedVenue):
            venue: SimulatedVenue = self.broker
            told, _ = self.dealer.insisted(lambda: venue.live_bar(taken.stamp_ns, bars), "bar")
            if not told:
                self.guardian.halt("the simulated broker did not take a bar", "guard")
        executions = self.dealer.settle()
        self.tape.push(taken.stamp_ns, bars)
        return executions

    def book(self, taken: Taken, executions: list[Execution]) -> bool:
        """Books a bar; whether the broker confirmed what is held."""
        adopted, confirmed = self.dealer.compare(executions)
        executions = [*executions, *adopted]
        self.desk.block[A_CASH] += self.dealer.cash_moved
        self.dealer.cash_moved = 0.0
        rows = executions_matrix(executions, self.tape.tape, self.terms.rules, self.bar)
        outcome = self.desk.book(rows)
        self.recorder.bars(self.bar, taken.stamp_ns, taken.bars)
        decided = self.decider.targets
        self.recorder.lived(self.bar, taken.stamp_ns, self.desk, decided, executions, rows)
        self.exposure.lived(outcome, self.desk)
        if confirmed:
            self.dealer.compare_cash()
        moved = {n: (*own[2:6], own.volume) for n, own in taken.bars.items()}
        for seat in self.roster.seats.values():
            seat.learn(outcome)
            seat.eyes.take(taken.stamp_ns, moved)
        return confirmed

    def judge_facts(self, taken: Taken) -> None:
        """Lets the guard see the bar."""
        paper, exposure = self.terms.paper, self.exposure
        age = (self.feed.now_ns() - taken.stamp_ns) / (self.terms.bar_seconds * NANOSECONDS)
        self.guardian.see(self.equity, taken.stamp_ns, exposure.exceeded, max(0.0, age))
        self.guardian.doubt(OLD_DATA, False)
        if not taken.stale:
            self.guardian.doubt(MISSED_BEAT, False)
        self.guardian.doubt("gross exposure beyond its limit", exposure.beyond_gross(paper))
        self.guardian.doubt("value at risk beyond its limit", exposure.beyond_var(paper))
        unknown = any(own.status == UNKNOWN for own in self.dealer.orders.pending.values())
        self.guardian.doubt(UNKNOWN_ORDER, unknown)
        if self.bar % DISK_BARS == 0:
            free = shutil.disk_usage(self.recorder.ledger.path.parent).free / 2**20
            if free < paper.least_free_mb:
                self.guardian.halt("the disk is nearly full", "guard")
        self.roster.ramp(self.bar, self.equity, self.guardian, self.remark)

    # After the commit

    def send(self) -> None:
        """Tells the broker of the orders that the ledger holds now, and finds out at once about
        those that it may not have: by the next bar they may be too old.
        """
        if not self.dealer.send():
            return
        self.dealer.resolve()
        if self._commit_answers:
            self.flush()

    def doubt_silence(self, beaten: Mapping[str, float] | None) -> None:
        """Takes no new risk until a fresh bar, where nobody was there for too long.

        Args:
            beaten: The last heartbeat, None where it is not known.
        """
        silent = math.inf if beaten is None else time.time() - beaten.get("time", 0.0)
        if silent > self.terms.paper.heartbeat_seconds:
            self.guardian.doubt(MISSED_BEAT, True)
            self.remark("heartbeat", "", f"silent for {silent:.0f} s before the start", "warning")

    # Records

    def remark(self, kind: str, subject: str, detail: str, level: str) -> None:
        """A note in the ledger, and an alert."""
        self.recorder.note(self.tape.stamp_ns, kind, subject, detail)
        if level != "info":
            self.alerts.send(level, f"{kind} {subject} {detail}")

    def watch_mode(self, actor: str) -> None:
        """Every change of the guard is a row and an alert."""
        change = self.guardian.changed(actor)
        if change is None:
            return
        self.recorder.guard(self.bar, self.tape.stamp_ns, change)
        level = {GUARD_ACTIVE: "info", GUARD_REDUCING: "warning"}.get(change.after, "critical")
        text = f"guard {GUARD_TEXTS[change.after]} ({'; '.join(change.reasons) or 'all clear'})"
        self.alerts.send(level, text)

    def states(self) -> dict[str, bytes]:
        """What recovery goes on from."""
        guard, guard_words = self.guardian.state()
        words = {
            "guard": guard_words,
            "cursor": self.dealer.cursor,
            "last_command": self.last_command,
            "flattening": self.guardian.flattening,
            "cash_moved": self.dealer.cash_moved,
            "since": self.roster.rollout.since,
            "peak": self.roster.rollout.peak,
            "done": {name: own.done for name, own in self.dealer.orders.pending.items()},
            "doubted": {str(n): close for n, close in self.intake.doubted.items()},
        }
        arrays: Arrays = {
            **below("desk", self.desk.state()),
            **below("tape", self.tape.state()),
            **guard,
            "targets": self.decider.targets,
            "words": packed(json.dumps(words)),
        }
        for path, seat in self.roster.seats.items():
            arrays |= below(f"seat/{self.roster.rollout.versions[path]}", seat.state())
        kept = {"loop": pack_arrays(arrays)}
        if hasattr(self.broker, "state"):  # a venue that lives in this process
            kept["venue"] = self.broker.state()
        if self.bar % self.terms.paper.snapshot_bars == 0:
            for path, seat in self.roster.seats.items():
                kept[f"eyes/{self.roster.rollout.versions[path]}"] = seat.eyes.state()
        return kept

    def restore(self, content: bytes) -> None:
        """Goes on from what `states` kept; the seats are there already."""
        arrays = unpack_arrays(content)
        words = json.loads(arrays["words"].tobytes())
        self.tape.restore(part("tape", arrays))
        self.desk.restore(part("desk", arrays))
        self.guardian.restore(arrays, words["guard"])
        self.dealer.cursor, self.last_command = words["cursor"], words["last_command"]
        self.guardian.flattening = words["flattening"]
        self.dealer.cash_moved = words["cash_moved"]
        rollout = self.roster.rollout
        rollout.since, rollout.peak = words["since"], words["peak"]
        self.intake.doubted = {int(n): close for n, close in words["doubted"].items()}
        self.intake.last_ns = self.tape.stamp_ns
        for path, seat in self.roster.seats.items():
            seat.restore(part(f"seat/{self.roster.rollout.versions[path]}", arrays))
        for name, done in words["done"].items():
            if name in self.dealer.orders.pending:
                self.dealer.orders.pending[name].done = done
        self.decider.restore(arrays["targets"])

    def raw_last(self, bars: dict[int, RawBar]) -> None:
        """Tells the intake of the last bars, after a restart."""
        self.intake.last.update(bars)
