# SPDX-License-Identifier: Apache-2.0
"""Sections as Markdown, and numbers as text."""

from __future__ import annotations

import numpy as np

from mtquant.evaluation.sections import UNDEFINED, Section, between, document, number, percent


def test_a_page_is_heading_tables_and_notes() -> None:
    section = Section("Part", ("name", "value"), (("a|b", "1"),), ("First.", "Second."))
    assert document("Page", [section]) == (
        "# Page\n\n## Part\n\n| name | value |\n|---|---:|\n| a\\|b | 1 |\n\nFirst.\n\nSecond.\n"
    )


def test_numbers_as_text() -> None:
    assert percent(0.1234) == "12.3 %" and percent(0.5, 0) == "50 %"
    assert number(-0.001) == "0.00"  # no negative zero
    assert percent(np.nan) == number(np.inf) == UNDEFINED
    assert between((0.1, 0.2)) == "10.0 % to 20.0 %"
    assert between((1.0, 2.0), number) == "1.00 to 2.00"
    assert between((np.nan, 0.2)) == UNDEFINED
