# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser, over an account that trades while it is looked at."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mtquant.core.config import load_config
from mtquant.core.runs import RunFolder
from mtquant.core.telemetry import Telemetry
from mtquant.paper.loop import PaperLoop
from tests.support.browsers import chromium, dashboard
from tests.support.councils import Council
from tests.support.paper import OPENING

playwright = pytest.importorskip("playwright.sync_api", reason="needs a browser")
messages = pytest.importorskip("streamlit.proto.ForwardMsg_pb2", reason="needs streamlit")
pytestmark = pytest.mark.slow
WAIT_MS = 60_000
TABS = {  # what each one has to show
    "Overview": ("Positions", "Limits used", "Latest notes"),
    "Orders": ("Orders (", "Fills and refusals ("),
    "Risk": ("Guard", "Allocation over time", "History of the guard"),
    "Models": ("Rollout (1)", "Specialists' messages", "What they said before", "Reward terms"),
    "Training": ("train/loss", "Metrics of the stages"),
    "Backtest": ("largest gap", "correlation"),
    "Notes": ("Notes",),
}
CHARTS = ("Overview", "Risk", "Models", "Training", "Backtest")
# A touch screen cannot scroll a page sideways by accident where nothing is wider than it.
WIDEST = "document.querySelector('.stMain').scrollWidth"
# Asked in one go: the page draws itself again while it is looked at, and charts come and go.
READABLE = """width => [...document.querySelectorAll("[data-testid=stVegaLiteChart] svg.marks")]
  .map(chart => chart.getBoundingClientRect())
  .some(box => box.width > 200 && box.width <= width && box.height > 80)"""


class Served(NamedTuple):
    """A dashboard, and the loop of the account that it shows."""

    address: str
    loop: PaperLoop


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def served(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Skipped before anything is started where there is no browser."""
    folder = tmp_path_factory.mktemp("served")
    stage = Council.of(folder)
    loop = stage.open()
    loop.run(most_bars=40)
    run = RunFolder.create(folder / "runs" / "phase1", config=load_config(None), seed=1)
    run.stage("phase1/EURUSD", {"sharpe": 0.5})
    with Telemetry(folder / "runs" / "logs" / "phase1" / "EURUSD") as board:
        for step in range(20):
            board.scalar("train/loss", 1.0 / (1 + step), step)
    stage.backtest()[0].save(folder / "runs" / "test" / "ledgers" / "hierarchy")
    with dashboard([stage.path], [folder / "runs"]) as address:
        yield Served(address, loop)
    loop.recorder.ledger.close()


def open_tab(page: Any, name: str) -> None:
    """Clicks a tab as a reader does: again where the page, which draws itself anew all the time,
    stands at another one afterwards. One that is open and stays empty is for the caller to find.
    """
    tab = page.get_by_role("tab", name=name)
    for _ in range(3):
        tab.click()
        try:
            page.get_by_text(TABS[name][0]).first.wait_for(timeout=WAIT_MS / 4)
        except playwright.TimeoutError:
            if tab.get_attribute("aria-selected") == "true":
                return
        else:
            return


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_every_tab_shows_what_it_should_and_asks_nobody_else(
    browser: Any, served: Served, tmp_path: Path, width: int, scheme: str
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, has_touch=width < 600
    )
    page = context.new_page()
    troubles: list[str] = []
    asked: set[str] = set()
    frames: list[bytes | str] = []
    page.on("websocket", lambda own: own.on("framereceived", lambda frame: frames.append(frame)))
    page.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda request: asked.add(re.sub(r"^(\w+://[^/]+).*", r"\1", request.url)))
    page.goto(served.address)
    for tab in (*TABS, "Models", "Notes", "Models"):
        open_tab(page, tab)
        for text in TABS[tab]:
            page.get_by_text(text).first.wait_for(timeout=WAIT_MS)
        if tab in CHARTS:
            page.wait_for_function(READABLE, arg=width, timeout=WAIT_MS)
        assert page.evaluate(WIDEST) <= width
        page.screenshot(path=tmp_path / f"{tab}_{width}.png")
    assert page.locator("[data-testid=stException]").count() == 0
    assert [text for text in troubles if not text.startswith(("info", "debug"))] == []
    assert asked == {served.address}
    # What was drawn before is sent again, not named by its hash (`server.options`).
    kinds = [messages.ForwardMsg.FromString(frame).WhichOneof("type") for frame in frames]
    assert "delta" in kinds and "ref_hash" not in kinds
    paper = page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]
    context.close()


def settled(page: Any, element: Any) -> float:
    """Where the top of an element comes to rest."""
    before = float("nan")
    for _ in range(40):
        box = element.bounding_box()  # None while the page draws it again
        now = float(box["y"]) if box else float("nan")
        if now == before:
            return now
        before = now
        page.wait_for_timeout(250)
    raise AssertionError("the page does not come to rest")


@pytest.mark.parametrize("width", [1280, 400])
def test_the_figures_are_there_before_any_script_and_stay_where_they_are(
    browser: Any, served: Served, width: int
) -> None:
    tops = {}
    for scripts in (False, True):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, java_script_enabled=scripts
        )
        page = context.new_page()
        page.goto(served.address)
        if scripts:
            page.get_by_role("tab", name="Overview").wait_for(timeout=WAIT_MS)
            page.locator("#mt-first").wait_for(state="detached", timeout=WAIT_MS)
        figures = page.locator(".mt-tiles")
        assert "equity" in figures.inner_text()
        tops[scripts] = settled(page, figures)
        context.close()
    assert abs(tops[True] - tops[False]) < 4.0


def test_a_page_of_the_internet_that_calls_itself_this_machine_gets_nothing(
    served: Served,
) -> None:
    request = urllib.request.Request(served.address, headers={"Host": "figures.example"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request, timeout=30)


def test_the_page_follows_a_growing_ledger_by_itself(browser: Any, served: Served) -> None:
    page = browser.new_page()
    page.goto(served.address)
    tile = page.locator(".mt-tiles > div", has_text="last bar")
    tile.get_by_text(f"{served.loop.bar:,}").wait_for(timeout=WAIT_MS)
    assert served.loop.bar > OPENING
    served.loop.run(most_bars=15)
    tile.get_by_text(f"{served.loop.bar:,}").wait_for(timeout=WAIT_MS)
    page.get_by_text("alive").first.wait_for(timeout=WAIT_MS)
    page.close()


def test_a_chosen_stretch_of_time_stays_while_the_page_refreshes(
    browser: Any, served: Served
) -> None:
    page = browser.new_page()
    page.goto(served.address)
    page.get_by_role("tab", name="Risk").click()
    page.get_by_text("Allocation over time").wait_for(timeout=WAIT_MS)
    page.get_by_role("radio", name="200 bars").click()
    page.wait_for_timeout(4_000)  # longer than the page waits before it draws itself again
    assert page.get_by_role("tab", name="Risk").get_attribute("aria-selected") == "true"
    assert page.get_by_text("Allocation over time").is_visible()
    page.close()
