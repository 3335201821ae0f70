# SPDX-License-Identifier: Apache-2.0
"""Direct preference optimisation through TRL, on pairs that the model wrote and the reward judged.

Source: Rafailov et al. 2023, "Direct preference optimization"; the likelihood term of the chosen
answer is Pang et al. 2024, "Iterative reasoning preference optimization". Preferences can be learnt
while answers become worse (margins rise, likelihoods fall), so a round is kept only if what the
model *writes* earns more than before on the same prompts.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
from datasets import Dataset
from trl import DPOConfig as TrlConfig
from trl import DPOTrainer

from mtquant.core.errors import RunError
from mtquant.core.seeding import SeedTree
from mtquant.llm.config import DpoConfig
from mtquant.llm.generation import sample
from mtquant.llm.job import Job, Trained, scored
from mtquant.llm.models import trainable_parameters
from mtquant.llm.trl_parts import common_arguments, run_trainer

JUDGED = 256  # prompts whose answers decide whether a round is kept


def prefer(job: Job, config: DpoConfig) -> Trained:
    """Rounds of writing answers, learning the better ones, and keeping what writes better.

    There is nothing to resume: an interrupted stage begins anew.

    Raises:
        RunError: All answers to a prompt were worth the same, for every prompt.
    """
    seeds = SeedTree(job.seed).child("llm", "dpo", job.name)
    judged = seeds.child("judged").generator().permutation(len(job.examples))[:JUDGED].tolist()
    trained = Trained(0, rewards=[_earns(job, judged, seeds)])
    for number in range(config.rounds):
        pairs = make_pairs(job, config, seeds.child("round", number))
        kept = {name: p.detach().clone() for name, p in trainable_parameters(job.model).items()}
        own = replace(job, folder=job.folder / f"round{number}", log_dir=job.log_dir / f"{number}")
        done = run_trainer(_trainer(own, config, pairs), replace(own, resume=False))
        if "ref" in getattr(job.model, "peft_config", {}):
            job.model.delete_adapter("ref")  # TRL's reference; every round begins with its own
        earns = _earns(job, judged, seeds)
        better = earns > trained.rewards[-1]
        if not better:
            for name, parameter in trainable_parameters(job.model).items():
                parameter.data.copy_(kept[name])
        trained.updates += done.updates
        trained.losses += done.losses
        trained.rewards.append(max(earns, trained.rewards[-1]))
        trained.figures |= {**done.figures, "rollout/reward": earns, "dpo/kept": float(better)}
    return trained


def make_pairs(job: Job, config: DpoConfig, seeds: SeedTree) -> dict[str, list[str]]:
    """The best and the worst of several answers to each prompt, where their rewards differ.

    Returns:
        Columns prompt, chosen, rejected.

    Raises:
        RunError: No pair differs by `least_margin`.
    """
    order = seeds.child("prompts").generator().permutation(len(job.examples))[: config.prompts]
    rows = np.repeat(order, config.num_generations)
    prompts = [job.examples.prompts[row] for row in rows]
    texts = _answers(job, prompts, seeds.child("answers").integer())
    rewards = scored(job, rows.tolist(), texts).total.reshape(-1, config.num_generations)
    best, worst = rewards.argmax(1), rewards.argmin(1)
    margins = rewards.max(1) - rewards.min(1)
    columns: dict[str, list[str]] = {"prompt": [], "chosen": [], "rejected": []}
    for place in np.flatnonzero(margins > config.least_margin):
        first = int(place) * config.num_generations
        columns["prompt"].append(prompts[first])
        columns["chosen"].append(texts[first + int(best[place])])
        columns["rejected"].append(texts[first + int(worst[place])])
    if not columns["prompt"]:
        remedy = "Sample at a higher temperature, or lower dpo.least_margin."
        found = f"largest difference {margins.max():.4f}"
        raise RunError("pairs", f"must differ by more than {config.least_margin}", found, remedy)
    return columns


def _trainer(job: Job, config: DpoConfig, pairs: dict[str, list[str]]) -> Any:
    types, weights = ["sigmoid"], [1.0]
    if config.sft_weight:
        types, weights = ["sigmoid", "sft"], [1.0, config.sft_weight]
    folder = job.folder / "checkpoints"
    arguments = TrlConfig(
        **common_arguments(job, folder, config.save_steps, config.max_grad_norm),
        max_steps=config.max_steps,
        per_device_train_batch_size=config.micro_batch_size,
        gradient_accumulation_steps=config.batch_size // config.micro_batch_size,
        learning_rate=config.learning_rate,
        lr_scheduler_type="linear",
        loss_type=types,
        loss_weights=weights,
        beta=config.beta,
        max_length=None,
    )
    # Left to itself TRL reads the reference from where the model was loaded: what the stage began
    # with, and not the round. Of adapters it keeps a copy of its own.
    whole = not getattr(job.model, "peft_config", None)
    return DPOTrainer(
        model=job.model,
        ref_model=deepcopy(job.model).requires_grad_(False) if whole else None,
        args=arguments,
        train_dataset=Dataset.from_dict(pairs),
        processing_class=job.tokenizer,
    )


def _earns(job: Job, rows: list[int], seeds: SeedTree) -> float:
    """Mean reward of what the model writes, on the same prompts with the same draws every time."""
    prompts = [job.examples.prompts[row] for row in rows]
    texts = _answers(job, prompts, seeds.child("judge").integer())
    return float(scored(job, rows, texts).total.mean())


def _answers(job: Job, prompts: list[str], seed: int) -> list[str]:
    return sample(
        job.model,
        job.tokenizer,
        prompts,
        temperature=job.temperature,
        seed=seed,
        batch=job.generation_batch,
        max_new_tokens=job.max_new_tokens,
    )
