# SPDX-License-Identifier: Apache-2.0
"""SFT, GRPO and DPO through TRL: they learn, resume to the byte, and keep what they were told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mtquant.core.errors import CheckpointError, RunError
from mtquant.core.seeding import SeedTree
from mtquant.llm.config import DpoConfig, GrpoConfig, LoraSettings, SftConfig
from mtquant.llm.dpo import make_pairs, prefer
from mtquant.llm.encoding import encode_examples
from mtquant.llm.grpo import optimise
from mtquant.llm.models import load_model, with_adapters
from mtquant.llm.sft import fine_tune
from mtquant.llm.trl_parts import newest_checkpoint
from tests.support.nano import CPU, PLAIN, toy_job

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
    learning_rate=1e-3,
    save_steps=2,
)


def weights(job):
    return {name: p.detach().clone() for name, p in job.model.named_parameters()}


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


def test_gdpo_pays_each_part_by_itself(toy_folder, tmp_path):
    config = GRPO.model_copy(update={"aggregation": "gdpo", "max_steps": 2})
    trained = optimise(toy_job(toy_folder, tmp_path), config)
    assert trained.updates == 2
    assert {"rewards/letters/mean", "rewards/luck/mean"} <= set(trained.figures)


@pytest.mark.filterwarnings("ignore")  # bitsandbytes and its kernels warn about processors
def test_grpo_trains_adapters_on_4_bit_weights(toy_folder, tmp_path):
    config = PLAIN.model_copy(update={"quantization": "4bit"})
    model = with_adapters(load_model(toy_folder, config, CPU), LORA)
    job = toy_job(toy_folder, tmp_path, model=model)
    before = weights(job)
    optimise(job, GRPO.model_copy(update={"max_steps": 1}))
    moved = {n for n, p in job.model.named_parameters() if not torch.equal(p, before[n])}
    assert moved and all("lora" in name for name in moved)


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


@pytest.mark.parametrize("rate", [1e-3, 30.0], ids=["learns", "breaks"])
def test_a_round_that_writes_worse_is_not_kept(toy_folder, tmp_path, rate):
    job = toy_job(toy_folder, tmp_path)
    before = weights(job)
    trained = prefer(job, DPO.model_copy(update={"learning_rate": rate}))
    kept = bool(trained.figures["dpo/kept"])
    assert same(before, weights(job)) is not kept
    assert trained.rewards[-1] >= trained.rewards[0] and trained.updates == 4
    assert not (kept and rate > 1.0)


def test_adapters_are_preferred_round_after_round(toy_folder, tmp_path):
    """TRL's reference adapter goes with its round: the next makes its own, and none is saved."""
    model = with_adapters(load_model(toy_folder, PLAIN, CPU), LORA)
    job = toy_job(toy_folder, tmp_path, model=model)
    trained = prefer(job, DPO.model_copy(update={"rounds": 2}))
    assert len(trained.rewards) == 3
    assert list(job.model.peft_config) == ["default"]
