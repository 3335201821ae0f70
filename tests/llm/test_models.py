# SPDX-License-Identifier: Apache-2.0
"""Models open with the libraries that everybody has; adapters merge; quantised ones train."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mtquant.core.errors import CheckpointError, ConfigError
from mtquant.llm.config import LoraSettings, ModelConfig, PpoConfig
from mtquant.llm.generation import sample
from mtquant.llm.models import (
    chosen_device,
    load_model,
    make_nano,
    merged_model,
    save_model,
    with_adapters,
)
from mtquant.llm.ppo import PpoTrainer
from mtquant.llm.tokenizer import load_tokenizer
from mtquant.llm.value_head import ValueHead
from tests.support.nano import CPU, PLAIN, PROMPTS, WORDS, toy_job

pytestmark = pytest.mark.llm

LORA = LoraSettings(r=8, alpha=32, dropout=0.0)
SHORT = PpoConfig(
    num_rollouts=2,
    rollout_batch_size=8,
    micro_batch_size=8,
    ppo_epochs=1,
    learning_rate=1e-2,
)


def greedy(model, tokenizer):
    return sample(model, tokenizer, PROMPTS, temperature=0.0, seed=0, batch=4, max_new_tokens=6)


def logits(model, tokenizer):
    """Of every token of the prompts."""
    encoded = tokenizer(list(PROMPTS), return_tensors="pt", padding=True)
    rows = {name: encoded[name] for name in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        return model.eval()(**rows).logits.clone()


def test_the_seed_decides_the_first_weights(toy_folder):
    models = [make_nano(PLAIN, PROMPTS, WORDS, seed)[0] for seed in (1, 1, 2)]
    first, again, other = (model.get_input_embeddings().weight for model in models)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert models[0].config.vocab_size == len(make_nano(PLAIN, PROMPTS, WORDS, 1)[1])


def test_adapters_open_with_peft_and_merge_into_the_same_answers(toy_folder, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    job = toy_job(toy_folder, tmp_path, LORA)
    PpoTrainer(job, SHORT).train()
    tokenizer, folder = job.tokenizer, tmp_path / "adapters"
    save_model(job.model, tokenizer, folder)
    assert not (folder / "model.safetensors").exists()
    base = AutoModelForCausalLM.from_pretrained(str(toy_folder))
    plainly, learnt = logits(base, tokenizer), logits(job.model, tokenizer)
    assert not torch.allclose(plainly, learnt, atol=1e-4)
    opened = PeftModel.from_pretrained(base, str(folder))
    torch.testing.assert_close(logits(opened, tokenizer), learnt, rtol=0.0, atol=1e-5)
    expected = greedy(job.model, tokenizer)
    assert greedy(opened, tokenizer) == expected
    save_model(merged_model(folder, PLAIN, CPU), tokenizer, tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(str(tmp_path / "merged"))
    assert greedy(merged, load_tokenizer(tmp_path / "merged")) == expected


@pytest.mark.parametrize("bits", ["4bit", "8bit"])
@pytest.mark.filterwarnings("ignore")  # bitsandbytes and its kernels warn about processors
def test_quantised_models_learn_through_adapters(toy_folder, tmp_path, bits):
    config = PLAIN.model_copy(update={"quantization": bits})
    torch.manual_seed(2)
    model = with_adapters(load_model(toy_folder, config, CPU), LORA)
    job = toy_job(toy_folder, tmp_path, model=model)
    before = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    trained = PpoTrainer(job, SHORT).train()
    assert np.isfinite(trained.losses).all() and len(trained.rewards) == 2
    moved = [not torch.equal(p, before[n]) for n, p in model.named_parameters() if p.requires_grad]
    assert any(moved) and all("lora" in name for name in before)
    save_model(model, job.tokenizer, tmp_path / "adapters")
    again = load_model(tmp_path / "adapters", config, CPU)
    assert greedy(again, job.tokenizer) == greedy(model, job.tokenizer)
    plain = merged_model(tmp_path / "adapters", config, CPU)
    save_model(plain, job.tokenizer, tmp_path / "merged")
    reloaded = load_model(tmp_path / "merged", PLAIN, CPU)
    assert greedy(reloaded, job.tokenizer) == greedy(plain, job.tokenizer)


def test_the_value_head_begins_at_0_and_comes_back(tmp_path):
    head = ValueHead(8, seed=1)
    states = torch.randn(3, 5, 8, requires_grad=True)
    assert torch.equal(head(states), torch.zeros(3, 5))
    with torch.no_grad():
        head.outer.weight += 1.0
    head.save(tmp_path)
    other = ValueHead(8, seed=2)
    other.load(tmp_path)
    assert torch.equal(other(states), head(states))
    head(states).sum().backward()
    assert states.grad is None  # what is learnt about worth never moves the model
    with pytest.raises(CheckpointError, match="must fit the model"):
        ValueHead(9, seed=1).load(tmp_path)


def test_what_cannot_be_is_refused(toy_folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="this machine has"):
        chosen_device("cuda")
    assert chosen_device("auto") == CPU
    with pytest.raises(CheckpointError, match="must be a readable model"):
        load_model("no/such/model", PLAIN, CPU)
    wrong = LoraSettings(target_modules=("no_such_layer",))
    with pytest.raises(ConfigError, match=r"must name layers.*q_proj"):
        with_adapters(load_model(toy_folder, PLAIN, CPU), wrong)
    quantised = load_model(toy_folder, ModelConfig(quantization="8bit"), CPU)
    with pytest.raises(ConfigError, match="must be true for a quantised model"):
        with_adapters(quantised, LoraSettings(enabled=False))
