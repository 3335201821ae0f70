# SPDX-License-Identifier: Apache-2.0
"""The ledger keeps what it was given, or refuses with a clear message."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sqlite3
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from mtquant.core.errors import RunError
from mtquant.data.instruments import load_instruments
from mtquant.market.ledger import Ledger
from mtquant.market.rules import Rules
from mtquant.paper import opening, schema
from mtquant.paper.ledger import PaperLedger, ledger_error, running, take_lock
from mtquant.paper.reading import (
    export,
    market_ledger,
    outcomes,
    reader,
    status,
    table,
    thinned_equity,
)
from mtquant.paper.schema import VERSION, _run, columns_of
from tests.support.paper import SYMBOLS, Stage

ROWS = 160


@pytest.fixture
def lived(tmp_path) -> Stage:
    stage = Stage.of(tmp_path, rows=ROWS)
    loop = stage.open()
    loop.run()
    loop.recorder.ledger.close()
    return stage


@pytest.mark.parametrize("change", ["DELETE FROM {}", "UPDATE {} SET {} = {}"])
def test_rows_are_only_added(lived, change):
    connection = sqlite3.connect(lived.path)
    for name in ("rows", "bars", "outcomes", "books", "orders", "events", "fills", "guard"):
        if not connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]:
            continue
        column = columns_of(name)[0]
        with pytest.raises(sqlite3.IntegrityError, match="only added"):
            connection.execute(change.format(name, column, column))
    connection.close()


def test_a_killed_transaction_leaves_nothing(tmp_path):
    ledger = PaperLedger.create(tmp_path / "a.sqlite", {"name": "a"})
    with pytest.raises(KeyboardInterrupt), ledger.transaction():
        ledger.note(0, "a", "", "")
        raise KeyboardInterrupt
    assert ledger.ask("SELECT count(*) FROM notes") == [(0,)]
    ledger.close()


def test_a_second_process_is_refused(lived):
    descriptor = take_lock(lived.path)
    try:
        with pytest.raises(RunError, match=f"must be held by no other process.*{os.getpid()}"):
            lived.open()
        assert running(lived.path) == os.getpid()
    finally:
        os.close(descriptor)
    assert running(lived.path) is None


def test_a_lock_that_is_held_for_a_moment_is_waited_for(lived):
    descriptor = take_lock(lived.path)
    threading.Timer(0.2, os.close, (descriptor,)).start()
    loop = lived.open()
    assert running(lived.path) == os.getpid()
    loop.recorder.ledger.close()


def _hold(path, ready) -> None:
    take_lock(path)
    ready.set()
    time.sleep(60.0)


def test_the_lock_dies_with_its_process(lived):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=_hold, args=(lived.path, ready))
    process.start()
    ready.wait(10.0)
    assert running(lived.path) == process.pid
    process.kill()
    process.join()
    assert running(lived.path) is None


@pytest.mark.parametrize("place", [0.4, 0.7, 0.9])
def test_a_corrupted_page_is_refused(lived, place):
    whole = lived.path.read_bytes()
    at = int(len(whole) * place) // 4096 * 4096
    damaged = whole[:at] + os.urandom(4096) + whole[at + 4096 :]
    lived.path.write_bytes(damaged)
    with pytest.raises(RunError, match=r"integrity check|must take and keep|digest|malformed"):
        lived.open()


def test_a_changed_number_is_refused(lived):
    """One bit of one outcome, in pages that are whole."""
    connection = sqlite3.connect(lived.path)
    connection.execute("DROP TRIGGER outcomes_update")
    (raw,) = connection.execute("SELECT raw FROM outcomes WHERE bar = 140").fetchone()
    changed = raw[:8] + bytes([raw[8] ^ 1]) + raw[9:]
    connection.execute("UPDATE outcomes SET raw = ? WHERE bar = 140", (changed,))
    connection.commit()
    connection.close()
    with pytest.raises(RunError, match="bar 140 does not match its digest"):
        lived.open()


def test_a_file_that_is_no_ledger_is_refused(tmp_path):
    stage = Stage.of(tmp_path, rows=ROWS)
    stage.path.write_bytes(b"not a database" * 1_000)
    with pytest.raises(RunError, match="not a database"):
        stage.open()


def test_a_ledger_that_cannot_be_written_stops_before_anything_is_sent(tmp_path):
    stage = Stage.of(tmp_path, rows=ROWS)
    loop = stage.open()
    loop.run(3)
    sent = []
    submit = loop.broker.submit
    loop.broker.submit = lambda order: sent.append(order) or submit(order)  # type: ignore
    loop.recorder.ledger._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(RunError, match=r"readonly.*right to write"):
        loop.run(5)
    assert sent == []
    loop.recorder.ledger.close()
    again = stage.open()
    assert again.bar == loop.tape.count - 2
    again.run()
    again.recorder.ledger.close()
    assert_like_the_backtest(stage)


def test_a_full_disk_loses_nothing(tmp_path):
    stage = Stage.of(tmp_path, rows=ROWS)
    loop = stage.open()
    loop.run(3)
    pages = loop.recorder.ledger.ask("PRAGMA page_count")[0][0]
    loop.recorder.ledger._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(RunError, match=r"disk is full.*Free some disk space"):
        loop.run(50)
    loop.recorder.ledger.close()
    again = stage.open()
    again.run()
    again.recorder.ledger.close()
    assert_like_the_backtest(stage)


def assert_like_the_backtest(stage: Stage) -> None:
    expected, _ = stage.backtest()
    with reader(stage.path) as connection:
        assert market_ledger(connection).hash() == expected.hash()


def test_a_nearly_full_disk_halts(tmp_path, monkeypatch):
    stage = Stage.of(tmp_path, rows=220)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000))
    loop = stage.open()
    loop.run(30)
    assert "the disk is nearly full" in loop.guardian.reasons()
    loop.recorder.ledger.close()


def test_a_clock_behind_the_ledger_is_refused(lived, monkeypatch):
    now = time.time_ns()
    monkeypatch.setattr(opening.time, "time_ns", lambda: now - 10**12)
    with pytest.raises(RunError, match=r"clock is .* s behind the last row"):
        lived.open()


def test_a_clock_that_goes_backwards_halts(tmp_path, monkeypatch):
    stage = Stage.of(tmp_path, rows=ROWS)
    loop = stage.open()
    loop.run(2)
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now - 10**12)
    loop.look_around()
    assert "the clock went backwards" in loop.guardian.reasons()
    loop.recorder.ledger.close()


def test_another_account_is_refused(lived):
    terms = replace(lived.terms(), account="other")
    lived.terms = lambda: terms  # type: ignore[method-assign]
    with pytest.raises(RunError, match=r"account of .* must be 't'"):
        lived.open()


@pytest.mark.parametrize("name", ["broker", "feed"])
def test_an_account_goes_on_with_its_own_broker_and_feed(lived, name):
    terms = replace(lived.terms(), **{name: "another"})
    lived.terms = lambda: terms  # type: ignore[method-assign]
    with pytest.raises(RunError, match=f"{name} of .* must be '.*', as when"):
        lived.open()


def test_a_rule_that_differs_is_named(lived):
    changed = lived.with_config("environment.max_gross_exposure=2.5")
    with pytest.raises(RunError, match=r"rules.max_gross_exposure of .* must be"):
        changed.open()
    costly = load_instruments(None)
    costly["EURUSD"] = costly["EURUSD"].model_copy(update={"lot": 12.5})
    rules = Rules.from_config(lived.config.environment, costly, SYMBOLS)
    terms = replace(lived.terms(), rules=rules)
    lived.terms = lambda: terms  # type: ignore[method-assign]
    with pytest.raises(RunError, match=r"EURUSD.lot of .* must be"):
        lived.open()


def test_an_update_that_adds_a_rule_goes_on_with_its_default(lived):
    connection = sqlite3.connect(lived.path)
    rules = json.loads(
        connection.execute("SELECT value FROM meta WHERE name='rules'").fetchone()[0]
    )
    assert rules.pop("latency_bars") == 0
    for trigger in connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'meta'"
    ).fetchall():
        connection.execute(f"DROP TRIGGER {trigger[0]}")
    connection.execute("UPDATE meta SET value = ? WHERE name = 'rules'", (json.dumps(rules),))
    connection.commit()
    connection.close()
    later = lived.terms()
    lived.terms = lambda: replace(later, rules=replace(later.rules, latency_bars=1))  # type: ignore
    with pytest.raises(RunError, match=r"rules.latency_bars of .* must be 0"):
        lived.open()
    lived.terms = lambda: later  # type: ignore[method-assign]
    lived.open().recorder.ledger.close()


def test_an_older_ledger_is_migrated(tmp_path):
    path = tmp_path / "old.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    _run(connection, (*schema.STEPS[0], "PRAGMA user_version = 1"))
    connection.execute("INSERT INTO meta VALUES ('name', 'old')")
    connection.close()
    with PaperLedger.open(path) as ledger:
        assert ledger.ask("PRAGMA user_version") == [(VERSION,)]
        assert ledger.ask("SELECT value FROM meta") == [("old",)]
        assert ledger.ask("SELECT count(*) FROM models") == [(0,)]


def test_a_later_ledger_is_refused(lived):
    connection = sqlite3.connect(lived.path)
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(RunError, match=f"must have schema version {VERSION} or older"):
        lived.open()


def test_a_migration_that_is_killed_is_done_again(tmp_path, monkeypatch):
    path = tmp_path / "old.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    _run(connection, (*schema.STEPS[0], "PRAGMA user_version = 1"))
    connection.close()
    broken = (*schema.STEPS[1], "NO SUCH STATEMENT")
    monkeypatch.setattr(schema, "STEPS", (schema.STEPS[0], broken))
    with pytest.raises(RunError):
        PaperLedger.open(path)
    monkeypatch.undo()
    with PaperLedger.open(path) as ledger:
        assert ledger.ask("PRAGMA user_version") == [(VERSION,)]


@pytest.mark.parametrize("made", ["nothing", "tables"])
def test_a_ledger_whose_maker_was_killed_is_made_again(tmp_path, made):
    stage = Stage.of(tmp_path, rows=140)
    stage.path.touch()
    if made == "tables":
        PaperLedger.open(stage.path).close()
    loop = stage.open()
    assert loop.run() > 0
    loop.recorder.ledger.close()
    again = stage.open()
    again.recorder.ledger.close()


def test_export_is_the_ledger(lived, tmp_path):
    folder = tmp_path / "out"
    export(lived.path, folder)
    loaded = Ledger.load(folder)
    expected, _ = lived.backtest()
    assert loaded.hash() == expected.hash()
    names = {path.name for path in folder.iterdir()}
    assert {"paper_orders.parquet", "paper_guard.parquet", "paper_outcomes.parquet"} <= names


def test_readers_see_a_running_ledger_and_cannot_change_it(tmp_path):
    stage = Stage.of(tmp_path, rows=ROWS)
    loop = stage.open()
    loop.run(5)
    with reader(stage.path) as connection:
        assert len(outcomes(connection)) == 5
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("INSERT INTO meta VALUES ('a', 'b')")
    found = status(stage.path)
    assert found["process"] == os.getpid()
    assert found["equity"] == loop.equity
    loop.run(5)
    with reader(stage.path) as connection:
        assert len(outcomes(connection, last=3)) == 3
        assert len(thinned_equity(connection, points=5)) == 5
        frame = outcomes(connection)
        np.testing.assert_array_equal(frame["equity"], table(connection, "outcomes")["equity"])
    loop.recorder.ledger.close()


@pytest.mark.parametrize(
    ("text", "remedy"),
    [("database or disk is full", "Free"), ("attempt to write a readonly database", "right")],
)
def test_complaints_have_remedies(tmp_path, text, remedy):
    assert remedy in ledger_error(tmp_path, sqlite3.OperationalError(text)).remedy
