# SPDX-License-Identifier: Apache-2.0
"""Who trades what: instruments shared out among specialists, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.core.config import Config, config_hash, derived_config, load_config
from mtquant.core.domains import TAKEN, domains_of
from mtquant.core.errors import ConfigError

THREE = "training.specialists={equity: [NAS100, SPX500], oil: [WTIUSD]}"


def test_one_specialist_per_instrument_unless_told_otherwise() -> None:
    config = load_config(None)
    assert config.domains == {name: (name,) for name in config.data.instruments}


def test_several_instruments_for_one_specialist() -> None:
    """By one text, or one per specialist; both in the order of the instruments."""
    expected = {"equity": ("SPX500", "NAS100"), "oil": ("WTIUSD",)}
    assert load_config(None, [THREE]).domains == expected
    apart = [f"training.specialists.{text}" for text in ("oil=[WTIUSD]", "equity=[SPX500, NAS100]")]
    found = load_config(None, apart).domains
    assert list(found.items()) == list(expected.items())
    assert derived_config(load_config(None, [THREE]), ["training.specialists={}"]) == Config()


def test_who_trades_what_is_part_of_the_configurations_identity() -> None:
    apart = "training.specialists={all_three: [SPX500, NAS100, WTIUSD]}"
    found = {config_hash(load_config(None, own)) for own in ([], [THREE], [apart])}
    assert len(found) == 3


@given(st.permutations(range(6)), st.lists(st.integers(0, 2), min_size=6, max_size=6))
def test_every_instrument_has_one_specialist_whatever_the_order(
    order: list[int], owner: list[int]
) -> None:
    instruments = tuple(f"X{n}" for n in range(6))
    told: dict[str, list[str]] = {}
    for n in order:
        told.setdefault(f"domain{owner[n]}", []).append(instruments[n])
    found = domains_of(told, instruments)
    assert {name: set(own) for name, own in found.items()} == {n: set(o) for n, o in told.items()}
    firsts = [own[0] for own in found.values()]
    assert firsts == sorted(firsts) and all(list(own) == sorted(own) for own in found.values())
    # Written down and read again, in any order, it is the same one.
    again = domains_of(dict(reversed(found.items())), instruments)
    assert list(again.items()) == list(found.items())


@pytest.mark.parametrize(
    ("told", "rule"),
    [
        (
            "{equity: [SPX500, NAS10], oil: [WTIUSD]}",
            r"specialists\.equity must hold symbols of data\.instruments.*NAS10.*mean NAS100\?",
        ),
        (
            "{equity: [SPX500, NAS100], oil: [WTIUSD, SPX500]}",
            r"must give SPX500 to one specialist, once; found \['equity', 'oil'\]",
        ),
        ("{equity: [SPX500, NAS100, SPX500], oil: [WTIUSD]}", r"must give SPX500 to one .*once"),
        ("{equity: [SPX500, NAS100]}", r"every instrument of data\.instruments.*WTIUSD in none"),
        (
            "{equity: [SPX500, NAS100, WTIUSD], oil: []}",
            r"specialists\.oil must trade one .*Delete",
        ),
        ("{SPX500: [SPX500, NAS100], oil: [WTIUSD]}", r"must not be called as an instrument"),
        ("{Oil: [SPX500, NAS100], oil: [WTIUSD]}", r"must differ .* capitals"),
        ("{equity: SPX500}", r"specialists\.equity must be a valid tuple"),
        ("{a/b: [SPX500, NAS100, WTIUSD]}", r"specialists\.a/b.*must match pattern"),
    ],
)
def test_what_cannot_be_shared_out_is_refused(told: str, rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        load_config(None, [f"training.specialists={told}"])


@pytest.mark.parametrize("name", [*TAKEN, "Checkpoints"])
def test_names_of_what_lies_beside_specialists_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"must not be called as what lies beside it"):
        domains_of({name: ("A", "B")}, ("A", "B"))


def test_a_specialist_of_one_instrument_may_have_its_name() -> None:
    told = {"EURUSD": ["EURUSD"], "metals": ["XAUUSD", "XAGUSD"]}
    assert list(domains_of(told, ("EURUSD", "XAUUSD", "XAGUSD"))) == ["EURUSD", "metals"]
