# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pickle

import pytest

from mtquant.core import errors
from mtquant.core.errors import ConfigError, MtquantError

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, MtquantError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_says_four_things_and_survives_a_process_border(kind):
    error = kind("training.seed", "must not be negative", -1, "Use 7.")
    assert str(error) == "training.seed must not be negative; found -1. Use 7."
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (again.field, again.rule, again.found, again.remedy) == (
        *("training.seed", "must not be negative", -1, "Use 7."),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_tree_at_the_head_of_the_file_is_complete(kind):
    assert kind.__name__ in errors.__doc__


def test_a_long_value_is_cut():
    # 200 characters of the value, as the class says; the attribute keeps it whole.
    error = ConfigError("a", "must be short", "x" * 1000, "Cut it.")
    assert "x" * 196 + "..." in str(error) and "x" * 197 not in str(error)
    assert len(error.found) == 1000
