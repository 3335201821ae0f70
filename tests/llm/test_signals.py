# SPDX-License-Identifier: Apache-2.0
"""From answers to a signal table, to a policy that the desk trades."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mtquant.backtest.vectorbt_audit import audit
from mtquant.core import outcome as oc
from mtquant.core.errors import DataError, PolicyError
from mtquant.core.protocols import Observation, Policy
from mtquant.features.signals import read_signals
from mtquant.llm.policy import PredictionPolicy
from mtquant.llm.signals import signal_frame, write_signals
from mtquant.llm.tasks.catalog import make_task
from mtquant.llm.tasks.config import TaskConfig
from tests.support.markets import Portfolio, momentum_bars

SYMBOLS = ("EURUSD", "GBPUSD")  # both pay in dollars
BARS = {symbol: momentum_bars(400, seed, 0.8, 0.004, symbol) for seed, symbol in enumerate(SYMBOLS)}
CONFIG = TaskConfig.model_validate({"source": "bars", "stocks": {"indicators": []}})


@pytest.fixture(scope="module")
def task():
    return make_task(CONFIG, BARS)


@pytest.fixture(scope="module")
def path(task, tmp_path_factory):
    """Answers that expect momentum to go on, on the test part."""
    test = task.examples("test", balanced=False)
    rise = np.where(test.columns["feature:change_1"] > 0.0, 0.9, 0.1)
    completions = task.write(test, np.column_stack([1.0 - rise, rise]))
    path = tmp_path_factory.mktemp("signals") / "new" / "signals.parquet"
    frame = signal_frame(task, test.columns["symbol"], test.stamps, test.prompts, completions)
    write_signals(frame, path)
    return path


@pytest.fixture(scope="module")
def signals(path):
    return read_signals(path)


def test_a_table_comes_back_as_it_was_written(task, signals):
    test = task.examples("test", balanced=False)
    assert len(signals) == len(test)
    assert np.array_equal(signals.known_at, test.stamps)
    assert set(signals.columns["template_hash"]) == {task.template_hash}
    np.testing.assert_allclose(np.unique(signals.columns["chance_up"]), [0.1, 0.9])


def test_what_does_not_parse_predicts_nothing(task):
    test = task.examples("test", balanced=False).take(np.arange(4))
    texts = list(task.write(test, np.array([0.5, 0.5])))
    texts[1] = "?"
    frame = signal_frame(
        task, test.columns["symbol"], test.stamps, test.prompts, texts, delay_seconds=60
    )
    assert len(frame) == 3
    moments = pd.DatetimeIndex(frame["known_at"]).as_unit("ns").asi8
    assert set(moments) <= set(test.stamps + 60 * 10**9)
    with pytest.raises(DataError, match="parses"):
        signal_frame(task, test.columns["symbol"], test.stamps, test.prompts, ["?"] * 4)


def test_predictions_backtest_through_the_desk(signals):
    world = Portfolio.build(
        [BARS[symbol] for symbol in SYMBOLS],
        "environment.max_position_size=0.5",
        "environment.max_portfolio_var=1.0",
    )
    policy = PredictionPolicy(signals, max_exposure=0.5)
    assert isinstance(policy, Policy)
    first = int(np.searchsorted(world.panel.stamps, signals.known_at[0]))
    rows = slice(first, len(world.panel))
    ledger = world.run(policy, rows)
    audit(ledger, world.rules)
    # Momentum of 0.8 goes on more often than not: the table earns, and its mirror loses.
    assert ledger.outcomes[-1, oc.EQUITY] > 1.05 * ledger.initial_equity
    mirrored = dict(signals.columns)
    mirrored["chance_up"] = 1.0 - mirrored["chance_up"]
    against = PredictionPolicy(type(signals)(**{**vars(signals), "columns": mirrored}), 0.5)
    assert world.run(against, rows).outcomes[-1, oc.EQUITY] < ledger.initial_equity
    # The target is (2 x 0.9 - 1) x 0.5 to the predicted side, decided at the bar that was read.
    wanted = ledger.targets[0]
    expected = [
        0.4 * np.sign(signals.of(symbol).columns["chance_up"][0] - 0.5) for symbol in SYMBOLS
    ]
    np.testing.assert_allclose(wanted, expected)


def test_a_prediction_that_comes_late_is_not_traded_early(task, signals):
    test = task.examples("test", balanced=False)
    later = type(signals)(**{**vars(signals), "known_at": signals.known_at + 1})
    seen = Observation(np.zeros(1, np.float32), int(test.stamps[0]), SYMBOLS, ("x",))
    assert PredictionPolicy(later).act(seen, None)[0].tolist() == [0.0, 0.0]
    assert (PredictionPolicy(signals).act(seen, None)[0] != 0.0).any()


def test_the_gross_cap_scales_all_targets(signals):
    stamp = int(signals.known_at[-1])
    seen = Observation(np.zeros(1, np.float32), stamp, SYMBOLS, ("x",))
    free, _ = PredictionPolicy(signals, 1.0, max_gross=10.0).act(seen, None)
    capped, _ = PredictionPolicy(signals, 1.0, max_gross=0.5).act(seen, None)
    assert np.abs(capped).sum() == pytest.approx(0.5)
    np.testing.assert_allclose(capped / np.abs(capped).sum(), free / np.abs(free).sum())
    with pytest.raises(PolicyError, match="positive"):
        PredictionPolicy(signals, max_exposure=0.0)
