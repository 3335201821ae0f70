# SPDX-License-Identifier: Apache-2.0
"""Texts as rows of tokens: encoded once, cached, padded where models need it.

A row is ``[padding | prompt | answer | padding]``: prompts end at the same column, so that a model
goes on behind them together, and answers begin there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from mtquant.core.errors import DataError
from mtquant.core.records import write_atomically

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from mtquant.llm.tasks.task import Examples


@dataclass(frozen=True, eq=False)
class TokenRows:
    """Examples as tokens.

    Attributes:
        prompts, answers: One list of tokens each; answers end with the end token.
    """

    prompts: list[list[int]]
    answers: list[list[int]]

    def longest(self) -> int:
        """Tokens of the longest example."""
        return max(len(p) + len(a) for p, a in zip(self.prompts, self.answers))


def encode_prompts(tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str]) -> list[list[int]]:
    """Tokens of each prompt, with what the tokenizer puts before a text."""
    encoded: list[list[int]] = tokenizer(list(prompts))["input_ids"]
    end = tokenizer.eos_token_id
    # Some tokenizers close every text; an answer must be able to follow.
    return [ids[:-1] if ids and ids[-1] == end else ids for ids in encoded]


def encode_answers(tokenizer: PreTrainedTokenizerFast, answers: Sequence[str]) -> list[list[int]]:
    """Tokens of each answer and the end token."""
    encoded = tokenizer(list(answers), add_special_tokens=False)["input_ids"]
    return [[*ids, tokenizer.eos_token_id] for ids in encoded]


def encode_examples(
    tokenizer: PreTrainedTokenizerFast, examples: Examples, cache: Path | None = None
) -> TokenRows:
    """Examples as tokens, from the cache where these texts were encoded with this tokenizer.

    Args:
        tokenizer: Whose tokens.
        examples: What to encode.
        cache: Folder of the cache; None does without.

    Raises:
        DataError: There are no examples.
    """
    if len(examples) == 0:
        raise DataError("examples", "must not be empty", 0, "Use more data, or a longer split.")
    if cache is None:
        return _encoded(tokenizer, examples)
    place = cache / f"{_key(tokenizer, examples)}.npz"
    if place.is_file():
        with np.load(place, allow_pickle=False) as stored:
            return TokenRows(
                _split(stored["prompts"], stored["prompt_lengths"]),
                _split(stored["answers"], stored["answer_lengths"]),
            )
    rows = _encoded(tokenizer, examples)
    cache.mkdir(parents=True, exist_ok=True)
    arrays = {
        "prompts": _flat(rows.prompts),
        "prompt_lengths": np.array([len(row) for row in rows.prompts]),
        "answers": _flat(rows.answers),
        "answer_lengths": np.array([len(row) for row in rows.answers]),
    }
    write_atomically(place, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
    return rows


def left_padded(
    rows: Sequence[Sequence[int]], padding: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows as int64 [N, longest], aligned on the right, and where they are real, int64."""
    width = max(len(row) for row in rows)
    tokens = np.full((len(rows), width), padding, dtype=np.int64)
    real = np.zeros((len(rows), width), dtype=np.int64)
    for place, row in enumerate(rows):
        tokens[place, width - len(row) :] = row
        real[place, width - len(row) :] = 1
    return torch.from_numpy(tokens).to(device), torch.from_numpy(real).to(device)


def decoded(tokenizer: PreTrainedTokenizerFast, tokens: Any, real: Any) -> list[str]:
    """Texts of completions [N, T] without special tokens; `real` is true up to the end token."""
    rows = [row[keep.bool()].tolist() for row, keep in zip(tokens, real)]
    special = set(tokenizer.all_special_ids)
    texts: list[str] = tokenizer.batch_decode(
        [[t for t in row if t not in special] for row in rows]
    )
    return texts


def _encoded(tokenizer: PreTrainedTokenizerFast, examples: Examples) -> TokenRows:
    return TokenRows(
        encode_prompts(tokenizer, examples.prompts), encode_answers(tokenizer, examples.answers)
    )


def _key(tokenizer: PreTrainedTokenizerFast, examples: Examples) -> str:
    digest = hashlib.sha256(json.dumps(tokenizer.get_vocab(), sort_keys=True).encode())
    digest.update(json.dumps([examples.prompts, examples.answers]).encode())
    return digest.hexdigest()[:32]


def _flat(rows: Sequence[Sequence[int]]) -> NDArray[np.int32]:
    return np.concatenate([np.asarray(row, dtype=np.int32) for row in rows])


def _split(flat: NDArray[np.int32], lengths: NDArray[np.int64]) -> list[list[int]]:
    ends = np.cumsum(lengths).tolist()
    numbers = flat.tolist()
    return [numbers[end - size : end] for end, size in zip(ends, lengths.tolist())]
