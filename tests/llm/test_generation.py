# SPDX-License-Identifier: Apache-2.0
"""What is drawn is what the model says, with or without cache, padding or company."""

from __future__ import annotations

import pytest
import torch

from mtquant.llm.encoding import encode_examples, encode_prompts
from mtquant.llm.generation import complete, joined, sample
from mtquant.llm.models import load_model
from mtquant.llm.ppo_parts import score
from mtquant.llm.tokenizer import load_tokenizer
from tests.support.nano import CPU, PLAIN, PROMPTS, toy_examples

pytestmark = pytest.mark.llm


@pytest.fixture(scope="module")
def parts(toy_folder):
    return load_model(toy_folder, PLAIN, CPU), load_tokenizer(toy_folder)


def drawn(parts, prompts, temperature=1.0, watch=None):
    model, tokenizer = parts
    return complete(
        model,
        tokenizer,
        encode_prompts(tokenizer, prompts),
        temperature=temperature,
        generator=torch.Generator().manual_seed(1),
        max_new_tokens=7,
        watch=watch,
    )


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_with_and_without_cache_agree(parts, temperature):
    found = drawn(parts, PROMPTS, temperature)
    with torch.no_grad():
        scored = score(parts[0].eval(), found, temperature)
    alone = scored.log_probs * found.real
    torch.testing.assert_close(found.log_probs, alone, atol=2e-6, rtol=0.0)


def test_values_are_of_the_states_before_each_token(parts):
    weights = torch.linspace(-1.0, 1.0, 64)
    found = drawn(parts, PROMPTS, watch=lambda hidden: hidden @ weights)
    with torch.no_grad():
        scored = score(parts[0].eval(), found, 1.0)
    torch.testing.assert_close(
        found.values, (scored.hidden @ weights) * found.real, atol=2e-5, rtol=0.0
    )


def test_greedy_answers_are_those_of_transformers(parts):
    model, tokenizer = parts
    own = sample(model, tokenizer, PROMPTS, temperature=0.0, seed=0, batch=4, max_new_tokens=9)
    batch = tokenizer(list(PROMPTS), return_tensors="pt", padding=True)
    theirs = model.generate(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        do_sample=False,
        max_new_tokens=9,
    )
    texts = tokenizer.batch_decode(theirs[:, batch["input_ids"].shape[1] :], True)
    assert own == texts


def test_company_in_the_batch_changes_nothing(parts):
    model, tokenizer = parts
    one = sample(model, tokenizer, PROMPTS, temperature=0.0, seed=0, batch=1, max_new_tokens=9)
    four = sample(model, tokenizer, PROMPTS, temperature=0.0, seed=0, batch=4, max_new_tokens=9)
    assert one == four


def test_the_same_seed_draws_the_same_answers(parts):
    model, tokenizer = parts
    first, again, other = (
        sample(model, tokenizer, PROMPTS, temperature=1.0, seed=seed, batch=3, max_new_tokens=9)
        for seed in (4, 4, 5)
    )
    assert first == again != other


def test_joined_batches_score_as_they_did(parts):
    found = joined([drawn(parts, PROMPTS[:1]), drawn(parts, PROMPTS[1:])], padding=0)
    with torch.no_grad():
        scored = score(parts[0].eval(), found, 1.0)
    torch.testing.assert_close(found.log_probs, scored.log_probs * found.real, atol=2e-6, rtol=0.0)


def test_examples_come_back_from_the_cache(parts, tmp_path):
    examples = toy_examples()
    made = encode_examples(parts[1], examples, tmp_path)
    (stored,) = tmp_path.iterdir()
    stamp = stored.stat().st_mtime_ns
    assert encode_examples(parts[1], examples, tmp_path).prompts == made.prompts
    assert encode_examples(parts[1], examples, tmp_path).answers == made.answers
    assert stored.stat().st_mtime_ns == stamp and len(list(tmp_path.iterdir())) == 1
    assert all(row[-1] == parts[1].eos_token_id for row in made.answers)
