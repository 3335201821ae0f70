# SPDX-License-Identifier: Apache-2.0
"""Pages of a ledger's tables, newest first, in words.

Rows are only ever added, so the largest row number is their count, and a page costs as much in a
long ledger as in a short one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mtquant.core import outcome as oc
from mtquant.dashboard.curves import stamps_index
from mtquant.paper.orders import INTENDED
from mtquant.paper.reading import meta
from mtquant.risk.guard import GUARD_TEXTS

PAGE_ROWS = 50
TABLES = ("orders", "fills", "guard", "notes", "models")


def count(connection: sqlite3.Connection, table: str) -> int:
    """How many rows a table has."""
    if table not in TABLES:
        raise KeyError(table)
    (found,) = connection.execute(f"SELECT max(rowid) FROM {table}").fetchone()
    return int(found or 0)


def orders(connection: sqlite3.Connection, page: int = 0, rows: int = PAGE_ROWS) -> pd.DataFrame:
    """Orders with what became of them."""
    last = "FROM events WHERE client_id = o.client_id ORDER BY id DESC LIMIT 1"
    found = connection.execute(
        f"SELECT stamp_ns, instrument, quantity, coalesce((SELECT status {last}), ?),"
        f" coalesce((SELECT detail {last}), ''), client_id"
        " FROM orders o ORDER BY rowid DESC LIMIT ? OFFSET ?",
        (INTENDED, rows, page * rows),
    ).fetchall()
    names = ("decided", "symbol", "quantity", "status", "detail", "client id")
    return _frame(connection, found, names)


def fills(connection: sqlite3.Connection, page: int = 0, rows: int = PAGE_ROWS) -> pd.DataFrame:
    """Executions and refusals with their reasons; money in the account currency."""
    found = connection.execute(
        "SELECT r.stamp_ns, f.instrument, f.wanted, f.quantity, f.price, f.fee, f.slippage,"
        " f.origin, f.reason, f.trade_id"
        " FROM fills f LEFT JOIN rows r ON r.bar = f.bar ORDER BY f.rowid DESC LIMIT ? OFFSET ?",
        (rows, page * rows),
    ).fetchall()
    names = (
        *("bar closed", "symbol", "wanted", "filled", "price", "fee", "slippage"),
        *("origin", "reason", "trade id"),
    )
    frame = _frame(connection, found, names)
    frame["origin"] = _worded(frame["origin"], oc.ORIGIN_TEXTS)
    frame["reason"] = _worded(frame["reason"], oc.REASON_TEXTS)
    return frame


def guard_changes(
    connection: sqlite3.Connection, page: int = 0, rows: int = PAGE_ROWS
) -> pd.DataFrame:
    """Changes of the guard's mode or of its reasons, and who asked."""
    found = connection.execute(
        "SELECT stamp_ns, mode_before, mode_after, reasons, actor"
        " FROM guard ORDER BY id DESC LIMIT ? OFFSET ?",
        (rows, page * rows),
    ).fetchall()
    frame = _frame(connection, found, ("at", "from", "to", "reasons", "asked by"))
    for name in ("from", "to"):
        frame[name] = [mode_word(mode) for mode in frame[name]]
    frame["reasons"] = [text or "all clear" for text in frame["reasons"]]
    return frame


def notes(connection: sqlite3.Connection, page: int = 0, rows: int = PAGE_ROWS) -> pd.DataFrame:
    """Everything remarkable: bars refused, mismatches adopted, alerts, ramps."""
    found = connection.execute(
        "SELECT wall_ns, stamp_ns, kind, subject, detail"
        " FROM notes ORDER BY id DESC LIMIT ? OFFSET ?",
        (rows, page * rows),
    ).fetchall()
    return _frame(connection, found, ("written", "bar closed", "kind", "subject", "detail"))


def models(connection: sqlite3.Connection, page: int = 0, rows: int = PAGE_ROWS) -> pd.DataFrame:
    """Promotions, steps of a ramp and rollbacks; capital is the share that the model then had."""
    found = connection.execute(
        "SELECT wall_ns, bar, verb, path, capital, reason"
        " FROM models ORDER BY id DESC LIMIT ? OFFSET ?",
        (rows, page * rows),
    ).fetchall()
    return _frame(connection, found, ("written", "bar", "step", "model", "capital", "reason"))


def mode_word(mode: int) -> str:
    """A mode of the guard in one word."""
    return GUARD_TEXTS[mode].partition(":")[0]


def _worded(codes: pd.Series, texts: dict[int, str]) -> list[str]:
    # A code that this version does not know is shown as it is: a page must not end on one row.
    return [texts.get(int(code), f"code {int(code)}") for code in codes]


def _frame(
    connection: sqlite3.Connection, rows: Sequence[Sequence[Any]], names: Sequence[str]
) -> pd.DataFrame:
    """Rows under their names: stamps as times, instruments as symbols."""
    frame = pd.DataFrame(rows, columns=list(names))
    symbols = meta(connection)["symbols"]
    into: dict[str, Callable[[pd.Series], Any]] = {
        "symbol": lambda own: [symbols[int(n)] for n in own],
        **dict.fromkeys(("decided", "bar closed", "at", "written"), _times),
    }
    for name in set(into) & set(names):
        frame[name] = into[name](frame[name])
    return frame


def _times(stamps: pd.Series) -> pd.Index:
    """To the second; a stamp that is not known, or before the first bar, is no time."""
    known = stamps.fillna(0).to_numpy(dtype=np.int64)
    return stamps_index(known).floor("s").where(known > 0)
