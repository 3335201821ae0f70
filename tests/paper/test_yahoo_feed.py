# SPDX-License-Identifier: Apache-2.0
"""Polling Yahoo: closed bars only, row by row, revisions and failures said once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from mtquant.data.bars import NANOSECONDS
from mtquant.data.yahoo.download import YahooDownloader
from mtquant.data.yahoo.retry import Retry
from mtquant.paper.feeds import Delivery, FeedTimeout
from mtquant.paper.yahoo_feed import YahooFeed
from tests.support.yahoo import STOCK, Exchange, ns, random_exchange, serve, weekdays

DAYS = weekdays(date(2024, 2, 26), 30)
OTHER = STOCK.model_copy(update={"symbol": "OTHER", "yahoo": "OTHER"})


class Poll:
    """A feed of two shares on a clock that only moves when told."""

    def __init__(self, folder: Path, exchanges: dict[str, Exchange]) -> None:
        self.exchanges, self.now = exchanges, 0
        retry = Retry(sleep=lambda seconds: None, jitter=lambda: 0.5)
        downloader = YahooDownloader(folder, retry=retry, clock=lambda: self.now)
        self.slept: list[float] = []
        self.feed = YahooFeed(
            downloader, [STOCK, OTHER], "1d", 30.0, 600.0, lambda: self.now, self.slept.append
        )

    def at(self, day: date, hour: str = "20:00") -> None:
        self.now = ns(f"{day} {hour}")
        for exchange in self.exchanges.values():
            exchange.today = day

    def rows(self) -> list[Delivery]:
        found = []
        while True:
            try:
                found.append(self.feed.next(30.0))
            except FeedTimeout:
                return found


@pytest.fixture
def poll(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Poll]:
    exchanges = {"ACME": random_exchange(DAYS), "OTHER": random_exchange(DAYS, 1)}
    with serve(exchanges, monkeypatch, tmp_path / "yfinance"):
        (tmp_path / "yfinance").mkdir()
        yield Poll(tmp_path / "cache", exchanges)


def kinds(deliveries: list[Delivery]) -> list[tuple[str, str]]:
    return [remark[:2] for delivery in deliveries for remark in delivery.remarks]


def test_rows_come_as_they_close(poll: Poll) -> None:
    poll.at(DAYS[9])
    first = poll.rows()
    assert [len(row.bars) for row in first] == [2] * 10
    assert first[-1].stamp_ns == ns(f"{DAYS[9]} 16:00")
    poll.at(DAYS[10], "12:00")  # a session that has not ended
    assert poll.rows() == []
    poll.at(DAYS[10])
    (row,) = poll.rows()
    assert row.stamp_ns == ns(f"{DAYS[10]} 16:00")
    assert {bar.symbol for bar in row.bars} == {"ACME", "OTHER"}


def test_a_feed_goes_on_behind_a_stamp(poll: Poll) -> None:
    poll.at(DAYS[9])
    poll.feed.skip_to(ns(f"{DAYS[7]} 16:00"))
    assert [row.stamp_ns for row in poll.rows()] == [ns(f"{day} 16:00") for day in DAYS[8:10]]


def test_nobody_is_asked_more_often_than_agreed(poll: Poll) -> None:
    poll.at(DAYS[9])
    poll.rows()
    before = sum(own.requests for own in poll.exchanges.values())
    poll.now += 10 * NANOSECONDS
    assert poll.rows() == []
    assert sum(own.requests for own in poll.exchanges.values()) == before
    assert poll.slept[-1] <= 30.0


def test_a_row_waits_for_the_others_and_not_for_ever(poll: Poll) -> None:
    poll.at(DAYS[9])
    poll.rows()
    poll.at(DAYS[10])
    poll.exchanges["OTHER"].today = DAYS[9]
    assert poll.rows() == []
    poll.now += 601 * NANOSECONDS
    (row,) = poll.rows()
    assert [bar.symbol for bar in row.bars] == ["ACME"]


def test_a_revised_bar_is_said_once_and_not_handed_on(poll: Poll) -> None:
    poll.at(DAYS[9])
    poll.rows()
    poll.exchanges["ACME"].prices[8] *= 1.001
    said: list[Any] = []
    for day in DAYS[10:13]:
        poll.at(day)
        rows = poll.rows()
        assert [row.stamp_ns for row in rows] == [ns(f"{day} 16:00")]
        said += kinds(rows)
    assert ("revised", "ACME") in said
    texts = [own for own in said if own == ("revised", "ACME")]
    assert len(texts) <= 4  # open, high, low, close


def test_a_failure_is_said_and_the_other_goes_on(poll: Poll) -> None:
    poll.at(DAYS[9])
    poll.rows()
    poll.exchanges["OTHER"].error = ConnectionError("no route")
    poll.at(DAYS[10])
    (said,) = poll.rows()
    assert ("feed", "OTHER") in kinds([said]) and not said.bars
    poll.now += 601 * NANOSECONDS
    (row,) = poll.rows()
    assert kinds([row]) == []  # said once
    assert [bar.symbol for bar in row.bars] == ["ACME"]


def test_a_row_waits_for_one_more_round_however_short_the_grace(poll: Poll) -> None:
    poll.feed._grace_ns = 0
    poll.at(DAYS[9])
    poll.rows()
    poll.at(DAYS[10])
    poll.exchanges["OTHER"].today = DAYS[9]
    assert poll.rows() == []
    poll.at(DAYS[10])
    poll.now += 31 * NANOSECONDS
    (row,) = poll.rows()
    assert {bar.symbol for bar in row.bars} == {"ACME", "OTHER"}


def test_an_outage_of_all_is_said_at_once(poll: Poll) -> None:
    poll.at(DAYS[9])
    poll.rows()
    for exchange in poll.exchanges.values():
        exchange.error = ConnectionError("no route")
    poll.at(DAYS[10])
    (row,) = poll.rows()
    assert not row.bars
    assert set(kinds([row])) == {("feed", "ACME"), ("feed", "OTHER")}
    poll.now += 31 * NANOSECONDS
    assert poll.rows() == []  # said once


def test_a_slow_answer_keeps_nobody_waiting(poll: Poll, monkeypatch: pytest.MonkeyPatch) -> None:
    poll.at(DAYS[9])
    answer, asked = threading.Event(), YahooDownloader.update_all

    def slow(*arguments: Any) -> Any:
        answer.wait(30.0)
        return asked(*arguments)

    monkeypatch.setattr(YahooDownloader, "update_all", slow)
    for _ in range(3):
        with pytest.raises(FeedTimeout):
            poll.feed.next(0.01)
    answer.set()
    assert len(poll.rows()) == 10
