# SPDX-License-Identifier: Apache-2.0
"""The pure-noise control: bars that are drawn anew know nothing, and nothing may know them.

All bars are replaced by noise at the same stamps: the bars' own steps, drawn with replacement. What
is computed of the noise cannot go with the returns of the *real* bars, unless it is not computed
of bars at all but looked up: a precomputed column, a cache, a table of texts that were dated too
early. Nor can it go with the later returns of the *noise*, unless code looks ahead in it. A cut
test does not see the first kind, whose values stand still however the bars are cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mtquant.data.bars import Bars
from mtquant.workflows.backtesting import Market
from mtquant.workflows.verify.association import (
    ALARM,
    LEAST_ROWS,
    Association,
    association,
    next_returns,
)
from mtquant.workflows.verify.behaviour import live
from mtquant.workflows.verify.changes import redrawn
from mtquant.workflows.verify.compare import flat
from mtquant.workflows.verify.draws import Effort
from mtquant.workflows.verify.record import Finding, Record
from mtquant.workflows.verify.subject import Rows32, Subject

NAME = "control: pure noise"
POLICY_NAME = "control: policy on noise"
REMEDY = (
    "It knows what comes without having been told. Compute it from the bars that are handed over, "
    "and date what comes from elsewhere by when it could be read (known_at)."
)
POLICY_REMEDY = "The policy holds the future: no table of outcomes may be part of its state."
AHEAD = (1, 5, 20)
MOST_DECISIONS = 3_000


@dataclass(frozen=True)
class Noise:
    """A subject's bars as noise, at the same stamps.

    Attributes:
        subject: Whose.
        effort: Seeds.
    """

    subject: Subject
    effort: Effort

    @cached_property
    def bars(self) -> list[Bars]:
        """The noise."""
        return [
            redrawn(own, 0, self.effort.node("noise", own.symbol).generator())
            for own in self.subject.bars
        ]

    @cached_property
    def market(self) -> Market:
        """A market of it."""
        return self.subject.market_of(self.bars)

    @cached_property
    def features(self) -> Rows32:
        """Features of it, float32 [T, N, F]."""
        return self.market.features_of(self.subject.policy)


def check_noise(noise: Noise) -> Record:
    """Every feature of the noise against the later returns of the bars and of the noise."""
    subject = noise.subject
    names = list(subject.policy.feature_names)
    findings: list[Finding] = []
    for n, (real, made) in enumerate(zip(subject.bars, noise.bars, strict=True)):
        rows = subject.market.panel.tradable[:, n]
        columns = noise.features[rows, n]
        for f, name in enumerate(names):
            for what, bars in (("these bars", real), ("the noise itself", made)):
                found = strongest(columns[:, f], bars)
                if found.alarming:
                    findings.append(_finding(name, real.symbol, found, what))
    findings.sort(key=lambda finding: -finding.size)
    least = ALARM / max(len(own) for own in subject.bars) ** 0.5
    looked = (
        f"{len(names)} features of noise know nothing of the bars in its place, nor of the noise "
        f"to come (a correlation above about {least:.2f} would show)"
    )
    outside = deaf(noise)
    if outside and not findings:
        why = (
            f"{', '.join(outside)} do not change with the bars: they come from elsewhere, and no "
            f"cut can show what they knew; {looked}"
        )
        remedy = "Prove by hand from when on each of their values could be read."
        return Record.not_checked(NAME, why, remedy)
    return Record.of(NAME, findings, looked, REMEDY)


def strongest(column: Rows32, bars: Bars) -> Association:
    """A column [T] of an instrument's own rows against what its bars do 1, 5 and 20 bars on."""
    found = [association(column, next_returns(bars.close, ahead), ahead) for ahead in AHEAD]
    return max(found, key=lambda one: abs(one.deviations))


def deaf(noise: Noise) -> list[str]:
    """Features of the user that are the same on noise: nothing of them is computed of bars."""
    subject = noise.subject
    built_in = subject.built_in_features
    real, made = flat(subject), noise.features.reshape(len(noise.features), -1)
    names = list(subject.policy.feature_names) * len(subject.bars)
    changed = ~((real == made) | (np.isnan(real) & np.isnan(made))).all(axis=0)
    hearing = {name for name, heard in zip(names, changed.tolist(), strict=True) if heard}
    return sorted(set(names) - hearing - built_in)


def check_policy_on_noise(noise: Noise) -> Record:
    """The policy's targets on noise, against the returns of the bars in whose place it stands, and
    against those of the noise.
    """
    subject = noise.subject
    rows = subject.test_rows
    rows = slice(max(rows.start, rows.stop - MOST_DECISIONS), rows.stop)
    witness, _ = live(subject, noise.market, noise.features, rows)
    answers = np.array(witness.answers)
    findings: list[Finding] = []
    for n, (real, made) in enumerate(zip(subject.bars, noise.bars, strict=True)):
        own = subject.market.panel.tradable[rows, n][: len(answers)]
        for what, bars in (("these bars", real), ("the noise itself", made)):
            start = int(np.searchsorted(bars.stamps, subject.market.panel.stamps[rows.start]))
            later = next_returns(bars.close, 1)[start : start + int(own.sum())]
            found = association(answers[own, n], later)
            if found.alarming:
                findings.append(_finding("target", real.symbol, found, what))
    findings.sort(key=lambda finding: -finding.size)
    if len(answers) < LEAST_ROWS and not findings:
        why = f"it took {len(answers)} decisions on noise, and {LEAST_ROWS} are needed to tell"
        remedy = "Verify on a longer test; a policy that is ruined on noise ends early."
        return Record.not_checked(POLICY_NAME, why, remedy)
    least = ALARM / max(len(answers), 1) ** 0.5
    looked = (
        f"{len(answers):,} decisions on noise know nothing of the bars in its place, nor of the "
        f"noise to come (a correlation above about {least:.2f} would show)"
    )
    return Record.of(POLICY_NAME, findings, looked, POLICY_REMEDY)


def _finding(name: str, symbol: str, found: Association, what: str) -> Finding:
    text = (
        f"computed of noise, it goes with the next {found.ahead} bars of {what}: rank correlation "
        f"{found.correlation:+.2f} over {found.rows:,} rows, {abs(found.deviations):.0f} deviations"
        " from chance"
    )
    return Finding(name, text, symbol, size=abs(found.correlation))
