# SPDX-License-Identifier: Apache-2.0
"""Bars from Yahoo as they close, by polling the cache's downloader (`mtquant/data/yahoo`).

The downloader counts a bar only once it has closed and settled, repairs and compares; this feed
hands on what is new, row by row, and says what Yahoo changed its mind about. A question takes a
while (retries, back-off); it is asked beside the loop, which hears people meanwhile. Prices are as
traded: a share's split shows up as a jump (`intake.py`), which needs a second bar to be believed.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mtquant.data.bars import NANOSECONDS, Bars
from mtquant.data.instruments import Instrument
from mtquant.data.yahoo.download import Update, YahooDownloader
from mtquant.paper.feeds import Delivery, FeedTimeout, RawBar

Remark = tuple[str, str, str]


class YahooFeed:
    """Polls Yahoo.

    Args:
        downloader: Who asks, and keeps the cache.
        instruments: What is traded.
        bar: Bar length, one of `YAHOO_BARS`.
        poll_seconds: Pause between two rounds of questions.
        grace_seconds: How long a row waits for instruments that have no bar of it, and one more
            round of questions at least.
        clock: UTC nanoseconds.
        sleep: Waits that many seconds.
    """

    def __init__(
        self,
        downloader: YahooDownloader,
        instruments: Sequence[Instrument],
        bar: str,
        poll_seconds: float,
        grace_seconds: float,
        clock: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._downloader, self._instruments, self._bar = downloader, tuple(instruments), bar
        self._poll_ns = int(poll_seconds * NANOSECONDS)
        self._grace_ns = int(grace_seconds * NANOSECONDS)
        self._clock, self._sleep = clock, sleep
        self._bars: dict[str, Bars] = {}
        self._first_seen: dict[int, tuple[int, int]] = {}  # stamp -> clock, round
        self._said: set[Remark] = set()
        self._remarks: list[Remark] = []
        self._after = np.iinfo(np.int64).min
        self._due = 0
        self._rounds = 0
        self._answers: queue.SimpleQueue[list[Update] | BaseException] = queue.SimpleQueue()
        self._asking = False

    def skip_to(self, after_ns: int) -> None:
        """As `Feed.skip_to`."""
        self._after = after_ns

    def now_ns(self) -> int:
        """As `Feed.now_ns`: this machine's clock."""
        return self._clock()

    def next(self, timeout_seconds: float) -> Delivery:
        """As `Feed.next`; Yahoo is asked no more often than every `poll_seconds`. A delivery
        without bars brings remarks alone, such as an outage.
        """
        found = self._ready()
        if found is None and not self._asking:
            left = (self._due - self._clock()) / NANOSECONDS
            if left > 0.0:
                self._sleep(min(timeout_seconds, left))
                raise FeedTimeout
            self._ask()
        if found is None:
            self._hear(timeout_seconds)
            found = self._ready()
        if found is None and self._remarks:
            remarks, self._remarks = tuple(self._remarks), []
            found = Delivery(max(0, self._after), (), remarks)
        if found is None:
            raise FeedTimeout
        return found

    def _ask(self) -> None:
        """Asks for every instrument, beside the loop."""

        def work() -> None:
            try:
                self._answers.put(list(self._downloader.update_all(self._instruments, self._bar)))
            except BaseException as error:
                self._answers.put(error)

        self._asking = True
        threading.Thread(target=work, daemon=True).start()  # a daemon: Ctrl-C does not wait for it

    def _hear(self, timeout_seconds: float) -> None:
        """Takes in the answers; what failed is said, and asked for again next time."""
        try:
            answers = self._answers.get(timeout=timeout_seconds)
        except queue.Empty:
            return
        self._asking = False
        if isinstance(answers, BaseException):
            raise answers
        self._rounds += 1
        for update in answers:
            if update.entry is not None:
                self._bars[update.symbol] = update.entry.bars
            for remark in _remarks(update):
                if remark not in self._said:  # an update finds the same revision every time
                    self._said.add(remark)
                    self._remarks.append(remark)
            if update.outcome != "failed":
                self._said -= {own for own in self._said if own[:2] == ("feed", update.symbol)}
        self._due = self._clock() + self._poll_ns

    def _ready(self) -> Delivery | None:
        """The oldest row behind the last one that is complete, or has waited long enough."""
        new = [
            own.stamps[np.searchsorted(own.stamps, self._after, side="right") :]
            for own in self._bars.values()
        ]
        stamps = np.unique(np.concatenate(new)) if new else np.zeros(0, dtype=np.int64)
        if not len(stamps):
            return None
        stamp, now = int(stamps[0]), self._clock()
        first, round_ = self._first_seen.setdefault(stamp, (now, self._rounds))
        reached = [
            item.symbol in self._bars and self._bars[item.symbol].stamps[-1] >= stamp
            for item in self._instruments
        ]
        # The others may come with the next answer, however short the grace.
        asked_again = self._rounds > round_
        if not all(reached) and not (asked_again and now - first >= self._grace_ns):
            return None
        self._after = stamp
        self._first_seen = {own: at for own, at in self._first_seen.items() if own > stamp}
        remarks, self._remarks = tuple(self._remarks), []
        return Delivery(stamp, tuple(_at(self._bars, stamp)), remarks)


def _at(bars: Mapping[str, Bars], stamp_ns: int) -> list[RawBar]:
    found = []
    for symbol, own in bars.items():
        k = int(np.searchsorted(own.stamps, stamp_ns))
        if k < len(own) and own.stamps[k] == stamp_ns:
            columns = (own.open, own.high, own.low, own.close, own.volume)
            found.append(RawBar(symbol, stamp_ns, *(float(column[k]) for column in columns)))
    return found


def _remarks(update: Update) -> list[Remark]:
    """What a person should know of an update."""
    found = [
        ("revised", update.symbol, str(revision))
        for revision in update.revisions
        if not revision.is_new
    ]
    if update.error is not None:
        found.append(("feed", update.symbol, f"{update.kind or 'failed'}: {update.error.rule}"))
    return found
