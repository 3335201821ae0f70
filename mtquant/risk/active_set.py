# SPDX-License-Identifier: Apache-2.0
"""The last step of the projection: from a guess of which limits bind to the exact book.

Dykstra's algorithm soon knows about which limits bind and then takes long to converge between them.
Given the limits that bind, and the names that stand at 0 or at their caps, the nearest book solves
the Karush-Kuhn-Tucker equations, a small system (Newton's method because of the ellipsoid; exact in
one step without it: Nocedal & Wright 2006, Numerical Optimization, 16.1 and 18.1). `settle` solves
it, revises the guess where the solution contradicts it, and repeats: a primal-dual active set
strategy (Hintermüller, Ito & Kunisch 2003). The problem is convex, so a book without a
contradiction is *the* projection, however it was guessed; without one, Dykstra goes on.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mtquant.core.compiled import cold_kernel, kernel
from mtquant.risk.limits import (
    BOUND_CORRELATION,
    BOUND_GROSS,
    BOUND_NET,
    BOUND_VAR,
    BOUND_VOLATILITY,
    RISK_CORRELATION,
    RISK_DEVIATION,
    SCRATCH_ROWS,
    X_ACTIVE,
    X_FREE,
    X_ON_BOOK,
    X_ON_NAMES,
    X_ON_SECTORS,
    X_PULL_SLABS,
    X_SIDE,
    X_SLOPE,
    X_TRIAL,
    portfolio_deviation,
)

Float = NDArray[np.float64]
Int = NDArray[np.int64]

ROUNDS = 16
SETTLED = 1e-13  # step, units of equity
AT = 1.0 - 1e-12  # share of a cap from which on it counts as reached
TOO_FAR = 1e6  # a step in units of equity that no book takes
SLACK = 1e-11  # rounding that multipliers and limits are allowed, relative to 1


@kernel
def solve(system: Float, size: int) -> bool:
    """Gaussian elimination with partial pivoting on [A | b] in place; x is left in column `size`.

    Returns:
        False if A is singular.
    """
    for c in range(size):
        pivot = c
        for r in range(c + 1, size):
            if abs(system[r, c]) > abs(system[pivot, c]):
                pivot = r
        if not abs(system[pivot, c]) > 1e-14:
            return False
        if pivot != c:
            for k in range(c, size + 1):
                system[c, k], system[pivot, k] = system[pivot, k], system[c, k]
        for r in range(c + 1, size):
            factor = system[r, c] / system[c, c]
            if factor != 0.0:
                for k in range(c, size + 1):
                    system[r, k] -= factor * system[c, k]
    for c in range(size - 1, -1, -1):
        total = system[c, size]
        for k in range(c + 1, size):
            total -= system[c, k] * system[k, size]
        system[c, size] = total / system[c, c]
    return True


@kernel
def _on(limit: int, n_sectors: int, scratch: Float) -> float:
    """Whether a limit is taken to bind: 0, 1, or -1 for the short side of a slab.

    Limits are numbered: 0 the gross cap, then the sectors, the net cap, the correlation exposures.
    """
    if limit == 0:
        return scratch[X_ON_BOOK, 0]
    if limit <= n_sectors:
        return scratch[X_ON_SECTORS, limit - 1]
    if limit == n_sectors + 1:
        return scratch[X_ON_BOOK, 1]
    return scratch[X_ON_NAMES, limit - n_sectors - 2]


@kernel
def _switch(limit: int, n_sectors: int, scratch: Float, value: float) -> None:
    """Sets what `_on` tells."""
    if limit == 0:
        scratch[X_ON_BOOK, 0] = value
    elif limit <= n_sectors:
        scratch[X_ON_SECTORS, limit - 1] = value
    elif limit == n_sectors + 1:
        scratch[X_ON_BOOK, 1] = value
    else:
        scratch[X_ON_NAMES, limit - n_sectors - 2] = value


@kernel
def _bound(limit: int, sector_caps: Float, bounds: Float) -> float:
    """The number that a limit's value must not exceed."""
    if limit == 0:
        return bounds[BOUND_GROSS]
    if limit <= sector_caps.shape[0]:
        return sector_caps[limit - 1]
    return bounds[BOUND_NET if limit == sector_caps.shape[0] + 1 else BOUND_CORRELATION]


