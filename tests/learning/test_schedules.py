# SPDX-License-Identifier: Apache-2.0
"""Learning rates fall as they say."""

from __future__ import annotations

from mtquant.learning.schedules import rate_at


def test_linear_falls_to_nothing_and_stays_there() -> None:
    assert [rate_at(0.4, "linear", done) for done in (0.0, 0.5, 1.0, 1.2)] == [0.4, 0.2, 0.0, 0.0]


def test_constant_stays() -> None:
    assert [rate_at(0.4, "constant", done) for done in (0.0, 1.0)] == [0.4, 0.4]
