# SPDX-License-Identifier: Apache-2.0
"""The bars themselves: those of the training, unrevised, and a test part that is none of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.agents.specialist import bars_digest
from mtquant.agents.training.replay import BLOCK_ROWS, ReplayRecord, block_digests, read_record
from mtquant.core.errors import CheckpointError
from mtquant.data.bars import Bars, stamp_text
from mtquant.workflows.verify.record import Finding, Record
from mtquant.workflows.verify.subject import Subject

NAME = "data: the bars of the training"
REMEDY = (
    "These are not the bars that the model was trained and chosen on. Bars that were revised since "
    "hold what nobody knew then: keep the bars of the training, or train again."
)


def check_seen_bars(subject: Subject) -> Record:
    """Digests of the bars up to the end of the validation part, and where the test begins."""
    trained, folder = subject.trained, subject.folder
    if trained is None or folder is None:
        return Record.not_checked(NAME, "a policy without a folder has no digests of its bars")
    record = _record(subject)
    findings = []
    rows = subject.market.panel.rows(subject.split.test)
    tested = subject.market.panel.stamps[rows]
    for own in subject.bars:
        until_ns = trained.known_until_ns[own.symbol]
        if bars_digest(own, until_ns) != trained.bars_sha256[own.symbol] or (
            record is not None and _revised(own, until_ns, record) is not None
        ):
            findings.append(_finding(own, until_ns, record))
        met = np.flatnonzero(_met(subject, tested, until_ns))
        if len(met):
            at = rows.start + int(met[0])
            text = (
                f"{len(met)} rows of the test part are among those that it was trained or chosen "
                f"on, up to {stamp_text(until_ns)}"
            )
            findings.append(Finding("test part", text, own.symbol, at, subject.stamp(at)))
    looked = (
        f"stamps and prices of {len(subject.bars)} instruments are those that the training wrote "
        "down, and no row of the test part is among those that it was trained or chosen on"
    )
    return Record.of(NAME, findings, looked, REMEDY)


def _met(subject: Subject, stamps: NDArray[np.int64], until_ns: int) -> NDArray[np.bool_]:
    """Which stamps the training has met: all up to its end, but for combinatorial folds, whose
    test lies in a hole of it.
    """
    split = subject.split
    if split.test.start_ns >= split.known_until_ns or until_ns != split.known_until_ns:
        return stamps < until_ns
    met = np.zeros(len(stamps), dtype=bool)
    for part in (*split.stretches, split.validation):
        met |= (stamps >= part.start_ns) & (stamps < part.end_ns)
    return met


def _record(subject: Subject) -> ReplayRecord | None:
    """What the training wrote down; None for models of earlier versions."""
    try:
        return None if subject.folder is None else read_record(subject.folder)
    except CheckpointError:
        return None


def _revised(own: Bars, until_ns: int, record: ReplayRecord) -> int | None:
    """The first block of bars that differs; None where none does or nothing is known of it."""
    kept = record.bars.get(own.symbol)
    if kept is None:
        return None
    now = block_digests(own, until_ns)
    for block, (before, after) in enumerate(zip(kept, now, strict=False)):
        if before != after:
            return block
    return None


def _finding(own: Bars, until_ns: int, record: ReplayRecord | None) -> Finding:
    block = None if record is None else _revised(own, until_ns, record)
    if block is None:
        return Finding("bars", "other stamps or prices than those of the training", own.symbol)
    first, last = block * BLOCK_ROWS, (block + 1) * BLOCK_ROWS - 1
    text = f"first revised between rows {first} and {last} of the instrument"
    return Finding("bars", text, own.symbol, first, stamp_text(int(own.stamps[first])))
