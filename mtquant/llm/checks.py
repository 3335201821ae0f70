# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, found before work starts, or explained when it happens: spec 002's table.

CUDA out of memory        explained, with the settings that need less (`explained`)
model or data not there   refused before work starts, with how to get it (`require_ready`)
wrong tokenizer           refused before work starts
poor initial performance  a model that hardly ever answers in form is refused before RL; so is a
                          limit at which answers in form would be cut off, before any training
no GPU, full disk         refused before work starts
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from mtquant.core.errors import CheckpointError, ConfigError, RunError
from mtquant.core.runs import LEAST_FREE_BYTES, check_writable
from mtquant.llm.config import NANO, LlmConfig
from mtquant.llm.models import SIZES, chosen_device
from mtquant.llm.tokenizer import load_tokenizer

COPIES = 8  # of the weights that a run keeps: stages, checkpoints with two moments, the deployment
LEAST_FORM = 0.2  # share of readable answers below which rewards teach nothing


def require_ready(config: LlmConfig, folder: Path) -> torch.device:
    """Refuses what could not work, before anything is loaded or written.

    Args:
        config: What is asked for.
        folder: Where the run will write.

    Returns:
        The device.

    Raises:
        ConfigError: No such device, or a tokenizer that does not fit.
        CheckpointError: The model is not there.
        RunError: The folder cannot be written, or the disk is too full.
    """
    device = chosen_device(config.run.device)
    source = config.model.source
    if source == NANO:
        size = SIZES[config.model.size]
        weights = 4 * (12 * size.layers * size.hidden**2 + config.model.vocabulary * size.hidden)
    else:
        weights = _require_model(source)
    check_writable(folder, max(LEAST_FREE_BYTES, COPIES * weights))
    return device


def _require_model(source: str) -> int:
    """Checks that a model and a tokenizer that fits are at hand; bytes of its weights in float32,
    as far as its configuration tells.
    """
    from transformers import AutoConfig

    try:
        shape = AutoConfig.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError) as error:
        remedy = (
            "Name a folder that holds a model, or a Hub id: `hf download ID` fetches it while "
            "there is a network, `hf auth login` comes first where it is private or gated; "
            f"model.source={NANO} needs neither."
        )
        found = f"{source}: {str(error).splitlines()[0]}"
        raise CheckpointError("model.source", "must be a model at hand", found, remedy) from error
    tokenizer = load_tokenizer(source)
    require_rows(source, max(tokenizer.get_vocab().values()), shape.vocab_size)
    layers = getattr(shape, "num_hidden_layers", 0)
    return int(4 * (12 * layers * shape.hidden_size**2 + shape.vocab_size * shape.hidden_size))


def require_rows(source: str, largest: int, rows: int) -> None:
    """Refuses a tokenizer that knows more tokens than the model.

    Raises:
        ConfigError: Its largest token has no embedding.
    """
    if largest >= rows:
        remedy = "Use the tokenizer that the model was saved with."
        rule = f"must fit the model's {rows} embeddings"
        raise ConfigError(f"tokenizer of {source}", rule, f"token {largest}", remedy)


def require_form(stage: str, parse_rate: float) -> None:
    """Refuses to reinforce a model that hardly ever answers in form.

    Raises:
        RunError: It does not.
    """
    if parse_rate < LEAST_FORM:
        remedy = "Train it longer on references (sft.max_steps, sft.learning_rate) first."
        rule = f"must begin with a model of which {LEAST_FORM:.0%} of the answers can be read"
        raise RunError(stage, rule, f"{parse_rate:.1%}", remedy)


def require_room(longest: int, most: int) -> None:
    """Refuses a limit at which an answer like a reference's would be cut off, and not be read.

    Args:
        longest: Tokens of the longest reference answer, with its end.
        most: ``generation.max_new_tokens``.

    Raises:
        ConfigError: It is less.
    """
    if most < longest:
        remedy = f"Set generation.max_new_tokens={longest} or more; longer answers are cut off."
        rule = f"must be at least {longest}, the tokens of the longest reference answer"
        raise ConfigError("generation.max_new_tokens", rule, most, remedy)


@contextmanager
def explained() -> Iterator[None]:
    """Turns a GPU's lack of memory into an error that says what needs less.

    Raises:
        RunError: The GPU has no memory left.
    """
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        remedy = (
            "Set smaller ppo.micro_batch_size, grpo.micro_batch_size, sft.batch_size or "
            "generation.batch_size, model.gradient_checkpointing=true, or model.quantization=4bit."
        )
        found: Any = str(error).splitlines()[0]
        raise RunError("GPU memory", "must hold model and batch", found, remedy) from error
