# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from mtquant.cli.training import Places, results_table, run_phase
from mtquant.core.config import Config
from mtquant.workflows import training
from mtquant.workflows.training import PhaseResult


def test_a_note_is_shown_behind_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = {"best_step": 0, "note": "kept the weights of phase 2"}
    metrics |= {f"validation/{name}": 0.5 for name in ("sharpe", "drawdown", "turnover")}
    result = PhaseResult(3, {"hierarchy": metrics}, "a", "b", tmp_path)
    monkeypatch.setattr(training, "train_phase", lambda *_, **__: result)
    console = Console(record=True, width=200)
    run_phase(3, Places(tmp_path, tmp_path), Config(), {}, None, None, console)
    assert "note          hierarchy: kept the weights of phase 2" in console.export_text()


NOTHING = "a ratio of next to nothing says nothing"


def test_the_table_says_who_earned_nothing(tmp_path: Path) -> None:
    figures = {"best_step": 1, "validation/drawdown": 0.1, "validation/turnover": 0.0}
    lost, gained = ({**figures, "validation/sharpe": ratio} for ratio in (-0.5, 0.5))
    for results, told in (
        ({"A": lost, "B": gained}, "; 1 of 2 earned nothing even here"),
        ({"A": lost}, "; it earned nothing even here"),
        ({"A": gained}, "the test period decides (backtest)"),
        ({"A": {**gained, "validation/drawdown": 2e-4}}, "; it hardly trades: " + NOTHING),
        (
            {"A": lost, "B": {**gained, "validation/drawdown": 0.0}},
            "; 1 of 2 earned nothing even here; 1 of 2 hardly trades: " + NOTHING,
        ),
    ):
        caption = str(results_table(PhaseResult(1, results, "a", "b", tmp_path)).caption)
        assert caption.startswith("chosen on these rows, so no evidence")
        assert caption.endswith(told)
