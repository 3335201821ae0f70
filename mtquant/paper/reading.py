# SPDX-License-Identifier: Apache-2.0
"""Reading a paper ledger while a loop writes it, or afterwards: what `status`, `export` and a
dashboard stand on. Nothing here can change a ledger.

    with reader(path) as ledger:
        outcomes(ledger, last=500)
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mtquant.core import outcome as oc
from mtquant.core.errors import RunError
from mtquant.core.records import write_atomically
from mtquant.market.ledger import Ledger
from mtquant.paper.control import halt_reason, last_beat
from mtquant.paper.ledger import ledger_error, running
from mtquant.paper.messages import messages_frame, spoken
from mtquant.paper.orders import ENDED, INTENDED
from mtquant.risk.guard import GUARD_ACTIVE, GUARD_TEXTS

EXPORTED = ("rows", "bars", "decisions", "orders", "events", "guard", "notes", "models")


@contextlib.contextmanager
def reader(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection; what it reads is one state of the ledger at a time.

    Raises:
        RunError: There is no ledger, or it cannot be read.
    """
    if not path.exists():
        remedy = "Name the ledger of a paper account with --ledger."
        raise RunError(str(path), "must be a paper ledger", "no such file", remedy)
    try:
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10.0, isolation_level=None
        )
        try:
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise ledger_error(path, error) from error


def meta(connection: sqlite3.Connection) -> dict[str, Any]:
    """What the account is: name, account, symbols, rules, hashes, bar length."""
    found: dict[str, Any] = dict(connection.execute("SELECT name, value FROM meta"))
    found["symbols"] = tuple(json.loads(found["symbols"]))
    found["rules"] = json.loads(found["rules"])
    for name in ("bars_per_year", "initial_equity"):
        found[name] = float.fromhex(found[name])
    return found


def outcomes(connection: sqlite3.Connection, last: int | None = None) -> pd.DataFrame:
    """Outcome rows by close stamp, the `last` newest or all; columns of `core/outcome.py`."""
    names = ", ".join(("bar", "stamp_ns", *oc.OUTCOME_COLUMNS))
    limit = -1 if last is None else last
    found = connection.execute(
        f"SELECT {names} FROM outcomes ORDER BY bar DESC LIMIT ?", (limit,)
    ).fetchall()
    frame = pd.DataFrame(found[::-1], columns=["bar", "stamp_ns", *oc.OUTCOME_COLUMNS])
    stamps = pd.DatetimeIndex(frame.pop("stamp_ns").to_numpy(dtype=np.int64)).tz_localize("UTC")
    return frame.set_index(stamps.rename("closed_at"))


