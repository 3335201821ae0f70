# SPDX-License-Identifier: Apache-2.0
"""The switch over kernels and its loop."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.features import kernels
from mtquant.features.catalog import CATALOG, FAMILY_OF, default_name
from mtquant.features.past import BLOCK_ROWS, empty_past
from tests.features.samples import EVERY_KIND, PEER, companion, features_of, pipeline_of
from tests.support.builders import make_bars


@pytest.mark.parametrize("family", range(-1, len(kernels.FAMILIES) + 1))
def test_a_kernel_outside_the_catalogue_is_nan(family: int) -> None:
    past = empty_past(100, 1)
    numbers = (2.0, 2.0, 2.0, 0.0)
    values = kernels.update_feature(family, 99, numbers, 0, past, 60, np.zeros(4))
    assert np.isnan(values).all()


def test_kinds_name_the_kernels_of_their_family() -> None:
    places: dict[tuple[int, int], set[int]] = {}
    for name, kind in CATALOG.items():
        outputs = places.setdefault((FAMILY_OF[name], kind.code), set())
        assert kind.output not in outputs, name
        outputs.add(kind.output)
    for outputs in places.values():
        assert outputs == set(range(len(outputs)))
    # What the issue counts: variants of one computation count once.
    assert len(places) >= 30


def test_any_list_of_features_runs_on_one_compilation() -> None:
    bars = make_bars(n=50)
    for names in (EVERY_KIND, ["hour_sin"], ["rsi_14", "stochastic_5"]):
        pipeline = pipeline_of(names)
        features_of(pipeline, bars)
        pipeline.stream("EURUSD").update(1.0, 1.0, 1.0, 1.0, 0.0, 0, {PEER: 1.0})
    assert len(kernels.run.signatures) == 1
    assert len(kernels.update_feature.signatures) == 1


def test_blocks_leave_no_trace() -> None:
    # Longer than several blocks: the past is full and forgets many times over.
    bars = make_bars(n=3 * BLOCK_ROWS + 7, seed=5, gap=0.001, missing_frac=0.2)
    names = [default_name(kind, PEER) for kind in CATALOG]
    pipeline = pipeline_of(names)
    peer = companion(bars)
    whole = pipeline.compute(bars, [peer])
    for f, name in enumerate(names):
        alone = pipeline_of([name]).compute(bars, [peer])
        assert alone[:, 0].tobytes() == whole[:, f].tobytes(), name
