# SPDX-License-Identifier: Apache-2.0
"""A tiny language model, toy examples and a toy reward, for tests of training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from mtquant.llm.config import NANO, LoraSettings, ModelConfig
from mtquant.llm.job import Job
from mtquant.llm.models import load_model, make_nano, save_model, with_adapters
from mtquant.llm.tasks.task import Examples, Scores
from mtquant.llm.tokenizer import load_tokenizer

PROMPTS = ("Who wins, A or B?", "Up?", "Day 1: $10.50, Day 2: $11.25 (+7.14%)", "Day 3: ?")
WORDS = ("UP", "DOWN")
CPU = torch.device("cpu")
PLAIN = ModelConfig(source=NANO, vocabulary=320)
NO_LORA = LoraSettings(enabled=False)


def make_toy_run(folder: Path) -> Path:
    """An untrained model and its tokenizer in `folder`."""
    corpus = [f"{prompt} Prediction: UP, Confidence: 55%" for prompt in PROMPTS] * 4
    model, tokenizer = make_nano(PLAIN, corpus, WORDS, seed=3)
    # First weights say all tokens with nearly the same chance, whatever their states are.
    with torch.no_grad():
        model.get_input_embeddings().weight *= 5.0
    save_model(model, tokenizer, folder)
    return folder


def toy_examples(count: int = 16) -> Examples:
    prompts = tuple(PROMPTS[row % len(PROMPTS)] for row in range(count))
    columns = {"label": np.arange(count) % 2, "event": np.arange(count)}
    return Examples(prompts, ("UP",) * count, np.arange(count), columns, "toy")


@dataclass(frozen=True)
class Letters:
    """Pays the share of an answer's characters that are ASCII letters, and luck of the prompt."""

    needs: tuple[str, ...] = ("label",)
    weights: Mapping[str, float] = field(default_factory=lambda: {"letters": 1.0, "luck": 0.1})

    def __call__(self, prompts, completions, columns):
        shares = np.array(
            [
                sum(c.isascii() and c.isalpha() for c in text) / max(len(text), 1)
                for text in completions
            ]
        )
        parts = {"letters": shares, "luck": 0.1 * np.asarray(columns["label"], dtype=np.float64)}
        return Scores(parts["letters"] + parts["luck"], parts, np.ones(len(shares), dtype=bool))


def toy_job(source: Path, folder: Path, lora: LoraSettings = NO_LORA, **changes) -> Job:
    """A job on the toy model; `folder` receives checkpoints and logs."""
    torch.manual_seed(11)
    model = with_adapters(load_model(source, PLAIN, CPU, trainable=True), lora)
    values = {
        "name": "stage1",
        "model": model,
        "tokenizer": load_tokenizer(source),
        "examples": toy_examples(),
        "reward": Letters(),
        "folder": folder,
        "log_dir": folder / "logs",
        "seed": 5,
        "max_new_tokens": 6,
        "generation_batch": 8,
    }
    return Job(**(values | changes))