@kernel
def _normal(limit: int, n: int, sign: float, sector_of: Int, n_sectors: int, risk: Float) -> float:
    """Slope of a limit's value in one name that lies on the side `sign` of 0."""
    if limit == 0:
        return sign
    if limit <= n_sectors:
        return sign if sector_of[n] == limit - 1 else 0.0
    if limit == n_sectors + 1:
        return 1.0
    return risk[RISK_CORRELATION + limit - n_sectors - 2, n]


@kernel
def _slope(risk: Float, book: Float, n: int, radius: float) -> float:
    """(S w)_n / radius^2; names of unknown risk hold nothing."""
    total = 0.0
    for m in range(book.shape[0]):
        if book[m] != 0.0:
            total += risk[RISK_CORRELATION + n, m] * risk[RISK_DEVIATION, m] * book[m]
    return total * risk[RISK_DEVIATION, n] / (radius * radius)


@kernel
def _guess(
    caps: Float, sector_of: Int, sector_caps: Float, bounds: Float, net_pull: float, scratch: Float
) -> None:
    """Reads off which limits bind: from a book that holds its budgets (row X_TRIAL) and from
    Dykstra's increments. Row X_SIDE gets +-1 for a free name, +-2 for one at its cap, 0 for one
    at 0.
    """
    book, side, sectors = scratch[X_TRIAL], scratch[X_SIDE], scratch[X_ON_SECTORS]
    gross = 0.0
    for s in range(sector_caps.shape[0]):
        sectors[s] = 0.0
    for n in range(caps.shape[0]):
        size = abs(book[n])
        gross += size
        sectors[sector_of[n]] += size
        side[n] = 0.0
        if size > 0.0:
            side[n] = math.copysign(2.0 if size >= AT * caps[n] else 1.0, book[n])
        pull = scratch[X_PULL_SLABS, n]
        scratch[X_ON_NAMES, n] = 0.0 if pull == 0.0 else math.copysign(1.0, pull)
    for s in range(sector_caps.shape[0]):
        sectors[s] = 1.0 if sectors[s] >= AT * sector_caps[s] else 0.0
    scratch[X_ON_BOOK, 0] = 1.0 if gross >= AT * bounds[BOUND_GROSS] else 0.0
    scratch[X_ON_BOOK, 1] = 0.0 if net_pull == 0.0 else math.copysign(1.0, net_pull)


@kernel
def _gather(sector_of: Int, n_sectors: int, curved: bool, scratch: Float) -> tuple[int, int]:
    """Lists the free names (row X_FREE) and the binding limits (X_ACTIVE), and counts them.

    Limits that cannot be solved for are switched off: a sector without a free name, and the last of
    more limits than free names. If they are broken then, they come back.
    """
    side, free, active = scratch[X_SIDE], scratch[X_FREE], scratch[X_ACTIVE]
    n_free, n_active = 0, 0
    for n in range(sector_of.shape[0]):
        if abs(side[n]) == 1.0:
            free[n_free] = n
            n_free += 1
    room = n_free - 1 if curved else n_free
    for limit in range(n_sectors + 2 + sector_of.shape[0]):
        if _on(limit, n_sectors, scratch) == 0.0:
            continue
        felt = limit == 0 or limit > n_sectors
        for i in range(n_free):
            felt = felt or sector_of[int(free[i])] == limit - 1
        if felt and n_active < room:
            active[n_active] = limit
            n_active += 1
        else:
            _switch(limit, n_sectors, scratch, 0.0)
    return n_free, n_active


