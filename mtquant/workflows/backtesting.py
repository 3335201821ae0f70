# SPDX-License-Identifier: Apache-2.0
"""Trained policies on bars they have not seen: backtest, audit, baselines, report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtquant.agents.baselines import Chance, baselines
from mtquant.agents.crew import use_threads
from mtquant.backtest.runner import run_backtest
from mtquant.backtest.vectorbt_audit import Audit, audit
from mtquant.backtest.vectorbt_views import vectorbt_figures, vectorbt_tables
from mtquant.core.config import Config
from mtquant.core.errors import CheckpointError, DataError
from mtquant.core.protocols import Policy
from mtquant.core.runs import RunFolder
from mtquant.core.trials import TrialLedger
from mtquant.data.bars import Bars
from mtquant.data.instruments import Instrument
from mtquant.data.panel import Panel
from mtquant.data.sources import load_bars, split_bars
from mtquant.evaluation.report import report_markdown, write_report
from mtquant.evaluation.significance.tried import Tried
from mtquant.evaluation.summary import summarize
from mtquant.features.timeframes import TimeframePipeline, warmup_rows, without_ages
from mtquant.market.ledger import Ledger
from mtquant.market.rules import Rules
from mtquant.market.tape import Tape
from mtquant.rewards.compose import Reward
from mtquant.workflows.models import Trained, load_trained

TRADING_DAYS_PER_YEAR = 252
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class BacktestResult:
    """What a backtest leaves behind.

    Attributes:
        report: The HTML page.
        ledgers: The policy's, then the baselines'.
        audit: vectorbt's replay of the policy's.
        markdown: Verdict and metrics for a terminal.
        ledger_hash: sha256 of the policy's ledger.
        weights_hashes: What was trained -> sha256 of its weights.
        warnings: What the user should know, such as models trained under other rules.
    """

    report: Path
    ledgers: tuple[Ledger, ...]
    audit: Audit
    markdown: str
    ledger_hash: str
    weights_hashes: Mapping[str, str]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Market:
    """All configured instruments on one panel, as a portfolio policy meets them."""

    config: Config
    instruments: Mapping[str, Instrument]
    bars: tuple[Bars, ...]
    panel: Panel
    rules: Rules
    tape: Tape
    rows: slice

    @classmethod
    def build(cls, config: Config, instruments: Mapping[str, Instrument], part: str) -> Market:
        """Loads the configured bars and finds the rows of ``"validation"`` or ``"test"``."""
        by_symbol = load_bars(config.data, instruments)
        part_of_time = getattr(split_bars(by_symbol, config.data), part)
        whole = cls.of(config, instruments, tuple(by_symbol.values()))
        return replace(whole, rows=whole.panel.rows(part_of_time))

    @classmethod
    def of(
        cls, config: Config, instruments: Mapping[str, Instrument], bars: tuple[Bars, ...]
    ) -> Market:
        """A market of these bars, all rows of it."""
        panel = Panel.from_bars(list(bars))
        rules = Rules.from_config(config.environment, instruments, panel.symbols)
        tape = Tape.from_panel(panel, rules)
        return cls(config, instruments, bars, panel, rules, tape, slice(0, len(panel)))

    def features_for(self, policy: Policy) -> NDArray[np.float32]:
        """The policy's own features on this panel, float32 [T, N, F] in its order.

        Raises:
            DataError: They are not yet known where trading begins.
        """
        features = self.features_of(policy)
        if not np.isfinite(features[self.rows.start]).all():
            raise DataError(
                f"features of {policy.name}",
                f"must be known where trading begins: they need {warmup_rows(features)} bars",
                f"row {self.rows.start}",
                "Use bars that begin earlier, or other split fractions.",
            )
        return features

    def features_of(self, policy: Policy) -> NDArray[np.float32]:
        """`features_for`, also where they are not yet known."""
        pipeline = TimeframePipeline.from_config(
            self.config, self.instruments, self.panel.symbols, without_ages(policy.feature_names)
        )
        computed = pipeline.on_panel(self.panel, self.bars)
        columns = [pipeline.panel_names.index(name) for name in policy.feature_names]
        features: NDArray[np.float32] = computed[:, :, columns]
        return features


def backtest(
    config: Config,
    instruments: Mapping[str, Instrument],
    models: Path,
    output: Path,
    *,
    part: str = "test",
    command: Sequence[str] = (),
    progress: Progress | None = None,
) -> BacktestResult:
    """Replays what was trained out of sample, audits the ledger and writes the report.

    Args:
        config: Bars, rules and reward; models trained under others are used with a warning.
        instruments: Configured instruments.
        models: Folder of phase 1, 2 or 3.
        output: Receives ``report.html``, ``card.json`` and one ledger folder per policy.
        part: ``"test"`` or ``"validation"``.
        command: What was typed, for the card.
        progress: Called with the policy's name, bars done and bars in all.
    """
    use_threads(config.training.torch_threads)
    trained = load_trained(models, config, instruments)
    market = Market.build(config, instruments, part)
    check_unseen(trained, market, part, models)
    run = RunFolder.create(
        output, config=config, seed=config.training.seed, command=command, overwrite=True
    )
    ledger = trade(trained, market, progress)
    others = baseline_ledgers(market, ledger, progress)
    ledgers = (ledger, *others)
    for each in ledgers:  # before the audit: a ledger that fails it is what one wants to look at
        each.save(output / "ledgers" / each.name.replace(" ", "_"))
    found = audit(ledger, market.rules)
    run.stage(f"backtest/{part}", {**summarize(ledger, config.training.seed)})
    tried = Tried.of(TrialLedger.beside(models))
    title = f"{trained.policy.name.capitalize()} out of sample: {part} period"
    report = write_report(
        output / "report.html",
        ledgers,
        title=title,
        seed=config.training.seed,
        tried=tried,
        figures=vectorbt_figures(found, ledger, market.tape.bars_per_year),
        tables=vectorbt_tables(found, ledger, market.tape.bars_per_year),
        card={**_short(run.card), "weights": trained.weights, "warnings": trained.warnings},
        audit={
            "largest relative difference to vectorbt": found.largest_relative_difference,
            "bars replayed": found.bars,
            "fills replayed": found.fills,
        },
    )
    markdown = report_markdown(ledgers, title=title, seed=config.training.seed, tried=tried)
    return BacktestResult(
        report, ledgers, found, markdown, ledger.hash(), trained.weights, trained.warnings
    )


def trade(trained: Trained, market: Market, progress: Progress | None = None) -> Ledger:
    """A trained policy's ledger on the rows of a market."""
    reward = trained_reward(trained, market.config, market.tape)
    return _trade(trained.policy, market, market.rules, reward, progress)


