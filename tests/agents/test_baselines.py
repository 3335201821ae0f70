# SPDX-License-Identifier: Apache-2.0
"""What a policy has to beat: each baseline against hand computation, through the desk."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.agents.baselines import (
    BuyAndHold,
    Cash,
    Chance,
    EqualWeight,
    InverseVolatility,
    MinimumVariance,
    Momentum,
    RiskParity,
    baselines,
    inverse_volatility_weights,
    observed,
    observed_past,
)
from mtquant.agents.covariance_weights import minimum_variance_weights, risk_parity_weights
from mtquant.core import outcome as oc
from mtquant.core.errors import PolicyError
from mtquant.core.protocols import Observation, Policy
from mtquant.risk.dependence import shrunk_covariance
from tests.support.builders import make_bars
from tests.support.markets import DAY, Portfolio

FREE = (
    "environment.cost_model=flat",
    "environment.transaction_cost=0.0",
    "environment.stop_loss_pct=0",
    "environment.max_position_size=0.9",
    "environment.max_sector_allocation=null",
    "environment.max_correlation_exposure=null",
    "environment.max_portfolio_var=null",
)
PAIR = [make_bars(symbol, 200, seed, DAY) for seed, symbol in enumerate(("EURUSD", "GBPUSD"))]


def observation(values: dict[str, float], day: str = "2020-01-06") -> Observation:
    """Of A and B, with the given entries."""
    stamp = int(np.datetime64(day, "ns").astype(np.int64))
    numbers = np.array(list(values.values()), dtype=np.float32)
    return Observation(numbers, stamp, ("A", "B"), tuple(values))


def test_observed_is_the_latest_bar_of_each_instrument() -> None:
    seen = observation({"A.x[-1]": 1.0, "A.x": 2.0, "B.x[-1]": 3.0, "B.x": 4.0})
    assert observed(seen, "x").tolist() == [2.0, 4.0]
    with pytest.raises(PolicyError, match="must hold y"):
        observed(seen, "y")


def test_the_past_is_oldest_first() -> None:
    block = {"x[-2]": 1.0, "y[-2]": 9.0, "x[-1]": 2.0, "y[-1]": 9.0, "x": 3.0, "y": 9.0, "z": 7.0}
    values = {f"A.{name}": value for name, value in block.items()}
    values |= {f"B.{name}": -value for name, value in block.items()}
    past = observed_past(observation(values), "x", 3)
    assert past.tolist() == [[1.0, -1.0], [2.0, -2.0], [3.0, -3.0]]
    assert observed_past(observation(values), "x", 2).tolist() == past[1:].tolist()


def test_weights_by_hand() -> None:
    # 1 / volatility is 100 and 50: two thirds and one third of a gross cap of 1.
    volatility = np.array([0.01, 0.02])
    np.testing.assert_allclose(inverse_volatility_weights(volatility, 1.0, 1.0), [2 / 3, 1 / 3])
    # A name cap of 0.5 holds the first, and the second keeps half of it.
    np.testing.assert_allclose(inverse_volatility_weights(volatility, 0.5, 1.0), [0.5, 0.25])
    np.testing.assert_allclose(inverse_volatility_weights(volatility, 1.0, 0.3), [0.2, 0.1])


def test_unknown_volatility_weighs_nothing() -> None:
    weights = inverse_volatility_weights(np.array([0.0, 0.02]), 0.9, 1.0)
    assert weights.tolist() == [0.0, 0.9]
    assert inverse_volatility_weights(np.zeros(2), 0.9, 1.0).tolist() == [0.0, 0.0]


def test_cash_never_trades() -> None:
    ledger = Portfolio.build(PAIR).run(Cash())
    assert len(ledger.fills) == 0
    assert set(ledger.equity) == {100_000.0}


def test_buy_and_hold_is_one_purchase_each() -> None:
    portfolio = Portfolio.build(PAIR, *FREE)
    ledger = portfolio.run(BuyAndHold(0.9, 1.0))
    fills = ledger.fills_frame()
    assert fills["symbol"].tolist() == ["EURUSD", "GBPUSD"]
    # Half of 100,000 each, at the close of bar 0, in lots of 100 units (config/instruments.yaml);
    # filled at the open of bar 1.
    equity = 100_000.0
    units = [np.floor(0.5 * equity / (bars.close[0] * 100.0)) * 100.0 for bars in PAIR]
    assert fills["quantity"].tolist() == units
    gains = sum(q * (bars.close[1:] - bars.open[1]) for q, bars in zip(units, PAIR, strict=True))
    np.testing.assert_allclose(ledger.equity, equity + gains, rtol=1e-12)


def test_buy_and_hold_waits_for_an_instruments_first_bar() -> None:
    late = PAIR[1].rows(slice(50, 200))
    # A gross cap of 2: the second purchase does not trim the first, which may have grown.
    portfolio = Portfolio.build([PAIR[0], late], *FREE, "environment.max_gross_exposure=2")
    fills = portfolio.run(BuyAndHold(0.9, 1.0)).fills
    assert fills[:, oc.FILL_INSTRUMENT].tolist() == [0.0, 1.0]
    # Decided at the first bar of each (rows 0 and 50), filled on the next.
    assert fills[:, oc.FILL_ROW].tolist() == [1.0, 51.0]


def test_buy_and_hold_asks_until_the_risk_is_known() -> None:
    """A limit on VaR allows no exposure to what has had fewer than 20 returns of its own."""
    late = PAIR[1].rows(slice(50, 200))
    limits = ("environment.max_gross_exposure=2", "environment.max_portfolio_var=0.5")
    ledger = Portfolio.build([PAIR[0], late], *FREE, *limits).run(BuyAndHold(0.9, 1.0))
    assert ledger.fills[:, oc.FILL_INSTRUMENT].tolist() == [0.0, 1.0]
    # The 20th return is known at the close of rows 20 and 70; the order fills on the next.
    assert ledger.fills[:, oc.FILL_ROW].tolist() == [21.0, 71.0]
    unknown = ledger.column("binding").astype(int) & oc.LIMIT_UNKNOWN > 0
    assert unknown[:70].all() and not unknown[70:].any()


def test_buy_and_hold_is_trimmed_by_the_name_cap_alone() -> None:
    """The first purchase aside, all that happens are sales of what grew past the cap."""
    ledger = Portfolio.build(PAIR, *FREE, "environment.max_position_size=0.4").run(
        BuyAndHold(0.4, 1.0)
    )
    later = ledger.fills[2:]
    assert len(later) > 0
    assert (later[:, oc.FILL_QUANTITY] < 0.0).all()
    assert np.all(ledger.column("binding")[later[:, oc.FILL_ROW].astype(int) - 1] == oc.LIMIT_NAME)


def test_monthly_baselines_decide_on_the_first_bar_of_a_month() -> None:
    for policy in (
        EqualWeight(0.9, 1.0),
        InverseVolatility(0.9, 1.0, 20),
        Momentum(0.9, 1.0, 20, lookback_bars=30),
        MinimumVariance(0.9, 1.0, 20),
        RiskParity(0.9, 1.0, 20),
    ):
        assert isinstance(policy, Policy)
        ledger = Portfolio.build(PAIR, *FREE).run(policy, slice(30, 200))
        decided = np.isfinite(ledger.targets).all(axis=1)
        assert (decided == np.isfinite(ledger.targets).any(axis=1)).all()
        # The decision was taken at the close of the bar before the row that it is booked on.
        months = PAIR[0].stamps[30:199].astype("datetime64[ns]").astype("datetime64[M]")
        first = np.concatenate([[True], months[1:] != months[:-1]])
        assert decided.tolist() == first.tolist()


def test_monthly_exposures_are_the_weights() -> None:
    portfolio = Portfolio.build(PAIR, *FREE)
    ledger = portfolio.run(InverseVolatility(0.9, 1.0, 20), slice(30, 60))
    # ddof 1 over the last 20 log returns (docs/features.md), float32 in the observation.
    volatility = np.array([np.std(np.diff(np.log(b.close[10:31])), ddof=1) for b in PAIR])
    weights = (1.0 / volatility) / (1.0 / volatility).sum()
    np.testing.assert_allclose(ledger.targets[0], weights, rtol=1e-6)


def test_momentum_follows_the_sign_of_the_return() -> None:
    policy = Momentum(0.6, 1.0, 60)
    values = {"A.volatility_60": 0.01, "A.log_return_120": 0.1}
    values |= {"B.volatility_60": 0.02, "B.log_return_120": -0.1}
    booked = {"A.tradable": 1.0, "B.tradable": 1.0, "A.exposure": 0.6, "B.exposure": -0.3}
    values |= booked
    targets, month = policy.act(observation(values), policy.initial_state())
    # Weights 0.6 and 0.3 (1 / volatility is 100 and 50, the name cap holds the first).
    np.testing.assert_allclose(targets, [0.6, -0.3], rtol=1e-6)
    targets, month = policy.act(observation(values, "2020-01-31"), month)
    assert np.isnan(targets).all()
    values |= {"A.log_return_120": -1e-6, "B.log_return_120": 0.0}
    targets, _ = policy.act(observation(values, "2020-02-01"), month)
    np.testing.assert_allclose(targets, [-0.6, 0.0], rtol=1e-6)


def test_an_order_is_asked_for_until_its_market_has_answered() -> None:
    """A refused order of a closed market would otherwise be lost for a month, or for good."""
    policy = BuyAndHold(0.4, 1.0)
    shut = {"A.tradable": 1.0, "B.tradable": 0.0, "A.exposure": 0.0, "B.exposure": 0.0}
    targets, state = policy.act(observation(shut), policy.initial_state())
    assert targets.tolist() == [0.4, 0.4]
    targets, state = policy.act(observation({**shut, "A.exposure": 0.4}), state)
    np.testing.assert_array_equal(targets, [np.nan, 0.4])
    # B has a bar, but it was its first: there was no price to order at before it.
    opened = {**shut, "A.exposure": 0.4, "B.tradable": 1.0}
    targets, state = policy.act(observation(opened), state)
    np.testing.assert_array_equal(targets, [np.nan, 0.4])
    targets, _ = policy.act(observation({**opened, "B.exposure": 0.4}), state)
    assert np.isnan(targets).all()


def test_covariance_books_are_the_weights_of_the_window() -> None:
    portfolio = Portfolio.build(PAIR, *FREE)
    # The last 20 log returns of both at row 30, float32 in the observation.
    returns = np.column_stack([np.diff(np.log(bars.close[10:31])) for bars in PAIR])
    covariance = shrunk_covariance(returns, "ledoit_wolf")
    for policy, weights in (
        (MinimumVariance(1.0, 1.0, 20), minimum_variance_weights(covariance)),
        (RiskParity(1.0, 1.0, 20), risk_parity_weights(covariance)),
    ):
        assert weights.min() > 0.0 and weights.max() < 0.9
        targets = portfolio.run(policy, slice(30, 60)).targets[0]
        np.testing.assert_allclose(targets, weights, rtol=1e-5)


def test_a_return_shown_again_counts_once() -> None:
    """GBPUSD has every second bar; on the rows between, the panel repeats its last return."""
    rare = PAIR[1].rows(np.arange(0, 200, 2))
    policy = RiskParity(1.0, 1.0, 20)
    portfolio = Portfolio.build([PAIR[0], rare], *FREE)
    returns = np.zeros((20, 2))
    returns[:, 0] = np.diff(np.log(PAIR[0].close[10:31]))
    returns[1::2, 1] = np.diff(np.log(rare.close[5:16]))
    expected = risk_parity_weights(shrunk_covariance(returns, "ledoit_wolf"))
    targets = portfolio.run(policy, slice(30, 60)).targets[0]
    np.testing.assert_allclose(targets, expected, rtol=1e-5)


@pytest.mark.parametrize("turnover", [0.02, 0.2])
def test_chance_trades_as_much_as_asked(turnover: float) -> None:
    # 400 bars with a draw on 6 or 60 % of them: a draw varies by half of its mean.
    bars = [make_bars(symbol, 401, seed, DAY) for seed, symbol in enumerate(("EURUSD", "GBPUSD"))]
    policy = Chance.matching(turnover, 2, 0.5, 1.0, seed=3)
    assert policy.chance == pytest.approx(turnover / (2 * 2 * 0.5 / 3))
    ledger = Portfolio.build(bars, *FREE).run(policy)
    assert ledger.column("turnover").mean() == pytest.approx(turnover, rel=0.35)
    again = Portfolio.build(bars, *FREE).run(policy)
    assert again.hash() == ledger.hash()
    other = Portfolio.build(bars, *FREE).run(Chance.matching(turnover, 2, 0.5, 1.0, seed=4))
    assert other.hash() != ledger.hash()


def test_chance_of_a_policy_that_does_not_trade_is_cash() -> None:
    policy = Chance.matching(0.0, 2, 0.5, 1.0, seed=3)
    assert len(Portfolio.build(PAIR).run(policy).fills) == 0
    assert Chance.matching(9.0, 2, 0.5, 1.0, seed=3).chance == 1.0


def test_equal_weight_is_rebalanced() -> None:
    ledger = Portfolio.build(PAIR, *FREE).run(EqualWeight(0.9, 1.0))
    decided = np.isfinite(ledger.targets).all(axis=1)
    assert (ledger.targets[decided] == 0.5).all()
    assert len(ledger.fills) > 2


def test_windows_count_days() -> None:
    daily, hourly = baselines(1, 0.1, 1.0), baselines(24, 0.1, 1.0)
    names = ["cash", "buy and hold", "equal weight", "inverse volatility", "momentum"]
    names += ["minimum variance", "risk parity"]
    assert [policy.name for policy in daily] == [policy.name for policy in hourly] == names
    assert all(isinstance(policy, Policy) for policy in daily)
    by_day, by_hour = (dict(zip(names, found, strict=True)) for found in (daily, hourly))
    assert by_day["momentum"].feature_names == ("volatility_60", "log_return_120")
    # 60 and 120 days of 24 bars.
    assert by_hour["momentum"].feature_names == ("volatility_1440", "log_return_2880")
    assert by_hour["inverse volatility"].feature_names == ("volatility_1440",)
    assert by_hour["risk parity"].window_bars == by_hour["minimum variance"].window_bars == 1440
