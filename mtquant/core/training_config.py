# SPDX-License-Identifier: Apache-2.0
"""The `training` section: PPO's numbers, their two presets and how long each phase lasts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from mtquant.core.checked import Section
from mtquant.core.curriculum_config import CurriculumConfig
from mtquant.core.errors import ConfigError

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Decay = Literal["constant", "linear"]
Preset = Literal["spec", "recommended"]
Engine = Literal["stacked", "sb3"]
GradientMethod = Literal[
    "upgrad", "pcgrad", "cagrad", "mgda", "nash_mtl", "aligned_mtl", "sum", "mean"
]
SpecialistReward = Literal["difference", "portfolio"]
Precision = Literal["float32", "bf16"]
Algorithm = Literal["ppo", "recurrent_ppo", "trpo", "a2c", "sac"]
# A name is a folder's, and stands before a slash in files of weights.
SpecialistName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


def _largest_divisor(number: int, limit: int) -> int:
    return next(size for size in range(min(limit, number), 0, -1) if number % size == 0)


class PPONumbers(Section):
    """What one PPO update is made of.

    Defaults are the spec's where it names the key, else stable-baselines3's.

    Attributes:
        learning_rate: Adam step size at the start.
        learning_rate_decay: ``"constant"``, or ``"linear"`` to 0 at the last step of the phase.
        batch_size: Samples per gradient step; divides ``n_envs * n_steps``.
        n_epochs: Passes over one rollout.
        gamma: Discount per bar.
        gae_lambda: Lambda of generalised advantage estimation.
        clip_range: PPO's clip of the probability ratio, around 1.
        ent_coef: Weight of the entropy bonus.
        vf_coef: Weight of the value loss.
        max_grad_norm: Gradients are scaled down to this Euclidean norm.
        target_kl: An update ends once the policy is 1.5 times this far from the one that collected
            the rollout (KL divergence, nats); null: never.
        forecast_coef: Weight of the message head's loss: forecasting what the instrument does next.
        surprise: Share of what the message head did not foresee of the next return that rewards
            keep; without a head they keep it all. 1 is PPO as published; with 0 a position is paid
            at the return that was forecast, and luck is left out (`learning/surprises.py`).
        n_envs: Accounts stepped side by side, per specialist.
        n_steps: Rollout length per account, bars.
        hidden_units: Width of each hidden layer of the actor, and of the critic.
        cost_start: What training accounts pay at the beginning of the phase, times their own
            trading costs; validation always charges 1.
        cost_ramp: Share of the phase over which that becomes 1, linearly.
    """

    learning_rate: PositiveFloat = 3e-4
    learning_rate_decay: Decay = "constant"
    batch_size: PositiveInt = 256
    n_epochs: PositiveInt = 10
    gamma: Share = 0.99
    gae_lambda: Share = 0.95
    clip_range: PositiveFloat = 0.2
    ent_coef: NonNegativeFloat = 0.0
    vf_coef: NonNegativeFloat = 0.5
    max_grad_norm: PositiveFloat = 0.5
    target_kl: PositiveFloat | None = None
    forecast_coef: NonNegativeFloat = 0.5
    surprise: Share = 1.0
    n_envs: PositiveInt = 8
    n_steps: PositiveInt = 2048
    hidden_units: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (64, 64)
    cost_start: NonNegativeFloat = 1.0
    cost_ramp: Share = 1.0


class PPOSettings(PPONumbers):
    """The numbers a trainer runs with, after the preset was applied.

    Attributes:
        preset: Which set of values this is.
    """

    preset: Preset = "spec"

    @property
    def rollout_steps(self) -> int:
        """Samples in one rollout, all accounts together."""
        return self.n_envs * self.n_steps

    @model_validator(mode="after")
    def _batches_fill_the_rollout(self) -> Self:
        steps = self.rollout_steps
        if steps % self.batch_size:
            section = "training" if self.preset == "spec" else "training.recommended"
            fitting = _largest_divisor(steps, self.batch_size)
            raise ConfigError(
                f"{section}.batch_size",
                f"must divide n_envs * n_steps = {self.n_envs} * {self.n_steps} = {steps}",
                self.batch_size,
                f"Set it to {fitting}, or change {section}.n_envs or {section}.n_steps.",
            )
        return self


class Phase2Config(Section):
    """What phase 2 does otherwise than phase 1; `docs/learning.md` has the measurements.

    Attributes:
        n_steps: Rollout length per portfolio in phase 2, bars. Short, so that it learns often: the
            policy of an update may not leave that of its rollout far behind.
        gamma: Discount per bar in phase 2. Lower than elsewhere: what the bars behind a decision
            bring is mostly noise to a choice of weights.
        cost_start: Of phase 2. None at first: what is tried out before anything is known costs more
            than the best choice can earn, and the first thing learnt would be not to trade.
        cost_ramp: Of phase 2.
    """

    n_steps: PositiveInt = 32
    gamma: Share = 0.8
    cost_start: NonNegativeFloat = 0.0
    cost_ramp: Share = 0.5


class RecommendedConfig(Section):
    """Settings that learn where the spec's overfit noise.

    Large batches, few epochs, a decaying rate, and rewards without the market's luck; the discount
    is the one that goes with those. They replace the values of the same name when
    ``training.preset`` is ``"recommended"``; those of `phase_2` in phase 2.
    """

    learning_rate: PositiveFloat = 1e-3
    learning_rate_decay: Decay = "linear"
    batch_size: PositiveInt = 2048
    n_epochs: PositiveInt = 4
    gamma: Share = 0.9
    surprise: Share = 0.0
    n_envs: PositiveInt = 64
    n_steps: PositiveInt = 256
    phase_2: Phase2Config = Phase2Config()


class TrainingConfig(PPONumbers):
    """How the three phases learn.

    Attributes:
        preset: ``"spec"`` uses the values of this section, ``"recommended"`` overrides them by
            `recommended`.
        recommended: The overriding values.
        specialists: Name -> the symbols that one specialist trades; every one of
            `data.instruments` in one list (`core/domains.py`). Left empty, each instrument has a
            specialist of its own, of its name.
        phase_1_timesteps: Bars lived through by each specialist, all its accounts together.
        phase_2_timesteps: Bars lived through by the meta-controller, all portfolios together.
        phase_3_timesteps: The same for the joint phase.
        meta_update_freq: The meta-controller learns every this many iterations of phase 3.
        specialist_update_freq: The specialists learn every this many iterations of phase 3; in
            between, messages are taken as they are.
        gradient_method: How phase 3 makes one gradient of a specialist's own goal and the
            meta-controller's (`learning/gradients.py`).
        specialist_reward: What specialists are paid in phase 3: ``"difference"``, the portfolio's
            growth less its growth without them, or ``"portfolio"``, all of it.
        checkpoint_every_updates: PPO iterations (rollout and update) between checkpoints; in
            phase 2 as many bars.
        engine: ``"stacked"`` trains all specialists at once; ``"sb3"`` one after the other through
            stable-baselines3 and sb3-contrib.
        algorithm: Of engine ``"sb3"``; the stacked engine is PPO.
        curriculum_learning: Whether training bars become harder step by step.
        curriculum: How (`docs/curriculum.md`).
        device: ``"auto"`` takes the GPU where there is one; ``"cuda"`` without a GPU refuses.
        precision: What the factors of matrix products are rounded to while training; ``"bf16"`` is
            for a GPU, a processor without bfloat16 arithmetic is slower with it. Weights stay
            float32.
        torch_threads: Threads that torch and NumPy may use; another number gives other roundings.
        workers: Processes that phase 1 splits its specialists over; another number gives other
            roundings. Phases 2 and 3, whose networks hear each other, take one.
        seed: Root of the run's seed tree.
    """

    preset: Preset = "spec"
    recommended: RecommendedConfig = RecommendedConfig()
    specialists: Mapping[SpecialistName, tuple[str, ...]] = Field(default_factory=dict)
    phase_1_timesteps: PositiveInt = 500_000
    phase_2_timesteps: PositiveInt = 300_000
    phase_3_timesteps: PositiveInt = 1_000_000
    meta_update_freq: PositiveInt = 1
    specialist_update_freq: PositiveInt = 5
    gradient_method: GradientMethod = "upgrad"
    specialist_reward: SpecialistReward = "difference"
    checkpoint_every_updates: PositiveInt = 10
    engine: Engine = "stacked"
    algorithm: Algorithm = "ppo"
    curriculum_learning: bool = False
    curriculum: CurriculumConfig = CurriculumConfig()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Precision = "float32"
    torch_threads: PositiveInt = 1
    workers: PositiveInt = 1
    seed: NonNegativeInt = 7

    def effective(self, phase: int = 1) -> PPOSettings:
        """The PPO numbers of the chosen preset in a phase; those of phase 2 take batches that fill
        its shorter rollouts.
        """
        return self._resolved(self.preset, phase)

    def hyper_parameters(self, phase: int = 1) -> dict[str, float | str | bool]:
        """Every number and choice that a phase goes by, as it is in force, for TensorBoard."""
        chosen = {**self.model_dump(mode="json"), **self.effective(phase).model_dump(mode="json")}
        shown = {
            name: str(value) if isinstance(value, list) else value for name, value in chosen.items()
        }
        kinds = (bool, int, float, str)
        return {name: value for name, value in shown.items() if isinstance(value, kinds)}

    def _resolved(self, preset: Preset, phase: int = 1) -> PPOSettings:
        values = {name: getattr(self, name) for name in PPONumbers.model_fields}
        if preset == "recommended":
            values.update(self.recommended.model_dump(exclude={"phase_2"}))
            if phase == 2:
                values.update(self.recommended.phase_2.model_dump())
                rollout = values["n_envs"] * values["n_steps"]
                values["batch_size"] = _largest_divisor(rollout, values["batch_size"])
        if not self._trains_a_head(phase):
            values["surprise"] = 1.0  # nothing is foreseen
        return PPOSettings(preset=preset, **values)

    def _trains_a_head(self, phase: int) -> bool:
        """Whether the networks of a phase learn to forecast; the meta-controller does not, nor do
        the library's algorithms but PPO, in phase 1.
        """
        library = phase == 1 and self.engine == "sb3" and self.algorithm != "ppo"
        return phase != 2 and self.forecast_coef > 0.0 and not library

    @model_validator(mode="after")
    def _the_engine_has_the_algorithm(self) -> Self:
        if self.engine == "stacked" and self.algorithm != "ppo":
            raise ConfigError(
                "training.algorithm",
                "must be ppo for the stacked engine",
                self.algorithm,
                "Use --engine sb3 for the others.",
            )
        if self.engine == "sb3" and self.precision != "float32":
            raise ConfigError(
                "training.precision",
                "must be float32 for engine sb3",
                self.precision,
                "Use --engine stacked, or leave --precision out.",
            )
        if self.engine == "sb3" and self.workers > 1:
            raise ConfigError(
                "training.workers",
                "must be 1 for engine sb3, which trains one specialist after the other",
                self.workers,
                "Use --engine stacked, or --workers 1.",
            )
        return self

    @model_validator(mode="after")
    def _the_engine_has_the_curriculum(self) -> Self:
        if self.engine == "sb3" and self.curriculum_learning:
            raise ConfigError(
                "training.curriculum_learning",
                "must be false for the engine sb3, which cannot change its bars while it learns",
                True,
                "Use --engine stacked, or leave the curriculum out.",
            )
        return self

    @model_validator(mode="after")
    def _the_engine_has_the_ramp(self) -> Self:
        if self.engine == "sb3" and self.cost_start != 1.0:
            raise ConfigError(
                "training.cost_start",
                "must be 1 for the engine sb3, which cannot change its costs while it learns",
                self.cost_start,
                "Use --engine stacked, or leave it out.",
            )
        return self

    @model_validator(mode="after")
    def _both_presets_hold(self) -> Self:
        self._resolved("spec")
        self._resolved("recommended")
        return self
