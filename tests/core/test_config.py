# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.core.config import (
    Config,
    DataConfig,
    EnvironmentConfig,
    RewardConfig,
    TrainingConfig,
    config_hash,
    load_config,
)
from mtquant.core.errors import ConfigError

SHIPPED = Path(__file__).resolve().parents[2] / "config" / "agents.yaml"

# "Training Configuration" of the training specification (document 003), verbatim, but for
# `device`: the specification says cuda, the house plan makes auto the default.
SPEC_TRAINING = {
    "learning_rate": 0.0003,
    "batch_size": 256,
    "n_epochs": 10,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "clip_range": 0.2,
    "phase_1_timesteps": 500000,
    "phase_2_timesteps": 300000,
    "phase_3_timesteps": 1000000,
    "meta_update_freq": 1,
    "specialist_update_freq": 5,
    "n_envs": 8,
}
SPEC_ENVIRONMENT = {
    "episode_length": 1000,
    "warmup_steps": 50,
    "initial_capital": 100000.0,
    "transaction_cost": 0.003,
    "max_position_size": 0.1,
    "stop_loss_pct": 0.02,
    "max_portfolio_var": 0.02,
    "max_correlation_exposure": 0.7,
    "max_sector_allocation": 0.4,
}
SPEC_REWARD = {
    "risk_penalty_weight": 1.0,
    "transaction_cost_weight": 1.0,
    "diversification_bonus_weight": 0.5,
    "sharpe_target": 2.0,
    "max_drawdown_target": 0.15,
    "risk_free_rate": 0.02,
    "downside_volatility_weight": 1.0,
}


def refusal(*overrides: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_config(None, overrides)
    return caught.value


@pytest.mark.parametrize(
    ("model", "spec"),
    [
        (TrainingConfig(), SPEC_TRAINING),
        (EnvironmentConfig(), SPEC_ENVIRONMENT),
        (RewardConfig(), SPEC_REWARD),
    ],
)
def test_defaults_are_the_specification(model, spec):
    assert {name: getattr(model, name) for name in spec} == spec


def test_the_shipped_file_spells_out_the_defaults():
    assert load_config(SHIPPED) == load_config(None) == Config()


def test_the_shipped_file_names_every_key():
    text = SHIPPED.read_text(encoding="utf-8")
    for section, field in Config.model_fields.items():
        assert f"\n{section}:" in text
        for key in field.annotation.model_fields:
            # `instruments` depends on the source and stands there as a comment.
            assert f"\n  {key}:" in text or f"\n  # {key}:" in text


def test_presets():
    assert load_config(None).training.effective().batch_size == SPEC_TRAINING["batch_size"]
    settings = load_config(None, ["training.preset=recommended"]).training.effective()
    # STACK, part A: what learnt on the planted markets; 64 accounts x 256 bars is one rollout.
    assert (settings.batch_size, settings.n_epochs, settings.gamma) == (2048, 4, 0.95)
    assert (settings.learning_rate, settings.learning_rate_decay) == (1e-3, "linear")
    assert settings.rollout_steps == 64 * 256
    # What the preset does not name stays.
    assert settings.clip_range == SPEC_TRAINING["clip_range"]


def test_a_value_without_effect_is_refused():
    error = refusal("training.preset=recommended", "training.n_epochs=3")
    assert "training.recommended.n_epochs" in error.remedy
    load_config(None, ["training.preset=recommended", "training.recommended.n_epochs=3"])


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 2000),
    st.sampled_from(["", "recommended."]),
)
def test_batches_fill_the_rollout(n_envs, n_steps, batch_size, place):
    keys = {"n_envs": n_envs, "n_steps": n_steps, "batch_size": batch_size}
    overrides = [f"training.{place}{key}={value}" for key, value in keys.items()]
    if n_envs * n_steps % batch_size == 0:
        load_config(None, overrides)
        return
    error = refusal(*overrides)
    assert error.field == f"training.{place}batch_size"
    fitting = int(error.remedy.split()[3].rstrip(","))
    assert fitting <= batch_size and n_envs * n_steps % fitting == 0


def test_instruments_follow_the_source():
    assert DataConfig().instruments == ("SPX500", "NAS100", "WTIUSD")
    # The eight of the specification, in its order.
    assert DataConfig(source="parquet", folder="bars").instruments == (
        *("EURUSD", "GBPUSD", "USDJPY", "XAUUSD", "WTIUSD", "SPX500", "NAS100", "US30"),
    )


