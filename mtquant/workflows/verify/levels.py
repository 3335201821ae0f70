# SPDX-License-Identifier: Apache-2.0
"""Adjusted prices: a later split rescales every price before it, and what a feature said of those
bars may not move with it.
"""

from __future__ import annotations

from mtquant.features.signals import configured_registry
from mtquant.workflows.verify.changes import split
from mtquant.workflows.verify.compare import feature_differences, flat
from mtquant.workflows.verify.record import Record
from mtquant.workflows.verify.subject import Subject

NAME = "look-ahead: adjusted prices"
REMEDY = (
    "The feature reads the price level, which in adjusted files tells of later splits. Divide by a "
    "price of the window, or declare scale_free=False and use bars as they were traded."
)


def check_levels(subject: Subject) -> Record:
    """Computes the features on the bars as they would stand after a later split of 2 for 1."""
    market = subject.market_of([split(own) for own in subject.bars])
    found = market.features_of(subject.policy)
    differences = feature_differences(subject)
    last = len(found) - 1
    how = "when a split behind the last row halved all prices and doubled volumes"
    differences.add(flat(subject), found.reshape(len(found), -1), 0, last, how)
    declared = _declared(subject)
    findings = differences.findings()
    hidden = [one for one in findings if one.what.partition("@")[0] not in declared]
    named = sorted({one.what for one in findings} & declared)
    looked = f"{len(subject.policy.feature_names)} features do not read the price level"
    if not hidden and named:
        why = f"{', '.join(named)} say that they read the price level (scale_free=False)"
        remedy = "Sure only on bars as they were traded, without adjustment for later splits."
        return Record.not_checked(NAME, why, remedy)
    return Record.of(NAME, hidden, looked, REMEDY)


def _declared(subject: Subject) -> set[str]:
    """Features of the user that say they read the price level."""
    own = configured_registry(subject.config.features)
    return {feature.name for feature in own if not feature.scale_free}
