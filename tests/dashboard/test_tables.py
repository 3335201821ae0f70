# SPDX-License-Identifier: Apache-2.0
"""Pages of tables: newest first, in words, nothing twice and nothing left out."""

from __future__ import annotations

import pandas as pd
import pytest

from mtquant.core import outcome as oc
from mtquant.dashboard import tables
from mtquant.dashboard.accounts import opened
from mtquant.paper import reading
from tests.support.long_ledger import GUARD, MODEL, NOTES, SYMBOLS


def test_pages_of_fills_are_the_ledger_backwards(replayed):
    with opened(replayed.path) as ledger:
        whole = reading.fills(ledger)
        rows = tables.count(ledger, "fills")
        pages = [tables.fills(ledger, page, 7) for page in range(-(-rows // 7))]
        beyond = tables.fills(ledger, rows, 7)
    found = pd.concat(pages, ignore_index=True)
    assert rows == len(whole) == len(found) > 20
    assert found["trade id"].tolist() == whole["trade_id"].tolist()[::-1]
    assert found["filled"].tolist() == whole["quantity"].tolist()[::-1]
    assert found["reason"].tolist() == whole["reason"].tolist()[::-1]
    assert set(found["reason"]) <= set(oc.REASON_TEXTS.values())
    assert set(found["origin"]) <= set(oc.ORIGIN_TEXTS.values())
    assert found["bar closed"].is_monotonic_decreasing
    assert beyond.empty


def test_orders_tell_what_became_of_them(long):
    with opened(long.path) as ledger:
        found = tables.orders(ledger, rows=3)
        assert tables.count(ledger, "orders") == 1_500
    assert found["client id"].tolist() == [f"made-{n:08d}" for n in (1499, 1498, 1497)]
    assert found["symbol"].tolist() == [SYMBOLS[n % 8] for n in (1499, 1498, 1497)]
    assert set(found["status"]) == {"filled"}
    assert found["decided"].iloc[0].value == long.walk.stamps[-1]


def test_guard_notes_and_models_in_words(long):
    with opened(long.path) as ledger:
        guard = tables.guard_changes(ledger)
        notes, models = tables.notes(ledger), tables.models(ledger)
    assert guard["to"].tolist() == ["active", "halted", "active", "reducing"]
    assert guard["reasons"].tolist() == [own[3] or "all clear" for own in GUARD[::-1]]
    assert notes["kind"].iloc[-1] == NOTES[0][0]
    assert models["step"].tolist() == ["ramp", "promote"]
    assert set(models["model"]) == {MODEL}


def test_an_unknown_code_does_not_end_the_page(long, monkeypatch):
    monkeypatch.setattr(oc, "REASON_TEXTS", {})
    with opened(long.path) as ledger:
        assert set(tables.fills(ledger)["reason"]) == {"code 0"}


def test_only_known_tables_are_counted(long):
    with opened(long.path) as ledger, pytest.raises(KeyError):
        tables.count(ledger, "meta; DROP TABLE orders")
