# SPDX-License-Identifier: Apache-2.0
"""The worked examples of docs/time.md, read from the page and run."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mtquant.core import outcome as oc
from mtquant.data.bars import Bars
from mtquant.data.decisions import decision_stamps
from mtquant.data.events import Events
from mtquant.data.panel import Panel
from mtquant.data.resample import resample
from mtquant.features.timeframes import TimeframePipeline
from mtquant.market.account import B_POSITION
from mtquant.market.desk import Desk
from mtquant.market.tape import S_QUEUED, Tape
from tests.support.builders import bars_from_closes
from tests.support.tapes import hand_rules

PAGE = Path(__file__).resolve().parents[2] / "docs" / "time.md"


def tables(title="## A worked three-bar example"):
    """The tables of a section as lists of cells, without their heads."""
    section = PAGE.read_text().split(f"{title}\n")[1].split("\n## ")[0]
    found = re.findall(r"(?:^\|.*\n)+", section, flags=re.MULTILINE)
    return [
        [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines()[2:]]
        for table in found
    ]


@pytest.fixture
def bars():
    """The bars of the first table, read as a file stamped at its bars' starts."""
    rows = tables()[0]
    starts = pd.DatetimeIndex([f"2024-03-05 {row[0]}" for row in rows]).tz_localize("UTC")
    columns = ("open", "high", "low", "close")
    frame = pd.DataFrame(
        {name: [float(row[2 + k]) for row in rows] for k, name in enumerate(columns)}, index=starts
    )
    return Bars.from_frame(frame, "EURUSD", "USD", stamped="open", bar_seconds=3600)


def rules(fill_at="open"):
    plain = hand_rules(
        fill_at=fill_at, spread_bps=2.0, commission_bps=1.0, lot=100.0, initial_equity=10_000.0
    )
    (item,) = plain.instruments
    return replace(plain, instruments=(replace(item, symbol="EURUSD", sector="forex"),))


def test_the_worked_example(bars):
    table, story = tables()
    panel = Panel.from_bars([bars])
    closes = panel.stamps.astype("datetime64[ns]").astype("datetime64[m]")
    assert [str(close)[-5:] for close in closes] == [row[1] for row in table]

    desk = Desk(Tape.from_panel(panel, rules()), rules(), "worked example")
    happened = []

    def tell(row, *numbers):
        happened.extend((table[row][1], number) for number in numbers)

    for row, exposure in ((0, 0.5), (1, 0.0)):
        desk.plan(np.array([exposure]))
        tell(row, exposure)
        if row == 0:
            tell(row, desk.noted(S_QUEUED)[0])
        held, last = desk.column(B_POSITION)[0], panel.close[row, 0]
        outcome = desk.advance()
        fill = desk.ledger().fills[-1]
        opened, close = panel.open[row + 1, 0], panel.close[row + 1, 0]
        early, late = held * (opened - last), desk.column(B_POSITION)[0] * (close - opened)
        if held:
            tell(row + 1, early)
        tell(row + 1, fill[oc.FILL_PRICE], outcome[oc.SLIPPAGE], outcome[oc.FEE])
        if not held:
            tell(row + 1, late)
        tell(row + 1, outcome[oc.EQUITY], outcome[oc.GROWTH])
        assert early * late == 0.0  # the page lists the one of the two that is not 0
    assert [stamp for stamp, *_ in story] == [stamp for stamp, _ in happened]
    for (_, event, number), (_, found) in zip(story, happened, strict=True):
        # Ten decimals: what the page prints.
        assert found == pytest.approx(float(number), abs=5e-11 + 1e-9 * abs(float(number))), event


def test_filling_at_the_close_would_have_been_richer(bars):
    """By 4,500 x 0.0010 of price, and by what the costs of a lower price are lower."""
    tape = Tape.from_panel(Panel.from_bars([bars]), rules())
    equity = {}
    for fill_at in ("open", "close"):
        desk = Desk(tape, rules(fill_at), "worked example")
        desk.plan(np.array([0.5]))
        desk.advance()
        equity[fill_at] = desk.ledger().equity[-1]
        assert desk.ledger().fills[0, oc.FILL_REFERENCE] == {"open": 1.1010, "close": 1.1}[fill_at]
    cheaper = 4_500 * 0.0010 * 0.0002  # 1 bp of spread and 1 bp of commission on 4.50
    assert equity["close"] - equity["open"] == pytest.approx(4.50 + cheaper, abs=1e-6)


