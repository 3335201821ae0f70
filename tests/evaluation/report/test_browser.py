# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser: wide and narrow, light and dark, with nothing to fetch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mtquant.evaluation.report import write_report
from tests.support.browsers import chromium
from tests.support.reports import full_material

pytestmark = pytest.mark.slow
OVERFLOW = """() => [...document.querySelectorAll("main *")].filter(each =>
  !each.closest(".wide, pre, .chart, nav, details:not([open])") &&
  each.getBoundingClientRect().right > innerWidth + 1).map(each => each.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(tmp_path_factory.mktemp("report"), full_material())


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_the_page_draws_everything_and_asks_for_nothing(
    browser: Any, report: Path, width: int, scheme: str
) -> None:
    view = {"width": width, "height": 900}
    context = browser.new_context(viewport=view, color_scheme=scheme, has_touch=width < 600)
    page = context.new_page()
    troubles: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    charts = page.locator(".chart")
    for n in range(charts.count()):  # each is drawn when it comes near the screen
        charts.nth(n).scroll_into_view_if_needed()
        charts.nth(n).locator(".main-svg").first.wait_for(timeout=60_000)
        box = charts.nth(n).locator(".main-svg").first.bounding_box()
        assert box is not None and box["width"] > 200 and box["height"] > 100
    assert charts.count() > 15
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OVERFLOW) == []
    assert troubles == []
    assert asked == [report.as_uri()]
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    text = page.evaluate("getComputedStyle(document.querySelector('.xtick text')).fill")
    assert (paper, text) == {
        "light": ("rgb(255, 255, 255)", "rgb(90, 98, 109)"),
        "dark": ("rgb(20, 23, 27)", "rgb(160, 168, 179)"),
    }[scheme]
    context.close()


def test_a_name_in_the_legend_hides_its_line(browser: Any, report: Path) -> None:
    page = browser.new_page()
    page.goto(report.as_uri())
    page.locator(".chart .main-svg").first.wait_for(timeout=60_000)
    button = page.locator(".legend button").first
    assert button.text_content() == "hierarchy"
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") == "false"
    hidden = "document.querySelector('.chart').data.filter(trace => trace.visible === false)"
    assert page.evaluate(f"{hidden}.map(trace => trace.name)") == ["hierarchy"]
    page.close()
