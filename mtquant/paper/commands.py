# SPDX-License-Identifier: Apache-2.0
"""How the loop follows the commands of people (`control.py` is the other end)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mtquant.core.errors import MtquantError
from mtquant.paper.control import halt_path

if TYPE_CHECKING:
    from mtquant.paper.loop import PaperLoop


@dataclass(frozen=True)
class Obeyed:
    """What became of a command, in words."""

    text: str


def obey(loop: PaperLoop, verb: str, arguments: Mapping[str, Any]) -> Obeyed:
    """Follows one command; what cannot be followed changes nothing and is said."""
    follow = _VERBS.get(verb)
    if follow is None:
        return Obeyed(f"{verb}: not a command of this version")
    try:
        return Obeyed(f"{verb}: {follow(loop, arguments)}")
    except MtquantError as error:
        return Obeyed(f"{verb}: refused: {error}")
    except Exception as error:  # a command must not end the loop, nor come back at every start
        return Obeyed(f"{verb}: failed: {type(error).__name__}: {error}")


def _halt(loop: PaperLoop, arguments: Mapping[str, Any]) -> str:
    loop.guardian.halt(f"halted: {arguments.get('reason', 'no reason given')}", "person")
    loop.guardian.flattening = False
    return "nothing trades until resume"


def _resume(loop: PaperLoop, arguments: Mapping[str, Any]) -> str:
    file = halt_path(loop.recorder.ledger.path)
    with contextlib.suppress(FileNotFoundError):
        if file.stat().st_mtime_ns > int(arguments["wall_ns"]):
            return "refused: somebody has halted since"
        file.unlink()
    loop.guardian.resume()
    loop.guardian.flattening = loop.dealer.broken = False
    return "trading goes on; drawdown and daily loss are measured anew"


def _flatten(loop: PaperLoop, arguments: Mapping[str, Any]) -> str:
    loop.guardian.flattening = True
    loop.guardian.halt("flattened by a person", "person")
    return "positions are closed at the next opens, then nothing trades until resume"


def _reconcile(loop: PaperLoop, arguments: Mapping[str, Any]) -> str:
    answered, holdings = loop.dealer.asked(loop.broker.holdings, "holdings")
    if not answered:
        return "the broker did not answer; nothing was changed"
    own = dict(zip(loop.symbols, loop.positions.tolist(), strict=True))
    names = sorted(set(own) | set(holdings.positions))
    wrong = [
        f"{name}: ledger {own.get(name, 0.0):g}, broker {holdings.positions.get(name, 0.0):g}"
        for name in names
        if own.get(name, 0.0) != holdings.positions.get(name, 0.0)
    ]
    under_way = len(loop.dealer.orders.pending)
    found = "; ".join(wrong) + ": adopted with the next bar" if wrong else "positions agree"
    return f"{found}; {under_way} orders under way"


def _promote(loop: PaperLoop, arguments: Mapping[str, Any]) -> str:
    path, capital = str(arguments["model"]), float(arguments["capital"])
    refused = loop.roster.rollout.refuses("promote", path, capital)
    if refused:
        return f"refused: {refused}"
    model = loop.roster.models(path)  # before anything is written: it has to load
    if not loop.roster.seat_of(path, model.digest).eyes.known:
        return "refused: its features are not known yet on the bars of this ledger"
    loop.roster.change("promote", path, model.digest, capital, "by command", loop.bar)
    loop.roster.rollout.peak = loop.equity
    return f"{path} trades with {capital:.0%} of the capital"


def _rollback(loop: PaperLoop, arguments: Mapping[str, Any]) -> str:
    refused = loop.roster.rollout.refuses("rollback", "", 0.0)
    if refused:
        return f"refused: {refused}"
    path = loop.roster.rollout.candidate or loop.roster.rollout.current or ""
    version = loop.roster.rollout.versions[path]
    loop.roster.change("rollback", path, version, 0.0, "by command", loop.bar)
    return f"{path} is out; {loop.roster.rollout.current or 'cash'} has its capital"


_VERBS: Mapping[str, Callable[[PaperLoop, Mapping[str, Any]], str]] = {
    "halt": _halt,
    "resume": _resume,
    "flatten": _flatten,
    "reconcile": _reconcile,
    "promote": _promote,
    "rollback": _rollback,
}
