# SPDX-License-Identifier: Apache-2.0
"""Tables of a paper ledger, their version, and how an older ledger becomes a newer one.

Rows are only ever added: triggers refuse to change or delete one. `states` is the exception, since
it holds nothing that the rows do not say; it spares recovery from beginning at the first bar.

    rows        one per panel row: its stamp
    bars        what each instrument did in it
    outcomes    the Outcome of a bar lived through (mtquant/core/outcome.py), as columns and as the
                bytes that were computed (SQLite has no NaN and no -0.0), with a chain of digests
    books       what was held, and at what prices
    decisions   what the policy saw (a digest), asked for, and what the guard left of it;
                its details hold the models' shares and what their specialists said
    orders      intentions, written before anybody is told of them
    events      what became of an order, one row per change of its status
    fills       executions and refusals, by the broker's trade id
    guard       every change of mode, with its reasons and who asked for it
    notes       everything remarkable: bars refused, mismatches adopted, alerts
    models      promotions, steps of a ramp, rollbacks
    commands    what people asked for from other processes, and `answers` to them
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

from mtquant.core.errors import RunError
from mtquant.core.outcome import FILL_COLUMNS, OUTCOME_COLUMNS

OUTCOME_NAMES = tuple(f"{name} REAL" for name in OUTCOME_COLUMNS)
FILL_NAMES = tuple(f"{name} REAL" for name in FILL_COLUMNS if name != "row")

VERSION_1 = {
    "meta": ("name TEXT PRIMARY KEY", "value TEXT NOT NULL"),
    "rows": ("bar INTEGER PRIMARY KEY", "stamp_ns INTEGER NOT NULL", "wall_ns INTEGER NOT NULL"),
    "bars": (
        "bar INTEGER NOT NULL",
        "instrument INTEGER NOT NULL",
        *(f"{name} REAL NOT NULL" for name in ("open", "high", "low", "close", "volume")),
        "PRIMARY KEY (bar, instrument)",
    ),
    "outcomes": (
        "bar INTEGER PRIMARY KEY",
        "stamp_ns INTEGER NOT NULL",
        *OUTCOME_NAMES,
        "raw BLOB NOT NULL",
        "chain BLOB NOT NULL",
    ),
    "books": (
        "bar INTEGER PRIMARY KEY",
        *(f"{name} BLOB NOT NULL" for name in ("positions", "prices", "rates", "financing")),
        "targets BLOB NOT NULL",
    ),
    "decisions": (
        "bar INTEGER PRIMARY KEY",
        "stamp_ns INTEGER NOT NULL",
        "asked BLOB NOT NULL",
        "targets BLOB NOT NULL",
        "mode INTEGER NOT NULL",
        "seen TEXT NOT NULL",
        "details TEXT NOT NULL",
    ),
    "orders": (
        "client_id TEXT PRIMARY KEY",
        "bar INTEGER NOT NULL",
        "instrument INTEGER NOT NULL",
        "quantity REAL NOT NULL",
        "stamp_ns INTEGER NOT NULL",
        "good_until_ns INTEGER NOT NULL",
    ),
    "events": (
        "id INTEGER PRIMARY KEY AUTOINCREMENT",
        "client_id TEXT NOT NULL",
        "status TEXT NOT NULL",
        "detail TEXT NOT NULL",
        "wall_ns INTEGER NOT NULL",
    ),
    "fills": (
        "trade_id TEXT PRIMARY KEY",
        "client_id TEXT",
        "bar INTEGER NOT NULL",
        *FILL_NAMES,
        "raw BLOB NOT NULL",
    ),
    "guard": (
        "id INTEGER PRIMARY KEY AUTOINCREMENT",
        "bar INTEGER NOT NULL",
        "stamp_ns INTEGER NOT NULL",
        "wall_ns INTEGER NOT NULL",
        "mode_before INTEGER NOT NULL",
        "mode_after INTEGER NOT NULL",
        "reasons TEXT NOT NULL",
        "actor TEXT NOT NULL",
    ),
    "notes": (
        "id INTEGER PRIMARY KEY AUTOINCREMENT",
        "stamp_ns INTEGER NOT NULL",
        "wall_ns INTEGER NOT NULL",
        "kind TEXT NOT NULL",
        "subject TEXT NOT NULL",
        "detail TEXT NOT NULL",
    ),
    "commands": (
        "id INTEGER PRIMARY KEY AUTOINCREMENT",
        "wall_ns INTEGER NOT NULL",
        "verb TEXT NOT NULL",
        "arguments TEXT NOT NULL",
    ),
    "answers": ("command INTEGER PRIMARY KEY", "wall_ns INTEGER NOT NULL", "text TEXT NOT NULL"),
    "states": (
        "bar INTEGER NOT NULL",
        "name TEXT NOT NULL",
        "content BLOB NOT NULL",
        "PRIMARY KEY (bar, name)",
    ),
}
# Before version 2 a ledger knew one model for all its life.
VERSION_2 = {
    "models": (
        "id INTEGER PRIMARY KEY AUTOINCREMENT",
        "bar INTEGER NOT NULL",
        "wall_ns INTEGER NOT NULL",
        "verb TEXT NOT NULL",
        "path TEXT NOT NULL",
        "digest TEXT NOT NULL",
        "capital REAL NOT NULL",
        "reason TEXT NOT NULL",
    ),
}
INDEXES = (
    "CREATE INDEX fills_by_bar ON fills (bar)",
    "CREATE INDEX events_by_order ON events (client_id, id)",
    "CREATE INDEX orders_by_bar ON orders (bar)",
)
CHANGEABLE = {"states"}


def _statements(tables: Mapping[str, tuple[str, ...]]) -> list[str]:
    made = []
    for table, columns in tables.items():
        made.append(f"CREATE TABLE {table} ({', '.join(columns)})")
        if table not in CHANGEABLE:
            for change in ("UPDATE", "DELETE"):
                made.append(
                    f"CREATE TRIGGER {table}_{change.lower()} BEFORE {change} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are only added'); END"
                )
    return made


# Step k leads from version k to version k + 1.
STEPS: tuple[tuple[str, ...], ...] = (
    (*_statements(VERSION_1), *INDEXES),
    tuple(_statements(VERSION_2)),
)
VERSION = len(STEPS)


def columns_of(table: str) -> tuple[str, ...]:
    """Names of a table's columns, in order, without a key that SQLite counts up by itself."""
    names = ({**VERSION_1, **VERSION_2})[table]
    plain = (name.split()[0] for name in names if "AUTOINCREMENT" not in name)
    return tuple(name for name in plain if name != "PRIMARY")


def migrate(connection: sqlite3.Connection, field: str) -> list[int]:
    """Brings a ledger to this version of the schema, each step in a transaction of its own.

    Args:
        connection: In autocommit mode.
        field: What errors call the ledger.

    Returns:
        The versions it went through; empty where nothing was to do.

    Raises:
        RunError: It was written by a later version of mtquant.
    """
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > VERSION:
        raise RunError(
            field,
            f"must have schema version {VERSION} or older",
            found,
            "It was written by a later mtquant: use that one.",
        )
    passed = []
    for version, statements in enumerate(STEPS[found:], start=found + 1):
        _run(connection, (*statements, f"PRAGMA user_version = {version}"))
        passed.append(version)
    return passed


def _run(connection: sqlite3.Connection, statements: Iterable[str]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements:
            connection.execute(statement)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
