# SPDX-License-Identifier: Apache-2.0
"""Living through bars: K networks act in K batches of E accounts for T bars.

All arrays are [K, T, E, ...]: a network, a bar, an account. Observations are kept as the networks
see them, scaled; actions as they were drawn, before they are cut to the action space. Where a
network has fewer inputs or actions than another, what is missing is 0, and NaN among the answers to
its forecasts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray

from mtquant.agents.scaling import Scaling
from mtquant.agents.stack import ActorCriticStack
from mtquant.core.states import Arrays, below, generator_state, part, set_generator
from mtquant.envs.batch import Batch, step_batch
from mtquant.envs.fused import EPISODE_NAMES
from mtquant.envs.luck import Luck
from mtquant.envs.market_env import MarketEnv
from mtquant.learning.gae import advantages
from mtquant.learning.losses import Samples
from mtquant.rewards.compose import TERM_NAMES

LATEST_EPISODES = 100
PAID = "reward/"
ENDINGS = (*EPISODE_NAMES, "drawdown", *(PAID + name for name in TERM_NAMES))


class Minibatch(NamedTuple):
    """Some of a rollout's samples.

    Attributes:
        observations: [K, B, inputs].
        samples: What the losses are told.
        came: [K, B, F], what forecasts are compared with.
    """

    observations: torch.Tensor
    samples: Samples
    came: torch.Tensor


class Rollout:
    """What K networks lived through, T bars of E accounts each.

    What a minibatch needs of a sample lies side by side in one row, and every pass shuffles the
    rows of one network after the other: fetched for each minibatch, from all over the memory, they
    would take twice as long. What the losses need is then put apart, since between observations
    they would wait for every number.

    Args:
        stack: The networks.
        n_steps: T.
        n_accounts: E.

    Attributes:
        observations: [K, T, E, inputs]; actions: [K, T, E, A]; forecasts: [K, T, E, F], what came
            after each bar, NaN where that says nothing; log_probs, values, advantages, returns:
            [K, T, E]; rewards: [K, T, E], on the processor; last: uint8 [K, T, E], there too, the
            step ended an episode.
    """

    def __init__(self, stack: ActorCriticStack, n_steps: int, n_accounts: int) -> None:
        shape, own = stack.shape, stack.parameters
        size = (len(stack), n_steps, n_accounts)
        self._widths = (shape.inputs, 1, 1, 1, shape.actions, shape.forecasts)
        self._rows = own.new_zeros((*size, sum(self._widths)))
        self._shuffled: torch.Tensor | None = None
        self.observations, *numbers, self.actions, self.forecasts = self._rows.split(
            self._widths, dim=3
        )
        self.log_probs, self.advantages, self.returns = (part.squeeze(3) for part in numbers)
        for k, each in enumerate(stack.own):
            self.forecasts[k, ..., each.forecasts :] = torch.nan
        self.values = own.new_zeros(size)
        self.rewards = torch.zeros(size, dtype=own.dtype)
        self.last = torch.zeros(size, dtype=torch.uint8)

    def estimate(self, bootstrap: torch.Tensor, gamma: float, lam: float) -> None:
        """Advantages and returns; `bootstrap` [K, E] are the values after the last bar."""
        rewards, last = self.rewards.numpy(), self.last.numpy()
        values, following = (held.cpu().numpy() for held in (self.values, bootstrap))
        out = np.empty_like(values)
        for k in range(len(values)):
            advantages(rewards[k], values[k], last[k], following[k], gamma, lam, out[k])
        self.advantages.copy_(torch.from_numpy(out))
        torch.add(self.advantages, self.values, out=self.returns)

    def minibatches(self, order: torch.Tensor, size: int) -> Iterator[Minibatch]:
        """All samples, `size` of each network at a time; valid until the next call.

        Args:
            order: int64 [K, T x E], of the samples t * E + e of each network.
            size: B.
        """
        inputs, *widths = self._widths
        if self._shuffled is None:
            self._shuffled = torch.empty_like(self._rows.flatten(1, 2))
            self._numbers = torch.empty_like(self._shuffled[..., inputs:])
        order = order.to(self._rows.device)
        for k, rows in enumerate(self._rows.flatten(1, 2)):
            torch.index_select(rows, 0, order[k], out=self._shuffled[k])
            self._numbers[k] = self._shuffled[k, :, inputs:]
        pieces = (held.split(size, dim=1) for held in (self._shuffled, self._numbers))
        for rows, held in zip(*pieces, strict=True):
            *numbers, actions, came = held.split(widths, dim=2)
            samples = Samples(actions, *(part.squeeze(2) for part in numbers))
            yield Minibatch(rows.narrow(2, 0, inputs), samples, came)

    def explained_variance(self) -> torch.Tensor:
        """1 - Var(returns - values) / Var(returns) of each network, [K]; NaN without variance."""
        variance = self.returns.flatten(1).var(1)
        left = (self.returns - self.values).flatten(1).var(1)
        return torch.where(variance > 0, 1.0 - left / variance, torch.nan)


class Episodes:
    """The latest finished episodes of one network."""

    def __init__(self) -> None:
        self._ends: deque[dict[str, float]] = deque(maxlen=LATEST_EPISODES)

    def add(
        self, totals: Mapping[str, float], rewards: Mapping[str, float], drawdown: float
    ) -> None:
        """One that has just ended; arguments are attributes of its `EpisodeEnd`."""
        paid = {PAID + name: value for name, value in rewards.items()}
        self._ends.append({**totals, "drawdown": drawdown, **paid})

    def metrics(self) -> dict[str, float]:
        """``rollout/*``, ``market/*`` and, of terms that paid something, ``reward/*`` of
        `docs/metrics.md`; empty before the first end.
        """
        if not self._ends:
            return {}
        totals = {name: sum(end[name] for end in self._ends) for name in self._ends[0]}
        bars, count = totals["length"], len(self._ends)
        per_bar = {"growth": "growth", "turnover": "turnover", "cost": "cost", "gross": "gross"}
        per_bar |= {"stop_rate": "stops", "limit_bind_rate": "bound_bars"}
        paid = {name: total for name, total in totals.items() if name.startswith(PAID) and total}
        return {
            "rollout/ep_rew_mean": totals["reward"] / count,
            "rollout/ep_len_mean": bars / count,
            **{f"market/{name}": totals[total] / bars for name, total in per_bar.items()},
            "market/drawdown": totals["drawdown"] / count,
            **{name: total / bars for name, total in paid.items()},
        }

    def state(self) -> Arrays:
        """The totals of all that are remembered, a row per episode."""
        rows = [[end[name] for name in ENDINGS] for end in self._ends]
        return {"ends": np.array(rows, dtype=np.float64).reshape(-1, len(ENDINGS))}

    def load_state(self, state: Arrays) -> None:
        """Goes on from an earlier `state`."""
        self._ends.clear()
        self._ends.extend(dict(zip(ENDINGS, row, strict=True)) for row in state["ends"].tolist())


class Collector:
    """Lets K networks act in K batches.

    Args:
        batches: One per network, of equally many accounts.
        stack: The networks.
        scaling: Of their observations.
        n_steps: Bars of one rollout.
        generators: One per network, of the noise in its actions.
        surprise: Share of what forecasts did not foresee that rewards keep.

    Attributes:
        rollout: The latest; every call of `collect` writes into the same arrays.
        episodes: The latest finished episodes, by network.
    """

    def __init__(
        self,
        batches: Sequence[Batch],
        stack: ActorCriticStack,
        scaling: Scaling,
        n_steps: int,
        generators: Sequence[np.random.Generator],
        surprise: float = 1.0,
    ) -> None:
        self.batches, self.stack, self.scaling = list(batches), stack, scaling
        self.generators, self._surprise = list(generators), surprise
        n_accounts = len(batches[0])
        self.rollout = Rollout(stack, n_steps, n_accounts)
        self.episodes = [Episodes() for _ in batches]
        self._shape = (len(batches), n_steps, n_accounts)
        # A bar's, of all networks: one copy into the rollout costs as much as one network's would.
        # Nor are views of them made anew, bar by bar: they cost as much as what is done with them.
        self._raw = torch.zeros(len(batches), n_accounts, stack.shape.inputs)
        self._acted = torch.zeros(len(batches), n_accounts, stack.shape.actions)
        self._rewards = np.zeros((len(batches), n_accounts))
        self._last = np.zeros((len(batches), n_accounts), dtype=np.uint8)
        raw, acted = self._raw.numpy(), self._acted.numpy()
        self._seen = [raw[k, :, : own.inputs] for k, own in enumerate(stack.own)]
        self._acts = [acted[k, :, : own.actions] for k, own in enumerate(stack.own)]
        self._paid, self._ended = self.rollout.rewards.numpy(), self.rollout.last.numpy()
        paid_in_full = surprise == 1.0 or not stack.shape.forecasts
        self._luck = [] if paid_in_full else [Luck(cast(MarketEnv, batch)) for batch in batches]
        self._terminal: list[tuple[int, int, int, NDArray[np.float32]]] = []
        for batch in self.batches:
            batch.reset()

    @torch.no_grad()
    def collect(self, gamma: float, lam: float) -> Rollout:
        """One rollout, with advantages and returns."""
        rollout, n_steps = self.rollout, self._shape[1]
        noise = self._noise()
        spread = torch.exp(self.stack.log_std)[:, None]
        self._terminal.clear()
        for t in range(n_steps):
            scaled = self._observe(rollout.observations[:, t])
            said = self.stack.forward(scaled)
            rollout.values.select(1, t).copy_(said.value)
            drawn = rollout.actions.select(1, t)
            torch.addcmul(said.mean, spread, noise.select(1, t), out=drawn)
            self._acted.copy_(drawn.clamp(-1.0, 1.0))
            foreseen = said.forecast.float().cpu().numpy() if self._luck else None
            self._move(t, foreseen)
        constant = self.stack.log_scale()
        torch.sub(noise.square().sum(3).mul_(-0.5), constant[:, None, None], out=rollout.log_probs)
        self._go_on_behind_time(gamma)
        bootstrap = self.stack.forward(self._observe()).value
        rollout.estimate(bootstrap, gamma, lam)
        return rollout

    def states(self) -> list[Arrays]:
        """Where batch, noise and episodes of each network stand."""
        return [
            {
                "noise": generator_state(generator),
                **below("batch", batch.state()),
                **below("episodes", episodes.state()),
            }
            for generator, batch, episodes in self._places()
        ]

    def load_states(self, states: Sequence[Arrays]) -> None:
        """Goes on from the `states` of a collector of the same batches."""
        for state, (generator, batch, episodes) in zip(states, self._places(), strict=True):
            set_generator(generator, state["noise"])
            batch.load_state(part("batch", state))
            episodes.load_state(part("episodes", state))

    def _places(self) -> list[tuple[np.random.Generator, Batch, Episodes]]:
        return list(zip(self.generators, self.batches, self.episodes, strict=True))

    def _noise(self) -> torch.Tensor:
        """[K, T, E, A], each network's from its own generator."""
        return drawn_noise(self.stack, self.generators, self._shape[1:])

    def _observe(self, out: torch.Tensor | None = None) -> torch.Tensor:
        """What all accounts see now, scaled, [K, E, inputs]."""
        for seen, batch in zip(self._seen, self.batches, strict=True):
            np.copyto(seen, batch.observations)
        return self.scaling.apply(self._raw.to(self.stack.parameters), out)

    def _move(self, t: int, foreseen: NDArray[np.float32] | None) -> None:
        """All accounts live through bar `t` of the rollout under the actions `_acted`; where
        rewards leave luck out, [K, E, F] is foreseen.
        """
        for k, (batch, own) in enumerate(zip(self.batches, self._acts, strict=True)):
            acted = np.ascontiguousarray(own)
            unpaid = self._foresee(k, t, acted, foreseen) if self.stack.own[k].forecasts else None
            for e, end in step_batch(batch, acted):
                self.episodes[k].add(end.totals, end.rewards, end.drawdown)
                if end.truncated:
                    self._terminal.append((k, t, e, end.terminal_observation))
            self._rewards[k] = batch.rewards
            if unpaid is not None:
                self._rewards[k] -= unpaid
            self._last[k] = batch.done
        self._paid[:, t] = self._rewards
        self._ended[:, t] = self._last

    def _foresee(
        self,
        k: int,
        t: int,
        acted: NDArray[np.float32],
        foreseen: NDArray[np.float32] | None,
    ) -> NDArray[np.float64] | None:
        """Keeps what network k's forecasts of bar `t` are compared with, and says how much of the
        bar's rewards was luck that is not paid, float64 [E]; None where all is paid.
        """
        env, count = cast(MarketEnv, self.batches[k]), self.stack.own[k].forecasts
        came = env.next_returns()
        self.rollout.forecasts[k, t, :, :count] = torch.from_numpy(came)
        if foreseen is None:
            return None
        targets = acted * env.unit.astype(np.float32)
        luck = self._luck[k].gains(targets, came, foreseen[k, :, :count]).sum(1)
        unpaid: NDArray[np.float64] = (1.0 - self._surprise) * env.worth_of_gain() * luck
        return unpaid

    def _go_on_behind_time(self, gamma: float) -> None:
        """Adds gamma x value of what came next to rewards of episodes that time ended."""
        own = self.stack.parameters
        for k in range(len(self.batches)):
            ends = [(t, e, seen) for ended, t, e, seen in self._terminal if ended == k]
            if not ends:
                continue
            bars, accounts, seen = zip(*ends, strict=True)
            raw = torch.zeros(len(self.batches), len(ends), self.stack.shape.inputs)
            raw[k, :, : self.stack.own[k].inputs] = torch.from_numpy(np.stack(seen))
            value = self.stack.forward(self.scaling.apply(raw.to(own))).value[k].cpu()
            self.rollout.rewards[k, torch.tensor(bars), torch.tensor(accounts)] += gamma * value


def drawn_noise(
    stack: ActorCriticStack, generators: Sequence[np.random.Generator], size: tuple[int, ...]
) -> torch.Tensor:
    """Standard normal deviations of the actions of K networks, [K, *size, A], each network's from
    its own generator; 0 where a network has no such action.
    """
    found = np.zeros((len(stack), *size, stack.shape.actions), dtype=np.float32)
    for drawn, generator, own in zip(found, generators, stack.own, strict=True):
        drawn[..., : own.actions] = generator.standard_normal(
            (*size, own.actions), dtype=np.float32
        )
    return torch.from_numpy(found).to(stack.parameters)
