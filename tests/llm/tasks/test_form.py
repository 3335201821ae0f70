# SPDX-License-Identifier: Apache-2.0
"""Form by hand: ratings, records and rest from results that were known."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.llm.tasks.form import DAY, MOST_REST_DAYS, Schedule, expected_score, form_of


def schedule(decided_on=None) -> Schedule:
    starts = np.array([0, 2, 3]) * DAY
    return Schedule(
        home=np.array(["A", "B", "A"], dtype=object),
        away=np.array(["B", "C", "B"], dtype=object),
        decided_on=starts if decided_on is None else np.asarray(decided_on),
        local_starts=starts,
        outcome_at=starts + DAY // 8,
        home_score=np.array([3.0, 1.0, 0.0]),
        away_score=np.array([1.0, 1.0, 2.0]),
    )


def test_three_games_by_hand():
    form = form_of(schedule(), games=5, elo_step=20.0, home_points=0.0)
    assert form.elo[0].tolist() == [1500.0, 1500.0]
    assert form.rest_days[0].tolist() == [MOST_REST_DAYS] * 2
    # A beat B from equal ratings: 20 (1 - 1/2) points change hands.
    assert form.elo[1].tolist() == [1490.0, 1500.0]
    # B and C drew; B, ten points behind, was expected to score a little less than half.
    gained = 20.0 * (0.5 - expected_score(1490.0, 1500.0, 0.0))
    np.testing.assert_allclose(form.elo[2], [1510.0, 1490.0 + gained])
    assert form.wins[2].tolist() == [1, 0]
    assert form.draws[2].tolist() == [0, 1]
    assert form.losses[2].tolist() == [0, 1]
    assert form.scored[2].tolist() == [3.0, 1.0]
    assert form.allowed[2].tolist() == [1.0, 2.0]
    assert form.rest_days[2].tolist() == [3, 1]


def test_a_result_that_is_not_known_yet_does_not_count():
    # The third game is decided on before the second is over, though after it began.
    early = form_of(schedule([0, 2 * DAY, 2 * DAY + 1]), 5, 20.0, 0.0)
    assert early.elo[2].tolist() == [1510.0, 1490.0]
    assert early.draws[2].tolist() == [0, 0]


def test_playing_at_home_and_400_points_are_worth_what_elo_says():
    assert expected_score(1500.0, 1500.0, 0.0) == 0.5
    # Elo 1978: 400 points are odds of ten to one.
    assert expected_score(1900.0, 1500.0, 0.0) == pytest.approx(10 / 11)
    assert expected_score(1500.0, 1500.0, 70.0) == expected_score(1570.0, 1500.0, 0.0)


def test_only_the_last_games_are_summarised():
    form = form_of(schedule(), games=1, elo_step=20.0, home_points=0.0)
    assert form.draws[2].tolist() == [0, 1] and form.losses[2].tolist() == [0, 0]
