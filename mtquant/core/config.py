# SPDX-License-Identifier: Apache-2.0
"""The configuration: what `config/agents.yaml` and ``--set section.key=value`` may say.

    config = load_config(Path("config/agents.yaml"), ["training.seed=3", "data.bar=1h"])
    config.training.effective().batch_size

The defaults live in these models, and `config/agents.yaml` spells the same values out (a test
compares the two), so a file needs only the keys that differ and ``load_config(None)`` works from an
installed package. Everything is frozen and checked once, here: a key that does not exist, a value
out of range or two values that do not fit are a `ConfigError`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from mtquant.core.checked import Section, apply_override, did_you_mean, read_yaml, validated
from mtquant.core.errors import ConfigError

BUNDLED_INSTRUMENTS = ("SPX500", "NAS100", "WTIUSD")
CURRENCIES = ("EURUSD", "GBPUSD", "USDJPY")
SPEC_INSTRUMENTS = (*CURRENCIES, "XAUUSD", "WTIUSD", "SPX500", "NAS100", "US30")

Fraction = Annotated[float, Field(gt=0.0, le=1.0)]
Discount = Annotated[float, Field(ge=0.0, le=1.0)]
Decay = Literal["constant", "linear"]
Preset = Literal["spec", "recommended"]


def _refuse_repeats(field: str, names: Sequence[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(field, "must not repeat a name", repeated, "Delete the repetition.")


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
        n_envs: Accounts stepped side by side, per specialist.
        n_steps: Rollout length per account, bars.
        hidden_units: Width of each hidden layer of the actor, and of the critic.
    """

    learning_rate: PositiveFloat = 3e-4
    learning_rate_decay: Decay = "constant"
    batch_size: PositiveInt = 256
    n_epochs: PositiveInt = 10
    gamma: Discount = 0.99
    gae_lambda: Discount = 0.95
    clip_range: PositiveFloat = 0.2
    ent_coef: NonNegativeFloat = 0.0
    vf_coef: NonNegativeFloat = 0.5
    max_grad_norm: PositiveFloat = 0.5
    n_envs: PositiveInt = 8
    n_steps: PositiveInt = 2048
    hidden_units: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (64, 64)


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


class RecommendedConfig(Section):
    """Settings that learn where the spec's overfit noise.

    Large batches, few epochs, a decaying rate and a shorter discount. They replace the values of
    the same name when ``training.preset`` is ``"recommended"``.
    """

    learning_rate: PositiveFloat = 1e-3
    learning_rate_decay: Decay = "linear"
    batch_size: PositiveInt = 2048
    n_epochs: PositiveInt = 4
    gamma: Discount = 0.95
    n_envs: PositiveInt = 64
    n_steps: PositiveInt = 256


class TrainingConfig(PPONumbers):
    """How the three phases learn.

    Attributes:
        preset: ``"spec"`` uses the values of this section, ``"recommended"`` overrides them by
            `recommended`.
        recommended: The overriding values.
        phase_1_timesteps: Bars lived through by each specialist, all its accounts together.
        phase_2_timesteps: The same for the meta-controller.
        phase_3_timesteps: The same for the joint phase.
        meta_update_freq: The meta-controller learns every this many iterations of phase 3.
        specialist_update_freq: The specialists learn every this many iterations of phase 3.
        checkpoint_every_updates: PPO iterations (rollout and update) between checkpoints.
        device: ``"auto"`` takes the GPU where there is one; ``"cuda"`` without a GPU refuses.
        torch_threads: Threads torch may use; another number gives other roundings.
        seed: Root of the run's seed tree.
    """

    preset: Preset = "spec"
    recommended: RecommendedConfig = RecommendedConfig()
    phase_1_timesteps: PositiveInt = 500_000
    phase_2_timesteps: PositiveInt = 300_000
    phase_3_timesteps: PositiveInt = 1_000_000
    meta_update_freq: PositiveInt = 1
    specialist_update_freq: PositiveInt = 5
    checkpoint_every_updates: PositiveInt = 10
    device: Literal["auto", "cpu", "cuda"] = "auto"
    torch_threads: PositiveInt = 1
    seed: NonNegativeInt = 7

    def effective(self) -> PPOSettings:
        """The PPO numbers of the chosen preset."""
        return self._resolved(self.preset)

    def _resolved(self, preset: Preset) -> PPOSettings:
        values = {name: getattr(self, name) for name in PPONumbers.model_fields}
        if preset == "recommended":
            values.update(self.recommended.model_dump())
        return PPOSettings(preset=preset, **values)

    @model_validator(mode="after")
    def _both_presets_hold(self) -> Self:
        self._resolved("spec")
        self._resolved("recommended")
        return self


