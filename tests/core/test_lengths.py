# SPDX-License-Identifier: Apache-2.0
"""Lengths of time as people write them."""

from __future__ import annotations

import pytest

from mtquant.core.errors import ConfigError, DataError
from mtquant.core.lengths import length_seconds


def test_lengths() -> None:
    texts = {"1min": 60, "15min": 900, "4h": 14_400, "1d": 86_400, "2w": 1_209_600}
    assert {text: length_seconds(text) for text in texts} == texts


@pytest.mark.parametrize("text", ["", "4", "h", "0h", "04h", "4H", "-4h", "1.5h", "4 h", "4h\n"])
def test_what_is_no_length_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="length must be a whole number and a unit of min, h, d, w"):
        length_seconds(text)
    with pytest.raises(ConfigError, match=r"data\.bar must be"):
        length_seconds(text, "data.bar", ConfigError)
