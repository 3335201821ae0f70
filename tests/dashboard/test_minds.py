# SPDX-License-Identifier: Apache-2.0
"""Messages from a hierarchy's memory, and reward terms as the loop itself summed them up."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mtquant.core.config import load_config
from mtquant.core.errors import RunError
from mtquant.core.runs import RunFolder
from mtquant.dashboard import minds
from mtquant.dashboard.accounts import opened
from mtquant.envs.hierarchy import MESSAGE_NAMES, SCALE
from mtquant.paper.ledger import PaperLedger
from mtquant.rewards.compose import TERM_NAMES
from tests.support.councils import Council
from tests.support.long_ledger import MODEL, SYMBOLS, long_ledger
from tests.support.paper import REWARD


def test_messages_come_from_the_hierarchys_memory(long):
    with opened(long.path) as ledger:
        (own,) = minds.messages(ledger).items()
    path, frame = own
    assert path == MODEL
    assert frame.columns.tolist() == [*MESSAGE_NAMES, SCALE]
    assert frame.index.tolist() == list(SYMBOLS)
    np.testing.assert_array_equal(frame[list(MESSAGE_NAMES)], long.walk.messages[-1])
    assert (frame[SCALE] == 0.1).all()


def test_another_policy_has_no_messages(replayed):
    with opened(replayed.path) as ledger:
        assert minds.at_work(ledger) == {"digest of first": "first"}
        assert minds.messages(ledger) == minds.message_history(ledger) == {}


@pytest.mark.parametrize(("last", "columns"), [(None, 240), (200, 240), (None, 2_000)])
def test_the_history_of_messages_is_what_was_said_at_evenly_picked_bars(long, last, columns):
    with opened(long.path) as ledger:
        (own,) = minds.message_history(ledger, last, columns).items()
    path, frames = own
    bars = np.arange(1_500)[-last if last else 0 :]
    assert (path, list(frames)) == (MODEL, [*MESSAGE_NAMES, SCALE])
    for k, name in enumerate(MESSAGE_NAMES):
        rows = np.searchsorted(long.walk.stamps, frames[name].index.as_unit("ns").asi8)
        assert len(rows) == min(columns, len(bars))
        assert rows[[0, -1]].tolist() == bars[[0, -1]].tolist()
        assert set(np.diff(rows)) <= {len(bars) // len(rows), len(bars) // len(rows) + 1}
        assert frames[name].columns.tolist() == list(SYMBOLS)
        np.testing.assert_array_equal(frames[name], long.walk.messages[rows, :, k])


def test_the_last_of_the_history_is_the_memory(tmp_path):
    stage = Council.of(tmp_path)
    loop = stage.open()
    loop.run(30)
    loop.recorder.ledger.close()
    with opened(stage.path) as ledger:
        latest, history = minds.messages(ledger)["first"], minds.message_history(ledger)["first"]
    for name, frame in history.items():
        np.testing.assert_allclose(frame.iloc[-1], latest[name], rtol=1e-6)


def test_bars_in_which_nobody_was_asked_are_unknown(tmp_path):
    path = tmp_path / "paper.sqlite"
    made = long_ledger(path, 40)
    with PaperLedger.open(path) as ledger:
        ledger._connection.execute("DROP TRIGGER decisions_update")
        ledger._connection.execute("UPDATE decisions SET details = '{}' WHERE bar < 10")
        ledger._connection.execute("DROP TRIGGER decisions_delete")
        ledger._connection.execute("DELETE FROM decisions WHERE bar = 20")
    with opened(path) as ledger:
        frame = minds.message_history(ledger)[MODEL]["signal"]
    silent = np.isin(np.arange(40), [*range(10), 20])
    assert frame.index.as_unit("ns").asi8.tolist() == made.stamps.tolist()
    assert np.isnan(frame[silent]).all(axis=None)
    np.testing.assert_array_equal(frame[~silent], made.messages[~silent, :, 0])


def test_reward_terms_are_those_that_the_model_was_paid(replayed):
    with opened(replayed.path) as ledger:
        found, thinned = minds.reward_terms(ledger, REWARD), minds.reward_terms(ledger, REWARD, 9)
    seat = replayed.loop.roster.seats["first"]
    assert found.columns.tolist() == ["growth"]
    assert found["growth"].iloc[-1] == seat._trace[TERM_NAMES.index("growth")]
    assert len(thinned) == 9
    np.testing.assert_array_equal(thinned["growth"], found.loc[thinned.index, "growth"])


def test_the_reward_is_the_trainings(tmp_path):
    config = load_config(None, ["reward.phase_2={growth: 2.0}", "reward.sharpe_window_bars=99"])
    RunFolder.create(tmp_path / "run", config=config, seed=0)
    with pytest.raises(RunError, match="neither a hierarchy nor specialists"):
        minds.reward_of(tmp_path / "run", 252.0)
    manifest = {"phase": 2, "reward_scale": 0.5}
    (tmp_path / "run" / "hierarchy.json").write_text(json.dumps(manifest))
    found = minds.reward_of(tmp_path / "run", 252.0)
    assert found.weights["growth"] == 2.0
    assert (found.scale, found.sharpe_window_bars) == (0.5, 99)
    with pytest.raises(RunError, match=r"card\.json"):
        minds.reward_of(tmp_path / "gone", 252.0)


def test_specialists_are_of_phase_1_and_their_mean_scale_counts(tmp_path):
    RunFolder.create(tmp_path, config=load_config(None), seed=0)
    for name, scale in (("A", 0.01), ("B", 0.03)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "specialist.json").write_text(json.dumps({"reward_scale": scale}))
    found = minds.reward_of(tmp_path, 252.0)
    assert found.scale == pytest.approx(0.02)
    assert found.weights["differential_sharpe"] == 1.0
