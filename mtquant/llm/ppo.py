# SPDX-License-Identifier: Apache-2.0
"""Token-level PPO for language models, with a value head, a leash and exact resume.

Source: Schulman et al. 2017, "Proximal policy optimization"; for language models Ziegler et al.
2019 and Ouyang et al. 2022. Advantages, losses, schedules and checkpoints are the traders' own
(`mtquant.learning`). Every round draws from seeds of its own number, so no generator has to be
kept: a run that was killed goes on to the byte.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from mtquant.core.errors import CheckpointError, ConfigError
from mtquant.core.seeding import SeedTree
from mtquant.core.states import Arrays, below, part
from mtquant.core.telemetry import Telemetry
from mtquant.learning.checkpoints import CheckpointStore
from mtquant.learning.losses import normalised
from mtquant.learning.schedules import rate_at
from mtquant.llm.config import PpoConfig
from mtquant.llm.encoding import decoded, encode_prompts
from mtquant.llm.generation import Completions, complete, joined
from mtquant.llm.identity import require_same
from mtquant.llm.job import (
    Job,
    Trained,
    fill_tensor,
    fingerprint,
    log_texts,
    numpy_of,
    scored,
    tensor_of,
)
from mtquant.llm.models import trainable_parameters
from mtquant.llm.ppo_parts import (
    FIGURES,
    Batch,
    Float,
    Leash,
    beyond_others,
    losses,
    score,
    token_advantages,
    token_rewards,
)
from mtquant.llm.value_head import ValueHead

BETAS = (0.9, 0.98)
CHECKPOINTS = "checkpoints"
Weights = dict[str, torch.Tensor]


class PpoTrainer:
    """Trains the model of a job; `train` runs it to the end.

    Args:
        job: What to train, on what, for what.
        config: PPO's settings.

    Raises:
        ConfigError: No weight of the model learns, or answers are not drawn but chosen.
    """

    def __init__(self, job: Job, config: PpoConfig) -> None:
        if job.temperature <= 0.0:
            remedy = "Set generation.temperature=1."
            raise ConfigError(
                "generation.temperature", "must be above 0 to train", job.temperature, remedy
            )
        self.job, self.config = job, config
        self.model = job.model
        # Answers are drawn without dropout: with it, the ratio to what was drawn would be noise.
        for module in self.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        self.policy = trainable_parameters(self.model)
        if not self.policy:
            remedy = "Set lora.enabled=true, or load the adapters as trainable."
            raise ConfigError("model", "must have weights that learn", 0, remedy)
        self._seeds = SeedTree(job.seed).child("llm", "ppo", job.name)
        hidden = self.model.get_input_embeddings().weight.shape[1]
        device = self.model.device
        self.head = ValueHead(hidden, self._seeds.child("head").integer()).to(device)
        self.optimizer = torch.optim.AdamW(
            [
                {"params": list(self.policy.values()), "lr": config.learning_rate},
                {"params": list(self.head.parameters()), "lr": config.value_learning_rate},
            ],
            betas=BETAS,
            weight_decay=0.0,
            fused=True,
        )
        # The policy that a stage begins with, swapped in where the reference has to speak: with
        # adapters that is all that differs, and a second model is never held.
        self._reference = {name: p.detach().clone() for name, p in self.policy.items()}
        self._prompts = encode_prompts(job.tokenizer, job.examples.prompts)
        self._leash = Leash(config.kl)
        self._store = CheckpointStore(job.folder / CHECKPOINTS)
        self.trained = Trained(0)
        self._done = 0

    def train(self) -> Trained:
        """Runs all rounds; the model holds what was learnt.

        Raises:
            CheckpointError: There is nothing to resume, or it is another run's.
        """
        if self.job.resume:
            self._resume()
        else:
            self._store.clear()
        resumed_at = self._done if self.job.resume else 0
        with Telemetry(self.job.log_dir, resumed_at=resumed_at) as board:
            while self._done < self.config.num_rollouts:
                figures = self.step(board)
                self.job.progress(self._done, self.config.num_rollouts, figures)
                if self._done % self.config.save_rollouts == 0:
                    board.flush()
                    self.save()
        return self.trained

    def step(self, board: Telemetry | None = None) -> dict[str, float]:
        """One round: answers, rewards, advantages, updates. Returns its figures."""
        began = time.perf_counter()
        number, count = self._done, self.config.rollout_batch_size
        rows = self._rows(number)
        completions = self._answers(rows, number)
        texts = decoded(self.job.tokenizer, completions.tokens, completions.real)
        answered = time.perf_counter()
        scores = scored(self.job, rows, texts)
        rewards = beyond_others(scores.total, self.config.answers_per_prompt)
        if number == 0:
            completions = self._begin_values(completions, float(rewards.mean()))
        log_ratio = self._log_ratio(completions)
        batch, divergence = self._batch(completions, rewards, log_ratio)
        found = self._update(batch, number)
        self._leash.follow(divergence)
        self._done += 1
        self.trained.updates = self._done
        ended = time.perf_counter()
        figures = {
            "rollout/reward": float(scores.total.mean()),
            "rollout/parse_rate": float(scores.parsed.mean()),
            "rollout/length": float(completions.real.sum(1).float().mean()),
            **{f"rollout/{name}": float(values.mean()) for name, values in scores.parts.items()},
            "train/kl": divergence,
            "train/kl_coefficient": self._leash.coefficient,
            **{f"train/{name}": value for name, value in found.items()},
            "time/completions_per_second": count / (ended - began),
            "time/generation_share": (answered - began) / (ended - began),
        }
        self.trained.rewards.append(figures["rollout/reward"])
        self.trained.losses.append(figures["train/value_loss"])
        self.trained.figures.update(figures)
        if board is not None:
            board.scalars(figures, self._done)
            if self._done % self.config.save_rollouts == 0:
                few = self.job.log_completions
                prompts = [self.job.examples.prompts[row] for row in rows[:few]]
                log_texts(board, prompts, texts, scores.total.tolist(), self._done)
        return figures

    def _rows(self, number: int) -> list[int]:
        """Prompts of a round, once per answer: all of them shuffled, then shuffled anew."""
        answers, every = self.config.answers_per_prompt, len(self._prompts)
        count = self.config.rollout_batch_size // answers
        places = np.arange(number * count, (number + 1) * count)
        rows: list[int] = []
        for epoch in np.unique(places // every):
            order = self._seeds.child("order", int(epoch)).generator().permutation(every)
            rows += [int(row) for row in order[places[places // every == epoch] % every]]
        return [row for row in rows for _ in range(answers)]

    def _answers(self, rows: list[int], number: int) -> Completions:
        generator = torch.Generator(device=self.model.device)
        generator.manual_seed(self._seeds.child("answers", number).integer())
        size = self.job.generation_batch
        parts = [
            complete(
                self.model,
                self.job.tokenizer,
                [self._prompts[row] for row in rows[start : start + size]],
                temperature=self.job.temperature,
                generator=generator,
                max_new_tokens=self.job.max_new_tokens,
                watch=self.head,
            )
            for start in range(0, len(rows), size)
        ]
        return joined(parts, self.job.tokenizer.pad_token_id)

    def _begin_values(self, completions: Completions, level: float) -> Completions:
        """Lets the value head begin at the level of the first rewards and not at 0: else the first
        updates would learn from the head's error alone.
        """
        with torch.no_grad():
            self.head.outer.bias.fill_(level)
        return replace(completions, values=completions.real * level)

    def _log_ratio(self, completions: Completions) -> np.ndarray[Any, Any]:
        """Log-probabilities less the reference's, float64 [N, T]; 0 where there is no leash."""
        if self.config.kl.coefficient == 0.0:
            return np.zeros(completions.tokens.shape)
        self.model.eval()
        size = max(self.config.micro_batch_size, self.job.generation_batch)
        count = len(completions.tokens)
        with swapped(self.policy, self._reference), torch.inference_mode():
            found = [
                score(
                    self.model,
                    completions.take(torch.arange(start, min(start + size, count))),
                    self.job.temperature,
                ).log_probs
                for start in range(0, count, size)
            ]
        ratio = (completions.log_probs - torch.cat(found)).masked_fill(~completions.real, 0.0)
        return ratio.double().cpu().numpy()

    def _batch(
        self, completions: Completions, rewards: Float, log_ratio: np.ndarray[Any, Any]
    ) -> tuple[Batch, float]:
        """The round with its advantages; and the mean divergence per answer, nats."""
        real = completions.real.cpu().numpy()
        earned = token_rewards(rewards, real, log_ratio, self._leash.coefficient)
        values = completions.values.double().cpu().numpy()
        gained, returns = token_advantages(
            earned, values, real, self.config.gamma, self.config.gae_lambda
        )
        device = self.model.device
        gained_tensor, returns_tensor = (
            torch.from_numpy(array).float().to(device) for array in (gained, returns)
        )
        batch = Batch(completions, gained_tensor, returns_tensor)
        return batch, float(log_ratio.sum(1).mean())

    def _update(self, batch: Batch, number: int) -> dict[str, float]:
        """All epochs over a round; mean figures over its minibatches."""
        config = self.config
        share = number / config.num_rollouts
        rates = (config.learning_rate, config.value_learning_rate)
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate_at(rate, config.learning_rate_decay, share)
        seeds = self._seeds.child("update", number)
        torch.manual_seed(seeds.child("dropout").integer())
        generator = seeds.generator()
        size = len(batch) // config.minibatches
        self.model.train()
        rows = []
        for _ in range(config.ppo_epochs):
            order = torch.from_numpy(generator.permutation(len(batch))).to(self.model.device)
            rows += [
                self._minibatch(batch.take(order[start : start + size]))
                for start in range(0, len(batch), size)
            ]
        mean = np.nanmean(np.array(rows), axis=0)
        names = (*FIGURES, "gradient_norm", "refused")
        return dict(zip(names, (float(value) for value in mean), strict=True))

    def _minibatch(self, batch: Batch) -> list[float]:
        """One update; a gradient that is not finite moves nothing and is counted."""
        self.optimizer.zero_grad(set_to_none=True)
        figures = self.accumulate(batch)
        policy, head = list(self.policy.values()), list(self.head.parameters())
        most = self.config.max_grad_norm
        norm = torch.nn.utils.clip_grad_norm_(policy, most)
        head_norm = torch.nn.utils.clip_grad_norm_(head, most)
        finite = bool(torch.isfinite(norm) and torch.isfinite(head_norm))
        if finite:
            self.optimizer.step()
        return [*figures.tolist(), float(norm), 0.0 if finite else 1.0]

    def accumulate(self, batch: Batch) -> torch.Tensor:
        """Adds a minibatch's gradients up, micro-batch by micro-batch; returns FIGURES."""
        real = batch.completions.real
        tokens = int(real.sum())
        # With mean 0 and deviation 1 over the real tokens of the whole minibatch.
        level = torch.zeros_like(batch.advantages)
        level[real] = normalised(batch.advantages[real][None])[0]
        batch = Batch(batch.completions, level, batch.returns)
        total = torch.zeros(len(FIGURES), device=real.device)
        for rows in torch.arange(len(batch), device=real.device).split(
            self.config.micro_batch_size
        ):
            own = batch.take(rows)
            said = score(
                self.model,
                own.completions,
                self.job.temperature,
                learn_entropy=self.config.entropy_coef > 0.0,
            )
            loss, figures = losses(said, self.head(said.hidden), own, self.config, tokens)
            loss.backward()
            total += figures
        return total

    def save(self) -> None:
        """Writes a checkpoint of everything that the next round depends on."""
        arrays: Arrays = below("policy", _numpy(self.policy))
        arrays |= below("head", _numpy(dict(self.head.named_parameters())))
        for place, parameter in enumerate(self._learning()):
            state = self.optimizer.state.get(parameter, {})
            arrays |= below(f"adam/{place}", {key: numpy_of(own) for key, own in state.items()})
        facts = {
            "begun_with": self._begun_with(),
            "coefficient": self._leash.coefficient,
            "rewards": self.trained.rewards,
            "losses": self.trained.losses,
        }
        self._store.save(self._done, arrays, facts)

    def _resume(self) -> None:
        found = self._store.newest()
        if found is None:
            remedy = "Run it without --resume."
            rule = "must hold a checkpoint to go on from"
            raise CheckpointError(str(self._store.folder), rule, None, remedy)
        require_same(found.path, self._begun_with(), found.facts["begun_with"])
        _fill(self.policy, part("policy", found.arrays))
        _fill(dict(self.head.named_parameters()), part("head", found.arrays))
        for place, parameter in enumerate(self._learning()):
            own = part(f"adam/{place}", found.arrays)
            if own:
                self.optimizer.state[parameter] = {
                    key: tensor_of(array).to(parameter.device) for key, array in own.items()
                }
        self._leash.coefficient = found.facts["coefficient"]
        self.trained.rewards.extend(found.facts["rewards"])
        self.trained.losses.extend(found.facts["losses"])
        self._done = self.trained.updates = found.step

    def _begun_with(self) -> dict[str, Any]:
        start = {"base weights": _digest(self._reference)}
        return fingerprint(self.config, self.job) | start

    def _learning(self) -> list[torch.nn.Parameter]:
        return [*self.policy.values(), *self.head.parameters()]


@contextmanager
def swapped(own: Mapping[str, torch.nn.Parameter], other: Weights) -> Iterator[None]:
    """Other weights in the place of a model's own; nothing is copied."""
    kept = {name: parameter.data for name, parameter in own.items()}
    try:
        for name, parameter in own.items():
            parameter.data = other[name]
        yield
    finally:
        for name, parameter in own.items():
            parameter.data = kept[name]


def _numpy(tensors: Mapping[str, torch.Tensor]) -> Arrays:
    return {name: numpy_of(tensor) for name, tensor in tensors.items()}


def _fill(tensors: Mapping[str, torch.Tensor], arrays: Arrays) -> None:
    for name, tensor in tensors.items():
        fill_tensor(tensor, arrays[name])


def _digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """sha256 of weights, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(numpy_of(tensors[name]).tobytes())
    return digest.hexdigest()
