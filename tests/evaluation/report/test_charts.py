# SPDX-License-Identifier: Apache-2.0
"""Charts: what they must not lose, and what they must not show."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtquant.core import outcome as oc
from mtquant.evaluation.report import charts, style
from tests.support.ledgers import ledger_from_fills, trading_ledger
from tests.support.reports import walk_forward


@given(st.integers(1, 9000), st.integers(4, 3000), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_thinning_keeps_ends_and_extremes(bars: int, limit: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=bars).cumsum()
    values[: bars // 3] = np.nan  # before an instrument's first bar
    rows = style.thin(values, limit)
    assert len(rows) <= max(limit, 2)
    assert (rows[0], rows[-1]) == (0, bars - 1)
    assert (np.diff(rows) > 0).all()
    assert np.nanmax(values[rows]) == np.nanmax(values)
    assert np.nanmin(values[rows]) == np.nanmin(values)


def test_exposure_of_a_bankrupt_account_is_drawn_as_zero() -> None:
    ledger = trading_ledger(bars=40)
    ledger.outcomes[20:, oc.EQUITY] = 0.0
    ledger.positions[20:] = 0.0
    (heat,) = charts.allocation_chart(ledger).data
    assert np.isfinite(heat.z).all()
    assert not np.asarray(heat.z)[:, 20:].any()


def test_a_column_of_the_allocation_is_the_mean_of_its_bars() -> None:
    ledger = trading_ledger(bars=1_000)
    (heat,) = charts.allocation_chart(ledger).data
    assert np.asarray(heat.z).shape == (3, charts.HEAT_COLUMNS)
    held = charts.exposures(ledger)
    assert heat.z[1][0] == pytest.approx(held[:2, 1].mean())  # 1,000 bars on 400: 2, 3, 2, 3, ...
    assert heat.z[1][1] == pytest.approx(held[2:5, 1].mean())


def test_dressing_leaves_the_callers_figure_alone() -> None:
    figure = go.Figure(go.Scatter(y=[1, 2]), layout={"width": 700, "height": 250})
    dressed = style.dress(figure)
    assert (figure.layout.width, figure.layout.paper_bgcolor) == (700, None)
    assert (dressed.layout.width, dressed.layout.height) == (None, 250)
    assert dressed.layout.showlegend is False


def test_markers_beyond_the_limit_are_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "MAX_MARKERS", 2)
    fills = [{"row": k, "quantity": q, "price": 10} for k, q in enumerate((1.0, 9.0, -2.0, -7.0))]
    figure = charts.instrument_chart(ledger_from_fills(fills), "AAA")
    shown = {trace.name: list(trace.customdata) for trace in figure.data if trace.mode == "markers"}
    assert shown == {"buy": [9.0], "sell": [-7.0]}


def test_the_band_of_the_seeds_holds_every_seed() -> None:
    tracks = [track.ledger for track in walk_forward().of_phase(3)]
    figure = charts.equity_chart([tracks[0]], tracks)
    low, high = (np.asarray(trace.y) for trace in figure.data[:2])
    for ledger in tracks:
        path = 100.0 * np.cumprod(1.0 + ledger.column("simple_return"))
        assert (low <= path + 1e-9).all() and (path <= high + 1e-9).all()


def test_the_legend_names_each_series_once_and_the_policy_first() -> None:
    runs = [trading_ledger(bars=60, name=name) for name in ("policy", "one", "two")]
    names = style.legend_of(charts.equity_chart(runs))
    assert names == [(name, style.COLOURS[n]) for n, name in enumerate(("policy", "one", "two"))]
    assert style.legend_of(charts.allocation_chart(runs[0])) == []


@pytest.mark.parametrize("paper", [(255, 255, 255), (20, 23, 27)])
def test_every_colour_is_seen_on_both_pages(paper: tuple[int, int, int]) -> None:
    # WCAG 2.2, success criterion 1.4.11: graphical objects have a contrast of at least 3.
    def luminance(rgb: tuple[int, ...]) -> float:
        parts = [c / 255 for c in rgb]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for colour in (*style.COLOURS, style.STOP_COLOUR, style.LOSS_COLOUR, style.GAIN_COLOUR):
        own = luminance(tuple(int(colour[k : k + 2], 16) for k in (1, 3, 5)))
        light, dark = sorted((own, luminance(paper)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3.0, colour
