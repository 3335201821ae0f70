# SPDX-License-Identifier: Apache-2.0
"""Which configuration a command runs under: one that is named, one that lies at hand, or ours.

Everything is checked here, before a command imports what takes seconds to load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mtquant.core.config import Config, config_from_card, load_config
from mtquant.core.runs import CARD_NAME

LOCAL_FILE = Path("config/agents.yaml")


def training_settings(path: Path | None, overrides: Sequence[str]) -> tuple[Config, str]:
    """The configuration of `path`, else of `LOCAL_FILE`, else the defaults; and which it is."""
    if path is None and LOCAL_FILE.is_file():
        path = LOCAL_FILE
    return load_config(path, overrides), _origin(path or "built-in defaults", overrides)


def backtest_settings(
    path: Path | None, models: Path, overrides: Sequence[str]
) -> tuple[Config, str]:
    """The configuration of `path`, else the one the models were trained under; and which it is. A
    table of predictions was trained under none: for it, as `training_settings`.
    """
    if path is None and models.suffix == ".parquet":
        return training_settings(path, overrides)
    if path is None:
        card = models / CARD_NAME
        return config_from_card(card, overrides), _origin(card, overrides)
    return load_config(path, overrides), _origin(path, overrides)


def flag_overrides(flags: Mapping[str, str | int | None]) -> list[str]:
    """What flags mean as ``--set`` texts: key -> value, None for a flag that was left out."""
    return [f"{key}={value}" for key, value in flags.items() if value is not None]


def _origin(place: Path | str, overrides: Sequence[str]) -> str:
    return f"{place} and --set {' '.join(overrides)}" if overrides else str(place)
