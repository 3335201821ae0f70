# SPDX-License-Identifier: Apache-2.0
"""Supervised fine-tuning through TRL, on reference answers encoded beforehand."""

from __future__ import annotations

from typing import Any

from datasets import Dataset
from trl import SFTConfig as TrlConfig
from trl import SFTTrainer

from mtquant.llm.config import SftConfig
from mtquant.llm.encoding import TokenRows
from mtquant.llm.job import Job, Trained
from mtquant.llm.trl_parts import common_arguments, run_trainer

IGNORED = -100  # labels that no loss is computed of
WSD_FALL = 0.2  # share of the updates over which the rate falls


def fine_tune(job: Job, config: SftConfig, rows: TokenRows) -> Trained:
    """Trains the job's model to write the reference answers behind their prompts.

    Args:
        job: Model, folders and seed.
        config: Batches and rates.
        rows: The examples' tokens; the loss is that of the answers alone.

    Raises:
        CheckpointError: The job resumes and there is no checkpoint.
    """
    data = Dataset.from_dict(
        {
            "input_ids": [p + a for p, a in zip(rows.prompts, rows.answers)],
            "labels": [[IGNORED] * len(p) + a for p, a in zip(rows.prompts, rows.answers)],
        }
    )
    epoch = max(1, -(-len(data) // config.examples_per_update))
    updates = config.max_steps or max(1, round(config.num_epochs * epoch))
    folder = job.folder / "checkpoints"
    arguments = TrlConfig(
        **common_arguments(job, folder, config.save_steps, config.max_grad_norm),
        max_steps=updates,
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        learning_rate=config.learning_rate,
        warmup_steps=min(config.warmup_steps, updates // 2),
        weight_decay=config.weight_decay,
        max_length=rows.longest(),
        dataset_kwargs={"skip_prepare_dataset": True},
        **_schedule(config, updates),
    )
    trainer = SFTTrainer(
        model=job.model, args=arguments, train_dataset=data, processing_class=job.tokenizer
    )
    return run_trainer(trainer, job)


def _schedule(config: SftConfig, updates: int) -> dict[str, Any]:
    if config.scheduler_type == "cosine":
        return {
            "lr_scheduler_type": "cosine_with_min_lr",
            "lr_scheduler_kwargs": {"min_lr_rate": config.min_lr_ratio},
        }
    if config.scheduler_type == "wsd":
        falling = max(1, round(WSD_FALL * updates))
        return {
            "lr_scheduler_type": "warmup_stable_decay",
            "lr_scheduler_kwargs": {"num_decay_steps": falling},
        }
    return {"lr_scheduler_type": "constant_with_warmup"}
