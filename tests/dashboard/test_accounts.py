# SPDX-License-Identifier: Apache-2.0
"""Where an account stands, and every way in which a ledger cannot be read."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from mtquant.core.errors import RunError
from mtquant.core.paper_config import PaperConfig
from mtquant.dashboard import curves, limits, minds, tables
from mtquant.dashboard.accounts import account, open_statuses, opened
from mtquant.paper import reading
from mtquant.paper.control import heartbeat_path, request_halt
from mtquant.paper.ledger import PaperLedger
from mtquant.paper.schema import STEPS


def test_an_account_is_what_status_says(replayed):
    found, expected = account(replayed.path), reading.status(replayed.path)
    assert (found.name, found.bar) == (expected["name"], expected["bar"])
    assert found.equity == expected["equity"]
    assert found.outcome["drawdown"] == expected["drawdown"]
    assert (found.open_orders, found.unknown_orders) == (0, 0)


def test_a_loop_is_silent_when_its_beat_is_old_or_missing(long, tmp_path):
    copy = Path(shutil.copy(long.path, tmp_path))
    assert account(copy).silent and account(copy).beat_age is None
    for age, silent in ((1.0, False), (PaperConfig().heartbeat_seconds + 5.0, True)):
        heartbeat_path(copy).write_text(json.dumps({"time": time.time() - age}))
        assert account(copy).silent is silent


def test_the_halt_file_is_told(long, tmp_path):
    copy = Path(shutil.copy(long.path, tmp_path))
    request_halt(copy, "lunch")
    assert account(copy).halted_by == "lunch"


def test_orders_that_have_not_ended(long, tmp_path):
    copy = Path(shutil.copy(long.path, tmp_path))
    with PaperLedger.open(copy) as ledger, ledger.transaction():
        for n, status in enumerate((None, "sent", "unknown", "rejected")):
            name = f"late-{n}"
            order = {"client_id": name, "bar": 9, "instrument": n, "quantity": 1.0}
            ledger.add("orders", **order, stamp_ns=1, good_until_ns=2)
            if status:
                ledger.add("events", client_id=name, status=status, detail="", wall_ns=3)
    with opened(copy) as ledger:
        assert open_statuses(ledger) == ["intended", "sent", "unknown"]
        assert open_statuses(ledger) == reading.open_orders(ledger)["status"].tolist()
    assert account(copy).unknown_orders == 1


def test_nothing_that_is_read_changes_the_file(replayed, tmp_path):
    copy = Path(shutil.copy(replayed.path, tmp_path))
    before = copy.read_bytes(), copy.stat().st_mtime_ns
    account(copy)
    with opened(copy) as ledger:
        curves.equity_curve(ledger, None, 5)
        curves.allocation(ledger)
        limits.limits_used(ledger)
        minds.messages(ledger)
        for read in (tables.orders, tables.fills, tables.notes, tables.models):
            read(ledger)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            ledger.execute("DELETE FROM states")
    assert (copy.read_bytes(), copy.stat().st_mtime_ns) == before


def _of_version(path: Path, version: int) -> None:
    connection = sqlite3.connect(path)
    for statement in STEPS[0]:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.write_text("a letter to nobody" * 99), "file is not a database"),
        (lambda path: path.write_bytes(b""), "another kind of file"),
        (lambda path: _of_version(path, 1), "An earlier mtquant wrote it"),
        (lambda path: _of_version(path, 99), "A later mtquant wrote it"),
        (lambda path: PaperLedger.create(path, {}).close(), "Its maker ended too early"),
    ],
)
def test_a_ledger_that_cannot_be_read_is_one_sentence(tmp_path, make, says):
    path = tmp_path / "paper.sqlite"
    make(path)
    with pytest.raises(RunError, match=says):
        account(path)


def test_a_damaged_ledger_is_one_sentence(long, tmp_path):
    copy = Path(shutil.copy(long.path, tmp_path))
    content = bytearray(copy.read_bytes())
    content[8_192:] = b"\xa5" * (len(content) - 8_192)
    copy.write_bytes(content)
    with pytest.raises(RunError, match="malformed"):
        account(copy)
