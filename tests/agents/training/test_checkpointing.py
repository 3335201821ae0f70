# SPDX-License-Identifier: Apache-2.0
"""`ModelCheckpointingSystem` as spec 003 calls it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mtquant.agents.training.checkpointing import ModelCheckpointingSystem
from mtquant.core.errors import CheckpointError
from mtquant.learning.checkpoints import STATE_NAME, CheckpointStore


def network(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))


def same(network: torch.nn.Module, weights: dict[str, torch.Tensor]) -> bool:
    own = network.state_dict()
    return own.keys() == weights.keys() and all(torch.equal(own[k], weights[k]) for k in own)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    system, meta = ModelCheckpointingSystem(tmp_path), network(1)
    weights = {"mean": torch.arange(3.0)}
    path = system.save_checkpoint({"meta": meta, "EURUSD": weights}, {"portfolio_sharpe": 0.4}, 16)
    found = system.load_checkpoint(str(path))
    assert (found.path, found.step, found.metrics) == (path, 16, {"validation/sharpe": 0.4})
    assert same(meta, found.models["meta"])
    assert torch.equal(found.models["EURUSD"]["mean"], weights["mean"])
    network(2).load_state_dict(found.models["meta"])


def test_the_best_model_is_the_best_on_validation(tmp_path: Path) -> None:
    system = ModelCheckpointingSystem(tmp_path, {"portfolio_sharpe": True, "drawdown": False}, 1)
    for step, (sharpe, drawdown) in enumerate([(0.1, 0.3), (0.9, 0.2), (0.5, 0.1), (0.4, 0.4)]):
        metrics = {"validation/sharpe": sharpe, "drawdown": drawdown, "turnover": 0.0}
        system.save_checkpoint({"meta": network(step)}, metrics, step)
    assert system.get_best_model().step == 1
    assert system.get_best_model("validation/sharpe").step == 1
    assert system.get_best_model(metric="drawdown").step == 2
    assert same(network(1), system.get_best_model().models["meta"])
    assert sorted(path.name[-1] for path in tmp_path.iterdir()) == ["1", "2", "3"]


def test_a_damaged_best_is_named_and_the_next_one_given(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    system = ModelCheckpointingSystem(tmp_path)
    paths = [
        system.save_checkpoint({"meta": network(step)}, {"portfolio_sharpe": sharpe}, step)
        for step, sharpe in enumerate((0.5, 0.9, 0.1, 0.2))
    ]
    (paths[1] / STATE_NAME).write_bytes(b"torn")
    assert system.get_best_model().step == 0
    assert f"{paths[1]} is damaged and passed over" in caplog.text


def test_refusals(tmp_path: Path) -> None:
    system = ModelCheckpointingSystem(tmp_path)
    with pytest.raises(CheckpointError, match="must hold a checkpoint; found 'none'"):
        system.get_best_model()
    with pytest.raises(CheckpointError, match="metrics must hold validation/sharpe"):
        system.save_checkpoint({"meta": network(0)}, {"sharpe": 1.0}, 0)
    with pytest.raises(CheckpointError, match="must have names without /"):
        system.save_checkpoint({"a/b": network(0)}, {"portfolio_sharpe": 1.0}, 0)
    with pytest.raises(CheckpointError, match="whose best checkpoints are kept"):
        system.get_best_model("win_rate")
    with pytest.raises(CheckpointError, match="must be a whole checkpoint"):
        system.load_checkpoint(tmp_path / "step_000000000007")
    other = CheckpointStore(tmp_path / "run").save(1, {}, {"identity": "a training run"})
    with pytest.raises(CheckpointError, match="must be one of models"):
        system.load_checkpoint(other)
