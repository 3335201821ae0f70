# SPDX-License-Identifier: Apache-2.0
"""Lines of a ledger, thinned by SQLite: a chart of 100,000 bars costs about what one of 1,000 does.

Frames are indexed by close stamp (UTC, no time zone written into it) and in the order of time. What
the ledger does not know is NaN.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtquant.paper.reading import meta

Float = NDArray[np.float64]
POINTS = 500  # stretches of a line; each keeps its lowest and its highest bar
MARKS = 200  # changes of the guard on a chart
COLUMNS = 240  # bars of an allocation chart


def span(connection: sqlite3.Connection, last: int | None) -> tuple[int, int] | None:
    """First and last bar number of the `last` newest bars, or of all; None of an empty ledger."""
    first, final = connection.execute("SELECT min(bar), max(bar) FROM outcomes").fetchone()
    if final is None:
        return None
    return (first if last is None else max(first, final - last + 1)), final


def equity_curve(
    connection: sqlite3.Connection, last: int | None = None, points: int = POINTS
) -> pd.DataFrame:
    """Equity (account currency) and drawdown (fraction below the peak).

    Args:
        connection: To a ledger.
        last: How many of the newest bars; all of them when None.
        points: Stretches. Of each, the bars of lowest and highest equity and of the deepest
            drawdown are kept, so that no extreme is lost; the ends are kept too.
    """
    names = ("bar", "equity", "drawdown")
    found = span(connection, last)
    if found is None:
        return _frame([], names)
    first, final = found
    width = (final - first) // points + 1
    if width == 1:
        chosen, values = "bar BETWEEN ? AND ?", [first, final]
    else:
        # With one min() or max() SQLite answers the other columns from that very row.
        one = "SELECT bar FROM (SELECT bar, {} FROM outcomes WHERE bar >= ? GROUP BY bar / ?)"
        picked = [one.format(text) for text in ("min(equity)", "max(equity)", "max(drawdown)")]
        chosen = f"bar IN ({' UNION '.join(picked)}) OR bar IN (?, ?)"
        values = [first, width] * 3 + [first, final]
    rows = connection.execute(
        f"SELECT stamp_ns, bar, equity, drawdown FROM outcomes WHERE {chosen} ORDER BY bar", values
    )
    return _frame(rows.fetchall(), names)


def guard_marks(
    connection: sqlite3.Connection, last: int | None = None, most: int = MARKS
) -> pd.DataFrame:
    """The newest changes of the guard within the `last` bars, and before them the mode that held as
    these begin: columns mode (GUARD_*), reasons, actor; indexed by close stamp.
    """
    names = ("mode", "reasons", "actor")
    found = span(connection, last)
    if found is None:
        return pd.DataFrame([], columns=list(names), index=stamps_index([]))
    (start,) = connection.execute(
        "SELECT stamp_ns FROM outcomes WHERE bar = ?", (found[0],)
    ).fetchone()
    asked = "mode_after, reasons, actor FROM guard WHERE"
    before = connection.execute(
        f"SELECT ?, {asked} stamp_ns < ? ORDER BY id DESC LIMIT 1", (start, start)
    ).fetchall()
    within = connection.execute(
        f"SELECT stamp_ns, {asked} stamp_ns >= ? ORDER BY id DESC LIMIT ?", (start, most)
    ).fetchall()
    rows = [*(before if len(within) < most else []), *within[::-1]]
    index = stamps_index([row[0] for row in rows])
    return pd.DataFrame([row[1:] for row in rows], columns=list(names), index=index)


def allocation(
    connection: sqlite3.Connection, last: int | None = None, columns: int = COLUMNS
) -> pd.DataFrame:
    """What was held, in units of equity: a column per instrument, evenly picked bars."""
    symbols = meta(connection)["symbols"]
    bars = picked_bars(connection, last, columns)
    places = ", ".join("?" * len(bars))
    rows = connection.execute(
        "SELECT o.stamp_ns, o.equity, b.positions, b.prices, b.rates FROM outcomes o "
        f"JOIN books b ON b.bar = o.bar WHERE o.bar IN ({places}) ORDER BY o.bar",
        bars,
    ).fetchall()
    multipliers = multipliers_of(connection)
    held = [exposures(row[1:], multipliers) for row in rows]
    return _frame([(row[0], *own) for row, own in zip(rows, held, strict=True)], symbols)


def picked_bars(connection: sqlite3.Connection, last: int | None, columns: int) -> list[int]:
    """About so many bar numbers, evenly spread over the `last` newest or all, ends among them."""
    found = span(connection, last)
    if found is None:
        return []
    picked: list[int] = np.unique(np.linspace(*found, columns).round().astype(np.int64)).tolist()
    return picked


def exposures(book: Sequence[Any], multipliers: Float) -> Float:
    """Exposures of a book, float64 [N]; 0 where flat, NaN where the price or the equity is not
    known.

    Args:
        book: Equity, and positions, prices and rates as the ledger keeps them.
        multipliers: As `multipliers_of`.
    """
    equity, *arrays = book
    quantity, prices, rates = (np.frombuffer(content) for content in arrays)
    worth = quantity * prices * rates * multipliers
    held: Float = np.where(quantity != 0.0, worth / (equity or np.nan), 0.0)
    return held


def multipliers_of(connection: sqlite3.Connection) -> Float:
    """Quote currency per unit and per 1.0 of price, float64 [N]."""
    items = meta(connection)["rules"]["instruments"]
    return np.array([item["multiplier"] for item in items], dtype=np.float64)


def stamps_index(stamps: Sequence[int] | NDArray[np.int64]) -> pd.DatetimeIndex:
    """Close stamps in nanoseconds as an index in UTC."""
    return pd.DatetimeIndex(np.asarray(stamps, dtype=np.int64).astype("datetime64[ns]"))


def _frame(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> pd.DataFrame:
    index = stamps_index([row[0] for row in rows])
    frame = pd.DataFrame([row[1:] for row in rows], columns=list(names), index=index)
    return frame.astype(float)