class EnvironmentConfig(Section):
    """The account, its costs and its limits.

    Attributes:
        episode_length: Bars per training episode.
        warmup_steps: Bars before the first decision of an episode that fill the risk estimates.
        initial_capital: Equity at the start, account currency.
        account_currency: ISO 4217 code of the account.
        cost_model: ``"instrument"`` charges each instrument's own spread, slippage, commission and
            financing; ``"flat"`` charges `transaction_cost` alone.
        transaction_cost: Commission as a fraction of traded notional, for ``cost_model: flat``.
        cost_draw_range: A training episode multiplies the costs by a log-uniform draw from this
            range.
        fill_at: ``"open"`` fills at the next bar's open; ``"close"`` at the deciding bar's close,
            which is optimistic.
        stop_loss_pct: Loss on the entry price that closes a position, as a fraction (0.02 is 2 %);
            0 for none.
        take_profit_pct: Gain on the entry price that closes a position, as a fraction; null for
            none.
        max_position_size: Largest absolute exposure per instrument, in units of equity.
        max_gross_exposure: Largest sum of absolute exposures, in units of equity.
        max_portfolio_var: Largest one-day 95 % value at risk, in units of equity.
        max_correlation_exposure: Largest correlation-weighted exposure, in units of equity.
        max_sector_allocation: Largest sum of absolute exposures per sector, in units of equity.
        limit_method: ``"project"`` takes the nearest allowed targets, ``"scale"`` shrinks all by
            one factor.
        maintenance_margin_frac: Positions are liquidated when equity falls below this share of the
            initial margin.
        bankruptcy_equity_frac: An episode ends when equity falls below this share of the initial
            capital.
        window_bars: Bars of features in one observation.
    """

    episode_length: PositiveInt = 1000
    warmup_steps: NonNegativeInt = 50
    initial_capital: PositiveFloat = 100_000.0
    account_currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    cost_model: Literal["instrument", "flat"] = "instrument"
    transaction_cost: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.003
    cost_draw_range: tuple[PositiveFloat, PositiveFloat] = (0.5, 2.0)
    fill_at: Literal["open", "close"] = "open"
    stop_loss_pct: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.02
    take_profit_pct: PositiveFloat | None = None
    max_position_size: PositiveFloat = 0.1
    max_gross_exposure: PositiveFloat = 1.0
    max_portfolio_var: PositiveFloat = 0.02
    max_correlation_exposure: PositiveFloat = 0.7
    max_sector_allocation: PositiveFloat = 0.4
    limit_method: Literal["project", "scale"] = "project"
    maintenance_margin_frac: Fraction = 0.5
    bankruptcy_equity_frac: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.01
    window_bars: PositiveInt = 1

    @model_validator(mode="after")
    def _cost_draws_are_ordered(self) -> Self:
        low, high = self.cost_draw_range
        if low > high:
            raise ConfigError(
                "environment.cost_draw_range",
                "must be [lowest, highest]",
                [low, high],
                f"Write [{high}, {low}].",
            )
        return self


class RewardConfig(Section):
    """What is rewarded; `docs/rewards.md` says what each number does.

    Attributes:
        phase_1: Reward terms of phase 1 by name, with their weights.
        risk_penalty_weight: Weight of the risk penalty.
        transaction_cost_weight: Weight of trading costs.
        diversification_bonus_weight: Weight of the diversification bonus.
        downside_volatility_weight: Weight of downside volatility.
        sharpe_target: Yearly Sharpe ratio aimed at.
        sharpe_window_bars: Horizon of the differential Sharpe ratio's running moments, bars.
        max_drawdown_target: Drawdown that is still accepted, as a fraction of the peak.
        risk_free_rate: Yearly rate, as a fraction.
    """

    phase_1: Annotated[Mapping[str, float], Field(min_length=1)] = Field(
        default_factory=lambda: {"differential_sharpe": 1.0}
    )
    risk_penalty_weight: NonNegativeFloat = 1.0
    transaction_cost_weight: NonNegativeFloat = 1.0
    diversification_bonus_weight: NonNegativeFloat = 0.5
    downside_volatility_weight: NonNegativeFloat = 1.0
    sharpe_target: float = 2.0
    sharpe_window_bars: Annotated[int, Field(ge=2)] = 252
    max_drawdown_target: Fraction = 0.15
    risk_free_rate: Annotated[float, Field(gt=-1.0)] = 0.02


def _default_instruments(values: dict[str, Any]) -> tuple[str, ...]:
    return BUNDLED_INSTRUMENTS if values.get("source") == "bundled" else SPEC_INSTRUMENTS


