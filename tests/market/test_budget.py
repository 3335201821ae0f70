# SPDX-License-Identifier: Apache-2.0
"""Limits for a block of accounts abreast: the bytes of the limits for one account."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from mtquant.core import outcome as oc
from mtquant.core.lanes import LANES
from mtquant.market.account import A_EQUITY, BAR_BINDING, block_size
from mtquant.market.planning import plan_block
from mtquant.market.rules import (
    R_LOT,
    R_MULTIPLIER,
    RULE_COLUMNS,
    S_PROJECT,
    S_TAIL_VAR,
    SETTING_COLUMNS,
)
from mtquant.market.tape import S_PLANNED, S_TARGET, SHEET_SIZE
from mtquant.risk import limits as lim
from tests.support.books import Book, random_book

seeds = st.integers(0, 2**32 - 1)


def sixteen(seed: int) -> list[Book]:
    """Books that share their limits, each with risk and wishes of its own; some names of unknown
    risk, some wishes far outside and some just at the caps.
    """
    generator = np.random.default_rng(seed)
    first = random_book(generator)
    n = len(first.wanted)
    # Sectors are numbered as they appear.
    order = {s: k for k, s in enumerate(dict.fromkeys(first.sector_of.tolist()))}
    sector_of = np.array([order[s] for s in first.sector_of.tolist()])
    looser = generator.choice([1.0, 4.0])  # than the gross cap, so that it often binds alone
    bounds, sector_caps = first.bounds * looser, first.sector_caps[: len(order)] * looser
    bounds[lim.BOUND_GROSS] /= looser
    bounds[generator.random(len(bounds)) < generator.choice([0.0, 0.5, 1.0])] = np.inf
    books = []
    for _ in range(LANES):
        other = random_book(generator, n)
        risk = other.risk.copy()
        if generator.random() < 0.1:
            risk[lim.RISK_DEVIATION, generator.integers(n)] = np.inf
        wanted = other.wanted * generator.choice([0.5, 1.0, 5.0])
        if generator.random() < 0.2:
            wanted = np.sign(wanted) * first.caps
        books.append(
            replace(
                first,
                wanted=wanted,
                sector_of=sector_of,
                sector_caps=sector_caps,
                bounds=bounds,
                risk=risk,
            )
        )
    return books


def planned(books: list[Book], project: bool, live: int) -> tuple[np.ndarray, np.ndarray]:
    """Exposures [live, N] and binding limits [live] as `plan_block` finds them."""
    one, n = books[0], len(books[0].wanted)
    block, sheet = np.zeros(block_size(n)), np.zeros(n * SHEET_SIZE)
    sheet[:] = np.nan  # nothing may depend on what was there
    block[A_EQUITY : A_EQUITY + LANES] = 1.0
    rules, settings = np.zeros((n, RULE_COLUMNS)), np.zeros(SETTING_COLUMNS)
    rules[:, R_LOT] = rules[:, R_MULTIPLIER] = 1.0
    settings[S_PROJECT], settings[S_TAIL_VAR] = project, np.inf
    columns = sheet.reshape(n, -1, LANES)
    columns[:, S_TARGET, :live] = np.array([book.wanted for book in books[:live]]).T
    limits = (
        one.caps,
        one.sector_of,
        one.sector_caps,
        one.bounds,
        np.array([book.risk for book in books]),
        np.zeros((n, 1)),
        np.zeros((LANES, 2), dtype=np.int64),
        lim.new_scratch(n),
        np.zeros((2, 1)),
    )
    plan_block(block, sheet, np.arange(LANES), rules, settings, limits, live)
    return columns[:, S_PLANNED, :live].T, block[BAR_BINDING : BAR_BINDING + live]


@given(seeds, st.booleans(), st.integers(1, LANES))
@example(0, True, 1)
def test_a_block_is_limited_as_its_accounts_are(seed, project, live):
    books = sixteen(seed)
    exposures, binding = planned(books, project, live)
    for i, book in enumerate(books[:live]):
        allowed, bound = book.limited(project)
        assert exposures[i].tobytes() == allowed.tobytes()
        assert binding[i] == bound


def test_every_way_through_is_taken():
    """The property above means little unless its books meet the gross cap alone, with a risk limit
    in doubt, and limits that only the general projection knows.
    """
    alone = risky = general = 0
    for seed in range(60):
        books = sixteen(seed)
        _, binding = planned(books, True, LANES)
        measured = np.isfinite(books[0].bounds[[lim.BOUND_VAR, lim.BOUND_VOLATILITY]]).any()
        masks = binding.astype(int) & ~oc.LIMIT_NAME
        alone += int((masks == oc.LIMIT_GROSS).sum())
        risky += int(((masks == oc.LIMIT_GROSS) & measured).sum())
        general += int(((masks & ~oc.LIMIT_GROSS) > 0).sum())
    assert min(alone, risky, general) > 20


@given(seeds, st.sampled_from([lim.BOUND_CORRELATION, lim.BOUND_VAR, lim.BOUND_VOLATILITY]))
def test_where_risk_is_limited_a_name_of_unknown_risk_gets_nothing(seed, limited):
    """However small the book, and where no other name is in doubt."""
    books = []
    for book in sixteen(seed):
        bounds, risk = np.full(lim.BOUND_COLUMNS, np.inf), book.risk.copy()
        bounds[lim.BOUND_GROSS] = bounds[limited] = 100.0
        risk[lim.RISK_DEVIATION, 0] = np.inf
        sector_caps = np.full_like(book.sector_caps, np.inf)
        books.append(replace(book, bounds=bounds, risk=risk, sector_caps=sector_caps))
    exposures, binding = planned(books, True, LANES)
    assert not exposures[:, 0].any()
    assert (binding.astype(int) & oc.LIMIT_UNKNOWN).all()
