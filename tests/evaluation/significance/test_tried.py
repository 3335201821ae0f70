# SPDX-License-Identifier: Apache-2.0
"""The effective number of tries: by construction, by simulation, and from a trial ledger."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.core.config import Config
from mtquant.core.errors import RunError
from mtquant.core.trials import RETURNS_NAME, Series, Trial, TrialLedger
from mtquant.evaluation.significance.deflation import expected_maximum
from mtquant.evaluation.significance.tried import Tried, effective_number
from tests.support.ledgers import daily_stamps

NOISE = np.random.default_rng(2).normal(0.0, 0.01, (4, 400))
STAMPS = daily_stamps(900)


def add(ledger: TrialLedger, step: int, **series: tuple[np.ndarray, np.ndarray]) -> None:
    held = {name: Series(stamps, returns, 252.0) for name, (stamps, returns) in series.items()}
    ledger.append(Trial.of(Config(), "phase1", step, {}, held))


@given(st.integers(1, 8), st.integers(1, 8))
def test_copies_count_once(copies: int, independent: int) -> None:
    correlation = np.kron(np.eye(independent), np.ones((copies, copies)))
    assert effective_number(correlation) == pytest.approx(independent)


@given(st.floats(0.0, 0.99), st.floats(0.0, 0.99), st.integers(2, 50))
def test_closer_tries_are_worth_fewer(one: float, other: float, count: int) -> None:
    loose, close = (
        effective_number(np.full((count, count), rho) + (1.0 - rho) * np.eye(count))
        for rho in sorted((one, other))
    )
    assert 1.0 <= close <= loose + 1e-9 <= count + 1e-6


def test_opposite_tries_are_two() -> None:
    assert effective_number(np.array([[1.0, -1.0], [-1.0, 1.0]])) == pytest.approx(2.0)


@pytest.mark.parametrize("correlation", [0.25, 0.5, 0.75])
def test_number_is_never_too_small_for_the_best_of_correlated_draws(correlation: float) -> None:
    # The mean of the best of 50 equally correlated normal draws is sqrt(1 - rho) times that of 50
    # independent ones (a shared part adds nothing to it).
    matrix = np.full((50, 50), correlation) + (1.0 - correlation) * np.eye(50)
    truth = np.sqrt(1.0 - correlation) * expected_maximum(50)
    assert expected_maximum(effective_number(matrix)) > truth


def test_no_record_is_not_one_try(tmp_path: Path) -> None:
    assert Tried.of(TrialLedger(tmp_path / "trials")) is None


def test_equal_trials_of_a_ledger_count_once(tmp_path: Path) -> None:
    ledger = TrialLedger(tmp_path)
    for step, row in enumerate((0, 0, 1, 2)):
        add(ledger, step, both=(STAMPS[:400], NOISE[row]))
    found = Tried.of(ledger)
    assert found is not None and found.trials == 4
    assert found.effective == pytest.approx(3.0, abs=0.1)


def test_policies_of_a_trial_are_taken_together(tmp_path: Path) -> None:
    # Two trials with the same mean of their two policies, by different policies.
    ledger, mean = TrialLedger(tmp_path), NOISE[0]
    for step, apart in enumerate(NOISE[1:3]):
        one, other = mean + apart, mean - apart
        add(ledger, step, EURUSD=(STAMPS[:400], one), USDJPY=(STAMPS[:400], other))
    assert Tried.of(ledger) == Tried(2, pytest.approx(1.0))


def test_other_bars_are_other_tries_and_cash_is_none(tmp_path: Path) -> None:
    ledger = TrialLedger(tmp_path)
    add(ledger, 0, a=(STAMPS[:400], NOISE[0]))
    add(ledger, 1, a=(STAMPS[390:790], NOISE[0]))  # 10 shared bars say nothing
    add(ledger, 2, a=(STAMPS[:400], np.zeros(400)))
    assert Tried.of(ledger) == Tried(3, pytest.approx(2.0))


def test_one_trial_is_one_try(tmp_path: Path) -> None:
    ledger = TrialLedger(tmp_path)
    add(ledger, 0, a=(STAMPS[:400], NOISE[0]))
    assert Tried.of(ledger) == Tried(1, 1.0)


def test_lost_returns_are_an_error_and_no_smaller_count(tmp_path: Path) -> None:
    ledger = TrialLedger(tmp_path)
    add(ledger, 0, a=(STAMPS[:400], NOISE[0]))
    next((tmp_path / RETURNS_NAME).iterdir()).unlink()
    with pytest.raises(RunError, match="returns"):
        Tried.of(ledger)
