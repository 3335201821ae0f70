# SPDX-License-Identifier: Apache-2.0
"""The third driver is the second: a replayed paper account is the backtest, byte for byte."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.paper.feeds import Replay
from mtquant.paper.orders import UNKNOWN
from mtquant.paper.reading import market_ledger, reader
from mtquant.paper.sim_broker import Faults
from tests.support.paper import Stage

WORLDS: dict[str, tuple[str, ...]] = {
    "default": (),
    "levered, stops": (
        "environment.max_position_size=4",
        "environment.max_gross_exposure=8",
        "environment.max_portfolio_var=0.4",
        "environment.max_correlation_exposure=null",
        "environment.max_sector_allocation=null",
        "environment.stop_loss_pct=0.004",
        "environment.take_profit_pct=0.006",
    ),
    "no risk measured": (
        "environment.max_portfolio_var=null",
        "environment.max_correlation_exposure=null",
    ),
}


@pytest.mark.parametrize("world", WORLDS)
def test_paper_replay_equals_the_backtest_fill_for_fill(tmp_path, world):
    stage = Stage.of(tmp_path, *WORLDS[world])
    loop = stage.open()
    loop.run()
    expected, policy = stage.backtest()
    assert stage.policy("first").seen[: len(policy.seen)] == policy.seen
    with reader(stage.path) as connection:
        ledger = market_ledger(connection)
    assert len(expected.fills) > 20
    np.testing.assert_array_equal(ledger.fills, expected.fills)
    assert ledger.hash() == expected.hash()
    loop.recorder.ledger.close()


@pytest.mark.parametrize("fault", ["lost_request", "lost_answer"])
def test_no_order_is_late_where_every_first_word_is_lost(tmp_path, monkeypatch, fault):
    """What was lost is sent again before the next bar, which may lie behind a pause of the market:
    no order's fate is unknown once all are sent, and the account is the backtest's all the same.
    """
    stage = Stage.of(tmp_path, *WORLDS["levered, stops"])
    loop = stage.open(broker=stage.simulated(Faults(**{fault: 1.0})))
    send, left = loop.send, []

    def watched():
        send()
        left.extend(own for own in loop.dealer.orders.pending.values() if own.status == UNKNOWN)

    monkeypatch.setattr(loop, "send", watched)
    loop.run()
    assert left == []
    expected, _ = stage.backtest()
    with reader(stage.path) as connection:
        ledger = market_ledger(connection)
        lost = connection.execute("SELECT count(*) FROM events WHERE status = 'unknown'").fetchone()
    assert lost[0] > 20
    assert ledger.hash() == expected.hash()
    loop.recorder.ledger.close()


@pytest.mark.parametrize("every", [1, 3, 17])
def test_a_loop_that_is_restarted_all_the_time_is_the_same(tmp_path, every):
    """Account, features, memory, reward, risk and guard all come back from the ledger."""
    stage = Stage.of(tmp_path, *WORLDS["levered, stops"], rows=170)
    while True:
        loop = stage.open()
        lived = loop.run(most_bars=every)
        loop.recorder.ledger.close()
        if lived < every:
            break
    expected, _ = stage.backtest()
    with reader(stage.path) as connection:
        assert market_ledger(connection).hash() == expected.hash()


def test_a_loop_on_a_clock_waits_for_its_bars(tmp_path):
    stage = Stage.of(tmp_path, rows=140)
    slept = []
    # Far slower than a bar is computed, also on a busy machine; nobody really sleeps.
    feed = Replay(stage.bars, bars_per_second=0.02, sleep=slept.append)
    loop = stage.open(feed=feed)
    lived = loop.run(most_bars=3)
    assert lived == 3
    assert slept
    loop.recorder.ledger.close()
