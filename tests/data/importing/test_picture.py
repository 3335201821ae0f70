# SPDX-License-Identifier: Apache-2.0
"""The picture is a PNG of the right size, the same bytes every time, of any history."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mtquant.data.importing.facts import fact_lines
from mtquant.data.importing.picture import draw_bars
from mtquant.data.importing.reader import Mark
from tests.support.builders import make_bars

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("n", [2, 50, 5_000])
def test_any_history_makes_a_picture(n: int, tmp_path: Path) -> None:
    bars = make_bars(n=n, missing_frac=0.1)
    marks = (Mark("empty_bar", bars.stamps[:2] - 10**13), Mark("spike", bars.stamps[:0]))
    path = tmp_path / "new folder" / "a.png"
    draw_bars(bars, path, marks)
    content = path.read_bytes()
    assert content.startswith(PNG)
    # Inches times dots per inch (width and height are the header's first fields).
    assert np.frombuffer(content[16:24], dtype=">u4").tolist() == [12 * 110, 7 * 110]
    draw_bars(bars, path, marks)
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]


def test_facts_are_those_of_the_bars() -> None:
    bars = make_bars(n=500, notes=("prices are mids",))
    text = "\n".join(fact_lines(bars))
    for fact in ("500 bars of 1h in USD", f"{bars.high.max():g}", "note      prices are mids"):
        assert fact in text
