# SPDX-License-Identifier: Apache-2.0
"""The page without a browser: what it says of accounts that live, are silent, halted or broken."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mtquant.paper.control import heartbeat_path, request_halt
from mtquant.paper.ledger import PaperLedger

testing = pytest.importorskip("streamlit.testing.v1", reason="streamlit is not installed")


@pytest.fixture(autouse=True)
def main_module() -> Iterator[None]:
    """Streamlit makes the script the main module and leaves it there; a process that a later test
    spawns would run it.
    """
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before


def _script(ledgers: list[str], runs: list[str]) -> None:
    from pathlib import Path

    from mtquant.dashboard.asked import Asked
    from mtquant.dashboard.page import draw

    draw(Asked(tuple(map(Path, ledgers)), tuple(map(Path, runs))))


def page(*ledgers: Path, runs: tuple[Path, ...] = (), tab: str | None = None) -> Any:
    """The page after its first run, on a tab."""
    arguments = ([str(own) for own in ledgers], [str(own) for own in runs])
    test = testing.AppTest.from_function(_script, args=arguments, default_timeout=60)
    if tab is not None:
        test.session_state["tab"] = tab
    test.run()
    assert not test.exception, test.exception
    return test


def words(test: Any) -> str:
    """Every text on the page."""
    kinds = ("error", "info", "caption", "subheader", "markdown")
    shown = [own.value for kind in kinds for own in getattr(test, kind)]
    return "\n".join([*shown, *(own.proto.body for own in test.get("html"))])


def alive(path: Path, seconds_ago: float = 0.0) -> None:
    """Lets an account's loop have said that it lives."""
    heartbeat_path(path).write_text(json.dumps({"time": time.time() - seconds_ago}))


def test_the_head_says_what_matters_first(long):
    alive(long.path)
    text = words(page(long.path))
    equity = f"{long.walk.equity[-1]:,.0f}"
    for part in ("hierarchy", "alive", "active", equity, "1,499", "Limits used", "Positions"):
        assert part in text
    assert "unknown is not flat" not in text


def test_a_silent_account_is_said_to_be_unknown(long):
    alive(long.path, 600.0)
    text = words(page(long.path))
    assert "Silent: the loop last said that it lives 10 min ago." in text
    assert "unknown is not flat" in text
    heartbeat_path(long.path).unlink()
    assert "No heartbeat" in words(page(long.path))


def test_a_halted_account_and_orders_of_unknown_fate_are_said_first(long, tmp_path):
    copy = Path(shutil.copy(long.path, tmp_path))
    request_halt(copy, "<b>lunch</b>")
    with PaperLedger.open(copy) as ledger, ledger.transaction():
        order = {"client_id": "x", "bar": 9, "instrument": 0, "quantity": 1.0}
        ledger.add("orders", **order, stamp_ns=1, good_until_ns=2)
        ledger.add("events", client_id="x", status="unknown", detail="", wall_ns=3)
    text = words(page(copy))
    assert "A person halted this account: &lt;b&gt;lunch&lt;/b&gt;" in text
    assert "1 orders of unknown fate" in text


@pytest.mark.parametrize(
    ("tab", "says"),
    [
        ("Orders", "Fills and refusals (1,500)"),
        ("Risk", "History of the guard (4)"),
        ("Models", "Specialists' messages"),
        ("Training", "No run folder found"),
        ("Backtest", "No backtest found"),
        ("Notes", "Notes (7)"),
    ],
)
def test_only_the_open_tab_is_read(long, tab, says):
    text = words(page(long.path, tab=tab))
    assert says in text
    assert "Positions" not in text


def test_a_page_of_orders_can_be_turned(long):
    test = page(long.path, tab="Orders")
    newest = test.dataframe[0].value["client id"].iloc[0]
    test.number_input(key="page orders").set_value(30).run()
    assert not test.exception
    assert newest == "made-00001499"
    assert test.dataframe[0].value["client id"].iloc[-1] == "made-00000000"


def test_one_figure_of_one_instrument_can_be_picked_out_of_what_was_said(long):
    test = page(long.path, tab="Models")
    text = words(test)
    assert "What they said before" in text
    assert "Evenly picked bars" in text
    test.selectbox(key="said").set_value("forecast_return").run()
    test.selectbox(key="said about").set_value("XAUUSD").run()
    assert not test.exception
    assert test.selectbox(key="said").value == "forecast_return"
    test.segmented_control(key="span").set_value("200 bars").run()
    assert "Evenly picked bars" not in words(test)


def test_an_account_without_messages_shows_none(replayed):
    text = words(page(replayed.path, tab="Models"))
    assert "other policies exchange no messages" in text
    assert "What they said before" not in text


def test_a_model_that_cannot_be_found_leaves_the_rest_of_its_tab(long):
    text = words(page(long.path, tab="Models"))
    assert "Rollout (2)" in text
    assert "must hold a report card" in text


def test_two_accounts_are_chosen_from(long, replayed):
    test = page(long.path, replayed.path)
    assert "hierarchy" in words(test)
    test.selectbox(key="ledger").set_value(replayed.path).run()
    assert not test.exception
    assert "restless" in words(test)


def test_a_paper_replay_beside_its_backtest(replayed, tmp_path):
    replayed.stage.backtest()[0].save(tmp_path / "run" / "ledgers" / "hierarchy")
    text = words(page(replayed.path, runs=(tmp_path,), tab="Backtest"))
    assert "largest gap" in text
    assert "0.00%" in text


@pytest.mark.parametrize("content", [None, b"no ledger" * 999])
def test_a_ledger_that_cannot_be_read_is_a_sentence_and_runs_are_shown(tmp_path, content):
    path = tmp_path / "paper.sqlite"
    if content is not None:
        path.write_bytes(content)
    test = page(path)
    assert len(test.error) == 1
    assert "paper.sqlite" in test.error[0].value.replace("\\", "")
    assert "No run folder found" in words(test)
