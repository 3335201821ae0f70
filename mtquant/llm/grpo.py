# SPDX-License-Identifier: Apache-2.0
"""Group-relative policy optimisation through TRL, on a task's reward.

Source: Shao et al. 2024, "DeepSeekMath"; Liu et al. 2025, "Understanding R1-zero-like training" for
leaving out the divisions; Liu et al. 2026, "GDPO", for normalising each part of a reward by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from datasets import Dataset
from trl import GRPOConfig as TrlConfig
from trl import GRPOTrainer

from mtquant.core.telemetry import Telemetry
from mtquant.llm.config import GrpoConfig
from mtquant.llm.job import Job, Trained, log_texts, scored
from mtquant.llm.tasks.task import Scores
from mtquant.llm.trl_parts import EARNED, common_arguments, run_trainer

ROW = "row"  # column of the dataset that says which example a prompt is


class Pay:
    """The job's reward as TRL asks for it; the parts of it are logged.

    Args:
        job: Whose examples and reward.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._texts: list[tuple[str, str, float]] = []

    def total(self, completions: list[str], row: list[int], **extra: Any) -> list[float | None]:
        """Rewards of completions of the prompts of some rows."""
        rewards: list[float | None] = self._noted(completions, row, extra).total.tolist()
        return rewards

    def part(self, name: str, *, first: bool) -> Callable[..., list[float | None]]:
        """One part of the reward, under its own name; the first also notes the whole."""

        def pay(completions: list[str], row: list[int], **extra: Any) -> list[float | None]:
            if first:
                scores = self._noted(completions, row, extra)
            else:
                scores = scored(self._job, row, completions)
            found: list[float | None] = scores.parts[name].tolist()
            return found

        pay.__name__ = name
        return pay

    def _noted(self, completions: list[str], row: list[int], extra: Mapping[str, Any]) -> Scores:
        """Scores, which are logged. What TRL calls the reward is normalised already with GDPO."""
        scores = scored(self._job, row, completions)
        log = extra["log_metric"]
        log(EARNED, float(scores.total.mean()))
        log("rollout/parse_rate", float(scores.parsed.mean()))
        for name, values in scores.parts.items():
            log(f"rollout/{name}", float(values.mean()))
        prompts = [self._job.examples.prompts[one] for one in row]
        few = self._job.log_completions
        self._texts = list(zip(prompts[:few], completions, scores.total.tolist(), strict=False))
        return scores

    def log(self, board: Telemetry, step: int) -> None:
        """Writes the latest answers to TensorBoard."""
        if self._texts:
            prompts, texts, rewards = zip(*self._texts)
            log_texts(board, prompts, texts, rewards, step)


def optimise(job: Job, config: GrpoConfig) -> Trained:
    """Trains the job's model by comparing its answers to the same prompt.

    Raises:
        ConfigError: The job has no reward.
        CheckpointError: It resumes and there is no checkpoint.
    """
    pay = Pay(job)
    return run_trainer(make_trainer(job, config, pay), job, pay.log)


def make_trainer(job: Job, config: GrpoConfig, pay: Pay) -> GRPOTrainer:
    """TRL's trainer for a job.

    GDPO divides each part by its deviation within a group, which takes the weight out that the part
    was made with; TRL multiplies by it again afterwards, where it is told.
    """
    columns = {"prompt": list(job.examples.prompts), ROW: list(range(len(job.examples)))}
    weights: Mapping[str, float] = {}
    if config.aggregation == "gdpo" and job.reward is not None:
        weights = {name: weight for name, weight in job.reward.weights.items() if weight > 0.0}
    functions: list[Any] = [pay.part(name, first=not place) for place, name in enumerate(weights)]
    functions = functions or [pay.total]
    together = "normalize_then_sum" if weights else "sum_then_normalize"
    arguments = TrlConfig(
        **common_arguments(
            job, job.folder / "checkpoints", config.save_steps, config.max_grad_norm
        ),
        max_steps=config.max_steps,
        per_device_train_batch_size=config.micro_batch_size,
        gradient_accumulation_steps=config.batch_size // config.micro_batch_size,
        num_generations=config.num_generations,
        max_completion_length=job.max_new_tokens,
        temperature=job.temperature,
        top_k=0,
        learning_rate=config.learning_rate,
        lr_scheduler_type="linear",
        loss_type=config.loss_type,
        scale_rewards=config.scale_rewards,
        multi_objective_aggregation=together,
        reward_weights=list(weights.values()) or None,
        beta=config.beta,
    )
    return GRPOTrainer(
        model=job.model,
        reward_funcs=functions,
        args=arguments,
        train_dataset=Dataset.from_dict(columns),
        processing_class=job.tokenizer,
    )
