# SPDX-License-Identifier: Apache-2.0
"""How often the verdict calls noise evidence, and how often it finds an edge that is there.

A set is what a search leaves behind: 20 or 100 strategies over five years of daily bars, each a
GARCH(1,1) process with Student-t shocks, any two correlated by 0, 0.25, 0.5 or 0.75. The one with
the highest Sharpe ratio is chosen and judged as a report would. In the noise sets no strategy has
an edge; in the others one has a true Sharpe ratio of 2, and finding it means choosing it and
calling it evidence.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import common  # before numpy: one thread
import numpy as np
from numpy.typing import NDArray

from mtquant.core.seeding import SeedTree
from mtquant.evaluation import metrics
from mtquant.evaluation.significance.bootstrap import sharpe_estimate
from mtquant.evaluation.significance.deflation import (
    deflated_sharpe,
    luck_threshold,
    probabilistic_sharpe,
)
from mtquant.evaluation.significance.tried import Tried, effective_number
from mtquant.evaluation.verdict import Grade, assess

Float = NDArray[np.float64]

YEAR, YEARS = 252, 5
SETS, QUICK_SETS, BATCH = 500, 8, 25
CORRELATIONS = (0.0, 0.25, 0.5, 0.75)
COUNTS = (20, 100)
PLANTED_SHARPE = 2.0
# GARCH(1,1) as daily returns have it: persistence 0.98, shocks of a t distribution with 6 degrees.
SHOCK, MEMORY, FREEDOM = 0.06, 0.92, 6.0
WARMUP = 250
MOMENTUM = 0.2  # first-order autocorrelation of the returns in the extra noise sets
DAILY_DEVIATION = 0.01


@dataclass(frozen=True)
class Case:
    """One kind of set."""

    name: str
    count: int
    edge: float = 0.0
    momentum: float = 0.0


@dataclass
class Tally:
    """What happened in the sets of one case, one entry each."""

    evidence: list[bool]
    chosen: list[bool]
    interval: list[bool]
    paper: list[bool]
    covered: list[bool]
    correlations: list[float]
    effective: list[float]


def garch(shape: tuple[int, ...], generator: np.random.Generator) -> Float:
    """Returns of mean 0 and deviation 1, float64 [T, *shape], independent of each other."""
    variance = np.ones(shape)
    returns = np.empty((YEAR * YEARS, *shape))
    scale = np.sqrt((FREEDOM - 2.0) / FREEDOM)
    for t in range(-WARMUP, len(returns)):
        step = np.sqrt(variance) * generator.standard_t(FREEDOM, shape) * scale
        variance = 1.0 - SHOCK - MEMORY + SHOCK * step**2 + MEMORY * variance
        if t >= 0:
            returns[t] = step
    return returns


def draw_sets(case: Case, correlation: float, sets: int, generator: np.random.Generator) -> Float:
    """Returns of `sets` sets, float64 [sets, T, N]; the planted strategy is the first."""
    own = garch((sets, case.count), generator)
    shared = garch((sets, 1), generator)
    returns = np.sqrt(1.0 - correlation) * own + np.sqrt(correlation) * shared
    if case.momentum:
        for t in range(1, len(returns)):
            returns[t] += case.momentum * returns[t - 1]
        returns *= np.sqrt(1.0 - case.momentum**2)
    returns[..., 0] += case.edge / np.sqrt(YEAR)
    return DAILY_DEVIATION * returns.transpose(1, 0, 2)


def judge_set(returns: Float, case: Case, correlation: float, seed: int, tally: Tally) -> None:
    """Chooses the best of a set [T, N] and judges it."""
    ratios = returns.mean(axis=0) / returns.std(axis=0, ddof=1)
    best = int(np.argmax(ratios))
    chosen = np.ascontiguousarray(returns[:, best])
    effective = effective_number(np.corrcoef(returns.T))
    tried = Tried(case.count, effective)
    found = sharpe_estimate(chosen, YEAR, seed)
    moments = metrics.skewness(chosen), metrics.kurtosis(chosen)
    judged = assess(found, deflated_sharpe(found, *moments, effective), tried)
    tally.evidence.append(judged.grade is Grade.EVIDENCE)
    tally.chosen.append(best == 0)
    tally.interval.append(found.low > 0.0)
    threshold = luck_threshold(effective, float(np.std(ratios, ddof=1)))
    by_paper = probabilistic_sharpe(float(ratios[best]), threshold, len(chosen), *moments)
    tally.paper.append(by_paper >= 0.95)
    if case.count == COUNTS[0]:  # one strategy that nobody chose
        first = sharpe_estimate(np.ascontiguousarray(returns[:, 0]), YEAR, seed)
        tally.covered.append(first.low <= case.edge <= first.high)
    tally.correlations.append(correlation)
    tally.effective.append(effective)


def run(case: Case, sets: int, tree: SeedTree) -> Tally:
    """All sets of a case, a quarter of them for each correlation."""
    tally = Tally([], [], [], [], [], [], [])
    for correlation in CORRELATIONS:
        node = tree.child(case.name, str(correlation))
        generator, wanted = node.generator(), sets // len(CORRELATIONS)
        for first in range(0, wanted, BATCH):
            drawn = draw_sets(case, correlation, min(BATCH, wanted - first), generator)
            for k, returns in enumerate(drawn):
                judge_set(returns, case, correlation, first + k, tally)
    return tally


def share(hits: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Share of hits and its 95 % interval (Clopper and Pearson 1934, exact)."""
    from scipy.stats import binomtest

    interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(method="exact")
    return float(hits.mean()), float(interval.low), float(interval.high)


