# SPDX-License-Identifier: Apache-2.0
"""The section ``paper`` of the configuration: how a policy trades on a clock (docs/paper.md)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from mtquant.core.checked import Section

Fraction = Annotated[float, Field(gt=0.0, le=1.0)]


class OandaConfig(Section):
    """OANDA as the broker (docs/oanda.md). Token and account come from the environment alone.

    Attributes:
        environment: ``"practice"``, or ``"live"`` for real money.
        time_in_force: ``"FOK"``: an order is filled whole or not at all; ``"IOC"``: also in part.
        timeout_seconds: How long one request may take.
        most_seconds: How long one question may take, repetitions and pauses included.
        requests_per_second: We ask no faster; OANDA allows 120 to all who share an address.
        doubt_seconds: After a request without an answer, and after a start, an order that OANDA
            does not know yet may still turn up for so long.
    """

    environment: Literal["practice", "live"] = "practice"
    time_in_force: Literal["FOK", "IOC"] = "FOK"
    timeout_seconds: PositiveFloat = 5.0
    most_seconds: PositiveFloat = 10.0
    requests_per_second: Annotated[float, Field(gt=0.0, le=120.0)] = 20.0
    doubt_seconds: NonNegativeFloat = 2.0


class PaperConfig(Section):
    """Paper trading.

    Attributes:
        poll_seconds: Pause between two questions to a polled feed.
        grace_seconds: How long the other instruments' bars of one stamp are waited for.
        max_jump_frac: Move from one close to the next open that is taken for an error until a
            second bar confirms it, as a fraction of the price.
        max_clock_skew_seconds: How far a bar may close in this machine's future, or the clock go
            backwards, before the guard halts.
        settle_seconds: How long a bar waits for answers about its orders before it goes on with
            them unknown.
        order_good_bars: Age of a decision, in bar lengths, up to which its orders may be sent.
        max_orders_per_hour: Orders in one hour of market time beyond which the guard halts.
        on_mismatch: What to do where the broker's positions are not those of the ledger:
            ``"adopt"`` books the difference and alerts, ``"halt"`` books it and halts.
        cash_tolerance_frac: Difference of cash, in units of equity, that is no mismatch.
        caution_drawdown_frac: Fall from the peak of equity from which on targets are scaled down;
            the section ``guard`` holds the two steps after it.
        caution_scale: What they are multiplied by then.
        limit_slack: Held gross exposure and value at risk may be so many times their limits
            before positions may only shrink.
        feature_deviations: Distance from the training mean, in training deviations, from which on a
            feature counts as outside the training range.
        max_outside_frac: Share of features outside it, or drifted, from which on positions may only
            shrink.
        drift_bars: Memory of the running mean of each feature that drift is judged by.
        drift_deviations: Distance of that mean at which a feature has drifted.
        heartbeat_seconds: A loop that was silent for longer counts as dead, and starts again
            without new risk until a fresh bar has come.
        ramp_bars: Bars between two steps of a promoted model's share of the capital.
        ramp_factor: What each step multiplies the share by, up to all of it.
        rollback_drawdown_frac: Fall of equity since a promotion that rolls it back while it ramps.
        snapshot_bars: Bars between two snapshots of the streaming features.
        least_free_mb: Free disk below which the guard halts.
        oanda: Of the broker OANDA.
    """

    poll_seconds: PositiveFloat = 30.0
    grace_seconds: NonNegativeFloat = 5.0
    max_jump_frac: PositiveFloat = 0.2
    max_clock_skew_seconds: PositiveFloat = 5.0
    settle_seconds: PositiveFloat = 10.0
    order_good_bars: PositiveFloat = 1.0
    max_orders_per_hour: PositiveInt = 600
    on_mismatch: Literal["adopt", "halt"] = "adopt"
    cash_tolerance_frac: PositiveFloat = 1e-6
    caution_drawdown_frac: Fraction | None = 0.05
    caution_scale: Fraction = 0.5
    limit_slack: Annotated[float, Field(ge=1.0)] = 1.5
    feature_deviations: PositiveFloat = 8.0
    max_outside_frac: Fraction = 0.2
    drift_bars: PositiveInt = 500
    drift_deviations: PositiveFloat = 3.0
    heartbeat_seconds: PositiveFloat = 120.0
    ramp_bars: PositiveInt = 500
    ramp_factor: Annotated[float, Field(gt=1.0)] = 2.0
    rollback_drawdown_frac: Fraction = 0.05
    snapshot_bars: PositiveInt = 100
    least_free_mb: PositiveInt = 100
    oanda: OandaConfig = OandaConfig()
