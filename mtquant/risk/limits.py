# SPDX-License-Identifier: Apache-2.0
"""The limit set: what a book of exposures may look like, and how far one is from that.

Exposures are in units of equity (0.1 = ten per cent, long). The set is the intersection of

    name cap       |w_n| <= caps[n]
    sector cap     sum of |w_n| over a sector <= sector_caps[sector]
    gross, net     sum |w_n| <= bound, |sum w_n| <= bound
    correlation    |sum_m rho_nm w_m| <= bound, for every n
    VaR            1.645 sqrt(w' S w) <= bound, S the covariance of one day
    volatility     sqrt(252 w' S w) <= bound

It is convex, holds 0 and is the same for w and -w, and every limit but the name cap is a norm of w
compared with a number. So a book is brought inside by a multiple (`scale`) or by the Euclidean
projection (`mtquant.risk.projection`), and "how far outside" is one ratio. Nothing here knows about
orders or prices. `docs/risk.md` gives units and sources.

Kernels read plain arrays; what does not apply is infinite:

    caps, sector_of, sector_caps   float64 [N], int64 [N], float64 [S], S <= N
    bounds                         float64 [BOUND_COLUMNS]
    risk                           float64 [2 N + 2, N], one row of `mtquant.risk.dependence`
    scratch                        `new_scratch(N)`, overwritten
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.core.compiled import kernel
from mtquant.core.config import EnvironmentConfig
from mtquant.core.outcome import (
    LIMIT_CORRELATION,
    LIMIT_GROSS,
    LIMIT_NAME,
    LIMIT_NET,
    LIMIT_SECTOR,
    LIMIT_UNKNOWN,
    LIMIT_VAR,
    LIMIT_VOLATILITY,
)
from mtquant.risk.measures import NORMAL_QUANTILE_95, TRADING_DAYS_PER_YEAR

Float = NDArray[np.float64]
Int = NDArray[np.int64]

BOUND_COLUMNS = 6
(
    BOUND_GROSS,
    BOUND_NET,
    BOUND_CORRELATION,
    BOUND_VAR,  # largest one-day standard deviation that holds the VaR limit
    BOUND_VOLATILITY,  # largest one-day standard deviation that holds the volatility limit
    BOUND_TURNOVER,
) = range(BOUND_COLUMNS)

# Rows of a bar's risk: deviations, eigenvalues, then the correlations, then the eigenvectors as
# rows. What the quick answer needs lies in the first cache lines.
RISK_DEVIATION, RISK_EIGENVALUE, RISK_CORRELATION = range(3)

SCRATCH_ROWS = 16  # vectors; a system of equations lies behind them
(
    X_CAPS,
    X_TARGET,
    X_SECTORS,
    X_TRADE,
    X_SIZE,
    X_PULL_BALL,
    X_PULL_SLABS,
    X_PULL_ELLIPSOID,
    X_TRIAL,
    X_SIDE,
    X_FREE,
    X_ACTIVE,
    X_ON_BOOK,
    X_ON_SECTORS,
    X_ON_NAMES,
    X_SLOPE,
) = range(SCRATCH_ROWS)
ROUNDING = 1e-12  # relative: a limit is held when it is held to this


@dataclass(frozen=True, eq=False)
class LimitSet:
    """The limits of one account as kernels read them; N instruments, S sectors.

    Attributes:
        caps: float64 [N], largest |exposure| per name.
        sector_of: int64 [N], index into `sectors`.
        sector_caps: float64 [S], largest gross exposure per sector.
        bounds: float64 [BOUND_COLUMNS], infinite where there is no limit.
        tail_var: Largest one-day 95 % VaR where it is measured on scenarios (`var_method`
            historical or cornish_fisher; `mtquant.risk.tail`), else infinite.
        project: Whether `limit_method` is ``project``.
        sectors: Names of the S sectors.
    """

    caps: Float
    sector_of: Int
    sector_caps: Float
    bounds: Float
    tail_var: float
    project: bool
    sectors: tuple[str, ...]

    @classmethod
    def of(
        cls,
        caps: Sequence[float],
        sectors: Sequence[str],
        gross: float,
        net: float = math.inf,
        sector: float = math.inf,
        correlation: float = math.inf,
        var: float = math.inf,
        var_method: str = "ewma",
        volatility: float = math.inf,
        turnover: float = math.inf,
        project: bool = True,
    ) -> LimitSet:
        """A limit set from plain numbers: caps and sectors per instrument, the others per book, in
        the units of the config's keys; infinite is off.
        """
        names = tuple(dict.fromkeys(sectors))
        quadratic = var_method in ("ewma", "parametric")
        bounds = np.full(BOUND_COLUMNS, np.inf)
        bounds[BOUND_GROSS], bounds[BOUND_NET] = gross, net
        bounds[BOUND_CORRELATION], bounds[BOUND_TURNOVER] = correlation, turnover
        bounds[BOUND_VAR] = var / NORMAL_QUANTILE_95 if quadratic else np.inf
        bounds[BOUND_VOLATILITY] = volatility / math.sqrt(TRADING_DAYS_PER_YEAR)
        return cls(
            caps=np.array(caps, dtype=np.float64),
            sector_of=np.array([names.index(name) for name in sectors], dtype=np.int64),
            sector_caps=np.full(len(names), sector),
            bounds=bounds,
            tail_var=np.inf if quadratic else var,
            project=project,
            sectors=names,
        )

    @classmethod
    def from_config(cls, environment: EnvironmentConfig, sectors: Sequence[str]) -> LimitSet:
        """The limits of a config for instruments of these sectors, one entry per instrument."""

        def number(limit: float | None) -> float:
            return math.inf if limit is None else limit

        return cls.of(
            caps=[environment.max_position_size] * len(sectors),
            sectors=sectors,
            gross=environment.max_gross_exposure,
            net=number(environment.max_net_exposure),
            sector=number(environment.max_sector_allocation),
            correlation=number(environment.max_correlation_exposure),
            var=number(environment.max_portfolio_var),
            var_method=environment.var_method,
            volatility=number(environment.max_volatility),
            turnover=number(environment.max_turnover),
            project=environment.limit_method == "project",
        )


def new_scratch(n_instruments: int) -> Float:
    """Working space of `mtquant.risk.projection.limit_book`, one per account or thread."""
    # The system has at most 2 N + 1 rows of 2 N + 2 numbers.
    return np.zeros((SCRATCH_ROWS + 4 * n_instruments + 8, n_instruments))


@kernel
def correlated(risk: Float, exposures: Float, n: int) -> float:
    """Correlation exposure of one name: sum_m rho_nm w_m."""
    total = 0.0
    for m in range(exposures.shape[0]):
        total += risk[RISK_CORRELATION + n, m] * exposures[m]
    return total


@kernel
def correlation_exposure(risk: Float, exposures: Float) -> float:
    """max_n |sum_m rho_nm w_m|: the largest bet, hedges netted, that goes by the name of one
    instrument.
    """
    largest = 0.0
    for n in range(exposures.shape[0]):
        largest = max(largest, abs(correlated(risk, exposures, n)))
    return largest


@kernel
def portfolio_deviation(risk: Float, exposures: Float) -> float:
    """sqrt(w' S w), the one-day standard deviation of the book in units of equity.

    An instrument of unknown risk (deviation infinite) with an exposure gives infinity.
    """
    variance = 0.0
    for n in range(exposures.shape[0]):
        row = 0.0
        for m in range(exposures.shape[0]):
            row += risk[RISK_CORRELATION + n, m] * _deviation(risk, exposures, m)
        variance += _deviation(risk, exposures, n) * row
    # Positive semidefinite but for rounding; NaN only where two unknown risks met.
    return math.inf if variance != variance else math.sqrt(max(variance, 0.0))


@kernel
def broken_risk(exposures: Float, bounds: Float, risk: Float, scratch: Float) -> int:
    """The limits on correlation, VaR and volatility that a book breaks, of which at least one is in
    force: LIMIT_*, or LIMIT_UNKNOWN alone where a position's risk is unknown.

    Args:
        exposures: float64 [N].
        bounds, risk: The limits, see the module.
        scratch: Rows X_SIZE and X_TRIAL are overwritten.
    """
    signed, along = scratch[X_SIZE], scratch[X_TRIAL]
    for n in range(exposures.shape[0]):
        signed[n] = _deviation(risk, exposures, n)
        if not abs(signed[n]) < math.inf:
            return LIMIT_UNKNOWN
        along[n] = 0.0
    binding = 0
    cap = bounds[BOUND_CORRELATION]
    if cap < math.inf and not correlation_exposure(risk, exposures) <= cap:
        binding |= LIMIT_CORRELATION
    if min(bounds[BOUND_VAR], bounds[BOUND_VOLATILITY]) == math.inf:
        return binding
    for m in range(exposures.shape[0]):
        size, row = signed[m], risk[RISK_CORRELATION + m]
        for n in range(exposures.shape[0]):
            along[n] += row[n] * size
    variance = 0.0
    for n in range(exposures.shape[0]):
        variance += signed[n] * along[n]
    deviation = math.sqrt(max(variance, 0.0))
    if not deviation <= bounds[BOUND_VAR]:
        binding |= LIMIT_VAR
    if not deviation <= bounds[BOUND_VOLATILITY]:
        binding |= LIMIT_VOLATILITY
    return binding


@kernel
def _deviation(risk: Float, exposures: Float, n: int) -> float:
    """Signed one-day deviation of one position; no position has none, even where it is unknown."""
    return risk[RISK_DEVIATION, n] * exposures[n] if exposures[n] != 0.0 else 0.0


@kernel
def budget_threshold(wanted: Float, caps: Float, budget: float) -> float:
    """The t with sum of min(caps[n], max(|wanted[n]| - t, 0)) = budget.

    Variable fixing (Kiwiel 2008, "Variable fixing algorithms for the continuous quadratic knapsack
    problem"; Michelot 1986 without caps): solve as if no name were at 0 or at its cap, fix the
    names on the side that was missed by more, and repeat. Exact, in at most N + 1 passes. The fixed
    names are those that an interval around t decides, so no list is kept.

    Args:
        wanted, caps: float64 [N].
        budget: Below the sum at t = 0.
    """
    low, high = 0.0, np.inf
    threshold = 0.0
    for _ in range(wanted.shape[0] + 1):
        free, total = 0, -budget
        for n in range(wanted.shape[0]):
            size = abs(wanted[n])
            if size - caps[n] >= high:
                total += caps[n]
            elif size > low:
                free += 1
                total += size
        if free == 0:
            break
        threshold = total / free
        over = under = 0.0
        for n in range(wanted.shape[0]):
            size = abs(wanted[n])
            if size - caps[n] < high and size > low:
                over += max(size - threshold - caps[n], 0.0)
                under += max(threshold - size, 0.0)
        if over == under:
            break
        if over > under:
            high = threshold
        else:
            low = threshold
    return threshold


@kernel
def project_gross(wanted: Float, allowed: Float, caps: Float, gross_cap: float) -> None:
    """Nearest exposures under name caps and gross cap together (Duchi et al. 2008, "Efficient
    projections onto the l1-ball", with box constraints).

    Args:
        wanted: float64 [N].
        allowed: Receives the result; may be the same array as `wanted` or as `caps`.
        caps: float64 [N].
        gross_cap: Largest sum of |exposure|.
    """
    gross = 0.0
    for n in range(wanted.shape[0]):
        gross += min(abs(wanted[n]), caps[n])
    threshold = budget_threshold(wanted, caps, gross_cap) if gross > gross_cap else 0.0
    for n in range(wanted.shape[0]):
        size = min(caps[n], max(abs(wanted[n]) - threshold, 0.0))
        allowed[n] = size if wanted[n] >= 0.0 else -size


@kernel
def project_budgets(
    wanted: Float,
    allowed: Float,
    caps: Float,
    sector_of: Int,
    sector_caps: Float,
    gross_cap: float,
    scratch: Float,
) -> None:
    """Nearest exposures under name, sector and gross caps together, exactly.

    With a threshold t_s per sector and t for all, the answer is |w_n| = min(cap, max(|wanted| -
    max(t_s, t), 0)): a sector that is cut below the common threshold does not feel it. So the
    sectors go first, and what they leave are the caps under which the gross cap is met.

    Args:
        wanted, allowed: float64 [N]; the result goes to `allowed`, another array.
        caps, sector_of, sector_caps, gross_cap: The limits.
        scratch: Rows X_SECTORS and X_SIZE are overwritten.
    """
    totals, sizes = scratch[X_SECTORS], scratch[X_SIZE]
    for s in range(sector_caps.shape[0]):
        totals[s] = 0.0
    for n in range(wanted.shape[0]):
        allowed[n] = min(abs(wanted[n]), caps[n])
        totals[sector_of[n]] += allowed[n]
    for s in range(sector_caps.shape[0]):
        if totals[s] > sector_caps[s]:
            for n in range(wanted.shape[0]):
                sizes[n] = abs(wanted[n]) if sector_of[n] == s else 0.0
            threshold = budget_threshold(sizes, caps, sector_caps[s])
            for n in range(wanted.shape[0]):
                if sector_of[n] == s:
                    allowed[n] = min(caps[n], max(sizes[n] - threshold, 0.0))
    project_gross(wanted, allowed, allowed, gross_cap)


@kernel
def usage(
    exposures: Float,
    caps: Float,
    sector_of: Int,
    sector_caps: Float,
    bounds: Float,
    risk: Float,
    scratch: Float,
    margin: float,
) -> tuple[float, int]:
    """How much of the limits a book uses, and which of them it uses by more than `margin`.

    The risk limits are first answered from above, without the correlations: no book is riskier than
    if all moved together, sqrt(w' S w) <= sum sigma_n |w_n| and |sum rho_nm w_m| <= sum |w_m|.

    Args:
        exposures: float64 [N].
        caps, sector_of, sector_caps, bounds, risk: The limits, see the module.
        scratch: Row X_SECTORS is overwritten.
        margin: 1 for the limits that are broken, slightly less for those that are touched.

    Returns:
        The largest of value / limit where it may exceed `margin` (below that, some number that does
        not exceed it; 1 / it is the largest multiple that is allowed), and a bit mask LIMIT_*.
        A name with a cap of 0 is not judged here.
    """
    totals = scratch[X_SECTORS]
    for s in range(sector_caps.shape[0]):
        totals[s] = 0.0
    gross = net = together = used = 0.0
    binding = 0
    for n in range(exposures.shape[0]):
        size = abs(exposures[n])
        gross += size
        net += exposures[n]
        totals[sector_of[n]] += size
        if size > 0.0:
            together += size * risk[RISK_DEVIATION, n]
            if size > margin * caps[n]:
                binding |= LIMIT_NAME
                used = max(used, size / caps[n])
    if gross > margin * bounds[BOUND_GROSS]:
        binding |= LIMIT_GROSS
        used = max(used, gross / bounds[BOUND_GROSS])
    if abs(net) > margin * bounds[BOUND_NET]:
        binding |= LIMIT_NET
        used = max(used, abs(net) / bounds[BOUND_NET])
    for s in range(sector_caps.shape[0]):
        if totals[s] > margin * sector_caps[s]:
            binding |= LIMIT_SECTOR
            used = max(used, totals[s] / sector_caps[s])
    if gross > margin * bounds[BOUND_CORRELATION]:
        correlation = correlation_exposure(risk, exposures)
        if correlation > margin * bounds[BOUND_CORRELATION]:
            binding |= LIMIT_CORRELATION
            used = max(used, correlation / bounds[BOUND_CORRELATION])
    lowest = min(bounds[BOUND_VAR], bounds[BOUND_VOLATILITY])
    if together > margin * lowest:
        deviation = portfolio_deviation(risk, exposures)
        if deviation > margin * bounds[BOUND_VAR]:
            binding |= LIMIT_VAR
        if deviation > margin * bounds[BOUND_VOLATILITY]:
            binding |= LIMIT_VOLATILITY
        if deviation > margin * lowest:
            used = max(used, deviation / lowest)
    return used, binding


@kernel
def limit_exposures(
    wanted: Float, allowed: Float, caps: Float, gross_cap: float, project: bool
) -> int:
    """Name and gross caps alone: writes what they allow and returns which were broken.

    Args:
        wanted, allowed, caps: float64 [N]; the result goes to `allowed`.
        gross_cap: Largest sum of |exposure|.
        project: True for the nearest allowed exposures, False to shrink the clipped ones in
            proportion.

    Returns:
        Bit mask: LIMIT_NAME if any |wanted| was above its cap, LIMIT_GROSS if the clipped exposures
        were above the gross cap.
    """
    binding = 0
    gross = 0.0
    for n in range(wanted.shape[0]):
        cap = caps[n]
        if abs(wanted[n]) > cap:
            binding = LIMIT_NAME
        allowed[n] = min(max(wanted[n], -cap), cap)
        gross += abs(allowed[n])
    if gross > gross_cap:
        binding |= LIMIT_GROSS
        if project:
            project_gross(wanted, allowed, caps, gross_cap)
        else:
            for n in range(wanted.shape[0]):
                allowed[n] *= gross_cap / gross
    return binding
