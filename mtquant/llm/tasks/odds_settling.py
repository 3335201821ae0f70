# SPDX-License-Identifier: Apache-2.0
"""How each side of a game's bet was settled: `mtquant.market.settlement`'s results."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.market.settlement import RESULT_LOSE, RESULT_WIN, line_result

Float = NDArray[np.float64]
Results = NDArray[np.int64]

UNDECIDED = -1  # label where the bet was given back


def winner_results(home: Float, away: Float) -> tuple[Results, Results]:
    """Labels [M] and results [M, 2] in the order away, home; a draw decides nothing."""
    return _two_sided(home - away, np.zeros(len(home)))


def spread_results(home: Float, away: Float, line: Float) -> tuple[Results, Results]:
    """Labels and results in the order away covers, home covers; `line` adds to the home score."""
    return _two_sided(home - away, line)


def total_results(home: Float, away: Float, total: Float) -> tuple[Results, Results]:
    """Labels and results in the order under, over."""
    return _two_sided(home + away, -total)


def three_way_results(home: Float, away: Float) -> tuple[Results, Results]:
    """Labels [M] and results [M, 3] in the order home, draw, away."""
    labels = np.where(home > away, 0, np.where(home == away, 1, 2)).astype(np.int64)
    won = labels[:, None] == np.arange(3)
    return labels, np.where(won, RESULT_WIN, RESULT_LOSE).astype(np.int64)


def _two_sided(margin: Float, line: Float) -> tuple[Results, Results]:
    """Class 1 is that `margin` + `line` ends above 0."""
    results = np.array(
        [
            (line_result(-one, -added), line_result(one, added))
            for one, added in zip(margin.tolist(), line.tolist(), strict=True)
        ],
        dtype=np.int64,
    ).reshape(-1, 2)
    above = np.sign(margin + line)
    labels = np.where(above == 0.0, UNDECIDED, (above > 0.0).astype(np.int64))
    return labels.astype(np.int64), results
