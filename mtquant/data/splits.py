# SPDX-License-Identifier: Apache-2.0
"""Training, validation and test: one set of calendar cuts for all instruments.

Cutting each instrument by its own row count would let one instrument's test days teach another's
training. Source for purge and embargo: M. Lopez de Prado, Advances in Financial Machine Learning
(2018), chapter 7, sections 7.4.1 and 7.4.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import DataError
from mtquant.data.bars import NANOSECONDS, stamp_text

# A return needs two closes.
MIN_BARS = 2


@dataclass(frozen=True)
class Part:
    """A stretch of time, half-open in close stamps: ``start_ns <= stamp < end_ns``."""

    start_ns: int
    end_ns: int


@dataclass(frozen=True)
class Split:
    """Three parts, with the purged and embargoed bars in none of them.

    Attributes:
        train: From the first to the last training bar.
        validation, test: The others; behind `train` unless `folds.py` made them.
        holes: Stretches of `train`, in order of time, that are not for training: where a split has
            its validation or its test between training bars.
    """

    train: Part
    validation: Part
    test: Part
    holes: tuple[Part, ...] = ()

    @property
    def known_until_ns(self) -> int:
        """End of what training and choosing have seen."""
        return max(self.train.end_ns, self.validation.end_ns)

    @property
    def stretches(self) -> tuple[Part, ...]:
        """The training part without its holes, in order of time."""
        starts = (self.train.start_ns, *(hole.end_ns for hole in self.holes))
        ends = (*(hole.start_ns for hole in self.holes), self.train.end_ns)
        return tuple(Part(start, end) for start, end in zip(starts, ends, strict=True))


def split_by_time(
    stamps_by_symbol: Mapping[str, NDArray[np.int64]],
    train_frac: float,
    validation_frac: float,
    purge_bars: int,
    embargo_bars: int,
    bar_seconds: int,
) -> Split:
    """Cuts the calendar once for all instruments.

    The fractions are of the time span that all instruments share. Nothing is cut to that span:
    earlier history belongs to training, later history to the test.

    Rule of thumb: `purge_bars` is the number of bars that a label or a reward looks ahead (1 for
    the next bar's return), so that no training outcome reaches into the next part. `embargo_bars`
    covers what stays correlated after that; Lopez de Prado suggests about 1 % of the bars, and a
    feature window's length is a good choice where that is more. Both are counted on the union of
    all stamps and also last at least that many bar lengths, so instruments stamped minutes apart do
    not shorten them. An instrument that trades less often than the union sees fewer of its own bars
    removed: choose for the rarest one.

    Args:
        stamps_by_symbol: Close stamps per instrument, int64 [T_i], nanoseconds, increasing.
        train_frac: Share of the common span before the first cut.
        validation_frac: Share of the common span between the two cuts; the rest is the test.
        purge_bars: Bars removed at the end of train and of validation.
        embargo_bars: Bars removed at the start of validation and of test.
        bar_seconds: Length of one bar.

    Raises:
        DataError: A fraction or a count is out of range, the instruments share no time, or a part
            would hold fewer than 2 bars of an instrument.
    """
    _check_settings(train_frac, validation_frac, purge_bars, embargo_bars)
    start, end = common_span(stamps_by_symbol)
    union = np.unique(np.concatenate(list(stamps_by_symbol.values())))
    shares = np.array((train_frac, train_frac + validation_frac))
    cuts = np.searchsorted(union, start + (shares * (end - start)).astype(np.int64))
    bar_ns = bar_seconds * NANOSECONDS
    ends, starts = [], []
    for cut in np.minimum(cuts, len(union) - 1):
        # Clipping makes a part that is too short empty, and the check below names it.
        last, first = max(cut - purge_bars, 0), min(cut + embargo_bars, len(union) - 1)
        ends.append(int(min(union[last], union[cut] - purge_bars * bar_ns)))
        starts.append(int(max(union[first], union[cut] + embargo_bars * bar_ns)))
    split = Split(
        train=Part(int(union[0]), ends[0]),
        validation=Part(starts[0], ends[1]),
        test=Part(starts[1], int(union[-1]) + 1),
    )
    check_parts(split, stamps_by_symbol)
    return split


def _check_settings(
    train_frac: float, validation_frac: float, purge_bars: int, embargo_bars: int
) -> None:
    if not (train_frac > 0 and validation_frac > 0 and train_frac + validation_frac < 1):
        raise DataError(
            "train_frac, validation_frac",
            "must be positive and leave something for the test",
            (train_frac, validation_frac),
            "For example 0.6 and 0.2.",
        )
    if purge_bars < 0 or embargo_bars < 0:
        raise DataError(
            "purge_bars, embargo_bars",
            "must not be negative",
            (purge_bars, embargo_bars),
            "Use 0 to remove nothing.",
        )


def common_span(stamps_by_symbol: Mapping[str, NDArray[np.int64]]) -> tuple[int, int]:
    """First and last moment at which every instrument has a history."""
    spans = {name: (int(s[0]), int(s[-1])) for name, s in stamps_by_symbol.items() if len(s)}
    if not spans or len(spans) < len(stamps_by_symbol):
        empty = [name for name in stamps_by_symbol if name not in spans]
        raise DataError(
            "stamps_by_symbol", "must hold bars of every instrument", empty, "Leave empty ones out."
        )
    latest = max(spans, key=lambda name: spans[name][0])
    earliest = min(spans, key=lambda name: spans[name][1])
    start, end = spans[latest][0], spans[earliest][1]
    if start >= end:
        raise DataError(
            f"{latest}, {earliest}",
            "must have a time in common",
            f"{latest} begins {stamp_text(start)}, {earliest} ends {stamp_text(end)}",
            "Leave one of them out.",
        )
    return start, end


def check_parts(split: Split, stamps_by_symbol: Mapping[str, NDArray[np.int64]]) -> None:
    """Refuses a split of which a part holds less than a return.

    Raises:
        DataError: It holds fewer than 2 bars of an instrument.
    """
    for field in ("train", "validation", "test"):
        part: Part = getattr(split, field)
        for name, stamps in stamps_by_symbol.items():
            first, last = np.searchsorted(stamps, (part.start_ns, part.end_ns))
            if last - first < MIN_BARS:
                raise DataError(
                    field,
                    f"must hold at least {MIN_BARS} bars of {name}",
                    max(int(last - first), 0),
                    "Use more data, other fractions, or a smaller purge and embargo.",
                )
