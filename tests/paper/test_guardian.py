# SPDX-License-Identifier: Apache-2.0
"""The guard of a live loop: breakers, doubts, halts of people, health of models."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest

from mtquant.core.config import GuardConfig
from mtquant.core.errors import PolicyError
from mtquant.core.paper_config import PaperConfig
from mtquant.paper import alerts as alerts_file
from mtquant.paper.alerts import VARIABLE, Alerts
from mtquant.paper.control import halt_path, last_beat, request, request_halt
from mtquant.paper.guardian import Guardian, Health
from mtquant.paper.reading import answer_to, guard, reader, table
from mtquant.risk.guard import GUARD_ACTIVE, GUARD_HALTED, GUARD_REDUCING
from tests.support.paper import Stage, positions

DAY_NS = 86_400 * 10**9


def guardian(**paper: object) -> Guardian:
    return Guardian(GuardConfig(), PaperConfig(**paper), 100.0, 0)


@pytest.mark.parametrize(
    ("equity", "mode", "scale"),
    [
        (95.5, GUARD_ACTIVE, 1.0),
        (94.9, GUARD_ACTIVE, 0.5),
        (89.9, GUARD_REDUCING, 0.5),
        (84.9, GUARD_HALTED, 0.5),
    ],
)
def test_breakers_at_5_10_and_15_percent(equity, mode, scale):
    own = guardian()
    own.guard = GuardConfig()
    for day, value in enumerate(np.linspace(100.0, equity, 12)):  # slow: no daily loss
        own.see(float(value), day * DAY_NS, 0.0, 0.0)
    assert (own.mode, own.scale) == (mode, scale)


def test_caution_ends_well_above_where_it_began():
    own = guardian()
    scales = []
    for day, equity in enumerate((100.0, 97.0, 94.9, 95.1, 94.9, 95.9, 96.1, 95.1)):
        own.see(equity, day * DAY_NS, 0.0, 0.0)
        scales.append(own.scale)
        again = guardian()
        again.restore(own.state()[0], own.state()[1])
        assert again.cautious == own.cautious
        own = again
    assert scales == [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 1.0, 1.0]


@pytest.mark.parametrize(("equity", "mode"), [(96.9, GUARD_REDUCING), (94.9, GUARD_HALTED)])
def test_a_daily_loss(equity, mode):
    own = guardian()
    own.see(equity, 10, 0.0, 0.0)
    assert own.mode == mode


def test_losses_beyond_the_value_at_risk_in_a_row():
    own = guardian()
    for _ in range(3):
        own.see(99.9, 10, 1.0, 0.0)
    assert own.mode == GUARD_REDUCING
    own.see(99.9, 10, 0.0, 0.0)
    assert own.mode == GUARD_ACTIVE


@pytest.mark.parametrize("equity", [math.nan, 0.0, -5.0])
def test_an_account_that_cannot_be_read_halts(equity):
    own = guardian()
    own.see(equity, 10, 0.0, 0.0)
    own.resume()
    assert own.mode == GUARD_HALTED


def test_a_halt_lasts_and_a_doubt_passes():
    own = guardian()
    own.doubt("an order of unknown fate", True)
    assert own.mode == GUARD_REDUCING
    own.doubt("an order of unknown fate", False)
    assert own.mode == GUARD_ACTIVE
    own.halt("by hand", "person")
    own.see(100.0, 20, 0.0, 0.0)
    assert own.mode == GUARD_HALTED
    own.resume()
    assert own.mode == GUARD_ACTIVE


def test_every_change_is_told_once():
    own = guardian()
    assert own.changed("guard") is None
    own.halt("why", "person")
    change = own.changed("person")
    assert change is not None
    assert (change.before, change.after, change.reasons) == (GUARD_ACTIVE, GUARD_HALTED, ("why",))
    assert own.changed("person") is None


@pytest.mark.parametrize("order", [1.0, -1.0, 5.0, -5.0, 10.0, math.nan, math.inf])
@pytest.mark.parametrize("position", [5.0, -5.0, 0.0])
def test_the_last_look_lets_only_through_what_the_mode_allows(order, position):
    own = guardian()
    own.doubt("a doubt", True)
    shrinks = math.isfinite(order) and abs(position + order) < abs(position)
    same_side = (position + order) * position >= 0.0
    assert own.lets_through(order, position) == (shrinks and same_side)
    own.halt("why", "guard")
    assert not own.lets_through(order, position)


def test_a_guard_goes_on_from_its_state():
    own, other = guardian(), guardian()
    own.see(93.0, 10, 0.0, 0.0)
    own.doubt("x", True)
    own.halt("y", "person")
    arrays, words = own.state()
    other.restore(arrays, json.loads(json.dumps(words)))
    assert (other.mode, other.reasons(), other.scale) == (own.mode, own.reasons(), own.scale)


# --- health of models ---


def health(**paper: object) -> Health:
    return Health(PaperConfig(**paper), np.zeros(10), np.ones(10))


def test_features_outside_the_training_range():
    own = health()
    own.see(np.zeros(10, dtype=np.float32))
    assert not own.outside_range
    values = np.zeros(10, dtype=np.float32)
    values[:3] = 9.0
    own.see(values)
    assert own.outside == pytest.approx(0.3)
    assert own.outside_range


def test_drift_needs_time():
    own = health(drift_bars=50)
    for _ in range(49):
        own.see(np.full(10, 4.0, dtype=np.float32))
    assert not own.has_drifted
    own.see(np.full(10, 4.0, dtype=np.float32))
    assert own.has_drifted


def test_noise_does_not_drift():
    own, draws = health(drift_bars=50), np.random.default_rng(0)
    for _ in range(500):
        own.see(draws.normal(size=10).astype(np.float32))
        assert not own.has_drifted


def test_a_model_that_says_infinity_halts_and_orders_nothing(tmp_path):
    stage = Stage.of(tmp_path)
    loop = stage.open()
    loop.run(2)
    policy, held = stage.policy("first"), positions(loop)
    policy.act = lambda seen, state: (np.array([np.inf, 0.0]), state)  # type: ignore
    loop.run(2)
    assert loop.guardian.mode == GUARD_HALTED
    assert any("the model failed" in reason for reason in loop.guardian.reasons())
    del policy.act
    loop.run(2)
    with reader(stage.path) as connection:
        assert table(connection, "orders")["bar"].max() <= loop.bar - 4
    assert held is not None
    loop.recorder.ledger.close()


@pytest.mark.parametrize("error", [PolicyError("a", "b", "c", "d"), ZeroDivisionError()])
def test_a_model_that_fails_halts(tmp_path, error):
    stage = Stage.of(tmp_path)
    loop = stage.open()

    def fail(seen, state):
        raise error

    stage.policy("first").act = fail  # type: ignore[method-assign]
    loop.run(1)
    assert loop.guardian.mode == GUARD_HALTED
    loop.recorder.ledger.close()


# --- people ---


def test_halt_works_at_once_and_outlives_the_process(tmp_path):
    stage = Stage.of(tmp_path)
    loop = stage.open()
    loop.run(2)
    orders = len(loop.recorder.ledger.ask("SELECT 1 FROM orders"))
    request_halt(stage.path, "lunch")
    loop.run(3)
    assert len(loop.recorder.ledger.ask("SELECT 1 FROM orders")) == orders
    loop.recorder.ledger.close()
    again = stage.open()
    again.run(2)
    assert again.guardian.mode == GUARD_HALTED
    request(stage.path, "resume")
    again.run(5)
    assert again.guardian.mode == GUARD_ACTIVE
    assert len(again.recorder.ledger.ask("SELECT 1 FROM orders")) > orders
    again.recorder.ledger.close()
    with reader(stage.path) as connection:
        changes = table(connection, "guard")
    assert changes["mode_after"].tolist() == [GUARD_HALTED, GUARD_ACTIVE]
    assert "lunch" in changes["reasons"][0]
    assert set(changes["actor"]) == {"person"}


def test_halt_between_commit_and_sending_sends_nothing(tmp_path):
    stage = Stage.of(tmp_path)
    loop = stage.open()
    loop.run(1)
    before = len(loop.broker.placed)
    send = loop.send

    def halted_first() -> None:
        request_halt(stage.path, "now")
        send()

    loop.send = halted_first  # type: ignore[method-assign]
    for _ in range(5):
        loop.run(1)
    assert len(loop.broker.placed) == before
    loop.recorder.ledger.close()


def test_an_older_resume_does_not_end_a_later_halt(tmp_path):
    stage = Stage.of(tmp_path)
    loop = stage.open()
    number = request(stage.path, "resume")
    time.sleep(0.02)
    halt_path(stage.path).write_text("no, wait")
    loop.look_around()
    assert "somebody has halted since" in (answer_to(stage.path, number) or "")
    assert loop.guardian.mode == GUARD_HALTED
    loop.recorder.ledger.close()


def test_halt_needs_no_ledger_that_can_be_written(tmp_path):
    path = tmp_path / "a.sqlite"
    path.write_bytes(b"rubbish")
    request_halt(path, "help")
    assert halt_path(path).read_text() == "help"


def test_flatten_closes_everything_and_stays_flat(tmp_path):
    stage = Stage.of(tmp_path)
    loop = stage.open()
    while not all(positions(loop)):
        loop.run(1)
    number = request(stage.path, "flatten")
    loop.run(8)
    assert positions(loop) == [0.0, 0.0]
    assert loop.guardian.mode == GUARD_HALTED
    assert "closed at the next opens" in (answer_to(stage.path, number) or "")
    loop.recorder.ledger.close()


def test_flatten_while_halted_closes_too(tmp_path):
    stage = Stage.of(tmp_path)
    loop = stage.open()
    while not any(positions(loop)):
        loop.run(1)
    request_halt(stage.path, "first")
    loop.run(1)
    request(stage.path, "flatten")
    loop.run(8)
    assert positions(loop) == [0.0, 0.0]
    loop.recorder.ledger.close()


def test_reconcile_answers(tmp_path):
    stage = Stage.of(tmp_path)
    loop = stage.open()
    loop.run(3)
    number = request(stage.path, "reconcile")
    loop.look_around()
    assert "positions agree" in (answer_to(stage.path, number) or "")
    number = request(stage.path, "dance")
    loop.look_around()
    assert "not a command" in (answer_to(stage.path, number) or "")
    loop.recorder.ledger.close()


def test_a_drawdown_reduces_and_the_ledger_says_why(tmp_path):
    stage = Stage.of(tmp_path, "guard.reduce_drawdown_frac=0.0001", "guard.halt_drawdown_frac=0.9")
    loop = stage.open()
    loop.run(60)
    with reader(stage.path) as connection:
        changes = table(connection, "guard")
        mode, _ = guard(connection)
    assert changes["reasons"].str.contains("drawdown beyond its limit").any()
    assert mode == loop.guardian.mode
    loop.recorder.ledger.close()


def test_too_many_orders_halt(tmp_path):
    stage = Stage.of(tmp_path, "paper.max_orders_per_hour=1")
    loop = stage.open()
    loop.run(10)
    assert "too many orders in an hour" in loop.guardian.reasons()
    loop.recorder.ledger.close()


def test_a_silent_loop_takes_no_new_risk_before_a_fresh_bar(tmp_path):
    stage = Stage.of(tmp_path)
    loop = stage.open()
    loop.run(2)
    loop._turned -= 1_000.0
    loop.look_around()
    assert "the loop was silent for too long" in loop.guardian.reasons()
    assert loop.guardian.mode == GUARD_REDUCING
    loop.run(1)
    assert loop.guardian.mode == GUARD_ACTIVE
    found = last_beat(stage.path)
    assert found is not None
    assert time.time() - found["time"] < 60.0
    loop.recorder.ledger.close()


# --- alerts ---


def test_alerts_reach_file_and_webhook_and_never_show_its_address(tmp_path, monkeypatch, caplog):
    secret = "https://example.test/hook/verysecret"
    monkeypatch.setenv(VARIABLE, secret)
    posted = []

    def post(address: str, body: bytes) -> None:
        posted.append((address, json.loads(body)))
        raise OSError(f"cannot reach {address}")

    alerts = Alerts(tmp_path / "alerts.jsonl", "demo", post)
    alerts.send("critical", "guard halted")
    alerts.close()
    assert posted[0][0] == secret
    assert posted[0][1]["text"] == "guard halted"
    written = (tmp_path / "alerts.jsonl").read_text()
    assert json.loads(written)["level"] == "critical"
    assert "verysecret" not in written + caplog.text


def test_only_http_addresses_are_used(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "file:///etc/passwd")
    posted = []
    alerts = Alerts(tmp_path / "alerts.jsonl", "demo", lambda *sent: posted.append(sent))
    alerts.send("warning", "x")
    alerts.close()
    assert posted == []


def test_an_alert_file_that_cannot_be_written_stops_nothing(tmp_path):
    Alerts(tmp_path / "no" / "such" / "folder", "demo").send("info", "x")
    assert alerts_file.MOST_WAITING > 0