class DataConfig(Section):
    """Which bars, and how they are split in time.

    Attributes:
        source: ``"bundled"`` takes the daily series that the `arch` package carries; the others
            read `folder`.
        folder: Where the files are; for every source but ``"bundled"``.
        instruments: Symbols of `config/instruments.yaml`; left out, all that the bundled source
            has, else the spec's eight.
        files: File name per symbol where it is not ``SYMBOL.parquet`` (or ``.csv``).
        stamped: What a row's stamp is: the bar's ``"open"``, its ``"close"``, or the
            ``"session"``'s calendar date, which becomes the session's close.
        bar: Length of a bar: ``"1d"``, ``"1h"``, ``"15min"``.
        train_frac: Oldest share of the rows, for learning.
        validation_frac: The share after it, for choosing; the rest is the test.
        purge_bars: Rows dropped at the end of a split because what follows them reaches into the
            next one.
        embargo_bars: Rows dropped at the start of a split because features still remember the one
            before.
    """

    source: Literal["bundled", "parquet", "csv"] = "bundled"
    folder: str | None = None
    instruments: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        default_factory=_default_instruments
    )
    files: Mapping[str, str] = Field(default_factory=dict)
    stamped: Literal["open", "close", "session"] = "session"
    bar: Annotated[str, Field(pattern=r"^[1-9][0-9]*(min|h|d)$")] = "1d"
    train_frac: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.6
    validation_frac: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    purge_bars: NonNegativeInt = 5
    embargo_bars: NonNegativeInt = 5

    @property
    def bar_seconds(self) -> int:
        """Length of a bar, seconds."""
        count, unit = re.fullmatch(r"(\d+)(min|h|d)", self.bar).groups()  # type: ignore[union-attr]
        return int(count) * {"min": 60, "h": 3_600, "d": 86_400}[unit]

    @model_validator(mode="after")
    def _source_and_folder_fit(self) -> Self:
        if self.source == "bundled" and self.folder is not None:
            raise ConfigError(
                "data.folder",
                "is read by no source but parquet and csv",
                self.folder,
                "Set data.source to parquet or csv, or leave data.folder out.",
            )
        if self.source != "bundled" and self.folder is None:
            raise ConfigError(
                "data.folder",
                f"is required for source: {self.source}",
                None,
                "Set data.folder to the folder of the files.",
            )
        return self

    @model_validator(mode="after")
    def _splits_and_symbols_hold(self) -> Self:
        if self.train_frac + self.validation_frac >= 1.0:
            raise ConfigError(
                "data.validation_frac",
                "must leave rows for the test: train_frac + validation_frac < 1",
                [self.train_frac, self.validation_frac],
                "Lower data.train_frac or data.validation_frac.",
            )
        _refuse_repeats("data.instruments", self.instruments)
        for symbol in self.files:
            if symbol not in self.instruments:
                raise ConfigError(
                    f"data.files.{symbol}",
                    "must name a symbol of data.instruments",
                    list(self.instruments),
                    did_you_mean(symbol, self.instruments),
                )
        return self


class FeaturesConfig(Section):
    """What a policy sees of the bars.

    Attributes:
        catalog: Feature names, in the order of the observation.
    """

    catalog: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "log_return_1",
        "log_return_5",
        "log_return_20",
        "volatility_20",
        "volatility_60",
        "rsi_14",
        "macd_12_26_9",
        "bollinger_20",
        "atr_14",
        "stochastic_14",
        "zscore_50",
        "drawdown_60",
        "range_position_20",
    )

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        _refuse_repeats("features.catalog", self.catalog)
        return self


class Config(Section):
    """The whole configuration, one section per part of the system."""

    training: TrainingConfig = TrainingConfig()
    environment: EnvironmentConfig = EnvironmentConfig()
    reward: RewardConfig = RewardConfig()
    data: DataConfig = DataConfig()
    features: FeaturesConfig = FeaturesConfig()


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> Config:
    """Reads and checks a configuration.

    Args:
        path: A YAML file with any of the sections, or None for the defaults.
        overrides: ``"section.key=value"`` texts, applied in order over the file; the value is read
            as YAML.

    Raises:
        ConfigError: The file or an override cannot be read, or holds an unknown key or a value that
            breaks a rule.
    """
    # A section whose keys are all commented out reads as null: it means "the defaults".
    raw = {} if path is None else read_yaml(path)
    values: dict[str, Any] = {key: value for key, value in raw.items() if value is not None}
    keys = [apply_override(values, override) for override in overrides]
    config = validated(Config, values)
    for section, *rest in keys:
        if (
            section == "training"
            and config.training.preset == "recommended"
            and rest[0] in RecommendedConfig.model_fields
        ):
            raise ConfigError(
                f"training.{rest[0]}",
                "has no effect while training.preset is recommended",
                getattr(config.training, rest[0]),
                f"Set training.recommended.{rest[0]}, or training.preset=spec.",
            )
    return config


def config_hash(config: Section) -> str:
    """sha256 of the configuration in canonical JSON; equal configurations have equal hashes."""
    text = json.dumps(config.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
