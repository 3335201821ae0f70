# SPDX-License-Identifier: Apache-2.0
"""The head of the page as HTML: who trades, whether it lives, and the figures that one looks at
first.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mtquant.dashboard import markup, tables
from mtquant.dashboard.accounts import Account
from mtquant.evaluation.report.style import LOSS_COLOUR, STOP_COLOUR


def head(ledger: Path, found: Account) -> str:
    """Title, warnings and figures of an account, from top to bottom."""
    parts = [markup.title(found.name, f"{len(found.symbols)} instruments, {ledger}")]
    if found.halted_by is not None:
        text = f"A person halted this account: {found.halted_by}"
        parts.append(markup.banner(text, LOSS_COLOUR))
    if found.silent:
        parts.append(markup.banner(_silence(found), LOSS_COLOUR))
    if found.unknown_orders:
        text = f"{found.unknown_orders} orders of unknown fate: neither filled nor flat."
        parts.append(markup.banner(text, STOP_COLOUR))
    parts.append(markup.tiles(_tiles(found)))
    return f'<div class="mt-head">{"".join(parts)}</div>'


def _silence(found: Account) -> str:
    """What a silent loop means."""
    if found.beat_age is None:
        said = "No heartbeat: no loop has said that it lives."
    else:
        said = f"Silent: the loop last said that it lives {_age(found.beat_age)} ago."
    return f"{said} Below is what was last known; unknown is not flat."


def _tiles(found: Account) -> list[tuple[str, str, str]]:
    equity, outcome = found.equity, found.outcome
    gain = None if equity is None else equity / found.initial_equity - 1.0
    closed = "no bar yet"
    if found.stamp_ns is not None:
        closed = str(np.datetime64(found.stamp_ns, "ns").astype("datetime64[m]"))
    loop = ("silent", LOSS_COLOUR) if found.silent else ("alive", markup.tone_of(0))
    beat = "never" if found.beat_age is None else f"{_age(found.beat_age)} ago"
    guard = markup.word(tables.mode_word(found.mode), markup.tone_of(found.mode))
    return [
        ("loop", markup.word(*loop), beat),
        ("guard", guard, found.reasons or "all clear"),
        ("equity", _number(equity, ",.0f"), f"{found.currency}, {_number(gain, '+z.2%')}"),
        ("drawdown", _number(outcome.get("drawdown", 0.0), ".2%"), "below the peak"),
        (
            "gross",
            _number(outcome.get("gross", 0.0), ".1%"),
            f"net {_number(outcome.get('net', 0.0), '+z.1%')}",
        ),
        ("open orders", f"{found.open_orders:,}", f"{found.unknown_orders} unknown"),
        (
            "last bar",
            "" if found.bar is None else f"{found.bar:,}",
            f"{closed.replace('T', ' ')} UTC",
        ),
    ]


def _number(value: float | None, shown: str) -> str:
    """A number, or that it is not known."""
    return "unknown" if value is None else format(value, shown)


def _age(seconds: float) -> str:
    """A time span in the largest whole unit."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
