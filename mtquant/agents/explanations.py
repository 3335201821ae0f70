# SPDX-License-Identifier: Apache-2.0
"""Which observed features moved a decision: integrated gradients through trained networks.

What is explained is the difference to the decision about the *average* of the same observations:
an entry that never changes there has moved nothing. Specialists' actions are explained before they
are cut at +-1. The meta-controller's decision is followed through the messages into what the
specialists saw, so that its reasons are features too; a message that stands while its market is
closed is a reason itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mtquant.agents.crew import Crew, messages
from mtquant.agents.hierarchy import HierarchyPolicy
from mtquant.agents.scaling import CLIP
from mtquant.agents.stack import ActorCriticStack, Said
from mtquant.envs.allocation import LOGIT_RANGE, SMALLEST_SIGNAL
from mtquant.envs.hierarchy import MESSAGE_NAMES, SIGNAL, Views
from mtquant.learning.attribution import STEPS, integrated_gradients
from mtquant.learning.towers import Layers

TINY = 1e-12  # cash holds more than this unless nothing is asked for

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Explained:
    """What moved S decisions; an entry of the observation each.

    Attributes:
        names: Of the E entries.
        amounts: float64 [S, E], in the decision's own units.
        changes: float64 [S], how far each decision is from that about their average.
    """

    names: tuple[str, ...]
    amounts: Float
    changes: Float

    @property
    def missing(self) -> float:
        """Largest difference between a change and the sum of its amounts: the integral's error."""
        return float(np.abs(self.amounts.sum(axis=1) - self.changes).max(initial=0.0))


def explain_actions(
    crew: Crew, views: Views, names: Sequence[tuple[str, ...]], steps: int = STEPS
) -> list[Explained]:
    """What moved the specialists' actions.

    Args:
        crew: K specialists.
        views: What they saw, float32 [B, its inputs] each, raw.
        names: Of the entries of each one's view.
        steps: As `integrated_gradients`.

    Returns:
        For each specialist its B x A actions.
    """
    scaled = crew.scaled(views).transpose(0, 1)

    def actions(points: Sequence[torch.Tensor]) -> torch.Tensor:
        # A sum over specialists: each one's action depends on its own view alone.
        return _said(crew.stack, points[0].transpose(0, 1)).mean.sum(0)

    average = scaled.mean(0, keepdim=True)
    (found,) = integrated_gradients(actions, [scaled], [average], steps)
    with torch.no_grad():
        now, before = (_said(crew.stack, x.transpose(0, 1)).mean for x in (scaled, average))
    changes = (now - before).transpose(1, 2)  # [K, A, B]
    explained = []
    for k, (entries, own) in enumerate(zip(names, crew.stack.own, strict=True)):
        amounts = _flat(found[: own.actions, :, k, : own.inputs])
        change = _flat(changes[k, : own.actions, :, None])[:, 0]
        explained.append(Explained(tuple(entries), amounts, change))
    return explained


def explain_scales(
    policy: HierarchyPolicy, seen: Float32, heard: Float32, scales: Float, steps: int = STEPS
) -> Explained:
    """What moved the exposures that a signal of 1 asks for, specialist by specialist.

    Args:
        policy: The hierarchy.
        seen: Observations of B portfolios or bars, float32 [B, size], raw.
        heard: The messages about them, float32 [B, N, MESSAGE].
        scales: float64 [B, N], those of the decision before, which views are shown in.
        steps: As `integrated_gradients`.

    Returns:
        B decisions about K specialists. Entries of the same name are one: an exposure is seen by
        specialist and meta-controller.
    """
    hierarchy = policy.hierarchy
    views = policy.crew.scaled(hierarchy.views(seen, scales)).transpose(0, 1)
    observed = policy.meta.scaled(hierarchy.observe(seen, heard)[None])[0]
    own = torch.from_numpy(hierarchy.tradable(seen))
    decide = _Decision(policy, own)
    inputs = [views, observed]
    average = [value.mean(0, keepdim=True).expand_as(value) for value in inputs]
    found = integrated_gradients(decide, inputs, average, steps)
    with torch.no_grad():
        changes = decide(inputs) - decide(average)
    names = [*(name for own in policy.view_names() for name in own), *hierarchy.meta_names()]
    seen_by = [found[0][:, :, k, : own.inputs] for k, own in enumerate(policy.crew.stack.own)]
    amounts = np.concatenate([_flat(torch.cat(seen_by, dim=2)), _flat(found[1])], axis=1)
    return _merged(names, amounts, _flat(changes.T[:, :, None])[:, 0])


