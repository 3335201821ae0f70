# SPDX-License-Identifier: Apache-2.0
"""Was the value at risk exceeded as often as it says, and not in clusters?

Sources: Kupiec, "Techniques for Verifying the Accuracy of Risk Measurement Models", Journal of
Derivatives 3 (1995); Christoffersen, "Evaluating Interval Forecasts", International Economic Review
39 (1998).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import DataError


@dataclass(frozen=True)
class Coverage:
    """Likelihood ratios and p-values of three tests; a p-value below 0.05 speaks against the VaR.

    Attributes:
        exceedances: Bars with a loss beyond the value at risk.
        expected: How many it promises.
        frequency: Kupiec's ratio: as often as promised? Chi-squared with 1 degree of freedom.
        frequency_p: Its p-value.
        independence: Christoffersen's ratio: no more likely after another one? 1 degree.
        independence_p: Its p-value.
        both: Sum of the two, conditional coverage. 2 degrees.
        both_p: Its p-value.
    """

    exceedances: int
    expected: float
    frequency: float
    frequency_p: float
    independence: float
    independence_p: float
    both: float
    both_p: float


def coverage(exceeded: NDArray[np.bool_], confidence: float) -> Coverage:
    """Tests of Kupiec and Christoffersen on a series of exceedances.

    As in the literature the independence test uses the T - 1 transitions, the frequency test all T
    bars, and their sum is referred to two degrees of freedom.

    Args:
        exceeded: bool [T], whether the loss of the bar was beyond the value at risk.
        confidence: Of the value at risk: 0.95 promises 5 % of the bars.

    Raises:
        DataError: Fewer than 2 bars, or a confidence that is not between 0 and 1.
    """
    hits = np.asarray(exceeded, dtype=np.bool_)
    if hits.ndim != 1 or len(hits) < 2:
        raise DataError("exceeded", "must be a series of at least 2", hits.shape, "Give more bars.")
    if not 0.0 < confidence < 1.0:
        raise DataError("confidence", "must lie between 0 and 1", confidence, "Example: 0.95.")
    from scipy.stats import chi2

    count, promised = int(hits.sum()), 1.0 - confidence
    frequency = kupiec_ratio(count, len(hits), promised)
    independence = _independence_ratio(hits)
    both = frequency + independence
    frequency_p, independence_p, both_p = (
        float(chi2.sf(value, degrees))
        for value, degrees in ((frequency, 1), (independence, 1), (both, 2))
    )
    return Coverage(
        count,
        promised * len(hits),
        frequency,
        frequency_p,
        independence,
        independence_p,
        both,
        both_p,
    )


def kupiec_ratio(exceedances: int, bars: int, promised: float) -> float:
    """Likelihood ratio of the proportion of failures, Kupiec 1995.

    ``-2 log((1 - p)^(T - x) p^x) + 2 log((1 - x / T)^(T - x) (x / T)^x)``

    Args:
        exceedances: x.
        bars: T.
        promised: p, for example 0.05.
    """
    seen = _likelihood(bars - exceedances, exceedances, exceedances / bars)
    return max(0.0, 2.0 * (seen - _likelihood(bars - exceedances, exceedances, promised)))


def _independence_ratio(hits: NDArray[np.bool_]) -> float:
    """Christoffersen 1998: a first-order Markov chain against independence."""
    before, after = hits[:-1], hits[1:]
    stay, hit = int((~before & ~after).sum()), int((~before & after).sum())
    back, again = int((before & ~after).sum()), int((before & after).sum())
    alike = (hit + again) / len(after)
    apart = sum(
        _likelihood(quiet, loud, loud / (quiet + loud))
        for quiet, loud in ((stay, hit), (back, again))
        if quiet + loud
    )
    return max(0.0, 2.0 * (apart - _likelihood(stay + back, hit + again, alike)))


def _likelihood(quiet: int, loud: int, chance: float) -> float:
    """Log likelihood of so many bars without and with an exceedance; 0 log 0 counts as 0."""
    return (quiet * math.log1p(-chance) if quiet else 0.0) + (
        loud * math.log(chance) if loud else 0.0
    )
