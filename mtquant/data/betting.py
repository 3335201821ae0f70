# SPDX-License-Identifier: Apache-2.0
"""Betting lines from wide tables: one row per game, a set of columns per moment of quotation.

Such files say what the first and the last price before the start were, and not when they were
quoted. A closing price is known at the start and not earlier; for the others somebody has to say,
and the statement becomes a note of the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mtquant.core.errors import DataError
from mtquant.data.bars import Float
from mtquant.data.events import Events, event_ids, moments, require_columns, require_values

HOUR = 3_600.0


@dataclass(frozen=True)
class Quotation:
    """One moment at which all outcomes of a market were quoted.

    Attributes:
        stage: Its name, for example ``"close"``.
        seconds_before_start: When it was known, before the start of the game: 0 for closing lines.
        columns: Outcome -> column of its decimal odds, for example ``{"home": "odds_home_close"}``.
    """

    stage: str
    seconds_before_start: int
    columns: Mapping[str, str]


def betting_lines(
    frame: pd.DataFrame,
    name: str,
    *,
    market: str,
    event: Sequence[str],
    starts_at: str,
    quotations: Sequence[Quotation],
    decided_after_seconds: int,
    timezone: str | None = None,
    at: str | None = None,
) -> Events:
    """A known-at table of a market's lines.

    Args:
        frame: One row per game.
        name: What it is, for messages.
        market: Name of the market, such as ``"1x2"``; it is the symbol of every row.
        event: Columns that together name a game.
        starts_at: Column of the start (kick-off, tip-off).
        quotations: Which columns were known when; the same outcomes in each. A game without a price
            for one of them has no row of that quotation.
        decided_after_seconds: From the start to when the outcome is certainly known.
        timezone: Clock of starts without an offset from UTC.
        at: ``"HH:MM"``, for starts that are calendar dates: the time by which all games of a day
            have begun.

    Returns:
        Columns: one per outcome (decimal odds) and ``stage``; `outcome_at` is when the game was
        decided.

    Raises:
        DataError: The outcomes differ, a time cannot be, odds are not above 1, or a rule of
            `Events.from_frame` is broken.
    """
    outcomes = _check_quotations(quotations, decided_after_seconds, name)
    odds_columns = [column for each in quotations for column in each.columns.values()]
    require_columns(frame, [*event, starts_at, *odds_columns], name)
    require_values(frame, [*event, starts_at], name)
    starts = moments(frame[starts_at], f"{name}.{starts_at}", timezone, at)
    begin = pd.DatetimeIndex(starts.astype("datetime64[ns]")).tz_localize("UTC")
    # Games have columns named like the outcomes (home, away): names of our own keep them apart.
    games = pd.DataFrame(
        {
            "_event": event_ids(frame, event),
            "_market": market,
            "_decided_at": begin + pd.Timedelta(seconds=decided_after_seconds),
        }
    )
    tables, notes = [], []
    for quotation in quotations:
        before = quotation.seconds_before_start
        odds = {
            outcome: _odds(frame, column, name) for outcome, column in quotation.columns.items()
        }
        known_at = begin - pd.Timedelta(seconds=before)
        table = games.assign(**odds, stage=quotation.stage, _known_at=known_at)
        whole = table[list(outcomes)].notna().all(axis=1)
        tables.append(table[whole])
        moment = f"{before / HOUR:g} h before the start" if before else "at the start"
        notes.append(
            f"{quotation.stage} odds of {name} count as known {moment};"
            f" {int((~whole).sum())} games have none"
        )
    return Events.from_frame(
        pd.concat(tables, ignore_index=True, sort=False),
        name,
        known_at="_known_at",
        symbol="_market",
        columns=[*outcomes, "stage"],
        event=["_event"],
        moves=True,
        outcome_at="_decided_at",
        notes=notes,
    )


def _check_quotations(
    quotations: Sequence[Quotation], decided_after_seconds: int, name: str
) -> tuple[str, ...]:
    """The outcomes, after a check that all quotations have the same and times can be."""
    outcomes = [tuple(quotation.columns) for quotation in quotations]
    if not outcomes or len(set(outcomes)) > 1:
        raise DataError(
            f"{name}: quotations", "must hold the same outcomes", outcomes, "Give each all of them."
        )
    leads = [quotation.seconds_before_start for quotation in quotations]
    if min(leads) < 0 or decided_after_seconds < 0:
        raise DataError(
            f"{name}: seconds_before_start, decided_after_seconds",
            "must not be negative",
            (leads, decided_after_seconds),
            "Lines are quoted before the start, and games decided after it.",
        )
    return outcomes[0]


def _odds(frame: pd.DataFrame, column: str, name: str) -> Float:
    """A column of decimal odds, float64 [M]; NaN where there is no price."""
    odds = frame[column].to_numpy(dtype=np.float64)
    wrong = odds <= 1.0
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"{name}.{column}, row {row}",
            f"must be decimal odds above 1 ({int(wrong.sum())} rows are not)",
            float(odds[row]),
            "Convert American or fractional odds first.",
        )
    return odds
