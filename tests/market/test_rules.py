# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from mtquant.core.config import EnvironmentConfig
from mtquant.core.errors import RulesError
from mtquant.data.instruments import load_instruments
from mtquant.market.rules import (
    R_COMMISSION,
    R_FINANCING_LONG,
    R_HALF_COST,
    R_OWN_RATE,
    R_STOP,
    R_TAKE,
    S_FILL_AT_CLOSE,
    S_PROJECT,
    InstrumentRules,
    Rules,
)
from tests.support.tapes import hand_rules

RULES = hand_rules(2)


def other(value):
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, tuple):
        return (*value, 0.125)
    return 0.125 if value == float("inf") else value + 0.125


@pytest.mark.parametrize("name", [f.name for f in fields(Rules) if f.name != "instruments"])
def test_the_hash_changes_with_every_setting(name):
    changed = replace(RULES, **{name: other(getattr(RULES, name))})
    assert changed.hash() != RULES.hash()


@pytest.mark.parametrize("name", [f.name for f in fields(InstrumentRules)])
@pytest.mark.parametrize("n", [0, 1])
def test_the_hash_changes_with_every_figure_of_every_instrument(name, n):
    items = list(RULES.instruments)
    items[n] = replace(items[n], **{name: other(getattr(items[n], name))})
    assert replace(RULES, instruments=tuple(items)).hash() != RULES.hash()


def test_the_hash_knows_the_order_and_nothing_else():
    assert replace(RULES, instruments=RULES.instruments[::-1]).hash() != RULES.hash()
    assert hand_rules(2).hash() == RULES.hash()
    assert len(RULES.hash()) == 64


def test_rules_come_from_the_config_and_the_instruments():
    environment = EnvironmentConfig(
        stop_loss_pct=0.03, take_profit_pct=0.07, max_position_size=0.2, fill_at="close"
    )
    known = load_instruments()
    rules = Rules.from_config(environment, known, ("USDJPY", "XAUUSD"))
    assert rules.symbols == ("USDJPY", "XAUUSD")
    yen = rules.instruments[rules.symbols.index("USDJPY")]
    for name in ("quote", "sector", "spread_bps", "slippage_bps", "lot", "margin_frac"):
        assert getattr(yen, name) == getattr(known["USDJPY"], name)
    assert (yen.stop_loss_frac, yen.take_profit_frac, yen.name_cap) == (0.03, 0.07, 0.2)
    assert rules.limits().caps.tolist() == [0.2, 0.2]
    matrix = rules.matrix((True, False))
    assert matrix[:, R_OWN_RATE].tolist() == [1.0, 0.0]
    assert matrix[0, R_STOP] == 0.03 and matrix[0, R_TAKE] == 0.07
    half = known["USDJPY"].spread_bps / 2 + known["USDJPY"].slippage_bps
    assert matrix[0, R_HALF_COST] == pytest.approx(half / 10_000)
    assert rules.settings()[S_FILL_AT_CLOSE] == 1.0 and rules.settings()[S_PROJECT] == 1.0


def test_the_flat_cost_replaces_every_other():
    environment = EnvironmentConfig(cost_model="flat", transaction_cost=0.003)
    rules = Rules.from_config(environment, load_instruments(), ("XAUUSD",))
    matrix = rules.matrix((False,))
    assert matrix[0, R_HALF_COST] == matrix[0, R_FINANCING_LONG] == 0.0
    # The spec's 0.003 are 30 bps of commission.
    np.testing.assert_allclose(matrix[0, R_COMMISSION], 0.003)
    assert rules.instruments[rules.symbols.index("XAUUSD")].take_profit_frac == 0.0


def test_without_stops_nothing_else_changes():
    stopped = hand_rules(2, stop_loss_frac=0.02, take_profit_frac=0.1)
    assert stopped.without_stops() == RULES
    assert stopped.without_stops().hash() != stopped.hash()


def test_an_unknown_instrument_is_refused():
    with pytest.raises(RulesError, match="EURUSX"):
        Rules.from_config(EnvironmentConfig(), load_instruments(), ("EURUSX",))
