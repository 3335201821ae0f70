# SPDX-License-Identifier: Apache-2.0
"""Kupiec and Christoffersen: published regions and examples, and series made to fail."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, chi2

from mtquant.core.errors import DataError
from mtquant.evaluation.significance.exceedances import coverage, kupiec_ratio


@pytest.mark.parametrize(
    ("promised", "bars", "accepted"),
    [
        (0.01, 255, (1, 6)),
        (0.01, 510, (2, 10)),
        (0.01, 1000, (5, 16)),
        (0.025, 255, (3, 11)),
        (0.025, 510, (7, 20)),
        (0.025, 1000, (16, 35)),
        (0.05, 255, (7, 20)),
        (0.05, 510, (17, 35)),
        (0.05, 1000, (38, 64)),
    ],
)
def test_accepted_counts_are_those_of_kupiec(
    promised: float, bars: int, accepted: tuple[int, int]
) -> None:
    # The table of Kupiec 1995, as printed in Jorion, Value at Risk (2007), chapter 6; for 1 % and
    # 255 days it says N < 7 and leaves out that 0 is rejected too (5.13 > 3.84).
    bound = chi2.ppf(0.95, 1)
    found = [x for x in range(bars // 4) if kupiec_ratio(x, bars, promised) < bound]
    assert (found[0], found[-1]) == accepted


def test_example_of_jorion() -> None:
    # Jorion 2007, chapter 6: J.P. Morgan 1998, 20 exceedances in 252 days of a 95 % value at
    # risk, 3.91. Supposing that 6 of them follow another one, the independence ratio is 9.53
    # and both together 13.44. The first of 253 days has no day before it.
    hits = np.zeros(253, dtype=np.bool_)
    starts = 5 + 7 * np.arange(14)
    hits[starts] = True
    hits[starts[:6] + 1] = True
    found = coverage(hits, 0.95)
    assert (found.exceedances, found.expected) == (20, pytest.approx(12.65))
    assert kupiec_ratio(20, 252, 0.05) == pytest.approx(3.91, abs=5e-3)
    assert found.independence == pytest.approx(9.53, abs=5e-3)
    assert kupiec_ratio(20, 252, 0.05) + found.independence == pytest.approx(13.44, abs=5e-3)
    assert found.both == found.frequency + found.independence
    assert found.independence_p < 0.01


def test_frequency_is_a_likelihood_ratio_of_binomials() -> None:
    for count in (0, 1, 13, 250):
        seen, promised = (binom.logpmf(count, 250, p) for p in (count / 250, 0.05))
        assert kupiec_ratio(count, 250, 0.05) == pytest.approx(2.0 * (seen - promised), abs=1e-9)


def test_exact_share_is_accepted() -> None:
    hits = np.zeros(400, dtype=np.bool_)
    hits[10::20] = True
    found = coverage(hits, 0.95)
    assert found.frequency == pytest.approx(0.0, abs=1e-9)
    assert found.frequency_p == pytest.approx(1.0)


def test_true_value_at_risk_is_rarely_rejected() -> None:
    # 400 series of 1,000 bars: chi-squared bounds at 5 %, known to 1 %; the independence test is
    # only asymptotic.
    hits = np.random.default_rng(4).random((400, 1000)) < 0.05
    found = [coverage(series, 0.95) for series in hits]
    assert np.mean([x.frequency_p < 0.05 for x in found]) == pytest.approx(0.05, abs=0.035)
    assert np.mean([x.independence_p < 0.05 for x in found]) == pytest.approx(0.05, abs=0.035)
    assert np.mean([x.both_p < 0.05 for x in found]) == pytest.approx(0.05, abs=0.035)


@pytest.mark.parametrize("value", [False, True])
def test_always_and_never_have_no_clusters(value: bool) -> None:
    found = coverage(np.full(300, value), 0.95)
    assert found.independence == 0.0
    assert found.frequency_p < 1e-6


def test_what_cannot_be_tested_is_refused() -> None:
    with pytest.raises(DataError, match="at least 2"):
        coverage(np.zeros(1, dtype=np.bool_), 0.95)
    with pytest.raises(DataError, match="confidence"):
        coverage(np.zeros(9, dtype=np.bool_), 95.0)
