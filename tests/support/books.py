# SPDX-License-Identifier: Apache-2.0
"""Random books, limits and covariances, and the limits written once more in plain NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.risk import limits as lim
from mtquant.risk.dependence import risk_rows
from mtquant.risk.projection import limit_book

Float = NDArray[np.float64]


def risk_of(covariance: Float, known: Float | None = None) -> Float:
    """One row of a risk table, all instruments known unless said."""
    deviation = np.sqrt(np.diag(covariance))
    if known is not None:
        deviation = np.where(known, deviation, np.inf)
    return risk_rows(covariance[None], deviation[None])[0]


@dataclass
class Book:
    """One account's question to the limits; infinite limits are off."""

    wanted: Float
    caps: Float
    sector_of: NDArray[np.int64]
    sector_caps: Float
    bounds: Float
    covariance: Float
    held: Float
    risk: Float

    @property
    def correlation(self) -> Float:
        deviation = np.sqrt(np.diag(self.covariance))
        return self.covariance / np.outer(deviation, deviation)

    def limited(self, project: bool = True, wanted: Float | None = None) -> tuple[Float, int]:
        n = len(self.wanted)
        allowed = np.full(n, np.nan)
        scratch = lim.new_scratch(n)
        scratch[:] = np.nan  # nothing may depend on what was there
        binding = limit_book(
            self.wanted if wanted is None else wanted,
            self.held,
            allowed,
            self.caps,
            self.sector_of,
            self.sector_caps,
            self.bounds,
            self.risk,
            project,
            scratch,
        )
        return allowed, binding

    def ratios(self, exposures: Float) -> dict[int, float]:
        """value / limit of every limit but turnover, each by its definition in DESIGN 4."""
        size = np.abs(exposures)
        deviation = float(np.sqrt(max(exposures @ self.covariance @ exposures, 0.0)))
        sectors = np.bincount(self.sector_of, size, len(self.sector_caps)) / self.sector_caps
        return {
            oc.LIMIT_NAME: float((size / self.caps).max()),
            oc.LIMIT_GROSS: float(size.sum() / self.bounds[lim.BOUND_GROSS]),
            oc.LIMIT_NET: float(abs(exposures.sum()) / self.bounds[lim.BOUND_NET]),
            oc.LIMIT_SECTOR: float(sectors.max()),
            oc.LIMIT_CORRELATION: float(
                np.abs(self.correlation @ exposures).max() / self.bounds[lim.BOUND_CORRELATION]
            ),
            oc.LIMIT_VAR: deviation / float(self.bounds[lim.BOUND_VAR]),
            oc.LIMIT_VOLATILITY: deviation / float(self.bounds[lim.BOUND_VOLATILITY]),
        }


def random_book(generator: np.random.Generator, n: int | None = None) -> Book:
    """A book of 1 to 8 names in which each limit is off, loose or tight by chance."""
    n = int(generator.integers(1, 9)) if n is None else n
    moves = generator.normal(size=(n, 3 * n + 2))
    moves += generator.uniform(0.0, 3.0) * generator.normal(size=(1, 3 * n + 2))
    deviation = generator.uniform(0.003, 0.03, n)
    covariance = np.atleast_2d(np.corrcoef(moves)) * np.outer(deviation, deviation)
    sectors = int(generator.integers(1, min(n, 3) + 1))
    bounds = np.array(
        [
            generator.uniform(0.2, 2.0),
            generator.uniform(0.05, 1.0),
            generator.uniform(0.2, 1.0),
            generator.uniform(0.002, 0.02),
            generator.uniform(0.002, 0.02),
            np.inf,
        ]
    )
    bounds[generator.random(6) < 0.3] = np.inf
    sector_caps = generator.uniform(0.1, 0.8, sectors)
    sector_caps[generator.random(sectors) < 0.3] = np.inf
    return Book(
        wanted=generator.normal(size=n) * generator.choice([0.02, 0.1, 0.4, 1.5]),
        caps=generator.uniform(0.05, 0.8, n),
        sector_of=generator.integers(0, sectors, n),
        sector_caps=sector_caps,
        bounds=bounds,
        covariance=covariance,
        held=np.zeros(n),
        risk=risk_of(covariance),
    )
