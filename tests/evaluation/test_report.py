# SPDX-License-Identifier: Apache-2.0
"""The page: what it must hold, in which order, and that it needs nothing from outside."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from mtquant.core.errors import RunError
from mtquant.evaluation.report import report_markdown, write_report
from tests.support.ledgers import ledger_from_returns, trading_ledger

POLICY = trading_ledger(seed=1, bars=300, name="specialists", notes=("closes only",))
BASELINE = trading_ledger(seed=2, bars=300, name="buy & hold")


class Outside(HTMLParser):
    """Collects every address that a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.open_tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        fetched = {"src", "href", "data", "srcset", "poster", "action"}
        self.addresses += [value or "" for name, value in attrs if name in fetched]
        if tag not in {"meta", "link", "br", "img", "input"}:
            self.open_tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags.pop() == tag


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "new" / "report.html"
    found = write_report(
        path,
        [POLICY, BASELINE],
        title="Specialists <one> & two",
        figures={"Value <x>": go.Figure(go.Scatter(y=[1, 2]), layout={"width": 700})},
        tables={"Stats": pd.DataFrame({"value": ["<b>3</b>"]}, index=["a"]), "Raw": "1 < 2"},
        card={"config hash": "c0ffee", "versions": {"numpy": "9.9"}, "seeds": [1, 2]},
        audit={"largest relative difference": 3e-12},
    )
    assert found == path
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    return path.read_text(encoding="utf-8")


def without_plotly(page: str) -> str:
    return re.sub(r"<script>/\*\*\s*\* plotly.js.*?</script>", "", page, count=1, flags=re.S)


def test_page_fetches_nothing(page: str) -> None:
    parser = Outside()
    parser.feed(page)
    assert parser.open_tags == []  # every tag is closed, in order
    assert all(address.startswith("#") for address in parser.addresses)
    rest = without_plotly(page)
    assert len(page) - len(rest) > 1_000_000  # plotly.js is inside
    assert not re.search(r"https?:|@import|url\(", rest)


def test_page_holds_every_part_in_order(page: str) -> None:
    parts = re.findall(r"<h2>(.*?)</h2>", page)
    assert parts == [
        "Results",
        "All measures",
        "Positions and trades",
        "Costs, limits and refusals",
        "vectorbt",
        "Audit",
        "Round trips",
        "Run card",
    ]
    rest = without_plotly(page)
    assert rest.index('class="verdict') < rest.index("Total return</th>")
    # Equity, drawdown, exposure, costs, turnover, one per instrument, and one handed in.
    assert len(set(re.findall(r'id="(chart-\d+)"', rest))) == 5 + len(POLICY.symbols) + 1


def test_page_repeats_notes_hashes_and_the_card(page: str) -> None:
    for text in (
        "closes only",
        POLICY.rules_hash,
        POLICY.hash(),
        "c0ffee",
        "versions.numpy",
        "3e-12",
    ):
        assert text in page


def test_text_from_outside_is_escaped(page: str) -> None:
    assert "<h1>Specialists &lt;one&gt; &amp; two</h1>" in page
    assert "buy &amp; hold" in page
    assert "&lt;b&gt;3&lt;/b&gt;" in page
    assert "<pre>1 &lt; 2</pre>" in page
    assert "<one>" not in page


def test_equal_ledgers_give_equal_bytes(tmp_path: Path) -> None:
    first = write_report(tmp_path / "a.html", [POLICY], title="t").read_bytes()
    again = trading_ledger(seed=1, bars=300, name="specialists", notes=("closes only",))
    assert write_report(tmp_path / "b.html", [again], title="t").read_bytes() == first


def test_a_run_without_trades_audit_or_limits_says_so(tmp_path: Path) -> None:
    cash = ledger_from_returns(np.zeros(60), held=0.0, turnover=0.0, name="cash")
    text = write_report(tmp_path / "r.html", [cash], title="cash").read_text(encoding="utf-8")
    for sentence in (
        '<p class="lead">It never traded',
        "No baseline was run beside it.",
        "No limit ever bound",
        "Every order was filled as wanted.",
        "No second judge has looked at this run.",
        "No round trip was closed.",
    ):
        assert sentence in text
    assert "<h2>vectorbt</h2>" not in text


def test_one_bar_is_enough(tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", [ledger_from_returns([0.01])], title="one bar")


def test_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="at least the policy's ledger"):
        write_report(tmp_path / "r.html", [], title="none")
    assert list(tmp_path.iterdir()) == []


def test_markdown_has_the_verdict_and_the_table() -> None:
    text = report_markdown([POLICY, BASELINE], title="T", seed=2)
    assert text.startswith("## T\n")
    assert text.index("- No evidence of edge:") < text.index("| specialists |")
    row = r"\| specialists \| -?[+\d.]+ % \| -?[\d.]+ \(-?[\d.]+ to -?[\d.]+\) \|"
    assert re.search(row, text)


def test_unfair_comparisons_are_named() -> None:
    other_rules = trading_ledger(seed=2, bars=300, name="B", world_hash="1" * 64, notes=("odd",))
    other_bars = trading_ledger(seed=2, bars=200, name="C")
    text = report_markdown([POLICY, other_rules, other_bars], title="T")
    assert "Not comparable: B lived under other rules." in text
    assert "Not comparable: C lived through other bars." in text
    assert "B: odd" in text


def test_close_fills_are_labelled_optimistic() -> None:
    text = report_markdown([trading_ledger(bars=60, fill_at="close")], title="T")
    assert text.count("ptimistic") == 2
