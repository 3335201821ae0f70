# SPDX-License-Identifier: Apache-2.0
"""Compiling ahead: when it is done, when not, and that what it does is what a run does."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np
import pytest

from mtquant.agents.baselines import Cash
from mtquant.backtest import runner
from mtquant.backtest.vectorbt_audit import audit
from mtquant.core.config import load_config
from mtquant.core.seeding import SeedTree
from mtquant.data.instruments import load_instruments
from mtquant.envs import luck, market_env
from mtquant.market.rules import Rules
from mtquant.workflows import ahead
from tests.support.markets import walk_world

CONFIG, INSTRUMENTS = load_config(None), load_instruments(None)


class Other:
    """A process that ends at once."""

    def __init__(self, exitcode: int, calls: list[str]) -> None:
        self.exitcode, self.calls = exitcode, calls

    def Process(self, **given: Any) -> Other:
        return self

    def start(self) -> None:
        self.calls.append("start")

    def join(self) -> None:
        self.calls.append("join")

    def terminate(self) -> None:
        self.calls.append("terminate")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What happened, in order; the other process succeeds."""
    happened: list[str] = []
    monkeypatch.setattr(ahead, "marker", lambda: tmp_path / "done")
    monkeypatch.setattr(ahead, "compile_step", lambda *given: happened.append("step"))
    other = Other(0, happened)
    monkeypatch.setattr(ahead.multiprocessing, "get_context", lambda kind: other)
    return happened


def test_it_compiles_once(calls):
    with ahead.compiled_ahead(CONFIG, INSTRUMENTS):
        calls.append("block")
    assert calls == ["start", "step", "block", "join", "terminate", "join"]
    calls.clear()
    with ahead.compiled_ahead(CONFIG, INSTRUMENTS):
        calls.append("block")
    assert calls == ["block"]


def test_an_interrupted_block_ends_the_other_process_and_counts_for_nothing(calls, tmp_path):
    with pytest.raises(KeyboardInterrupt), ahead.compiled_ahead(CONFIG, INSTRUMENTS):
        raise KeyboardInterrupt
    assert calls == ["start", "step", "terminate", "join"]
    assert not (tmp_path / "done").exists()


def test_a_process_that_failed_is_no_success(calls, monkeypatch, tmp_path):
    monkeypatch.setattr(ahead.multiprocessing, "get_context", lambda kind: Other(1, calls))
    with ahead.compiled_ahead(CONFIG, INSTRUMENTS):
        pass
    assert not (tmp_path / "done").exists()


def test_where_nothing_can_be_kept_nothing_is_compiled(calls, monkeypatch):
    monkeypatch.setattr(ahead, "marker", lambda: None)
    with ahead.compiled_ahead(CONFIG, INSTRUMENTS):
        pass
    assert calls == []


def test_the_made_up_account_holds_in_vectorbt():
    rules = Rules.from_config(CONFIG.environment, INSTRUMENTS, ("SPX500", "NAS100"))
    ledger = ahead.made_up_ledger(rules)
    found = audit(ledger, rules)
    assert found.fills == len(ledger.fills) == 2 * ahead.BARS // ahead.TURN
    assert np.isfinite(ledger.outcomes).all()


def test_kernels_are_compiled_for_what_a_run_hands_them(monkeypatch):
    """Numba compiles anew for every combination of argument types."""
    handed: list[tuple[str, tuple[Any, ...]]] = []

    def watched(module: ModuleType, name: str) -> None:
        kernel = getattr(module, name)

        def call(*given: Any) -> Any:
            handed.append((name, tuple(map(numba.typeof, given))))
            return kernel(*given)

        monkeypatch.setattr(module, name, call)

    watched(market_env, "step_accounts")
    watched(luck, "_plan_all")
    watched(runner, "see_block")
    watched(runner, "write_observation")
    ahead.compile_step(CONFIG, INSTRUMENTS)
    ahead.compile_luck(CONFIG, INSTRUMENTS)  # which pays for luck
    assert "_plan_all" not in dict(handed)
    ahead.compile_luck(load_config(None, ("training.preset=recommended",)), INSTRUMENTS)
    ahead.compile_desk(CONFIG, INSTRUMENTS)
    compiled = set(handed)
    kernels = {"step_accounts", "_plan_all", "see_block", "write_observation"}
    assert {name for name, _ in compiled} == kernels
    handed.clear()
    world = walk_world()
    env = world.training_env(3, SeedTree(0))
    env.reset()
    luck.Luck(env).planned(np.zeros((3, 1), dtype=np.float32))
    env.step(np.zeros((3, 1), dtype=np.float32))
    rows = world.rows["test"]
    few = slice(rows.start, rows.start + 3)
    runner.run_backtest(
        Cash(), world.tape, world.rules, world.features[:, :, :1], few, world.reward
    )
    assert set(handed) == compiled
