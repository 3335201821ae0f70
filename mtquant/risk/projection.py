# SPDX-License-Identifier: Apache-2.0
"""From the book that was wanted to the book that is allowed.

`limit_book` is the one door: clip to the name caps, and where that is enough, done. Otherwise
`limit_method: scale` takes the largest multiple of the clipped book that holds every limit, and
`project` the Euclidean projection onto their intersection. Last comes the turnover cap.

The projection is exact in one step where one family of limits decides: name, sector and gross caps
together (`limits.project_budgets`), or the variance alone (`project_ellipsoid`). Where several
families meet it is Dykstra's algorithm (Boyle & Dykstra 1986; Bauschke & Combettes 2011, theorem
30.7), whose steps are those same exact projections, until `active_set.settle` can name the answer,
and for a fixed number of sweeps at most. Whatever it reached is then shrunk to the limits that it
still breaks, so the result always holds them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mtquant.core.compiled import cold_kernel, kernel
from mtquant.core.outcome import (
    LIMIT_NAME,
    LIMIT_TURNOVER,
    LIMIT_UNKNOWN,
    LIMIT_VAR,
    LIMIT_VOLATILITY,
)
from mtquant.risk.active_set import settle
from mtquant.risk.limits import (
    BOUND_CORRELATION,
    BOUND_GROSS,
    BOUND_NET,
    BOUND_TURNOVER,
    BOUND_VAR,
    BOUND_VOLATILITY,
    RISK_CORRELATION,
    RISK_DEVIATION,
    RISK_EIGENVALUE,
    ROUNDING,
    X_CAPS,
    X_PULL_BALL,
    X_PULL_ELLIPSOID,
    X_PULL_SLABS,
    X_SIZE,
    X_TARGET,
    X_TRADE,
    X_TRIAL,
    correlated,
    project_budgets,
    project_gross,
    usage,
)

Float = NDArray[np.float64]
Int = NDArray[np.int64]

SWEEPS = 5000  # of Dykstra's algorithm, at most; most cases settle after 2
FIRST_ATTEMPT = 2  # sweep after which the binding limits are guessed; then after 8, 32, ...
SETTLED = 1e-20  # squared change of all its increments in a sweep, units of equity
TOUCHED = 1.0 - 1e-6  # share of a limit from which on it is reported as binding
NEWTON_STEPS = 50
NEWTON_SETTLED = 1e-8  # relative step: the error after it is of the order of its square


@kernel
def project_ellipsoid(
    wanted: Float, allowed: Float, risk: Float, deviation: float, multiplier: float, turned: Float
) -> float:
    """Nearest exposures with sqrt(w' S w) <= deviation.

    They are (I + mu S)^-1 wanted. In the eigenbasis of S that is one division per name, and mu is
    the root of a function of one variable, whose reciprocal root is concave and nearly linear, so
    that Newton's steps approach it from below (Moré & Sorensen 1983, "Computing a trust region
    step", section 3).

    Args:
        wanted, allowed: float64 [N]; the result goes to `allowed`, which may be `wanted`.
        risk: The bar's risk, float64 [2 N + 2, N].
        deviation: Radius, one-day standard deviation.
        multiplier: First guess of mu, 0 if none.
        turned: Scratch, float64 [N].

    Returns:
        mu, 0 where `wanted` lies inside.
    """
    n_instruments = wanted.shape[0]
    first = RISK_CORRELATION + n_instruments
    variance = 0.0
    for k in range(n_instruments):
        along = 0.0
        for n in range(n_instruments):
            along += risk[first + k, n] * wanted[n]
        turned[k] = along
        variance += risk[RISK_EIGENVALUE, k] * along * along
    if variance <= deviation * deviation:
        for n in range(n_instruments):
            allowed[n] = wanted[n]
        return 0.0
    # No direction shrinks faster than that of the largest eigenvalue: mu is at least this.
    least = (math.sqrt(variance) / deviation - 1.0) / risk[RISK_EIGENVALUE, n_instruments - 1]
    mu = max(multiplier, least)
    for _ in range(NEWTON_STEPS):
        value = slope = 0.0
        for k in range(n_instruments):
            shrink = 1.0 / (1.0 + mu * risk[RISK_EIGENVALUE, k])
            part = risk[RISK_EIGENVALUE, k] * turned[k] * turned[k] * shrink * shrink
            value += part
            slope += part * risk[RISK_EIGENVALUE, k] * shrink
        step = (math.sqrt(value) / deviation - 1.0) * value / slope
        mu = max(mu + step, least)
        if abs(step) <= NEWTON_SETTLED * mu:
            break
    for k in range(n_instruments):
        turned[k] /= 1.0 + mu * risk[RISK_EIGENVALUE, k]
    for n in range(n_instruments):
        total = 0.0
        for k in range(n_instruments):
            total += risk[first + k, n] * turned[k]
        allowed[n] = total
    return mu


@kernel
def _project_slabs(
    allowed: Float, risk: Float, bounds: Float, net_pull: float, pulls: Float
) -> tuple[float, float]:
    """One Dykstra step for the net cap and for each name's correlation exposure, slabs |a' w| <= b.

    The increment of a slab is a multiple of its normal, so one number is kept for each.

    Args:
        allowed: float64 [N], changed.
        risk, bounds: As in `mtquant.risk.limits`.
        net_pull: The multiple of the net cap.
        pulls: Those of the correlation exposures, float64 [N], changed.

    Returns:
        The new `net_pull`, and the squared change of all increments.
    """
    n_instruments = allowed.shape[0]
    change = 0.0
    if bounds[BOUND_NET] < math.inf:
        net = net_pull * n_instruments
        for n in range(n_instruments):
            net += allowed[n]
        pull = (net - min(max(net, -bounds[BOUND_NET]), bounds[BOUND_NET])) / n_instruments
        for n in range(n_instruments):
            allowed[n] += net_pull - pull
        change += (pull - net_pull) ** 2 * n_instruments
        net_pull = pull
    cap = bounds[BOUND_CORRELATION]
    if cap < math.inf:
        for n in range(n_instruments):
            length = 0.0
            for m in range(n_instruments):
                length += risk[RISK_CORRELATION + n, m] * risk[RISK_CORRELATION + n, m]
            value = correlated(risk, allowed, n) + pulls[n] * length
            pull = (value - min(max(value, -cap), cap)) / length
            if pull != pulls[n]:
                for m in range(n_instruments):
                    allowed[m] += (pulls[n] - pull) * risk[RISK_CORRELATION + n, m]
                change += (pull - pulls[n]) ** 2 * length
                pulls[n] = pull
    return net_pull, change


@cold_kernel
def project_all(
    wanted: Float,
    allowed: Float,
    caps: Float,
    sector_of: Int,
    sector_caps: Float,
    bounds: Float,
    risk: Float,
    scratch: Float,
) -> int:
    """Dykstra's algorithm on all limits but turnover; returns the number of sweeps.

    A sweep projects onto one family after the other, each time after giving back what that family
    took the last time. It ends when no family takes anything new (Birgin & Raydan 2005, "Robust
    stopping criteria for Dykstra's algorithm").

    Args:
        wanted, allowed: float64 [N]; the result goes to `allowed`.
        caps, sector_of, sector_caps, bounds, risk, scratch: As in `mtquant.risk.limits`; `caps` may
            be row X_CAPS of `scratch`.
    """
    n_instruments = wanted.shape[0]
    ball, slabs, ellipsoid = scratch[X_PULL_BALL], scratch[X_PULL_SLABS], scratch[X_PULL_ELLIPSOID]
    point, trial = scratch[X_TRADE], scratch[X_TRIAL]
    attempt = FIRST_ATTEMPT
    deviation = min(bounds[BOUND_VAR], bounds[BOUND_VOLATILITY])
    net_pull = multiplier = 0.0
    for n in range(n_instruments):
        allowed[n] = wanted[n]
        ball[n] = slabs[n] = ellipsoid[n] = 0.0
    for sweep in range(SWEEPS):
        change = 0.0
        for n in range(n_instruments):
            point[n] = allowed[n] + ball[n]
        project_budgets(point, allowed, caps, sector_of, sector_caps, bounds[BOUND_GROSS], scratch)
        for n in range(n_instruments):
            taken = point[n] - allowed[n]
            change += (taken - ball[n]) ** 2
            ball[n] = taken
            trial[n] = allowed[n]
        net_pull, moved = _project_slabs(allowed, risk, bounds, net_pull, slabs)
        change += moved
        if deviation < math.inf:
            for n in range(n_instruments):
                point[n] = allowed[n] + ellipsoid[n]
            multiplier = project_ellipsoid(
                point, allowed, risk, deviation, multiplier, scratch[X_SIZE]
            )
            for n in range(n_instruments):
                taken = point[n] - allowed[n]
                change += (taken - ellipsoid[n]) ** 2
                ellipsoid[n] = taken
        if change <= SETTLED:
            return sweep + 1
        if sweep + 1 == attempt:
            attempt *= 4
            if settle(
                wanted,
                allowed,
                caps,
                sector_of,
                sector_caps,
                bounds,
                risk,
                net_pull,
                multiplier,
                scratch,
            ):
                return sweep + 1
    return SWEEPS


@kernel
def limit_turnover(
    held: Float,
    allowed: Float,
    caps: Float,
    sector_of: Int,
    sector_caps: Float,
    bounds: Float,
    risk: Float,
    project: bool,
    scratch: Float,
) -> int:
    """Cuts the trades that add to positions to the turnover cap; returns LIMIT_TURNOVER or 0.

    What a trade takes off a position is exempt. If the cut book breaks another limit (a hedge did
    not come), it moves towards the uncut one until it holds them all: what the other limits require
    is exempt too.

    Args:
        held: Exposures before the trades, float64 [N].
        allowed: Exposures that hold all other limits, float64 [N]; receives the result.
        project: Cut to the nearest trades, or else in proportion.
        caps, sector_of, sector_caps, bounds, risk, scratch: As in `mtquant.risk.limits`.
    """
    trade, size = scratch[X_TRADE], scratch[X_SIZE]
    total = 0.0
    for n in range(held.shape[0]):
        kept = 0.0
        if held[n] * allowed[n] > 0.0:
            kept = allowed[n] if abs(allowed[n]) < abs(held[n]) else held[n]
        trade[n] = allowed[n] - kept
        total += abs(trade[n])
    cap = bounds[BOUND_TURNOVER]
    if total <= cap:
        return 0
    cut, uncut = scratch[X_PULL_BALL], scratch[X_PULL_SLABS]
    for n in range(held.shape[0]):
        uncut[n], cut[n], size[n] = allowed[n], allowed[n] - trade[n], math.inf
    if project:
        project_gross(trade, trade, size, cap)
    else:
        for n in range(held.shape[0]):
            trade[n] *= cap / total
    for n in range(held.shape[0]):
        cut[n] += trade[n]
        allowed[n] = cut[n]
    outside, inside = 0.0, 1.0
    share = 0.0
    # The first trial is the cut book itself; 40 halvings then find the edge to 1e-12.
    for _ in range(41):
        for n in range(held.shape[0]):
            allowed[n] = cut[n] + share * (uncut[n] - cut[n])
        used, _ = usage(allowed, caps, sector_of, sector_caps, bounds, risk, scratch, 1.0)
        if used <= 1.0 + ROUNDING:
            inside = share
            if share == 0.0:
                break
        else:
            outside = share
        share = 0.5 * (outside + inside)
    for n in range(held.shape[0]):
        allowed[n] = cut[n] + inside * (uncut[n] - cut[n])
    return LIMIT_TURNOVER


@kernel
def _bring_inside(
    wanted: Float,
    allowed: Float,
    caps: Float,
    sector_of: Int,
    sector_caps: Float,
    bounds: Float,
    risk: Float,
    broken: int,
    scratch: Float,
) -> int:
    """Projects by the cheapest step that is exact, and makes sure that every limit is held.

    Returns:
        The limits that a projection onto several families stopped at.
    """
    deviation = min(bounds[BOUND_VAR], bounds[BOUND_VOLATILITY])
    if broken & ~(LIMIT_VAR | LIMIT_VOLATILITY) == 0:
        project_ellipsoid(wanted, allowed, risk, deviation, 0.0, scratch[X_SIZE])
    else:
        project_budgets(wanted, allowed, caps, sector_of, sector_caps, bounds[BOUND_GROSS], scratch)
    _, broken = usage(allowed, caps, sector_of, sector_caps, bounds, risk, scratch, 1.0 + ROUNDING)
    if broken == 0:
        return 0
    project_all(wanted, allowed, caps, sector_of, sector_caps, bounds, risk, scratch)
    used, touched = usage(allowed, caps, sector_of, sector_caps, bounds, risk, scratch, TOUCHED)
    if used > 1.0:
        for n in range(wanted.shape[0]):
            allowed[n] /= used
    return touched


@kernel
def limit_book(
    wanted: Float,
    held: Float,
    allowed: Float,
    caps: Float,
    sector_of: Int,
    sector_caps: Float,
    bounds: Float,
    risk: Float,
    project: bool,
    scratch: Float,
) -> int:
    """Writes the exposures that the limits allow and returns which limits bound.

    An instrument of unknown risk (deviation infinite) gets no exposure while a limit on
    correlation, VaR or volatility is in force: unknown is not zero risk.

    Args:
        wanted, held, allowed: Exposures asked for, held now, and the result, float64 [N]; finite.
        caps, sector_of, sector_caps, bounds, risk, scratch: As in `mtquant.risk.limits`.
        project: ``limit_method``: nearest allowed exposures, or the largest multiple of the clipped
            ones.

    Returns:
        Bit mask LIMIT_*: LIMIT_NAME where some |wanted| was above its cap, the others where the
        clipped book broke them or where the projection stopped at them.
    """
    effective, target = scratch[X_CAPS], scratch[X_TARGET]
    binding = 0
    measured = (
        min(bounds[BOUND_CORRELATION], bounds[BOUND_VAR], bounds[BOUND_VOLATILITY]) < math.inf
    )
    for n in range(wanted.shape[0]):
        effective[n], target[n] = caps[n], wanted[n]
        if measured and not risk[RISK_DEVIATION, n] < math.inf:
            if wanted[n] != 0.0:
                binding |= LIMIT_UNKNOWN
            effective[n] = target[n] = 0.0
        elif abs(wanted[n]) > caps[n]:
            binding |= LIMIT_NAME
        allowed[n] = min(max(target[n], -effective[n]), effective[n])
    used, broken = usage(allowed, effective, sector_of, sector_caps, bounds, risk, scratch, 1.0)
    binding |= broken
    if broken != 0:
        if project and wanted.shape[0] > 1:  # of one name the nearest multiple is the nearest
            binding |= _bring_inside(
                target, allowed, effective, sector_of, sector_caps, bounds, risk, broken, scratch
            )
        else:
            for n in range(wanted.shape[0]):
                allowed[n] /= used
    if bounds[BOUND_TURNOVER] < math.inf:
        binding |= limit_turnover(
            held,
            allowed,
            effective,
            sector_of,
            sector_caps,
            bounds,
            risk,
            project,
            scratch,
        )
    return binding
