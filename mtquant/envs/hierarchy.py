# SPDX-License-Identifier: Apache-2.0
"""Who sees, says and trades what in a portfolio of specialists under a meta-controller.

**Views.** A specialist sees the blocks of its own instruments and the account block, in the layout
it was trained in alone. Its exposure is shown as a share of what its signal of 1 buys at present,
in units of the name cap (an action of 1 in phase 1), since that is how it learnt to know it.

**Messages**, float32 [N, MESSAGE], one row per instrument:

    signal               its action, [-1, 1]
    confidence           [0, 1]
    value                its own estimate of what is to come, units of its reward, [-10, 10]
    forecast_return      of the next bar, in units of its reward scale, [-10, 10]
    forecast_volatility  the same, [0, 10]

A specialist decides on its instruments' own bars, as it did in training: while a market is closed
the latest message about it stands, and before the first one it is all 0.

**The meta-controller** sees

    for each instrument  INSTRUMENT_NAMES of `market/observation.py`, then its message
    account block        drawdown, gross, net, margin_use, volatility, reward state
    risk                 gross exposure per sector, in units of equity
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from mtquant.core.errors import ConfigError, PolicyError
from mtquant.envs import allocation
from mtquant.envs.market_env import MarketEnv
from mtquant.market.observation import INSTRUMENT_EXTRAS, INSTRUMENT_NAMES, ObservationLayout
from mtquant.market.rules import Rules

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

MESSAGE_NAMES = ("signal", "confidence", "value", "forecast_return", "forecast_volatility")
MESSAGE = len(MESSAGE_NAMES)
SIGNAL = MESSAGE_NAMES.index("signal")
FORECAST = MESSAGE_NAMES.index("forecast_return")
SCALE = "exposure_at_signal_1"  # what the meta-controller makes of a message, units of equity
MESSAGE_LOW = np.array([-1.0, 0.0, -10.0, -10.0, 0.0], dtype=np.float32)
MESSAGE_HIGH = np.array([1.0, 1.0, 10.0, 10.0, 10.0], dtype=np.float32)
SHARE_BOUND = 2.0  # a position left over from a larger scale is shown as at most this
EXPOSURE, TRADABLE = INSTRUMENT_NAMES.index("exposure"), INSTRUMENT_NAMES.index("tradable")

Views = Float32 | Sequence[Float32]
"""What each of K specialists sees, float32 [E, its entries] each, in the order of the domains; of
equally many entries one array, [K, E, entries]."""
Speak = Callable[[Views], Float32]
"""Frozen specialists: their views to messages float32 [E, N, MESSAGE] in the order of the panel."""


class Hierarchy:
    """A portfolio's instruments shared out among specialists.

    Args:
        layout: Of the portfolio's observation.
        rules: Of its desk.
        domains: Specialist -> symbols it trades; one specialist per instrument when None.

    Attributes:
        domains: Specialist -> symbols, in the order of the specialists.
        layout: Of the portfolio's observation.
        owner: int64 [N], which specialist trades the instrument.
        instruments: For each specialist the columns of its instruments, int64.
        gross_cap: `max_gross_exposure`.
        name_caps: float64 [N], largest |exposure| per instrument.
        spoken: int64 [N], where each instrument's message stands among those of all specialists in
            turn.

    Raises:
        ConfigError: A symbol is traded by nobody, by two, or unknown.
    """

    def __init__(
        self,
        layout: ObservationLayout,
        rules: Rules,
        domains: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        n = len(layout.symbols)
        chosen = {symbol: (symbol,) for symbol in layout.symbols} if domains is None else domains
        self.domains = _checked({name: tuple(own) for name, own in chosen.items()}, layout.symbols)
        self.layout, self.gross_cap = layout, rules.max_gross_exposure
        self.name_caps = rules.limits().caps
        self.instruments = [
            np.array([layout.symbols.index(symbol) for symbol in own])
            for own in self.domains.values()
        ]
        # Specialists speak one after the other; this brings their rows into the panel's order.
        self.spoken = np.argsort(np.concatenate(self.instruments))
        self.owner = np.zeros(n, dtype=np.int64)
        for k, own in enumerate(self.instruments):
            self.owner[own] = k
        block = layout.block_size
        starts = np.arange(n) * block
        self._extras = (starts + block - INSTRUMENT_EXTRAS)[:, None] + np.arange(INSTRUMENT_EXTRAS)
        self._exposures, self._tradables = self._extras[:, EXPOSURE], self._extras[:, TRADABLE]
        self._account = n * block  # the account's entries stand behind the instruments'
        account = np.arange(self._account, layout.size)
        blocks = starts[:, None] + np.arange(block)
        self._views = [np.append(blocks[own].ravel(), account) for own in self.instruments]
        alike = len(set(self.view_sizes)) == 1
        self._together = np.array(self._views) if alike else None
        self.sectors, self._sector_of = _sectors(rules)

    @classmethod
    def of(cls, env: MarketEnv, domains: Mapping[str, Sequence[str]] | None = None) -> Hierarchy:
        """Of a batch of portfolios.

        Raises:
            ConfigError: Its actions are not exposures; and as the constructor.
        """
        if not np.all(env.unit == 1.0):
            raise ConfigError(
                "unit",
                "must be 1 for every instrument, since a hierarchy asks for exposures",
                env.unit.tolist(),
                "Build the MarketEnv with unit=np.ones(N).",
            )
        return cls(env.layout, env.simulator.rules, domains)

    def __len__(self) -> int:
        return len(self.domains)

    # --- spaces ---

    @property
    def view_sizes(self) -> tuple[int, ...]:
        """Entries of each specialist's view."""
        return tuple(len(columns) for columns in self._views)

    def message_box(self, k: int) -> spaces.Box:
        """What specialist k may say: MESSAGE entries for each of its instruments in turn."""
        count = len(self.instruments[k])
        low, high = np.tile(MESSAGE_LOW, count), np.tile(MESSAGE_HIGH, count)
        return spaces.Box(low, high, dtype=np.float32)

    def meta_names(self) -> tuple[str, ...]:
        """One name per entry of the meta-controller's observation."""
        entries = (*INSTRUMENT_NAMES, *MESSAGE_NAMES)
        own = [f"{symbol}.{name}" for symbol in self.layout.symbols for name in entries]
        account = self.layout.names()[self._account :]
        return (*own, *account, *(f"gross.{sector}" for sector in self.sectors))

    # --- what each one sees; observations are float32 [E, layout.size] ---

    def views(self, observations: Float32, scales: Float) -> Views:
        """The specialists' own observations.

        Args:
            observations: The portfolio's.
            scales: float64 [E, N], exposures that a signal of 1 asked for in the last decision.
        """
        seen = observations.copy()
        exposure = seen.take(self._exposures, axis=1)
        # What a signal of 1 buys: no more than the name cap lets it.
        largest = np.minimum(scales, self.name_caps)
        share = np.divide(exposure, largest, out=np.sign(exposure, dtype=float), where=largest > 0)
        share = np.minimum(np.maximum(share, -SHARE_BOUND), SHARE_BOUND)
        seen[:, self._exposures] = share * self.name_caps
        if self._together is None:
            return [seen.take(columns, axis=1) for columns in self._views]
        return np.ascontiguousarray(seen.take(self._together, axis=1).swapaxes(0, 1))

    def scales(self, actions: Float32, messages: Float32) -> Float:
        """What decisions of the meta-controller mean (`allocation.py`): the exposure that a signal
        of 1 asks for, float64 [E, N].

        Args:
            actions: float32 [E, K + 2].
            messages: float32 [E, N, MESSAGE], whose signals are about to be followed.
        """
        weights, budgets = allocation.weights_and_budget(actions)
        return allocation.instrument_scales(
            weights, budgets, self.owner, self.gross_cap, self.name_caps, messages[..., SIGNAL]
        )

    def tradable(self, observations: Float32) -> NDArray[np.bool_]:
        """Where the bar just closed is the instrument's own, bool [E, N]."""
        own: NDArray[np.bool_] = observations.take(self._tradables, axis=1) > 0.0
        return own

    def observe(self, observations: Float32, messages: Float32) -> Float32:
        """The meta-controller's observation, float32 [E, len(meta_names())].

        Args:
            observations: The portfolio's.
            messages: float32 [E, N, MESSAGE].
        """
        extras = observations.take(self._extras, axis=1)
        told = np.concatenate([extras, messages], axis=2).reshape(len(observations), -1)
        account = observations[:, self._account :]
        return np.concatenate([told, account, self._risk(extras[:, :, EXPOSURE])], axis=1)

    def _risk(self, exposure: Float32) -> Float32:
        """Gross exposure per sector, float32 [E, sectors], from float32 [E, N]."""
        # Not a matrix product: its rounding may depend on how many are stepped together.
        risk: Float32 = (np.abs(exposure)[:, :, None] * self._sector_of).sum(axis=1)
        return risk


