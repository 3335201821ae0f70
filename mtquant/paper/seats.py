# SPDX-License-Identifier: Apache-2.0
"""Models at work: each on a seat of its own with its eyes, its memory and its health, and the
rollout that says how much of the capital each one has.

A promoted model begins with a share of the capital; the rest stays with the one before it (with
cash, where there was none). Both see the same account, and what is traded is the mixture of what
they ask for. The share grows by rule while the guard is content, up to all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import MtquantError, PolicyError
from mtquant.core.paper_config import PaperConfig
from mtquant.core.protocols import Policy, Speaker
from mtquant.core.states import Arrays, below, part
from mtquant.features.timeframes import TimeframePipeline
from mtquant.market.live_desk import LiveDesk
from mtquant.paper.eyes import Bar, Eyes
from mtquant.paper.guardian import Health
from mtquant.paper.memory import pack_state, unpack_state
from mtquant.paper.messages import Words, words_of
from mtquant.rewards.compose import STATES, TERMS, Reward, start_reward, step_reward

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Model:
    """A policy and what it needs.

    Attributes:
        path: Where it came from; `Models` loads it again by this.
        digest: Of its weights.
        policy: It.
        pipeline: Its features without their ages.
        reward: Whose state it observes.
        mean, deviation: Of every entry of its observation in training, where known.
    """

    path: str
    digest: str
    policy: Policy
    pipeline: TimeframePipeline
    reward: Reward
    mean: Float | None = None
    deviation: Float | None = None


Models = Callable[[str], Model]
History = Callable[[int], Sequence[tuple[int, Mapping[int, Bar]]]]


class Seat:
    """One model at work.

    Args:
        model: It.
        symbols: N instruments.
        bar_seconds: Length of a bar.
        paper: Limits of its health.

    Attributes:
        said: What its parts told each other in the last decision; empty where it has none.
    """

    def __init__(
        self, model: Model, symbols: Sequence[str], bar_seconds: int, paper: PaperConfig
    ) -> None:
        self.model = model
        self.eyes = Eyes(model.policy, symbols, model.pipeline, bar_seconds)
        self.health = Health(paper, model.mean, model.deviation)
        self._memory = model.policy.initial_state()
        self._template = self._memory
        self._reward_state = np.zeros(STATES)
        start_reward(self._reward_state)
        self._parameters = model.reward.parameter_vector()
        self._weights = model.reward.weight_vector()
        self._trace = np.zeros(TERMS)
        self.said: Words = {}

    def act(self, desk: LiveDesk) -> tuple[Float, bytes]:
        """What the model asks for, float64 [N], and the bytes that it saw.

        Raises:
            PolicyError: It failed, or asked for something that is not an exposure; its memory is as
                it was.
        """
        seen = self.eyes.see(desk, self._reward_state)
        self.health.see(seen.values)
        try:
            targets, memory = self.model.policy.act(seen, self._memory)
            said = self._words(memory, len(seen.symbols))
        except MtquantError:
            raise
        except Exception as error:
            raise PolicyError(
                f"policy {self.model.policy.name}",
                "must answer every observation",
                f"{type(error).__name__}: {error}",
                "Look at the model; roll back to the one before it.",
            ) from error
        targets = np.asarray(targets, dtype=np.float64)
        expected = (len(seen.symbols),)
        if targets.shape != expected or np.isinf(targets).any():
            raise PolicyError(
                f"targets of {self.model.policy.name}",
                f"must be finite exposures (or NaN) of shape {expected}",
                targets.tolist(),
                "Look at the model; roll back to the one before it.",
            )
        self._memory, self.said = memory, said
        return targets, seen.values.tobytes()

    def _words(self, memory: Any, n_instruments: int) -> Words:
        policy = self.model.policy
        if not isinstance(policy, Speaker):
            return {}
        return words_of(policy.name, policy.told(memory), n_instruments)

    def learn(self, outcome: Float) -> None:
        """Takes in the outcome of a bar: the reward's state is part of what it sees next."""
        step_reward(self._reward_state, outcome, self._parameters, self._weights, self._trace)

    def state(self) -> Arrays:
        """Its memory, the reward's state and its health; the eyes are kept apart."""
        memory = np.frombuffer(pack_state(self._memory), dtype=np.uint8)
        own: Arrays = {"memory": memory, "reward": self._reward_state.copy()}
        return {**own, **below("health", self.health.state())}

    def restore(self, arrays: Arrays) -> None:
        """Goes on from a `state`."""
        self._memory = unpack_state(arrays["memory"].tobytes(), self._template)
        self._reward_state[:] = arrays["reward"]
        self.health.restore(part("health", arrays))


