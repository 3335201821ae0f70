# SPDX-License-Identifier: Apache-2.0
"""``env_config`` dicts: the flat keys in which spec 003 describes an environment.

    config = with_env_config(config, {"instrument": "EURUSD", "episode_length": 1000})

A key is one of the `environment` section, or

    instrument, instruments   what is traded: `data.instruments`
    gradient_coordination     False: a specialist's two goals are summed; True: they are coordinated
    curriculum_learning       `training.curriculum_learning`
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, get_args

from mtquant.core.checked import did_you_mean
from mtquant.core.config import Config, EnvironmentConfig, derived_config
from mtquant.core.errors import ConfigError
from mtquant.core.training_config import GradientMethod, TrainingConfig

UNCOORDINATED = ("sum", "mean")
PLACES = {
    "instrument": "data.instruments",
    "instruments": "data.instruments",
    "gradient_coordination": "training.gradient_method",
    "curriculum_learning": "training.curriculum_learning",
    **{name: f"environment.{name}" for name in EnvironmentConfig.model_fields},
}


def with_env_config(config: Config, env_config: Mapping[str, Any] | None) -> Config:
    """A configuration with the values of an ``env_config`` written over it.

    Raises:
        ConfigError: A key is unknown (the nearest one is named), two name the same, or a value
            breaks a rule.
    """
    wanted = dict(env_config or {})
    for key, value in wanted.items():
        if key not in PLACES:
            remedy = did_you_mean(key, list(PLACES))
            raise ConfigError(f"env_config.{key}", "is not a known key", value, remedy)
    if "instrument" in wanted:
        if "instruments" in wanted:
            rule = "must not stand beside instruments"
            raise ConfigError("env_config.instrument", rule, wanted["instrument"], "Keep one.")
        wanted["instruments"] = [wanted.pop("instrument")]
    if "gradient_coordination" in wanted:
        method = _method(wanted["gradient_coordination"], config.training.gradient_method)
        wanted["gradient_coordination"] = method
    texts = [f"{PLACES[key]}={_yaml(key, value)}" for key, value in wanted.items()]
    chosen = wanted.get("instruments")
    if isinstance(chosen, list | tuple) and config.data.files:
        own = {symbol: file for symbol, file in config.data.files.items() if symbol in chosen}
        texts.append(f"data.files={json.dumps(own)}")
    return derived_config(config, texts) if texts else config


def _method(coordinated: object, configured: GradientMethod) -> str:
    """`training.gradient_method` for a yes or no."""
    if not isinstance(coordinated, bool):
        methods = ", ".join(get_args(GradientMethod))
        remedy = f"A method is chosen with training.gradient_method: {methods}."
        field = "env_config.gradient_coordination"
        raise ConfigError(field, "must be True or False", coordinated, remedy)
    if not coordinated:
        return "sum"
    return TrainingConfig().gradient_method if configured in UNCOORDINATED else configured


def _yaml(key: str, value: object) -> str:
    """A value as YAML; NumPy's numbers as they are."""

    def plain(own: Any) -> Any:
        if hasattr(own, "tolist"):
            return own.tolist()
        raise TypeError(f"{type(own).__name__} is no number, text, list or dict")

    try:
        return json.dumps(value, default=plain)
    except TypeError as error:
        remedy = "Use numbers, texts and lists."
        raise ConfigError(f"env_config.{key}", "must be a plain value", value, remedy) from error
