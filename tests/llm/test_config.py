# SPDX-License-Identifier: Apache-2.0
"""The shipped files say what the code does; typing errors are answered with the nearest key."""

from __future__ import annotations

import pytest

from mtquant.core.errors import ConfigError
from mtquant.llm.config import LlmConfig, load_llm_config, shipped_config


def test_the_shipped_file_spells_the_defaults_out():
    assert load_llm_config(shipped_config("llm.yaml")) == LlmConfig()


def test_the_demo_needs_no_network_and_no_gpu():
    config = load_llm_config(shipped_config("llm_demo.yaml"), ["run.seed=3"])
    assert config.model.source == "mtquant-nano" and config.task.source == "synthetic"
    assert config.run.seed == 3 and not config.lora.enabled


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("ppo.learning_rat=1", "Did you mean ppo.learning_rate"),
        ("ppo.rollout_batch_size=10", "must be a multiple of answers_per_prompt"),
        ("grpo.num_generations=7", "must be a multiple of num_generations"),
        ("lora.dropout=1.0", "must be less than 1"),
        ("stages.algorithm=reinforce", "stages.algorithm"),
    ],
)
def test_what_cannot_be_is_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        load_llm_config(None, [override])
