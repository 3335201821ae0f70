# SPDX-License-Identifier: Apache-2.0
"""`mtquant demo`: the settings that learn, on the bundled bars, below one folder."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from mtquant.cli import demo
from mtquant.cli.pipeline import Pipeline
from mtquant.workflows import ahead


def test_the_demo_trains_and_then_reports_on_the_test_years(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[tuple[Any, bool]] = []
    traded: list[tuple[Any, ...]] = []

    def trains(self: Pipeline, console: Any, *, overwrite: bool = False) -> None:
        trained.append((self, overwrite))

    monkeypatch.setattr(Pipeline, "train", trains)
    monkeypatch.setattr(ahead, "compiled_ahead", lambda *arguments: contextlib.nullcontext())
    monkeypatch.setattr(demo, "run_backtest", lambda *arguments: traded.append(arguments))
    demo.run(tmp_path, 5_000, ["training.seed=3"])
    ((pipeline, overwrite),) = trained
    config = pipeline.config
    assert config.training.preset == "recommended"
    assert config.training.seed == 3
    assert config.data.source == "bundled"
    assert set(config.data.instruments) <= set(pipeline.instruments)
    assert pipeline.timesteps == {1: 5_000, 2: 5_000, 3: 5_000}
    assert overwrite  # a demo may be shown twice
    assert (pipeline.output_dir, pipeline.log_dir) == (tmp_path, tmp_path / "logs")
    models, out = tmp_path / "phase3", tmp_path / "backtest"
    assert traded[0][:5] == (config, pipeline.instruments, models, out, "test")