def test_overrides_are_yaml_and_make_keys_of_mappings():
    config = load_config(
        None,
        [
            "data.source=parquet",
            "data.folder=bars",
            "data.instruments=[WTIUSD, EURUSD]",
            "data.files.WTIUSD=BRENTUSD.parquet",
            "training.learning_rate=1e-3",
            "environment.take_profit_pct=null",
            "reward.phase_1={growth: 1.0}",
        ],
    )
    assert config.data.files == {"WTIUSD": "BRENTUSD.parquet"}
    assert config.data.instruments == ("WTIUSD", "EURUSD")
    assert config.training.learning_rate == 0.001
    assert config.environment.take_profit_pct is None
    assert config.reward.phase_1 == {"growth": 1.0}


@pytest.mark.parametrize(
    ("text", "seconds"), [("1d", 86_400), ("1h", 3_600), ("15min", 900), ("4h", 14_400)]
)
def test_bar_seconds(text, seconds):
    assert load_config(None, [f"data.bar={text}"]).data.bar_seconds == seconds


@pytest.mark.parametrize(
    ("override", "field", "said"),
    [
        ("training.bach_size=3", "training.bach_size", "Did you mean training.batch_size?"),
        ("training.recommended.n_env=3", "training.recommended.n_env", "recommended.n_envs?"),
        (
            "training.sharpe_target=1",
            "training.sharpe_target",
            "Did you mean reward.sharpe_target?",
        ),
        ("trainin.seed=1", "trainin", "Did you mean training?"),
        ("data.xyz=1", "data.xyz", "Known keys: source, folder,"),
        (
            "environment.fill_at=mid",
            "environment.fill_at",
            "must be 'open' or 'close'; found 'mid'",
        ),
        ("environment.initial_capital=-1", "environment.initial_capital", "default is 100000.0"),
        ("training.learning_rate=.nan", "training.learning_rate", "must be"),
        ("training.seed.deep=1", "training.seed", "found {'deep': 1}"),
        ("environment.cost_draw_range=[2, 1]", "environment.cost_draw_range", "Write [1.0, 2.0]"),
        ("features.catalog=[rsi_14, rsi_14]", "features.catalog", "found ['rsi_14']"),
        ("data.source=csv", "data.folder", "is required"),
        ("data.folder=bars", "data.folder", "Set data.source"),
        ("data.train_frac=0.9", "data.validation_frac", "train_frac + validation_frac < 1"),
        ("data.files.WTIUS=a.csv", "data.files.WTIUS", "Did you mean WTIUSD?"),
        ("data.bar=0h", "data.bar", "must match pattern"),
        ("seed", "--set", "section.key=value"),
        ("training.seed=[", "--set training.seed", "valid YAML"),
    ],
)
def test_refusals_name_field_and_remedy(override, field, said):
    error = refusal(override)
    assert error.field == field
    assert said in str(error)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("training: {seed: 1}\ntraining: {seed: 2}", "line 2: the key training is given twice"),
        ("training:\n  seed: 1\n  seed: 2", "line 3: the key seed is given twice"),
        ("[1, 2]", "must hold a mapping"),
        ("a: [", "must be valid YAML"),
    ],
)
def test_broken_files_are_refused(tmp_path, text, said):
    path = tmp_path / "agents.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"agents\.yaml") as caught:
        load_config(path)
    assert said in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="must be a readable file"):
        load_config(tmp_path / "none.yaml")


def test_overrides_lie_over_the_file_and_values_are_no_sections(tmp_path):
    path = tmp_path / "agents.yaml"
    path.write_text("training:\n  seed: 1\n  torch_threads: 2\nreward:\n", encoding="utf-8")
    training = load_config(path, ["training.seed=3"]).training
    assert (training.seed, training.torch_threads) == (3, 2)
    with pytest.raises(ConfigError, match=r"training\.seed is a value"):
        load_config(path, ["training.seed.deep=3"])


def test_equal_configs_have_equal_hashes_and_others_differ(tmp_path):
    path = tmp_path / "agents.yaml"
    path.write_text("environment: {initial_capital: 100000}", encoding="utf-8")
    assert config_hash(load_config(path)) == config_hash(Config())
    assert config_hash(load_config(None, ["training.seed=8"])) != config_hash(Config())
