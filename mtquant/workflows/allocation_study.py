# SPDX-License-Identifier: Apache-2.0
"""How well a meta-controller shares out capital among its specialists.

Every allocation trades the same specialists on the same rows through the same desk:

    the meta-controller   as it decides
    equal weight          the same exposure for every signal
    inverse volatility    in inverse proportion to the instrument's volatility known at the bar
    its own mean          the mean of its scales over the rows, held constant: what timing is worth
    best constant         known afterwards
    best by month         the best constant of each calendar month, known afterwards

The best ones are sought in two steps. They are solved (`evaluation/hindsight.py`) on what each
specialist earned alone through the desk, costs and stops included, at several scales, since a scale
above the name cap trades weak signals larger and strong ones at the cap. All solutions are then
traded together under all limits; of the constant ones, with equal weight, cash and the
meta-controller's own mean among them, the best is the best constant. So it is near the optimum
under the limits, and never above it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.agents.baselines import inverse_volatility_weights
from mtquant.envs.hierarchy import MESSAGE_NAMES
from mtquant.evaluation.hindsight import best_by_period, best_constant, months, share
from mtquant.evaluation.sections import Section, between, number, percent
from mtquant.evaluation.significance.bootstrap import Interval
from mtquant.evaluation.significance.paired import mean_intervals, rank_correlation
from mtquant.risk.limits import RISK_DEVIATION
from mtquant.workflows.rehearsal import Moment, Passage, Rehearsal

Float = NDArray[np.float64]

OWN, EQUAL, INVERSE, MEAN, CONSTANT, MONTHLY = (
    "meta-controller",
    "equal weight",
    "inverse volatility",
    "its own mean",
    "best constant",
    "best by month",
)
CONFIDENCE = MESSAGE_NAMES.index("confidence")
ALL = "all"
SIZES = (1.0, 2.0, 4.0)  # of the name cap, at which specialists are tried alone
LEAST_SCALE = 1e-6  # a specialist traded smaller has contributed nothing that could be judged


@dataclass(frozen=True)
class Allocated:
    """What an allocation came to.

    Attributes:
        growth: Log growth a year.
        of_constant, of_monthly: It as a share of that of the best constant allocation and of the
            best by month; NaN where those do not gain.
        behind: By how much the meta-controller is ahead of it, log growth a year.
        interval: 95 % interval of `behind`.
    """

    growth: float
    of_constant: float
    of_monthly: float
    behind: float
    interval: Interval


@dataclass(frozen=True)
class Confidence:
    """Whether a specialist is right when it says that it is sure.

    Attributes:
        correlation: Spearman's, of the confidence in its messages with what it then added to the
            portfolio's growth per unit of scale.
        interval: 95 %.
        bars: Bars compared: its own, on which it was traded.
    """

    correlation: float
    interval: Interval
    bars: int


@dataclass(frozen=True)
class AllocationStudy:
    """The meta-controller's decisions beside others.

    Attributes:
        allocations: Name -> what it came to.
        utilisation: Specialist -> mean share of the exposure asked for.
        best: Specialist -> its scale in the best constant allocation.
        confidence: Specialist -> how its confidence fared; ``all`` pools them.
        months: Calendar months of the rows.
    """

    allocations: Mapping[str, Allocated]
    utilisation: Mapping[str, float]
    best: Mapping[str, float]
    confidence: Mapping[str, Confidence]
    months: int

    @property
    def regret(self) -> tuple[float, Interval]:
        """Log growth a year that the best constant allocation had more."""
        return _regret(self.allocations[CONSTANT])

    @property
    def monthly_regret(self) -> tuple[float, Interval]:
        """Log growth a year that the best of each month had more."""
        return _regret(self.allocations[MONTHLY])


@dataclass(frozen=True, eq=False)
class Held:
    """An allocation that holds given scales.

    Attributes:
        name: MEAN, CONSTANT or MONTHLY; several are candidates for the last two.
        scales: float64 [T, N].
    """

    name: str
    scales: Float


class AllocationTrial:
    """The two passes behind a study: the first tells what the second has to hold.

    Args:
        stage: The hierarchy and its rows.

    Attributes:
        first: Accounts OWN, EQUAL, INVERSE, then each specialist alone at each of `SIZES`.
    """

    def __init__(self, stage: Rehearsal) -> None:
        self.stage = stage
        hierarchy, rules = stage.hierarchy, stage.market.rules
        self._owner = hierarchy.owner
        self._counts = np.bincount(self._owner).astype(float)
        caps = rules.limits().caps
        own_caps = np.array([caps[own].min() for own in hierarchy.instruments])
        most = hierarchy.gross_cap / self._counts
        self._alone = np.array([np.minimum(size * own_caps, most) for size in SIZES])
        self._equal = np.minimum(caps, hierarchy.gross_cap / len(caps))
        self._name_cap = float(caps.min())
        self._volatility = stage.market.tape.risk("ewma").rows[:, RISK_DEVIATION]
        self.first = stage.run(self._simple, 3 + self._alone.size, contributions=True)

    def candidates(self) -> list[Held]:
        """What is to be held in the second pass."""
        own = self.first.scales[:, 0]
        found = [Held(MEAN, np.broadcast_to(own.mean(axis=0), own.shape))]
        periods = months(self.stage.stamps)
        alone = np.expm1(self.first.growth[:, 3:]).reshape(len(own), *self._alone.shape)
        for size, scales in enumerate(self._alone):
            limits = scales, self._counts, self.stage.hierarchy.gross_cap
            returns = alone[:, size] / scales
            constant = best_constant(returns, *limits)[self._owner]
            monthly = best_by_period(returns, periods, *limits)[:, self._owner]
            found.append(Held(CONSTANT, np.broadcast_to(constant, own.shape)))
            found.append(Held(MONTHLY, monthly))
        return found

    def study(
        self, held: list[Held], growth: Float, draws: int, random: np.random.Generator
    ) -> AllocationStudy:
        """What came of it.

        Args:
            held: `candidates`.
            growth: Theirs, float64 [T, len(held)].
            draws: Bootstrap samples.
            random: Where they come from.
        """
        shown = {name: self.first.growth[:, e] for e, name in enumerate((OWN, EQUAL, INVERSE))}
        shown[MEAN] = growth[:, 0]
        shape = held[0].scales.shape
        equal, cash = (Held(CONSTANT, np.broadcast_to(x, shape)) for x in (self._equal, 0.0))
        others = [(equal, shown[EQUAL]), (cash, np.zeros(len(growth)))]
        pool = [*zip(held, growth.T, strict=True), *others]
        monthly = [pair for pair in pool if pair[0].name == MONTHLY]
        constant = [pair for pair in pool if pair[0].name != MONTHLY]
        best, shown[CONSTANT] = max(constant, key=lambda pair: float(pair[1].sum()))
        shown[MONTHLY] = max((own for _, own in monthly), key=lambda own: float(own.sum()))
        domains, owner = self.stage.hierarchy.domains, self._owner
        mean_scale = np.bincount(owner, best.scales[0]) / self._counts
        return AllocationStudy(
            _allocated(shown, self.stage.market.tape.bars_per_year, draws, random),
            dict(zip(domains, self._utilisation().tolist(), strict=True)),
            dict(zip(domains, mean_scale.tolist(), strict=True)),
            self._confidence(draws, random),
            len(np.unique(months(self.stage.stamps))),
        )

    def _simple(self, moment: Moment) -> Float:
        """Scales of the first pass, [E, N]."""
        scales = np.zeros((len(moment.seen), len(self._owner)))
        scales[0] = self.stage.policy.scales(moment.seen[:1], moment.messages[:1])[0]
        scales[1] = self._equal
        deviation = self._volatility[moment.row]
        known = np.where(np.isfinite(deviation), deviation, 0.0)
        gross = self.stage.hierarchy.gross_cap
        scales[2] = inverse_volatility_weights(known, self._name_cap, gross)
        e = 3
        for sizes in self._alone:
            for k, own in enumerate(self.stage.hierarchy.instruments):
                scales[e, own] = sizes[k]
                e += 1
        return scales

    def _utilisation(self) -> Float:
        """Mean share of each specialist in the exposure that signals of 1 ask for, [K]."""
        own = self.first.scales[:, 0]
        together = own.sum(axis=1, keepdims=True)
        shares = np.divide(own, together, out=np.zeros_like(own), where=together > 0.0)
        found: Float = np.bincount(self._owner, shares.mean(axis=0)).astype(np.float64)
        return found

    def _confidence(self, draws: int, random: np.random.Generator) -> dict[str, Confidence]:
        sure, gained = _sure_and_gained(self.first, self.stage.hierarchy.instruments)
        found = {
            name: _judged(sure[:, k], gained[:, k], draws, random)
            for k, name in enumerate(self.stage.hierarchy.domains)
        }
        if len(found) > 1:
            found[ALL] = _judged(sure, gained, draws, random)
        return found


def _sure_and_gained(passage: Passage, own: list[NDArray[np.int64]]) -> tuple[Float, Float]:
    """Mean confidence of each specialist's messages, and its contribution per unit of scale,
    float64 [T, K] each; NaN where it did not decide or was not traded.
    """
    said = passage.messages[:, :, CONFIDENCE].astype(np.float64)
    sure = np.column_stack([said[:, columns].mean(axis=1) for columns in own])
    scale = np.column_stack([passage.scales[:, 0, columns].mean(axis=1) for columns in own])
    awake = np.column_stack([passage.own[:, columns].any(axis=1) for columns in own])
    known = awake & (scale > LEAST_SCALE)
    gained = np.divide(passage.contributions, scale, out=np.full_like(scale, np.nan), where=known)
    return np.where(known, sure, np.nan), gained


def _judged(sure: Float, gained: Float, draws: int, random: np.random.Generator) -> Confidence:
    correlation, interval = rank_correlation(sure, gained, draws, random)
    return Confidence(correlation, interval, int(np.isfinite(gained).sum()))


def _allocated(
    growth: Mapping[str, Float], per_year: float, draws: int, random: np.random.Generator
) -> dict[str, Allocated]:
    """Every allocation beside the best two and the meta-controller's."""
    names = list(growth)
    series = per_year * np.column_stack([growth[name] for name in names])
    total = dict(zip(names, series.mean(axis=0).tolist(), strict=True))
    ahead = series[:, [names.index(OWN)]] - series
    intervals = mean_intervals(ahead, draws, random)
    return {
        name: Allocated(
            total[name],
            share(total[name], total[CONSTANT]),
            share(total[name], total[MONTHLY]),
            total[OWN] - total[name],
            intervals[m],
        )
        for m, name in enumerate(names)
    }


