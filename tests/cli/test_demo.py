# SPDX-License-Identifier: Apache-2.0
"""`mtquant demo`: the settings that learn, on the bundled bars, below one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mtquant.cli import demo


def test_the_demo_trains_and_then_reports_on_the_test_years(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Any, ...]] = []
    options: list[dict[str, Any]] = []

    def trains(*arguments: Any, **named: Any) -> None:
        calls.append(arguments)
        options.append(named)

    monkeypatch.setattr(demo, "run_phase1", trains)
    monkeypatch.setattr(demo, "run_backtest", lambda *arguments: calls.append(arguments))
    demo.run(tmp_path, 5_000, ["training.seed=3"])
    trained, traded = calls
    config, instruments, models, logs, timesteps, device, _ = trained
    assert config.training.preset == "recommended"
    assert config.training.seed == 3
    assert config.data.source == "bundled"
    assert set(config.data.instruments) <= set(instruments)
    assert (timesteps, device) == (5_000, None)
    assert options == [{"overwrite": True}]  # a demo may be shown twice
    assert logs == tmp_path / "logs" / "phase1"
    assert traded[:5] == (config, instruments, models, tmp_path / "backtest", "test")
