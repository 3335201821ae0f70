# SPDX-License-Identifier: Apache-2.0
"""Phase 1: what a run leaves behind, that it repeats itself, and what it refuses beforehand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from stable_baselines3 import PPO
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mtquant.agents.specialist import MANIFEST_NAME, WEIGHTS_NAME, ZIP_NAME, load_specialist
from mtquant.agents.training.phase import resolve_device
from mtquant.agents.training.phase1_trainer import Phase1Trainer
from mtquant.agents.training.replay import FILE_NAME as REPLAY_NAME
from mtquant.agents.training.session import FOLDER
from mtquant.backtest.runner import run_backtest
from mtquant.core.config import config_hash, load_config
from mtquant.core.errors import CheckpointError, ConfigError, DataError, RunError
from mtquant.core.telemetry import METRICS
from mtquant.envs.sb3 import MarketVecEnv
from mtquant.features.pipeline import FeaturePipeline
from mtquant.market.rules import Rules
from tests.support.markets import (
    FEATURES,
    INSTRUMENTS,
    SYMBOLS,
    TINY_STEPS,
    tiny_config,
    tiny_trainer,
    write_market,
)

ROLLOUT = 256  # 4 accounts x 64 bars
# Curves that phase 1 does not draw.
OTHERS = ("meta/", "coordination/", "curriculum/", "train/difference_reward", "train/cost_share")


@dataclass(frozen=True)
class Run:
    """One finished tiny run."""

    trainer: Phase1Trainer
    folder: Path
    results: dict[str, Any]
    heard: list[tuple[str, int]]

    def specialist_folder(self, symbol: str = "EURUSD") -> Path:
        return self.folder / "models" / symbol

    def ledger_hash(self, symbol: str = "EURUSD") -> str:
        world = self.trainer.worlds[symbol]
        specialist = load_specialist(self.specialist_folder(symbol))
        rows = world.rows["validation"]
        ledger = run_backtest(
            specialist, world.tape, world.rules, world.features, rows, world.reward
        )
        return ledger.hash()


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_market(tmp_path_factory.mktemp("bars"))


@pytest.fixture(scope="module")
def run(market: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    trainer = tiny_trainer(tiny_config(market), folder)
    heard: list[tuple[str, int]] = []
    trainer.progress = lambda name, step, metrics: heard.append((name, step))
    return Run(trainer, folder, trainer.train(), heard)


def again(market: Path, folder: Path, *overrides: str) -> Run:
    """The same run once more, in another folder."""
    trainer = tiny_trainer(tiny_config(market, *overrides), folder)
    return Run(trainer, folder, trainer.train(), [])


def test_every_specialist_has_its_folder(run: Run) -> None:
    assert sorted(path.name for path in (run.folder / "models").iterdir()) == [
        *SYMBOLS,
        FOLDER,
        REPLAY_NAME,
    ]
    for symbol in SYMBOLS:
        files = sorted(path.name for path in run.specialist_folder(symbol).iterdir())
        assert files == sorted([MANIFEST_NAME, WEIGHTS_NAME, ZIP_NAME])
    assert list(run.trainer.bars) == list(run.results) == list(SYMBOLS)


def test_the_manifest_says_what_it_was_trained_on(run: Run) -> None:
    config = run.trainer.config
    for symbol in SYMBOLS:
        manifest = load_specialist(run.specialist_folder(symbol)).manifest
        world = run.trainer.worlds[symbol]
        assert (manifest.name, manifest.symbols) == (symbol, (symbol,))
        assert manifest.feature_names == (*FEATURES, "age_bars")
        assert manifest.window_bars == 1
        # 3 features and their age, 5 of the position, 5 of the account, 3 of the reward.
        assert len(manifest.observation_names) == 17
        assert manifest.observation_names[:5] == (*FEATURES, "age_bars", "exposure")
        assert manifest.unit == config.environment.max_position_size
        assert manifest.reward_scale == world.reward.scale
        expected = Rules.from_config(config.environment, INSTRUMENTS, [symbol])
        assert manifest.rules_hash == expected.hash()
        assert manifest.features_hash == FeaturePipeline(FEATURES).hash()
        assert manifest.config_hash == config_hash(config)
        assert manifest.seed == config.training.seed
        assert manifest.timesteps == run.results[symbol]["best_step"]
        assert manifest.weights_sha256 == run.results[symbol]["weights_sha256"]


def test_results_are_those_of_the_best_checkpoint(run: Run) -> None:
    for symbol, result in run.results.items():
        events = curves(run, symbol)
        points = {e.step: e.value for e in events.Scalars("validation/sharpe")}
        # Validated after every second of four updates.
        assert list(points) == [2 * ROLLOUT, 4 * ROLLOUT]
        assert result["timesteps"] == TINY_STEPS
        assert result["best_step"] == max(points, key=lambda step: points[step])
        # float32 in the event file
        assert result["validation/sharpe"] == pytest.approx(max(points.values()), rel=1e-6)


def curves(run: Run, symbol: str) -> EventAccumulator:
    events = EventAccumulator(str(run.folder / "logs" / symbol))
    events.Reload()
    return events


def test_every_curve_is_in_the_metric_dictionary(run: Run) -> None:
    for symbol in SYMBOLS:
        events = curves(run, symbol)
        # docs/metrics.md explains the names of METRICS (tests/core/test_telemetry.py).
        found = set(events.Tags()["scalars"])
        assert found <= set(METRICS)
        # Terms that paid nothing and limits that never bound are not written.
        assert {tag for tag in found if not tag.startswith(("reward/", "limits/"))} == {
            tag for tag in METRICS if not tag.startswith((*OTHERS, "reward/", "limits/"))
        }
        for tag in found:
            points = events.Scalars(tag)
            steps = [point.step for point in points]
            assert steps == sorted(set(steps)), f"{tag} has two values at one step"
            assert set(steps) <= {ROLLOUT * k for k in range(1, 5)}
            assert all(np.isfinite(point.value) for point in points), tag


def test_rewards_by_term_are_the_reward(run: Run) -> None:
    events = curves(run, SYMBOLS[0])
    paid = [tag for tag in events.Tags()["scalars"] if tag.startswith("reward/")]
    assert paid
    totals, lengths = (events.Scalars(f"rollout/{name}") for name in ("ep_rew_mean", "ep_len_mean"))
    for k, (total, length) in enumerate(zip(totals, lengths, strict=True)):
        by_term = sum(events.Scalars(tag)[k].value for tag in paid)
        assert by_term == pytest.approx(total.value / length.value, rel=1e-3, abs=1e-6)


def test_progress_counts_the_bars_lived_through(run: Run) -> None:
    steps = [ROLLOUT * k for k in range(1, 5)]
    for symbol in SYMBOLS:
        heard = [step for name, step in run.heard if name == symbol]
        assert heard == steps
    assert [name for name, _ in run.heard[:4]] == [*SYMBOLS, *SYMBOLS]  # all at once


def test_the_zip_is_the_same_policy(run: Run) -> None:
    specialist = load_specialist(run.specialist_folder())
    model = PPO.load(run.specialist_folder() / ZIP_NAME, device="cpu")
    env = run.trainer.worlds["EURUSD"].evaluation_env(8, run.trainer.seeds)
    observations = env.reset().copy()
    for _ in range(20):
        expected, _ = model.predict(observations, deterministic=True)
        found = np.array([specialist.action(row) for row in observations])
        np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-6)
        env.step(expected)
        observations = env.observations.copy()


def test_the_zip_holds_the_weights_and_learns_on(run: Run) -> None:
    model = PPO.load(run.specialist_folder() / ZIP_NAME, device="cpu")
    stored = load_file(run.specialist_folder() / WEIGHTS_NAME)
    for name, tensor in stored.items():
        assert model.policy.state_dict()[name].equal(tensor), name
    # The extractor appears once, not three times.
    assert not any("pi_features" in name or "vf_features" in name for name in stored)
    world = run.trainer.worlds["EURUSD"]
    env = MarketVecEnv(world.training_env(4, run.trainer.seeds))
    model = PPO.load(run.specialist_folder() / ZIP_NAME, env, device="cpu", n_steps=64)
    model.learn(ROLLOUT, reset_num_timesteps=False)
    moved = [name for name in stored if not model.policy.state_dict()[name].equal(stored[name])]
    assert "action_net.weight" in moved
    assert not any(name.startswith("features_extractor") for name in moved)


def test_evaluation_lives_different_episodes(run: Run) -> None:
    trainer = run.trainer
    figures = trainer.evaluate_specialist("EURUSD", n_episodes=25)
    assert figures["episodes"] == 25
    assert figures["growth_standard_error"] > 0.0  # they differ
    assert 0.0 <= figures["win_rate"] <= 1.0
    assert figures["turnover"] >= 0.0
    assert figures["cost"] >= 0.0
    assert 0.0 <= figures["drawdown"] < 1.0
    assert all(np.isfinite(value) for value in figures.values())
    assert trainer.evaluate_specialist("EURUSD", n_episodes=25) == figures
    one = trainer.evaluate_specialist("EURUSD", n_episodes=1)
    assert one["episodes"] == 1
    assert np.isnan(one["growth_standard_error"])


def test_the_same_seed_is_the_same_run(run: Run, market: Path, tmp_path: Path) -> None:
    repeated = again(market, tmp_path)
    files = [each.specialist_folder() / WEIGHTS_NAME for each in (run, repeated)]
    assert files[0].read_bytes() == files[1].read_bytes()
    manifests = [json.loads((file.parent / MANIFEST_NAME).read_text()) for file in files]
    assert manifests[0] == manifests[1]
    assert repeated.results["EURUSD"] == run.results["EURUSD"]
    assert repeated.ledger_hash() == run.ledger_hash()


def test_another_seed_is_another_run(run: Run, market: Path, tmp_path: Path) -> None:
    other = again(market, tmp_path, "training.seed=8")
    assert other.results["EURUSD"]["weights_sha256"] != run.results["EURUSD"]["weights_sha256"]
    assert other.ledger_hash() != run.ledger_hash()


def test_an_unknown_specialist_is_refused(run: Run) -> None:
    for method in (run.trainer.train_specialist, run.trainer.evaluate_specialist):
        with pytest.raises(ConfigError, match=r"specialist_name.*'EURJPY'.*EURUSD, GBPUSD"):
            method("EURJPY")


def test_evaluating_before_training_is_refused(market: Path, tmp_path: Path) -> None:
    trainer = tiny_trainer(tiny_config(market), tmp_path)
    with pytest.raises(CheckpointError, match="Train phase 1 first"):
        trainer.evaluate_specialist("EURUSD")


def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_cuda_without_a_gpu_is_refused_before_any_work(
    market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_gpu(monkeypatch)
    models, logs = tmp_path / "models", tmp_path / "logs"
    with pytest.raises(ConfigError, match=r"device must be available.*Use --device auto"):
        Phase1Trainer(tiny_config(market), models, logs, INSTRUMENTS, device="cuda")
    assert list(tmp_path.iterdir()) == []


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    without_gpu(monkeypatch)
    assert resolve_device("auto") == resolve_device("cpu") == "cpu"
    with pytest.raises(ConfigError, match=r"device must be one of auto, cpu, cuda; found 'gpu'"):
        resolve_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("cuda") == "cuda"
    assert resolve_device("auto") == "cpu"  # small networks are slower on a GPU


@pytest.mark.parametrize("name", ["models", "logs"])
def test_a_folder_that_cannot_be_written_is_refused_before_any_work(
    market: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("a file in the folder's place")
    with pytest.raises(RunError, match=f"{name} must be a writable folder"):
        tiny_trainer(tiny_config(market), tmp_path)


def test_missing_bars_are_named_before_training(market: Path, tmp_path: Path) -> None:
    config = tiny_config(market, symbols=(*SYMBOLS, "XAUUSD"))
    with pytest.raises(DataError, match=r"XAUUSD\.parquet: content must be a readable parquet"):
        tiny_trainer(config, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_too_few_bars_are_refused_before_training(tmp_path: Path) -> None:
    # Of 90 bars 60 % are for training; behind a warm-up of 60 nothing of them is left.
    folder = write_market(tmp_path / "bars", bars=90)
    with pytest.raises(
        DataError, match=r"train rows of EURUSD must go on behind the first 60 bars"
    ):
        tiny_trainer(tiny_config(folder), tmp_path)


def test_parts_do_not_touch_each_other(run: Run) -> None:
    """Training ends `purge_bars` before the cut, validation begins `embargo_bars` behind it."""
    rows = run.trainer.worlds["EURUSD"].rows
    # 600 bars, cuts at 60 % and 80 % of the time between the first and the last (599 steps);
    # purge and embargo of 5 bars (the defaults); volatility_60 warms up for 60.
    assert rows["train"] == slice(60, 355)
    assert rows["validation"] == slice(365, 475)
    assert rows["test"] == slice(485, 600)


def test_the_scaler_is_fitted_on_training_rows(run: Run) -> None:
    world = run.trainer.worlds["EURUSD"]
    rows = world.features[world.rows["train"], 0].astype(np.float64)
    weights = load_specialist(run.specialist_folder()).weights
    width = rows.shape[1]
    mean = weights["features_extractor.mean"].numpy()
    scale = weights["features_extractor.scale"].numpy()
    np.testing.assert_allclose(mean[:width], rows.mean(axis=0), rtol=1e-6, atol=1e-12)
    deviation = rows.std(axis=0)
    # The age of a bar never changes on an instrument's own bars: scale 1.
    np.testing.assert_allclose(scale[:width], np.where(deviation, deviation, 1.0), rtol=1e-6)


def test_settings_come_from_the_preset(market: Path, tmp_path: Path) -> None:
    config = tiny_config(market)
    trainer = Phase1Trainer(config, tmp_path / "m", tmp_path / "l", INSTRUMENTS)
    assert trainer.timesteps == load_config(None).training.phase_1_timesteps
    assert trainer.settings.preset == "spec"
    assert trainer.device == "cpu"