@dataclass
class Rollout:
    """Which models trade, folded from the rows of `models`.

    Attributes:
        current: The model that has what the candidate has not; None is cash.
        candidate: One that is ramping up.
        share: Its share of the capital.
        previous: What `rollback` returns to once a ramp is over.
        since: Bar of the last change.
        peak: Equity at the last promotion, and its highest since.
    """

    current: str | None = None
    candidate: str | None = None
    share: float = 0.0
    previous: str | None = None
    since: int = 0
    peak: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)

    def apply(self, verb: str, path: str, digest: str, capital: float, bar: int) -> None:
        """Takes in one row of `models`."""
        self.since = bar
        if verb == "promote":
            self.candidate, self.share, self.versions[path] = path, capital, digest
        elif verb == "ramp":
            self.share = capital
        elif verb == "rollback":
            self._roll_back()
            return
        if self.candidate is not None and self.share >= 1.0:
            self.previous, self.current = self.current, self.candidate
            self.candidate, self.share = None, 0.0

    def _roll_back(self) -> None:
        if self.candidate is not None:
            self.candidate, self.share = None, 0.0
        else:
            self.current, self.previous = self.previous, None

    @property
    def paths(self) -> tuple[str, ...]:
        """Models at work."""
        return tuple(path for path in (self.current, self.candidate) if path is not None)

    def refuses(self, verb: str, path: str, capital: float) -> str:
        """Why a command cannot be followed; empty if it can."""
        if verb == "promote" and path in self.paths:
            return f"{path} trades already: give a new model a folder of its own"
        if verb == "promote" and self.candidate is not None:
            return f"{self.candidate} is still ramping up: roll it back or wait"
        if verb == "promote" and not 0.0 < capital <= 1.0:
            return f"the share of the capital must lie in (0, 1], not {capital}"
        if verb == "rollback" and self.candidate is None and self.current is None:
            return "no model trades"
        return ""


def mixture(asked: Sequence[Float], shares: Sequence[float], held: Float) -> Float:
    """What several models ask for together, float64 [N]; the share that nobody has is cash.

    A model that leaves a position alone (NaN) asks for the exposure that is held; where all do, the
    mixture leaves it alone too.
    """
    if len(asked) == 1 and shares[0] == 1.0:
        return asked[0].copy()
    mixed = np.zeros(len(held))
    alone = np.ones(len(held), dtype=bool)
    for own, share in zip(asked, shares, strict=True):
        mixed += share * np.where(np.isnan(own), held, own)
        alone &= np.isnan(own)
    return np.where(alone & (len(asked) > 0), np.nan, mixed)


def seated(
    model: Model,
    symbols: Sequence[str],
    bar_seconds: int,
    paper: PaperConfig,
    snapshot: tuple[int, bytes] | None,
    history: History,
) -> Seat:
    """A seat whose eyes have seen all bars so far.

    Args:
        model: Who sits down.
        symbols, bar_seconds, paper: As for `Seat`.
        snapshot: Bar and state of its eyes; None to begin at the first bar.
        history: Gives the bars after a bar number.
    """
    seat = Seat(model, symbols, bar_seconds, paper)
    after = -1
    if snapshot is not None:
        after = snapshot[0]
        seat.eyes.restore(snapshot[1])
    for stamp_ns, bars in history(after):
        seat.eyes.take(stamp_ns, bars)
    return seat


def packed(words: Any) -> NDArray[np.uint8]:
    """A text as an array, to lie among arrays."""
    return np.frombuffer(words.encode(), dtype=np.uint8)
