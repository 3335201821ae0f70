# SPDX-License-Identifier: Apache-2.0
"""The series that need no network. Expected figures were read off arch 8.0.0's own frames."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.core.errors import DataError
from mtquant.data.bars import stamp_text
from mtquant.data.bundled import BUNDLED, load_bundled


@pytest.mark.parametrize(
    ("symbol", "rows", "first", "last", "last_close"),
    [
        ("SPX500", 5031, "1999-01-04 22:00:00Z", "2018-12-31 22:00:00Z", 2506.850098),
        ("NAS100", 5031, "1999-01-04 22:00:00Z", "2018-12-31 22:00:00Z", 6635.279785),
        # 8,611 rows of which 290 have no price.
        ("WTIUSD", 8321, "1986-01-02 22:00:00Z", "2019-01-03 22:00:00Z", 46.92),
    ],
)
def test_series(symbol: str, rows: int, first: str, last: str, last_close: float) -> None:
    bars = load_bundled(symbol)
    assert (bars.symbol, bars.quote, bars.bar_seconds) == (symbol, "USD", 86_400)
    assert len(bars) == rows
    assert (stamp_text(bars.stamps[0]), stamp_text(bars.stamps[-1])) == (first, last)
    assert bars.close[-1] == pytest.approx(last_close, abs=1e-6)
    # About 252 trading days a year.
    assert bars.bars_per_year == pytest.approx(252.0, abs=1.0)
    assert bars.notes == (BUNDLED[symbol].title, *BUNDLED[symbol].notes)


def test_oil_has_closes_only() -> None:
    bars = load_bundled("WTIUSD")
    for name in ("open", "high", "low"):
        assert (getattr(bars, name) == bars.close).all()
    assert not bars.volume.any()
    assert any("closes only" in note for note in bars.notes)


def test_the_note_about_stale_opens_is_true() -> None:
    bars = load_bundled("SPX500")
    stale = np.isclose(bars.open[1:], bars.close[:-1], rtol=1e-5, atol=0.0)
    before_2006 = bars.stamps[1:] < np.datetime64("2006-01-01", "ns").astype(np.int64)
    assert f"{stale.mean():.0%}" == "42%"
    assert f"{stale[before_2006].mean():.0%}" == "97%"
    assert any("42 %" in note and "97 % before 2006" in note for note in bars.notes)


def test_an_unknown_symbol_is_refused() -> None:
    with pytest.raises(DataError, match="SPX500, NAS100, WTIUSD; found 'EURUSD'"):
        load_bundled("EURUSD")
