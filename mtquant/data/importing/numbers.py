# SPDX-License-Identifier: Apache-2.0
"""Numbers as files write them: decimal commas, grouped thousands, words for "missing"."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

READ, MISSING, BAD = 0, 1, 2
WORDS_FOR_MISSING = frozenset(("", "nan", "null", "none", "na", "n/a", "#n/a", "-", "?"))


def parse_numbers(
    texts: Sequence[str], decimal: str = ".", thousands: str | None = None
) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """The float64 nearest to each text, and whether it is one.

    Args:
        texts: R texts, without space around them.
        decimal: The decimal mark.
        thousands: The mark between groups of three digits, if any.

    Returns:
        float64 [R], NaN where there is no number, and int8 [R]: `READ`, `MISSING` (a word for it)
        or `BAD` (anything else, a number beyond float64 included).
    """
    mark = re.escape(decimal)
    whole = r"[0-9]+"
    if thousands is not None:
        whole = rf"(?:[0-9]{{1,3}}(?:{re.escape(thousands)}[0-9]{{3}})+|[0-9]+)"
    pattern = re.compile(rf"[+-]?(?:{whole}(?:{mark}[0-9]*)?|{mark}[0-9]+)(?:[eE][+-]?[0-9]+)?")
    values = np.full(len(texts), np.nan)
    status = np.zeros(len(texts), dtype=np.int8)
    for row, text in enumerate(texts):
        if pattern.fullmatch(text):
            # Python reads a text to the nearest float64, whatever its length.
            plain = text if thousands is None else text.replace(thousands, "")
            value = float(plain if decimal == "." else plain.replace(decimal, "."))
            if math.isfinite(value):
                values[row] = value
            else:
                status[row] = BAD
        else:
            status[row] = MISSING if text.lower() in WORDS_FOR_MISSING else BAD
    return values, status
