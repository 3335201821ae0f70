# SPDX-License-Identifier: Apache-2.0
"""The simulator: E accounts on one tape in one compiled loop over preallocated arrays.

Every account has its own place on the tape and its own stream of episode starts, so a batch of
eight is, bit for bit, eight batches of one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mtquant.core.aligned import aligned
from mtquant.core.errors import DataError
from mtquant.core.lanes import LANES
from mtquant.core.seeding import SeedTree
from mtquant.core.states import Arrays, fill, generator_state, set_generator
from mtquant.market.account import A_COST_SCALE, ACCOUNT, account_of, block_size, open_account
from mtquant.market.planning import limit_arrays
from mtquant.market.rules import Rules
from mtquant.market.tape import Tape

Float = NDArray[np.float64]

DRAWS = 64  # episodes drawn ahead per account, so that a compiled loop can start them itself


class Simulator:
    """State of E accounts; `envs.market_env` steps it.

    Args:
        tape: Bars, T rows.
        rules: How the world answers.
        n_accounts: E.
        rows: Panel rows episodes may live in, a slice with start and stop; or several in order, of
            which an episode lives in one.
        episode_length: Bars of one episode; it is cut where `rows` ends.
        cost_draw_range: Lowest and highest multiplier of the instruments' own costs; each episode
            draws one
            log-uniformly. (1, 1) for the true costs.
        seeds: Node of the seed tree; account e draws from its child `e`.

    Attributes:
        blocks: float64 [ceil(E / LANES), block_size(N) - ACCOUNT], what accounts have to remember,
            LANES to a block (`account`).
        row: int64 [E], panel row each account stands at the close of.
        end: int64 [E], row at which its episode is truncated.
        starts, ends: int64 [E, DRAWS], rows of the episodes drawn ahead.
        scales: float64 [E, DRAWS], their cost multipliers, as far as they are charged.
        cursor: int64 [E], which of them is next.
    """

    def __init__(
        self,
        tape: Tape,
        rules: Rules,
        n_accounts: int,
        rows: slice | Sequence[slice],
        episode_length: int,
        cost_draw_range: tuple[float, float],
        seeds: SeedTree,
    ) -> None:
        self.tape, self.rules = tape, rules
        self.rules_matrix = rules.matrix(tape.own_rate)
        self.limits = limit_arrays(rules, tape)
        self.settings = rules.settings()
        self.episode_length = episode_length
        self.allow(rows)
        self._log_costs = [float(np.log(factor)) for factor in cost_draw_range]
        n_blocks = -(-n_accounts // LANES)
        self._fresh = np.zeros(block_size(len(tape.symbols), rules.latency_bars > 0))
        self.blocks = aligned((n_blocks, len(self._fresh) - ACCOUNT))
        # The last block may be wider than what is left for it.
        self.rows = np.zeros(n_blocks * LANES, dtype=np.int64)
        self.row = self.rows[:n_accounts]
        self.end = np.zeros(n_accounts, dtype=np.int64)
        self.starts = np.zeros((n_accounts, DRAWS), dtype=np.int64)
        self.ends = np.zeros((n_accounts, DRAWS), dtype=np.int64)
        self.scales = np.zeros((n_accounts, DRAWS))
        # Multipliers as they were drawn: of the episode before the drawn ones, then of those.
        self._drawn = np.zeros((n_accounts, 1 + DRAWS))
        self._share = np.ones(1)
        self.cursor = np.zeros(n_accounts, dtype=np.int64)
        self.seed(seeds)

    def __len__(self) -> int:
        return len(self.row)

    def allow(self, rows: slice | Sequence[slice]) -> None:
        """Lets the episodes that are drawn from now on live in these rows."""
        begins, lasts = [], []
        for own in [rows] if isinstance(rows, slice) else rows:
            if own.stop - own.start < 2:
                raise DataError(
                    "rows",
                    "must hold at least 2 bars to trade in",
                    own,
                    "Use more bars, a shorter warm-up, or other split fractions.",
                )
            latest = max(own.start, own.stop - 1 - self.episode_length)
            begins.append(np.arange(own.start, latest + 1))
            lasts.append(np.full(len(begins[-1]), own.stop - 1))
        # Every row an episode may begin at, and the last one that it may reach.
        self._begins, self._lasts = np.concatenate(begins), np.concatenate(lasts)

    def account(self, e: int) -> Float:
        """Account e, one number per column (a view, indexed by ``(A_CASH - ACCOUNT) // LANES``)."""
        return account_of(self.blocks[e // LANES], e % LANES)

    def seed(self, seeds: SeedTree) -> None:
        """Starts every account's stream of episodes anew."""
        self._generators = [seeds.child(e).generator() for e in range(len(self))]
        for e in range(len(self)):
            self.draw(e)

    def draw(self, e: int) -> None:
        """Draws the next DRAWS episodes of account `e`: first and last row, and cost multiplier."""
        generator = self._generators[e]
        drawn = generator.integers(0, len(self._begins), DRAWS)
        self.starts[e] = self._begins[drawn]
        self.ends[e] = np.minimum(self.starts[e] + self.episode_length, self._lasts[drawn])
        drawn = self._drawn[e]
        drawn[0] = drawn[self.cursor[e]]
        drawn[1:] = np.exp(generator.uniform(self._log_costs[0], self._log_costs[1], DRAWS))
        self.scales[e] = drawn[1:] * self._share
        self.cursor[e] = 0

    def charge(self, share: float) -> None:
        """Lets every account pay `share` of the trading costs it has drawn, from the next bar on
        and until told otherwise: 0 is free, 1 what it has drawn. Financing stays as it is.
        """
        self._share[0] = share
        np.multiply(self._drawn[:, 1:], share, out=self.scales)
        column = A_COST_SCALE - ACCOUNT
        own = np.zeros(len(self.rows))
        own[: len(self)] = share * self._drawn[np.arange(len(self)), self.cursor]
        self.blocks[:, column : column + LANES] = own.reshape(-1, LANES)

    def start_episode(self, e: int) -> None:
        """Opens account `e` at a random bar of the allowed rows, with randomly scaled costs."""
        k = self.cursor[e]
        self.row[e], self.end[e] = self.starts[e, k], self.ends[e, k]
        prices = self.tape.prices[self.row[e]]
        open_account(self._fresh, 0, self.rules.initial_equity, self.scales[e, k], prices)
        self.account(e)[:] = account_of(self._fresh[ACCOUNT:], 0)
        self.cursor[e] += 1
        if self.cursor[e] == DRAWS:
            self.draw(e)

    def state(self) -> Arrays:
        """Copies of everything that a run which goes on has to know."""
        places = [generator_state(generator) for generator in self._generators]
        own = {name: array.copy() for name, array in self._arrays().items()}
        return {**own, "generators": np.array(places)}

    def load_state(self, state: Arrays) -> None:
        """Goes on from the `state` of a simulator of the same shape.

        Raises:
            CheckpointError: It is of another shape.
        """
        fill(self._arrays(), state)
        for generator, place in zip(self._generators, state["generators"], strict=True):
            set_generator(generator, place)

    def _arrays(self) -> Arrays:
        return {
            "blocks": self.blocks,
            "rows": self.rows,
            "end": self.end,
            "starts": self.starts,
            "ends": self.ends,
            "scales": self.scales,
            "drawn": self._drawn,
            "share": self._share,
            "cursor": self.cursor,
        }
