# SPDX-License-Identifier: Apache-2.0
"""Games: teams, times, scores and prices of a season, from parquet tables.

Prices pass through `mtquant.data.betting.betting_lines`, which knows when a line was known. Games
without a price for every outcome are left out of the examples, but their results still count as
form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtquant.core.errors import DataError
from mtquant.data.bars import NANOSECONDS
from mtquant.data.betting import Quotation, betting_lines
from mtquant.data.events import event_ids, moments, require_columns
from mtquant.llm.tasks.config import TaskConfig
from mtquant.llm.tasks.form import Schedule
from mtquant.llm.tasks.stock_sources import read_table

Float = NDArray[np.float64]

HOUR = 3_600
# The NBA table has dates alone: by this time of the day every game has begun.
NBA_START, NBA_ZONE = "23:00", "America/New_York"
DECIDED_HOURS = {"nba": 3.5, "football": 2.5}
KEY_MARK = "|"  # stands between what keeps teams apart and the name that prompts show
NBA_NAMES = {"home": "dec_home", "away": "dec_away"}
FOOTBALL_OUTCOMES = ("home", "draw", "away")
SPORT_COLUMNS = {
    "nba": ("date", "home", "away", "home_score", "away_score", "spread_home", "total"),
    "football": ("kickoff", "home", "away", "home_goals", "away_goals", "country"),
}


@dataclass(frozen=True, eq=False)
class Games:
    """M games in order of decision.

    Attributes:
        schedule: Teams, times and scores.
        days: str [M], calendar day of the start, as prompts show it.
        offered: float64 [M, K], decimal odds known at the decision, in the order home, away or
            home, draw, away; NaN where there is none.
        closing: float64 [M, K], the last odds before the start.
        spread_home, total: float64 [M], lines; NaN where there is none.
        notes: Assumptions that every report must repeat.
    """

    schedule: Schedule
    days: NDArray[np.object_]
    offered: Float
    closing: Float
    spread_home: Float
    total: Float
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.days)


def read_games(config: TaskConfig) -> Games:
    """The games of the configured table.

    Raises:
        DataError: The table cannot be read, a column is missing, or odds are no odds.
    """
    path, sport = str(config.odds.games), config.odds.sport
    frame = read_table(path)
    _require_sport(frame, sport, path)
    require_columns(frame, list(SPORT_COLUMNS[sport]), path)
    if sport == "nba":
        return _nba(frame, path)
    return _football(frame, path, config)


def _require_sport(frame: pd.DataFrame, sport: str, path: str) -> None:
    """Refuses the table of another sport."""
    for other, columns in SPORT_COLUMNS.items():
        if other != sport and set(columns) <= set(frame.columns):
            remedy = "odds_1x2 is asked of football, the other odds tasks of nba."
            raise DataError(path, f"must be a table of {sport} games", other, remedy)


def _nba(frame: pd.DataFrame, path: str) -> Games:
    starts = moments(frame["date"], f"{path}.date", NBA_ZONE, NBA_START)
    lines = betting_lines(
        frame,
        "nba",
        market="moneyline",
        event=["date", "home", "away"],
        starts_at="date",
        quotations=[Quotation("close", 0, NBA_NAMES)],
        decided_after_seconds=int(DECIDED_HOURS["nba"] * HOUR),
        timezone=NBA_ZONE,
        at=NBA_START,
    )
    odds = _odds_of(frame, ["date", "home", "away"], lines.columns, lines.event_ids, NBA_NAMES)
    names = frame["home"].astype(str), frame["away"].astype(str)
    scores = frame["home_score"], frame["away_score"]
    return _games("nba", starts, starts, names, scores, odds, odds, frame, lines.notes)


def _football(frame: pd.DataFrame, path: str, config: TaskConfig) -> Games:
    starts = moments(frame["kickoff"], f"{path}.kickoff", None, None)
    lead = config.odds.open_hours * HOUR
    event = ["kickoff", "home", "away"]
    stages = {
        stage: betting_lines(
            frame,
            "football",
            market="1x2",
            event=event,
            starts_at="kickoff",
            quotations=[
                Quotation(
                    stage, before, {side: f"odds_{side}_{stage}" for side in FOOTBALL_OUTCOMES}
                )
            ],
            decided_after_seconds=int(DECIDED_HOURS["football"] * HOUR),
        )
        for stage, before in (("open", lead), ("close", 0))
    }
    sides = {side: side for side in FOOTBALL_OUTCOMES}
    odds = {
        stage: _odds_of(frame, event, lines.columns, lines.event_ids, sides)
        for stage, lines in stages.items()
    }
    decided_on = starts - (lead * NANOSECONDS if config.odds.line == "open" else 0)
    # The same name in two countries is two teams.
    country = frame["country"].astype(str)
    names = tuple(country + KEY_MARK + frame[side].astype(str) for side in ("home", "away"))
    scores = frame["home_goals"], frame["away_goals"]
    offered, closing = odds[config.odds.line], odds["close"]
    notes = stages[config.odds.line].notes
    return _games(
        "football", starts, decided_on, (names[0], names[1]), scores, offered, closing, frame, notes
    )


def _odds_of(
    frame: pd.DataFrame,
    event: list[str],
    columns: Mapping[str, NDArray[Any]],
    ids: NDArray[np.object_],
    outcomes: dict[str, str],
) -> Float:
    """Odds by row of the frame, float64 [M, K]; NaN where the game has no line."""
    table = pd.DataFrame({name: columns[name] for name in outcomes}, index=ids)
    if table.index.has_duplicates:
        again = table.index[table.index.duplicated()][0]
        raise DataError("games", "must give each game once", again, "Drop the repetitions.")
    odds: Float = table.reindex(event_ids(frame, event)).to_numpy(dtype=np.float64)
    return odds


def _games(
    sport: str,
    starts: NDArray[np.int64],
    decided_on: NDArray[np.int64],
    names: tuple[pd.Series, pd.Series],
    scores: tuple[pd.Series, pd.Series],
    offered: Float,
    closing: Float,
    frame: pd.DataFrame,
    notes: tuple[str, ...],
) -> Games:
    """Everything in order of decision; equal moments by the home team's name."""
    home, away = (name.to_numpy(dtype=object) for name in names)
    order = np.lexsort((home.astype(str), starts, decided_on))
    outcome_at = starts + int(DECIDED_HOURS[sport] * HOUR) * NANOSECONDS
    own, other = (score.to_numpy(dtype=np.float64)[order] for score in scores)
    zone = NBA_ZONE if sport == "nba" else "UTC"
    clock = pd.DatetimeIndex(starts.astype("datetime64[ns]"), tz="UTC").tz_convert(zone)
    clock = clock.tz_localize(None)
    local = clock.as_unit("ns").to_numpy().astype(np.int64)
    schedule = Schedule(
        home[order], away[order], decided_on[order], local[order], outcome_at[order], own, other
    )
    days = clock.strftime("%Y-%m-%d").to_numpy(dtype=object)
    empty = np.full(len(frame), np.nan)
    spread = frame["spread_home"].to_numpy(np.float64) if sport == "nba" else empty
    total = frame["total"].to_numpy(np.float64) if sport == "nba" else empty
    return Games(
        schedule, days[order], offered[order], closing[order], spread[order], total[order], notes
    )
