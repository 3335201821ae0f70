# SPDX-License-Identifier: Apache-2.0
"""Which phases of training are over, from the report cards that they leave behind."""

from __future__ import annotations

from pathlib import Path

from mtquant.core.config import Config, trained_under
from mtquant.core.errors import RunError
from mtquant.core.runs import CARD_NAME, RunFolder

PHASES = (1, 2, 3)


def phase_ended(folder: Path, phase: int, config: Config) -> bool:
    """Whether a phase of training has left all its results in a folder, under this configuration.

    Raises:
        RunError: It was trained under another one.
    """
    if not (folder / CARD_NAME).is_file():
        return False
    card = RunFolder(folder).card
    if card.get("trained_under") != trained_under(config):
        raise RunError(
            str(folder),
            "must have been trained under this configuration to be resumed",
            f"configuration {card['config_hash']}",
            "Give the same --config and --set, or use --mode train with another folder.",
        )
    return len(card["stages"]) >= (len(config.domains) if phase == 1 else 1)
