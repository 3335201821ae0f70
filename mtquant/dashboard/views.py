# SPDX-License-Identifier: Apache-2.0
"""The tabs of the page. Each reads what it shows, when it is open, and not before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import streamlit as st

from mtquant.core.errors import MtquantError
from mtquant.dashboard import backtests, curves, figures, limits, markup, minds, runs, tables
from mtquant.dashboard.accounts import Account, opened
from mtquant.envs.hierarchy import SCALE
from mtquant.paper.reading import meta

LATEST_NOTES = 8
ALL = "all"
FIRST_CURVES = (
    *("validation/sharpe", "validation/drawdown", "rollout/ep_rew_mean", "market/growth"),
    *("train/loss", "train/entropy_loss"),
)
MONEY, PRICE, SHARE = "%,.2f", "%.6g", "percent"


@dataclass(frozen=True)
class Watched:
    """What the page looks at.

    Attributes:
        path: Of the ledger.
        account: Where it stands.
        last: Newest bars that charts show; None for all.
        roots: Folders with runs and backtests.
    """

    path: Path
    account: Account
    last: int | None
    roots: tuple[Path, ...]

    @property
    def key(self) -> tuple[str, int, int]:
        """Changes with every bar, and where another file takes the ledger's place."""
        bar = -1 if self.account.bar is None else self.account.bar
        return str(self.path), self.path.stat().st_ino, bar


