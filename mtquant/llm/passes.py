# SPDX-License-Identifier: Apache-2.0
"""How an update is cut up: what to change where a GPU has not enough memory, and nothing else.

config = in_passes_of(config, 1)
"""

from __future__ import annotations

from mtquant.core.errors import ConfigError
from mtquant.llm.config import LlmConfig

PASSING = ("ppo", "grpo", "dpo")  # sections that cut an update into micro batches


def in_passes_of(config: LlmConfig, size: int) -> LlmConfig:
    """The same training with so many examples, answers or pairs per pass through the model: less or
    more memory, updates of the same sizes. Answers are also drawn so many at a time.

    Raises:
        ConfigError: An update is no multiple of it.
    """
    updates = {
        "sft": config.sft.examples_per_update,
        "grpo": config.grpo.batch_size,
        "dpo": config.dpo.batch_size,
    }
    for name, whole in updates.items():
        if size < 1 or whole % size:
            rule = f"must divide the {whole} of an update of {name}"
            remedy = "Choose another, or change the size of the update in the configuration."
            raise ConfigError("--batch-size", rule, size, remedy)
    passes = {"batch_size": size, "gradient_accumulation_steps": updates["sft"] // size}
    pieces = {"micro_batch_size": size}
    changes = {name: getattr(config, name).model_copy(update=pieces) for name in PASSING}
    changes["sft"] = config.sft.model_copy(update=passes)
    changes["generation"] = config.generation.model_copy(update={"batch_size": size})
    return config.model_copy(update=changes)
