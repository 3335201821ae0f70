# SPDX-License-Identifier: Apache-2.0
"""Small pieces of HTML: tiles, chips, bars of limits. Every text in them is escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import pandas as pd

from mtquant.core.paper_config import PaperConfig
from mtquant.evaluation.report.style import GAIN_COLOUR, LOSS_COLOUR, POLICY_COLOUR, STOP_COLOUR
from mtquant.risk.guard import GUARD_ACTIVE, GUARD_REDUCING

SLACK = PaperConfig().limit_slack  # prices move a book beyond its limits; from here the guard acts
SHEET = """<style>
.stApp { font-variant-numeric: tabular-nums; }
.stMainBlockContainer { padding: 1.4rem 1.6rem 3rem; max-width: 96rem; }
/* A page that reads its ledger again every few seconds must not flicker. */
[data-stale="true"] { opacity: 1 !important; transition: none !important; }
.stAppHeader { background: transparent; height: 2.2rem; }
.mt-head { display: grid; gap: .9rem; }
.mt-kicker { font-size: .78rem; letter-spacing: .08em; text-transform: uppercase; opacity: .65; }
.mt-title { font-size: 1.45rem; font-weight: 650; letter-spacing: -.01em; line-height: 1.3; }
.mt-title small { font-size: .86rem; font-weight: 400; opacity: .7; letter-spacing: 0; }
.mt-tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.4rem, 1fr)); gap: 1px;
  border-radius: 6px; overflow: hidden; margin: .3rem 0 !important; padding: 1px !important; }
.mt-tiles > div { box-shadow: 0 0 0 1px rgba(128,134,144,.28); padding: .55rem .8rem .6rem;
  min-width: 0; }
.mt-tiles dt, .mt-tiles dd, .mt-facts dt, .mt-facts dd { margin: 0 !important; padding: 0; }
.mt-tiles dt { font-size: .76rem; opacity: .7; }
.mt-tiles dd { font-size: 1.28rem; font-weight: 600; line-height: 1.3;
  white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.mt-tiles dd small { display: block; font-size: .76rem; font-weight: 400; opacity: .7;
  white-space: normal; }
.mt-word { display: inline-flex; align-items: center; gap: .45rem; }
.mt-word::before { content: ""; width: .62rem; height: .62rem; border-radius: 50%;
  background: var(--mt-tone); }
.mt-banner { border-left: 4px solid var(--mt-tone); background: rgba(128,134,144,.12);
  padding: .6rem .9rem; border-radius: 0 6px 6px 0; margin: .2rem 0; line-height: 1.45; }
.mt-legend { display: flex; flex-wrap: wrap; gap: .1rem .9rem; font-size: .82rem; opacity: .9; }
.mt-legend span { display: inline-flex; align-items: center; gap: .4rem; }
.mt-legend i { width: .95rem; height: .28rem; border-radius: 2px; }
.mt-limits { display: grid; gap: .55rem; font-size: .9rem; }
.mt-limits p { display: flex; justify-content: space-between; gap: 1rem; margin: 0 0 .18rem; }
.mt-limits p span:last-child { opacity: .75; white-space: nowrap; }
.mt-limits .track { height: .42rem; border-radius: 3px; background: rgba(128,134,144,.22); }
.mt-limits .track div { height: 100%; border-radius: 3px; background: var(--mt-tone); }
.mt-facts { display: flex; flex-wrap: wrap; gap: .3rem 1.6rem; font-size: .86rem;
  margin: 0 !important; padding: 0 !important; }
.mt-facts dt { font-size: .76rem; opacity: .7; }
.mt-facts dd { overflow-wrap: anywhere; }
h3 { font-size: 1rem !important; font-weight: 600 !important; padding: .6rem 0 .2rem !important; }
@media (max-width: 600px) {
  .stMainBlockContainer { padding: 1rem .9rem 2.5rem; }
  .mt-tiles { grid-template-columns: repeat(2, 1fr); }
  .mt-tiles dd { font-size: 1.1rem; }
  .mt-tiles > div:last-child:nth-child(odd) { grid-column: 1 / -1; }
}
</style>"""


GUARD_TONES = (STOP_COLOUR, LOSS_COLOUR)  # reducing, halted


def tone_of(mode: int) -> str:
    """Colour of a mode of the guard."""
    return {GUARD_ACTIVE: GAIN_COLOUR, GUARD_REDUCING: STOP_COLOUR}.get(mode, LOSS_COLOUR)


def word(text: str, tone: str) -> str:
    """A state in one word with a dot of its colour."""
    return f'<span class="mt-word" style="--mt-tone:{tone}">{escape(text)}</span>'


def tiles(cells: Iterable[tuple[str, str, str]]) -> str:
    """A grid of figures: name, value (HTML), and a line below it."""
    parts = [
        f"<div><dt>{escape(name)}</dt><dd>{value}<small>{escape(below)}&nbsp;</small></dd></div>"
        for name, value, below in cells
    ]
    return f'<dl class="mt-tiles">{"".join(parts)}</dl>'


def banner(text: str, tone: str) -> str:
    """A sentence that must not be overlooked."""
    return f'<div class="mt-banner" role="alert" style="--mt-tone:{tone}">{escape(text)}</div>'


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """Names of lines with their colours."""
    parts = [
        f'<span><i style="background:{tone}"></i>{escape(name)}</span>' for name, tone in entries
    ]
    return f'<div class="mt-legend">{"".join(parts)}</div>'


def title(name: str, below: str) -> str:
    """The head of the page."""
    small = f"<small>{escape(below)}</small>"
    kicker = '<div class="mt-kicker">mtquant paper</div>'
    return f'<div>{kicker}<div class="mt-title">{escape(name)} {small}</div></div>'


def facts(known: Mapping[str, str]) -> str:
    """What a report card says, name by name; what it does not say is left out."""
    parts = [
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in known.items()
        if value
    ]
    return f'<dl class="mt-facts">{"".join(parts)}</dl>'


def limit_bars(used: pd.DataFrame) -> str:
    """A bar per limit, full where all of it is used; what is not known is said in words."""
    parts = []
    for name, held, bound, share, whose in used.itertuples(index=False):
        shown = name if not whose else f"{name} ({whose})"
        if not math.isfinite(share):
            text, width, tone = f"unknown of {bound:.1%}", 100.0, LOSS_COLOUR
        else:
            text, width = f"{held:.1%} of {bound:.1%}", 100.0 * min(1.0, share)
            tone = LOSS_COLOUR if share > SLACK else STOP_COLOUR if share > 1.0 else POLICY_COLOUR
        parts.append(
            f"<div><p><span>{escape(shown)}</span><span>{text}</span></p><div class='track'>"
            f"<div style='width:{width:.1f}%;--mt-tone:{tone}'></div></div></div>"
        )
    return f'<div class="mt-limits">{"".join(parts)}</div>'
