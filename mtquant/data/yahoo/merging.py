# SPDX-License-Identifier: Apache-2.0
"""An answer put together with what is cached, as the revision policy says."""

from __future__ import annotations

from dataclasses import dataclass

from mtquant.core.errors import DataError
from mtquant.data.actions import Actions
from mtquant.data.bars import Bars, check_bars
from mtquant.data.instruments import Instrument
from mtquant.data.yahoo.cache import Entry
from mtquant.data.yahoo.frames import Answer, Repairs, merged_repairs, row_texts, yahoo_session
from mtquant.data.yahoo.revisions import (
    Policy,
    Revision,
    compare,
    merge,
    merge_actions,
    refuse_hole,
    refuse_rescaling,
    rescaling,
)


@dataclass(frozen=True)
class Merged:
    """What is to be kept, and what there is to say of it.

    Attributes:
        bars: Bars as traded, checked.
        actions: Their actions.
        repairs: What was repaired in these bars.
        revisions: Figures that differ from the cached ones.
        remarks: Further facts to look at.
    """

    bars: Bars
    actions: Actions
    repairs: Repairs
    revisions: tuple[Revision, ...] = ()
    remarks: tuple[str, ...] = ()


def put_together(
    answer: Answer, instrument: Instrument, entry: Entry | None, policy: Policy
) -> Merged:
    """The answer put together with what is cached.

    Args:
        answer: What Yahoo says today.
        instrument: Whose bars.
        entry: What is cached; None for nothing.
        policy: What to do where the two differ.

    Raises:
        DataError: The two leave a hole between them, are in two units, or differ and the policy is
            to refuse.
    """
    if entry is None:
        return Merged(answer.bars, answer.actions, answer.repairs)
    name = f"{instrument.symbol} ({instrument.yahoo})"
    if policy != "replace":
        refuse_hole(name, entry.bars, answer.bars)
    elif answer.bars.stamps[0] > entry.bars.stamps[-1]:
        said = f"{len(entry.bars)} cached bars that end before Yahoo's begin are given up"
        return Merged(answer.bars, answer.actions, answer.repairs, remarks=(said,))
    revisions = compare(entry.bars, answer.bars)
    factor = rescaling(revisions)
    stays = entry.bars.stamps[0] < answer.bars.stamps[0]
    if factor is not None and (policy != "replace" or stays):
        refuse_rescaling(name, factor, answer.actions)
    actions, changed = merge_actions(entry.actions, answer.actions, answer.bars, policy)
    if policy == "refuse" and (revisions or changed):
        shown = "; ".join([*map(str, revisions[:3]), *changed[:3]])
        rule = f"must be answered as it was ({len(revisions) + len(changed)} differences)"
        raise DataError(name, rule, shown, "Use revised: keep or replace.")
    merged = merge(entry.bars, answer.bars, policy)
    check_bars(merged)
    done = _kept_or_filled(revisions, changed) if policy == "keep" else ()
    remarks = (*changed, *done, *_new_splits(entry, answer))
    repairs = _repairs(answer, entry, merged, policy, yahoo_session(instrument).timezone)
    return Merged(merged, actions, repairs, revisions, remarks)


def _repairs(answer: Answer, entry: Entry, merged: Bars, policy: Policy, timezone: str) -> Repairs:
    """What was repaired in the bars that stand."""
    cached, answered = row_texts(entry.bars, timezone), row_texts(answer.bars, timezone)
    held = {*cached}

    def settled(row: str) -> bool:
        # Texts of one form sort as their times do.
        return row in held if policy != "replace" else not answered[0] <= row <= answered[-1]

    present = {*row_texts(merged, timezone)}
    return merged_repairs(entry.manifest.repairs, answer.repairs, settled, present)


def _kept_or_filled(revisions: tuple[Revision, ...], changed: tuple[str, ...]) -> tuple[str, ...]:
    """What `keep` did about the differences, in words."""
    filled = sum(revision.is_new for revision in revisions)
    said = []
    if filled:
        said.append(f"{filled} bars that were missing in the cache are filled in")
    if filled < len(revisions) or changed:
        said.append("the cached figures are kept (revised: keep)")
    return tuple(said)


def _new_splits(entry: Entry, answer: Answer) -> tuple[str, ...]:
    """A remark per split that goes ex after the cached bars."""
    new = answer.actions.rows(answer.actions.ex_stamps > entry.bars.stamps[-1])
    return tuple(
        f"split {ratio:g}:1 since the last download: Yahoo divided its history, ours is as traded "
        "and stays"
        for ratio in new.split_ratio[new.split_ratio != 1.0]
    )
