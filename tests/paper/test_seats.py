# SPDX-License-Identifier: Apache-2.0
"""Gradual rollout: shares of the capital, ramps, rollbacks, all in the ledger."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from mtquant.core.errors import CheckpointError, PolicyError, RunError
from mtquant.features.timeframes import TimeframePipeline
from mtquant.paper.control import request
from mtquant.paper.memory import pack_arrays, pack_state, unpack_arrays, unpack_state
from mtquant.paper.reading import answer_to, market_ledger, reader, table
from mtquant.paper.seats import Rollout, mixture
from tests.support.paper import Stage

NAN = np.nan


def rows(stage: Stage) -> list[tuple[str, str, float]]:
    with reader(stage.path) as connection:
        models = table(connection, "models")
    return list(zip(models["verb"], models["path"], models["capital"], strict=True))


def test_a_mixture_of_one_is_that_one():
    asked = np.array([0.1, NAN])
    assert mixture([asked], [1.0], np.array([0.3, 0.3])).tobytes() == asked.tobytes()


def test_a_mixture_shares_the_capital():
    held = np.array([0.5, 0.5, 0.5])
    first, second = np.array([1.0, NAN, NAN]), np.array([0.0, 0.1, NAN])
    mixed = mixture([first, second], [0.75, 0.25], held)
    np.testing.assert_allclose(mixed, [0.75, 0.75 * 0.5 + 0.25 * 0.1, NAN])


def test_what_nobody_has_is_cash():
    np.testing.assert_allclose(mixture([np.array([1.0])], [0.1], np.array([0.0])), [0.1])


def test_a_promoted_model_ramps_up_by_rule(tmp_path):
    stage = Stage.of(tmp_path, "paper.ramp_bars=5", "paper.ramp_factor=2")
    loop = stage.open()
    loop.run(3)
    number = request(stage.path, "promote", model="second", capital=0.2)
    loop.run(30)
    loop.recorder.ledger.close()
    assert "20% of the capital" in (answer_to(stage.path, number) or "")
    shares = [(verb, round(capital, 3)) for verb, path, capital in rows(stage)[1:]]
    assert shares == [("promote", 0.2), ("ramp", 0.4), ("ramp", 0.8), ("ramp", 1.0)]
    assert loop.roster.rollout.current == "second"
    assert loop.roster.rollout.previous == "first"
    assert list(loop.roster.seats) == ["second"]


def test_a_new_model_has_seen_everything_that_it_would_have(tmp_path):
    """Promoted late, it sees the bytes that a backtest of it sees at that bar."""
    stage = Stage.of(tmp_path)
    loop = stage.open()
    loop.run(9)
    seen = loop.roster.seats["first"].eyes.state()
    request(stage.path, "promote", model="second", capital=1.0)
    loop.look_around()
    assert loop.roster.seats["second"].eyes.state() == seen
    loop.recorder.ledger.close()


def test_rollback_returns_to_the_model_before(tmp_path):
    stage = Stage.of(tmp_path)
    loop = stage.open()
    for verb, more in (
        ("promote", {"model": "second", "capital": 0.5}),
        ("rollback", {}),
        ("promote", {"model": "third", "capital": 1.0}),
        ("rollback", {}),
    ):
        loop.run(2)
        request(stage.path, verb, **more)
    loop.run(2)
    loop.recorder.ledger.close()
    assert [verb for verb, _, _ in rows(stage)] == [
        "promote",
        "promote",
        "rollback",
        "promote",
        "rollback",
    ]
    assert loop.roster.rollout.paths == ("first",)


def test_a_fall_of_equity_rolls_back(tmp_path):
    stage = Stage.of(tmp_path, "paper.rollback_drawdown_frac=0.00001", "paper.ramp_bars=1000")
    loop = stage.open()
    loop.run(2)
    request(stage.path, "promote", model="second", capital=0.5)
    loop.run(40)
    loop.recorder.ledger.close()
    assert rows(stage)[-1][0] == "rollback"
    assert loop.roster.rollout.paths == ("first",)


def test_what_cannot_be_promoted_changes_nothing(tmp_path):
    stage = Stage.of(tmp_path)
    loop = stage.open()
    answers = []
    for verb, more in (
        ("promote", {"model": "second", "capital": 1.5}),
        ("promote", {"model": "second", "capital": 0.5}),
        ("promote", {"model": "third", "capital": 0.5}),
        ("promote", {"model": "first", "capital": 0.5}),
    ):
        answers.append(request(stage.path, verb, **more))
    loop.look_around()
    texts = [answer_to(stage.path, number) or "" for number in answers]
    assert "must lie in (0, 1]" in texts[0]
    assert "still ramping up" in texts[2]
    assert "trades already" in texts[3]
    assert loop.roster.rollout.candidate == "second"
    loop.recorder.ledger.close()


def test_a_model_whose_features_are_not_known_yet_is_not_promoted(tmp_path):
    stage = Stage.of(tmp_path)
    loop = stage.open()
    loop.run(2)
    own = loop.roster.models

    def slow(path: str):
        model = own(path)
        names = ("log_return_1", "zscore_50@4h")  # 200 hours; the ledger has 133
        pipeline = TimeframePipeline(names)
        model.policy.feature_names = pipeline.panel_names
        return type(model)(path, model.digest, model.policy, pipeline, model.reward)

    loop.roster.models = slow
    number = request(stage.path, "promote", model="second", capital=0.5)
    loop.look_around()
    assert "not known yet" in (answer_to(stage.path, number) or "")
    assert tuple(loop.roster.seats) == ("first",)
    loop.recorder.ledger.close()


def test_a_rollback_to_what_is_gone_changes_nothing(tmp_path):
    """Nor does one to other weights under the old name; the ledger opens again afterwards."""
    stage = Stage.of(tmp_path)
    loop = stage.open()
    loop.run(2)
    request(stage.path, "promote", model="second", capital=1.0)
    loop.run(2)
    own = loop.roster.models

    def changed(path: str):
        model = own(path)
        return type(model)(path, "retrained in place", model.policy, model.pipeline, model.reward)

    def gone(path: str):
        raise CheckpointError(path, "must be there", None, "Put it back.")

    for models, said in ((gone, "must be there"), (changed, "must be the model that was promoted")):
        loop.roster.models = models
        number = request(stage.path, "rollback")
        loop.look_around()
        assert f"refused: {said}" in (answer_to(stage.path, number) or "").replace("first ", "")
        assert loop.roster.rollout.paths == tuple(loop.roster.seats) == ("second",)
    loop.roster.models = own
    loop.run(2)
    loop.recorder.ledger.close()
    assert [verb for verb, _, _ in rows(stage)] == ["promote", "promote"]
    again = stage.open()
    assert again.roster.rollout.paths == ("second",)
    again.recorder.ledger.close()


def test_a_model_that_was_exchanged_is_refused(tmp_path):
    stage = Stage.of(tmp_path)
    loop = stage.open()
    loop.recorder.ledger.close()
    model = stage.model

    def other(path: str):
        own = model(path)
        return type(own)(own.path, "another digest", own.policy, own.pipeline, own.reward)

    stage.model = other  # type: ignore[method-assign]
    with pytest.raises(RunError, match="must be the model that was promoted"):
        stage.open()


def _promoting(folder: Path) -> None:
    """Promotes and rolls back every few bars, for ever shorter lives."""
    stage = Stage.of(folder, "paper.ramp_bars=3", rows=220)
    loop = stage.open()
    while True:
        verb = "rollback" if loop.roster.rollout.candidate else "promote"
        if loop.bar % 6 == 0:
            request(stage.path, verb, model=f"model-{loop.bar}", capital=0.3)
        if not loop.run(1):
            break
    loop.recorder.ledger.close()


def test_promotions_survive_kill_9(tmp_path):
    """However often it is killed: rows and models agree, and the ledger's chain is whole."""
    draws, kills = np.random.default_rng(0), 0
    context = multiprocessing.get_context("fork")
    for _ in range(60):
        process = context.Process(target=_promoting, args=(tmp_path,))
        process.start()
        process.join(float(draws.uniform(0.05, 0.35)))
        if process.exitcode is None:
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
            kills += 1
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
    stage = Stage.of(tmp_path, "paper.ramp_bars=3", rows=220)
    loop = stage.open()
    folded = Rollout()
    for verb, path, digest, capital, bar in loop.recorder.ledger.ask(
        "SELECT verb, path, digest, capital, bar FROM models ORDER BY id"
    ):
        assert not folded.refuses(verb, path, capital) or folded.current is None
        folded.apply(verb, path, digest, capital, bar)
    assert loop.roster.rollout.paths == folded.paths == tuple(loop.roster.seats)
    answered = loop.recorder.ledger.ask("SELECT count(*) FROM answers")[0][0]
    asked = loop.recorder.ledger.ask("SELECT count(*) FROM commands")[0][0]
    assert answered == asked
    loop.recorder.ledger.close()
    with reader(stage.path) as connection:
        ledger = market_ledger(connection)
        trades = table(connection, "fills")["trade_id"]
    assert kills > 3
    assert trades.is_unique
    held = np.zeros(2)
    for fill in ledger.fills:
        held[int(fill[1])] += fill[4]
    np.testing.assert_allclose(held, ledger.positions[-1], atol=1e-6)


# --- states as bytes ---


class Pair(NamedTuple):
    left: np.ndarray
    right: int


@pytest.mark.parametrize(
    "state",
    [
        None,
        3,
        0.1,
        "text",
        (1, 2.5, None),
        [np.arange(3), {"a": np.float32(0.1)}],
        Pair(np.arange(6, dtype=np.float32).reshape(2, 3), 4),
        {"nested": (Pair(np.zeros(0), 1), [True, float("nan")])},
    ],
)
def test_states_come_back_as_they_were(state):
    again = unpack_state(pack_state(state), state)
    assert repr(again) == repr(state)
    assert type(again) is type(state)
    assert pack_state(again) == pack_state(state)


@pytest.mark.parametrize("state", [object(), {1: 2}, np.array([object()])])
def test_what_cannot_be_kept_is_refused(state):
    with pytest.raises(PolicyError, match="state of the policy must be made of"):
        pack_state(state)


def test_arrays_come_back_as_they_were():
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.zeros(0, dtype=np.uint8)}
    again = unpack_arrays(pack_arrays(arrays))
    for name, own in arrays.items():
        assert again[name].dtype == own.dtype
        np.testing.assert_array_equal(again[name], own)
