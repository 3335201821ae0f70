# SPDX-License-Identifier: Apache-2.0
"""The layout of observations; `tests/envs/test_market_env.py` checks what stands in them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mtquant.core.lanes import LANES
from mtquant.market.observation import (
    INSTRUMENT_EXTRAS,
    ObservationLayout,
    new_seen,
    observable,
    specialist_view,
    write_observations,
)

counts = st.integers(1, 4)


@given(counts, counts, st.integers(1, 5), st.integers(0, 3))
def test_there_is_one_name_per_entry(instruments, features, window, states):
    layout = ObservationLayout(
        tuple(f"X{n}" for n in range(instruments)),
        tuple(f"f{k}" for k in range(features)),
        window,
        tuple(f"state{k}" for k in range(states)),
    )
    names = layout.names()
    assert len(names) == len(set(names)) == layout.size
    per_name = [name for name in names if name.startswith("X0.")]
    assert len(per_name) == layout.block_size
    # Oldest bar first; the bar just closed has no suffix.
    assert names[features * (window - 1)] == "X0.f0"
    assert names[0] == ("X0.f0" if window == 1 else f"X0.f0[-{window - 1}]")


@given(counts, st.data())
def test_a_specialist_reads_its_own_part_of_a_portfolio(instruments, data):
    symbols = tuple(f"X{n}" for n in range(instruments))
    whole = ObservationLayout(symbols, ("a", "b"), 3, ("state",))
    places = st.lists(st.integers(0, instruments - 1), min_size=1, unique=True)
    own = data.draw(places)
    alone = ObservationLayout(tuple(symbols[n] for n in own), ("a", "b"), 3, ("state",))
    values = np.arange(whole.size, dtype=np.float32)
    view = specialist_view(values, whole.block_size, own, instruments)
    assert tuple(whole.names()[int(k)] for k in view) == alone.names()


def test_what_is_not_known_is_zero():
    features = np.array([[[np.nan, 1.5], [np.inf, -np.inf]]], dtype=np.float32)
    found = observable(features)
    assert found.tolist() == [[[0.0, 1.5], [0.0, 0.0]]]
    assert found.dtype == np.float32 and found.flags["C_CONTIGUOUS"]
    assert np.isnan(features[0, 0, 0])  # the caller's own stay as they were


@given(st.integers(1, LANES), counts, st.integers(1, 40), counts, st.integers(0, 5), st.data())
def test_every_account_gets_its_features_and_its_lane(
    live, instruments, width, window, states, data
):
    layout = ObservationLayout(
        tuple(f"X{n}" for n in range(instruments)),
        tuple(f"f{k}" for k in range(width)),
        window,
        tuple(f"state{k}" for k in range(states)),
    )
    generator = np.random.default_rng(data.draw(st.integers(0, 99)))
    features = generator.standard_normal((30, instruments, width), dtype=np.float32)
    seen = new_seen(layout)
    seen[:] = generator.standard_normal(len(seen), dtype=np.float32)
    rows, first = generator.integers(window - 1, 30, live), data.draw(st.integers(0, 3))
    values = np.zeros((first + live + 1, layout.size), dtype=np.float32)
    write_observations(values, first, live, rows, features, window, seen)
    columns = seen.reshape(-1, LANES)
    for i, row in enumerate(rows):
        blocks = []
        for n in range(instruments):
            own = columns[n * INSTRUMENT_EXTRAS : (n + 1) * INSTRUMENT_EXTRAS, i]
            blocks += [features[row - window + 1 : row + 1, n].ravel(), own]
        shown = columns[instruments * INSTRUMENT_EXTRAS :, i]
        assert np.array_equal(values[first + i], np.concatenate([*blocks, shown]))
    assert not values[:first].any() and not values[first + live :].any()  # nobody else's
