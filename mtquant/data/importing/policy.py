# SPDX-License-Identifier: Apache-2.0
"""What the importer does about each kind of dirt, and the sentence that it says about it."""

from __future__ import annotations

from typing import Literal, get_args

from mtquant.core.checked import Section


class ImportPolicy(Section):
    """One answer per kind of dirt.

    ``"refuse"`` refuses the file at the first such row. The defaults repair only what loses no
    information and refuse the rest. A row is dropped once, under the first kind in this order that
    drops it.

    Attributes:
        unterminated: The file's last line does not end with a line end: its last number may be cut
            in the middle, and nobody can see it.
        ragged: A line has more or fewer fields than the header, or a quote without its pair.
        bad_time: A time that cannot be read, or is written unlike most others.
        skipped_hour: A local time that its clock never showed.
        repeated_hour: A local time that its clock showed twice; ``"in_order"`` takes two rows of
            one time as its first and its second showing.
        bad_number: Not a number in the file's notation, or too large for one.
        empty_bar: All four prices missing, or all four zero: there was no bar.
        missing: A price is missing (empty, NaN, null, n/a).
        nonpositive: A price is zero or negative.
        disordered: High or low is not the extreme; ``"widen"`` moves it to where it is.
        bad_volume: The volume is missing or negative; ``"zero"`` sets it to 0, "unknown".
        duplicate: A row equal to an earlier one in time, prices and volume.
        conflict: Rows of one time with different values.
        off_phase: A time at another minute of the hour (for bars below an hour: of the bar) than
            most rows have.
        unsorted: Rows not in order of time (counted: how few would have to move).
        too_close: A row less than half a bar after the one before; ``"drop"`` drops the later.
        magnitude: Prices ten times above or below those around, as a lost decimal point leaves
            them.
    """

    unterminated: Literal["drop", "keep", "refuse"] = "drop"
    ragged: Literal["refuse", "drop"] = "refuse"
    bad_time: Literal["refuse", "drop"] = "refuse"
    skipped_hour: Literal["refuse", "drop"] = "refuse"
    repeated_hour: Literal["refuse", "earlier", "later", "in_order", "drop"] = "refuse"
    bad_number: Literal["refuse", "drop"] = "refuse"
    empty_bar: Literal["drop", "refuse"] = "drop"
    missing: Literal["refuse", "drop"] = "refuse"
    nonpositive: Literal["refuse", "drop"] = "refuse"
    disordered: Literal["refuse", "drop", "widen"] = "refuse"
    bad_volume: Literal["zero", "drop", "refuse"] = "zero"
    duplicate: Literal["drop", "refuse"] = "drop"
    conflict: Literal["refuse", "keep_first", "keep_last"] = "refuse"
    off_phase: Literal["keep", "drop", "refuse"] = "keep"
    unsorted: Literal["sort", "refuse"] = "sort"
    too_close: Literal["refuse", "drop"] = "refuse"
    magnitude: Literal["refuse", "drop", "keep"] = "refuse"

    def answer(self, kind: str) -> str:
        """What to do about a kind of dirt."""
        return str(getattr(self, kind))


RULES = {
    "unterminated": "must end with a line end, or its last number may be cut",
    "ragged": "must have as many fields as the header",
    "bad_time": "must hold a time written like the others",
    "skipped_hour": "must hold a time that its clock has shown",
    "repeated_hour": "must hold a time that its clock has shown once",
    "bad_number": "must hold numbers in the file's notation",
    "empty_bar": "must hold a bar",
    "missing": "must hold four prices",
    "nonpositive": "must have positive prices",
    "disordered": "must have its extremes in high and low",
    "bad_volume": "must have a volume of 0 or more",
    "duplicate": "must not repeat an earlier row",
    "conflict": "must not contradict another row of the same time",
    "off_phase": "must stand at the minute at which most rows do",
    "unsorted": "must come after the row before it",
    "too_close": "must be at least half a bar after the row before it",
    "magnitude": "must have prices of the magnitude of those around it",
}


def alternatives(kind: str) -> tuple[str, ...]:
    """The answers that do not refuse."""
    answers = get_args(ImportPolicy.model_fields[kind].annotation)
    return tuple(answer for answer in answers if answer != "refuse")