@kernel
def _equations(
    system: Float,
    wanted: Float,
    sector_of: Int,
    sector_caps: Float,
    bounds: Float,
    risk: Float,
    mu: float,
    curved: bool,
    n_free: int,
    n_active: int,
    scratch: Float,
) -> int:
    """Writes one Newton step's equations and returns their number: stationarity of the free names,
    the binding limits, and the ellipsoid if `curved`. Unknown are the step of the free names, the
    multipliers of the limits, and the step of mu.
    """
    book, side, free = scratch[X_TRIAL], scratch[X_SIDE], scratch[X_FREE]
    active, n_sectors = scratch[X_ACTIVE], sector_caps.shape[0]
    radius = min(bounds[BOUND_VAR], bounds[BOUND_VOLATILITY])
    last = n_free + n_active
    size = last + 1 if curved else last
    for r in range(n_free, size):
        for c in range(n_free, size):
            system[r, c] = 0.0
    for k in range(n_active):
        limit = int(active[k])
        rest = _on(limit, n_sectors, scratch) * _bound(limit, sector_caps, bounds)
        for n in range(book.shape[0]):
            sign = math.copysign(1.0, side[n])
            rest -= _normal(limit, n, sign, sector_of, n_sectors, risk) * book[n]
        system[n_free + k, size] = rest
    if curved:
        system[last, size] = 0.5
    for i in range(n_free):
        n = int(free[i])
        sign = math.copysign(1.0, side[n])
        system[i, size] = wanted[n] - book[n]
        for j in range(n_free):
            system[i, j] = 1.0 if i == j else 0.0
        for k in range(n_active):
            normal = _normal(int(active[k]), n, sign, sector_of, n_sectors, risk)
            system[i, n_free + k] = system[n_free + k, i] = normal
        if curved:
            scale = mu * risk[RISK_DEVIATION, n] / (radius * radius)
            for j in range(n_free):
                m = int(free[j])
                system[i, j] += scale * risk[RISK_CORRELATION + n, m] * risk[RISK_DEVIATION, m]
    if curved:
        for n in range(book.shape[0]):
            scratch[X_SLOPE, n] = _slope(risk, book, n, radius) if book[n] != 0.0 else 0.0
            system[last, size] -= 0.5 * book[n] * scratch[X_SLOPE, n]
        for i in range(n_free):
            slope = _slope(risk, book, int(free[i]), radius)
            system[i, last] = system[last, i] = slope
            system[i, size] -= mu * slope
    return size


@kernel
def _revise_limits(
    system: Float,
    size: int,
    sector_of: Int,
    sector_caps: Float,
    bounds: Float,
    risk: Float,
    n_free: int,
    n_active: int,
    scratch: Float,
) -> bool:
    """Lets go of limits that pull the wrong way and takes on those that are broken; whether any."""
    book, active, n_sectors = scratch[X_TRIAL], scratch[X_ACTIVE], sector_caps.shape[0]
    changed = False
    for k in range(n_active):
        limit = int(active[k])
        if _on(limit, n_sectors, scratch) * system[n_free + k, size] < -SLACK:
            _switch(limit, n_sectors, scratch, 0.0)
            changed = True
    for limit in range(n_sectors + 2 + book.shape[0]):
        bound = _bound(limit, sector_caps, bounds)
        if bound == math.inf or _on(limit, n_sectors, scratch) != 0.0:
            continue
        value = 0.0
        for n in range(book.shape[0]):
            sign = math.copysign(1.0, book[n])
            value += _normal(limit, n, sign, sector_of, n_sectors, risk) * book[n]
        if abs(value) > bound * (1.0 + SLACK):
            _switch(limit, n_sectors, scratch, math.copysign(1.0, value))
            changed = True
    return changed


