# SPDX-License-Identifier: Apache-2.0
"""Features of the user's own, tried by `check_feature` on the newest bars: the same bytes again, as
a stream and whatever the history, and a number on hard bars too.
"""

from __future__ import annotations

from mtquant.data.bars import stamp_text
from mtquant.features.check import FADED_WARMUPS, check_feature
from mtquant.features.registry import UserFeature
from mtquant.features.signals import configured_registry
from mtquant.features.timeframes import MARK
from mtquant.workflows.verify.record import Finding, Record
from mtquant.workflows.verify.subject import Subject

NAME = "your own features"
REMEDY = "Mend the feature, raise its version and train again (docs/features.md)."
BEHIND = 200  # rows behind what `check_feature` asks for


def check_own_features(subject: Subject) -> Record:
    """Every feature of the registry that the policy observes, on the first instrument's bars."""
    features = own_features(subject)
    if not features:
        return Record.of(NAME, [], "the policy observes none", "")
    bars, findings, short = subject.bars[0], list[Finding](), list[str]()
    for feature in features:
        # What `check_feature` asks for is twice the memory and some rows to compare.
        memory = feature.warmup_bars * (FADED_WARMUPS if feature.recursive else 1)
        needed = 2 * memory + BEHIND
        if len(bars) < needed:
            short.append(feature.name)
            continue
        start = len(bars) - needed
        report = check_feature(feature, bars.rows(slice(start, None)))
        for finding in report.findings:
            row = start + finding.row
            size = abs(finding.expected - finding.found)
            text = f"not {finding.rule}: was {finding.expected:.6g}, is {finding.found:.6g}: "
            stamp = stamp_text(int(bars.stamps[row]))
            text += f"{finding.text} (rows counted from {start})"
            findings.append(Finding(feature.name, text, bars.symbol, row, stamp, size))
    names = ", ".join(feature.name for feature in features)
    if short and not findings:
        why = f"{', '.join(short)} need more bars than {bars.symbol} has for check_feature"
        return Record.not_checked(NAME, why, "Use a longer history.")
    return Record.of(NAME, findings, f"{names} hold every rule of check_feature", REMEDY)


def own_features(subject: Subject) -> list[UserFeature]:
    """The user's features that the policy observes, each once, whatever its timeframe."""
    names = {name.partition(MARK)[0] for name in subject.policy.feature_names}
    own = configured_registry(subject.config.features)
    return [feature for feature in own if feature.name in names]
