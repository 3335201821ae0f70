# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from mtquant.core.config import Config, load_config
from mtquant.core.env_config import with_env_config
from mtquant.core.errors import ConfigError


def test_keys_go_where_they_belong() -> None:
    config = with_env_config(
        load_config(None),
        {
            "instrument": "NAS100",
            "episode_length": np.int64(500),
            "initial_capital": 50_000.0,
            "max_portfolio_var": None,
            "cost_draw_range": (1.0, 1.5),
            "curriculum_learning": True,
        },
    )
    assert config.data.instruments == ("NAS100",)
    assert config.environment.episode_length == 500
    assert config.environment.initial_capital == 50_000.0
    assert config.environment.max_portfolio_var is None
    assert config.environment.cost_draw_range == (1.0, 1.5)
    assert config.training.curriculum_learning
    assert config.environment.stop_loss_pct == 0.02


def test_files_of_other_instruments_are_left_out() -> None:
    files = "data.files={WTIUSD: BRENT.csv, US30: DOW.csv}"
    settings = ["data.source=csv", "data.folder=bars", "data.instruments=[WTIUSD, US30]", files]
    config = with_env_config(load_config(None, settings), {"instrument": "US30"})
    assert dict(config.data.files) == {"US30": "DOW.csv"}


def test_nothing_asked_for_changes_nothing() -> None:
    config = load_config(None, ["training.seed=3"])
    assert with_env_config(config, None) is config
    assert with_env_config(config, {}) is config


@pytest.mark.parametrize(
    ("configured", "coordinated", "method"),
    [
        ("pcgrad", True, "pcgrad"),
        ("sum", True, "upgrad"),
        ("pcgrad", False, "sum"),
        ("upgrad", True, "upgrad"),
    ],
)
def test_gradients_are_coordinated_or_not(configured: str, coordinated: bool, method: str) -> None:
    config = load_config(None, [f"training.gradient_method={configured}"])
    found = with_env_config(config, {"gradient_coordination": coordinated})
    assert found.training.gradient_method == method


@pytest.mark.parametrize(
    ("env_config", "message"),
    [
        ({"max_positon_size": 0.1}, r"env_config.max_positon_size is not.*max_position_size\?"),
        ({"symbols": ["EURUSD"]}, r"env_config.symbols is not a known key.*Did you mean"),
        ({"instrument": "US30", "instruments": ["US30"]}, "must not stand beside instruments"),
        ({"gradient_coordination": "pcgrad"}, r"True or False.*training.gradient_method"),
        ({"episode_length": -5}, "environment.episode_length must be greater than 0"),
        ({"episode_length": object()}, "env_config.episode_length must be a plain value"),
        ({"curriculum_learning": "perhaps"}, "training.curriculum_learning must be"),
    ],
)
def test_what_cannot_be_used_is_named(env_config: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        with_env_config(Config(), env_config)