class _Decision:
    """From scaled views [B, K, V] and the meta-controller's scaled observation [B, M] to scales
    [B, K], means over a specialist's instruments; `HierarchyPolicy.scales` for autograd (a test
    compares them).
    """

    def __init__(self, policy: HierarchyPolicy, own: torch.Tensor) -> None:
        hierarchy, names = policy.hierarchy, policy.hierarchy.meta_names()
        self._policy, self._own = policy, own[:, :, None]
        self._entries = torch.tensor(
            [
                names.index(f"{symbol}.{name}")
                for symbol in hierarchy.layout.symbols
                for name in MESSAGE_NAMES
            ]
        )
        self._spoken = torch.from_numpy(policy.crew.stack.entries[hierarchy.spoken])
        self._owner = torch.from_numpy(hierarchy.owner)
        self._counts = torch.bincount(self._owner)
        self._caps = torch.from_numpy(hierarchy.name_caps).float()

    def __call__(self, points: Sequence[torch.Tensor]) -> torch.Tensor:
        views, observed = points
        crew, meta, entries = self._policy.crew, self._policy.meta, self._entries
        said = _said(crew.stack, views.transpose(0, 1))
        told = messages(said).flatten(1, 2)[:, self._spoken]
        mean, scale = (
            part[0, entries].view(told.shape[1:])
            for part in (meta.scaling.mean, meta.scaling.scale)
        )
        fresh = ((told - mean) / scale).clamp(-CLIP, CLIP)
        standing = observed[:, entries].view(fresh.shape)
        told = torch.where(self._own, fresh, standing).flatten(1)
        observed = observed.index_copy(1, entries, told)
        action = _said(meta.stack, observed[None]).mean[0].clamp(-1.0, 1.0)
        weights = torch.softmax(LOGIT_RANGE * action[:, :-1], 1)
        whole = (0.5 + 0.5 * action[:, -1:]) * self._policy.hierarchy.gross_cap
        asked = whole * (weights[:, :-1] / self._counts)[:, self._owner]
        followed = (told.view(fresh.shape) * scale + mean)[:, :, SIGNAL]
        caps = self._caps / followed.abs().clamp_min(SMALLEST_SIGNAL)
        given = _shared_out_within(asked, whole * weights[:, -1:], caps)
        nothing = given.new_zeros(len(given), len(self._counts))
        return nothing.index_add(1, self._owner, given) / self._counts


def _shared_out_within(asked: torch.Tensor, cash: torch.Tensor, caps: torch.Tensor) -> torch.Tensor:
    """`envs.allocation.shared_out_within` for autograd."""
    full, multiple = asked > caps, torch.ones_like(cash)
    for _ in range(asked.shape[1]):
        excess = torch.where(full, asked - caps, 0.0).sum(1, keepdim=True)
        others = torch.where(full, 0.0, asked).sum(1, keepdim=True) + cash
        multiple = 1.0 + excess / others.clamp_min(TINY)
        full = full | (multiple * asked > caps)
    return torch.where(full, caps, multiple * asked)


def _said(stack: ActorCriticStack, scaled: torch.Tensor) -> Said:
    """`ActorCriticStack.forward` without its buffers, through which autograd cannot go."""
    outputs, middle = (
        _tower(stack.actor.layers, scaled),
        stack.shape.actions + stack.shape.forecasts,
    )
    return Said(
        outputs[:, :, : stack.shape.actions],
        _tower(stack.critic.layers, scaled)[:, :, 0],
        outputs[:, :, stack.shape.actions : middle],
        outputs[:, :, middle:],
    )


def _tower(layers: Layers, values: torch.Tensor) -> torch.Tensor:
    *hidden, (last, bias) = layers
    for matrix, own in hidden:
        values = torch.tanh(torch.baddbmm(own, values, matrix))
    return torch.baddbmm(bias, values, last)


def _flat(found: torch.Tensor) -> Float:
    """[M, B, E] as float64 [B x M, E]."""
    return found.detach().transpose(0, 1).flatten(0, 1).double().cpu().numpy()


def _merged(names: Sequence[str], amounts: Float, changes: Float) -> Explained:
    """Entries of one name summed."""
    distinct = tuple(dict.fromkeys(names))
    place = {name: column for column, name in enumerate(distinct)}
    merged = np.zeros((len(amounts), len(distinct)))
    for column, name in enumerate(names):
        merged[:, place[name]] += amounts[:, column]
    return Explained(distinct, merged, changes)
