# SPDX-License-Identifier: Apache-2.0
"""How instruments move together: the covariance of one day at every row of a panel.

It depends on bars only, not on accounts, so it is worked out once per panel and every account at
row t reads the same row of `RiskTable.rows`:

    table = risk_table(panel.close, panel.tradable, panel.bars_per_year, "ewma")
    table.rows[t]      # float64 [2 N + 2, N]: what `mtquant.risk.projection.limit_book` reads

**Unequal hours.** Prices of a closed market stand still and then jump over everything that happened
meanwhile. Multiplying returns row by row would miss that the jump belongs to the others' earlier
moves and understate every correlation across time zones (Epps 1979). Here each pair is updated as
Hayashi & Yoshida 2005 ("On covariance estimation of non-synchronously observed diffusion
processes") do it: the return of a bar is multiplied with what the other instrument did over all its
bars that overlap it. Where all trade in every row this is the plain product of returns.

**Memory.** A row keeps decay^(rows since) of its weight, with decay = 0.94^(1 / rows per day), so
that the memory is RiskMetrics' (11 days to half) on bars of any length, and a day's covariance is
the mean row's times the rows per day. Weights sum to 1 from the first return on.

**Unknown is not zero risk.** An instrument's risk is unknown until it has had `WARM_UP_RETURNS` of
its own, from the moment a price is missing or not positive (it starts again), and while its last
bar is more than `STALE_DAYS` old. Its deviation is then infinite, its correlations 0.

**Positive semidefinite.** Estimates pair by pair need not be, so negative eigenvalues are set to 0,
which only ever raises a variance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mtquant.core.compiled import kernel
from mtquant.core.errors import DataError
from mtquant.risk.limits import RISK_CORRELATION, RISK_DEVIATION, RISK_EIGENVALUE
from mtquant.risk.measures import bars_per_day, decay_per_bar

Float = NDArray[np.float64]
Flags = NDArray[np.bool_]
VarMethod = Literal["ewma", "parametric", "historical", "cornish_fisher"]

WARM_UP_RETURNS = 20  # a standard deviation from 20 returns has a standard error of 16 %
STALE_DAYS = 10  # longer than any exchange holiday
WINDOW_DAYS = 250  # Basel Committee 1996, market risk amendment: at least one year of days
LEAST_DAYS = 60  # three observations beyond the 95 % quantile

# Rows of the streaming state after its two blocks of N: products of returns, then anchors, where
# anchor [i, j] is the price of j at the last bar of i.
EXTRA_ROWS = 3
E_BEGAN, E_OWN, E_AGE = range(EXTRA_ROWS)  # rows since the first bar (-1: none), own bars, age


@dataclass(frozen=True, eq=False)
class RiskTable:
    """Everything about risk that depends on the bars alone; T rows, N instruments.

    Attributes:
        rows: float64 [T, 2 N + 2, N]: per bar the one-day deviations (infinite where unknown), the
            eigenvalues of the covariance, the correlations [N, N], and the eigenvectors as rows
            [N, N]. Row t uses bars closed at or before stamp t.
        scenarios: float64 [N, D], one-day simple returns, 0 where unknown; what
            `mtquant.risk.tail.limit_tail` reads.
        window: int64 [T, 2], first and last (exclusive) scenario that row t may use; empty while
            there are fewer than `LEAST_DAYS`.
        rows_per_day: Rows of the panel in one trading day.
    """

    rows: Float
    scenarios: Float
    window: NDArray[np.int64]
    rows_per_day: float

    def __post_init__(self) -> None:
        for array in (self.rows, self.scenarios, self.window):
            array.setflags(write=False)


def risk_table(
    close: Float, tradable: Flags, bars_per_year: float, method: VarMethod = "ewma"
) -> RiskTable:
    """The risk of every row of a panel.

    Args:
        close: Last known prices, float64 [T, N], NaN before an instrument's first bar.
        tradable: Whether an own bar closes at the row, bool [T, N].
        bars_per_year: Rows in 365.25 days.
        method: ``environment.var_method``. ``"parametric"`` takes its covariance from the scenarios
            (`shrunk_covariance`), the others from the exponentially weighted average; all but
            ``"ewma"`` call an instrument unknown whose scenarios are not complete.

    Raises:
        DataError: The shapes do not fit, or the calendar is not positive.
    """
    if close.ndim != 2 or close.shape != tradable.shape or not bars_per_year > 0.0:
        raise DataError(
            "close",
            "must be [T, N] beside tradable [T, N], with bars_per_year above 0",
            (close.shape, tradable.shape, bars_per_year),
            "Give them as the panel holds them.",
        )
    per_day = bars_per_day(bars_per_year)
    covariance, deviation = ewma_covariance(close, tradable, per_day)
    scenarios, days = daily_scenarios(close, per_day)
    # Which scenarios are known at a row, and the window that ends with the newest.
    window = np.column_stack([np.maximum(days - WINDOW_DAYS, 0), days])
    if method != "ewma":
        known = np.isfinite(scenarios)
        complete = _complete(known, window)
        deviation = np.where(complete, deviation, np.inf)
        window[days < LEAST_DAYS] = 0
        if method == "parametric":
            covariance = _window_covariance(scenarios, window)
            own = np.sqrt(np.einsum("tnn->tn", covariance))
            deviation = np.where(np.isfinite(deviation), own, np.inf)
    return RiskTable(
        rows=risk_rows(covariance, deviation),
        scenarios=np.ascontiguousarray(np.nan_to_num(scenarios, nan=0.0).T),
        window=window,
        rows_per_day=per_day,
    )


class StreamingCovariance:
    """The exponentially weighted covariance bar by bar, equal to the batch byte for byte.

    Args:
        n_instruments: N.
        rows_per_day: Rows of the calendar in one trading day.

    Attributes:
        state: float64 [2 N + 3, N]; all there is to save and restore.
    """

    def __init__(self, n_instruments: int, rows_per_day: float) -> None:
        self.rows_per_day = rows_per_day
        self.state = new_state(n_instruments)

    def update(self, close: Float, tradable: Flags) -> Float:
        """Takes in one row (float64 [N], bool [N]) and returns its risk, float64 [2 N + 2, N]."""
        covariance, deviation = _run(
            self.state, np.atleast_2d(close), np.atleast_2d(tradable), self.rows_per_day
        )
        return risk_rows(covariance, deviation)[0]


def new_state(n_instruments: int) -> Float:
    """State of the streaming covariance before the first row, float64 [2 N + 3, N]."""
    state = np.zeros((2 * n_instruments + EXTRA_ROWS, n_instruments))
    state[2 * n_instruments + E_BEGAN] = -1.0
    return state


def ewma_covariance(close: Float, tradable: Flags, rows_per_day: float) -> tuple[Float, Float]:
    """One-day covariances [T, N, N] (0 where unknown) and deviations [T, N] (infinite there)."""
    return _run(new_state(close.shape[1]), close, tradable, rows_per_day)


def shrunk_covariance(returns: Float, estimator: Literal["ledoit_wolf", "oas"]) -> Float:
    """Sample covariance shrunk towards a multiple of the identity, float64 [N, N].

    scikit-learn's estimators: Ledoit & Wolf 2004, "A well-conditioned estimator for
    large-dimensional covariance matrices", and OAS, Chen et al. 2010. Each column is first brought
    to unit variance, because a common multiple of the identity would lend the variance of oil to a
    currency; the variances themselves are not shrunk.

    Args:
        returns: float64 [D, N], finite.
        estimator: Which of the two.
    """
    from sklearn.covariance import ledoit_wolf, oas

    shrink: Callable[[Float], tuple[Float, float]] = (
        ledoit_wolf if estimator == "ledoit_wolf" else oas
    )
    deviation = returns.std(axis=0)
    unit = np.where(deviation > 0.0, deviation, 1.0)
    correlation, _ = shrink((returns - returns.mean(axis=0)) / unit)
    correlation = correlation * np.outer(unit, unit)
    # The shrunk matrix of standardised columns keeps their variance of 1 on the diagonal.
    np.fill_diagonal(correlation, deviation**2)
    return np.asarray(correlation, dtype=np.float64)


def daily_scenarios(close: Float, rows_per_day: float) -> tuple[Float, NDArray[np.int64]]:
    """One-day simple returns [D, N] (NaN where unknown), and how many of them each row knows [T].

    A scenario spans the nearest whole number of rows to one day, at least one, and is brought to
    one day by the square root of time where rows do not divide it.
    """
    stride = max(1, round(rows_per_day))
    marks = close[::stride]
    usable = np.isfinite(marks) & (marks > 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = (marks[1:] / marks[:-1] - 1.0) * np.sqrt(rows_per_day / stride)
    returns[~(usable[1:] & usable[:-1])] = np.nan
    return returns, np.arange(len(close)) // stride


def risk_rows(covariance: Float, deviation: Float) -> Float:
    """Rows as kernels read them, float64 [T, 2 N + 2, N], from covariances [T, N, N] and deviations
    [T, N] (infinite where unknown).
    """
    n_rows, n_instruments = deviation.shape
    known = np.isfinite(deviation)
    both = known[:, :, None] & known[:, None, :]
    values, vectors = np.linalg.eigh(np.where(both, covariance, 0.0))
    values = np.maximum(values, 0.0)
    whole = np.einsum("tik,tk,tjk->tij", vectors, values, vectors)
    own = np.sqrt(np.einsum("tnn->tn", whole))
    scale = np.where(own > 0.0, own, 1.0)
    correlation = whole / (scale[:, :, None] * scale[:, None, :])
    diagonal = np.arange(n_instruments)
    correlation[:, diagonal, diagonal] = 1.0
    rows = np.empty((n_rows, 2 * n_instruments + 2, n_instruments))
    rows[:, RISK_DEVIATION] = np.where(known, own, np.inf)
    rows[:, RISK_EIGENVALUE] = values
    rows[:, RISK_CORRELATION : RISK_CORRELATION + n_instruments] = correlation
    rows[:, RISK_CORRELATION + n_instruments :] = vectors.transpose(0, 2, 1)
    return rows


def _run(state: Float, close: Float, tradable: Flags, rows_per_day: float) -> tuple[Float, Float]:
    """Feeds rows to a state; what `ewma_covariance` and the stream share."""
    n_rows, n_instruments = close.shape
    covariance = np.empty((n_rows, n_instruments, n_instruments))
    deviation = np.empty((n_rows, n_instruments))
    run_covariance(
        state,
        np.ascontiguousarray(close, dtype=np.float64),
        np.ascontiguousarray(tradable, dtype=np.bool_),
        decay_per_bar(rows_per_day),
        rows_per_day,
        covariance,
        deviation,
    )
    return covariance, deviation


def _complete(known: Flags, window: NDArray[np.int64]) -> Flags:
    """Whether each instrument has all scenarios of each row's window, and enough of them [T, N]."""
    counts = np.zeros((len(known) + 1, known.shape[1]), dtype=np.int64)
    np.cumsum(known, axis=0, out=counts[1:])
    first, last = window.T
    size = (last - first)[:, None]
    complete: Flags = (counts[last] - counts[first] == size) & (size >= LEAST_DAYS)
    return complete


