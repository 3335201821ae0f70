# SPDX-License-Identifier: Apache-2.0
"""Features and prices, computed on data cut at t: rows up to t have to be the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mtquant.core.errors import MtquantError
from mtquant.data.bars import Bars
from mtquant.market.tape import TAPE_COLUMNS
from mtquant.workflows.verify.changes import cut, redrawn
from mtquant.workflows.verify.compare import Differences, deviations, feature_differences, flat
from mtquant.workflows.verify.draws import Effort, cut_rows
from mtquant.workflows.verify.record import Finding, Record
from mtquant.workflows.verify.subject import Subject

NAME = "look-ahead: features"
REMEDY = (
    "These values knew later bars. Compute them from a window that ends at the row itself, and fit "
    "means, ranks and codes on past rows only; then train again."
)
PRICES = (
    "open",
    "high",
    "low",
    "close",
    "rate at open",
    "rate at close",
    "tradable",
    "extra cost",
)
Change = Callable[[Bars], Bars]


def check_features(subject: Subject, effort: Effort) -> Record:
    """Recomputes panel, prices and features at every cut, once with nothing behind it and once
    with another future.
    """
    rows = cut_rows(subject, effort, effort.cuts, "features")
    features, prices = feature_differences(subject), _price_differences(subject)
    broken: list[Finding] = []
    for row in rows:
        for how, change in _changes(subject, effort, row):
            try:
                market = subject.market_of([change(own) for own in subject.bars])
                found = market.features_of(subject.policy)
            except MtquantError as error:
                stamp = subject.stamp(row)
                broken.append(Finding(error.field, f"{how}: {error}", "", row, stamp))
                continue
            kept = row + 1
            features.add(flat(subject)[:kept], found.reshape(len(found), -1)[:kept], 0, row, how)
            own = subject.market.tape.prices[:kept].reshape(kept, -1)
            prices.add(own, market.tape.prices[:kept].reshape(kept, -1), 0, row, how)
    found_all = [*features.findings(), *prices.findings(), *broken[:1]]
    looked = (
        f"{len(subject.policy.feature_names)} features of {len(subject.bars)} instruments and "
        f"their prices are the same bytes on data cut at {len(rows)} rows, with no future and with "
        "another one"
    )
    return Record.of(NAME, found_all, looked, REMEDY)


def _changes(subject: Subject, effort: Effort, row: int) -> Sequence[tuple[str, Change]]:
    stamp = int(subject.market.panel.stamps[row])

    def another(bars: Bars) -> Bars:
        return redrawn(bars, stamp, effort.node("future", row, bars.symbol).generator())

    return (
        (f"when bars behind row {row} were left out", lambda bars: cut(bars, stamp)),
        (f"when bars behind row {row} were drawn anew", another),
    )


def _price_differences(subject: Subject) -> Differences:
    prices = subject.market.tape.prices
    symbols = [symbol for symbol in subject.market.panel.symbols for _ in range(TAPE_COLUMNS)]
    names = list(PRICES) * len(subject.bars)
    return Differences(subject, names, symbols, deviations(prices.reshape(len(prices), -1)))
