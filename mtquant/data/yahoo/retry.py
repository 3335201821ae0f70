# SPDX-License-Identifier: Apache-2.0
"""Asking again: exponential back-off with jitter."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd

from mtquant.data.yahoo.transport import Failure, failure_of

Notify = Callable[[str], None]


@dataclass(frozen=True)
class Retry:
    """How often to ask, and how long to wait in between.

    Attributes:
        attempts: Requests per symbol.
        first_seconds: First wait; every further one is twice as long.
        rate_limited_seconds: First wait after "too many requests".
        patience_seconds: No further request after so much time spent in requests: behind a dead
            line, yfinance takes a minute for each (its cookies wait 30 s).
        sleep: Waits seconds.
        clock: Seconds, to tell how long a request took.
        jitter: Draws from [0, 1), which spreads a wait from 0.5 to 1.5 times its length, so that
            many programs do not come back at the same moment. It decides when Yahoo is asked and
            never what comes out, so it is no part of the seed tree.
    """

    attempts: int = 4
    first_seconds: float = 1.0
    rate_limited_seconds: float = 20.0
    patience_seconds: float = 60.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = field(default_factory=lambda: random.SystemRandom().random)

    def ask(
        self,
        request: Callable[[], pd.DataFrame],
        attempts: int | None = None,
        notify: Notify | None = None,
    ) -> pd.DataFrame | Failure:
        """The answer to a request, made again until it comes or patience ends.

        Args:
            request: Asks once; whatever it raises is a failure.
            attempts: How often; left out, `self.attempts`.
            notify: Told, in a few words, what is being waited for.

        Returns:
            The answer, or the last failure. One that Yahoo gave a reason for is the last.
        """
        most, failed, spent = attempts or self.attempts, 0, 0.0
        while True:
            started = self.clock()
            try:
                return request()
            # yfinance raises whatever its own parsing stumbles over, KeyErrors included.
            except Exception as error:
                failure = failure_of(error)
            failed += 1
            spent += self.clock() - started
            if failure.kind == "refused" or failed >= most or spent > self.patience_seconds:
                return failure
            seconds = self._seconds(failed, failure)
            if notify is not None:
                notify(f"{failure.kind}, again in {seconds:.0f} s")
            self.sleep(seconds)

    def _seconds(self, failed: int, failure: Failure) -> float:
        """Wait after so many failed requests."""
        limited = failure.kind == "rate limited"
        first = self.rate_limited_seconds if limited else self.first_seconds
        return float(first * 2.0 ** (failed - 1) * (0.5 + self.jitter()))
