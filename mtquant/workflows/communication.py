# SPDX-License-Identifier: Apache-2.0
"""Whether a meta-controller makes use of what its specialists tell it.

The hierarchy trades the same rows again while the meta-controller hears something else: one channel
of the messages, or all of them,

    shuffled   those of bars drawn at random, which keeps everything about them but their time
    zeroed     0 for everything
    delayed    those of the bar before

Trades keep the true signals: only what the meta-controller *hears* is disturbed. (A permutation
test as in Breiman 2001, "Random forests", section 10, on policies.) Performance that does not fall
when all channels are shuffled says that the messages are not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.agents.hierarchy import HierarchyPolicy
from mtquant.envs.hierarchy import MESSAGE_NAMES
from mtquant.evaluation.metrics import sharpe
from mtquant.evaluation.sections import Section, between, number, percent
from mtquant.evaluation.significance.bootstrap import Interval
from mtquant.evaluation.significance.paired import intervals
from mtquant.workflows.rehearsal import Moment, Passage

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

SHUFFLED, ZEROED, DELAYED = "shuffled", "zeroed", "delayed"
ALL = "all"
CHANNELS = (*MESSAGE_NAMES, ALL)
SHUFFLES = 3  # whose growth is averaged, so that one lucky order decides nothing
LEAST_MOVED = 1e-6  # less is rounding


@dataclass(frozen=True)
class Disturbed:
    """What one disturbance did.

    Attributes:
        kind: SHUFFLED, ZEROED or DELAYED.
        channel: Name of a channel, or ALL.
        growth: Log growth a year under it.
        sharpe: Sharpe ratio a year under it.
        growth_fall, sharpe_fall: How much less they are than without it.
        growth_interval, sharpe_interval: 95 % intervals of these, paired bar by bar.
        moved: Mean share of the gross cap that was asked for elsewhere than without it: 0 where
            decisions do not depend on what is heard.
    """

    kind: str
    channel: str
    growth: float
    sharpe: float
    growth_fall: float
    sharpe_fall: float
    growth_interval: Interval
    sharpe_interval: Interval
    moved: float


@dataclass(frozen=True)
class CommunicationTest:
    """All disturbances of a hierarchy.

    Attributes:
        growth, sharpe: Log growth and Sharpe ratio a year undisturbed.
        found: One by one.
    """

    growth: float
    sharpe: float
    found: tuple[Disturbed, ...]

    @property
    def decisive(self) -> Disturbed:
        """All channels shuffled."""
        return next(each for each in self.found if (each.kind, each.channel) == (SHUFFLED, ALL))

    @property
    def used(self) -> bool:
        """Whether the Sharpe ratio falls with all channels shuffled, by the whole interval."""
        return self.decisive.sharpe_interval[0] > 0.0


class DisturbedEars:
    """Accounts whose meta-controller hears disturbed messages; a part of a `Decide`.

    Args:
        policy: The hierarchy.
        passage: The undisturbed account 0, whose messages are shuffled.
        random: Draws the orders.
    """

    def __init__(
        self, policy: HierarchyPolicy, passage: Passage, random: np.random.Generator
    ) -> None:
        self._policy, self._said = policy, passage.messages
        self._orders = [random.permutation(len(passage)) for _ in range(SHUFFLES)]
        kinds = [(SHUFFLED, r) for r in range(SHUFFLES)] + [(ZEROED, 0), (DELAYED, 0)]
        self.accounts = [(kind, channel, r) for channel in CHANNELS for kind, r in kinds]
        self._before: Float32 = np.zeros((len(self.accounts), *self._said.shape[1:]), np.float32)

    def __len__(self) -> int:
        return len(self.accounts)

    def scales(self, moment: Moment) -> Float:
        """What the meta-controllers decide, float64 [accounts, N], for their own moment."""
        heard = moment.messages.copy()
        for e, (kind, channel, repeat) in enumerate(self.accounts):
            own = slice(None) if channel == ALL else CHANNELS.index(channel)
            heard[e, :, own] = self._instead(kind, moment.t, e, repeat)[:, own]
        self._before = moment.messages.copy()
        return self._policy.scales(moment.seen, heard, moment.messages)

    def _instead(self, kind: str, t: int, e: int, repeat: int) -> Float32:
        if kind == SHUFFLED:
            return self._said[self._orders[repeat][t]]
        return self._before[e] if kind == DELAYED else np.zeros_like(self._before[e])


def communication_test(
    accounts: Sequence[tuple[str, str, int]],
    growth: Float,
    scales: Float,
    undisturbed: tuple[Float, Float],
    per_year: float,
    gross_cap: float,
    draws: int,
    random: np.random.Generator,
) -> CommunicationTest:
    """What the disturbances did.

    Args:
        accounts: `DisturbedEars.accounts`.
        growth, scales: Theirs, float64 [T, accounts] and [T, accounts, N].
        undisturbed: Growth float64 [T] and scales [T, N] without any.
        per_year: Bars a year.
        gross_cap: `max_gross_exposure`.
        draws: Bootstrap samples.
        random: Where they come from.
    """
    own, asked = undisturbed
    pairs = list(dict.fromkeys((kind, channel) for kind, channel, _ in accounts))
    places = [[e for e, each in enumerate(accounts) if each[:2] == pair] for pair in pairs]

    def performance(series: Float) -> Float:
        """Growth and ratio of the undisturbed account and of every pair, [2 (1 + pairs)]."""
        each = np.array([series.mean(axis=0) * per_year, _ratios(series, per_year)])
        means = [each[:, 0], *(each[:, 1:][:, own_places].mean(axis=1) for own_places in places)]
        return np.array(means).T.ravel()

    def falls(series: Float) -> Float:
        found = performance(series).reshape(2, -1)
        return (found[:, :1] - found[:, 1:]).ravel()

    series = np.column_stack([own, growth])
    levels, fallen = performance(series).reshape(2, -1), falls(series).reshape(2, -1)
    ends = intervals(series, falls, draws, random)
    apart = 0.5 * np.abs(scales - asked[:, None]).sum(axis=2).mean(axis=0) / gross_cap
    found = tuple(
        Disturbed(
            *pair,
            growth=float(levels[0, 1 + m]),
            sharpe=float(levels[1, 1 + m]),
            growth_fall=float(fallen[0, m]),
            sharpe_fall=float(fallen[1, m]),
            growth_interval=ends[m],
            sharpe_interval=ends[len(pairs) + m],
            moved=float(apart[places[m]].mean()),
        )
        for m, pair in enumerate(pairs)
    )
    return CommunicationTest(float(levels[0, 0]), float(levels[1, 0]), found)


def _ratios(growth: Float, per_year: float) -> Float:
    """Sharpe ratio of every column of log growth, [M]."""
    returns = np.expm1(growth)
    return np.array([sharpe(returns[:, m], per_year) for m in range(returns.shape[1])])


def communication_section(test: CommunicationTest) -> Section:
    """The table, and in words whether messages are used."""
    order = sorted(test.found, key=lambda each: (each.channel != ALL, each.kind != SHUFFLED))
    rows = tuple(
        (
            f"{each.kind}: {each.channel}",
            number(each.sharpe),
            number(each.sharpe_fall),
            between(each.sharpe_interval, number),
            percent(each.growth_fall),
            between(each.growth_interval),
            percent(each.moved, 2),
        )
        for each in order
    )
    undisturbed = ("nothing disturbed", number(test.sharpe), "", "", "", "", "")
    headings = ("what is heard", "Sharpe", "fall", "95 % interval", "fall of growth a year")
    return Section(
        "Communication test",
        (*headings, "95 % interval ", "decided otherwise"),
        (undisturbed, *rows),
        (verdict(test),),
    )


def verdict(test: CommunicationTest) -> str:
    """Whether the messages are used, in plain words."""
    decisive = test.decisive
    if not np.isfinite(decisive.sharpe_interval[0]):
        return "Whether messages are used cannot be judged: the hierarchy hardly trades here."
    fell = f"{number(decisive.sharpe_fall)} ({between(decisive.sharpe_interval, number)})"
    if test.used:
        return f"The messages are used: with all of them shuffled the Sharpe ratio falls by {fell}."
    if decisive.sharpe_interval[1] < 0.0:
        return f"The messages do harm: with all of them shuffled the Sharpe ratio falls by {fell}."
    plain = (
        "The messages are not used: with all of them shuffled the Sharpe ratio does not fall "
        f"by more than chance, {fell}."
    )
    if decisive.moved < LEAST_MOVED:
        return plain
    return f"{plain} They move {percent(decisive.moved, 2)} of the book, to no measurable gain."
