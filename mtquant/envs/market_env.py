# SPDX-License-Identifier: Apache-2.0
"""The batch of accounts that every training interface wraps (`sb3.py`, `gym.py`).

Autoreset is SAME_STEP: where an episode ends, `observations` already holds the first one of the
next episode and the terminal one is kept apart. Terminated means bankrupt; truncated means the
episode's time or the data ended. The work is done by the compiled loop of `fused.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.aligned import aligned
from mtquant.core.config import EnvironmentConfig
from mtquant.core.errors import ConfigError, DataError, PolicyError
from mtquant.core.handover import Handover
from mtquant.core.lanes import LANES
from mtquant.core.seeding import SeedTree
from mtquant.core.states import Arrays, below, fill, part
from mtquant.envs.fused import (
    BOOK,
    DONE_TRUNCATED,
    EPISODE_NAMES,
    EPISODE_ROWS,
    FRONT,
    MOST_FEATURES,
    STATE_ROWS,
    STEP_KINDS,
    TRACE_ROWS,
    observe_accounts,
    step_accounts,
)
from mtquant.market.account import ACCOUNT, OUTCOME, account_of, block_size
from mtquant.market.observation import ObservationLayout, new_seen, observable
from mtquant.market.rules import Rules
from mtquant.market.simulator import DRAWS, Simulator
from mtquant.market.tape import SHEET_SIZE, T_CLOSE, T_TRADABLE, Tape
from mtquant.rewards.compose import (
    DIVERSIFICATION,
    STATE_NAMES,
    STATES,
    TERM_NAMES,
    Reward,
    start_reward,
)

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Rows = NDArray[np.int64]
UInt8 = NDArray[np.uint8]
NOBODY = np.zeros(0, dtype=np.int64)
NEXT_BOUND = 10.0


@dataclass(frozen=True)
class EpisodeEnd:
    """What one finished episode leaves behind.

    Attributes:
        terminal_observation: float32 [layout.size], before the next episode began.
        truncated: True when time or data ended, False when the account was bankrupt.
        totals: EPISODE_NAMES -> sum over the episode.
        terms: float64 [TERMS], the reward by term.
        outcome: float64 [len(OUTCOME_COLUMNS)], the ledger row of its last bar.
    """

    terminal_observation: Float32
    truncated: bool
    totals: dict[str, float]
    terms: Float
    outcome: Float

    @property
    def drawdown(self) -> float:
        """Drawdown at the end."""
        return float(self.outcome[oc.DRAWDOWN])

    @property
    def rewards(self) -> dict[str, float]:
        """What each term of the reward paid over the episode."""
        return dict(zip(TERM_NAMES, self.terms.tolist(), strict=True))


class MarketEnv:
    """E accounts stepped together; actions in [-1, 1] per instrument become exposures `action *
    unit`.

    Args:
        tape: Bars and rates.
        rules: How the world answers.
        features: float32 [T, N, F], NaN where not yet known.
        feature_names: F names.
        reward: The reward.
        rows: Panel rows that episodes may live in (warm-up excluded); or several stretches.
        n_accounts: E.
        environment: Episode length, window, cost draw and position size.
        seeds: Node of the seed tree.
        unit: Exposure that an action of 1 asks for, float64 [N]; `max_position_size` for each when
            None.

    Attributes:
        observations: float32 [E, layout.size], rewritten by every step: copy what must live longer.
        rewards: float32 [E].
        done: uint8 [E]: 0, DONE_TRUNCATED or DONE_TERMINATED.
    """

    def __init__(
        self,
        tape: Tape,
        rules: Rules,
        features: Float32,
        feature_names: tuple[str, ...],
        reward: Reward,
        rows: slice | Sequence[slice],
        n_accounts: int,
        environment: EnvironmentConfig,
        seeds: SeedTree,
        unit: Float | None = None,
    ) -> None:
        n = len(tape.symbols)
        expected = (len(tape.stamps), n, len(feature_names))
        if features.shape != expected:
            raise DataError(
                "features",
                f"must have shape {expected}",
                features.shape,
                "Compute them on this panel.",
            )
        self.layout = ObservationLayout(
            tape.symbols, feature_names, environment.window_bars, STATE_NAMES
        )
        stretches = [rows] if isinstance(rows, slice) else rows
        first = environment.window_bars - 1
        self.simulator = Simulator(
            tape,
            rules,
            n_accounts,
            [slice(max(own.start, first), own.stop) for own in stretches],
            environment.episode_length,
            environment.cost_draw_range,
            seeds,
        )
        self.features = observable(features)
        largest = environment.max_position_size if unit is None else unit
        self.unit = np.full(n, largest, dtype=np.float64)
        self.reward = reward
        self._parameters = reward.parameter_vector()
        self._weights = reward.weight_vector()
        paid = n > 1 and self._weights[DIVERSIFICATION] != 0.0
        nothing = np.zeros((0, 2 * n + 2, n))
        nothing.setflags(write=False)  # as a tape's rows are: one type, one compilation
        self._risk = tape.risk(rules.var_method).rows if paid else nothing
        self.observations = aligned((n_accounts, self.layout.size), np.float32)
        self.rewards = np.zeros(n_accounts, dtype=np.float32)
        self.done = np.zeros(n_accounts, dtype=np.uint8)
        self._finished = np.zeros(n_accounts, dtype=np.int64)
        self._last_values = np.zeros_like(self.observations)
        self._last_books = np.zeros((n_accounts, BOOK // LANES))
        self._last_outcomes = np.zeros((n_accounts, len(oc.OUTCOME_COLUMNS)))
        self._action_shape = (n_accounts, n)
        self._books = aligned((len(self.simulator.blocks), BOOK))
        self._block = aligned(FRONT + block_size(n, rules.latency_bars > 0))
        self._sheet = aligned(n * SHEET_SIZE)
        self._seen = new_seen(self.layout)
        self._deposit = rules.initial_equity
        self._handover = self._hand_over()

    def __len__(self) -> int:
        return len(self.simulator)

    def _write_into(self, observations: Float32, rewards: Float32, done: UInt8) -> None:
        """Lets every further step write into these arrays, which somebody holds on to."""
        self.observations, self.rewards, self.done = observations, rewards, done
        self._handover = self._hand_over()

    def _hand_over(self) -> Handover:
        """Every array of a step, in the order of STEP_KINDS."""
        simulator = self.simulator
        return Handover(
            STEP_KINDS,
            (
                self.unit,
                simulator.blocks,
                self._books,
                simulator.rows,
                simulator.end,
                simulator.tape.prices,
                simulator.tape.clock,
                self.features,
                simulator.rules_matrix,
                simulator.settings,
                self._parameters,
                self._weights,
                self.rewards,
                self.done,
                self.observations,
                self._block,
                self._sheet,
                self._seen,
                simulator.starts,
                simulator.ends,
                simulator.scales,
                simulator.cursor,
                self._last_values,
                self._last_books,
                self._last_outcomes,
                self._finished,
                self._risk,
                *simulator.limits,
            ),
        )

    def seed(self, seeds: SeedTree) -> None:
        """Starts every account's stream of episodes anew; takes effect at the next reset."""
        self.simulator.seed(seeds)

    def charge(self, share: float) -> None:
        """As `Simulator.charge`; what is observed of costs follows with the next bar."""
        self.simulator.charge(share)

    def reset(self) -> Float32:
        """Starts a new episode in every account and returns the observations (the env's own
        array).
        """
        simulator = self.simulator
        for e in range(len(self)):
            simulator.start_episode(e)
            book = self.book(e)
            book[:] = 0.0
            start_reward(book[STATE_ROWS])
        observe_accounts(
            simulator.blocks,
            self._books,
            simulator.rows,
            simulator.tape.prices,
            self.features,
            self.layout.window_bars,
            simulator.rules_matrix,
            self._block,
            self._sheet,
            self._seen,
            self.observations,
        )
        return self.observations

    def step(self, actions: Float32) -> Rows:
        """Steps every account by one bar.

        Args:
            actions: float32 [E, N]; a value that is not finite leaves that position alone.

        Returns:
            int64, the accounts whose episode ended; `episode_end` tells what it left behind until
            the account's next one ends. `observations`, `rewards` and `done` hold the rest.

        Raises:
            PolicyError: The actions have another shape or type.
            DataError: There are no features.
        """
        if actions.shape != self._action_shape or actions.dtype != np.float32:
            raise PolicyError(
                "actions",
                f"must be float32 of shape {self._action_shape}",
                (str(actions.dtype), actions.shape),
                "Give one action per account and instrument.",
            )
        simulator = self.simulator
        ended = step_accounts(
            actions, self._handover.argument, self.layout.window_bars, self._deposit
        )
        if ended <= 0:
            if ended < 0:
                raise DataError(
                    "tape and features",
                    "must have the columns that the step was compiled for, of which features are"
                    f" 1 to {MOST_FEATURES - 1}",
                    (simulator.tape.prices.shape, self.features.shape),
                    "Compute at least one feature, and build the tape with `Tape.from_panel`.",
                )
            return NOBODY
        finished = self._finished[:ended].copy()
        for e in finished.tolist():
            if simulator.cursor[e] == DRAWS:
                simulator.draw(e)
        return finished

    def next_returns(self, unit: Float | None = None) -> Float32:
        """What the next bar brings each instrument, before it is lived through: the log return of
        its close over `unit`, cut at +-NEXT_BOUND.

        The answer to a forecast, which a network may be compared with and must never see.

        Args:
            unit: Log return that counts as 1, float64 [N]; when None the one that earns an exposure
                of `unit` one reward scale.

        Returns:
            float32 [E, N]; NaN where the next bar is not the instrument's own, or has no return.
        """
        prices, row = self.simulator.tape.prices, self.simulator.row
        before, after = prices[row], prices[row + 1]
        own = after[:, :, T_TRADABLE] > 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            change = np.log(after[:, :, T_CLOSE] / before[:, :, T_CLOSE])
        scaled = change / (self.reward.scale / self.unit if unit is None else unit)
        known = own & np.isfinite(scaled)
        return np.where(known, np.clip(scaled, -NEXT_BOUND, NEXT_BOUND), np.nan).astype(np.float32)

    def worth_of_gain(self) -> Float:
        """What a gain of one reward scale more in the next bar would add to its reward, to first
        order, float64 [E] (`Reward.worth_of_gain`).
        """
        states = self._books[:, : STATES * LANES].reshape(-1, STATES, LANES)
        return self.reward.worth_of_gain(np.hstack(list(states))[:, : len(self)])

    def episode_end(self, e: int) -> EpisodeEnd:
        """What account e's latest finished episode left behind."""
        book = self._last_books[e].copy()
        return EpisodeEnd(
            terminal_observation=self._last_values[e].copy(),
            truncated=bool(self.done[e] == DONE_TRUNCATED),
            totals=dict(zip(EPISODE_NAMES, book[EPISODE_ROWS].tolist(), strict=True)),
            terms=book[TRACE_ROWS],
            outcome=self._last_outcomes[e].copy(),
        )

    def outcome(self, e: int) -> Float:
        """Account e's ledger row of the last bar, float64 [len(OUTCOME_COLUMNS)] (a view); zeros
        where an episode has just begun.

        Raises:
            ConfigError: There are more than LANES accounts: blocks share the place for it.
        """
        if len(self) > LANES:
            raise ConfigError(
                "n_accounts",
                f"must be at most {LANES} to look at ledger rows while episodes last",
                len(self),
                "Use smaller batches, or `episode_end`.",
            )
        return account_of(self._block[FRONT + OUTCOME : FRONT + ACCOUNT], e)

    def state(self) -> Arrays:
        """Copies of everything that a run which goes on has to know."""
        own = {name: array.copy() for name, array in self._arrays().items()}
        return {**own, **below("simulator", self.simulator.state())}

    def load_state(self, state: Arrays) -> None:
        """Goes on from the `state` of a batch of the same shape, bars, features and rules.

        Raises:
            CheckpointError: It is of another shape.
        """
        fill(self._arrays(), state)
        self.simulator.load_state(part("simulator", state))

    def _arrays(self) -> Arrays:
        return {
            "books": self._books,
            "observations": self.observations,
            "rewards": self.rewards,
            "done": self.done,
            "last_values": self._last_values,
            "last_books": self._last_books,
            "last_outcomes": self._last_outcomes,
        }

    def book(self, e: int) -> Float:
        """What account e has written down, float64 [BOOK // LANES] (a view; STATE_ROWS,
        TRACE_ROWS and EPISODE_ROWS are its parts).
        """
        return account_of(self._books[e // LANES], e % LANES)


def reward_scale(tape: Tape, rows: slice | Sequence[slice], unit: float) -> float:
    """Standard deviation of one bar's return at exposure `unit`, pooled over instruments, from
    `rows` only.
    """
    changes = []
    for stretch in [rows] if isinstance(rows, slice) else rows:
        close = tape.prices[stretch, :, T_CLOSE]
        own = tape.prices[stretch, :, T_TRADABLE][1:] > 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            change = np.diff(np.log(close), axis=0)
        changes.append(change[own & np.isfinite(change)])
    pooled = np.concatenate(changes)
    return float(unit * np.std(pooled)) if len(pooled) else 0.0
