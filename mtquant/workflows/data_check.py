# SPDX-License-Identifier: Apache-2.0
"""The whole way of configured bars: check, panel, split, features, simulator with random actions.

What a training would stumble over after minutes is found here in seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.config import Config
from mtquant.core.errors import AuditError, DataError
from mtquant.core.lanes import LANES
from mtquant.core.seeding import SeedTree
from mtquant.data.bars import Bars, stamp_text
from mtquant.data.importing.gaps import find_gaps
from mtquant.data.instruments import Instrument
from mtquant.data.panel import Panel
from mtquant.data.sources import load_bars, session_of, split_bars
from mtquant.envs.market_env import MarketEnv
from mtquant.features.timeframes import TimeframePipeline, warmup_rows
from mtquant.market.desk import Desk
from mtquant.market.ledger import Ledger
from mtquant.market.rules import Rules
from mtquant.market.tape import Tape
from mtquant.rewards.compose import Reward

CHUNK = 1_000
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class InstrumentCheck:
    """One instrument's bars and what became of them.

    Attributes:
        symbol: The instrument.
        rows: Bars.
        first, last: Close stamps.
        gaps: Stretches in which its own week expects bars; `missing_bars` is how many.
        missing_bars: See `gaps`.
        warmup_bars: Own bars until every feature is known.
        unknown: Feature values that are not known behind the warm-up; none is expected.
        fills: Orders filled, stops included.
        refusals: Orders refused, by reason.
        notes: What every report repeats.
    """

    symbol: str
    rows: int
    first: str
    last: str
    gaps: int
    missing_bars: int
    warmup_bars: int
    unknown: int
    fills: int
    refusals: Mapping[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class DataCheck:
    """What the check found.

    Attributes:
        instruments: One per instrument.
        panel_rows: Rows of the union of all stamps.
        parts: Rows of train, validation and test.
        features: How many features there are, ages included.
        bars: Bars that the simulator stepped.
        accounts: Accounts that lived through them at once, the first of them on a ledger too.
        ruined: Accounts that went bankrupt on the way and began again.
    """

    instruments: tuple[InstrumentCheck, ...]
    panel_rows: int
    parts: Mapping[str, int]
    features: int
    bars: int
    accounts: int
    ruined: int


def check_data(
    config: Config, instruments: Mapping[str, Instrument], progress: Progress | None = None
) -> DataCheck:
    """Takes the configured bars all the way to the simulator.

    Args:
        config: Bars, features, environment, seed.
        instruments: Configured instruments.
        progress: Called with bars stepped and bars in all.

    Raises:
        DataError: Bars cannot be loaded, break a rule or are too few for features and split.
        RulesError: A currency has no path to the account's.
        AuditError: A number of the simulator is not finite, or differs from the ledger's.
    """
    by_symbol = load_bars(config.data, instruments)
    bars = list(by_symbol.values())
    split = split_bars(by_symbol, config.data)
    panel = Panel.from_bars(bars)
    rules = Rules.from_config(config.environment, instruments, panel.symbols)
    tape = Tape.from_panel(panel, rules)
    sessions = {name: session_of(name, config.data, instruments) for name in panel.symbols}
    pipeline = TimeframePipeline(config.features.catalog, sessions)
    features = pipeline.on_panel(panel, bars)
    rows = _known_rows(panel, features, config.environment.window_bars)
    length = rows.stop - rows.start
    changes = {"cost_draw_range": (1.0, 1.0), "episode_length": length}
    env = MarketEnv(
        tape,
        rules,
        features,
        pipeline.panel_names,
        Reward({"growth": 1.0}, 1.0),
        rows,
        LANES,
        config.environment.model_copy(update=changes),
        SeedTree(config.training.seed).child("data check"),
    )
    first = max(rows.start, config.environment.window_bars - 1)
    desk = Desk(tape, rules, "random", start_row=first)
    generator = SeedTree(config.training.seed).child("data check", "actions").generator()
    ruined = _live(env, desk, length - 1, generator, progress)
    ledger = desk.ledger()
    return DataCheck(
        instruments=tuple(
            _instrument(each, n, panel, features, ledger) for n, each in enumerate(bars)
        ),
        panel_rows=len(panel),
        parts={
            name: panel.rows(getattr(split, name)).stop - panel.rows(getattr(split, name)).start
            for name in ("train", "validation", "test")
        },
        features=features.shape[2],
        bars=length - 1,
        accounts=LANES,
        ruined=ruined,
    )


def _known_rows(panel: Panel, features: NDArray[np.float32], window_bars: int) -> slice:
    """The rows behind the warm-up of every instrument."""
    warm = warmup_rows(features) + window_bars - 1
    if len(panel) - warm < 3:
        raise DataError(
            "bars",
            f"must go on behind the first {warm} rows, in which features warm up",
            f"{len(panel)} rows",
            "Use more bars, or features of a shorter memory.",
        )
    return slice(warm, len(panel))


def _live(
    env: MarketEnv,
    desk: Desk,
    bars: int,
    generator: np.random.Generator,
    progress: Progress | None,
) -> int:
    """Random actions for every account; the first one's also on the desk with the ledger on.

    Returns:
        How many accounts were ruined.
    """
    env.reset()
    ruined, followed = 0, True
    shape = (len(env), len(desk.tape.symbols))
    for done in range(bars):
        if done % CHUNK == 0:
            actions = generator.uniform(-1.0, 1.0, (CHUNK, *shape)).astype(np.float32)
            if progress is not None:
                progress(done, bars)
        chosen = actions[done % CHUNK]
        ended = env.step(chosen)
        ruined += sum(not env.episode_end(int(e)).truncated for e in ended)
        _refuse_unless(np.isfinite(env.observations).all(), "observations", desk, done)
        _refuse_unless(np.isfinite(env.rewards).all(), "rewards", desk, done)
        if followed:
            desk.plan(chosen[0].astype(np.float64) * env.unit)
            outcome = desk.advance()
            followed = not desk.bankrupt
            lived = env.episode_end(0).outcome if 0 in ended else env.outcome(0)
            same = lived[oc.EQUITY] == outcome[oc.EQUITY]
            _refuse_unless(same, "equity of simulator and ledger", desk, done)
    if progress is not None:
        progress(bars, bars)
    return ruined


def _refuse_unless(holds: object, what: str, desk: Desk, done: int) -> None:
    if not holds:
        row = min(desk.row, len(desk.tape.stamps) - 1)
        found = f"bar {done}, closed {stamp_text(int(desk.tape.stamps[row]))}"
        rule = "must be finite numbers, the same in both"
        raise AuditError(what, rule, found, "Please report it, with the bars.")


def _instrument(
    bars: Bars, n: int, panel: Panel, features: NDArray[np.float32], ledger: Ledger
) -> InstrumentCheck:
    known = np.isfinite(features[:, n]).all(axis=1)
    warm = int(known.argmax())
    gaps = find_gaps(bars.stamps, bars.bar_seconds).summary
    own = ledger.fills[ledger.fills[:, oc.FILL_INSTRUMENT] == n]
    refused = own[own[:, oc.FILL_QUANTITY] == 0.0]
    reasons = Counter(oc.REASON_TEXTS[int(code)] for code in refused[:, oc.FILL_REASON])
    return InstrumentCheck(
        symbol=bars.symbol,
        rows=len(bars),
        first=stamp_text(int(bars.stamps[0])),
        last=stamp_text(int(bars.stamps[-1])),
        gaps=gaps.count,
        missing_bars=gaps.missing_bars,
        warmup_bars=int(panel.own_row[warm, n]),
        unknown=int((~np.isfinite(features[warm:, n])).sum()),
        fills=len(own) - len(refused),
        refusals=dict(reasons),
        notes=bars.notes,
    )
