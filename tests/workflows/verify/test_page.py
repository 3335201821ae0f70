# SPDX-License-Identifier: Apache-2.0
"""`docs/verify.md` says of every planted leak how it is found, and names every check."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtquant.workflows.verify import Effort, verify
from tests.support.leaks.market import subject_of
from tests.support.leaks.plants import PLANTS, Plant

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "verify.md").read_text()
LINES = PAGE.splitlines()


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.kind)
def test_every_planted_kind_is_on_the_page(plant: Plant) -> None:
    (line,) = (line for line in LINES if line.startswith(f"| {plant.kind} |"))
    assert f"| {plant.where} | {plant.check} |" in line


def test_every_check_is_on_the_page() -> None:
    for record in verify(subject_of(), Effort(cuts=1, decisions=1, replayed=10)).records:
        assert any(line.startswith(f"| {record.name} |") for line in LINES), record.name
