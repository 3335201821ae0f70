# SPDX-License-Identifier: Apache-2.0
"""Real stock prompts know nothing that came later, and outcomes are what the desk would book."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mtquant.core.errors import DataError
from mtquant.llm.tasks.catalog import make_task
from mtquant.llm.tasks.config import TaskConfig
from mtquant.llm.tasks.stocks import first_row, stock_outcomes, stock_prompts
from mtquant.llm.tasks.templates import template_of
from tests.support.language import daily_bars, texts_for

CONFIG = TaskConfig.model_validate(
    {"source": "bars", "stocks": {"indicators": ["momentum_20", "volatility_20"]}}
)
TEMPLATE = template_of("stock_direction", "compact")


@pytest.fixture(scope="module")
def bars():
    return daily_bars()


@pytest.fixture(scope="module")
def texts(bars):
    return texts_for(bars)


def test_a_prompt_does_not_change_when_the_future_is_cut_off(bars, texts):
    whole = stock_prompts(CONFIG, TEMPLATE, bars, texts, "Company")
    for row in range(first_row(CONFIG), len(bars), 7):
        moment = int(bars.stamps[row])
        known = texts.take(texts.known_at <= moment)
        cut = stock_prompts(CONFIG, TEMPLATE, bars.rows(slice(0, row + 1)), known, "Company")
        place = row - first_row(CONFIG)
        assert cut.prompts[-1].encode() == whole.prompts[place].encode()
        for name, column in whole.features.items():
            assert cut.features[name][-1] == column[place]


def test_texts_are_the_latest_known_at_the_close(bars, texts):
    made = stock_prompts(CONFIG, TEMPLATE, bars, texts)
    for place, row in enumerate(made.rows):
        day_before = bars.stamps[row] - 24 * 3_600 * 10**9
        usable = (texts.known_at <= bars.stamps[row]) & (texts.known_at > day_before)
        expected = [f"News: {text}" for text in texts.columns["text"][usable][-3:]]
        assert re.findall("News: .*", made.prompts[place]) == expected


def test_the_numbers_in_a_prompt_are_the_bars(bars):
    made = stock_prompts(CONFIG, TEMPLATE, bars, rows=np.array([100]))
    closes = [float(price) for price in re.findall(r"\$([\d.]+)", made.prompts[0])]
    np.testing.assert_allclose(closes, bars.close[97:101], atol=0.005)
    changes = [float(change) for change in re.findall(r"\((.*?)%\)", made.prompts[0])]
    expected = 100.0 * (bars.close[98:101] / bars.close[97:100] - 1.0)
    np.testing.assert_allclose(changes, expected, atol=0.005)


def test_label_and_worth_are_counted_apart(bars):
    happened = stock_outcomes(bars, np.array([100]))
    assert happened["realised_return"][0] == bars.close[101] / bars.close[100] - 1.0
    assert happened["fill_return"][0] == bars.open[102] / bars.open[101] - 1.0
    with pytest.raises(DataError, match="2 bars behind"):
        stock_outcomes(bars, np.array([len(bars) - 2]))


@pytest.fixture(scope="module")
def task(bars):
    return make_task(CONFIG, {"AAA": bars, "BBB": daily_bars("BBB", seed=1)})


def test_parts_are_cut_by_date_for_all_symbols(task):
    parts = [task.examples(name, balanced=False) for name in ("train", "validation", "test")]
    day = 86_400 * 10**9
    for early, late in ((parts[0], parts[1]), (parts[1], parts[2])):
        # Purge 2 and embargo 5 decision days, and the outcome is 2 sessions later.
        assert late.stamps[0] - early.stamps[-1] >= 7 * day
    for part in parts:
        assert set(part.columns["symbol"]) == {"AAA", "BBB"}
        happened = part.columns["realised_return"] > 0
        assert np.array_equal(part.columns["label"], happened)


def test_references_parse_and_the_base_rate_earns_its_due(task):
    test = task.examples("test", balanced=False)
    scores = task.reward("stage2")(test.prompts, test.answers, test.columns)
    assert scores.parsed.all()
    base = np.array([0.5, 0.5])
    written = task.reward("stage1")(test.prompts, task.write(test, base), test.columns)
    # 0.6 (1 - 0.25) + 0.2 + 0.2: a coin flip in perfect form. Equal changes on both days quote
    # one figure, so the mean may be a little less.
    assert written.total.max() == pytest.approx(0.85)
    assert written.total.mean() > 0.84


def test_small_moves_are_left_out_of_the_balanced_set_alone(bars):
    values = CONFIG.model_dump() | {"stocks": {"neutral_percent": 0.5, "indicators": []}}
    task = make_task(TaskConfig.model_validate(values), {"AAA": bars})
    even = task.examples("train", balanced=True)
    assert np.abs(even.columns["realised_return"]).min() >= 0.005
    assert np.abs(task.examples("train", balanced=False).columns["realised_return"]).min() < 0.005


def test_bars_must_fit_the_source(bars):
    with pytest.raises(DataError, match="Pass bars"):
        make_task(TaskConfig(), {"AAA": bars})


def test_bars_come_from_the_projects_sources_too():
    values = CONFIG.model_dump() | {"data": {"source": "bundled", "instruments": ["SPX500"]}}
    config = TaskConfig.model_validate(values)
    task = make_task(config)
    train = task.examples("train", balanced=False)
    # The bundled S&P 500 of the `arch` package: 5,031 daily closes, 60 % of them for training.
    assert set(train.columns["symbol"]) == {"SPX500"} and len(train) > 2_500
    assert train.prompts[0].startswith("Company: SPX500\nDay 1: $")


def test_tables_are_read_as_the_data_folder_describes_them(tmp_path, bars):
    frame = bars.to_frame().reset_index(drop=True)
    frame["symbol"], frame["adj_close"] = "AAA", 1.0
    frame["date"] = [stamp.date() for stamp in bars.to_frame().index]
    frame["date"] = frame["date"].astype("datetime64[us]")
    frame.to_parquet(tmp_path / "prices.parquet")
    values = {"source": "tables", "stocks": {"prices": str(tmp_path / "prices.parquet")}}
    values["stocks"]["indicators"] = ["momentum_20", "volatility_20"]
    task = make_task(TaskConfig.model_validate(values))
    one = task.examples("train", balanced=False)
    two = make_task(CONFIG, {"AAA": bars}).examples("train", balanced=False)
    assert one.prompts == two.prompts
    with pytest.raises(DataError, match="BBB"):
        values["stocks"]["symbols"] = ["BBB"]
        make_task(TaskConfig.model_validate(values))
