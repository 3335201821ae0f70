# SPDX-License-Identifier: Apache-2.0
"""Every doubt about a bar has a name and a consequence."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from mtquant.core.paper_config import PaperConfig
from mtquant.data.bars import NANOSECONDS
from mtquant.paper.feeds import Delivery, FeedEnd, FeedTimeout, RawBar, Replay, SyntheticFeed
from mtquant.paper.intake import Intake
from mtquant.paper.reading import reader, table
from mtquant.risk.guard import GUARD_ACTIVE, GUARD_HALTED, GUARD_REDUCING
from tests.support.paper import OPENING, Stage, positions

HOUR_NS = 3_600 * NANOSECONDS
START = 1_000_000 * HOUR_NS


def bar(k: int = 1, symbol: str = "EURUSD", close: float = 1.1, **changes: float) -> RawBar:
    own = RawBar(symbol, START + k * HOUR_NS, 1.1, max(1.1, close), min(1.1, close), close, 1.0)
    return own._replace(**changes)


def intake(max_age: float = math.inf) -> Intake:
    made = Intake(("EURUSD", "USDJPY"), 3_600, PaperConfig(), max_age)
    made.take(made.judge(Delivery(START, (bar(0),)), START))
    return made


def judged(own: RawBar, stamp: int | None = None, now: int | None = None) -> tuple[str, ...]:
    stamp = START + HOUR_NS if stamp is None else stamp
    taken = intake().judge(Delivery(stamp, (own,)), stamp if now is None else now)
    assert bool(taken.bars) == (not any(kind != "gap" for kind, _, _ in taken.remarks))
    return tuple(kind for kind, _, _ in taken.remarks)


def test_a_good_bar_is_taken():
    assert judged(bar()) == ()


@pytest.mark.parametrize("column", ["open", "high", "low", "close"])
@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0])
def test_a_price_that_is_none_is_dropped(column, value):
    assert judged(bar(**{column: value})) == ("missing-value",)


@pytest.mark.parametrize("changes", [{"high": 1.0}, {"low": 1.2}, {"volume": -1.0}])
def test_a_bar_that_contradicts_itself_is_dropped(changes):
    assert judged(bar(**changes)) == ("broken-bar",)


def test_a_bar_of_a_stranger_is_dropped():
    assert judged(bar(symbol="BTCUSD")) == ("unknown-symbol",)


def test_an_unclosed_bar_is_dropped():
    assert judged(bar(), now=START + HOUR_NS // 2) == ("unclosed",)


def test_a_bar_from_the_future_is_a_clock_that_is_wrong():
    taken = intake().judge(Delivery(START + HOUR_NS, (bar(5),)), START)
    assert [kind for kind, _, _ in taken.remarks] == ["clock-skew"]
    assert "clock-skew" in taken.halting


def test_the_same_bar_again_is_a_duplicate():
    assert judged(bar(0), stamp=START) == ("duplicate",)


def test_another_bar_of_a_stamp_is_a_revision():
    assert judged(bar(0, close=1.11), stamp=START) == ("revised",)


def test_an_older_bar_is_out_of_order():
    assert judged(bar(-3), stamp=START) == ("out-of-order",)


def test_a_bar_behind_its_row_is_late():
    taken = intake().judge(Delivery(START, (bar(0, "USDJPY", open=150.0, high=150.0),)), START)
    assert [kind for kind, _, _ in taken.remarks] == ["late"]


def test_a_jump_waits_for_a_second_bar():
    own = intake()
    high = {"open": 2.2, "high": 2.2, "low": 2.2, "close": 2.2}
    first = own.judge(Delivery(START + HOUR_NS, (bar(1, **high),)), START + HOUR_NS)
    assert [kind for kind, _, _ in first.remarks] == ["jump"]
    assert first.bars == {}
    second = own.judge(Delivery(START + 2 * HOUR_NS, (bar(2, **high),)), START + 2 * HOUR_NS)
    assert list(second.bars) == [0]


def test_a_jump_that_goes_back_was_an_error():
    own = intake()
    high = {"open": 2.2, "high": 2.2, "low": 2.2, "close": 2.2}
    own.judge(Delivery(START + HOUR_NS, (bar(1, **high),)), START + HOUR_NS)
    back = own.judge(Delivery(START + 2 * HOUR_NS, (bar(2),)), START + 2 * HOUR_NS)
    assert list(back.bars) == [0]
    assert own.doubted == {}


def test_a_gap_is_taken_and_noted():
    taken = intake().judge(Delivery(START + 5 * HOUR_NS, (bar(5),)), START + 5 * HOUR_NS)
    assert [kind for kind, _, _ in taken.remarks] == ["gap"]
    assert list(taken.bars) == [0]


def test_an_old_bar_is_lived_through_without_a_decision():
    taken = intake(3.0).judge(Delivery(START + HOUR_NS, (bar(),)), START + 9 * HOUR_NS)
    assert taken.stale
    assert list(taken.bars) == [0]


@dataclass
class Scripted:
    """A replay that a test interrupts."""

    inner: Replay
    change: dict[int, object] = field(default_factory=dict)
    count: int = 0
    ahead_ns: int = 0

    def next(self, timeout_seconds: float) -> Delivery:
        self.count += 1
        change = self.change.get(self.count)
        if change == "timeout":
            raise FeedTimeout
        delivery = self.inner.next(timeout_seconds)
        return change(delivery) if callable(change) else delivery

    def skip_to(self, after_ns: int) -> None:
        self.inner.skip_to(after_ns)

    def now_ns(self) -> int:
        return self.inner.now_ns() + self.ahead_ns


def lived(stage: Stage, feed: Scripted, bars: int, **more: object):
    loop = stage.open(feed=feed, **more)
    loop.run(bars)
    return loop


def test_nan_bars_are_dropped_and_noted_in_the_ledger(tmp_path):
    def spoil(delivery: Delivery) -> Delivery:
        return replace(delivery, bars=tuple(own._replace(close=math.nan) for own in delivery.bars))

    stage = Stage.of(tmp_path)
    loop = lived(stage, Scripted(stage.replay(), {2: spoil}), 3)
    loop.recorder.ledger.close()
    with reader(stage.path) as connection:
        kinds = set(table(connection, "notes")["kind"])
        equity = table(connection, "outcomes")["equity"]
    assert "missing-value" in kinds
    assert np.isfinite(equity).all()
    lines = (tmp_path / "alerts.jsonl").read_text().splitlines()
    assert any("missing-value" in json.loads(line)["text"] for line in lines)


def test_a_silent_feed_reduces_and_a_fresh_bar_lets_go(tmp_path):
    """Market closed, and feed time-outs: no bar for longer than the guard allows."""
    stage = Stage.of(tmp_path)
    feed = Scripted(stage.replay())
    loop = lived(stage, feed, 2)
    feed.ahead_ns = 10 * HOUR_NS
    loop.wait()
    assert loop.guardian.mode == GUARD_REDUCING
    assert "no bar for too long" in loop.guardian.reasons()
    feed.ahead_ns = 0
    loop.run(1)
    assert loop.guardian.mode == GUARD_ACTIVE
    loop.recorder.ledger.close()


def test_stale_bars_are_caught_up_with_without_a_decision(tmp_path):
    stage = Stage.of(tmp_path)
    feed = Scripted(stage.replay(), ahead_ns=9 * HOUR_NS)
    loop = lived(stage, feed, 3, max_age_bars=3.0)
    with reader(stage.path) as connection:
        found = table(connection, "decisions")["details"].tolist()
        orders = table(connection, "orders")
    assert [json.loads(text).get("none") for text in found[1:]] == ["stale"] * 3
    assert set(orders["bar"]) <= {OPENING}
    feed.ahead_ns = 0
    loop.run(1)
    loop.recorder.ledger.close()


def test_clock_skew_halts(tmp_path):
    stage = Stage.of(tmp_path)
    feed = Scripted(stage.replay(), ahead_ns=-9 * HOUR_NS)
    loop = stage.open(feed=feed)
    with pytest.raises(FeedEnd):
        while loop.guardian.mode != GUARD_HALTED:
            loop.live(feed.next(1.0))
        raise FeedEnd
    assert any("clock-skew" in reason for reason in loop.guardian.reasons())
    loop.recorder.ledger.close()


def test_time_outs_are_waited_through(tmp_path):
    stage = Stage.of(tmp_path)
    feed = Scripted(stage.replay(), {2: "timeout", 3: "timeout"})
    loop = lived(stage, feed, 3)
    assert feed.count == 5
    loop.recorder.ledger.close()
    whole = Stage.of(tmp_path / "whole")
    (tmp_path / "whole").mkdir()
    other = whole.open()
    other.run(3)
    assert positions(other) == positions(loop)
    other.recorder.ledger.close()


def test_made_up_bars_go_on_where_they_were():
    def feed() -> SyntheticFeed:
        return SyntheticFeed(("A", "B"), 60, 60 * NANOSECONDS, 3)

    whole, cut = feed(), feed()
    rows = [whole.next(1.0) for _ in range(20)]
    cut.skip_to(rows[9].stamp_ns)
    assert cut.now_ns() == rows[9].stamp_ns
    assert [cut.next(1.0) for _ in range(10)] == rows[10:]
    for row in rows:
        for own in row.bars:
            assert own.low <= min(own.open, own.close) <= max(own.open, own.close) <= own.high
