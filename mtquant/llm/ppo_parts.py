# SPDX-License-Identifier: Apache-2.0
"""The parts of token-level PPO: scoring answers, rewards per token, advantages, losses, the leash.

A completion is an episode and a token an action. The reward of an answer falls on its last token;
each token pays for leaving the reference (Ouyang et al. 2022, "Training language models to follow
instructions with human feedback", eq. 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mtquant.learning.gae import advantages
from mtquant.learning.losses import clipped_policy, clipped_value
from mtquant.llm.config import KlConfig, PpoConfig
from mtquant.llm.generation import Completions

Float = NDArray[np.float64]
MOST_CHANGE = 0.2  # Ziegler et al. 2019: the relative error that moves the coefficient is cut here


class Scored(NamedTuple):
    """What a model says of completions that are given.

    Attributes:
        log_probs: [N, T], of their tokens.
        entropy: [N, T], nats, of the distribution before each token.
        hidden: [N, T, H], the last hidden state before each token.
    """

    log_probs: torch.Tensor
    entropy: torch.Tensor
    hidden: torch.Tensor


def score(
    model: Any, completions: Completions, temperature: float, *, learn_entropy: bool = True
) -> Scored:
    """Scores completions in one pass, with gradients where they are switched on.

    Args:
        model: A causal language model.
        completions: N of them; what stands behind their ends is scored too and has no meaning.
        temperature: That they were drawn with.
        learn_entropy: Whether gradients go through the entropy too.
    """
    tokens = torch.cat([completions.prompt, completions.tokens], dim=1)
    real = torch.cat([completions.prompt_real, completions.real.long()], dim=1)
    length = completions.tokens.shape[1]
    output = model(
        input_ids=tokens,
        attention_mask=real,
        position_ids=(real.cumsum(1) - 1).clamp_(min=0),
        use_cache=False,
        logits_to_keep=length + 1,
        output_hidden_states=True,
    )
    logits = output.logits[:, :-1].float() / temperature
    whole = torch.logsumexp(logits, dim=2)
    chosen = logits.gather(2, completions.tokens[:, :, None])[:, :, 0] - whole
    # An entropy that nothing is learnt from needs no graph, which would cost as much as the loss.
    with torch.set_grad_enabled(torch.is_grad_enabled() and learn_entropy):
        entropy = whole - (torch.exp(logits - whole[:, :, None]) * logits).sum(2)
    return Scored(chosen, entropy, output.hidden_states[-1][:, -length - 1 : -1])


def beyond_others(rewards: Float, answers: int) -> Float:
    """Rewards less the mean of the other answers to the same prompt, float64 [N].

    The outcome that all of them were paid by cancels, without a bias in the gradient, since no
    answer is in its own baseline (Kool, van Hoof & Welling 2019, "Buy 4 REINFORCE samples, get a
    baseline for free!"; Mao et al. 2019, "Variance reduction for reinforcement learning in
    input-driven environments").

    Args:
        rewards: float64 [N], the answers to a prompt beside each other.
        answers: Per prompt; 1 changes nothing.
    """
    if answers == 1:
        return rewards
    groups = rewards.reshape(-1, answers)
    others = (groups.sum(axis=1, keepdims=True) - groups) / (answers - 1)
    return (groups - others).reshape(-1)


def token_rewards(
    rewards: Float, real: NDArray[np.bool_], log_ratio: Float, coefficient: float
) -> Float:
    """What each token earned, float64 [N, T]: the leash's price, and the reward on the last one.

    Args:
        rewards: float64 [N], of whole answers.
        real: bool [N, T].
        log_ratio: float64 [N, T], log-probability under the policy less under the reference; its
            mean over what the policy draws is the KL divergence.
        coefficient: Price of a nat.
    """
    earned = np.where(real, -coefficient * log_ratio, 0.0)
    earned[np.arange(len(rewards)), real.sum(1) - 1] += rewards
    return earned


def token_advantages(
    earned: Float, values: Float, real: NDArray[np.bool_], gamma: float, lam: float
) -> tuple[Float, Float]:
    """Advantages and returns of tokens, float64 [N, T], 0 behind the end of an answer."""
    rewards = np.ascontiguousarray(earned.T)
    estimates = np.ascontiguousarray(np.where(real, values, 0.0).T)
    last = np.zeros(real.shape, dtype=np.uint8)
    last[np.arange(len(real)), real.sum(1) - 1] = 1
    found = np.empty_like(rewards)
    nothing = np.zeros(len(real))
    advantages(rewards, estimates, np.ascontiguousarray(last.T), nothing, gamma, lam, found)
    gained = np.where(real, found.T, 0.0)
    return gained, gained + estimates.T


@dataclass(frozen=True, eq=False)
class Batch:
    """Completions and all that an update needs of them, [N, T] each.

    Attributes:
        completions: What was drawn.
        advantages, returns: Of each token.
    """

    completions: Completions
    advantages: torch.Tensor
    returns: torch.Tensor

    def take(self, rows: torch.Tensor) -> Batch:
        """Some of them, by index."""
        return Batch(self.completions.take(rows), self.advantages[rows], self.returns[rows])

    def __len__(self) -> int:
        return len(self.advantages)


FIGURES = ("policy_gradient_loss", "value_loss", "entropy_loss", "approx_kl", "clip_fraction")


def losses(
    scored: Scored, values: torch.Tensor, batch: Batch, config: PpoConfig, tokens: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of a micro-batch, to be added up over a minibatch, and FIGURES, [5], likewise.

    Args:
        scored: Of the model that learns.
        values: [N, T], of the value head that learns.
        batch: The micro-batch; its advantages are normalised already.
        config: Clipping and weights.
        tokens: Of the whole minibatch: every token of it weighs the same, however it is cut up.
    """
    real = batch.completions.real
    log_ratio = torch.where(real, scored.log_probs - batch.completions.log_probs, 0.0)
    policy = clipped_policy(log_ratio, batch.advantages, config.clip_range)
    old = batch.completions.values
    value = clipped_value(values, old, batch.returns, config.value_clip_range)
    parts = [policy.loss, value, -scored.entropy]
    policy_loss, value_loss, entropy_loss = (
        torch.where(real, part, 0.0).sum() / tokens for part in parts
    )
    loss = policy_loss + config.vf_coef * value_loss + config.entropy_coef * entropy_loss
    with torch.no_grad():
        away = policy.ratio - 1.0
        divergence = (away - log_ratio).sum() / tokens
        clipped = (away.abs() > config.clip_range).sum() / tokens
        figures = torch.stack([policy_loss, value_loss, entropy_loss, divergence, clipped])
    return loss, figures


class Leash:
    """The price of a nat, steered so that answers stay about as far from the reference as wanted.

    Args:
        config: Where it begins and what it is steered towards.
    """

    def __init__(self, config: KlConfig) -> None:
        self._config, self.coefficient = config, config.coefficient

    def follow(self, divergence: float) -> None:
        """Changes the price after a round with a mean divergence per answer, nats."""
        if self._config.target is None:
            return
        error = divergence / self._config.target - 1.0
        self.coefficient *= 1.0 + self._config.gain * float(
            np.clip(error, -MOST_CHANGE, MOST_CHANGE)
        )
