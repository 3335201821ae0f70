# SPDX-License-Identifier: Apache-2.0
"""Translation: units, prices and fills as OANDA writes them."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.core import outcome as oc
from mtquant.paper.broker import BrokerError
from mtquant.paper.oanda.journal import OrderFacts
from mtquant.paper.oanda.words import Contract, fill, market_order
from mtquant.paper.orders import Order

ROW = {
    "name": "EUR_USD",
    "tradeUnitsPrecision": 1,
    "displayPrecision": 5,
    "minimumTradeSize": "0.1",
    "maximumOrderUnits": "1000",
}
FILL = {"id": "7", "type": "ORDER_FILL", "orderID": "6", "instrument": "EUR_USD"}
FACTS = OrderFacts("a", created={"units": "300"})


@given(st.integers(-10_000, 10_000), st.integers(0, 3))
def test_whole_lots_survive_floats(count, digits):
    """0.1 + 0.2 is three lots of 0.1, and 0.29 is 29 of 0.01."""
    lot = 10.0**-digits
    contract = Contract.of({**ROW, "tradeUnitsPrecision": digits})
    assert contract.units(count * lot) == Decimal(count).scaleb(-digits)


@given(st.floats(-1e6, 1e6))
def test_units_are_never_more_than_wanted(quantity):
    units = Contract.of(ROW).units(quantity)
    assert abs(units) <= abs(Decimal(quantity)) + Decimal("1e-6")
    assert abs(units) > abs(Decimal(quantity)) - Decimal("0.100001")
    assert -units.as_tuple().exponent == 1


def test_limits_of_an_order():
    contract = Contract.of(ROW)
    assert not contract.refuses(Decimal("0.1"))
    assert not contract.refuses(Decimal("-1000"))
    assert "least" in contract.refuses(Decimal("0.0"))
    assert "largest" in contract.refuses(Decimal("-1000.1"))


@pytest.mark.parametrize("missing", ["name", "tradeUnitsPrecision", "minimumTradeSize"])
def test_an_instrument_has_to_say_what_it_is(missing):
    with pytest.raises(BrokerError, match="precision"):
        Contract.of({key: value for key, value in ROW.items() if key != missing})


def test_a_request_has_its_name_its_stops_and_no_exponents():
    contract = Contract.of({**ROW, "maximumOrderUnits": "1e9"})
    order = Order("a", "EURUSD", -10_000_000.0, 1, 0.01, 0.00000001)
    request = market_order(order, contract, contract.units(order.quantity), "FOK", 1.1)["order"]
    assert request["units"] == "-10000000.0"
    assert request["clientExtensions"] == request["tradeClientExtensions"] == {"id": "a"}
    assert request["positionFill"] == "REDUCE_FIRST"
    assert request["stopLossOnFill"]["distance"] == "0.01100"
    assert request["takeProfitOnFill"]["price"] == "1.10000"
    plain = market_order(Order("a", "EURUSD", 1.0, 1), contract, Decimal(1), "IOC", np.nan)
    assert not {"stopLossOnFill", "takeProfitOnFill"} & set(plain["order"])


def test_a_fill_s_price_is_the_mean_of_its_trades():
    row = FILL | {
        "units": "-300",
        "price": "9",
        "tradesClosed": [{"units": "-100", "price": "1.0"}],
        "tradeReduced": {"units": "-100", "price": "1.3"},
        "tradeOpened": {"units": "-100", "price": "1.6"},
    }
    assert fill(row, FACTS, "EURUSD").price == pytest.approx(1.3)
    assert fill(row | {"tradeOpened": None, "fullVWAP": "1.2"}, FACTS, "EURUSD").price == 1.2
    assert fill(FILL | {"units": "300", "price": "1.1"}, FACTS, "EURUSD").price == 1.1


def test_fees_are_commission_and_guarantee_without_financing():
    row = FILL | {"units": "300", "price": "1.1", "commission": "0.5", "financing": "-7"}
    assert fill(row | {"guaranteedExecutionFee": "0.25"}, FACTS, "EURUSD").fee == 0.75


@pytest.mark.parametrize(("gain", "rate"), [("1", 0.9), ("-1", 0.8)])
def test_gains_and_losses_have_their_own_rates(gain, rate):
    row = FILL | {"units": "300", "price": "1.1", "pl": gain}
    factors = {"gainQuoteHome": {"factor": "0.9"}, "lossQuoteHome": {"factor": "0.8"}}
    assert fill(row | {"homeConversionFactors": factors}, FACTS, "EURUSD").rate == rate
    older = {"gainQuoteHomeConversionFactor": "0.9", "lossQuoteHomeConversionFactor": "0.8"}
    assert fill(row | older, FACTS, "EURUSD").rate == rate
    assert np.isnan(fill(row, FACTS, "EURUSD").rate)


@pytest.mark.parametrize(
    ("reason", "origin"),
    [
        ("STOP_LOSS_ORDER", oc.ORIGIN_STOP_LOSS),
        ("TRAILING_STOP_LOSS_ORDER", oc.ORIGIN_STOP_LOSS),
        ("GUARANTEED_STOP_LOSS_ORDER", oc.ORIGIN_STOP_LOSS),
        ("TAKE_PROFIT_ORDER", oc.ORIGIN_TAKE_PROFIT),
        ("MARKET_ORDER_MARGIN_CLOSEOUT", oc.ORIGIN_LIQUIDATION),
        ("MARKET_ORDER_TRADE_CLOSE", oc.ORIGIN_ADOPTED),
        ("LIMIT_ORDER", oc.ORIGIN_ADOPTED),
    ],
)
def test_what_was_not_ordered_says_why(reason, origin):
    row = FILL | {"units": "300", "price": "1.1", "reason": reason}
    own = fill(row, OrderFacts(""), "EURUSD")
    assert (own.origin, own.client_id, own.reason) == (origin, "", oc.REASON_DONE)
    assert fill(row, FACTS, "EURUSD").origin == oc.ORIGIN_ORDER


@pytest.mark.parametrize("spoiled", [{"units": None}, {"units": "x"}, {"price": "x"}])
def test_a_fill_without_numbers_is_an_error(spoiled):
    with pytest.raises(BrokerError, match="units and prices"):
        fill(FILL | {"units": "300", "price": "1.1"} | spoiled, FACTS, "EURUSD")
