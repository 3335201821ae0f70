# SPDX-License-Identifier: Apache-2.0
"""Backtest and paper trading see the same observations: the place of that check.

There is no paper loop to replay yet, and a check that compares nothing must not say that it passed.
"""

from __future__ import annotations

from mtquant.workflows.verify.record import Record

NAME = "paper sees what the backtest saw"


def check_paper() -> Record:
    """Says that it was not checked."""
    why = "not available until the paper loop exists; features as a stream are checked above"
    return Record.not_checked(NAME, why)
