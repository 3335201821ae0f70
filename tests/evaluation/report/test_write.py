# SPDX-License-Identifier: Apache-2.0
"""The three files: what they must hold, in which order, and that they need nothing from outside."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtquant.core.errors import RunError
from mtquant.evaluation.report import Material, report_summary, write_report
from tests.support.ledgers import ledger_from_returns, trading_ledger
from tests.support.reports import full_material, policy

PARTS = [
    "Results",
    "Walk-forward",
    "Risk over time",
    "Positions and trades",
    "Limits and value at risk",
    "Costs",
    "Attribution",
    "Stress scenarios",
    "All measures",
    "Learning curves",
    "vectorbt",
    "Further",
    "Run card",
]


class Outside(HTMLParser):
    """Collects every address that a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.open_tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        fetched = {"src", "href", "data", "srcset", "poster", "action"}
        self.addresses += [value or "" for name, value in attrs if name in fetched]
        if tag not in {"meta", "link", "br", "img", "input", "wbr"}:
            self.open_tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags.pop() == tag


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "new"
    assert write_report(path, full_material()) == path / "report.html"
    return path


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def content(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def packed(page: str, name: str) -> str:
    (found,) = re.findall(rf'<script type="text/plain" id="{name}">([^<]*)</script>', page)
    return gzip.decompress(base64.b64decode(found)).decode()


def without_packed(page: str) -> str:
    return re.sub(r'<script type="text/plain".*?</script>', "", page, flags=re.S)


def test_the_page_fetches_nothing_and_is_small(page: str) -> None:
    parser = Outside()
    parser.feed(page)
    assert parser.open_tags == []  # every tag is closed, in order
    assert all(address.startswith("#") for address in parser.addresses)
    assert not re.search(r"https?:|@import|url\(", without_packed(page))
    assert "plotly.js" in packed(page, "plotly")[:200]
    assert len(page) < 3_000_000


def test_all_three_files_hold_every_part_in_order(
    folder: Path, page: str, content: dict[str, Any]
) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "report.html",
        "report.json",
        "report.md",
    ]
    assert re.findall(r'<h2 id="title-\d+">(.*?)</h2>', page) == PARTS
    assert [chapter["title"] for chapter in content["chapters"]] == PARTS
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", text, flags=re.M) == PARTS
    assert page.index('class="verdict') < page.index("<dl") < page.index("<h2")


def test_every_figure_of_the_document_is_in_the_page(page: str, content: dict[str, Any]) -> None:
    figures = [b for c in content["chapters"] for b in c["blocks"] if "figure" in b]
    drawn = json.loads(packed(page, "figures"))
    assert len(drawn) == len(figures) == page.count('class="chart" data-figure=')
    assert all(figure["series"] and figure["says"].endswith(".") for figure in figures)
    assert all(series["x"] for figure in figures for series in figure["series"])
    # Dates of a caller's figure stay dates: plotly would read nanoseconds as numbers.
    given = next(each for each in figures if each["figure"] == "Value <x>")
    assert given["series"][0]["x"][0] == "2020-01-01T00:00"
    assert '"x":["2020-01-01T00:00"' in packed(page, "figures")


def test_a_table_says_the_same_in_all_files(
    folder: Path, page: str, content: dict[str, Any]
) -> None:
    blocks = content["chapters"][0]["blocks"]
    row = next(block for block in blocks if "table" in block)["rows"][0]
    assert row[0] == "hierarchy"
    assert row[1]["unit"] == "fraction"
    shown = f"{100 * row[1]['value']:z.1f} %"
    assert shown in page
    assert f"| hierarchy | {shown} |" in (folder / "report.md").read_text(encoding="utf-8")


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from nodes(inner)


def test_no_sharpe_ratio_without_its_interval(content: dict[str, Any]) -> None:
    tables = [node for node in nodes(content) if "headings" in node]
    seen = 0
    for table in tables:
        for row in table["rows"]:
            for heading, cell in zip(table["headings"], row, strict=True):
                label = f"{heading} {row[0]}".lower()
                if ("sharpe" in label or "information ratio" in label) and isinstance(cell, dict):
                    seen += 1
                    assert {"value", "low", "high"} <= set(cell), label
                    assert (cell["value"] is None) == (cell["low"] is None)
    assert seen > 20
    assert set(content["key_figures"]["Sharpe, 95 % interval"]) >= {"low", "high"}


def test_every_number_has_a_unit(content: dict[str, Any]) -> None:
    cells = [node for node in nodes(content) if "value" in node and "unit" in node]
    assert len(cells) > 200
    assert all(cell["unit"] for cell in cells)


def test_notes_hashes_and_the_card_are_repeated(page: str) -> None:
    plain = page.replace("<wbr>", "")
    parts = ("closes only", policy().rules_hash, policy().hash(), "c0ffee", "versions.numpy")
    for text in (*parts, "3e-12", "bars a year, counted from", "first", "AAA, BBB"):
        assert text in plain


def test_text_from_outside_is_escaped(page: str) -> None:
    assert "<h1>Hierarchy &lt;one&gt; &amp; two</h1>" in page
    assert "buy &amp; hold" in page
    assert "&lt;b&gt;3&lt;/b&gt;" in page
    assert "1 &lt; 2</pre>" in page
    assert "<one>" not in page


def test_equal_material_gives_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_report(tmp_path / name, Material("t", [policy()]))
    for file in ("report.html", "report.md", "report.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_run_without_trades_audit_or_limits_says_so(tmp_path: Path) -> None:
    cash = ledger_from_returns(np.zeros(60), held=0.0, turnover=0.0, name="cash")
    page = write_report(tmp_path, Material("cash", [cash])).read_text(encoding="utf-8")
    for sentence in (
        "It never traded",
        "No baseline was run beside it.",
        "No limit ever bound",
        "Every order was filled as wanted.",
        "No second judge has looked at this run.",
        "No round trip was closed.",
        "Value at risk not tested",
    ):
        assert sentence in page
    assert "vectorbt" not in without_packed(page)


@pytest.mark.parametrize("bars", [1, 2, 25])
def test_a_few_bars_are_enough(tmp_path: Path, bars: int) -> None:
    write_report(tmp_path, Material("short", [ledger_from_returns([0.01] * bars)]))
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["key_figures"]["Sharpe, 95 % interval"]["value"] is None


def test_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="at least the policy's ledger"):
        write_report(tmp_path / "r", Material("none", []))
    assert list(tmp_path.iterdir()) == []


def test_the_summary_has_the_verdict_and_the_table() -> None:
    text = report_summary(Material("T", full_material().runs, seed=2))
    assert text.startswith("# T\n")
    assert text.index("- No evidence of edge:") < text.index("| hierarchy |")
    row = r"\| hierarchy \| -?[+\d.]+ % \| -?[\d.]+ \(-?[\d.]+ to -?[\d.]+\) \|"
    assert re.search(row, text)


def test_unfair_comparisons_are_named() -> None:
    other_rules = trading_ledger(seed=2, bars=300, name="B", world_hash="1" * 64, notes=("odd",))
    other_bars = trading_ledger(seed=2, bars=200, name="C")
    text = report_summary(Material("T", [policy(), other_rules, other_bars]))
    assert "Not comparable: B lived under other rules." in text
    assert "Not comparable: C lived through other bars." in text
    assert "B: odd" in text


def test_close_fills_are_labelled_optimistic() -> None:
    text = report_summary(Material("T", [trading_ledger(bars=60, fill_at="close")]))
    assert text.count("ptimistic") == 2
