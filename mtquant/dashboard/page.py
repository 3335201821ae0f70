# SPDX-License-Identifier: Apache-2.0
"""The page: head, tiles and tabs. It draws itself again every few seconds; only the open tab is
read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import streamlit as st

from mtquant.core.errors import MtquantError
from mtquant.dashboard import markup, views
from mtquant.dashboard.accounts import account
from mtquant.dashboard.asked import Asked
from mtquant.dashboard.head import head

REFRESH_SECONDS = 3.0
SPANS: dict[str, int | None] = {"All": None, "1,000 bars": 1_000, "200 bars": 200}
TABS: dict[str, Callable[[views.Watched], None]] = {
    "Overview": views.overview,
    "Orders": views.orders,
    "Risk": views.risk,
    "Models": views.models,
    "Training": lambda watched: views.training(watched.roots),
    "Backtest": views.backtest,
    "Notes": views.notes,
}


def draw(asked: Asked) -> None:
    """The whole page."""
    st.set_page_config(page_title="mtquant", layout="wide")
    st.html(markup.SHEET)
    ledger, last = _choices(asked)
    st.fragment(_live, run_every=REFRESH_SECONDS)(ledger, last, asked.runs)


def _choices(asked: Asked) -> tuple[Path, int | None]:
    """The ledger and the stretch of time that the reader wants to see."""
    with st.container(horizontal=True, vertical_alignment="center"):
        ledger = asked.ledgers[0]
        if len(asked.ledgers) > 1:
            ledger = st.selectbox(
                "Account",
                asked.ledgers,
                format_func=str,
                key="ledger",
                label_visibility="collapsed",
                width=420,
            )
        chosen = st.segmented_control(
            "Bars on charts",
            list(SPANS),
            default="All",
            required=True,
            key="span",
            label_visibility="collapsed",
        )
    return ledger, SPANS[chosen or "All"]


def _live(ledger: Path, last: int | None, roots: Sequence[Path]) -> None:
    """What is drawn again and again."""
    try:
        found = account(ledger)
    except MtquantError as error:
        st.error(views.plain(str(error)))
        st.subheader("Training")
        _told(partial(views.training, tuple(roots)))
        return
    st.html(head(ledger, found))
    watched = views.Watched(ledger, found, last, tuple(roots))
    opened = st.tabs(list(TABS), on_change="rerun", key="tab")
    for tab, show in zip(opened, TABS.values(), strict=True):
        if tab.open:
            with tab:
                _told(partial(show, watched))


def _told(show: Callable[[], None]) -> None:
    """Shows something; what cannot be read becomes a sentence."""
    try:
        show()
    except (MtquantError, OSError) as error:
        st.error(views.plain(str(error)))
