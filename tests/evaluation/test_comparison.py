# SPDX-License-Identifier: Apache-2.0
"""A policy beside the best baseline: better, worse, no evidence, and nothing to compare."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.evaluation.comparison import against_baselines
from tests.support.ledgers import ledger_from_returns

DRAWS = np.random.default_rng(7).normal(0.0, 0.01, (2, 600))
NOISE, OTHER = DRAWS - DRAWS.mean(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("edge", "word", "better"),
    [
        (0.005, "better than it", True),
        (0.0, "no evidence", False),
        (-0.005, "worse than it", False),
    ],
)
def test_difference_is_judged(edge: float, word: str, better: bool) -> None:
    baselines = [
        ledger_from_returns(OTHER, name="flat"),
        ledger_from_returns(OTHER - 1e-3, name="b"),
    ]
    found = against_baselines(ledger_from_returns(NOISE + edge), baselines, seed=2)
    assert found is not None
    assert (found.baseline, found.better) == ("flat", better)
    assert word in found.lines[0] and "95 % interval" in found.lines[0]


def test_leverage_is_no_edge_and_is_named() -> None:
    market = ledger_from_returns(OTHER + 1e-3, name="market")
    policy = ledger_from_returns(2.0 * (OTHER + 1e-3) + 1e-4 * NOISE)
    found = against_baselines(policy, [market], seed=2)
    assert found is not None and not found.better
    assert "beta to market 2.00, alpha +0.0% a year" in found.lines[1]
    assert "information ratio" in found.lines[1] and "95 % interval" in found.lines[1]


def test_nothing_to_compare_is_none() -> None:
    policy = ledger_from_returns(NOISE)
    flat, short = ledger_from_returns(np.zeros(600)), ledger_from_returns(OTHER[:500])
    for baselines in ([], [flat], [short]):
        assert against_baselines(policy, baselines) is None
    assert against_baselines(flat, [policy]) is None
    assert against_baselines(policy, [policy]) is None  # the difference does not vary