@st.cache_data(max_entries=16, show_spinner=False)
def _equity(key: tuple[str, int, int], last: int | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    with opened(Path(key[0])) as ledger:
        return curves.equity_curve(ledger, last), curves.guard_marks(ledger, last)


@st.cache_data(max_entries=16, show_spinner=False)
def _allocation(key: tuple[str, int, int], last: int | None) -> pd.DataFrame:
    with opened(Path(key[0])) as ledger:
        return curves.allocation(ledger, last)


@st.cache_data(max_entries=16, show_spinner=False)
def _history(key: tuple[str, int, int], last: int | None) -> minds.History:
    with opened(Path(key[0])) as ledger:
        return minds.message_history(ledger, last)


@st.cache_data(max_entries=8, show_spinner=False)
def _reward_terms(key: tuple[str, int, int], model: str) -> pd.DataFrame:
    with opened(Path(key[0])) as ledger:
        reward = minds.reward_of(Path(model), meta(ledger)["bars_per_year"])
        return minds.reward_terms(ledger, reward)


@st.cache_data(max_entries=8, show_spinner=False)
def _curves(logs: str, files: tuple[tuple[str, int, int], ...]) -> runs.Curves:
    return runs.curves(Path(logs))


@st.cache_data(max_entries=8, show_spinner=False, ttl=60)
def _backtest(folder: str, policy: str) -> pd.Series:
    return backtests.equity_of(Path(folder), policy)


def overview(watched: Watched) -> None:
    """Equity and drawdown, the book, limits, what happened last."""
    _equity_chart(watched)
    left, right = st.columns(2, gap="medium")
    with opened(watched.path) as ledger:
        held, used = limits.positions(ledger), limits.limits_used(ledger)
        latest = tables.notes(ledger, rows=LATEST_NOTES)
    with left:
        st.subheader("Positions")
        _positions_table(held)
    with right:
        st.subheader("Limits used")
        st.html(markup.limit_bars(used))
    st.subheader("Latest notes")
    _table(latest, {}, "Nothing remarkable has happened.")


def orders(watched: Watched) -> None:
    """Orders and fills, newest first."""
    numbers = {"quantity": PRICE}
    _paged(watched, "Orders", "orders", tables.orders, numbers, "No order has been given yet.")
    numbers = {
        **{"wanted": PRICE, "filled": PRICE, "price": PRICE},
        **{"fee": MONEY, "slippage": MONEY},
    }
    _paged(
        watched, "Fills and refusals", "fills", tables.fills, numbers, "Nothing has been filled."
    )


def risk(watched: Watched) -> None:
    """The guard and its history, limits, allocation over time."""
    account = watched.account
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Guard")
        state = markup.word(tables.mode_word(account.mode), markup.tone_of(account.mode))
        st.html(f"<p>{state}</p>")
        for reason in filter(None, account.reasons.split("; ")):
            st.markdown(f"- {plain(reason)}")
        if not account.reasons:
            st.caption("No rule asks for anything.")
    with right:
        st.subheader("Limits used")
        with opened(watched.path) as ledger:
            st.html(markup.limit_bars(limits.limits_used(ledger)))
    st.subheader("Allocation over time")
    _chart("allocation", *figures.allocation_chart(_allocation(watched.key, watched.last)))
    st.caption("Each instrument's exposure in units of equity; longs above zero, shorts below.")
    _paged(watched, "History of the guard", "guard", tables.guard_changes, {}, "It never acted.")


def models(watched: Watched) -> None:
    """Rollout, what the specialists say, what the model is paid for."""
    _paged(watched, "Rollout", "models", tables.models, {"capital": SHARE}, "No model yet.")
    with opened(watched.path) as ledger:
        said, paths = minds.messages(ledger), sorted(set(minds.at_work(ledger).values()))
    st.subheader("Specialists' messages")
    for path, frame in said.items():
        st.caption(f"{plain(path)}, after the last bar")
        named = frame.rename(columns=_spaced)
        shown = dict.fromkeys(named.columns, "%.3f") | {_spaced(SCALE): SHARE}
        _table(named.rename_axis("symbol").reset_index(), shown, "")
    if not said:
        st.caption("No hierarchy trades here: other policies exchange no messages.")
    _said_before(watched)
    for path in paths:
        st.subheader("Reward terms")
        st.caption(f"What each term of the training's reward has paid {plain(path)}, summed up")
        try:
            paid = _reward_terms(watched.key, path)
        except MtquantError as error:
            st.caption(plain(str(error)))
            continue
        _chart(f"reward {path}", *figures.lines_chart(paid, "reward, summed up"))


def _said_before(watched: Watched) -> None:
    """The history of the specialists' messages: one figure of all instruments, or of one."""
    found = _history(watched.key, watched.last)
    if not found:
        return
    st.subheader("What they said before")
    columns = st.columns(3, gap="medium")
    path, *_ = found
    if len(found) > 1:
        path = columns[2].selectbox("Model", list(found)[::-1], key="said by")
    frames = found[path]
    name = columns[0].selectbox("Figure", list(frames), format_func=_spaced, key="said")
    frame = frames[name]
    own = columns[1].selectbox("Instrument", [ALL, *frame.columns], key="said about")
    if own == ALL:
        _chart("said", *figures.messages_chart(frame, _spaced(name)))
    else:
        _chart("said", *figures.lines_chart(frame[[own]], _spaced(name)))
    few = len(frame) < curves.COLUMNS
    thinned = "" if few else "Evenly picked bars: a shorter stretch shows every one. "
    st.caption(f"{thinned}Blank: not asked. While a market is closed the last message stands.")


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def training(roots: tuple[Path, ...]) -> None:
    """Report cards and training curves."""
    found = runs.find_runs(roots)
    if not found:
        shown = ", ".join(map(str, roots)) or "no folder was named"
        st.info(plain(f"No run folder found below: {shown}. Name one with --runs."))
        return
    name = st.selectbox("Run", list(found), key="run")
    folder = found[name]
    facts = runs.card_facts(folder)
    st.html(markup.facts(facts))
    logs = runs.log_folder(folder)
    known = _curves(str(logs), runs.fingerprint(logs))
    if known:
        first = [metric for metric in FIRST_CURVES if metric in known] or sorted(known)[:4]
        chosen = st.multiselect("Curves", sorted(known), default=first, key=f"curves {name}")
        _grid({metric: known[metric] for metric in chosen})
    else:
        st.caption(plain(f"No TensorBoard files in {logs}."))
    st.subheader("Metrics of the stages")
    metrics = runs.stage_metrics(folder).rename_axis("metric").reset_index()
    _table(metrics, dict.fromkeys(metrics.columns[1:], "%.5g"), "The run has no metrics yet.")


def _grid(known: Mapping[str, Mapping[str, pd.Series]]) -> None:
    """Charts of curves, two in a row where there is room."""
    columns = st.columns(2, gap="medium")
    for n, (metric, series) in enumerate(known.items()):
        with columns[n % 2]:
            st.subheader(metric)
            _chart(f"curve {metric}", *figures.curves_chart(series))


def backtest(watched: Watched) -> None:
    """The paper account beside a backtest, on one clock."""
    found = backtests.find_backtests(watched.roots)
    if not found:
        shown = ", ".join(map(str, watched.roots)) or "no folder was named"
        st.info(plain(f"No backtest found below: {shown}. Name one with --runs."))
        return
    left, right = st.columns(2, gap="medium")
    name = left.selectbox("Backtest", list(found), key="backtest")
    known = backtests.policies(found[name])
    policy = right.selectbox("Policy", known, key=f"policy {name}")
    equity = _equity(watched.key, None)[0]["equity"]
    pair = backtests.beside(equity, _backtest(name, policy))
    correlation = "" if np.isnan(pair.correlation) else f"{pair.correlation:.3f}"
    cells = [
        ("paper", f"{pair.paper_return:+.2%}", "over the common time"),
        ("backtest", f"{pair.backtest_return:+.2%}", policy.replace("_", " ")),
        ("largest gap", f"{pair.gap:.2%}", "of the backtest's equity"),
        ("correlation", correlation or "unknown", "of their changes"),
    ]
    st.html(markup.tiles(cells))
    upper, lower, legend = figures.beside_charts(pair)
    _chart("beside", upper, legend)
    _chart("ahead", lower)


def notes(watched: Watched) -> None:
    """Everything remarkable."""
    _paged(watched, "Notes", "notes", tables.notes, {}, "Nothing remarkable has happened.")


def _equity_chart(watched: Watched) -> None:
    curve, marks = _equity(watched.key, watched.last)
    if curve.empty:
        st.info("The account has not lived through a bar yet.")
        return
    upper, lower = figures.equity_charts(curve, marks, watched.account.currency)
    _chart("equity", upper)
    _chart("drawdown", lower)
    if len(marks):
        shaded = zip(("guard: reducing", "guard: halted"), markup.GUARD_TONES, strict=True)
        st.html(markup.legend(list(shaded)))


def _positions_table(held: pd.DataFrame) -> None:
    own = held[held["quantity"] != 0.0].rename_axis("symbol").reset_index()
    shown = {"quantity": PRICE, "price": PRICE, "exposure": SHARE, "asked": SHARE}
    _table(own, shown, "Flat: nothing is held.")


def _paged(
    watched: Watched,
    title: str,
    table: str,
    read: Callable[..., pd.DataFrame],
    numbers: Mapping[str, str],
    empty: str,
) -> None:
    """A table in pages, the newest rows first."""
    with opened(watched.path) as ledger:
        rows = tables.count(ledger, table)
        st.subheader(f"{title} ({rows:,})" if rows else title)
        pages = max(1, -(-rows // tables.PAGE_ROWS))
        page = 1
        if pages > 1:
            label = f"Page, of {pages:,}, newest first"
            page = st.number_input(label, 1, pages, 1, key=f"page {table}", width=220)
        frame = read(ledger, int(page) - 1)
    _table(frame, numbers, empty)


def _table(frame: pd.DataFrame, numbers: Mapping[str, str], empty: str) -> None:
    """A table, or a sentence where there is nothing to show."""
    if frame.empty:
        st.caption(empty)
        return
    columns: dict[str, Any] = {
        name: st.column_config.NumberColumn(format=shown)
        for name, shown in numbers.items()
        if name in frame
    }
    for name in frame.select_dtypes("datetime").columns:
        columns[str(name)] = st.column_config.DatetimeColumn(
            f"{name} (UTC)", format="YYYY-MM-DD HH:mm:ss"
        )
    st.dataframe(frame, column_config=columns, hide_index=True, width="stretch", placeholder="–")


def _chart(key: str, chart: alt.LayerChart, legend: figures.Legend | None = None) -> None:
    """A chart below its legend, where several lines share its axes."""
    if legend and len(legend) > 1:
        st.html(markup.legend(legend))
    st.altair_chart(chart, theme=None, width="stretch", key=f"chart {key}")


def plain(text: str) -> str:
    """A text that Markdown leaves alone."""
    return "".join(f"\\{own}" if own in "\\`*_{}[]()<>#+-!|$~:" else own for own in text)
