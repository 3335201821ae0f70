# SPDX-License-Identifier: Apache-2.0
"""What single chapters say."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.core import outcome as oc
from mtquant.evaluation.report import Learning, Material, Stress, extras, gains, results, trading
from mtquant.evaluation.report.cells import count, money, percent, probability, quantity, ratio
from mtquant.evaluation.report.document import UNDEFINED, Chapter, Estimate, Table, Text
from mtquant.evaluation.report.findings import Findings
from mtquant.evaluation.summary import METRIC_TEXTS
from mtquant.market.ledger import Ledger
from tests.support.ledgers import ledger_from_fills, ledger_from_returns, trading_ledger
from tests.support.reports import costs


def found_of(*runs: Ledger, **material: object) -> Findings:
    return Findings.of(Material("T", runs, **material))


def tables(chapter: Chapter) -> dict[str, Table]:
    return {block.title: block for block in chapter.blocks if isinstance(block, Table)}


def column(table: Table, n: int) -> dict[str, str]:
    return {str(row[0]): str(row[n]) for row in table.rows}


def test_every_measure_is_documented() -> None:
    assert {key for _, key, _ in results.METRIC_ROWS} <= set(METRIC_TEXTS)


def test_sharpe_without_interval_is_not_shown() -> None:
    # 15 bars have a Sharpe ratio but are too few for an interval.
    found = found_of(ledger_from_returns(np.tile([0.01, -0.02, 0.03], 5)))
    assert not np.isnan(found.summaries[0]["sharpe"])
    assert column(results.short_table(found), 2)["policy"] == UNDEFINED
    assert str(Estimate(1.0, np.nan, np.nan, "per year")) == UNDEFINED
    assert Estimate(1.0, np.nan, 2.0, "per year").plain()["value"] is None


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (percent(-1e-9), "0.0 %"),
        (percent(-4e-4, signed=True), "0.0 %"),
        (percent(-6e-4, signed=True), "-0.1 %"),
        (ratio(-1e-9), "0.00"),
        (count(-0.2), "0"),
        (percent(0.1234, 2, signed=True), "+12.34 %"),
        (money(1234.6, "USD"), "1,235"),
        (money(-3.456, "USD"), "-3.46"),
        (quantity(1234567.0, "units"), "1,234,567"),
        (quantity(0.00123456789, "units"), "0.00123457"),
        (quantity(100.0, "units"), "100"),
        (quantity(0.0, "units"), "0"),
        (probability(1e-9), "< 0.001"),
        (probability(0.0266), "0.027"),
        (percent(float("nan")), UNDEFINED),
        (quantity(float("nan"), "units"), UNDEFINED),
    ],
)
def test_numbers_as_people_read_them(cell: object, text: str) -> None:
    assert str(cell) == text


def test_monthly_returns_multiply_to_the_total() -> None:
    ledger = trading_ledger(bars=600)
    table = results.monthly_returns(ledger)
    total = ledger.equity[-1] / ledger.initial_equity
    assert (1.0 + table["year"]).prod() == pytest.approx(total)
    assert (1.0 + table[list(range(1, 13))]).prod(axis=1).prod() == pytest.approx(total)
    # 600 weekdays from January 2018 end in April 2020: the months after it are unknown, not zero.
    assert list(table.index) == [2018, 2019, 2020]
    assert np.isnan(table.loc[2020, 12])


def test_limits_are_counted_bit_by_bit() -> None:
    ledger = ledger_from_returns([0.0] * 4)
    ledger.outcomes[:, oc.BINDING] = [0, oc.LIMIT_NAME, oc.LIMIT_NAME | oc.LIMIT_GROSS, 0]
    chapter = trading.limits(found_of(ledger))
    assert column(tables(chapter)["What bound"], 1) == {"name cap": "50.0 %", "gross cap": "25.0 %"}
    spoken = " ".join(block.text for block in chapter.blocks if isinstance(block, Text))
    assert "On 50.0% of the bars" in spoken
    assert "Never bound: net cap, sector cap" in spoken


def test_refusals_are_counted_by_reason() -> None:
    fills = [
        {"row": 1, "quantity": 1, "price": 10},
        {"row": 2, "quantity": 0, "wanted": 1, "price": 10, "reason": oc.REASON_MARKET_CLOSED},
        {"row": 3, "quantity": 1, "wanted": 2, "price": 1, "reason": oc.REASON_SHRUNK_BY_MARGIN},
        {"row": 4, "quantity": 0, "wanted": 1, "price": 10, "reason": oc.REASON_MARKET_CLOSED},
    ]
    chapter = trading.costs(found_of(ledger_from_fills(fills)))
    assert column(tables(chapter)["Refused or shrunk orders"], 1) == {
        oc.REASON_TEXTS[oc.REASON_MARKET_CLOSED]: "2",
        oc.REASON_TEXTS[oc.REASON_SHRUNK_BY_MARGIN]: "1",
    }


def test_costs_by_instrument_sum_to_the_accounts() -> None:
    ledger = trading_ledger(bars=200)
    (paid,) = [t for title, t in tables(trading.costs(found_of(ledger))).items() if "Paid" in title]
    *own, everything = paid.rows
    for n, name in enumerate(("fee", "slippage", "financing"), start=1):
        total = ledger.column(name).sum()
        assert everything[n].value == pytest.approx(total)
        assert sum(row[n].value for row in own) == pytest.approx(total)


def test_the_cost_curve_has_its_break_even_in_words_and_in_the_chart() -> None:
    chapter = trading.costs(found_of(trading_ledger(bars=60), costs=costs(0.05, 0.01, -0.03)))
    (figure,) = (
        each for each in chapter.blocks if getattr(each, "title", "") == "Cost sensitivity"
    )
    assert figure.note.startswith("Break-even at 1.25 times the costs.")
    line, point = figure.chart.data
    assert (list(line.x), list(line.y)) == ([0.0, 1.0, 2.0], [0.05, 0.01, -0.03])
    assert (list(point.x), list(point.y)) == ([1.25], [0.0])
    table = next(t for t in tables(chapter).values() if t.headings[0] == "costs")
    assert column(table, 2) == dict.fromkeys(("0 x", "1 x", "2 x"), "0.50 (-0.50 to 1.50)")


def test_specialists_earn_what_their_instruments_do_and_phases_add_up() -> None:
    ledger, before = trading_ledger(bars=200), trading_ledger(seed=5, bars=200)
    chapter = gains.attribution(
        found_of(
            ledger,
            specialists={"x": ("AAA", "CCC"), "y": ("BBB",)},
            phases={"phase 1": before, "phase 2": ledger},
        )
    )
    own = tables(chapter)["By specialist"]
    assert sum(row[3].value for row in own.rows) == pytest.approx(ledger.equity[-1] - 100_000.0)
    phases = next(table for table in tables(chapter).values() if table.headings[2] == "added")
    total = ledger.equity[-1] / 100_000.0 - 1.0
    assert sum(row[2].value for row in phases.rows) == pytest.approx(total)


def test_one_seed_of_a_made_up_market_shows_no_sharpe_ratio() -> None:
    stress = Stress(100, {"gap": {"sharpe": [1.0], "drawdown": [0.1], "ruined": [0.0]}})
    chapter = extras.stress(found_of(trading_ledger(bars=60), stress=stress))
    assert chapter is not None
    (row,) = next(block for block in chapter.blocks if isinstance(block, Table)).rows
    assert [str(cell) for cell in row] == ["gap", UNDEFINED, "10.0 % (10.0 %)", "0 of 1"]


def test_a_ruined_seed_leaves_no_mean_sharpe_ratio() -> None:
    ratios = {"sharpe": [1.0, -np.inf, 2.0], "drawdown": [0.1, 1.0, 0.1], "ruined": [0.0, 1.0, 0.0]}
    chapter = extras.stress(found_of(trading_ledger(bars=60), stress=Stress(100, {"gap": ratios})))
    assert chapter is not None
    (row,) = next(block for block in chapter.blocks if isinstance(block, Table)).rows
    assert [str(cell) for cell in row] == ["gap", UNDEFINED, "40.0 % (100.0 %)", "1 of 3"]


def test_a_validation_ratio_needs_the_length_of_its_rows() -> None:
    curves = {"validation/sharpe": ([1, 2], [0.5, 0.6])}
    run = trading_ledger(bars=60)
    assert extras.learning(found_of(run, learning=[Learning("phase 1", curves)])) is None
    chapter = extras.learning(found_of(run, learning=[Learning("phase 1", curves, 4.0)]))
    assert chapter is not None
    (figure,) = chapter.blocks
    assert "±1.0" in figure.note  # 1.96 / sqrt(4)
    low, high, _ = figure.chart.data
    assert list(high.y - low.y) == pytest.approx([2 * 1.96 / 2.0] * 2, rel=1e-3)


def test_card_is_flattened() -> None:
    table = extras.card_table({"a": {"b": 1, "c": {"d": "x"}}, "e": [1, 2], "f": 3.14159e-14}, "")
    assert column(table, 1) == {"a.b": "1", "a.c.d": "x", "e": "1, 2", "f": "3.14e-14"}
