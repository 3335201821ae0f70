# SPDX-License-Identifier: Apache-2.0
"""Clocks: from the local time that a file shows to the moment that it was.

A broker's server goes by one zone for years and then by another, so a clock is a list of zones,
each with the moment from which it held. A local time is looked up under every zone of the list, and
counts where the moment it gives lies in that zone's days. A clock set forward skips times, one set
back shows some twice, whether summer time or the broker moved it: no moment, one, or two.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from mtquant.core.checked import Section, read_yaml, validated
from mtquant.core.errors import ConfigError
from mtquant.data.importing.source import ClockChange

Stamps = NDArray[np.int64]
NEVER = np.iinfo(np.int64).min
FOREVER = np.iinfo(np.int64).max
SECOND = 1_000_000_000
OFFSET = re.compile(r"(?:UTC|GMT)?([+-])([0-9]{1,2})(?::?([0-9]{2}))?")
REMEDY = 'Give a zone such as "Europe/Athens", an offset such as "+02:00", or a dated list of them.'


class _ClockFile(Section):
    clock: tuple[ClockChange, ...] = Field(min_length=1)


def read_clock(path: Path) -> tuple[ClockChange, ...]:
    """The clock in a YAML file: ``clock: [{zone: ...}, {since: ..., zone: ...}]``.

    Raises:
        ConfigError: The file cannot be read, or holds something else.
    """
    return validated(_ClockFile, read_yaml(path), prefix=f"{path}: ").clock


class Clock:
    """A list of zones, each from a moment on.

    Args:
        clock: A zone, an offset, or changes in order of time; only the first has no `since`.

    Attributes:
        text: The clock in words.

    Raises:
        ConfigError: A zone is unknown, or the changes are not in order.
    """

    def __init__(self, clock: str | Sequence[ClockChange]) -> None:
        changes = (ClockChange(zone=clock),) if isinstance(clock, str) else tuple(clock)
        since = [NEVER if each.since is None else _nanoseconds(each.since) for each in changes]
        in_order = all(later > earlier for earlier, later in pairwise(since))
        if since[0] != NEVER or not in_order:
            found = [str(each.since) for each in changes]
            remedy = "Write the changes oldest first; the first of them has no `since`."
            raise ConfigError("clock", "must be in order of time", found, remedy)
        self._pieces = list(
            zip(since, [*since[1:], FOREVER], [_zone(each.zone) for each in changes], strict=True)
        )
        self.text = changes[0].zone + "".join(
            f", from {each.since:%Y-%m-%d %H:%M}Z {each.zone}" for each in changes[1:] if each.since
        )

    def moments(self, local: Stamps) -> tuple[Stamps, Stamps]:
        """The first and the last UTC moment at which the clock showed each local time.

        Args:
            local: int64 [R], nanoseconds since 1970 on the clock's face.

        Returns:
            Twice int64 [R], nanoseconds since 1970: equal where the clock showed the time once,
            `NEVER` in both where it never did.
        """
        first = np.full(len(local), FOREVER)
        last = np.full(len(local), NEVER)
        for start, end, zone in self._pieces:
            for moments in _candidates(local, zone):
                held = (moments != NEVER) & (moments >= start) & (moments < end)
                first[held] = np.minimum(first[held], moments[held])
                last[held] = np.maximum(last[held], moments[held])
        first[last == NEVER] = NEVER
        return first, last


def _candidates(local: Stamps, zone: ZoneInfo | int) -> list[Stamps]:
    """The moments at which one zone shows the local times; `NEVER` where it does not."""
    if isinstance(zone, int):
        return [local - zone]
    naive = pd.DatetimeIndex(local.view("datetime64[ns]"))
    found = []
    for summer in (True, False):
        flags = np.full(len(local), summer)
        # pandas shows a time that does not exist as NaT, whose integer is NEVER.
        found.append(naive.tz_localize(zone, ambiguous=flags, nonexistent="NaT").asi8)
    return found


def _zone(text: str) -> ZoneInfo | int:
    """A zone, or an offset from UTC in nanoseconds (ahead is positive)."""
    match = OFFSET.fullmatch(text.strip())
    if match:
        minutes = int(match[2]) * 60 + int(match[3] or 0)
        if minutes > 15 * 60 or int(match[3] or 0) > 59:
            raise ConfigError("clock", "must be at most 15 hours from UTC", text, REMEDY)
        return (-1 if match[1] == "-" else 1) * minutes * 60 * SECOND
    try:
        return ZoneInfo(text.strip())
    except (KeyError, ValueError, OSError) as error:
        raise ConfigError("clock", "must be a known zone or an offset", text, REMEDY) from error


def _nanoseconds(moment: datetime) -> int:
    return pd.Timestamp(moment).as_unit("ns").value
