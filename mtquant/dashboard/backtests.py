# SPDX-License-Identifier: Apache-2.0
"""Backtests beside paper: equity of both on one clock."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mtquant.core.errors import RunError
from mtquant.dashboard.curves import stamps_index
from mtquant.dashboard.runs import folders
from mtquant.market.ledger import Ledger

REPORT, LEDGERS = "report.json", "ledgers"
START = 100.0


@dataclass(frozen=True)
class Beside:
    """Paper and a backtest over the time that both know.

    Attributes:
        frame: Columns paper and backtest, 100 at the first common close, indexed by close stamp.
        paper_return, backtest_return: Over that time.
        gap: Largest difference of the two lines on the way, as a fraction of the backtest.
        correlation: Of their changes between the points that are shown; NaN where one never moves.
    """

    frame: pd.DataFrame
    paper_return: float
    backtest_return: float
    gap: float
    correlation: float


def find_backtests(roots: Sequence[Path]) -> dict[str, Path]:
    """Folders that `mtquant backtest` wrote below some roots, by what to call them."""
    found = [own for root in roots for own in folders(root) if _is_backtest(own)]
    return {str(folder): folder for folder in found}


def _is_backtest(folder: Path) -> bool:
    return (folder / REPORT).exists() or (folder / LEDGERS).is_dir()


def policies(folder: Path) -> list[str]:
    """Whose equity a backtest knows, the policy itself first.

    Raises:
        RunError: It cannot be read.
    """
    if not (folder / LEDGERS).is_dir():
        return list(_report_series(folder))
    names = sorted(own.name for own in (folder / LEDGERS).iterdir() if own.is_dir())
    return sorted(names, key=lambda name: name not in ("hierarchy", "specialists"))


def equity_of(folder: Path, policy: str) -> pd.Series:
    """Equity of a backtest by close stamp: whole from its ledger, else as the report drew it.

    Raises:
        RunError: The report cannot be read, or names no such policy.
        CheckpointError: The ledger is damaged.
    """
    if (folder / LEDGERS / policy).is_dir():
        ledger = Ledger.load(folder / LEDGERS / policy)
        return pd.Series(ledger.equity, index=stamps_index(ledger.stamps))
    series = _report_series(folder)
    if policy not in series:
        remedy = "Run the backtest again."
        raise RunError(str(folder), f"must know {policy}", sorted(series), remedy)
    return series[policy]


def _report_series(folder: Path) -> dict[str, pd.Series]:
    """Lines of the report's equity chart; the policy is drawn last and comes first here."""
    path = folder / REPORT
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        blocks = [block for chapter in content["chapters"] for block in chapter["blocks"]]
        chart = next(block for block in blocks if block.get("figure") == "Equity")
        lines = [own for own in chart["series"] if own["name"] and not own["name"].endswith("low")]
        return {
            own["name"]: pd.Series(
                np.array(own["y"], dtype=np.float64), index=pd.DatetimeIndex(own["x"])
            )
            for own in reversed(lines)
        }
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        remedy = "Run the backtest again."
        raise RunError(
            str(path), "must hold the equity of a backtest", str(error), remedy
        ) from error


def beside(paper: pd.Series, backtest: pd.Series) -> Beside:
    """Puts both on one clock: at each close of the paper account, the backtest's latest equity.

    Args:
        paper: Equity by close stamp.
        backtest: The same of a backtest, in any unit.

    Raises:
        RunError: They have fewer than two closes of the paper account in common.
    """
    paper, backtest = paper.dropna(), backtest.dropna()
    common = paper
    if len(backtest):
        common = paper.loc[backtest.index[0] : backtest.index[-1]]
    if len(common) < 2 or not len(backtest):
        spans = " and ".join(_span(own) for own in (paper, backtest))
        remedy = "Backtest the time that was traded: `mtquant backtest --part`."
        raise RunError("paper and backtest", "must have lived through common bars", spans, remedy)
    other = backtest.reindex(common.index, method="ffill")
    frame = pd.DataFrame(
        {"paper": START * common / common.iloc[0], "backtest": START * other / other.iloc[0]}
    )
    moves = frame.pct_change().iloc[1:]
    moving = len(moves) > 1 and (moves.std() > 0.0).all()
    ends = frame.iloc[-1] / START - 1.0
    return Beside(
        frame,
        float(ends["paper"]),
        float(ends["backtest"]),
        float((frame["paper"] / frame["backtest"] - 1.0).abs().max()),
        float(moves["paper"].corr(moves["backtest"])) if moving else float("nan"),
    )


def _span(series: pd.Series) -> str:
    if not len(series):
        return "nothing"
    return f"{series.index[0]:%Y-%m-%d %H:%M} to {series.index[-1]:%Y-%m-%d %H:%M}"
