# SPDX-License-Identifier: Apache-2.0
"""Numbers: the float64 of the text, in every notation, and nothing that is none."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.data.importing.numbers import BAD, MISSING, READ, parse_numbers


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_comes_back_to_the_byte(value: float) -> None:
    values, status = parse_numbers([repr(value)])
    assert status[0] == READ
    assert struct.pack("d", values[0]) == struct.pack("d", value)


@given(st.integers(0, 10**12), st.sampled_from([(".", ","), (",", "."), (",", " "), (".", "'")]))
def test_grouped_numbers(number: int, marks: tuple[str, str]) -> None:
    decimal, thousands = marks
    text = f"{number:,}.25".replace(",", "t").replace(".", decimal).replace("t", thousands)
    values, status = parse_numbers([text], decimal, thousands)
    assert (values[0], status[0]) == (number + 0.25, READ)


@pytest.mark.parametrize("text", ["", "NaN", "nan", "NULL", "None", "n/a", "-"])
def test_words_for_missing(text: str) -> None:
    assert parse_numbers([text])[1][0] == MISSING


@pytest.mark.parametrize(
    "text",
    ["1,5", "1_000", "inf", "-Infinity", "0x10", "1e999", "1.2.3", "1 2", "١٢", "+", ".", "e5"],
)
def test_everything_else_is_bad(text: str) -> None:
    assert parse_numbers([text])[1][0] == BAD


@pytest.mark.parametrize("text", ["1,23", "12,34,567", "1,2345", ",123"])
def test_wrong_groups_are_bad(text: str) -> None:
    assert parse_numbers([text], ".", ",")[1][0] == BAD