def test_longer_bars_beside_shorter_ones():
    _, rows = tables("## Longer bars beside shorter ones")
    bars = bars_from_closes([float(row[1]) for row in rows])
    longer = resample(bars, "4h")
    pipeline = TimeframePipeline(["log_return_1@4h"])
    features = pipeline.on_panel(Panel.from_bars([bars]), [bars])[:, 0]
    stream = pipeline.stream("EURUSD", 3600)
    for t, (stamp, _, last, close, value, age) in enumerate(rows):
        assert clock(bars.stamps[t]) == stamp
        known = longer.stamps <= bars.stamps[t]
        assert (clock(longer.stamps[known][-1]) if known.any() else "-") == last
        assert (f"{longer.close[known][-1]:.4f}" if known.any() else "-") == close
        if value == "-":
            assert np.isnan(features[t, 0])
        else:
            assert features[t, 0] == pytest.approx(float(value), abs=1e-9)
        assert features[t, pipeline.panel_names.index("age_bars@4h")] == float(age)
        columns = (bars.open, bars.high, bars.low, bars.close, bars.volume, bars.stamps)
        streamed = stream.update(*(column[t] for column in columns))
        assert streamed.tobytes() == features[t].tobytes()


def clock(stamp):
    return str(np.datetime64(int(stamp), "ns").astype("datetime64[m]"))[-5:]


def test_deciding_at_the_open():
    texts, decisions, _, _ = tables("## Texts, signals and betting lines")
    frame = pd.DataFrame(texts, columns=["known_at", "score"]).assign(symbol="SPX500")
    frame["score"] = frame["score"].astype(float)
    scores = Events.from_frame(
        frame,
        "scores",
        known_at="known_at",
        symbol="symbol",
        columns=["score"],
        timezone="America/New_York",
    )
    dates = list(dict.fromkeys(row[0] for row in decisions))
    prices = {name: 1.0 for name in ("open", "high", "low", "close")}
    bars = Bars.from_frame(
        pd.DataFrame(prices, index=pd.DatetimeIndex(dates)),
        "SPX500",
        "USD",
        "session",
        86_400,
        "America/New_York",
        "16:00",
    )
    opens = {"session_timezone": "America/New_York", "session_open": "09:30"}
    for date, decide_at, stamp, score, age, filled in decisions:
        t = dates.index(date)
        stamps = decision_stamps(bars, decide_at, **(opens if decide_at == "open" else {}))
        assert str(np.datetime64(int(stamps[t]), "ns")).replace("T", " ") == stamp
        found = scores.as_of("score", stamps, ["SPX500"])
        assert found.values[t, 0] == float(score)
        assert found.age_seconds[t, 0] / 3600 == pytest.approx(float(age), abs=1e-9)
        assert filled == (dates[t + 1] if t + 1 < len(dates) else "-")


def test_a_line_that_moves():
    quotes, lines = tables("## Texts, signals and betting lines")[2:]
    frame = pd.DataFrame(quotes, columns=["game", "known_at", "home", "away"])
    table = Events.from_frame(
        frame.assign(market="winner"),
        "lines",
        known_at="known_at",
        symbol="market",
        columns=["home", "away"],
        event=["game"],
        moves=True,
        timezone="UTC",
    )
    for moment, *expected in lines:
        latest = table.latest(int(np.datetime64(moment, "ns").astype(np.int64)))
        columns = (latest.event_ids, latest.columns["home"], latest.columns["away"])
        known = {game: f"{home} / {away}" for game, home, away in zip(*columns, strict=True)}
        assert [known.get(game, "-") for game in ("Lens - Nice", "Metz - Brest")] == expected
