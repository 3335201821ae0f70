# SPDX-License-Identifier: Apache-2.0
"""Phase 1 with a specialist of two instruments beside one of one: kept, exported, traded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO, SAC

from mtquant.agents.ensemble import SpecialistEnsemble
from mtquant.agents.specialist import (
    MANIFEST_NAME,
    ZIP_NAME,
    kept_domains,
    load_specialist,
)
from mtquant.agents.training.phase1_trainer import Phase1Trainer
from mtquant.agents.training.world import SpecialistWorld
from mtquant.backtest.runner import run_backtest
from mtquant.core import outcome as oc
from mtquant.core.config import Config
from mtquant.core.errors import CheckpointError, ConfigError
from mtquant.core.seeding import SeedTree
from mtquant.market.rules import Rules
from mtquant.workflows.backtesting import Market, trade
from mtquant.workflows.models import load_trained
from tests.support.markets import (
    DOMAIN_SYMBOLS,
    DOMAINS,
    INSTRUMENTS,
    SHARED_OUT,
    SYMBOLS,
    TINY_STEPS,
    drop_bars,
    tiny_config,
    tiny_trainer,
    write_market,
)

ZIPS = {"ppo": PPO, "recurrent_ppo": RecurrentPPO, "sac": SAC}


@dataclass(frozen=True)
class Run:
    trainer: Phase1Trainer
    results: dict[str, Any]

    @property
    def config(self) -> Config:
        return self.trainer.config

    @property
    def models(self) -> Path:
        return self.trainer.output_dir


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_market(tmp_path_factory.mktemp("bars"), DOMAIN_SYMBOLS)
    drop_bars(folder, SYMBOLS[0], 0.1)
    return folder


def train(market: Path, folder: Path, *overrides: str, timesteps: int = TINY_STEPS) -> Run:
    config = tiny_config(market, SHARED_OUT, *overrides, symbols=DOMAIN_SYMBOLS)
    trainer = tiny_trainer(config, folder, timesteps)
    return Run(trainer, trainer.train())


@pytest.fixture(scope="module")
def run(market: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(market, tmp_path_factory.mktemp("run"))


def walk(world: SpecialistWorld, bars: int = 25) -> NDArray[np.float32]:
    """Observations of an account that trades at random, float32 [bars, size]."""
    env = world.evaluation_env(1, SeedTree(0))
    random, count = SeedTree(1).generator(), len(world.bars)
    seen = [env.reset()[0].copy()]
    for _ in range(bars - 1):
        env.step(random.uniform(-1.0, 1.0, (1, count)).astype(np.float32))
        seen.append(env.observations[0].copy())
    return np.array(seen)


def answers(folder: Path, views: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    specialist = load_specialist(folder)
    state, found = specialist.initial_state(), []
    for values in views:
        action, state = specialist.decide(values, state)
        found.append(action)
    return np.array(found)


def test_each_specialist_knows_its_instruments(run: Run) -> None:
    assert list(run.trainer.worlds) == list(run.results) == list(DOMAINS)
    assert kept_domains(run.models) == DOMAINS
    for name, symbols in DOMAINS.items():
        manifest = load_specialist(run.models / name).manifest
        assert (manifest.name, manifest.symbols) == (name, symbols)
        assert tuple(manifest.bars_sha256) == symbols
        rules = Rules.from_config(run.config.environment, INSTRUMENTS, symbols)
        assert manifest.rules_hash == rules.hash()
        layout = run.trainer.worlds[name].evaluation_env(1, SeedTree(0)).layout
        assert manifest.entries == layout.names()
        # What many instruments share is told apart by their names; a single one has no need.
        shown = "EURUSD.log_return_1" if len(symbols) > 1 else "log_return_1"
        assert manifest.observation_names[0] == shown


def test_a_world_of_several_instruments_lives_on_all_of_their_bars(run: Run) -> None:
    world = run.trainer.worlds["forex"]
    missing = len(world.bars["GBPUSD"]) - len(world.bars["EURUSD"])
    assert missing > 20 and len(world.tape.stamps) == len(world.bars["GBPUSD"])
    first, second = world.scalers
    # Fitted on each one's own features: volatilities of different walks differ.
    assert first.scale[2] != second.scale[2]
    assert {name: len(own.scalers) for name, own in run.trainer.worlds.items()} == {
        "forex": 2,
        "metals": 1,
    }


@pytest.mark.parametrize("name", DOMAINS)
def test_the_zip_acts_as_the_specialist(run: Run, name: str) -> None:
    """Raw observations in, an action per instrument out, although it was padded in training."""
    views = walk(run.trainer.worlds[name])
    model = PPO.load(run.models / name / ZIP_NAME, device="cpu")
    expected = model.predict(views, deterministic=True)[0]
    found = answers(run.models / name, list(views))
    assert found.shape == expected.shape == (25, len(DOMAINS[name]))
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-6)
    assert len(np.unique(found.round(6))) > 20


def test_the_kept_specialist_trades_as_it_was_validated(run: Run) -> None:
    for name, result in run.results.items():
        world, policy = run.trainer.worlds[name], load_specialist(run.models / name)
        rows = world.rows["validation"]
        ledger = run_backtest(policy, world.tape, world.rules, world.features, rows, world.reward)
        turnover = ledger.outcomes[:, oc.TURNOVER].mean()
        assert turnover == pytest.approx(result["validation/turnover"], rel=1e-4)
        assert turnover > 0.0


def test_specialists_by_name(run: Run) -> None:
    found = run.trainer.evaluate_specialist("forex", 4)
    assert found["episodes"] == 4 and found["turnover"] > 0.0
    env = run.trainer.create_specialist_environment("forex")
    assert env.action_space.shape == (2,)
    with pytest.raises(ConfigError, match=r"configured specialist; .*Known: forex, metals"):
        run.trainer.train_specialist("EURUSD")


def test_the_folder_trades_all_instruments(run: Run) -> None:
    trained = load_trained(run.models, run.config, INSTRUMENTS)
    assert isinstance(trained.policy, SpecialistEnsemble)
    assert trained.policy.symbols == DOMAIN_SYMBOLS
    assert set(trained.weights) == set(DOMAINS)
    assert set(trained.known_until_ns) == set(DOMAIN_SYMBOLS)
    ledger = trade(trained, Market.build(run.config, INSTRUMENTS, "test"))
    assert ledger.symbols == DOMAIN_SYMBOLS
    assert (np.abs(ledger.targets) > 0.0).any(axis=0).all()


def test_the_folder_is_refused_where_others_are_configured(run: Run, market: Path) -> None:
    """One per instrument, and the same names with other instruments."""
    for specialists in ("{}", "{forex: [EURUSD], metals: [XAUUSD, GBPUSD]}"):
        override = f"training.specialists={specialists}"
        config = tiny_config(market, override, symbols=DOMAIN_SYMBOLS)
        with pytest.raises(CheckpointError, match=r"specialists of .*found \{'forex': \['EURUSD'"):
            load_trained(run.models, config, INSTRUMENTS)


def test_a_manifest_of_one_instrument_from_before_is_understood(run: Run, tmp_path: Path) -> None:
    """It said ``symbol``, and had one digest of bars."""
    own = tmp_path / "XAUUSD"
    own.mkdir()
    for file in (run.models / "metals").iterdir():
        (own / file.name).write_bytes(file.read_bytes())
    stored = json.loads((own / MANIFEST_NAME).read_text())
    (digest,) = stored.pop("bars_sha256").values()
    del stored["name"], stored["symbols"]
    (own / MANIFEST_NAME).write_text(
        json.dumps({"symbol": "XAUUSD", "bars_sha256": digest, **stored})
    )
    manifest = load_specialist(own).manifest
    assert (manifest.name, manifest.symbols) == ("XAUUSD", ("XAUUSD",))
    assert manifest.bars_sha256 == {"XAUUSD": digest}
    assert manifest.entries[0] == "XAUUSD.log_return_1"
    assert manifest.entries[-1] == manifest.observation_names[-1]


@pytest.mark.parametrize("algorithm", ZIPS)
def test_the_library_engine_trains_them_too(algorithm: str, market: Path, tmp_path: Path) -> None:
    engine = ("training.engine=sb3", f"training.algorithm={algorithm}")
    run = train(market, tmp_path, *engine, timesteps=256)
    views = walk(run.trainer.worlds["forex"])
    model = ZIPS[algorithm].load(run.models / "forex" / ZIP_NAME, device="cpu")
    found, theirs = answers(run.models / "forex", list(views)), None
    for t, values in enumerate(views):
        expected, theirs = model.predict(values, theirs, np.array([t == 0]), deterministic=True)
        np.testing.assert_allclose(found[t], expected, rtol=0.0, atol=1e-6)
    assert found.shape == (25, 2)