def thinned_equity(connection: sqlite3.Connection, points: int = 2_000) -> pd.DataFrame:
    """Equity and drawdown of about so many bars, spread evenly, the newest among them: what a
    chart of any length needs.
    """
    count = connection.execute("SELECT count(*), max(bar) FROM outcomes").fetchone()
    step = max(1, count[0] // points)
    found = connection.execute(
        "SELECT stamp_ns, equity, drawdown, gross FROM outcomes WHERE (? - bar) % ? = 0"
        " ORDER BY bar",
        (count[1] or 0, step),
    ).fetchall()
    return pd.DataFrame(found, columns=["stamp_ns", "equity", "drawdown", "gross"])


def table(connection: sqlite3.Connection, name: str, last: int | None = None) -> pd.DataFrame:
    """A table's rows in the order in which they came, the `last` newest or all.

    Raises:
        RunError: There is no such table.
    """
    known = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    if name not in known:
        raise RunError(f"table {name}", f"must be one of {sorted(known)}", name, "Choose one.")
    limit = -1 if last is None else last
    cursor = connection.execute(f"SELECT * FROM {name} ORDER BY rowid DESC LIMIT ?", (limit,))
    columns = [column[0] for column in cursor.description]
    return pd.DataFrame(cursor.fetchall()[::-1], columns=columns)


def fills(connection: sqlite3.Connection, last: int | None = None) -> pd.DataFrame:
    """Fills and refusals in words."""
    frame = table(connection, "fills", last).drop(columns="raw")
    symbols = meta(connection)["symbols"]
    frame["symbol"] = [symbols[int(n)] for n in frame.pop("instrument")]
    frame["origin"] = [oc.ORIGIN_TEXTS[int(n)] for n in frame["origin"]]
    frame["reason"] = [oc.REASON_TEXTS[int(n)] for n in frame["reason"]]
    return frame


def positions(connection: sqlite3.Connection) -> dict[str, float]:
    """What is held after the last bar; flat instruments are left out."""
    row = connection.execute("SELECT positions FROM books ORDER BY bar DESC LIMIT 1").fetchone()
    held = np.frombuffer(row[0]) if row else np.zeros(0)
    symbols = meta(connection)["symbols"]
    return {symbols[n]: float(q) for n, q in enumerate(held) if q != 0.0}


def open_orders(connection: sqlite3.Connection) -> pd.DataFrame:
    """Orders that have not ended, with their last status."""
    found = connection.execute(
        "SELECT o.client_id, o.bar, o.instrument, o.quantity, coalesce(e.status, ?) "
        "FROM orders o LEFT JOIN events e ON e.id = "
        "(SELECT max(id) FROM events WHERE client_id = o.client_id) ORDER BY o.rowid",
        (INTENDED,),
    )
    names = ["client_id", "bar", "instrument", "quantity", "status"]
    frame = pd.DataFrame(found.fetchall(), columns=names)
    return frame[~frame["status"].isin(ENDED)].reset_index(drop=True)


def guard(connection: sqlite3.Connection) -> tuple[int, str]:
    """Mode of the guard, GUARD_*, and why."""
    row = connection.execute(
        "SELECT mode_after, reasons FROM guard ORDER BY id DESC LIMIT 1"
    ).fetchone()
    return (int(row[0]), row[1]) if row else (GUARD_ACTIVE, "")


def status(path: Path) -> dict[str, Any]:
    """Everything that a person wants to know first.

    Raises:
        RunError: There is no ledger, or it cannot be read.
    """
    with reader(path) as connection:
        about = meta(connection)
        last = connection.execute(
            "SELECT bar, stamp_ns, equity, drawdown, gross FROM outcomes ORDER BY bar DESC LIMIT 1"
        ).fetchone()
        mode, reasons = guard(connection)
        counts = {
            name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            for name in ("outcomes", "orders", "fills")
        }
        held, waiting = positions(connection), open_orders(connection)
        models = table(connection, "models", 3)[["verb", "path", "capital"]]
    beat = last_beat(path)
    bar, stamp_ns, equity, drawdown, gross = last or (None, None, about["initial_equity"], 0, 0)
    return {
        "name": about["name"],
        "process": running(path),
        "heartbeat_seconds": None if beat is None else time.time() - beat["time"],
        "halt_file": halt_reason(path),
        "guard": GUARD_TEXTS[mode],
        "reasons": reasons,
        "bar": bar,
        "closed_at": None if stamp_ns is None else str(np.datetime64(stamp_ns, "ns")),
        "equity": equity,
        "drawdown": drawdown,
        "gross": gross,
        "positions": held,
        "open_orders": waiting.to_dict("records"),
        "models": models.to_dict("records"),
        "counts": counts,
    }


def answer_to(path: Path, command: int) -> str | None:
    """What the loop answered to a command; None while it has not."""
    with reader(path) as connection:
        row = connection.execute(
            "SELECT text FROM answers WHERE command = ?", (command,)
        ).fetchone()
    return row[0] if row else None


def market_ledger(connection: sqlite3.Connection) -> Ledger:
    """The account as a `Ledger`, which reports, metrics and the vectorbt audit read; byte for byte
    the one that a backtest of the same bars writes.
    """
    about = meta(connection)
    n = len(about["symbols"])
    rows = connection.execute(
        "SELECT o.bar, o.stamp_ns, o.raw,"
        " b.positions, b.prices, b.rates, b.targets, b.financing "
        "FROM outcomes o JOIN books b ON b.bar = o.bar ORDER BY o.bar"
    ).fetchall()
    parts = [
        np.frombuffer(b"".join(row[k] for row in rows)).reshape(len(rows), width)
        for k, width in zip(range(2, 8), (len(oc.OUTCOME_COLUMNS), n, n, n, n, n), strict=True)
    ]
    raw = [row[0] for row in connection.execute("SELECT raw FROM fills ORDER BY bar, rowid")]
    rules = about["rules"]
    return Ledger(
        name=about["name"],
        symbols=about["symbols"],
        multipliers=tuple(item["multiplier"] for item in rules["instruments"]),
        account_currency=rules["account_currency"],
        rules_hash=about["rules_hash"],
        world_hash=about["world_hash"],
        fill_at=rules["fill_at"],
        initial_equity=about["initial_equity"],
        rows=np.array([row[0] for row in rows], dtype=np.int64),
        stamps=np.array([row[1] for row in rows], dtype=np.int64),
        outcomes=parts[0],
        positions=parts[1],
        prices=parts[2],
        rates=parts[3],
        targets=parts[4],
        financing=parts[5],
        fills=np.frombuffer(b"".join(raw)).reshape(len(raw), len(oc.FILL_COLUMNS)),
    )


def export(path: Path, folder: Path) -> list[Path]:
    """Writes a ledger as parquet files: the market ledger's, and every table for people.

    Raises:
        RunError: There is no ledger, or it cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with reader(path) as connection:
        connection.execute("BEGIN")  # one state of the ledger for all files
        market_ledger(connection).save(folder)
        frames = {name: table(connection, name) for name in EXPORTED}
        frames["outcomes"], frames["executions"] = outcomes(connection), fills(connection)
        symbols = meta(connection)["symbols"]
        frames["messages"] = messages_frame(spoken(connection, len(symbols)), symbols)
    for name, frame in frames.items():
        target = folder / f"paper_{name}.parquet"
        write_atomically(target, frame.to_parquet)
        written.append(target)
    return written
