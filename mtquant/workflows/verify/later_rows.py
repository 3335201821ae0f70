# SPDX-License-Identifier: Apache-2.0
"""Does training read bars that are not for training? The first updates are trained once more from
files in which those bars were drawn anew: weights have to be the same bytes.

A trainer that learns from the test repeats itself, so the seed replay cannot see it.
"""

from __future__ import annotations

from mtquant.core.errors import MtquantError
from mtquant.data.bars import stamp_text
from mtquant.workflows.verify.changes import redrawn
from mtquant.workflows.verify.draws import Effort
from mtquant.workflows.verify.record import Finding, Record
from mtquant.workflows.verify.repeating import Repeat, Repeats

NAME = "training: later bars"
REMEDY = (
    "Training read bars that it must not know. Look for whatever is fitted, drawn or chosen over "
    "all rows, let it end with the training part, and train again."
)


def check_later_rows(repeats: Repeats, effort: Effort) -> Record:
    """Trains the first updates on the bars and on ones whose later rows are others."""
    repeat = repeats.of(NAME)
    if isinstance(repeat, Record):
        return repeat
    subject, known_ns = repeat.subject, first_changed_ns(repeat)
    if subject.split.test.end_ns <= known_ns:
        why = "training lies behind the test, and windows of features reach back into it"
        return Record.not_checked(NAME, why)
    stamp = known_ns - 1  # `redrawn` keeps the bars that closed by then
    bars = [
        redrawn(own, stamp, effort.node("later", own.symbol).generator()) for own in subject.bars
    ]
    try:
        found = repeat.on(bars)
    except MtquantError as error:
        finding = Finding(error.field, f"training broke off on them: {error}")
        return Record.of(NAME, [finding], "", REMEDY)
    since, findings = stamp_text(known_ns), []
    for name, again in repeat.again.items():
        for k, (was, now) in enumerate(zip(again, found.get(name, ()), strict=True)):
            if was != now:
                text = (
                    f"weights are {now[:12]} and were {was[:12]} when bars from {since} on were "
                    "drawn anew"
                )
                findings.append(Finding(f"update {k + 1} of {name}", text, size=float(k + 1)))
                break
    looked = (
        f"weights of {', '.join(repeat.record.together)} after the first updates are the same "
        f"bytes whatever the bars from {since} on are; a trainer that reads them for the first "
        "time later, or chooses by them, is not seen"
    )
    return Record.of(NAME, findings, looked, REMEDY)


def first_changed_ns(repeat: Repeat) -> int:
    """From when on bars may be others: behind the training part, where nothing that training may
    read lies there.

    A curriculum moves on by the validation rows, and phases 2 and 3 ask whether the phase before
    was trained and chosen on these bars: there it is behind the validation part.
    """
    split, training = repeat.subject.split, repeat.subject.config.training
    if repeat.record.phase == 1 and not training.curriculum_learning and not split.holes:
        return split.train.end_ns
    return split.known_until_ns