@kernel
def _revise_names(
    system: Float,
    size: int,
    wanted: Float,
    caps: Float,
    sector_of: Int,
    n_sectors: int,
    risk: Float,
    bounds: Float,
    mu: float,
    n_free: int,
    n_active: int,
    scratch: Float,
) -> bool:
    """Stops names that passed 0 or their caps there and frees those that are pulled away; whether
    any.
    """
    book, side, active = scratch[X_TRIAL], scratch[X_SIDE], scratch[X_ACTIVE]
    radius = min(bounds[BOUND_VAR], bounds[BOUND_VOLATILITY])
    changed = False
    for n in range(book.shape[0]):
        if caps[n] == 0.0:
            continue
        if abs(side[n]) == 1.0:
            if book[n] * side[n] < 0.0:
                side[n] = book[n] = 0.0
                changed = True
            elif abs(book[n]) > caps[n] * (1.0 + SLACK):
                book[n] = side[n] * caps[n]
                side[n] *= 2.0
                changed = True
            continue
        # The force on a name that stands still, without what a gross or sector cap takes off.
        pull = wanted[n] - book[n]
        if mu != 0.0:
            pull -= mu * _slope(risk, book, n, radius)
        threshold = 0.0
        for k in range(n_active):
            limit, force = int(active[k]), system[n_free + k, size]
            if limit > n_sectors:
                pull -= force * _normal(limit, n, 1.0, sector_of, n_sectors, risk)
            else:
                threshold += force * _normal(limit, n, 1.0, sector_of, n_sectors, risk)
        if side[n] == 0.0:
            if abs(pull) > threshold + SLACK:
                side[n] = math.copysign(1.0, pull)
                changed = True
        elif pull * math.copysign(1.0, side[n]) < threshold - SLACK:
            side[n] *= 0.5
            changed = True
    return changed


@cold_kernel
def settle(
    wanted: Float,
    allowed: Float,
    caps: Float,
    sector_of: Int,
    sector_caps: Float,
    bounds: Float,
    risk: Float,
    net_pull: float,
    multiplier: float,
    scratch: Float,
) -> bool:
    """Writes the projection to `allowed` and returns True; or False, and `allowed` is untouched.

    Args:
        wanted, allowed, caps, sector_of, sector_caps, bounds, risk: As in
            `mtquant.risk.projection.project_all`; at least two names.
        net_pull, multiplier: Dykstra's increment of the net cap, and mu of the ellipsoid.
        scratch: Row X_TRIAL holds a book near the answer, X_PULL_SLABS the increments of the
            correlation exposures; the rows from X_TRIAL on are overwritten.
    """
    n_instruments, n_sectors = wanted.shape[0], sector_caps.shape[0]
    width = 2 * n_instruments + 2
    system = scratch[SCRATCH_ROWS:].reshape(-1)[: (width - 1) * width].reshape((width - 1, width))
    book, free = scratch[X_TRIAL], scratch[X_FREE]
    radius = min(bounds[BOUND_VAR], bounds[BOUND_VOLATILITY])
    _guess(caps, sector_of, sector_caps, bounds, net_pull, scratch)
    curved = multiplier > 0.0
    mu = multiplier * radius * radius if curved else 0.0
    for _ in range(ROUNDS):
        n_free, n_active = _gather(sector_of, n_sectors, curved, scratch)
        if n_free == 0:
            return False
        size = _equations(
            system,
            wanted,
            sector_of,
            sector_caps,
            bounds,
            risk,
            mu,
            curved,
            n_free,
            n_active,
            scratch,
        )
        if not solve(system, size):
            return False
        moved = 0.0
        for i in range(n_free):
            book[int(free[i])] += system[i, size]
            moved = max(moved, abs(system[i, size]))
        if curved:
            mu += system[size - 1, size]
        if not moved < TOO_FAR:
            return False
        changed = _revise_limits(
            system, size, sector_of, sector_caps, bounds, risk, n_free, n_active, scratch
        )
        changed |= _revise_names(
            system,
            size,
            wanted,
            caps,
            sector_of,
            n_sectors,
            risk,
            bounds,
            mu,
            n_free,
            n_active,
            scratch,
        )
        if curved and mu < 0.0:
            curved, changed, mu = False, True, 0.0
        elif not curved and radius < math.inf:
            curved = portfolio_deviation(risk, book) > radius * (1.0 + SLACK)
            changed = changed or curved
        if not changed and (not curved or moved <= SETTLED):
            for n in range(n_instruments):
                allowed[n] = book[n]
            return True
    return False
