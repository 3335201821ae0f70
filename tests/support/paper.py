# SPDX-License-Identifier: Apache-2.0
"""Small paper accounts: two hourly currencies with holes, a policy with a memory, any broker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtquant.backtest.runner import run_backtest
from mtquant.core.config import Config, load_config
from mtquant.core.protocols import Observation
from mtquant.data.bars import Bars
from mtquant.data.instruments import load_instruments
from mtquant.data.panel import Panel
from mtquant.features.timeframes import TimeframePipeline
from mtquant.market.ledger import Ledger
from mtquant.market.live_tape import LiveTape
from mtquant.market.rules import Rules
from mtquant.market.tape import Tape
from mtquant.paper.alerts import Alerts
from mtquant.paper.broker import Broker
from mtquant.paper.feeds import Delivery, Feed, Replay
from mtquant.paper.loop import PaperLoop
from mtquant.paper.opening import open_loop
from mtquant.paper.seats import Model
from mtquant.paper.sim_broker import Faults, SimBroker
from mtquant.paper.terms import Terms
from mtquant.rewards.compose import Reward
from tests.support.builders import make_bars

SYMBOLS = ("EURUSD", "USDJPY")
INSTRUMENTS = load_instruments(None)
FEATURES = ("log_return_1", "zscore_20", "zscore_20@4h")
HOUR = 3_600
OPENING = 130  # row at whose close accounts are opened: all features are known
REWARD = Reward({"growth": 1.0}, 0.01)
CALM = (  # a guard that never says a word, where a test is about something else
    "guard.reduce_drawdown_frac=null",
    "guard.halt_drawdown_frac=null",
    "guard.reduce_daily_loss_frac=null",
    "guard.halt_daily_loss_frac=null",
    "guard.max_var_exceedances=null",
    "paper.caution_drawdown_frac=null",
    "paper.limit_slack=1000",
    "paper.settle_seconds=5",
    "paper.snapshot_bars=7",
)


class Recall(NamedTuple):
    """What `Restless` remembers."""

    mood: NDArray[np.float32]
    bars: int


class Restless:
    """A policy whose targets depend on everything it ever saw, so that a lost bit shows."""

    name = "restless"
    window_bars = 2

    def __init__(self, size: float = 1.0, salt: int = 0) -> None:
        self.feature_names = (*FEATURES, "age_bars", "age_bars@4h")
        self._size, self._salt = size, salt
        self.seen: list[bytes] = []

    def initial_state(self) -> Recall:
        return Recall(np.zeros(4, dtype=np.float32), 0)

    def act(self, observation: Observation, state: Recall) -> tuple[NDArray[np.float64], Recall]:
        self.seen.append(observation.values.tobytes())
        values = observation.values.astype(np.float64)
        weights = np.sin(np.arange(4 * len(values), dtype=np.float64) + self._salt)
        felt = np.tanh(weights.reshape(4, -1) @ np.tanh(values))
        mood = (0.9 * state.mood + 0.6 * felt.astype(np.float32)).astype(np.float32)
        targets = self._size * np.sin(3.0 * mood[:2].astype(np.float64) + state.bars * 0.7)
        if state.bars % 5 == 4:
            targets[state.bars % 2] = np.nan
        return targets, Recall(mood, state.bars + 1)


def holed_bars(symbol: str, rows: int, seed: int, holes: float = 0.1) -> Bars:
    """Hourly bars of which some are missing."""
    whole = make_bars(symbol, rows, seed, HOUR, INSTRUMENTS[symbol].quote, volatility=0.004)
    kept = np.random.default_rng(seed).random(rows) >= holes
    kept[:3] = kept[-1] = True
    names = ("open", "high", "low", "close", "volume")
    columns = {name: getattr(whole, name)[kept] for name in names}
    return Bars(
        symbol=symbol,
        stamps=whole.stamps[kept],
        quote=whole.quote,
        bar_seconds=HOUR,
        **columns,
    )


@dataclass
class Stage:
    """A market, and paper accounts on it.

    Attributes:
        folder: Where ledgers lie.
        bars: One of each instrument.
        config: Rules, guard, paper.
        policies: Model path -> who acts under it.
    """

    folder: Path
    bars: list[Bars]
    config: Config
    policies: dict[str, Restless] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, *overrides: str, rows: int = 220, seed: int = 5) -> Stage:
        bars = [holed_bars(symbol, rows, seed + n) for n, symbol in enumerate(SYMBOLS)]
        return cls(folder, bars, load_config(None, [*CALM, *overrides]))

    @property
    def rules(self) -> Rules:
        return Rules.from_config(self.config.environment, INSTRUMENTS, SYMBOLS)

    @property
    def panel(self) -> Panel:
        return Panel.from_bars(self.bars)

    @property
    def path(self) -> Path:
        return self.folder / "paper.sqlite"

    def pipeline(self) -> TimeframePipeline:
        return TimeframePipeline(FEATURES)

    def policy(self, path: str) -> Restless:
        return self.policies.setdefault(path, Restless(salt=sum(path.encode())))

    def model(self, path: str) -> Model:
        return Model(path, f"digest of {path}", self.policy(path), self.pipeline(), REWARD)

    def terms(self) -> Terms:
        panel, config = self.panel, self.config
        return Terms(
            "restless", "t", self.rules, HOUR, panel.bars_per_year, config.paper, config.guard
        )

    def replay(self) -> Replay:
        return Replay(self.bars)

    def history(self) -> list[Delivery]:
        feed = self.replay()
        return [feed.next(1.0) for _ in range(OPENING + 1)]

    def open(
        self,
        broker: Callable[[LiveTape, bytes | None], Broker] | None = None,
        feed: Feed | None = None,
        faults: Faults | None = None,
        **more: object,
    ) -> PaperLoop:
        return open_loop(
            self.path,
            self.terms(),
            self.history,
            feed or self.replay(),
            broker or self.simulated(faults),
            self.model,
            "first",
            Alerts(self.folder / "alerts.jsonl", "restless"),
            **more,  # type: ignore[arg-type]
        )

    def simulated(self, faults: Faults | None = None) -> Callable[..., SimBroker]:
        def make(tape: LiveTape, state: bytes | None) -> SimBroker:
            made = SimBroker(tape, self.rules, faults)
            if state is not None:
                made.restore(state)
            return made

        return make

    def backtest(self, policy: Restless | None = None) -> tuple[Ledger, Restless]:
        panel, rules = self.panel, self.rules
        policy = policy or Restless(salt=sum(b"first"))
        pipeline = self.pipeline()
        computed = pipeline.on_panel(panel, self.bars)
        columns = [pipeline.panel_names.index(name) for name in policy.feature_names]
        tape = Tape.from_panel(panel, rules)
        rows = slice(OPENING, len(panel))
        ledger = run_backtest(policy, tape, rules, computed[:, :, columns], rows, REWARD)
        return ledger, policy

    def with_config(self, *overrides: str) -> Stage:
        return replace(self, config=load_config(None, [*CALM, *overrides]))


def positions(loop: PaperLoop) -> Sequence[float]:
    return [float(q) for q in loop.positions]
