# SPDX-License-Identifier: Apache-2.0
"""Odds: how they are quoted, the bookmaker's margin in them, and the chances behind them.

    odds = from_american(np.array([-190.0, 165.0]))  # decimal: [1.526, 2.65]
    overround(odds)  # 1.0326: the implied chances add up to more than 1
    fair_chances(odds, method="shin")  # [0.639, 0.361], adding up to 1

Decimal odds are what a stake of 1 pays back, the stake included; the profit of a win is odds - 1.
They are finite and above 1. Arrays of odds are float64 [K] for one event or [n, K] for n events of
K outcomes that exclude each other, one of which happens. NaN is refused: an event without a line
has to be left out, not guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import DataError

Float = NDArray[np.float64]
MarginMethod = Literal["multiplicative", "power", "shin"]

BISECTIONS = 60  # halves an interval of 1 to 1e-18
LARGEST_POWER = 64.0


def from_american(american: Float) -> Float:
    """Decimal odds from moneylines: +150 is 2.5, -200 is 1.5.

    Raises:
        DataError: A moneyline between -100 and 100, which do not exist, or NaN.
    """
    american = np.asarray(american, dtype=np.float64)
    wrong = ~((np.abs(american) >= 100.0) & np.isfinite(american))
    if wrong.any():
        remedy = "Moneylines are at least 100 or at most -100; are these decimal odds?"
        raise DataError("moneyline", "must be 100 or more from 0", american[wrong][0], remedy)
    # The other branch's numbers are not used: np.where computes both.
    return 1.0 + np.where(american > 0.0, american / 100.0, 100.0 / np.abs(american))


def to_american(odds: Float) -> Float:
    """Moneylines of decimal odds; even odds are +100."""
    profit = require_odds(odds) - 1.0
    return np.where(profit >= 1.0, 100.0 * profit, -100.0 / profit)


def from_fractional(text: str) -> float:
    """Decimal odds from "5/2" (3.5), "evens" (2.0) or "3" (4.0).

    Raises:
        DataError: The text is no positive fraction.
    """
    plain = text.strip().lower()
    try:
        profit = Fraction(1) if plain in ("evens", "evs") else Fraction(plain.replace(" ", ""))
    except (ValueError, ZeroDivisionError) as error:
        remedy = "Write them as 5/2 or evens."
        raise DataError("fractional odds", "must be a fraction", text, remedy) from error
    if profit <= 0:
        raise DataError("fractional odds", "must be positive", text, "Write them as 5/2 or evens.")
    return 1.0 + float(profit)


def to_fractional(odds: float, largest_denominator: int = 100) -> str:
    """The nearest fraction of small numbers: 3.5 is "5/2"."""
    profit = float(require_odds(np.array([odds]))[0]) - 1.0
    fraction = Fraction(profit).limit_denominator(largest_denominator)
    return f"{fraction.numerator}/{fraction.denominator}"


def require_odds(odds: Float) -> Float:
    """Decimal odds as float64.

    Raises:
        DataError: An entry is not finite or not above 1.
    """
    odds = np.asarray(odds, dtype=np.float64)
    wrong = ~(np.isfinite(odds) & (odds > 1.0))
    if wrong.any():
        remedy = "Decimal odds hold the stake: convert moneylines, leave out missing lines."
        raise DataError("decimal odds", "must be above 1", odds[wrong][0], remedy)
    return odds


def overround(odds: Float) -> Float:
    """Sum of the implied chances 1 / odds, float64 [...]; 1.05 takes 4.8 % of balanced stakes."""
    total: Float = np.sum(1.0 / require_odds(odds), axis=-1)
    return total


def fair_chances(odds: Float, method: MarginMethod = "shin") -> Float:
    """Chances without the bookmaker's margin; shape of `odds`, adding up to 1.

    ``"multiplicative"`` divides the implied chances by their sum. ``"power"`` raises them to the
    power at which they add up to 1 (Vovk & Zhdanov 2009, "Prediction with expert advice for the
    Brier game"). ``"shin"`` supposes that a share z of the stakes comes from insiders (Shin 1993,
    "Measuring the incidence of insider trading in a market for state-contingent claims"). The last
    two take more from long shots, which is where bookmakers put more of it; they agree with the
    first where there is no margin.

    Raises:
        DataError: Unknown method, odds as in `require_odds`, or for ``"shin"`` implied chances that
            add up to less than 1.
    """
    implied = 1.0 / require_odds(odds)
    total = implied.sum(axis=-1, keepdims=True)
    if method == "multiplicative":
        return implied / total
    if method == "power":
        power = _bisect(
            lambda power: (implied**power).sum(axis=-1, keepdims=True) - 1.0,
            np.zeros_like(total),
            np.full_like(total, LARGEST_POWER),
        )
        return _normalised(implied**power)
    if method == "shin":
        return _normalised(_shin_chances(implied, total, shin_insiders(odds)[..., None]))
    known = ["multiplicative", "power", "shin"]
    raise DataError("method", "must be known", method, f"Known: {', '.join(known)}.")


def shin_insiders(odds: Float) -> Float:
    """Shin's z, the share of stakes that insiders place, float64 [...]; 0 without a margin.

    Raises:
        DataError: Implied chances that add up to less than 1 cannot come from Shin's bookmaker.
    """
    implied = 1.0 / require_odds(odds)
    total = implied.sum(axis=-1, keepdims=True)
    if (total < 1.0 - 1e-12).any():
        remedy = "Such odds are a sure profit or a mistake; use method='power'."
        raise DataError("overround", "must be 1 or more for Shin", float(total.min()), remedy)
    share = _bisect(
        lambda z: _shin_chances(implied, total, z).sum(axis=-1, keepdims=True) - 1.0,
        np.zeros_like(total),
        np.full_like(total, 1.0 - 1e-9),
    )
    return share[..., 0]


def _shin_chances(implied: Float, total: Float, z: Float) -> Float:
    """Shin's prices solved for the chances (Jullien & Salanie 1994, "Measuring the incidence of
    insider trading: a comment on Shin").
    """
    root = np.sqrt(z * z + 4.0 * (1.0 - z) * implied * implied / total)
    chances: Float = (root - z) / (2.0 * (1.0 - z))
    return chances


def _bisect(falling: Callable[[Float], Float], low: Float, high: Float) -> Float:
    """Where a falling function crosses 0, element by element; `low` where it never is above it."""
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        above = falling(middle) > 0.0
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return 0.5 * (low + high)


def _normalised(chances: Float) -> Float:
    """Takes out what rounding left of the sum's distance from 1."""
    return chances / chances.sum(axis=-1, keepdims=True)