def trained_reward(trained: Trained, config: Config, tape: Tape) -> Reward:
    """The reward whose state a trained policy observes."""
    return Reward.from_config(
        config.reward, trained.terms(config), trained.reward_scale, tape.bars_per_year
    )


def check_unseen(trained: Trained, market: Market, part: str, models: Path) -> None:
    """Refuses other bars than those of the training, and a test that begins inside them."""
    for bars in market.bars:
        trained.check_bars(bars, models)
        begin = int(market.panel.stamps[market.rows.start])
        if part == "test" and begin < trained.known_until_ns[bars.symbol]:
            raise CheckpointError(
                "start of the test part",
                f"must lie behind the bars that {bars.symbol} was trained and chosen on",
                str(np.datetime64(begin, "ns")),
                "Use the split of the training (the default without --config).",
            )


def baselines_of(market: Market) -> list[Policy]:
    """What is to be beaten on a market, all but chance."""
    # Windows count an instrument's own bars: the panel has more rows where hours differ.
    per_year = float(np.median([bars.bars_per_year for bars in market.bars]))
    environment = market.config.environment
    caps = environment.max_position_size, environment.max_gross_exposure
    return baselines(max(1, round(per_year / TRADING_DAYS_PER_YEAR)), *caps)


def baseline_ledgers(
    market: Market, ledger: Ledger, progress: Progress | None = None
) -> list[Ledger]:
    """What is to be beaten, in the same world without stops; chance trades as much as `ledger`."""
    environment, seed = market.config.environment, market.config.training.seed
    caps = environment.max_position_size, environment.max_gross_exposure
    turnover = float(np.mean(ledger.column("turnover")))
    chance = Chance.matching(turnover, len(ledger.symbols), *caps, seed)
    reward = Reward({"growth": 1.0}, 1.0)  # baselines do not look at its state
    rules = market.rules.without_stops()
    return [
        _trade(policy, market, rules, reward, progress)
        for policy in (*baselines_of(market), chance)
    ]


def _trade(
    policy: Policy, market: Market, rules: Rules, reward: Reward, progress: Progress | None
) -> Ledger:
    bars = market.rows.stop - market.rows.start - 1
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(policy.name, done, bars)

    features = market.features_for(policy)
    return run_backtest(policy, market.tape, rules, features, market.rows, reward, advance)


def _short(card: Mapping[str, object]) -> dict[str, object]:
    """The card without what the report shows anyway."""
    return {name: value for name, value in card.items() if name != "stages"}
