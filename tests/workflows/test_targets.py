# SPDX-License-Identifier: Apache-2.0
"""The table of targets: values of the ledger, intervals around them, and when a target is met."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from mtquant.core.config import load_config
from mtquant.data.instruments import load_instruments
from mtquant.evaluation.summary import summarize
from mtquant.market.rules import Rules
from mtquant.market.tape import Tape
from mtquant.workflows.targets import Target, targets_of
from tests.support.ledgers import trading_ledger

LEDGER = trading_ledger(bars=500)


@pytest.fixture(scope="module")
def targets() -> dict[str, Target]:
    config = load_config(None, ["environment.max_correlation_exposure=null"])
    rules = Rules.from_config(config.environment, load_instruments(None), ["EURUSD"])
    nowhere = cast(Tape, None)  # only the correlation limit looks at bars, and it is off
    found = targets_of(3, LEDGER, rules, nowhere, 200, np.random.default_rng(1))
    return {target.name: target for target in found}


def test_values_are_those_of_the_summary(targets: dict[str, Target]) -> None:
    summary = summarize(LEDGER)
    assert targets["Sharpe ratio"].measured == pytest.approx(summary["sharpe"])
    assert targets["max drawdown"].measured == pytest.approx(summary["max_drawdown"])
    assert targets["win rate of trades"].measured == pytest.approx(summary["win_rate_trips"])


def test_intervals_hold_the_value_and_agree_with_the_report(targets: dict[str, Target]) -> None:
    for name in ("Sharpe ratio", "win rate of trades"):
        low, high = targets[name].interval
        assert low < targets[name].measured < high
    # The same bootstrap from other draws: 200 leave its ends within a fifth of its width.
    summary, (low, high) = summarize(LEDGER), targets["Sharpe ratio"].interval
    ends = [summary["sharpe_low"], summary["sharpe_high"]]
    assert [low, high] == pytest.approx(ends, abs=0.2 * (ends[1] - ends[0]))


def test_a_target_is_met_by_the_whole_interval() -> None:
    assert Target("x", True, 1.0, 2.0, (1.1, 3.0), False).met
    assert not Target("x", True, 1.0, 2.0, (0.9, 3.0), False).met
    assert Target("x", False, 0.2, 0.1, (0.05, 0.15), True).met
    assert not Target("x", False, 0.2, 0.1, (0.05, 0.25), True).met
