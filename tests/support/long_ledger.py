# SPDX-License-Identifier: Apache-2.0
"""Paper ledgers of any length, made up row by row in the real schema: nothing was traded."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from mtquant.agents.hierarchy import Memory
from mtquant.core import outcome as oc
from mtquant.core.config import load_config
from mtquant.data.instruments import load_instruments
from mtquant.envs.hierarchy import MESSAGE, MESSAGE_HIGH, MESSAGE_LOW, MESSAGE_NAMES, SCALE
from mtquant.market.rules import Rules
from mtquant.paper.control import beat
from mtquant.paper.ledger import PaperLedger, chained
from mtquant.paper.memory import pack_arrays, pack_state
from mtquant.paper.messages import MESSAGES, words_of

SYMBOLS = ("SPX500", "NAS100", "US30", "EURUSD", "GBPUSD", "USDJPY", "XAUUSD", "WTIUSD")
N = len(SYMBOLS)
FIRST_NS = 1_735_689_600 * 10**9  # 2025-01-01
MINUTE_NS = 60 * 10**9
DEPOSIT = 1_000_000.0
MODEL, DIGEST = "models/checkpoints/phase3", "0f" * 32
GUARD = (  # share of the bars, mode before, after, reasons, actor
    (0.30, 0, 1, "drawdown beyond its limit", "guard"),
    (0.45, 1, 0, "", "guard"),
    (0.75, 0, 2, "by hand", "operator"),
    (0.78, 2, 0, "", "operator"),
)
NOTES = (
    ("jump", "XAUUSD", "0.24 from the last close: held back"),
    ("gap", "", "no bar for 3 bars"),
    ("mismatch", "EURUSD", "the broker holds 100 more: adopted"),
)


class Walk:
    """A made-up account: equity, what was held and at what prices, bar by bar."""

    def __init__(self, bars: int, generator: np.random.Generator) -> None:
        growth = generator.normal(0.02 / bars, 0.03 / bars**0.5, bars)
        growth[int(0.28 * bars) : int(0.31 * bars)] -= 2.0 / bars  # a fall of 6 %
        self.stamps = FIRST_NS + MINUTE_NS * np.arange(bars)
        self.equity = DEPOSIT * np.exp(growth.cumsum())
        self.before = np.concatenate([[DEPOSIT], self.equity[:-1]])
        peaks = np.maximum.accumulate(np.concatenate([[DEPOSIT], self.equity]))[1:]
        self.prices = 100.0 * np.exp(generator.normal(0.0, 0.1 / bars**0.5, (bars, N)).cumsum(0))
        wanted = np.sin(np.arange(bars)[:, None] * (12.0 / bars) + np.arange(N)) * 0.09
        wanted[np.abs(wanted) < 0.02] = 0.0
        self.positions = np.round(wanted * self.equity[:, None] / self.prices, -1)
        self.outcomes = np.zeros((bars, len(oc.OUTCOME_COLUMNS)))
        held = self.positions * self.prices / self.equity[:, None]
        columns = {
            oc.EQUITY_BEFORE: self.before,
            oc.EQUITY: self.equity,
            oc.GROWTH: np.log(self.equity / self.before),
            oc.SIMPLE_RETURN: self.equity / self.before - 1.0,
            oc.DRAWDOWN: 1.0 - self.equity / peaks,
            oc.GROSS: np.abs(held).sum(axis=1),
            oc.NET: held.sum(axis=1),
            oc.MARGIN_USE: np.abs(held).sum(axis=1) / 20.0,
        }
        for column, values in columns.items():
            self.outcomes[:, column] = values
        swings = np.sin(np.arange(bars)[:, None, None] * (25.0 / bars) + np.arange(N)[:, None])
        noise = generator.normal(0.0, 0.2, (bars, N, MESSAGE))
        said = swings * np.array([0.7, 0.4, 1.5, 0.6, 0.8]) + noise
        self.messages = np.clip(said, MESSAGE_LOW, MESSAGE_HIGH, dtype=np.float32)

    def memory(self, bar: int) -> Memory:
        """What the hierarchy remembered after a bar."""
        return Memory(self.messages[bar][None], np.full((1, N), 0.1))


def long_ledger(path: Path, bars: int, seed: int = 0) -> Walk:
    """Writes a ledger of so many bars, with an order and a fill in each, and a fresh heartbeat."""
    generator = np.random.default_rng(seed)
    made = Walk(bars, generator)
    rules = Rules.from_config(load_config(None).environment, load_instruments(None), SYMBOLS)
    with PaperLedger.create(path, _meta(rules)) as ledger, ledger.transaction():
        chain = b""
        for bar in range(bars):
            chain = _add_bar(ledger, made, bar, chain)
        for share, before, after, reasons, actor in GUARD:
            bar = int(share * bars)
            ledger.add(
                "guard",
                **_when(made, bar),
                mode_before=before,
                mode_after=after,
                reasons=reasons,
                actor=actor,
            )
        for n in range(max(3, bars // 200)):
            ledger.note(int(made.stamps[n]), *NOTES[n % len(NOTES)])
        for verb, capital, reason in (("promote", 0.5, "by hand"), ("ramp", 1.0, "500 quiet bars")):
            own = {"bar": 0, "wall_ns": time.time_ns(), "path": MODEL, "digest": DIGEST}
            ledger.add("models", **own, verb=verb, capital=capital, reason=reason)
        ledger.keep_state(bars - 1, "loop", _state(made.memory(bars - 1)))
    beat(path, bars - 1, int(made.stamps[-1]))
    return made


def _meta(rules: Rules) -> dict[str, str]:
    return {
        "name": "hierarchy",
        "account": "made-up",
        "symbols": json.dumps(SYMBOLS),
        "rules": json.dumps(asdict(rules)),
        "rules_hash": rules.hash(),
        "world_hash": rules.without_stops().hash(),
        "bar_seconds": "60",
        "bars_per_year": (365.25 * 1440).hex(),
        "initial_equity": DEPOSIT.hex(),
    }


def _when(made: Walk, bar: int) -> dict[str, int]:
    stamp = int(made.stamps[bar])
    return {"bar": bar, "stamp_ns": stamp, "wall_ns": stamp}


def _add_bar(ledger: PaperLedger, made: Walk, bar: int, chain: bytes) -> bytes:
    """Everything that a bar leaves; returns the new digest of the chain."""
    stamp, n = int(made.stamps[bar]), bar % N
    flat = np.zeros(N)
    fill = np.array([bar, n, 0, 10.0, 10.0, 100.0, 100.01, 1.0, 0.1, 0.1, 0])
    books = (made.positions[bar], made.prices[bar], flat + 1.0, flat, flat)
    raw, *kept = (np.ascontiguousarray(own).tobytes() for own in (made.outcomes[bar], *books))
    chain = chained(chain, bar, [raw, *kept, fill.tobytes()])
    outcome = dict(zip(oc.OUTCOME_COLUMNS, made.outcomes[bar].tolist(), strict=True))
    ledger.add("rows", **_when(made, bar))
    ledger.add("outcomes", bar=bar, stamp_ns=stamp, raw=raw, chain=chain, **outcome)
    names = ("positions", "prices", "rates", "financing", "targets")
    ledger.add("books", bar=bar, **dict(zip(names, kept, strict=True)))
    memory = made.memory(bar)
    told = dict(zip(MESSAGE_NAMES, memory.messages[0].T, strict=True)) | {SCALE: memory.scales[0]}
    details = {"shares": {MODEL: 1.0}, MESSAGES: {MODEL: words_of("hierarchy", told, N)}}
    empty = flat.tobytes()
    ledger.add(
        "decisions",
        bar=bar,
        stamp_ns=stamp,
        asked=empty,
        targets=empty,
        mode=0,
        seen="",
        details=json.dumps(details),
    )
    order = {"client_id": f"made-{bar:08d}", "bar": bar}
    good_ns = stamp + MINUTE_NS
    ledger.add(
        "orders", **order, instrument=n, quantity=10.0, stamp_ns=stamp, good_until_ns=good_ns
    )
    for status in ("sent", "filled"):
        ledger.add("events", client_id=order["client_id"], status=status, detail="", wall_ns=stamp)
    columns = dict(zip(oc.FILL_COLUMNS[1:], fill[1:].tolist(), strict=True))
    ledger.add("fills", trade_id=f"trade-{bar:08d}", **order, raw=fill.tobytes(), **columns)
    return chain


def _state(memory: Memory) -> bytes:
    """What a loop keeps, as far as readers look at it: risks, and a hierarchy's memory."""
    risk = np.zeros((2, 2 * N + 2, N))
    risk[1, 0], risk[1, 2 : 2 + N] = 0.01, 0.3 + 0.7 * np.eye(N)
    packed = np.frombuffer(pack_state(memory), dtype=np.uint8)
    return pack_arrays({"tape/risk": risk, f"seat/{DIGEST}/memory": packed})
