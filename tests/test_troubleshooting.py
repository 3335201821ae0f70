# SPDX-License-Identifier: Apache-2.0
"""docs/troubleshooting.md: every curve, key and message that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from mtquant.core.config import Config
from mtquant.core.telemetry import METRICS

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"`([^`\n]+)`", PAGE)
SOURCES = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "mtquant").rglob("*.py"))
# Messages are f-strings broken over lines: they are compared without what is put in.
PLAIN_SOURCES = re.sub(r"\{[^{}]*\}|\"\s*f?\"", "", SOURCES)
# The symptoms of the training specification (document 003, "Troubleshooting") by their words.
SPEC_SYMPTOMS = (
    "rewards oscillate",
    "losses are NaN",
    "gradients explode",
    "rewards do not improve",
    "stuck where it began",
    "out of memory",
    "slow",
    "Risk limits",
)


def known_key(path: str) -> bool:
    section: object = Config()
    for name in path.split("."):
        if not isinstance(section, BaseModel) or name not in type(section).model_fields:
            return False
        section = getattr(section, name)
    return True


def test_every_key_exists() -> None:
    sections = "|".join(Config.model_fields)
    keys = {text for text in QUOTED if re.fullmatch(rf"({sections})\.\w+(\.\w+)*", text)}
    assert len(keys) > 30
    assert [key for key in sorted(keys) if not known_key(key)] == []


def test_every_curve_exists() -> None:
    groups = {name.split("/")[0] for name in METRICS}
    curves = {text for text in QUOTED if text.split("/")[0] in groups and "/" in text}
    assert len(curves) > 20
    assert curves <= set(METRICS)


@pytest.mark.parametrize("symptom", SPEC_SYMPTOMS)
def test_the_symptoms_of_the_specification_are_there(symptom: str) -> None:
    assert symptom in PAGE


def test_every_row_ties_a_symptom_to_a_cure() -> None:
    tables = PAGE.split("## What is refused")[0]
    rows = [line.strip("|").split("|") for line in tables.splitlines() if line.startswith("| ")]
    assert len(rows) > 30
    assert all(len(row) == 4 and all(cell.strip() for cell in row) for row in rows)


def test_every_message_is_one_of_ours() -> None:
    table = PAGE.split("## What is refused")[1]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    quoted = [text for cell in cells for text in re.findall(r"`([^`]+)`", cell)]
    pieces = [piece.strip() for text in quoted for piece in text.split("...")]
    assert len(pieces) > 14
    assert [piece for piece in pieces if piece and piece not in PLAIN_SOURCES] == []
