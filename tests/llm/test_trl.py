# SPDX-License-Identifier: Apache-2.0
"""SFT, GRPO and DPO through TRL: they learn, resume to the byte, and keep what they were told."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from mtquant.core.errors import CheckpointError, RunError
from mtquant.core.seeding import SeedTree
from mtquant.llm import dpo
from mtquant.llm.config import DpoConfig, GrpoConfig, LoraSettings, SftConfig
from mtquant.llm.dpo import _trainer, make_pairs, prefer
from mtquant.llm.encoding import encode_examples
from mtquant.llm.generation import sample
from mtquant.llm.grpo import Pay, make_trainer, optimise
from mtquant.llm.models import load_model, merged_model, save_model, with_adapters
from mtquant.llm.sft import fine_tune
from mtquant.llm.trl_parts import newest_checkpoint, run_trainer
from tests.support.nano import CPU, PLAIN, PROMPTS, Letters, toy_job

pytestmark = pytest.mark.llm

LORA = LoraSettings(r=8, alpha=32, dropout=0.0)
SFT = SftConfig(
    max_steps=6,
    batch_size=8,
    gradient_accumulation_steps=1,
    learning_rate=1e-2,
    warmup_steps=1,
    save_steps=3,
)
GRPO = GrpoConfig(
    max_steps=8,
    batch_size=32,
    num_generations=4,
    micro_batch_size=32,
    learning_rate=1e-2,
    save_steps=4,
)
DPO = DpoConfig(
    max_steps=4,
    rounds=1,
    prompts=8,
    batch_size=4,
    micro_batch_size=4,
    learning_rate=1e-3,
    save_steps=2,
)


def weights(job):
    return {name: p.detach().clone() for name, p in job.model.named_parameters()}


def greedy(model, tokenizer):
    return sample(model, tokenizer, PROMPTS, temperature=0.0, seed=0, batch=4, max_new_tokens=6)


def same(first, other):
    return all(torch.equal(first[name], other[name]) for name in first)


def tuned(toy_folder, folder, config=SFT, **changes):
    job = toy_job(toy_folder, folder, **changes)
    rows = encode_examples(job.tokenizer, job.examples)
    return job, fine_tune(job, config, rows)


@pytest.mark.parametrize("scheduler", ["cosine", "wsd"])
def test_references_are_learnt(toy_folder, tmp_path, scheduler):
    config = SFT.model_copy(update={"scheduler_type": scheduler})
    _, trained = tuned(toy_folder, tmp_path, config)
    assert trained.updates == 6 and len(trained.losses) == 6
    assert trained.losses[-1] < 0.5 * trained.losses[0]
    assert list((tmp_path / "logs").glob("events.*"))


def test_supervised_training_resumes_to_the_byte(toy_folder, tmp_path):
    whole, together = tuned(toy_folder, tmp_path / "whole")
    place = tmp_path / "whole" / "checkpoints"
    assert newest_checkpoint(place).name == "checkpoint-6"
    (place / "checkpoint-6" / "trainer_state.json").unlink()  # killed while it saved
    again, resumed = tuned(toy_folder, tmp_path / "whole", resume=True)
    assert same(weights(again), weights(whole))
    assert resumed.losses == together.losses
    with pytest.raises(CheckpointError, match="must hold a checkpoint"):
        newest_checkpoint(tmp_path)


def test_grpo_learns_what_is_paid_and_logs_the_parts(toy_folder, tmp_path):
    trained = optimise(toy_job(toy_folder, tmp_path), GRPO)
    assert np.mean(trained.rewards[-2:]) > np.mean(trained.rewards[:2]) + 0.1
    assert {"rollout/letters", "rollout/luck", "rollout/parse_rate"} <= set(trained.figures)


def test_gdpo_knows_the_weights_that_its_division_takes_out(toy_folder, tmp_path):
    """A part's deviation within a group is divided out, and its weight with it; TRL multiplies by
    what it is told (TRL, `GRPOConfig.multi_objective_aggregation`).
    """
    job = toy_job(toy_folder, tmp_path)
    config = GRPO.model_copy(update={"aggregation": "gdpo"})
    trainer = make_trainer(job, config, Pay(job))
    assert [function.__name__ for function in trainer.reward_funcs] == ["letters", "luck"]
    torch.testing.assert_close(trainer.reward_weights.cpu(), torch.tensor([1.0, 0.1]))
    silent = replace(job, reward=Letters(weights={"letters": 2.0, "luck": 0.0}))
    trainer = make_trainer(silent, config, Pay(silent))
    assert trainer.reward_weights.tolist() == [2.0]
    plain = make_trainer(job, GRPO, Pay(job))
    assert plain.reward_weights.tolist() == [1.0] and len(plain.reward_funcs) == 1


def test_gdpo_pays_each_part_by_itself(toy_folder, tmp_path):
    config = GRPO.model_copy(update={"aggregation": "gdpo", "max_steps": 2})
    trained = optimise(toy_job(toy_folder, tmp_path), config)
    assert trained.updates == 2
    assert {"rewards/letters/mean", "rewards/luck/mean"} <= set(trained.figures)
    # The rewards that are noted are what answers earned, and not TRL's, which are normalised.
    parts = trained.figures["rollout/letters"] + trained.figures["rollout/luck"]
    assert trained.rewards[-1] == pytest.approx(parts, abs=1e-6) and min(trained.rewards) > 0.05


@pytest.mark.filterwarnings("ignore")  # bitsandbytes and its kernels warn about processors
def test_grpo_trains_adapters_on_4_bit_weights(toy_folder, tmp_path):
    config = PLAIN.model_copy(update={"quantization": "4bit"})
    model = with_adapters(load_model(toy_folder, config, CPU), LORA)
    job = toy_job(toy_folder, tmp_path, model=model)
    before = weights(job)
    optimise(job, GRPO.model_copy(update={"max_steps": 1}))
    moved = {n for n, p in job.model.named_parameters() if not torch.equal(p, before[n])}
    assert moved and all("lora" in name for name in moved)
    save_model(job.model, job.tokenizer, tmp_path / "adapters")
    again = load_model(tmp_path / "adapters", config, CPU)
    assert greedy(again, job.tokenizer) == greedy(job.model, job.tokenizer)
    merged = merged_model(tmp_path / "adapters", config, CPU)
    save_model(merged, job.tokenizer, tmp_path / "merged")
    reloaded = load_model(tmp_path / "merged", PLAIN, CPU)
    assert greedy(reloaded, job.tokenizer) == greedy(merged, job.tokenizer)


def test_pairs_are_the_best_and_the_worst_of_a_prompt(toy_folder, tmp_path):
    job = toy_job(toy_folder, tmp_path)
    pairs = make_pairs(job, DPO, SeedTree(1))
    rows = [job.examples.prompts.index(prompt) for prompt in pairs["prompt"]]
    columns = {"label": job.examples.columns["label"][rows]}
    better = job.reward(pairs["prompt"], pairs["chosen"], columns).total
    worse = job.reward(pairs["prompt"], pairs["rejected"], columns).total
    assert len(rows) and (better - worse > DPO.least_margin).all()
    with pytest.raises(RunError, match="must differ by more than 9"):
        make_pairs(job, DPO.model_copy(update={"least_margin": 9.0}), SeedTree(1))


@pytest.mark.parametrize("breaks", [False, True], ids=["learns", "breaks"])
def test_a_round_that_writes_worse_is_not_kept(toy_folder, tmp_path, monkeypatch, breaks):
    job = toy_job(toy_folder, tmp_path)
    before = weights(job)

    def silence(module, given, logits):
        """Nothing is written any more."""
        logits[..., job.tokenizer.eos_token_id] += 1e4
        return logits

    def run(*given):
        done = run_trainer(*given)
        assert not same(before, weights(job))
        if breaks:
            job.model.lm_head.register_forward_hook(silence)
        return done

    monkeypatch.setattr(dpo, "run_trainer", run)
    trained = prefer(job, DPO.model_copy(update={"learning_rate": 1e-3}))
    kept = bool(trained.figures["dpo/kept"])
    assert same(before, weights(job)) is not kept
    assert trained.rewards[-1] >= trained.rewards[0] and trained.updates == 4
    assert not (kept and breaks)


def test_the_reference_of_a_round_is_the_model_it_began_with(toy_folder, tmp_path):
    """And not what lies in the folder that the model was loaded from."""
    job = toy_job(toy_folder, tmp_path)
    with torch.no_grad():
        for parameter in job.model.parameters():
            parameter += 0.01  # what a round before has learnt
    pairs = make_pairs(job, DPO, SeedTree(1))
    trainer = _trainer(job, DPO.model_copy(update={"micro_batch_size": 2}), pairs)
    own = dict(job.model.named_parameters())
    for name, parameter in trainer.ref_model.named_parameters():
        assert torch.equal(parameter, own[name]) and parameter is not own[name]
        assert not parameter.requires_grad
    arguments = trainer.args
    passes = (arguments.per_device_train_batch_size, arguments.gradient_accumulation_steps)
    assert passes == (2, 2)
    adapted = with_adapters(load_model(toy_folder, PLAIN, CPU), LORA)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            parameter += 0.01 * ("lora" in name)
    trainer = _trainer(toy_job(toy_folder, tmp_path / "lora", model=adapted), DPO, pairs)
    assert trainer.ref_model is None
    weights_of = dict(adapted.named_parameters())
    copies = [name for name in weights_of if ".ref." in name]
    assert copies
    for name in copies:
        assert torch.equal(weights_of[name], weights_of[name.replace(".ref.", ".default.")])


@pytest.mark.parametrize("bf16", [False, True])
def test_adapters_resume_to_the_byte_in_their_own_number_format(toy_folder, tmp_path, bf16):
    def job(**changes):
        torch.manual_seed(2)
        config = PLAIN.model_copy(update={"bf16": bf16})
        model = with_adapters(load_model(toy_folder, config, CPU), LORA)
        return toy_job(toy_folder, tmp_path, model=model, **changes)

    whole = job()
    rows = encode_examples(whole.tokenizer, whole.examples)
    fine_tune(whole, SFT, rows)
    shutil.rmtree(tmp_path / "checkpoints" / "checkpoint-6")
    again = job(resume=True)
    fine_tune(again, SFT, rows)
    assert same(weights(again), weights(whole))
    formats = {p.dtype for n, p in again.model.named_parameters() if "lora" in n}
    assert formats == {torch.float32}


def test_adapters_are_preferred_round_after_round(toy_folder, tmp_path):
    """TRL's reference adapter goes with its round: the next makes its own, and none is saved."""
    model = with_adapters(load_model(toy_folder, PLAIN, CPU), LORA)
    job = toy_job(toy_folder, tmp_path, model=model)
    trained = prefer(job, DPO.model_copy(update={"rounds": 2}))
    assert len(trained.rewards) == 3
    assert list(job.model.peft_config) == ["default"]
