# SPDX-License-Identifier: Apache-2.0
"""Lengths of time as people write them: ``"15min"``, ``"4h"``, ``"1d"``, ``"1w"``."""

from __future__ import annotations

import re

from mtquant.core.errors import DataError, MtquantError

UNIT_SECONDS = {"min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
PATTERN = re.compile(rf"([1-9][0-9]*)({'|'.join(UNIT_SECONDS)})")


def length_seconds(
    text: str, field: str = "length", error_class: type[MtquantError] = DataError
) -> int:
    """Seconds of a length.

    Args:
        text: A positive whole number and its unit: min, h, d or w.
        field: What the length is of, for the message.
        error_class: What to raise.

    Raises:
        MtquantError: Of `error_class`, where `text` is no length.
    """
    match = PATTERN.fullmatch(text)
    if match is None:
        rule = f"must be a whole number and a unit of {', '.join(UNIT_SECONDS)}"
        raise error_class(field, rule, text, "For example 15min, 4h, 1d or 1w.")
    return int(match[1]) * UNIT_SECONDS[match[2]]


def length_text(seconds: int) -> str:
    """The length of so many seconds as people write it; the inverse of `length_seconds`."""
    for unit, size in reversed(UNIT_SECONDS.items()):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds} s"