def heard(messages: Float32, shape: tuple[int, ...]) -> Float32:
    """Messages as the meta-controller takes them: checked, and cut at their bounds.

    Args:
        messages: Rows of MESSAGE, flat or not.
        shape: The shape they must have; the result has it too.

    Raises:
        PolicyError: Another shape, or not finite.
    """
    remedy = f"Give {', '.join(MESSAGE_NAMES)} for each instrument."
    _require_finite("messages", messages, shape, remedy)
    rows = np.reshape(messages, (-1, MESSAGE))
    # Not np.clip, which takes longer to begin than both of these together.
    cut = np.minimum(np.maximum(rows, MESSAGE_LOW, dtype=np.float32), MESSAGE_HIGH)
    return cut.reshape(shape)


def require_decision(actions: Float32, shape: tuple[int, ...]) -> None:
    """Refuses actions of the meta-controller that mean nothing.

    Raises:
        PolicyError: Another shape, or not finite.
    """
    remedy = "Give a logit per specialist, the logit of cash, and the risk budget."
    _require_finite("action of the meta-controller", actions, shape, remedy)


def _require_finite(field: str, values: Float32, shape: tuple[int, ...], remedy: str) -> None:
    if np.shape(values) != shape:
        raise PolicyError(field, f"must have shape {shape}", np.shape(values), remedy)
    if not np.isfinite(values).all():
        raise PolicyError(field, "must be finite", values, remedy)


def _checked(
    domains: dict[str, tuple[str, ...]], symbols: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
    """The domains, if every symbol is in exactly one."""
    traded = [symbol for own in domains.values() for symbol in own]
    idle = [name for name, own in domains.items() if not own]
    if sorted(traded) != sorted(symbols) or idle:
        raise ConfigError(
            "domains",
            f"must share out {symbols}, each to one specialist, and leave none without",
            domains,
            "List every instrument once.",
        )
    return domains


def _sectors(rules: Rules) -> tuple[tuple[str, ...], Float32]:
    """Names of the sectors, and float32 [N, sectors] with 1 where an instrument belongs."""
    names = tuple(dict.fromkeys(item.sector for item in rules.instruments))
    member = [[float(item.sector == name) for name in names] for item in rules.instruments]
    return names, np.array(member, dtype=np.float32)
