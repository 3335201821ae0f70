# SPDX-License-Identifier: Apache-2.0
"""What a hierarchy's specialists said is in the ledger, decision by decision, as it was said."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtquant.core.errors import PolicyError
from mtquant.core.protocols import Speaker
from mtquant.envs.hierarchy import MESSAGE_NAMES, SCALE
from mtquant.paper.control import request
from mtquant.paper.ledger import PaperLedger
from mtquant.paper.messages import COLUMNS, messages_frame, spoken, words_of
from mtquant.paper.reading import export, reader, table
from mtquant.risk.guard import GUARD_HALTED
from tests.support.councils import Council
from tests.support.paper import SYMBOLS, Stage

NAMES = (*MESSAGE_NAMES, SCALE)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Council:
    """A hierarchy that has traded."""
    own = Council.of(tmp_path_factory.mktemp("council"), rows=170)
    loop = own.open()
    loop.run()
    loop.recorder.ledger.close()
    return own


def test_every_decision_holds_what_the_specialists_said(stage):
    with reader(stage.path) as connection:
        (own,) = spoken(connection, len(SYMBOLS))
        decisions = table(connection, "decisions")
    assert (own.path, own.names) == ("first", NAMES)
    assert own.bars.tolist() == decisions["bar"].tolist()
    assert own.stamps.tolist() == decisions["stamp_ns"].tolist()
    np.testing.assert_array_equal(own.figures, stage.figures("first"))
    assert np.ptp(own.figures, axis=0).min() > 0.0


def test_signals_and_exposures_are_what_was_asked_for(stage):
    with reader(stage.path) as connection:
        (own,) = spoken(connection, len(SYMBOLS))
        asked = np.array([np.frombuffer(row) for row in table(connection, "decisions")["asked"]])
    meant = own.figures[:, NAMES.index("signal")] * own.figures[:, NAMES.index(SCALE)]
    np.testing.assert_allclose(meant, asked, atol=1e-6)


def test_a_loop_that_is_restarted_all_the_time_writes_the_same(stage, tmp_path):
    twin = Council.of(tmp_path, rows=170)
    while True:
        loop = twin.open()
        lived = loop.run(most_bars=3)
        loop.recorder.ledger.close()
        if lived < 3:
            break
    assert twin.details() == stage.details()


def test_some_bars_are_some_of_all(stage):
    with reader(stage.path) as connection:
        (whole,) = spoken(connection, len(SYMBOLS))
        (some,) = spoken(connection, len(SYMBOLS), whole.bars[[2, 5, 9]].tolist())
        assert spoken(connection, len(SYMBOLS), []) == []
    assert some.bars.tolist() == whole.bars[[2, 5, 9]].tolist()
    np.testing.assert_array_equal(some.figures, whole.figures[[2, 5, 9]])


def test_the_export_has_a_row_per_decision_and_instrument(stage, tmp_path):
    written = export(stage.path, tmp_path / "out")
    target = tmp_path / "out" / "paper_messages.parquet"
    frame = pd.read_parquet(target)
    assert target in written
    assert list(frame.columns) == ["bar", "stamp_ns", "model", "symbol", *NAMES]
    for n, symbol in enumerate(SYMBOLS):
        rows = frame[frame["symbol"] == symbol]
        np.testing.assert_array_equal(rows[list(NAMES)], stage.figures("first")[:, :, n])


def test_both_models_of_a_ramp_are_heard(tmp_path):
    own = Council.of(tmp_path, "paper.ramp_bars=1000")
    loop = own.open()
    loop.run(3)
    request(own.path, "promote", model="second", capital=0.5)
    loop.run(4)
    loop.recorder.ledger.close()
    with reader(own.path) as connection:
        first, second = spoken(connection, len(SYMBOLS))
    assert (first.path, second.path) == ("first", "second")
    assert len(first.bars) == len(second.bars) + 4  # the opening's decision is one of them
    np.testing.assert_array_equal(second.figures, own.figures("second"))
    assert own.details()[-1]["shares"] == {"first": 0.5, "second": 0.5}


def test_nothing_is_put_into_the_mouth_of_a_model_that_was_not_asked(tmp_path):
    own = Council.of(tmp_path)
    loop = own.open()
    loop.run(3)
    loop.guardian.flattening = True
    loop.decider.plan(np.zeros(len(SYMBOLS)), "", {})
    loop.decider.decide_nothing("stale")
    rows = [values for name, values in loop.recorder._rows if name == "decisions"]
    loop.recorder.ledger.close()
    assert [json.loads(row["details"]).get("messages", {}) for row in rows] == [{}, {}]


def test_a_policy_of_one_piece_and_an_older_ledger_say_nothing(tmp_path):
    own = Stage.of(tmp_path)
    loop = own.open()
    loop.run(2)
    loop.recorder.ledger.close()
    assert not isinstance(own.policy("first"), Speaker)
    with PaperLedger.open(own.path) as ledger, ledger.transaction():
        old = {"asked": b"", "targets": b"", "mode": 0, "seen": "", "stamp_ns": 1}
        ledger.add("decisions", bar=9_999, details='{"shares": {"first": 1.0}}', **old)
    with reader(own.path) as connection:
        said = spoken(connection, len(SYMBOLS))
    assert said == []
    assert messages_frame(said, SYMBOLS).empty


@pytest.mark.parametrize(
    "told", [lambda _: {"signal": np.zeros(5)}, lambda _: {"signal": 0.1}, lambda _: 1 / 0]
)
def test_a_model_that_tells_nonsense_is_halted_as_one_that_fails(tmp_path, told):
    own = Council.of(tmp_path)
    loop = own.open()
    loop.run(2)
    loop.recorder.ledger.close()
    own.told = told
    loop = own.open()
    loop.run(1)
    assert loop.guardian.mode == GUARD_HALTED
    assert loop.guardian.reasons()[0].startswith("the model failed")
    assert own.details()[-1] == {"none": "the model failed"}
    loop.recorder.ledger.close()


def test_figures_of_another_shape_are_refused():
    with pytest.raises(PolicyError, match=r"told\(\) of mine must give figures of shape \(2,\)"):
        words_of("mine", {"signal": np.zeros(2), "value": np.zeros(3)}, 2)
    with pytest.raises(PolicyError, match="must not name"):
        words_of("mine", {"symbol": np.zeros(2)}, 2)


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 5).flatmap(
        lambda n: st.dictionaries(
            st.text(min_size=1).filter(lambda name: name not in COLUMNS),
            st.lists(st.floats(width=32), min_size=n, max_size=n),
            min_size=1,
        )
    )
)
def test_words_keep_every_bit(told):
    arrays = {name: np.array(own, dtype=np.float32) for name, own in told.items()}
    n = len(next(iter(arrays.values())))
    words = json.loads(json.dumps(words_of("mine", arrays, n)))
    connection = SimpleNamespace(
        execute=lambda *_: [(1, 2, json.dumps({"messages": {"a": words}}))]
    )
    (own,) = spoken(connection, n)  # type: ignore[arg-type]
    assert own.names == tuple(told)
    assert own.figures[0].tobytes() == np.array(list(arrays.values())).tobytes()
