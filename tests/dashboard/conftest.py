# SPDX-License-Identifier: Apache-2.0
"""Ledgers that many tests read and none may write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from mtquant.paper.loop import PaperLoop
from tests.support.long_ledger import Walk, long_ledger
from tests.support.paper import Stage

LONG_BARS = 1_500


@dataclass
class Replayed:
    """A small account that was really traded, and the loop that traded it."""

    stage: Stage
    loop: PaperLoop

    @property
    def path(self) -> Path:
        return self.stage.path


@pytest.fixture(scope="session")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    stage = Stage.of(tmp_path_factory.mktemp("replayed"))
    loop = stage.open()
    loop.run()
    loop.recorder.ledger.close()
    return Replayed(stage, loop)


@dataclass
class Long:
    """A made-up account of `LONG_BARS` bars, and what it was made of."""

    path: Path
    walk: Walk


@pytest.fixture(scope="session")
def long(tmp_path_factory: pytest.TempPathFactory) -> Long:
    path = tmp_path_factory.mktemp("long") / "paper.sqlite"
    return Long(path, long_ledger(path, LONG_BARS))
