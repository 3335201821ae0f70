# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gc
import json
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mtquant.core import outcome as oc
from mtquant.core.errors import CheckpointError
from mtquant.market.ledger import ARRAY_NAMES, Ledger
from tests.support.judges import run_desk
from tests.support.tapes import random_world


def random_ledger(seed=5, **options):
    world = random_world(seed, **options)
    return run_desk(world.tape, world.rules, world.targets, world.cost_scale)


@pytest.fixture
def ledger():
    return random_ledger(rows=30, instruments=3)


@hypothesis_settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_a_ledger_survives_its_files(tmp_path_factory, seed, rows):
    ledger = random_ledger(seed, rows=rows)  # one row: no bar lived through yet
    folder = tmp_path_factory.mktemp("ledger")
    ledger.save(folder)
    loaded = Ledger.load(folder)
    assert loaded.hash() == ledger.hash()
    for name in ARRAY_NAMES:
        assert getattr(loaded, name).dtype == getattr(ledger, name).dtype
        assert getattr(loaded, name).tobytes() == getattr(ledger, name).tobytes()
    assert loaded.symbols == ledger.symbols and loaded.notes == ledger.notes


def test_the_hash_changes_with_every_field(ledger):
    for field in fields(Ledger):
        value = getattr(ledger, field.name)
        if isinstance(value, np.ndarray):
            changed = value.copy()
            changed[-1] += 1
        elif isinstance(value, tuple):
            changed = (*value, value[0] if value else "a note")
        else:
            changed = value + ("x" if isinstance(value, str) else 1.0)
        assert replace(ledger, **{field.name: changed}).hash() != ledger.hash(), field.name


def test_the_readable_copies_say_the_same(ledger, tmp_path):
    ledger.save(tmp_path)
    decisions = pd.read_parquet(tmp_path / "decisions.parquet")
    np.testing.assert_array_equal(decisions.to_numpy(), ledger.outcomes)
    assert list(decisions.columns) == list(oc.OUTCOME_COLUMNS)
    assert decisions.index[0] == pd.Timestamp(ledger.stamps[0], tz="UTC")
    assert len(pd.read_parquet(tmp_path / "fills.parquet")) == len(ledger.fills)


def test_damage_is_named(ledger, tmp_path):
    with pytest.raises(CheckpointError, match="must hold a ledger"):
        Ledger.load(tmp_path)
    ledger.save(tmp_path)
    header = json.loads((tmp_path / "ledger.json").read_text())
    for damage in ({"initial_equity": 1.0}, {"sha256": "0" * 64}, {"name": "another"}):
        (tmp_path / "ledger.json").write_text(json.dumps({**header, **damage}))
        with pytest.raises(CheckpointError, match="must match its sha256"):
            Ledger.load(tmp_path)
    (tmp_path / "ledger.json").write_text(json.dumps(header))
    arrays = dict(np.load(tmp_path / "ledger.npz"))
    arrays["outcomes"][0, 0] += 1e-9
    np.savez(tmp_path / "ledger.npz", **arrays)
    with pytest.raises(CheckpointError, match="must match its sha256"):
        Ledger.load(tmp_path)


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_file_cut_short_is_named(ledger, tmp_path, keep):
    ledger.save(tmp_path)
    whole = (tmp_path / "ledger.npz").read_bytes()
    (tmp_path / "ledger.npz").write_bytes(whole[: int(keep * len(whole))])
    raised = None
    try:
        Ledger.load(tmp_path)
    except Exception as error:  # only its type is kept: the rest would keep the file open
        raised = type(error)
    gc.collect()  # np.load leaves a damaged file open; this is where it is noticed
    assert raised is CheckpointError


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"sha256": "0"}', '{"sha256": "0", "symbols": 3}'],
)
def test_a_header_that_is_none_is_named(ledger, tmp_path, text):
    ledger.save(tmp_path)
    (tmp_path / "ledger.json").write_text(text)
    with pytest.raises(CheckpointError):
        Ledger.load(tmp_path)


def test_fills_in_words(ledger):
    frame = ledger.fills_frame()
    assert list(frame.columns) == [
        "stamp",
        "symbol",
        "origin",
        "wanted",
        "quantity",
        "reference",
        "price",
        "rate",
        "fee",
        "slippage",
        "reason",
    ]
    for words, fill in zip(frame.to_dict("records"), ledger.fills, strict=True):
        assert words["symbol"] == ledger.symbols[int(fill[oc.FILL_INSTRUMENT])]
        assert words["origin"] == oc.ORIGIN_TEXTS[int(fill[oc.FILL_ORIGIN])]
        assert words["reason"] == oc.REASON_TEXTS[int(fill[oc.FILL_REASON])]
        assert words["quantity"] == fill[oc.FILL_QUANTITY]
        if ledger.fill_at == "open":
            row = int(fill[oc.FILL_ROW])
            assert words["stamp"] == ledger.index[row - 1]


def test_columns_go_by_name(ledger):
    assert np.array_equal(ledger.column("growth"), ledger.outcomes[:, oc.GROWTH])
    assert np.array_equal(ledger.equity, ledger.decisions_frame()["equity"].to_numpy())
    assert ledger.index.tz is not None and len(ledger.index) == len(ledger)
