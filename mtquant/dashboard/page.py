# SPDX-License-Identifier: Apache-2.0
"""The page: head, tiles and tabs. It draws itself again every few seconds; only the open tab is
read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import streamlit as st

from mtquant.core.errors import MtquantError
from mtquant.dashboard import markup, tables, views
from mtquant.dashboard.accounts import Account, account
from mtquant.dashboard.asked import Asked
from mtquant.evaluation.report.style import LOSS_COLOUR, STOP_COLOUR

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
    _head(ledger, found)
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


def _head(ledger: Path, found: Account) -> None:
    """Who trades, whether it lives, and the figures that one looks at first."""
    st.html(markup.title(found.name, f"{len(found.symbols)} instruments, {ledger}"))
    if found.halted_by is not None:
        st.html(markup.banner(f"A person halted this account: {found.halted_by}", LOSS_COLOUR))
    if found.silent:
        st.html(markup.banner(_silence(found), LOSS_COLOUR))
    if found.unknown_orders:
        text = f"{found.unknown_orders} orders of unknown fate: neither filled nor flat."
        st.html(markup.banner(text, STOP_COLOUR))
    st.html(markup.tiles(_tiles(found)))


def _silence(found: Account) -> str:
    """What a silent loop means."""
    if found.beat_age is None:
        said = "No heartbeat: no loop has said that it lives."
    else:
        said = f"Silent: the loop last said that it lives {age(found.beat_age)} ago."
    return f"{said} Below is what was last known; unknown is not flat."


def _tiles(found: Account) -> list[tuple[str, str, str]]:
    equity, outcome = found.equity, found.outcome
    gain = None if equity is None else equity / found.initial_equity - 1.0
    closed = "no bar yet"
    if found.stamp_ns is not None:
        closed = str(np.datetime64(found.stamp_ns, "ns").astype("datetime64[m]"))
    loop = ("silent", LOSS_COLOUR) if found.silent else ("alive", markup.tone_of(0))
    beat = "never" if found.beat_age is None else f"{age(found.beat_age)} ago"
    guard = markup.word(tables.mode_word(found.mode), markup.tone_of(found.mode))
    return [
        ("loop", markup.word(*loop), beat),
        ("guard", guard, found.reasons or "all clear"),
        ("equity", number(equity, ",.0f"), f"{found.currency}, {number(gain, '+z.2%')}"),
        ("drawdown", number(outcome.get("drawdown", 0.0), ".2%"), "below the peak"),
        (
            "gross",
            number(outcome.get("gross", 0.0), ".1%"),
            f"net {number(outcome.get('net', 0.0), '+z.1%')}",
        ),
        ("open orders", f"{found.open_orders:,}", f"{found.unknown_orders} unknown"),
        (
            "last bar",
            "" if found.bar is None else f"{found.bar:,}",
            f"{closed.replace('T', ' ')} UTC",
        ),
    ]


def number(value: float | None, shown: str) -> str:
    """A number, or that it is not known."""
    return "unknown" if value is None else format(value, shown)


def age(seconds: float) -> str:
    """A time span in the largest whole unit."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
