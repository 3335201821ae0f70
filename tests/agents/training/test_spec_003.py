# SPDX-License-Identifier: Apache-2.0
"""Spec 003's classes, methods and dicts, called as its examples type them; sizes are tiny."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mtquant.agents.hierarchy import META, read_hierarchy
from mtquant.agents.training.checkpointing import ModelCheckpointingSystem
from mtquant.agents.training.curriculum import AdvancedCurriculumLearning
from mtquant.agents.training.gradient_coordination import GradientCoordinationSystem
from mtquant.agents.training.phase1_trainer import Phase1Trainer
from mtquant.agents.training.phase2_trainer import Phase2Trainer
from mtquant.agents.training.phase3_joint_training import Phase3JointTrainer
from mtquant.core.config import Config
from mtquant.core.curriculum_config import CurriculumConfig
from mtquant.core.errors import ConfigError
from mtquant.core.seeding import SeedTree
from mtquant.envs.gym import MarketGymEnv
from mtquant.envs.meta import MetaControllerTrainingEnv
from mtquant.envs.pettingzoo import JointTrainingEnv
from tests.support.markets import INSTRUMENTS, tiny_config, write_market

INSTRUMENTS_OF_THE_SPEC = [
    "EURUSD",
    "GBPUSD",
    "USDJPY",
    "XAUUSD",
    "WTIUSD",
    "SPX500",
    "NAS100",
    "US30",
]
SPECIALIST = {
    "instrument": "EURUSD",
    "episode_length": 1000,
    "initial_capital": 100000.0,
    "transaction_cost": 0.003,
    "max_position_size": 0.1,
    "stop_loss_pct": 0.02,
}
META_CONTROLLER = {
    "instruments": INSTRUMENTS_OF_THE_SPEC,
    "episode_length": 1000,
    "initial_capital": 100000.0,
    "max_portfolio_var": 0.02,
    "max_correlation_exposure": 0.7,
}
JOINT = {**META_CONTROLLER, "gradient_coordination": True, "curriculum_learning": True}
STEPS = 512


class Spec:
    """A tiny market of the spec's eight instruments, and phase 1 trained on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        market = write_market(root / "bars", INSTRUMENTS_OF_THE_SPEC)
        self.config: Config = tiny_config(market, symbols=INSTRUMENTS_OF_THE_SPEC)
        self.results = {
            phase: self.trainer(kind, f"phase{phase}", env_config).train()
            for phase, kind, env_config in (
                (1, Phase1Trainer, None),
                (2, Phase2Trainer, META_CONTROLLER),
                (3, Phase3JointTrainer, JOINT),
            )
        }

    def trainer(self, kind: Any, name: str, env_config: dict[str, Any] | None) -> Any:
        folders = self.root / name, self.root / "logs" / name
        return kind(self.config, *folders, INSTRUMENTS, timesteps=STEPS, env_config=env_config)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spec]:
    yield Spec(tmp_path_factory.mktemp("spec"))


def test_phase_1(spec: Spec) -> None:
    trainer = spec.trainer(Phase1Trainer, "alone", SPECIALIST)
    assert list(trainer.worlds) == ["EURUSD"]
    found = trainer.train_specialist("EURUSD")
    assert found["timesteps"] == STEPS
    assert trainer.evaluate_specialist("EURUSD", n_episodes=5)["episodes"] == 5
    env = trainer.create_specialist_environment("EURUSD")
    assert isinstance(env, MarketGymEnv)
    assert env.reset(seed=1)[0].shape == env.observation_space.shape
    assert list(spec.results[1]) == INSTRUMENTS_OF_THE_SPEC


def test_phase_2(spec: Spec) -> None:
    trainer = spec.trainer(Phase2Trainer, "phase2", META_CONTROLLER)
    trainer.load_pretrained_specialists()
    env = trainer.create_portfolio_environment()
    assert isinstance(env, MetaControllerTrainingEnv)
    assert env.action_space.shape == (len(INSTRUMENTS_OF_THE_SPEC) + 2,)
    assert spec.results[2]["timesteps"] == STEPS


def test_phase_3(spec: Spec) -> None:
    trainer = spec.trainer(Phase3JointTrainer, "phase3", JOINT)
    assert trainer.config.training.curriculum_learning
    assert trainer.config.training.gradient_method == "upgrad"
    trainer.load_pretrained_models()
    env = trainer.create_joint_training_env()
    assert isinstance(env, JointTrainingEnv)
    env.reset(seed=1)
    assert len(env.agents) == len(INSTRUMENTS_OF_THE_SPEC) + 1
    assert trainer.evaluate(n_episodes=5)["episodes"] == 5


@pytest.mark.parametrize("kind", [Phase1Trainer, Phase2Trainer, Phase3JointTrainer])
def test_an_unknown_key_is_answered_with_the_nearest(spec: Spec, kind: Any) -> None:
    with pytest.raises(ConfigError, match=r"env_config.episode_lenght.*mean episode_length\?"):
        spec.trainer(kind, "unknown", {"episode_lenght": 1000})


def test_gradient_coordination() -> None:
    system = GradientCoordinationSystem()
    meta_gradients = {"EURUSD": torch.tensor([1.0, 0.0])}
    specialist_gradients = {"EURUSD": torch.tensor([-0.5, 1.0])}
    step = system.coordinate_updates(meta_gradients, specialist_gradients)
    for goal in (meta_gradients, specialist_gradients):
        assert float(step["EURUSD"] @ goal["EURUSD"]) >= -1e-6
    assert system.adaptive_learning_rates({"train/approx_kl": 0.01}) == 1.0
    clipped = system.gradient_clipping({"EURUSD": torch.full((4,), 2.0)}, max_norm=1.0)
    assert float(clipped["EURUSD"].norm()) == pytest.approx(1.0, rel=1e-5)


def test_curriculum_learning() -> None:
    curriculum = AdvancedCurriculumLearning(CurriculumConfig(), SeedTree(7))
    scenario = curriculum.generate_scenario(curriculum.get_difficulty_level(training_step=0))
    assert scenario.difficulty == 0.0
    assert curriculum.update_curriculum({"validation/sharpe": 0.1}) == 0.0


def test_model_checkpointing(spec: Spec, tmp_path: Path) -> None:
    system = ModelCheckpointingSystem(tmp_path)
    _, models = read_hierarchy(spec.root / "phase3")
    metrics = {"portfolio_sharpe": spec.results[3]["validation/sharpe"]}
    path = system.save_checkpoint(models, metrics, STEPS)
    for found in (system.load_checkpoint(path), system.get_best_model(metric="portfolio_sharpe")):
        assert found.models.keys() == {*INSTRUMENTS_OF_THE_SPEC, META}
        assert all(torch.equal(models[META][key], found.models[META][key]) for key in models[META])
