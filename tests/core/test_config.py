# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest

from mtquant.core.config import (
    Config,
    DataConfig,
    EnvironmentConfig,
    RewardConfig,
    TrainingConfig,
    changed_keys,
    config_from_card,
    config_hash,
    derived_config,
    load_config,
)
from mtquant.core.errors import CheckpointError, ConfigError

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


def test_a_value_without_effect_is_refused():
    error = refusal("training.preset=recommended", "training.n_epochs=3")
    assert "training.recommended.n_epochs" in error.remedy
    load_config(None, ["training.preset=recommended", "training.recommended.n_epochs=3"])
    error = refusal("training.recommended.n_epochs=3")
    assert error.field == "training.recommended.n_epochs"
    assert error.remedy == "Set training.n_epochs, or training.preset=recommended."
    assert refusal("training.recommended={n_epochs: 3}").field == "training.recommended"


def test_a_value_without_effect_is_refused_in_a_file_too(tmp_path):
    path = tmp_path / "agents.yaml"
    path.write_text("training: {preset: recommended, n_epochs: 3}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"training\.n_epochs has no effect.*found 3"):
        load_config(path)
    # The shipped file names the specification's values, which are the defaults.
    config = load_config(SHIPPED, ["training.preset=recommended"])
    assert config == load_config(None, ["training.preset=recommended"])


@pytest.mark.parametrize("path", [None, SHIPPED])
def test_one_term_is_added_whether_or_not_a_file_spells_the_defaults_out(path):
    config = load_config(path, ["reward.phase_1.growth=1"])
    assert config.reward.phase_1 == {"differential_sharpe": 1.0, "growth": 1.0}
    config = load_config(path, ["reward.phase_1.growth=1", "reward.phase_1.differential_sharpe=0"])
    assert config.reward.phase_1 == {"differential_sharpe": 0.0, "growth": 1.0}
    assert Config().reward.phase_1 == {"differential_sharpe": 1.0}


def test_a_term_is_added_to_those_of_the_file(tmp_path):
    path = tmp_path / "agents.yaml"
    path.write_text("reward: {phase_1: {growth: 2}}", encoding="utf-8")
    config = load_config(path, ["reward.phase_1.cost=1"])
    assert config.reward.phase_1 == {"growth": 2.0, "cost": 1.0}


def card(folder, content):
    """A report card of this content."""
    path = folder / "card.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_card_gives_its_configuration_back(tmp_path):
    trained = load_config(None, ["training.seed=3", "data.instruments=[SPX500]"])
    path = card(tmp_path, {"config": trained.model_dump(mode="json")})
    assert config_from_card(path) == trained
    other = config_from_card(path, ["data.instruments=[WTIUSD]"])
    assert (other.training.seed, other.data.instruments) == (3, ("WTIUSD",))
    with pytest.raises(ConfigError, match=r"Did you mean training\.seed\?"):
        config_from_card(path, ["training.sed=3"])


@pytest.mark.parametrize("content", ["{", "[]", {"stages": {}}, {"config": 3}])
def test_what_is_no_card_is_refused(tmp_path, content):
    with pytest.raises(CheckpointError, match=r"card\.json must be the report card") as caught:
        config_from_card(card(tmp_path, content))
    assert "--config" in caught.value.remedy


def test_a_missing_card_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"card\.json.*found 'No such file or directory'"):
        config_from_card(tmp_path / "card.json")


def test_a_card_of_another_version_is_named(tmp_path):
    path = card(tmp_path, {"config": {"training": {"learning_speed": 1}}})
    with pytest.raises(ConfigError, match=r"card\.json: training\.learning_speed is not a known"):
        config_from_card(path)


def test_a_clock_is_for_stamps_with_a_time_of_day():
    files = ["data.source=csv", "data.folder=bars", "data.timezone=Europe/Athens"]
    assert refusal(*files).field == "data.timezone"
    assert load_config(None, [*files, "data.stamped=open"]).data.timezone == "Europe/Athens"


def test_yahoo_has_a_cache_and_a_bar_length_and_nothing_else() -> None:
    config = DataConfig(source="yahoo", bar="1h")
    assert (config.folder, config.instruments[0], config.bar_seconds) == (None, "EURUSD", 3_600)
    assert DataConfig(source="yahoo", folder="cache").folder == "cache"
    for name, value in (("stamped", "open"), ("timezone", "UTC"), ("files", "{EURUSD: a.csv}")):
        with pytest.raises(ConfigError, match=f"data.{name} is not read by source: yahoo"):
            load_config(None, ["data.source=yahoo", f"data.{name}={value}"])


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
    assert DataConfig(source="csv", folder="bars", bar=text).bar_seconds == seconds


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
        ("features.user=my_features", "features.user", "must match pattern"),
        ("data.source=csv", "data.folder", "is required"),
        ("data.folder=bars", "data.folder", "Set data.source"),
        ("data.files.WTIUSD=a.csv", "data.files", "Set data.source to parquet or csv"),
        ("data.stamped=open", "data.stamped", "Set data.source to parquet or csv"),
        ("data.bar=1h", "data.bar", "Set data.source to parquet or csv"),
        ("data.timezone=UTC", "data.timezone", "Set data.source to parquet or csv"),
        ("data.timezone=Mars/Base", "data.timezone", "must be a time zone this machine knows"),
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


def test_a_derived_configuration_is_the_file_with_both_overrides():
    first, second = "training.seed=3", "reward.phase_1.growth=1"
    derived = derived_config(load_config(None, [first]), [second])
    assert derived == load_config(None, [first, second])
    with pytest.raises(ConfigError, match=r"Did you mean training\.seed"):
        derived_config(Config(), ["training.sed=3"])


def test_the_keys_that_were_changed():
    assert changed_keys(Config()) == {}
    texts = ["training.seed=3", "reward.phase_1.growth=1", "training.preset=recommended"]
    texts.append("training.recommended.gamma=0.85")
    assert changed_keys(load_config(None, texts)) == {
        "training.preset": "recommended",
        "training.recommended.gamma": 0.85,
        "training.seed": 3,
        "reward.phase_1.growth": 1.0,
    }
