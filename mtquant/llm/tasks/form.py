# SPDX-License-Identifier: Apache-2.0
"""Form: what the results known at a decision say about two teams.

Results enter when they became known (`outcome_at`), never in the order of the table: a game that
kicks off while another is still played does not know its score. Elo ratings as A. E. Elo, "The
Rating of Chessplayers" (1978), with points for playing at home as Hvattum & Arntzen 2010, "Using
ELO ratings for match result prediction in association football".
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.data.bars import NANOSECONDS

Float = NDArray[np.float64]

START_ELO = 1_500.0
ELO_SCALE = 400.0
MOST_REST_DAYS = 10  # a longer rest, or a team's first game, counts as this
DAY = 86_400 * NANOSECONDS


@dataclass(frozen=True)
class Schedule:
    """M games in order of decision.

    Attributes:
        home, away: str [M], teams.
        decided_on: int64 [M], UTC nanoseconds, when a forecast of the game is made; not falling.
        local_starts: int64 [M], when it begins, nanoseconds on the clock of the place: days of rest
            are counted on it, so that a day of 23 hours is a day.
        outcome_at: int64 [M], when its result is known.
        home_score, away_score: float64 [M].
    """

    home: NDArray[np.object_]
    away: NDArray[np.object_]
    decided_on: NDArray[np.int64]
    local_starts: NDArray[np.int64]
    outcome_at: NDArray[np.int64]
    home_score: Float
    away_score: Float


@dataclass(slots=True)
class Team:
    """What is known of a team.

    Attributes:
        elo: Rating, points.
        points: Its own and the other side's score of its last games, oldest first.
        last_start: Local start of its last game that is known, nanoseconds, or None.
    """

    elo: float
    points: deque[tuple[float, float]]
    last_start: int | None = None


@dataclass(frozen=True)
class Form:
    """What was known of both teams at each decision, float64 [M, 2] each, home first.

    Attributes:
        elo: Rating.
        wins, draws, losses: Of the last games.
        scored, allowed: Mean scores of the last games; 0 without one.
        rest_days: Whole days since the last game known.
    """

    elo: Float
    wins: Float
    draws: Float
    losses: Float
    scored: Float
    allowed: Float
    rest_days: Float


def form_of(schedule: Schedule, games: int, elo_step: float, home_points: float) -> Form:
    """Form at each decision, from results known by then.

    Args:
        schedule: M games.
        games: Last games that are summarised.
        elo_step: Points that one surprise moves a team.
        home_points: Points that playing at home is worth.
    """
    teams: dict[str, Team] = defaultdict(lambda: Team(START_ELO, deque(maxlen=games)))
    rows = np.zeros((len(schedule.home), 2, 7))
    known = _Results(schedule, elo_step, home_points)
    for game, (home, away, moment, start) in enumerate(
        zip(schedule.home, schedule.away, schedule.decided_on, schedule.local_starts, strict=True)
    ):
        known.learn(teams, int(moment))
        for side, name in enumerate((home, away)):
            rows[game, side] = _summary(teams[name], int(start))
    return Form(*(rows[:, :, column] for column in range(rows.shape[2])))


class _Results:
    """Hands out results in the order in which they became known."""

    def __init__(self, schedule: Schedule, elo_step: float, home_points: float) -> None:
        self._order = iter(np.argsort(schedule.outcome_at, kind="stable").tolist())
        self._next = next(self._order, None)
        self._schedule, self._step, self._home = schedule, elo_step, home_points

    def learn(self, teams: dict[str, Team], moment: int) -> None:
        """Books every result known at a moment that was not booked before."""
        for game in self._known(moment):
            own = self._schedule
            home, away = teams[own.home[game]], teams[own.away[game]]
            scores = float(own.home_score[game]), float(own.away_score[game])
            surprise = _result(*scores) - expected_score(home.elo, away.elo, self._home)
            home.elo += self._step * surprise
            away.elo -= self._step * surprise
            home.points.append(scores)
            away.points.append(scores[::-1])
            home.last_start = away.last_start = int(own.local_starts[game])

    def _known(self, moment: int) -> Iterator[int]:
        while self._next is not None and self._schedule.outcome_at[self._next] <= moment:
            yield self._next
            self._next = next(self._order, None)


def expected_score(home_elo: float, away_elo: float, home_points: float) -> float:
    """Chance of a home win plus half that of a draw, by Elo's logistic curve."""
    return 1.0 / (1.0 + 10.0 ** ((away_elo - home_elo - home_points) / ELO_SCALE))


def _result(own: float, other: float) -> float:
    return 0.5 if own == other else float(own > other)


def _summary(team: Team, start: int) -> tuple[float, ...]:
    """Elo, wins, draws, losses, mean scored and allowed, days of rest."""
    wins = sum(own > other for own, other in team.points)
    draws = sum(own == other for own, other in team.points)
    count = len(team.points)
    scored = sum(own for own, _ in team.points) / count if count else 0.0
    allowed = sum(other for _, other in team.points) / count if count else 0.0
    rest = MOST_REST_DAYS
    if team.last_start is not None:
        rest = min(MOST_REST_DAYS, (start - team.last_start) // DAY)
    return team.elo, wins, draws, count - wins - draws, scored, allowed, rest
