# SPDX-License-Identifier: Apache-2.0
"""`mtquant evaluate`: flags become a walk and a configuration, findings are printed."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mtquant.cli.main import app
from mtquant.cli.walk_forward import _phases
from mtquant.core.errors import ConfigError
from tests.support.markets import TINY, write_market


def settings() -> list[str]:
    return [part for text in TINY for part in ("--set", text)]


def test_one_command_trains_tests_and_judges(tmp_path: Path) -> None:
    market = write_market(tmp_path / "bars", bars=700)
    arguments = ["evaluate", "--folds", "2", "--seeds", "1", "--phases", "1", "--timesteps", "256"]
    arguments += ["--source", "parquet", "--folder", str(market), "--timeframe", "1d"]
    arguments += ["--set", "data.instruments=[EURUSD, GBPUSD]", "--set", "data.stamped=close"]
    arguments += ["--output-dir", str(tmp_path / "run"), *settings()]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    for said in (
        "seed 7, fold 1: phase 1",
        "Judged is phase 1, seed 7",
        "Out of sample, each seed",
        "Baselines under the same rules and costs",
        "Value at risk",
        "Cost sensitivity",
        "report.html",
    ):
        assert said in done.output
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 0 and "trained before: seed 7, fold 2" in again.output


def test_phases_are_numbers() -> None:
    assert _phases("3,1") == (1, 3)
    with pytest.raises(ConfigError, match="phases"):
        _phases("one")
