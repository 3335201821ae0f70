# SPDX-License-Identifier: Apache-2.0
"""What phases 2 and 3 share: the portfolio's world, specialists, validation, what is kept."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.agents.actors import ACTOR_CRITIC
from mtquant.agents.crew import Crew, kept
from mtquant.agents.hierarchy import META, read_hierarchy, require_domains, save_hierarchy
from mtquant.agents.scaling import Scaling
from mtquant.agents.specialist import Specialist, bars_digest
from mtquant.agents.stack import Weights
from mtquant.agents.training.curriculum_env import training_env
from mtquant.agents.training.job import Best
from mtquant.agents.training.phase import PhaseTrainer
from mtquant.agents.training.portfolio import PortfolioWorld
from mtquant.agents.training.replay import ReplayRecord, replay_record
from mtquant.agents.training.session import Session, weights_digest
from mtquant.agents.training.validation import evaluate_episodes, evaluate_parts
from mtquant.core.config import config_hash, trained_under
from mtquant.core.errors import CheckpointError
from mtquant.core.seeding import SeedTree
from mtquant.core.telemetry import Telemetry
from mtquant.envs.hierarchy import Hierarchy, Speak
from mtquant.envs.market_env import MarketEnv
from mtquant.envs.meta import MetaControllerBatch
from mtquant.features.signals import signals_digest
from mtquant.features.timeframes import TimeframePipeline, without_ages
from mtquant.market.rules import Rules

SCALING_BARS = 256  # lived through at random to learn how large the entries of an observation are
UNCHANGED = "the weights of phase 2: nothing that phase 3 learnt was better on the validation rows"
STILL = 1e-6  # an entry that varies less counts as a constant


class HierarchicalTrainer(PhaseTrainer):
    """A phase that trains on the whole portfolio; arguments are `PhaseTrainer`'s.

    Attributes:
        world: Bars, features, rules and reward of the portfolio.
        best: The best validation so far.
        domains: Specialist -> the symbols it trades.
        forecast_units: Symbol -> log return that counts as 1 in its specialist's forecasts.
        env: The portfolios in training, once the engine is built.
    """

    forecast_units: Mapping[str, float]
    env: MarketEnv

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        terms = getattr(self.config.reward, f"phase_{self.phase}")
        self.world = PortfolioWorld.build(
            self.bars, self.split, self.config, self.instruments, terms
        )
        self.domains = self.config.domains
        self.best = Best()

    def check_specialist(self, specialist: Specialist, name: str, folder: object) -> None:
        """Refuses a specialist of another network, instruments, other rules, features or bars.

        Raises:
            CheckpointError: Which of them.
        """
        manifest = specialist.manifest
        symbols = self.domains[name]
        if manifest.policy != ACTOR_CRITIC:
            raise CheckpointError(
                f"policy of {folder}",
                "must be an actor-critic, since the meta-controller listens to its messages",
                manifest.policy,
                "Train phase 1 with --engine stacked, or --algorithm ppo, trpo or a2c.",
            )
        names = without_ages(manifest.feature_names)
        pipeline = TimeframePipeline.from_config(self.config, self.instruments, symbols, names)
        rules = Rules.from_config(self.config.environment, self.instruments, symbols)
        until = manifest.known_until_ns
        known = {symbol: bars_digest(self.bars[symbol], until) for symbol in symbols}
        checks = (
            ("instruments", manifest.symbols, symbols),
            ("features", manifest.features_hash, pipeline.hash()),
            ("features", manifest.feature_names, self.world.pipeline.panel_names),
            ("rules", manifest.rules_hash, rules.hash()),
            ("bars", dict(manifest.bars_sha256), known),
            ("predictions", manifest.signals_sha256, signals_digest(self.config.features, until)),
        )
        for what, found, expected in checks:
            if found != expected:
                raise CheckpointError(
                    f"{what} of {folder}",
                    f"must be those of phase {self.phase}: {expected}",
                    found,
                    "Use the configuration that phase 1 ran with, or train phase 1 again.",
                )

    def speak_with(self, crew: Crew, env: MarketEnv) -> Speak:
        """The specialists as `MetaControllerBatch` asks for them."""
        spoken = Hierarchy.of(env, self.domains).spoken
        return lambda views: crew.speak(views)[:, spoken]

    def open_env(self) -> MarketEnv:
        """The portfolios that this phase trains in, as `env`."""
        self.env = training_env(
            self.world,
            self.config.training,
            self.bars,
            self.split,
            self.settings.n_envs,
            self.seeds.child("episodes"),
            np.ones(len(self.bars)),
            f"phase {self.phase}",
            self.logger,
        )
        return self.env

    @property
    def check_every(self) -> int:
        """Steps from one validation and checkpoint to the next: as many bars in every phase, also
        where rollouts are shorter.
        """
        training = self.config.training
        bars = training.checkpoint_every_updates * training.effective().rollout_steps
        own = self.settings.rollout_steps
        return own * max(1, round(bars / own))

    def open_boards(self, stack: ExitStack, begun: int | None) -> list[Telemetry]:
        """Curves of the hierarchy, and of each specialist in it, closed with the stack."""
        folders = [self.log_dir, *(self.log_dir / name for name in self.domains)]
        boards = [stack.enter_context(Telemetry(own, self.logger, begun)) for own in folders]
        boards[0].settings(self.config.training.hyper_parameters(self.phase))
        return boards

    def batch(self, crew: Crew, n_accounts: int, seeds: SeedTree) -> MetaControllerBatch:
        """Portfolios on the training rows."""
        return self.heard(self.world.training_env(n_accounts, seeds), crew)

    def heard(self, env: MarketEnv, crew: Crew) -> MetaControllerBatch:
        """Portfolios in which these specialists speak."""
        return MetaControllerBatch(env, self.speak_with(crew, env), self.domains)

    def meta_scaling(self, crew: Crew) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and deviation of every entry that the meta-controller observes, over random
        decisions on the training rows.
        """
        batch = self.batch(crew, self.settings.n_envs, self.seeds.child("scaling"))
        return scaling_over(batch, self.seeds.child("scaling", "decisions").generator())

    def validate(self, crew: Crew, meta: Crew) -> dict[str, float]:
        """The ``validation/*`` metrics of the hierarchy without noise in its actions."""
        env = self.world.evaluation_env(SeedTree(0), "validation")
        (metrics,) = evaluate_parts(meta.act, [self.heard(env, crew)])
        return metrics

    def evaluate(self, n_episodes: int = 100) -> dict[str, Any]:
        """Lets the kept hierarchy trade random episodes of the validation rows at the true costs.

        Returns:
            Means over the episodes, and the standard error of the mean growth.
        """
        manifest, weights = read_hierarchy(self.output_dir)
        require_domains(manifest, self.domains, self.output_dir)
        crew = Crew.from_weights([weights[name] for name in self.domains], self.device)
        meta = Crew.from_weights([weights[META]], self.device)
        env = self.world.episode_env(n_episodes, self.seeds.child("evaluation"))
        return evaluate_episodes(lambda seen: meta.act([seen])[0], self.heard(env, crew))

    def keep_best(self, metrics: Mapping[str, float], step: int, crew: Crew, meta: Crew) -> None:
        """Writes the hierarchy if it is the best so far."""
        if self.best.beaten_by(metrics, step):
            manifest = self.manifest(step)
            save_hierarchy(self.output_dir, self.weights(crew, meta), manifest)

    def result(self, timesteps: int) -> dict[str, Any]:
        """What `train` returns; a ``"note"`` where training kept what it began with."""
        manifest, _ = read_hierarchy(self.output_dir)
        shown = {name: round(value, 4) for name, value in self.best.metrics.items()}
        self.logger.info(
            "phase %d: %d steps, best at %d, validation %s",
            self.phase,
            timesteps,
            self.best.step,
            shown,
        )
        found = {
            "timesteps": timesteps,
            "best_step": self.best.step,
            "weights_sha256": manifest.weights_sha256,
            **self.best.metrics,
        }
        if self.best.step == 0:
            self.logger.info("phase %d kept %s", self.phase, UNCHANGED)
            found["note"] = f"kept {UNCHANGED}"
        return found

    def session(self, *first: Crew) -> Session:
        """Checkpoints of this phase, which begins with the networks `first`."""
        manifest = self.manifest(0)
        identity = {
            "signals": manifest["signals_sha256"],
            "phase": self.phase,
            "config_hash": trained_under(self.config),
            "timesteps": self.timesteps,
            "bars": manifest["bars_sha256"],
            "domains": {name: list(own) for name, own in self.domains.items()},
            "begins_with": [weights_digest(crew.stack.parameters) for crew in first],
        }
        return Session(
            self.output_dir,
            identity,
            self.device,
            self.logger,
            threads=self.config.training.torch_threads,
            different_numerics=self.different_numerics,
        )

    def replay_record(self, name: str, source: Path) -> ReplayRecord:
        """What is written down at the beginning, but for the updates of what is called `name`."""
        until_ns = self.split.known_until_ns
        own = (self.phase, self.timesteps, self.device, (name,), self.bars, until_ns)
        return replay_record(*own, source.resolve())

    def weights(self, crew: Crew, meta: Crew) -> dict[str, Weights]:
        """All networks with their scalings, by owner."""
        named = {name: kept(crew, k) for k, name in enumerate(self.domains)}
        return {**named, META: kept(meta, 0)}

    def manifest(self, step: int) -> dict[str, Any]:
        """What the hierarchy has to remember of its world (see `HierarchyManifest`)."""
        env = self.world.evaluation_env(SeedTree(0))
        until = self.split.known_until_ns
        digests = {symbol: bars_digest(bars, until) for symbol, bars in self.bars.items()}
        return {
            "phase": self.phase,
            "domains": self.domains,
            "feature_names": env.layout.feature_names,
            "window_bars": env.layout.window_bars,
            "meta_names": Hierarchy.of(env, self.domains).meta_names(),
            "reward_scale": self.world.reward.scale,
            "forecast_units": dict(self.forecast_units),
            "rules_hash": self.world.rules.hash(),
            "features_hash": self.world.pipeline.hash(),
            "config_hash": config_hash(self.config),
            "bars_sha256": digests,
            "signals_sha256": signals_digest(self.config.features, until),
            "known_until_ns": until,
            "seed": self.config.training.seed,
            "timesteps": step,
        }


def scaling_over(
    batch: MetaControllerBatch, random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation of every entry of `batch.observations`, over random decisions."""
    seen = [batch.reset().copy()]
    for _ in range(SCALING_BARS):
        size = (len(batch), len(batch.unit))
        batch.step(random.uniform(-1.0, 1.0, size).astype(np.float32))
        seen.append(batch.observations.copy())
    entries = np.concatenate(seen).astype(np.float64)
    deviation = entries.std(axis=0)
    scale = np.where(deviation > STILL, deviation, 1.0)
    return entries.mean(axis=0).astype(np.float32), scale.astype(np.float32)


def scaling_of(pair: tuple[NDArray[np.float32], NDArray[np.float32]], crew: Crew) -> Scaling:
    """A meta-controller's scaling, placed where the specialists are."""
    return Scaling.of([pair], crew.stack.parameters)
