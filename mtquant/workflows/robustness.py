# SPDX-License-Identifier: Apache-2.0
"""A trained policy in made-up markets: every scenario of `data/synthetic.py`, several seeds.

Scenarios are measured on the training rows (`data/calibrated.py`): calm bars are as volatile and as
correlated as those, on the same calendar. Rows of a test that lies
between training rows are left out. Where bars are missing for more than a fortnight, as they are
then, closes on both sides are no neighbours: no move, volatility or financing is counted across,
and scenarios lie on the longest stretch without such a gap. The policy trades under the same rules
and costs as ever.

Most scenarios have no drift that could be foreseen, so a Sharpe ratio above 0 is luck there;
what they show is how far an account falls, and whether limits hold, when markets misbehave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mtquant.backtest.runner import run_backtest
from mtquant.core.outcome import STATUS_BANKRUPT
from mtquant.core.seeding import SeedTree
from mtquant.data.bars import Bars
from mtquant.data.calibrated import calibrated
from mtquant.data.sources import split_bars
from mtquant.data.splits import Split
from mtquant.data.synthetic import SCENARIOS, Dials
from mtquant.evaluation.sections import Section, number, percent
from mtquant.evaluation.tracks import RUINED
from mtquant.features.signals import unpredicted
from mtquant.features.timeframes import warmup_rows
from mtquant.workflows.backtesting import Market, Progress, trained_reward
from mtquant.workflows.models import Trained
from mtquant.workflows.targets import LEVELS, METRICS, figures

BARS = 500  # traded per scenario and seed: two years of daily bars
LEAST_BARS = 100
DIFFICULTY = 0.5  # of events; volatility and correlation of calm bars are the training rows'


@dataclass(frozen=True)
class Robustness:
    """What a policy shows in every scenario.

    Attributes:
        phase: Whose targets are asked for.
        bars: Traded per scenario and seed.
        seeds: Of each scenario.
        measured: Scenario -> metric -> its value under each seed; ``"ruined"`` is 1 where the
            account went bankrupt, and its Sharpe and Sortino ratios are then minus infinity.
    """

    phase: int
    bars: int
    seeds: int
    measured: Mapping[str, Mapping[str, Sequence[float]]]

    def met(self, scenario: str) -> tuple[int, int]:
        """How many targets are met under how many seeds, and how many were asked for."""
        asked = [
            (value > LEVELS[self.phase][key]) if least else (value < LEVELS[self.phase][key])
            for key, _, least, _ in METRICS
            if key in LEVELS[self.phase]
            for value in self.measured[scenario].get(key, ())
        ]
        return sum(asked), len(asked)


def robustness(
    trained: Trained,
    market: Market,
    seeds: SeedTree,
    count: int,
    most: int = BARS,
    progress: Progress | None = None,
) -> Robustness | None:
    """Trades every scenario under `count` seeds.

    Args:
        trained: The policy.
        market: Its real market, for bars of the training rows, rules and configuration.
        seeds: Node of the seed tree.
        count: Seeds of each scenario.
        most: Bars traded at most.
        progress: Called with ``"scenarios"``, markets done and markets in all.

    Returns:
        None where the training rows are too few to make up `LEAST_BARS` bars behind the warm-up of
        the features.
    """
    real = {bars.symbol: bars for bars in market.bars}
    split = split_bars(real, market.config.data)
    real = {symbol: training_bars(bars, split) for symbol, bars in real.items()}
    warm = _warm_up(trained, Market.of(market.config, market.instruments, tuple(real.values())))
    measured: dict[str, dict[str, list[float]]] = {}
    traded = done = 0
    for scenario in SCENARIOS:
        own: dict[str, list[float]] = {}
        for seed in range(count):
            node = seeds.child(scenario, seed)
            made = calibrated(scenario, real, Dials.at(DIFFICULTY), node, warm + most)
            found, traded = _traded(trained, market, made)
            if traded < LEAST_BARS:
                return None
            for key, value in found.items():
                own.setdefault(key, []).append(value)
            done += 1
            if progress is not None:
                progress("scenarios", done, count * len(SCENARIOS))
        measured[scenario] = own
    return Robustness(trained.phase, traded, count, measured)


def training_bars(bars: Bars, split: Split) -> Bars:
    """The bars of the training part, without its holes: a test may lie in them."""
    known = np.zeros(len(bars), dtype=bool)
    for part in split.stretches:
        known |= (bars.stamps >= part.start_ns) & (bars.stamps < part.end_ns)
    return bars.rows(np.flatnonzero(known))


def _warm_up(trained: Trained, market: Market) -> int:
    """Rows that features take from where all instruments have begun."""
    features = market.features_of(trained.policy)
    begun = int((market.panel.own_row >= 0).all(axis=1).argmax())
    window = trained.policy.window_bars - 1
    return max(warmup_rows(features) - begun, market.config.environment.warmup_steps) + window + 1


def _traded(
    trained: Trained, real: Market, made: Mapping[str, Bars]
) -> tuple[dict[str, float], int]:
    """Figures of a scenario, and the bars traded; none where they are too few."""
    market = Market.of(real.config, real.instruments, tuple(made.values()))
    features = unpredicted(market.features_of(trained.policy), trained.policy.feature_names)
    warm = max(warmup_rows(features), market.config.environment.warmup_steps)
    rows = slice(warm + trained.policy.window_bars - 1, len(market.panel))
    bars = rows.stop - rows.start - 1
    if bars < LEAST_BARS:
        return {}, bars
    reward = trained_reward(trained, market.config, market.tape)
    ledger = run_backtest(trained.policy, market.tape, market.rules, features, rows, reward)
    found = figures(ledger, market.rules, market.tape)
    ruined = STATUS_BANKRUPT in ledger.column("status")
    if ruined:
        found |= {"sharpe": RUINED, "sortino": RUINED}
    return {**found, "ruined": float(ruined)}, bars


def robustness_section(found: Robustness | None) -> Section:
    """A row per scenario: mean over seeds and the worst one."""
    title = "Robustness over scenarios"
    if found is None:
        note = f"Not measured: training rows are too few for {LEAST_BARS} bars behind the warm-up."
        return Section(title, ("scenario",), (), (note,))
    shown = [metric for metric in METRICS if metric[0] in next(iter(found.measured.values()))]
    shown = [metric for metric in shown if metric[0] in LEVELS[found.phase]]
    rows = []
    for scenario, metrics in found.measured.items():
        met, asked = found.met(scenario)
        cells = []
        for key, _, least, share in shown:
            values = np.array(metrics[key])
            known = values[~np.isnan(values)]
            worst = (known.min() if least else known.max()) if len(known) else np.nan
            mean = known.mean() if len(known) else np.nan
            cells.append(f"{_text(mean, share)} ({_text(worst, share)})")
        ruined = f"{sum(metrics['ruined']):.0f} of {len(metrics['ruined'])}"
        rows.append((scenario, *cells, ruined, f"{met} of {asked}"))
    headings = ("scenario", *(name for _, name, _, _ in shown), "ruined", "targets met")
    note = (
        f"{found.seeds} seeds of {found.bars} bars each, as volatile and correlated as the "
        "training rows: the mean, in brackets the worst. Sharpe ratios above 0 are luck where "
        "nothing can be foreseen; look at falls and limits. A ruined account has the lowest Sharpe "
        "ratio there is, and so has the mean with it."
    )
    return Section(title, headings, tuple(rows), (note,))


def _text(value: float, share: bool) -> str:
    if value == RUINED:
        return "ruined"
    return percent(float(value)) if share else number(float(value))
