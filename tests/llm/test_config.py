# SPDX-License-Identifier: Apache-2.0
"""The shipped files say what the code does; typing errors are answered with the nearest key."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from mtquant.core.errors import ConfigError
from mtquant.llm.config import LlmConfig, load_llm_config, shipped_config
from mtquant.llm.passes import in_passes_of


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
        ("dpo.micro_batch_size=3", "must be a multiple of micro_batch_size"),
        ("stages.algorithm=reinforce", "stages.algorithm"),
    ],
)
def test_what_cannot_be_is_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        load_llm_config(None, [override])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.bf16=true", "lora.enabled=false"], "lora.enabled must be true with model.bf16"),
        (["grpo.aggregation=gdpo", "grpo.scale_rewards=group"], "scale_rewards must be none with"),
    ],
)
def test_what_does_not_go_together_is_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_llm_config(None, overrides)


def test_smaller_passes_leave_updates_as_they_are():
    config = LlmConfig()
    small = in_passes_of(config, 2)
    assert (small.sft.batch_size, small.sft.gradient_accumulation_steps) == (2, 8)
    assert small.sft.examples_per_update == config.sft.examples_per_update
    for name in ("ppo", "grpo", "dpo"):
        own = getattr(small, name)
        assert own.micro_batch_size == 2
        restored = own.model_copy(update={"micro_batch_size": 16})
        assert restored == getattr(config, name)
    assert small.generation.batch_size == 2
    with pytest.raises(ConfigError, match=r"--batch-size must divide the 16 of an update of sft"):
        in_passes_of(config, 3)


def test_the_script_passes_its_batch_size_on():
    script = Path(__file__).parents[2] / "scripts" / "train_direct.sh"
    environment = {**os.environ, "PYTHON": "echo", "BATCH_SIZE": "1", "CONFIG": "my.yaml"}
    done = subprocess.run(
        [script, "--resume"], env=environment, capture_output=True, text=True, check=True
    )
    expected = "-m mtquant llm pipeline --config my.yaml --batch-size 1 --resume"
    assert done.stdout.split() == expected.split()
