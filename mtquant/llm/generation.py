# SPDX-License-Identifier: Apache-2.0
"""Drawing answers: all prompts of a batch at once, one new token at a time, keys and values kept.

    texts = sample(model, tokenizer, prompts, temperature=1.0, seed=7, batch=64)

What was drawn comes with its log-probabilities (`Completions`), so that training need not compute
them a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from mtquant.llm.encoding import decoded, encode_prompts, left_padded

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Watch = Callable[[torch.Tensor], torch.Tensor]
"""Hidden states [N, H] to a number for each, [N]."""


@dataclass(frozen=True, eq=False)
class Completions:
    """What a model wrote behind N prompts.

    Attributes:
        prompt, prompt_real: int64 [N, P], padded on the left; 1 where a token is real.
        tokens: int64 [N, T], padded on the right.
        real: bool [N, T], true up to and with the end token.
        log_probs: float32 [N, T], of the tokens under the distribution they were drawn from; 0
            behind the end.
        values: float32 [N, T], what `watch` said of the hidden states before each token; zeros
            without it.
    """

    prompt: torch.Tensor
    prompt_real: torch.Tensor
    tokens: torch.Tensor
    real: torch.Tensor
    log_probs: torch.Tensor
    values: torch.Tensor

    def take(self, rows: torch.Tensor) -> Completions:
        """Some of them, by index."""
        return Completions(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def sample(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    *,
    temperature: float,
    seed: int,
    batch: int,
    max_new_tokens: int = 64,
) -> list[str]:
    """One answer per prompt, in their order.

    The same seed and batch give the same answers. Prompts are taken longest first, so that little
    is padded.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        prompts: Texts.
        temperature: 1 draws from the model's own distribution, 0 takes the likeliest token.
        seed: Of the draws.
        batch: Prompts at a time.
        max_new_tokens: Answers are cut off there.
    """
    rows = encode_prompts(tokenizer, prompts)
    order = sorted(range(len(rows)), key=lambda row: -len(rows[row]))
    texts = [""] * len(rows)
    generator = torch.Generator(device=model.device).manual_seed(seed)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        found = complete(
            model,
            tokenizer,
            [rows[row] for row in chosen],
            temperature=temperature,
            generator=generator,
            max_new_tokens=max_new_tokens,
        )
        for row, text in zip(chosen, decoded(tokenizer, found.tokens, found.real)):
            texts[row] = text
    return texts


def complete(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[Sequence[int]],
    *,
    temperature: float,
    generator: torch.Generator,
    max_new_tokens: int,
    watch: Watch | None = None,
) -> Completions:
    """Draws one completion per prompt of tokens.

    Args:
        model: A causal language model; it is put into evaluation mode and back.
        tokenizer: Its tokenizer.
        prompts: Tokens.
        temperature: As in `sample`.
        generator: Of the draws, on the model's device.
        max_new_tokens: T at most.
        watch: Sees the last hidden state from which each token is drawn.
    """
    prompt, real = left_padded(prompts, tokenizer.pad_token_id, model.device)
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            parts = _drawn(
                model,
                (prompt, real),
                (tokenizer.eos_token_id, tokenizer.pad_token_id),
                temperature,
                generator,
                max_new_tokens,
                watch,
            )
    finally:
        model.train(training)
    # Clones, since tensors made in inference mode cannot enter autograd.
    return Completions(prompt, real, *(part.clone() for part in parts))


def joined(parts: Sequence[Completions], padding: int) -> Completions:
    """Completions of several batches as one, padded to common widths."""
    if len(parts) == 1:
        return parts[0]
    width = max(part.prompt.shape[1] for part in parts)
    length = max(part.tokens.shape[1] for part in parts)
    pad = torch.nn.functional.pad
    found = []
    for part in parts:
        left, right = (width - part.prompt.shape[1], 0), (0, length - part.tokens.shape[1])
        found.append(
            (
                pad(part.prompt, left, value=padding),
                pad(part.prompt_real, left),
                pad(part.tokens, right, value=padding),
                pad(part.real, right),
                pad(part.log_probs, right),
                pad(part.values, right),
            )
        )
    return Completions(*(torch.cat(columns) for columns in zip(*found)))


def _drawn(
    model: Any,
    prompt: tuple[torch.Tensor, torch.Tensor],
    marks: tuple[int, int],
    temperature: float,
    generator: torch.Generator,
    max_new_tokens: int,
    watch: Watch | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    from transformers import DynamicCache

    tokens, mask = prompt
    end, padding = marks
    count, width = tokens.shape
    cache = DynamicCache(config=model.config)
    # The mask of all columns that there will be: a step sees the first so many.
    mask = torch.cat([mask, mask.new_ones(count, max_new_tokens)], dim=1)
    positions = (mask.cumsum(1) - 1).clamp_(min=0)
    # Without padding there is nothing to mask, and models then take a faster way.
    padded = bool((mask[:, :width] == 0).any())
    going = torch.ones(count, dtype=torch.bool, device=tokens.device)
    drawn, real, chances, values = [], [], [], []
    current, seen = tokens, 0
    for _ in range(max_new_tokens):
        upto = seen + current.shape[1]
        output = model(
            input_ids=current,
            attention_mask=mask[:, :upto] if padded else None,
            position_ids=positions[:, seen:upto],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            output_hidden_states=watch is not None,
        )
        seen = upto
        token, log_prob = _draw(output.logits[:, -1].float(), temperature, generator)
        token = torch.where(going, token, padding)
        drawn.append(token)
        real.append(going)
        chances.append(torch.where(going, log_prob, 0.0))
        if watch is not None:
            values.append(torch.where(going, watch(output.hidden_states[-1][:, -1]), 0.0))
        going = going & (token != end)
        if not bool(going.any()):
            break
        current = token[:, None]
    found = torch.stack(chances, dim=1)
    seen_values = torch.stack(values, dim=1) if values else torch.zeros_like(found)
    return torch.stack(drawn, dim=1), torch.stack(real, dim=1), found, seen_values


def _draw(
    logits: torch.Tensor, temperature: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A token per row of logits [N, V] and its log-probability."""
    if temperature == 0.0:
        token = logits.argmax(1)
        return token, torch.zeros_like(token, dtype=torch.float32)
    log_probs = torch.log_softmax(logits / temperature, dim=1)
    token = torch.multinomial(log_probs.exp(), 1, generator=generator)
    return token[:, 0], log_probs.gather(1, token)[:, 0]
