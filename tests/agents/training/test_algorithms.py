# SPDX-License-Identifier: Apache-2.0
"""The algorithms of the library engine: each trains, comes back from disk as it was, and trades."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO, SAC
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mtquant.agents.actors import ACTOR_CRITIC
from mtquant.agents.ensemble import SpecialistEnsemble
from mtquant.agents.specialist import MANIFEST_NAME, WEIGHTS_NAME, ZIP_NAME, load_specialist
from mtquant.agents.training.algorithms import ALGORITHMS, Setup
from mtquant.agents.training.phase1_trainer import Phase1Trainer
from mtquant.agents.training.phase2_trainer import Phase2Trainer
from mtquant.backtest.runner import run_backtest
from mtquant.core.errors import CheckpointError, ConfigError, PolicyError
from mtquant.core.seeding import SeedTree
from mtquant.core.telemetry import METRICS
from mtquant.core.training_config import PPOSettings, TrainingConfig
from mtquant.data.sources import load_bars
from tests.support.markets import (
    INSTRUMENTS,
    TINY_STEPS,
    Portfolio,
    tiny_config,
    tiny_trainer,
    write_market,
)

# Whose zip a specialist's is: the actor-critic ones are PPO's.
ZIPS = {"trpo": PPO, "a2c": PPO, "recurrent_ppo": RecurrentPPO, "sac": SAC}
WITH_NETWORKS_OF_THEIR_OWN = ("recurrent_ppo", "sac")
SYMBOL = "EURUSD"


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_market(tmp_path_factory.mktemp("bars"))


def train(algorithm: str, market: Path, folder: Path) -> Phase1Trainer:
    overrides = ("training.engine=sb3", f"training.algorithm={algorithm}")
    config = tiny_config(market, *overrides, symbols=(SYMBOL,))
    trainer = tiny_trainer(config, folder)
    trainer.train()
    return trainer


@pytest.fixture(scope="module", params=ZIPS)
def trained(
    request: pytest.FixtureRequest, market: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Phase1Trainer]:
    return request.param, train(request.param, market, tmp_path_factory.mktemp("run"))


def specialist_folder(trainer: Phase1Trainer) -> Path:
    return trainer.output_dir / SYMBOL


def walk(trainer: Phase1Trainer, bars: int = 25) -> NDArray[np.float32]:
    """Observations of an account that trades at random, float32 [bars, size]."""
    env = trainer.worlds[SYMBOL].evaluation_env(1, SeedTree(0))
    random = SeedTree(1).generator()
    seen = [env.reset()[0].copy()]
    for _ in range(bars - 1):
        env.step(random.uniform(-1.0, 1.0, (1, 1)).astype(np.float32))
        seen.append(env.observations[0].copy())
    return np.array(seen)


def test_it_comes_back_from_disk_as_the_zip_has_it(trained: tuple[str, Phase1Trainer]) -> None:
    algorithm, trainer = trained
    specialist = load_specialist(specialist_folder(trainer))
    model = ZIPS[algorithm].load(specialist_folder(trainer) / ZIP_NAME, device="cpu")
    ours, theirs = specialist.initial_state(), None
    answers = []
    for t, values in enumerate(walk(trainer)):
        action, ours = specialist.decide(values, ours)
        expected, theirs = model.predict(values, theirs, np.array([t == 0]), deterministic=True)
        np.testing.assert_allclose(action, expected, rtol=0.0, atol=1e-6)
        answers.append(action[0])
    assert len(set(answers)) > 1


def test_the_manifest_names_its_network(trained: tuple[str, Phase1Trainer]) -> None:
    algorithm, trainer = trained
    manifest = load_specialist(specialist_folder(trainer)).manifest
    if algorithm in WITH_NETWORKS_OF_THEIR_OWN:
        assert manifest.policy == algorithm
        assert manifest.policy_arguments == {"hidden_units": [8, 8]}
    else:
        assert manifest.policy == ACTOR_CRITIC
        assert manifest.policy_arguments == {}


def test_it_trades_like_any_other(trained: tuple[str, Phase1Trainer]) -> None:
    _, trainer = trained
    world, specialist = trainer.worlds[SYMBOL], load_specialist(specialist_folder(trainer))
    rows = world.rows["validation"]
    given = (world.tape, world.rules, world.features, rows, world.reward)
    ledger = run_backtest(specialist, *given)
    assert len(ledger) == rows.stop - rows.start - 1
    assert run_backtest(specialist, *given).hash() == ledger.hash()  # no memory is left behind
    found = trainer.evaluate_specialist(SYMBOL, n_episodes=4)
    assert found["episodes"] == 4 and np.isfinite(found["growth"])


def test_it_trades_in_an_ensemble(trained: tuple[str, Phase1Trainer]) -> None:
    _, trainer = trained
    specialist = load_specialist(specialist_folder(trainer))
    ensemble = SpecialistEnsemble({SYMBOL: specialist}, 0.1, 1.0)
    bars = load_bars(trainer.config.data, INSTRUMENTS)
    portfolio = Portfolio.build([bars[SYMBOL]])
    ledger = portfolio.run(ensemble, slice(60, 90))
    assert len(ledger) == 29
    assert portfolio.run(ensemble, slice(60, 90)).hash() == ledger.hash()


def test_its_curves_are_in_the_dictionary(trained: tuple[str, Phase1Trainer]) -> None:
    _, trainer = trained
    events = EventAccumulator(str(trainer.log_dir / SYMBOL))
    events.Reload()
    tags = events.Tags()["scalars"]
    assert set(tags) <= set(METRICS)
    assert {"train/policy_gradient_loss", "train/value_loss"} & set(tags)
    # Two rollouts of 256 bars between validations, as with every engine; the last one at the end.
    steps = [point.step for point in events.Scalars("validation/sharpe")]
    assert steps == [512, TINY_STEPS]
    for tag in tags:
        points = [point.step for point in events.Scalars(tag)]
        assert points == sorted(set(points)), f"{tag} has two values at one step"


def test_the_same_seed_is_the_same_run(
    trained: tuple[str, Phase1Trainer], market: Path, tmp_path: Path
) -> None:
    algorithm, trainer = trained
    repeated = train(algorithm, market, tmp_path)
    files = [specialist_folder(each) / WEIGHTS_NAME for each in (trainer, repeated)]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.fixture(scope="module")
def recurrent(market: Path, tmp_path_factory: pytest.TempPathFactory) -> Phase1Trainer:
    return train("recurrent_ppo", market, tmp_path_factory.mktemp("recurrent"))


def test_a_recurrent_one_remembers(recurrent: Phase1Trainer) -> None:
    specialist = load_specialist(specialist_folder(recurrent))
    first, second = walk(recurrent, 2)
    start = specialist.initial_state()
    _, state = specialist.decide(first, start)
    assert all(not half.any() for half in start)  # the state handed in is not written
    assert specialist.decide(second, state)[0] != specialist.decide(second, start)[0]
    with pytest.raises(PolicyError, match=r"what the policy remembers.*Call decide"):
        specialist.action(first)


def test_phase_2_needs_messages(recurrent: Phase1Trainer, tmp_path: Path) -> None:
    config, models = recurrent.config, recurrent.output_dir
    with pytest.raises(
        CheckpointError, match=r"policy of .* must be an actor-critic.*--engine stacked"
    ):
        Phase2Trainer(config, tmp_path / "m", tmp_path / "l", INSTRUMENTS, specialists_dir=models)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"policy": "os.system"}, "is none of recurrent_ppo, sac"),
        ({"policy": "sac"}, "must be the weights of a sac policy"),
        ({"policy": "actor_critic"}, "must be the weights of a actor_critic policy"),
        ({"policy_arguments": {}}, "hidden_units"),
        ({"policy_arguments": {"hidden_units": [8, 8], "lstm_kwargs": {}}}, "lstm_kwargs"),
        ({"policy_arguments": {"hidden_units": [8, 1e9]}}, "must be whole numbers"),
        ({"policy_arguments": {"hidden_units": [8, 10**9]}}, "must be whole numbers"),
        ({"policy_arguments": {"hidden_units": []}}, "must be whole numbers"),
        ({"policy_arguments": {"hidden_units": [8, 4]}}, "size mismatch"),
    ],
)
def test_a_manifest_of_another_network_is_refused(
    recurrent: Phase1Trainer, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    folder = specialist_folder(recurrent)
    (tmp_path / WEIGHTS_NAME).write_bytes((folder / WEIGHTS_NAME).read_bytes())
    stored = {**json.loads((folder / MANIFEST_NAME).read_text()), **change}
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(stored))
    with pytest.raises(CheckpointError) as raised:
        load_specialist(tmp_path)
    assert said in f"{raised.value.rule} {raised.value.found}"


def numbers(algorithm: str, timesteps: int = 500_000, **changes: Any) -> dict[str, Any]:
    return ALGORITHMS[algorithm][1](Setup(PPOSettings(**changes), timesteps))  # type: ignore[index]


def test_sac_draws_a_bar_as_often_as_ppo_looks_at_it() -> None:
    for preset in ("spec", "recommended"):
        settings = TrainingConfig(preset=preset).effective()
        found = ALGORITHMS["sac"][1](Setup(settings, 500_000))
        drawn = found["gradient_steps"] * found["batch_size"]
        lived = found["train_freq"] * settings.n_envs
        assert drawn / lived == pytest.approx(settings.n_epochs, rel=0.1)
    many = numbers("sac", n_epochs=200)  # 6.25 batches a step
    assert (many["train_freq"], many["gradient_steps"]) == (1, 6)
    assert numbers("sac")["ent_coef"] == "auto"
    assert numbers("sac", ent_coef=0.1)["ent_coef"] == 0.1
    assert numbers("sac", timesteps=1_000)["learning_starts"] == 100


def test_a2c_takes_a_step_per_batch() -> None:
    assert numbers("a2c")["n_steps"] * 8 == 256
    assert numbers("a2c", n_envs=512, batch_size=256)["n_steps"] == 1


def test_trpo_has_a_trust_region() -> None:
    assert numbers("trpo")["target_kl"] == 0.01  # null in the configuration
    assert numbers("trpo", target_kl=0.03)["target_kl"] == 0.03


def test_the_stacked_engine_is_ppo(market: Path) -> None:
    with pytest.raises(ConfigError, match=r"training\.algorithm must be ppo.*--engine sb3"):
        tiny_config(market, "training.algorithm=sac")
