# SPDX-License-Identifier: Apache-2.0
"""Which specialist trades which instruments: what ``training.specialists`` says, checked.

    domains_of({"equity": ("NAS100", "SPX500"), "oil": ("WTIUSD",)}, ("SPX500", "NAS100", "WTIUSD"))
    # {"equity": ("SPX500", "NAS100"), "oil": ("WTIUSD",)}

Neither the order of the specialists nor that of a list means anything: both follow the instruments,
so that a configuration that was written down and read again is the same one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mtquant.core.checked import did_you_mean
from mtquant.core.errors import ConfigError

FIELD = "training.specialists"
# What lies beside the specialists in folders, curves and reports.
TAKEN = (
    *("all", "checkpoints", "hierarchy", "meta-controller", "meta_controller", "run"),
    *("specialists", "validation_ledger"),
)

Domains = dict[str, tuple[str, ...]]
"""Specialist -> the symbols it trades."""


def domains_of(specialists: Mapping[str, Sequence[str]], instruments: Sequence[str]) -> Domains:
    """Every specialist and its instruments, both in the order of `instruments`.

    Args:
        specialists: Name -> symbols; one specialist per instrument, of its name, when empty.
        instruments: All symbols that are traded.

    Raises:
        ConfigError: A symbol is unknown, traded by two or by nobody, or a specialist trades
            nothing, or its name is taken.
    """
    if not specialists:
        return {symbol: (symbol,) for symbol in instruments}
    for name, own in specialists.items():
        _check_name(name, own, specialists, instruments)
    _check_symbols(specialists, instruments)
    place = {symbol: n for n, symbol in enumerate(instruments)}
    ordered = {name: tuple(sorted(own, key=place.__getitem__)) for name, own in specialists.items()}
    return dict(sorted(ordered.items(), key=lambda item: place[item[1][0]]))


def _check_name(
    name: str,
    own: Sequence[str],
    specialists: Mapping[str, Sequence[str]],
    instruments: Sequence[str],
) -> None:
    field = f"{FIELD}.{name}"
    if not own:
        raise ConfigError(field, "must trade one instrument or more", [], "Delete it.")
    if name.casefold() in TAKEN:
        rule = f"must not be called as what lies beside it ({', '.join(TAKEN)})"
        raise ConfigError(field, rule, name, "Call it after its domain, such as equity.")
    twins = [other for other in specialists if other.casefold() == name.casefold()]
    if len(twins) > 1:
        rule = "must differ from the others by more than capitals, since folders may not tell them"
        raise ConfigError(field, rule, twins, "Rename one.")
    if name in instruments and tuple(own) != (name,):
        rule = "must not be called as an instrument, unless it trades that one alone"
        raise ConfigError(field, rule, list(own), "Call it after its domain, such as equity.")


def _check_symbols(specialists: Mapping[str, Sequence[str]], instruments: Sequence[str]) -> None:
    owner: dict[str, str] = {}
    for name, own in specialists.items():
        for symbol in own:
            if symbol not in instruments:
                rule = f"must hold symbols of data.instruments ({', '.join(instruments)})"
                remedy = did_you_mean(symbol, instruments)
                raise ConfigError(f"{FIELD}.{name}", rule, symbol, remedy)
            if symbol in owner:
                both = list(dict.fromkeys((owner[symbol], name)))
                rule = f"must give {symbol} to one specialist, once"
                raise ConfigError(FIELD, rule, both, "Delete the repetition.")
            owner[symbol] = name
    idle = [symbol for symbol in instruments if symbol not in owner]
    if idle:
        raise ConfigError(
            FIELD,
            "must give every instrument of data.instruments to a specialist",
            f"{', '.join(idle)} in none",
            "Add it to one, give it one of its own, or take it out of data.instruments.",
        )
