# SPDX-License-Identifier: Apache-2.0
"""Learning rates and costs become what they say."""

from __future__ import annotations

from mtquant.learning.schedules import charged_at, rate_at


def test_linear_falls_to_nothing_and_stays_there() -> None:
    assert [rate_at(0.4, "linear", done) for done in (0.0, 0.5, 1.0, 1.2)] == [0.4, 0.2, 0.0, 0.0]


def test_constant_stays() -> None:
    assert [rate_at(0.4, "constant", done) for done in (0.0, 1.0)] == [0.4, 0.4]


def test_costs_become_what_they_are() -> None:
    assert [charged_at(0.0, 0.5, done) for done in (0.0, 0.25, 0.5, 1.1)] == [0.0, 0.5, 1.0, 1.0]
    assert [charged_at(2.0, 1.0, done) for done in (0.0, 0.25, 0.5, 1.1)] == [2.0, 1.75, 1.5, 1.0]
    assert [charged_at(3.0, 0.0, done) for done in (0.0, 1.0)] == [1.0, 1.0]