def _regret(best: Allocated) -> tuple[float, Interval]:
    return -best.behind, (-best.interval[1], -best.interval[0])


def allocation_sections(study: AllocationStudy) -> list[Section]:
    """Allocation efficiency, use of the specialists, decision quality."""
    rows = [
        (
            name,
            percent(found.growth),
            percent(found.of_constant, 0),
            percent(found.of_monthly, 0),
            "" if name == OWN else percent(found.behind),
            "" if name == OWN else between(found.interval),
        )
        for name, found in study.allocations.items()
    ]
    headings = ("allocation", "growth a year", "of best constant", "of best by month")
    efficiency = Section(
        "Allocation efficiency",
        (*headings, "meta-controller ahead by", "95 % interval"),
        tuple(rows),
        (_efficiency_note(study), "Growth is logarithmic; the best two are known only afterwards."),
    )
    use = Section(
        "Use of the specialists",
        ("specialist", "mean share", "scale in the best constant", *CONFIDENCE_HEADINGS),
        tuple(_use_rows(study)),
        (_regret_note(study), _confidence_note(study)),
    )
    return [efficiency, use]


CONFIDENCE_HEADINGS = ("confidence against contribution", "95 % interval ")


def _use_rows(study: AllocationStudy) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, found in study.confidence.items():
        used = percent(study.utilisation[name]) if name != ALL else ""
        best = number(study.best[name], 3) if name != ALL else ""
        rows.append((name, used, best, number(found.correlation), between(found.interval, number)))
    return rows


def _efficiency_note(study: AllocationStudy) -> str:
    own = study.allocations[OWN]
    if not np.isfinite(own.of_constant):
        return "No constant allocation of these specialists gains on these rows: no share of it."
    return (
        f"The meta-controller earned {percent(own.of_constant, 0)} of the best constant allocation."
    )


def _regret_note(study: AllocationStudy) -> str:
    (constant, first), (monthly, second) = study.regret, study.monthly_regret
    return (
        f"Regret a year: {percent(constant)} ({between(first)}) to the best constant allocation, "
        f"{percent(monthly)} ({between(second)}) to the best of each of {study.months} months."
    )


def _confidence_note(study: AllocationStudy) -> str:
    pooled = study.confidence.get(ALL) or next(iter(study.confidence.values()))
    low, high = pooled.interval
    if not np.isfinite(low):
        return "Confidence cannot be judged: it does not vary, or too few bars are known."
    if low > 0.0:
        return "Specialists add more when they say that they are sure."
    if high < 0.0:
        return "Specialists add less when they say that they are sure."
    return "No evidence that specialists add more when they say that they are sure."