def shown(hits: NDArray[np.bool_]) -> str:
    found, low, high = share(hits)
    return f"{found:6.1%} ({low:.1%} to {high:.1%})"


def report(case: Case, tally: Tally, seconds: float) -> float:
    """Prints a case; returns its share of hits."""
    right = np.array(tally.chosen) if case.edge else np.ones(len(tally.chosen), np.bool_)
    hits, at = np.array(tally.evidence) & right, np.array(tally.correlations)
    word = "found" if case.edge else "called evidence"
    print(f"{case.name}: {len(hits)} sets, {seconds:.0f} s")
    print(f"  {word}: {shown(hits)}")
    for correlation in CORRELATIONS:
        here = at == correlation
        worth = np.mean(np.array(tally.effective)[here])
        print(f"    correlation {correlation:.2f}: {shown(hits[here])}; worth {worth:.1f} tries")
    print(f"  interval alone: {shown(np.array(tally.interval) & right)}")
    print(f"  deflated by the spread of the trials: {shown(np.array(tally.paper) & right)}")
    if tally.covered:
        print(f"  interval of one strategy holds its true ratio: {shown(np.array(tally.covered))}")
    return float(hits.mean())


def main() -> None:
    options = common.options(__doc__.splitlines()[0])
    sets = QUICK_SETS if options.quick else SETS
    tree = SeedTree(options.seed).child("benchmarks", "significance")
    noise = [Case(f"noise, {count} tries", count) for count in COUNTS]
    noise += [Case(f"noise with momentum, {n} tries", n, momentum=MOMENTUM) for n in COUNTS]
    planted = [
        Case(f"Sharpe 2 among {count} tries", count, edge=PLANTED_SHARPE) for count in COUNTS
    ]
    found = {}
    for case in (*noise, *planted):
        begun = time.perf_counter()
        tally = run(case, sets, tree)
        found[case.name] = report(case, tally, time.perf_counter() - begun)
    figures = {
        "false_evidence_rate": max(found[case.name] for case in noise),
        "power_20": found[planted[0].name],
        "power_100": found[planted[1].name],
        "sets": sets,
        "seed": options.seed,
    }
    common.print_result(figures)


if __name__ == "__main__":
    main()