def _window_covariance(scenarios: Float, window: NDArray[np.int64]) -> Float:
    """Shrunk covariance of each row's scenarios [T, N, N]; columns with a gap count as 0."""
    n_instruments = scenarios.shape[1]
    covariance = np.zeros((len(window), n_instruments, n_instruments))
    # Rows of one day share a window: one estimate per change of it.
    starts = np.flatnonzero(np.diff(window[:, 1], prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(window)]):
        first, last = window[start]
        part = scenarios[first:last]
        whole = np.flatnonzero(np.isfinite(part).all(axis=0))
        if last > first and len(whole):
            estimate = shrunk_covariance(part[:, whole], "ledoit_wolf")
            covariance[start:end, whole[:, None], whole[None, :]] = estimate
    return covariance


@kernel
def _begin(state: Float, close: Float, tradable: Flags, n: int) -> None:
    """Starts an instrument, or starts it again after a price that cannot be used."""
    n_instruments = close.shape[0]
    began, own, age = 2 * n_instruments + E_BEGAN, 2 * n_instruments + E_OWN, 2 * n_instruments
    age += E_AGE
    usable = tradable[n] and close[n] > 0.0 and close[n] < np.inf
    state[began, n] = 0.0 if usable else -1.0
    state[own, n] = state[age, n] = 0.0
    for m in range(n_instruments):
        state[n, m] = state[m, n] = 0.0
        state[n_instruments + n, m] = close[m]
        state[n_instruments + m, n] = close[n]


