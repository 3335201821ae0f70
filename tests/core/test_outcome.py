# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from mtquant.core import outcome


@pytest.mark.parametrize(
    ("columns", "prefix"), [("OUTCOME_COLUMNS", ""), ("FILL_COLUMNS", "FILL_")]
)
def test_constants_are_the_positions_of_their_columns(columns, prefix):
    for position, name in enumerate(getattr(outcome, columns)):
        assert getattr(outcome, f"{prefix}{name.upper()}") == position


@pytest.mark.parametrize("family", ["STATUS", "LIMIT", "ORIGIN", "REASON"])
def test_every_code_has_one_text(family):
    codes = {
        value
        for name, value in vars(outcome).items()
        if name.startswith(f"{family}_") and isinstance(value, int)
    }
    texts = getattr(outcome, f"{family}_TEXTS")
    assert set(texts) == codes
    assert len(set(texts.values())) == len(texts)


def test_limits_are_bits():
    assert all(code & (code - 1) == 0 < code for code in outcome.LIMIT_TEXTS)


def test_the_docstring_explains_every_column():
    assert [name for name in outcome.OUTCOME_COLUMNS if name not in outcome.__doc__] == []
