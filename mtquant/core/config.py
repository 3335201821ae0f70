# SPDX-License-Identifier: Apache-2.0
"""The configuration: what `config/agents.yaml` and ``--set section.key=value`` may say.

    config = load_config(Path("config/agents.yaml"), ["training.seed=3", "data.purge_bars=9"])
    config.training.effective().batch_size

The defaults live in these models, and `config/agents.yaml` spells the same values out (a test
compares the two), so a file needs only the keys that differ and ``load_config(None)`` works from an
installed package. Everything is frozen and checked once, here: a key that does not exist, a value
out of range or two values that do not fit are a `ConfigError`.
"""

from __future__ import annotations

import copy
import hashlib
import json
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

from mtquant.core.checked import Section, apply_override, read_yaml, validated
from mtquant.core.data_config import DataConfig, FeaturesConfig
from mtquant.core.domains import Domains, domains_of
from mtquant.core.errors import CheckpointError, ConfigError
from mtquant.core.paper_config import PaperConfig
from mtquant.core.training_config import PPONumbers, RecommendedConfig, TrainingConfig

Fraction = Annotated[float, Field(gt=0.0, le=1.0)]
SpreadByHour = Annotated[tuple[NonNegativeFloat, ...], Field(min_length=24, max_length=24)]


class EnvironmentConfig(Section):
    """The account, its costs and its limits.

    Attributes:
        episode_length: Bars per training episode.
        warmup_steps: Least number of bars of history before an episode's first decision; features
            may ask for more.
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
        max_net_exposure: Largest absolute sum of exposures, in units of equity; null for none.
        max_portfolio_var: Largest one-day 95 % value at risk, in units of equity.
        var_method: How it is measured: ``"ewma"`` (RiskMetrics covariance), ``"parametric"``
            (shrunk covariance of the last 250 days), ``"historical"`` or ``"cornish_fisher"`` (the
            book's returns over those days).
        max_volatility: Largest yearly volatility of the book, as a fraction; null for none.
        max_correlation_exposure: Largest correlation-weighted exposure, in units of equity.
        max_sector_allocation: Largest sum of absolute exposures per sector, in units of equity.
        max_turnover: Largest sum of trades per decision that add to positions, in units of equity;
            null for none.
        limit_method: ``"project"`` takes the nearest allowed targets, ``"scale"`` shrinks all by
            one factor.
        maintenance_margin_frac: Positions are liquidated when equity falls below this share of the
            initial margin.
        bankruptcy_equity_frac: An episode ends when equity falls below this share of the initial
            capital.
        window_bars: Bars of features in one observation.
        latency_bars: 1: the desk hears every target one bar later; 0 at once.
        max_volume_frac: Largest order as a share of the volume of the bar it fills in; null for
            none.
        rebalance_band: Targets that differ from what is held by at most this share of
            `max_position_size` leave the position alone; 0 trades on any difference. A target of 0
            always closes.
        spread_by_hour: Symbol -> 24 multiples of its spread, by the hour (UTC) that a bar opens in;
            an instrument left out pays its spread at all hours.
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
    max_net_exposure: PositiveFloat | None = None
    max_portfolio_var: PositiveFloat | None = 0.02
    var_method: Literal["ewma", "parametric", "historical", "cornish_fisher"] = "ewma"
    max_volatility: PositiveFloat | None = None
    max_correlation_exposure: PositiveFloat | None = 0.7
    max_sector_allocation: PositiveFloat | None = 0.4
    max_turnover: PositiveFloat | None = None
    limit_method: Literal["project", "scale"] = "project"
    maintenance_margin_frac: Fraction = 0.5
    bankruptcy_equity_frac: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.01
    window_bars: PositiveInt = 1
    latency_bars: Annotated[int, Field(ge=0, le=1)] = 0
    max_volume_frac: PositiveFloat | None = None
    rebalance_band: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    spread_by_hour: Mapping[str, SpreadByHour] = Field(default_factory=dict)

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


class GuardConfig(Section):
    """When trading is reduced or halted (`docs/risk.md`); null switches a rule off.

    Attributes:
        reduce_drawdown_frac: Fall from the peak of equity from which on positions may only shrink.
        halt_drawdown_frac: The same, from which on nothing trades until a person resets the guard.
        reduce_daily_loss_frac: Loss since the last close of the day before (UTC) from which on
            positions may only shrink.
        halt_daily_loss_frac: The same, from which on nothing trades until a reset.
        max_var_exceedances: Bars in a row with a loss beyond the value at risk from which on
            positions may only shrink.
        max_data_age_bars: Age of the newest bar, in bar lengths, beyond which positions may only
            shrink.
        recover_frac: A rule that reduced lets go below this share of its limit.
    """

    reduce_drawdown_frac: Fraction | None = 0.10
    halt_drawdown_frac: Fraction | None = 0.15
    reduce_daily_loss_frac: Fraction | None = 0.03
    halt_daily_loss_frac: Fraction | None = 0.05
    max_var_exceedances: PositiveInt | None = 3
    max_data_age_bars: PositiveFloat | None = 3.0
    recover_frac: Fraction = 0.5

    @model_validator(mode="after")
    def _reducing_comes_first(self) -> Self:
        for name in ("drawdown", "daily_loss"):
            reduce = getattr(self, f"reduce_{name}_frac")
            halt = getattr(self, f"halt_{name}_frac")
            if reduce is not None and halt is not None and reduce > halt:
                raise ConfigError(
                    f"guard.reduce_{name}_frac",
                    f"must not be above guard.halt_{name}_frac, which would come first",
                    [reduce, halt],
                    "Lower it, or leave it null.",
                )
        return self


class RewardConfig(Section):
    """What is rewarded; `docs/rewards.md` says what each number does.

    Attributes:
        phase_1: Reward terms of phase 1 by name, with their weights. ``--set`` of one term keeps
            the others; weight 0 switches a term off.
        phase_2: The same for the meta-controller; the outcome is the portfolio's.
        phase_3: The same for joint training.
        risk_penalty_weight: Multiplies the terms tail_loss and variance where a phase names them.
        transaction_cost_weight: Weight of trading costs.
        diversification_bonus_weight: Multiplies the term diversification.
        downside_volatility_weight: Multiplies the term downside_variance.
        sharpe_target: Yearly Sharpe ratio aimed at; it prices risk in the variance terms.
        sharpe_window_bars: Horizon of the differential ratio's running moments, bars; a shorter one
            than 20 pays less for higher returns (docs/rewards.md).
        max_drawdown_target: Drawdown that is still accepted, as a fraction of the peak.
        risk_free_rate: Yearly rate, as a fraction.
    """

    phase_1: Annotated[Mapping[str, float], Field(min_length=1)] = Field(
        default_factory=lambda: {"differential_sharpe": 1.0}
    )
    phase_2: Annotated[Mapping[str, float], Field(min_length=1)] = Field(
        default_factory=lambda: {"differential_sharpe": 1.0}
    )
    phase_3: Annotated[Mapping[str, float], Field(min_length=1)] = Field(
        default_factory=lambda: {
            "growth": 1.0,
            "tail_loss": 1.0,
            "downside_variance": 1.0,
            "diversification": 1.0,
            "drawdown": 1.0,
        }
    )
    risk_penalty_weight: NonNegativeFloat = 1.0
    transaction_cost_weight: NonNegativeFloat = 1.0
    diversification_bonus_weight: NonNegativeFloat = 0.5
    downside_volatility_weight: NonNegativeFloat = 1.0
    sharpe_target: NonNegativeFloat = 2.0
    sharpe_window_bars: Annotated[int, Field(ge=20)] = 252
    max_drawdown_target: Fraction = 0.15
    risk_free_rate: Annotated[float, Field(gt=-1.0)] = 0.02


class Config(Section):
    """The whole configuration, one section per part of the system."""

    training: TrainingConfig = TrainingConfig()
    environment: EnvironmentConfig = EnvironmentConfig()
    guard: GuardConfig = GuardConfig()
    paper: PaperConfig = PaperConfig()
    reward: RewardConfig = RewardConfig()
    data: DataConfig = DataConfig()
    features: FeaturesConfig = FeaturesConfig()

    @property
    def domains(self) -> Domains:
        """Specialist -> the symbols it trades, both in the order of `data.instruments`."""
        return domains_of(self.training.specialists, self.data.instruments)

    @model_validator(mode="after")
    def _every_instrument_has_its_specialist(self) -> Self:
        domains_of(self.training.specialists, self.data.instruments)
        return self


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
    return _configured({} if path is None else read_yaml(path), overrides)


def config_from_card(path: Path, overrides: Sequence[str] = ()) -> Config:
    """The configuration that a run wrote into its report card (`mtquant.core.runs`).

    Args:
        path: The card, ``card.json`` in the run's folder.
        overrides: As for `load_config`, applied over it.

    Raises:
        CheckpointError: There is no such card, or it is damaged.
        ConfigError: The card's configuration is not one of this version of mtquant, or an override
            cannot be used.
    """
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        values = card["config"]
        if not isinstance(values, dict):
            raise TypeError("its configuration is no mapping")
    except (OSError, ValueError, KeyError, TypeError) as error:
        found = error.strerror if isinstance(error, OSError) else str(error)
        raise CheckpointError(
            str(path),
            "must be the report card of a training run, with its configuration",
            found,
            "Check --models, or name a configuration with --config.",
        ) from error
    try:
        _configured(values, ())
    except ConfigError as error:
        field = f"{path}: {error.field}"
        raise ConfigError(field, error.rule, error.found, error.remedy) from error
    return _configured(values, overrides)


def derived_config(config: Config, overrides: Sequence[str]) -> Config:
    """A configuration with overrides written over it, as `load_config` writes them over a file.

    Raises:
        ConfigError: An override cannot be used.
    """
    return _configured(config.model_dump(mode="json"), overrides)


def changed_keys(config: Section, default: Section | None = None) -> dict[str, Any]:
    """Dotted keys whose values differ from the default's (the section's own when None), in JSON's
    types.
    """
    default = type(config)() if default is None else default
    own, other = (_flat(each.model_dump(mode="json")) for each in (config, default))
    return {key: value for key, value in own.items() if key not in other or other[key] != value}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= _flat(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return found


def _configured(raw: Mapping[str, Any], overrides: Sequence[str]) -> Config:
    """The checked configuration of plain values with overrides written over them."""
    # A section whose keys are all commented out reads as null: it means "the defaults".
    values = {key: copy.deepcopy(value) for key, value in raw.items() if value is not None}
    keys = [apply_override(values, override, Config()) for override in overrides]
    config = validated(Config, values)
    _refuse_idle_numbers(config.training, keys)
    return config


def _refuse_idle_numbers(training: TrainingConfig, overrides: Sequence[Sequence[str]]) -> None:
    """Refuses training values that somebody set and the preset does not look at."""
    written = [keys[1:] for keys in overrides if keys[0] == "training"]
    rule = f"has no effect while training.preset is {training.preset}"
    if training.preset == "spec":
        for name, *inner in written:
            if name == "recommended":
                field = ".".join(["training", name, *inner])
                instead = ".".join(["training", *(inner[-1:] or ["<key>"])])
                remedy = f"Set {instead}, or training.preset=recommended."
                raise ConfigError(field, rule, "training.preset=spec", remedy)
        return
    default, named = TrainingConfig(), {name for name, *_ in written}
    for name in sorted(set(RecommendedConfig.model_fields) & set(PPONumbers.model_fields)):
        value = getattr(training, name)
        # The shipped file spells the defaults out: in a file, only another value is deliberate.
        if name in named or value != getattr(default, name):
            remedy = f"Set training.recommended.{name}, or training.preset=spec."
            raise ConfigError(f"training.{name}", rule, value, remedy)


def config_hash(config: Section) -> str:
    """sha256 of the configuration in canonical JSON; equal configurations have equal hashes."""
    text = json.dumps(config.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def trained_under(config: Config) -> str:
    """`config_hash`, whatever the configuration says about how the numbers are computed: that is
    compared apart, since `--allow-different-numerics` allows it.
    """
    same = {"workers": 1, "torch_threads": 1, "device": "auto"}
    training = config.training.model_copy(update=same)
    return config_hash(config.model_copy(update={"training": training}))