@kernel
def _cross(state: Float, close: Float, tradable: Flags, i: int, j: int) -> float:
    """Hayashi and Yoshida's new products of a pair at one row: each bar that closes here, times
    what the other did over the bars that overlap it, a common bar counted once.
    """
    n_instruments = close.shape[0]
    return_i = close[i] / state[n_instruments + i, i] - 1.0
    return_j = close[j] / state[n_instruments + j, j] - 1.0
    total = 0.0
    if tradable[i]:
        total += return_i * (close[j] / state[n_instruments + i, j] - 1.0)
    if tradable[j]:
        total += return_j * (close[i] / state[n_instruments + j, i] - 1.0)
    if tradable[i] and tradable[j]:
        total -= return_i * return_j
    return total


@kernel
def update_covariance(state: Float, close: Float, tradable: Flags, decay: float) -> None:
    """Takes in one row.

    Args:
        state: float64 [2 N + 3, N], changed.
        close: Last known prices, float64 [N].
        tradable: Whose own bar closes here, bool [N].
        decay: Per row.
    """
    n_instruments = close.shape[0]
    began = 2 * n_instruments + E_BEGAN
    for n in range(n_instruments):
        usable = close[n] > 0.0 and close[n] < np.inf
        if state[began, n] < 0.0 or not usable:
            _begin(state, close, tradable, n)
        else:
            state[began, n] += 1.0
            state[2 * n_instruments + E_AGE, n] += 1.0
    for i in range(n_instruments):
        for j in range(i + 1):
            new = 0.0
            if state[began, i] > 0.0 and state[began, j] > 0.0 and (tradable[i] or tradable[j]):
                new = (1.0 - decay) * _cross(state, close, tradable, i, j)
            state[i, j] = state[j, i] = decay * state[i, j] + new
    for n in range(n_instruments):
        if tradable[n] and state[began, n] > 0.0:
            state[2 * n_instruments + E_OWN, n] += 1.0
            state[2 * n_instruments + E_AGE, n] = 0.0
            for m in range(n_instruments):
                state[n_instruments + n, m] = close[m]


@kernel
def run_covariance(
    state: Float,
    close: Float,
    tradable: Flags,
    decay: float,
    rows_per_day: float,
    covariance: Float,
    deviation: Float,
) -> None:
    """`update_covariance` over rows [T, N]; writes one-day covariances [T, N, N] and deviations
    [T, N].
    """
    n_instruments = close.shape[1]
    began, own = state[2 * n_instruments + E_BEGAN], state[2 * n_instruments + E_OWN]
    age = state[2 * n_instruments + E_AGE]
    for t in range(close.shape[0]):
        update_covariance(state, close[t], tradable[t], decay)
        for i in range(n_instruments):
            for j in range(n_instruments):
                rows = min(began[i], began[j])
                weight = 1.0 - decay**rows
                covariance[t, i, j] = state[i, j] / weight * rows_per_day if rows > 0.0 else 0.0
            known = own[i] >= WARM_UP_RETURNS and age[i] <= STALE_DAYS * rows_per_day
            deviation[t, i] = np.sqrt(covariance[t, i, i]) if known else np.inf
